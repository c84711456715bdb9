//! An outage: the instance's ends that explain the failures, read together with the starts that followed.

use super::chain::{End, EndKind};
use super::scene::{SAME_MOMENT_US, Scene};
use crate::model::{Evidence, LogMatch, ProcessExited, ProcessStarted, Signal};

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
/// A mark this long after a stop belongs to it, microseconds: a later one tells of somebody who mends what was stopped.
const MARK_AFTER_US: i64 = 15_000_000;
/// What is started so long after the end belongs to no deployment that ended it, microseconds.
const DEPLOY_GAP_US: i64 = 60_000_000;
/// A supervisor tells of its liveness kill so long before it, and so long after it, at the most, microseconds.
const LIVENESS_BEFORE_US: i64 = 40_000_000;
const LIVENESS_AFTER_US: i64 = 5_000_000;

/// By then an agent has told of a process once more, with what it is made of, microseconds.
const SETTLED_US: i64 = 5_000_000;

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
    /// A deployment was marked only when it had long begun: it mends.
    mended_by_mark: bool,
    /// A supervisor's own record that it ended something for failing its liveness check.
    pub liveness: Option<(i64, &'a LogMatch)>,
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
        let changed = restart.and_then(|(_, after)| makes_differ(scene, first.exit, after));
        let marks = |from_us, to_us| scene.fleet.marks(scene.service_name(), scene.host_name(), from_us, to_us).last();
        let marked = marks(first.at_us - MARK_BEFORE_US, first.at_us + MARK_AFTER_US);
        let marked = marked.map(|(at_us, mark)| (*at_us, mark.version.clone()));
        let mended_by_mark =
            marked.is_none() && marks(first.at_us, restart.map_or(i64::MAX, |(at_us, _)| at_us)).is_some();
        let liveness =
            scene.log_of(&["liveness_kill"], first.at_us - LIVENESS_BEFORE_US, first.at_us + LIVENESS_AFTER_US);
        Some(Self { first, ends, restart, changed, marked, mended_by_mark, liveness })
    }

    /// Ends by a fault.
    pub fn failed_ends(&self) -> usize {
        self.ends.iter().filter(|end| end.failed()).count()
    }

    /// It was stopped on purpose, by itself or by a signal that asks for it.
    pub fn stopped_on_purpose(&self) -> bool {
        matches!(self.first.kind, EndKind::Clean | EndKind::Terminated)
    }

    /// The supervisor's record names this instance: its log may tell of others as well.
    pub fn liveness_names_it(&self, scene: &Scene) -> bool {
        let unit = scene.before().map_or("", |sample| sample.unit.as_str());
        let pid = self.first.exit.pid.to_string();
        let names = [scene.service_name(), unit, &pid];
        self.liveness
            .is_some_and(|(_, found)| names.iter().any(|name| !name.is_empty() && names_word(&found.line, name)))
    }

    /// It was left stopped for a while: what starts it later is no part of a restart.
    pub fn stayed_away(&self) -> bool {
        self.restart.is_some_and(|(at_us, _)| at_us - self.first.at_us > NOT_AGAIN_US)
    }

    /// Something new was started soon after, or a deployment was marked.
    pub fn deployed(&self) -> bool {
        self.replaced() || self.marked.is_some()
    }

    /// A deployment had been marked, the instance exited with a failure code and without a word of trouble, and it was soon
    /// back: many a program answers the SIGTERM of its deployment so.
    pub fn ended_by_deployment(&self, scene: &Scene) -> bool {
        let asked_before = self.marked.as_ref().is_some_and(|(at_us, _)| *at_us < self.first.at_us);
        let by_code = self.first.kind == EndKind::Crash && self.first.exit.signal.is_none();
        let back = self.restart.is_some() && !self.stayed_away();
        asked_before && by_code && back && self.ends.len() == 1 && self.last_words(scene).is_none()
    }

    /// It was started again too short a time ago to tell whether that is something new.
    pub fn is_unsettled(&self, scene: &Scene) -> bool {
        self.changed.is_none() && self.restart.is_some_and(|(at_us, _)| scene.now_us < at_us + SETTLED_US)
    }

    /// Something new was started, soon enough to be what it was ended for.
    pub fn replaced(&self) -> bool {
        let gap_us = self.restart.map_or(0, |(at_us, _)| at_us - self.first.at_us);
        self.changed == Some(true) && gap_us <= DEPLOY_GAP_US && !self.mended_by_mark
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

/// Whether what was started differs from what ended. A program may go to another folder soon after its start, where its files are
/// found under other names: fingerprints are compared that were taken when both had settled, and before that those which were
/// taken in the same folder, or of a program that is known to stay where it starts. None: it can't be told, or not yet.
fn makes_differ(scene: &Scene, ended: &ProcessExited, after: &ProcessStarted) -> Option<bool> {
    let told = |pid: u32, started_us: i64, settled: bool| {
        // Two agents, and one of which the clock is slewed, reckon a start a little differently.
        let is_it = |start: &&ProcessStarted| {
            (start.pid, start.settled) == (pid, settled) && (start.started_us - started_us).abs() < SAME_MOMENT_US
        };
        scene.starts.iter().map(|(_, start)| *start).find(is_it).map(|found| found.fingerprint.as_str())
    };
    let carried = |settled: bool| {
        let make = if settled { &ended.fingerprint } else { &ended.first_fingerprint };
        Some(make.as_str()).filter(|make| !make.is_empty()).or_else(|| told(ended.pid, ended.started_us, settled))
    };
    let (settled, first) = (carried(true), carried(false));
    let settled_since = told(after.pid, after.started_us, true);
    if let Some(differ) = settled.zip(settled_since).and_then(|(before, since)| has_changed(before, since)) {
        return Some(differ);
    }
    let since = after.fingerprint.as_str();
    match (settled, first) {
        (Some(settled), Some(first)) if folder(first) != folder(settled) && folder(first) != folder(since) => None,
        // It began alike; what it is made of shows where it goes from there.
        (Some(settled), Some(first)) if folder(first) != folder(settled) => {
            has_changed(first, since).filter(|differ| *differ)
        }
        (Some(settled), None) if folder(settled) != folder(since) => None,
        (Some(settled), _) => has_changed(settled, since),
        (None, first) => has_changed(first?, since),
    }
}

/// The part of a fingerprint that tells executable and folder; empty where it has none.
fn folder(make: &str) -> &str {
    make.split_once('-').map_or("", |(_, core)| core)
}

/// Whether fingerprints differ: as a whole, or where one lacks its first part, which has the arguments in it, by the second. None: that
/// is all that could be compared, and it is the same.
fn has_changed(before: &str, after: &str) -> Option<bool> {
    let (before, core_before) = before.split_once('-').unwrap_or((before, ""));
    let (after, core_after) = after.split_once('-').unwrap_or((after, ""));
    if !before.is_empty() && !after.is_empty() {
        return Some(before != after);
    }
    let differ = !core_before.is_empty() && !core_after.is_empty() && core_before != core_after;
    differ.then_some(true)
}

/// Whether a name stands in a line by itself, not as a part of a longer word.
fn names_word(line: &str, name: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(name)
        .any(|(at, _)| !inside(line[..at].chars().next_back()) && !inside(line[at + name.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::has_changed;

    #[test]
    fn a_title_over_the_arguments_is_no_change() {
        assert_eq!(has_changed("a-c", "a-c"), Some(false));
        assert_eq!(has_changed("a-c", "b-c"), Some(true));
        assert_eq!(has_changed("-c", "b-c"), None, "the arguments were not to be seen before");
        assert_eq!(has_changed("-c", "b-d"), Some(true), "the executable is another");
        assert_eq!((has_changed("v1", "v2"), has_changed("v1", "v1")), (Some(true), Some(false)));
        assert_eq!((has_changed("", "v1"), has_changed("", "")), (None, None));
    }
}
