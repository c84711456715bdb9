//! When a probe is due: at once when an upstream begins to fail, again after 2 s, then each 10 s while failures go on,
//! and each minute once thirty were made; at most four at once and twenty in 10 s over all upstreams. Pure: the time is
//! an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// From the first probe of a stretch of failures to the second.
const SECOND_AFTER: Duration = Duration::from_secs(2);
/// From then on.
const NEXT_AFTER: Duration = Duration::from_secs(10);
/// From the thirtieth on.
const RARE_AFTER: Duration = Duration::from_secs(60);
const RARE_FROM: u32 = 30;
/// A stretch of failures ends when none came for so long.
const STRETCH_END: Duration = Duration::from_secs(60);
const MOST_AT_ONCE: usize = 4;
const MOST_IN_WINDOW: usize = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Idle measurements of one upstream lie so far apart.
const MEASURE_AFTER: Duration = Duration::from_secs(600);
const MOST_MEASUREMENTS: usize = 4;
/// Most upstreams that are remembered.
const MOST_UPSTREAMS: usize = 1024;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// A probe.
    Probe(Depth),
    /// Nothing.
    Wait,
}

/// How much time a probe may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The first: a verdict waits for it.
    Quick,
    /// A later one: it may wait for what comes late.
    Patient,
}

#[derive(Debug)]
struct Upstream {
    probes: u32,
    last_probe: Instant,
    last_asked: Instant,
    measured_at: Option<Instant>,
}

/// What was done of late.
#[derive(Debug, Default)]
pub(super) struct Plan {
    upstreams: HashMap<(String, String), Upstream>,
    begun: VecDeque<Instant>,
    running: usize,
    measuring: usize,
    left_out: u64,
}

impl Plan {
    /// Whether a failure of this upstream calls for a probe now.
    pub(super) fn decide(&mut self, gateway: &str, upstream: &str, now: Instant) -> Decision {
        let key = (gateway.to_owned(), upstream.to_owned());
        let entry = self.upstreams.get_mut(&key);
        let fresh = entry.as_ref().is_none_or(|entry| now.duration_since(entry.last_asked) >= STRETCH_END);
        let probes = if fresh { 0 } else { entry.as_ref().map_or(0, |entry| entry.probes) };
        if let Some(entry) = entry {
            entry.last_asked = now;
            if now.duration_since(entry.last_probe) < due_after(probes) {
                return Decision::Wait;
            }
        }
        if !self.has_room(now) {
            self.left_out += 1;
            return Decision::Wait;
        }
        self.begin(key, probes + 1, now);
        Decision::Probe(if probes == 0 { Depth::Quick } else { Depth::Patient })
    }

    fn has_room(&mut self, now: Instant) -> bool {
        while self.begun.front().is_some_and(|begun| now.duration_since(*begun) >= WINDOW) {
            self.begun.pop_front();
        }
        self.running < MOST_AT_ONCE && self.begun.len() < MOST_IN_WINDOW
    }

    fn begin(&mut self, key: (String, String), probes: u32, now: Instant) {
        self.running += 1;
        self.begun.push_back(now);
        if self.upstreams.len() >= MOST_UPSTREAMS && !self.upstreams.contains_key(&key) {
            let oldest = self.upstreams.iter().min_by_key(|(_, entry)| entry.last_asked).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.upstreams.remove(&oldest));
        }
        let measured_at = self.upstreams.get(&key).and_then(|entry| entry.measured_at);
        self.upstreams.insert(key, Upstream { probes, last_probe: now, last_asked: now, measured_at });
    }

    /// A probe ended.
    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether the time that an idle connection is kept may be measured now; if so it counts as begun.
    pub(super) fn may_measure(&mut self, gateway: &str, upstream: &str, now: Instant) -> bool {
        let key = (gateway.to_owned(), upstream.to_owned());
        let Some(entry) = self.upstreams.get_mut(&key).filter(|_| self.measuring < MOST_MEASUREMENTS) else {
            return false;
        };
        let due = entry.measured_at.is_none_or(|at| now.duration_since(at) >= MEASURE_AFTER);
        if due {
            entry.measured_at = Some(now);
            self.measuring += 1;
        }
        due
    }

    /// A measurement ended.
    pub(super) fn measured(&mut self) {
        self.measuring = self.measuring.saturating_sub(1);
    }

    /// Probes that were due and found no room.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

fn due_after(probes: u32) -> Duration {
    match probes {
        0 => Duration::ZERO,
        1 => SECOND_AFTER,
        many if many < RARE_FROM => NEXT_AFTER,
        _ => RARE_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn while_failures_go_on_probes_come_after_0_2_and_each_10_seconds() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        let mut probed = Vec::new();
        for ms in (0..40_000).step_by(100) {
            if let Decision::Probe(depth) = plan.decide("edge", "10.0.0.2:3000", start + MS * ms) {
                probed.push((ms, depth));
                plan.ended();
            }
        }
        let patient = |ms| (ms, Depth::Patient);
        assert_eq!(probed, [(0, Depth::Quick), patient(2000), patient(12_000), patient(22_000), patient(32_000)]);
    }

    #[test]
    fn a_new_stretch_begins_with_a_quick_probe() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        assert_eq!(plan.decide("edge", "a", start), Decision::Probe(Depth::Quick));
        plan.ended();
        assert_eq!(plan.decide("edge", "a", start + MS * 1900), Decision::Wait);
        assert_eq!(plan.decide("edge", "a", start + MS * 61_900), Decision::Probe(Depth::Quick));
    }

    #[test]
    fn at_most_four_at_once_and_twenty_in_ten_seconds() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        let begun =
            |plan: &mut Plan, upstream: u32, at| plan.decide("edge", &upstream.to_string(), at) != Decision::Wait;
        assert_eq!((0..10).filter(|upstream| begun(&mut plan, *upstream, start)).count(), 4);
        assert_eq!(plan.left_out(), 6);
        for _ in 0..4 {
            plan.ended();
        }
        let more = (10..100).filter(|upstream| {
            let begun = begun(&mut plan, *upstream, start + MS * 9999);
            plan.ended();
            begun
        });
        assert_eq!(more.count(), 16);
        assert!(begun(&mut plan, 200, start + MS * 10_000));
    }

    #[test]
    fn an_upstream_is_measured_once_in_ten_minutes() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        assert!(!plan.may_measure("edge", "a", start), "it was never probed");
        plan.decide("edge", "a", start);
        assert!(plan.may_measure("edge", "a", start));
        plan.measured();
        assert!(!plan.may_measure("edge", "a", start + MS * 599_999));
        assert!(plan.may_measure("edge", "a", start + MS * 600_000));
    }

    #[test]
    fn upstreams_are_forgotten_beyond_the_limit() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        for number in 0..3000 {
            plan.decide("edge", &number.to_string(), start + WINDOW * number);
            plan.ended();
        }
        assert_eq!(plan.upstreams.len(), MOST_UPSTREAMS);
    }
}
