//! How many attempts failed when, and how: every one counted, at a resolution that gets coarser the longer it lasts.

use serde::{Deserialize, Serialize};

use crate::model::Signal;

/// Stretches that are told apart at most.
const BINS: usize = 64;
/// What a stretch lasts at first, microseconds.
const FIRST_WIDTH_US: i64 = 100_000;

/// Failures over time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Course {
    from_us: i64,
    width_us: i64,
    bins: Vec<Vec<(Signal, u32)>>,
}

impl Course {
    /// Counts some failures of a moment. What comes late from before the first counts as the first.
    pub fn add(&mut self, at_us: i64, signal: Signal, count: u32) {
        if self.bins.is_empty() {
            (self.from_us, self.width_us) = (at_us, FIRST_WIDTH_US);
        }
        let since_us = at_us.saturating_sub(self.from_us).max(0);
        while since_us / self.width_us >= BINS as i64 {
            self.coarsen();
        }
        let bin = usize::try_from(since_us / self.width_us).unwrap_or(0);
        if self.bins.len() <= bin {
            self.bins.resize(bin + 1, Vec::new());
        }
        tally(&mut self.bins[bin], signal, count);
    }

    /// How many of some signals failed from one time to before another; of a stretch that is cut, that part.
    pub fn count(&self, from_us: i64, to_us: i64, fits: impl Fn(Signal) -> bool) -> f64 {
        let part = |(bin, counts): (usize, &Vec<(Signal, u32)>)| {
            let begin_us = self.from_us + self.width_us * i64::try_from(bin).unwrap_or(0);
            let inside_us = to_us.min(begin_us + self.width_us).saturating_sub(from_us.max(begin_us)).max(0);
            let all: f64 = counts.iter().filter(|(signal, _)| fits(*signal)).map(|(_, count)| f64::from(*count)).sum();
            all * inside_us as f64 / self.width_us as f64
        };
        self.bins.iter().enumerate().map(part).sum()
    }

    /// Share of all failures that came from one time to before another, 0 to 1.
    pub fn share(&self, from_us: i64, to_us: i64) -> f64 {
        let all = self.count(i64::MIN, i64::MAX, |_| true);
        if all == 0.0 { 0.0 } else { self.count(from_us, to_us, |_| true) / all }
    }

    /// The latest moment after which at least a share of all failures came. None: there were none.
    pub fn left_at(&self, share: f64) -> Option<i64> {
        let of_bin = |counts: &Vec<(Signal, u32)>| counts.iter().map(|(_, count)| f64::from(*count)).sum::<f64>();
        let mut missing = self.bins.iter().map(of_bin).sum::<f64>() * share;
        for (bin, counts) in self.bins.iter().enumerate().rev() {
            let here = of_bin(counts);
            if here > 0.0 && here >= missing {
                let end_us = self.from_us + self.width_us * (i64::try_from(bin).unwrap_or(0) + 1);
                return Some(end_us - (missing / here * self.width_us as f64) as i64);
            }
            missing -= here;
        }
        None
    }

    fn coarsen(&mut self) {
        self.width_us = self.width_us.saturating_mul(2);
        let pairs = self.bins.chunks(2).map(|pair| {
            let mut one = Vec::new();
            pair.iter().flatten().for_each(|(signal, count)| tally(&mut one, *signal, *count));
            one
        });
        self.bins = pairs.collect();
    }
}

fn tally(counts: &mut Vec<(Signal, u32)>, signal: Signal, count: u32) {
    match counts.iter_mut().find(|(known, _)| *known == signal) {
        Some((_, sum)) => *sum = sum.saturating_add(count),
        None => counts.push((signal, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn counts_all_by_time_however_many_come() {
        let mut course = Course::default();
        // Ten a second for five minutes, refused at first, then without an answer.
        for i in 0..3_000_i64 {
            let signal = if i < 1_000 { Signal::ConnectRefused } else { Signal::ConnectTimeout };
            course.add(1_000 * S + i * 100_000, signal, 1);
        }
        assert!(course.bins.len() <= BINS);
        assert_eq!(course.count(i64::MIN, i64::MAX, |_| true), 3_000.0);
        assert!((course.share(i64::MIN, 1_150 * S) - 0.5).abs() < 0.02);
        let left_us = course.left_at(0.2).unwrap();
        assert!(
            (left_us - 1_240 * S).abs() < 2 * S && (course.share(left_us, i64::MAX) - 0.2).abs() < 1e-6,
            "{left_us}"
        );
        let refused = course.count(i64::MIN, 1_100 * S, |signal| signal == Signal::ConnectRefused);
        assert!((refused - 1_000.0).abs() < 40.0, "{refused}");
        course.add(5 * S, Signal::ConnectRefused, 2);
        assert_eq!(course.count(i64::MIN, i64::MAX, |_| true), 3_002.0);
    }

    #[test]
    fn nothing_is_no_share() {
        assert_eq!(Course::default().share(i64::MIN, i64::MAX), 0.0);
        assert_eq!(Course::default().left_at(0.2), None);
    }

    #[test]
    fn times_beyond_reason_cost_nothing() {
        let mut course = Course::default();
        course.add(i64::MIN, Signal::ConnectRefused, 1);
        course.add(i64::MAX, Signal::ConnectRefused, 1);
        assert!(course.bins.len() <= BINS);
    }
}
