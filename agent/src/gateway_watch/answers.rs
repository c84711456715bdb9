//! When each upstream answered lately: whether it answered others while one request waited tells a slow request from an
//! instance that hangs. Kept as counts in fifths of a second, bounded in time and number of upstreams.

use std::collections::{BTreeMap, VecDeque};

/// Answers within so much time are one count, microseconds.
const GRAIN_US: i64 = 200_000;
/// How far back answers are kept, microseconds: longer than the usual read timeout of a minute.
const KEPT_US: i64 = 90_000_000;
/// Most upstreams kept; a gateway with more is told of the first ones only.
const MAX_UPSTREAMS: usize = 256;
/// The least time of an attempt that is worth asking about, microseconds.
const LEAST_US: i64 = 1_000_000;
/// The least that is left out at both ends of an attempt, microseconds.
const LEAST_MARGIN_US: i64 = 250_000;

/// Counts of answers by upstream.
#[derive(Debug, Default)]
pub struct Answers {
    upstreams: BTreeMap<String, VecDeque<(i64, u32)>>,
}

impl Answers {
    /// An upstream answered at a time.
    pub fn add(&mut self, upstream: &str, at_us: i64) {
        if !self.upstreams.contains_key(upstream) {
            if self.upstreams.len() >= MAX_UPSTREAMS {
                return;
            }
            self.upstreams.insert(upstream.to_owned(), VecDeque::new());
        }
        let Some(grains) = self.upstreams.get_mut(upstream) else { return };
        let grain = at_us.div_euclid(GRAIN_US);
        match grains.back_mut() {
            // A line that comes a little late belongs to the newest count as well as to its own.
            Some((newest, count)) if grain <= *newest => *count = count.saturating_add(1),
            _ => grains.push_back((grain, 1)),
        }
        let oldest = grain - KEPT_US / GRAIN_US;
        while grains.front().is_some_and(|(grain, _)| *grain < oldest) {
            grains.pop_front();
        }
    }

    /// Answers of an upstream in the middle part of an attempt that took so long and ended at a time. None: too short a
    /// time, or the upstream is not known.
    pub fn meanwhile(&self, upstream: &str, end_us: i64, took_us: u64) -> Option<u32> {
        let took_us = i64::try_from(took_us).ok().filter(|took_us| (LEAST_US..KEPT_US).contains(took_us))?;
        let grains = self.upstreams.get(upstream)?;
        let margin_us = (took_us / 5).max(LEAST_MARGIN_US);
        let from = (end_us - took_us + margin_us).div_euclid(GRAIN_US);
        let to = (end_us - margin_us).div_euclid(GRAIN_US);
        let within = grains.iter().filter(|(grain, _)| (from..=to).contains(grain));
        Some(within.map(|(_, count)| *count).fold(0, u32::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_the_middle_of_an_attempt_are_counted() {
        let mut answers = Answers::default();
        for tenth in 0..100 {
            answers.add("a:1", tenth * 100_000);
        }
        assert_eq!(answers.meanwhile("a:1", 14_000_000, 3_000_000), Some(0));
        let half = answers.meanwhile("a:1", 10_000_000, 3_000_000).unwrap_or(0);
        assert!((16..=20).contains(&half), "{half}");
        assert_eq!(answers.meanwhile("a:1", 10_000_000, 500_000), None);
        assert_eq!(answers.meanwhile("b:1", 10_000_000, 3_000_000), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut answers = Answers::default();
        for second in 0..10_000 {
            answers.add("a:1", second * 1_000_000);
        }
        for upstream in 0..1_000 {
            answers.add(&format!("b:{upstream}"), 0);
        }
        assert_eq!(answers.upstreams.len(), MAX_UPSTREAMS);
        assert!(answers.upstreams["a:1"].len() <= 91);
    }
}
