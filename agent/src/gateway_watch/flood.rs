//! Bounds the failures of a flood: of those alike the first ones of each second go out in full, the rest as few with their
//! number, so that counts stay exact and a busy gateway's outage does not become the network's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use why502_proto::v1;

use crate::gateway::Record;

/// Failures alike that go out in full in each second.
const FULL: u32 = 200;
/// Kinds of failure told apart in one second; what is more is taken together by status and signal.
const MAX_KINDS: usize = 256;
/// The stretch.
const STRETCH: Duration = Duration::from_secs(1);
/// So long the rest is counted before it goes out: what was read meanwhile waits for it, since both leave together.
const HELD: Duration = Duration::from_millis(100);

/// What makes failures alike: upstream, status, signal, and whether they are confirmed.
type Kind = (String, Option<u16>, &'static str, bool);

#[derive(Debug, Default)]
struct Alike {
    full: u32,
    rest: Option<v1::Event>,
}

/// The failures of the present second.
#[derive(Debug)]
pub struct Flood {
    began: Instant,
    /// When the rest last went out.
    taken: Instant,
    kinds: HashMap<Kind, Alike>,
}

impl Flood {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { began: now, taken: now, kinds: HashMap::new() }
    }

    /// A failure: the event to send, or none where it is counted with others. `event` is called only where it is needed.
    pub fn add(&mut self, record: &Record, unconfirmed: bool, event: impl FnOnce() -> v1::Event) -> Option<v1::Event> {
        let upstream = record.attempts.last().and_then(|attempt| attempt.upstream.clone()).unwrap_or_default();
        let mut kind = (upstream, record.status, record.signal.id(), unconfirmed);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind.0.clear();
        }
        let alike = self.kinds.entry(kind).or_default();
        if alike.full < FULL {
            alike.full += 1;
            return Some(event());
        }
        match &mut alike.rest {
            None => alike.rest = Some(event()),
            Some(rest) => {
                if let Some(v1::event::Kind::Failure(failure)) = &mut rest.kind {
                    failure.repeats = failure.repeats.saturating_add(1);
                }
            }
        }
        None
    }

    /// Whether failures are held back.
    pub fn holds_back(&self) -> bool {
        self.kinds.values().any(|alike| alike.rest.is_some())
    }

    /// Ten times a second: those that were counted together.
    pub fn take(&mut self, now: Instant) -> Vec<v1::Event> {
        if now.duration_since(self.taken) < HELD {
            return Vec::new();
        }
        self.take_all(now)
    }

    /// Those that were counted together so far.
    pub fn take_all(&mut self, now: Instant) -> Vec<v1::Event> {
        self.taken = now;
        let mut rest: Vec<v1::Event> = self.kinds.values_mut().filter_map(|alike| alike.rest.take()).collect();
        rest.sort_by_key(|event| event.at_unix_us);
        if now.duration_since(self.began) >= STRETCH {
            self.began = now;
            self.kinds.clear();
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Attempt, Signal};
    use crate::gateway_watch::failure::failure;

    fn record(upstream: &str, signal: Signal) -> Record {
        let attempts = vec![Attempt { upstream: Some(upstream.into()), signal, ..Default::default() }];
        Record { status: Some(502), signal, attempts, ..Default::default() }
    }

    fn told(events: &[v1::Event]) -> u64 {
        let repeats = |event: &v1::Event| match &event.kind {
            Some(v1::event::Kind::Failure(failure)) => 1 + u64::from(failure.repeats),
            _ => 0,
        };
        events.iter().map(repeats).sum()
    }

    #[test]
    fn a_flood_is_told_by_few_events_and_its_exact_number() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        let mut events = Vec::new();
        let mut failures = 0;
        for (upstream, signal, count) in [
            ("a:1", Signal::ConnectRefused, 5_000),
            ("a:1", Signal::ReadTimeout, 10),
            ("b:1", Signal::ConnectRefused, FULL + 1),
        ] {
            let record = record(upstream, signal);
            for _ in 0..count {
                failures += 1;
                events.extend(flood.add(&record, false, || failure("edge", &record, b"", false, 1)));
            }
        }
        assert_eq!(events.len() as u32, 2 * FULL + 10);
        assert!(flood.holds_back() && flood.take(now + HELD / 2).is_empty());
        events.extend(flood.take(now + HELD));
        assert_eq!((events.len() as u32, told(&events)), (2 * FULL + 12, failures));
        assert!(!flood.holds_back());
        let again = record("a:1", Signal::ConnectRefused);
        assert!(flood.add(&again, false, v1::Event::default).is_none(), "the second is not over");
        assert_eq!(flood.take(now + STRETCH).len(), 1);
        assert!(flood.add(&again, false, v1::Event::default).is_some());
    }

    #[test]
    fn kinds_without_end_are_bounded_and_still_counted() {
        let now = Instant::now();
        let mut flood = Flood::new(now);
        let mut events = Vec::new();
        for number in 0..10_000 {
            let record = record(&format!("a:{number}"), Signal::ConnectRefused);
            events.extend(flood.add(&record, false, || failure("edge", &record, b"", false, 1)));
        }
        assert!(flood.kinds.len() <= MAX_KINDS + 1);
        events.extend(flood.take_all(now));
        assert_eq!(told(&events), 10_000);
        assert!(events.len() < 1_000);
    }
}
