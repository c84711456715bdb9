//! An outage: the instance's ends that explain the failures, read together with the starts that followed.

use super::chain::{End, EndKind};
use super::scene::Scene;
use crate::model::{Evidence, ProcessStarted, Signal};

/// Signals that a process which is gone leaves at the gateway.
pub const GONE: &[Signal] = &[
    Signal::ConnectRefused,
    Signal::ConnectFailed,
    Signal::ResetBeforeHeaders,
    Signal::ClosedBeforeHeaders,
    Signal::NoResponseHeaders,
    Signal::BodyTruncated,
    Signal::NoLiveUpstream,
    Signal::UpstreamErrorUnspecified,
    Signal::StatusOnly,
    Signal::SocketMissing,
    Signal::KilledOnMarkdown,
    Signal::UpstreamDisabled,
    Signal::SendTimeout,
    Signal::HeaderInvalid,
    Signal::ResponseInvalid,
];

/// A mark this long before a stop belongs to it, microseconds.
const MARK_BEFORE_US: i64 = 180_000_000;
/// A mark this long after a stop belongs to it, microseconds.
const MARK_AFTER_US: i64 = 60_000_000;

/// A stop without a start for so long is no restart any more, microseconds.
pub const NOT_AGAIN_US: i64 = 8_000_000;

/// What the ends and starts around the failures say together.
pub struct Outage<'s, 'a> {
    /// The end that began it.
    pub first: &'s End<'a>,
    /// All ends in it.
    pub ends: &'s [End<'a>],
    /// The first start after it.
    pub restart: Option<(i64, &'a ProcessStarted)>,
    /// Whether what was started differs from what ran before. None: it can't be told.
    pub changed: Option<bool>,
    /// A deployment was marked around its beginning.
    pub marked: Option<(i64, String)>,
}

impl<'s, 'a> Outage<'s, 'a> {
    /// The outage that the failures are part of; None where no end explains them.
    pub fn of(scene: &'s Scene<'a>) -> Option<Self> {
        let ends = scene.chain.as_slice();
        let first = ends.first()?;
        if scene.by_application() || scene.share(GONE) < 0.2 || scene.up_elsewhere().is_some() {
            return None;
        }
        let restart = scene
            .starts
            .iter()
            .filter(|(at_us, start)| *at_us >= first.at_us - 200_000 && start.pid != first.exit.pid)
            .find(|(_, start)| start.leader || !first.exit.leader)
            .copied();
        let before = scene.starts.iter().rev().find(|(_, start)| start.pid == first.exit.pid);
        let changed = match (before, restart) {
            (Some((_, before)), Some((_, after)))
                if !before.fingerprint.is_empty() && !after.fingerprint.is_empty() =>
            {
                Some(before.fingerprint != after.fingerprint)
            }
            _ => None,
        };
        let mark = scene
            .fleet
            .marks(
                scene.service_name(),
                scene.host_name(),
                first.at_us - MARK_BEFORE_US,
                scene.failures.last_us.min(first.at_us + MARK_AFTER_US),
            )
            .last();
        let marked = mark.map(|(at_us, mark)| (*at_us, mark.version.clone()));
        Some(Self { first, ends, restart, changed, marked })
    }

    /// Ends by a fault.
    pub fn failed_ends(&self) -> usize {
        self.ends.iter().filter(|end| end.failed()).count()
    }

    /// It was stopped on purpose, by itself or by a signal that asks for it.
    pub fn stopped_on_purpose(&self) -> bool {
        matches!(self.first.kind, EndKind::Clean | EndKind::Terminated)
    }

    /// It was left stopped for a while: what starts it later is no part of a restart.
    pub fn stayed_away(&self) -> bool {
        self.restart.is_some_and(|(at_us, _)| at_us - self.first.at_us > NOT_AGAIN_US)
    }

    /// Something new was started, or a deployment was marked.
    pub fn deployed(&self) -> bool {
        self.changed == Some(true) || self.marked.is_some()
    }

    /// The end as evidence.
    pub fn end_evidence(&self, scene: &Scene) -> Evidence {
        scene.from_host(self.first.at_us, "process", self.first.says())
    }

    /// The start after it as evidence.
    pub fn restart_evidence(&self, scene: &Scene) -> Option<Evidence> {
        let (at_us, start) = self.restart?;
        let changed = match self.changed {
            Some(true) => format!(", changed: {}", start.version_hint),
            Some(false) => ", nothing changed".to_owned(),
            None => String::new(),
        };
        Some(scene.from_host(
            at_us,
            "process",
            format!("{} started again as process {}{changed}", start.service, start.pid),
        ))
    }

    /// The last words of the log before the end, where it told of trouble.
    pub fn last_words(&self, scene: &Scene) -> Option<Evidence> {
        const FATAL: &[&str] =
            &["uncaught_exception", "out_of_memory", "too_many_open_files", "disk_full", "port_in_use", "error"];
        let end_us = self.ends.last().map_or(self.first.at_us, |end| end.at_us);
        let (at_us, found) = scene.log_of(FATAL, self.first.at_us - 10_000_000, end_us + 2_000_000)?;
        Some(scene.from_host(at_us, "app_log", format!("{}: {}", found.kind, found.line)))
    }
}
