//! Where the instance listened while requests to it failed, and whether its own host could connect.

use super::{REACH_BACK_US, SAME_MOMENT_US, Scene, Tri};
use crate::model::{Address, EventKind, InstanceSample, ProcessStarted};

/// A process that has not come to listen for so long is not starting any more, microseconds.
pub const LONGEST_START_US: i64 = 60_000_000;

/// What gave its listener up and has not ended for so long is not being stopped, microseconds: supervisors give up sooner.
const LONGEST_STOP_US: i64 = 35_000_000;

/// A reading so long before the newest failure says nothing of it any more: two of the default interval, microseconds.
const STALE_US: i64 = 10_000_000;

impl<'a> Scene<'a> {
    /// Whether the instance listened on the upstream's address while the failures went on.
    pub fn listening(&self) -> Tri {
        let (Some(host), Some(service)) = (self.host, self.place.service.as_deref()) else { return Tri::Unknown };
        let first_us = self.failures.first_us;
        let changes = host.history.lives(first_us - REACH_BACK_US, self.failures.last_us + 500_000);
        let changed: Vec<(i64, bool)> = changes
            .filter_map(|event| match &event.kind {
                EventKind::ListenChanged(change) if change.service == service => {
                    Address::parse(&change.address).covers(&self.address).then_some((event.at_us, change.listening))
                }
                _ => None,
            })
            .collect();
        // What changed while it failed: a listener that was away at any failure is what matters.
        let mut during = changed.iter().filter(|(at_us, _)| *at_us < self.aftermath_us - SAME_MOMENT_US);
        let away = during.any(|(at_us, listening)| !listening && *at_us >= first_us - SAME_MOMENT_US);
        let last_before = changed.iter().rev().find(|(at_us, _)| *at_us < first_us);
        let seen: Vec<bool> =
            self.samples.iter().filter(|sample| sample.listeners_known).map(|sample| self.listens(sample)).collect();
        match (seen.is_empty(), seen.iter().all(|listens| *listens)) {
            (false, true) if away => Tri::No,
            (false, true) if self.began_unseen().is_some() => Tri::Unknown,
            // It may have ended since the last reading, and nobody told.
            (false, true) => {
                if self.read_lately() {
                    Tri::Yes
                } else {
                    Tri::Unknown
                }
            }
            (false, false) => Tri::No,
            (true, _) if away => Tri::No,
            // What was seen before it failed tells nothing of what came then, but that it did not even listen before.
            (true, _) => match last_before {
                Some((_, true)) => Tri::Unknown,
                Some((_, false)) => Tri::No,
                None => match self.before().filter(|sample| sample.listeners_known) {
                    Some(sample) if self.host_reports().yes() && !self.listens(sample) => Tri::No,
                    _ => Tri::Unknown,
                },
            },
        }
    }

    /// When the instance's process began, where its agent only found it and it began after the first failure: nobody saw what
    /// was there before it.
    pub fn began_unseen(&self) -> Option<i64> {
        let (at_us, start) = self.starts.iter().rfind(|(_, start)| start.leader && !start.settled)?;
        // An agent that was started anew finds what the one before it saw begin.
        let seen = |(began_us, other): &(i64, &ProcessStarted)| {
            !other.already_running && other.pid == start.pid && began_us == at_us
        };
        let unseen = start.already_running && !self.starts.iter().any(seen);
        (unseen && *at_us > self.failures.first_us).then_some(*at_us)
    }

    /// Whether a reading of the instance comes from after the first failure.
    pub fn seen_since_first(&self) -> bool {
        self.samples.last().is_some_and(|sample| sample.at_us > self.failures.first_us)
    }

    /// The newest reading of the instance is not much older than the newest failure.
    fn read_lately(&self) -> bool {
        let until_us = self.failures.last_us.min(self.aftermath_us);
        self.samples.last().is_some_and(|sample| until_us - sample.at_us <= STALE_US)
    }

    /// Whether a reading shows a listener at the upstream's address.
    pub fn listens(&self, sample: &InstanceSample) -> bool {
        sample.listeners.iter().any(|listener| Address::parse(&listener.address).covers(&self.address))
    }

    /// When a process of the instance that lives on, or did then, gave up its listener at the upstream's address and did not take
    /// it up again: it is being stopped in good order, or it failed in a way that only time tells.
    pub fn gave_up_us(&self, started_us: i64, until_us: i64) -> Option<i64> {
        let (host, service) = (self.host?, self.place.service.as_deref()?);
        // That its predecessor's listener went away may be told when it has just been started.
        let from_us = started_us.saturating_add(SAME_MOMENT_US);
        let mut changes = host.history.lives(from_us, until_us).filter_map(|event| match &event.kind {
            EventKind::ListenChanged(change)
                if change.service == service && Address::parse(&change.address).covers(&self.address) =>
            {
                Some((event.at_us, change.listening))
            }
            _ => None,
        });
        changes.next_back().filter(|(_, listening)| !listening).map(|(at_us, _)| at_us)
    }

    /// Whether what runs in a reading may yet be finishing, as it gave its listener up a moment before.
    pub fn may_be_stopping(&self, sample: &InstanceSample) -> bool {
        let started_us = sample.processes.iter().map(|process| process.started_us).max().unwrap_or(0);
        self.gave_up_us(started_us, sample.at_us + SAME_MOMENT_US)
            .is_some_and(|at_us| self.now_us - at_us < LONGEST_STOP_US)
    }

    /// The newest reading in which the instance runs for longer than a start takes, but does not listen where the gateway
    /// looks: its last end was over by then, and what persisted is the address. Listening elsewhere it has started.
    pub fn up_elsewhere(&self) -> Option<&'a InstanceSample> {
        let is_ip = |address: &Address| matches!(address, Address::Ip(_));
        let elsewhere = |sample: &&&InstanceSample| {
            let started_us = sample.processes.iter().map(|process| process.started_us).max().unwrap_or(0);
            let bound = sample.listeners.iter().map(|listener| Address::parse(&listener.address));
            let others = bound.filter(|bound| is_ip(bound) == is_ip(&self.address)).count();
            let start_us = if others > 0 { 1_000_000 } else { LONGEST_START_US };
            let settled = sample.at_us - started_us > start_us && self.failures.last_us > started_us + SAME_MOMENT_US;
            // Another instance of the host that ran all along listens elsewhere by right.
            let successor = self.chain.first().is_none_or(|end| started_us >= end.at_us - SAME_MOMENT_US);
            let stopping = self.may_be_stopping(sample);
            successor
                && !stopping
                && sample.listeners_known
                && sample.process_count > 0
                && settled
                && !self.listens(sample)
        };
        self.samples.iter().rev().find(elsewhere).copied()
    }

    /// Whether the instance's own host could connect to it while the failures went on.
    pub fn local_connect(&self) -> Tri {
        let from_us = self.failures.first_us - SAME_MOMENT_US;
        let to_us = (self.failures.last_us + 5_000_000).min(self.aftermath_us - SAME_MOMENT_US);
        let mut during = self.health.iter().filter(|(at_us, _)| (from_us..=to_us).contains(at_us)).peekable();
        if during.peek().is_none() {
            return Tri::Unknown;
        }
        Tri::of(during.all(|(_, health)| health.connect_us.is_some()))
    }
}
