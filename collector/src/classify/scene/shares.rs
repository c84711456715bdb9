//! Which part of the failures is of which kind.

use super::Scene;
use crate::model::{GatewayNotice, Signal};

/// That the gateway had taken the upstream out.
const TAKEN_OUT: Signal = Signal::NoLiveUpstream;
/// A check that failed so long before the first failure met what the requests met, microseconds.
const CHECKED_BEFORE_US: i64 = 15_000_000;

impl Scene<'_> {
    /// Share of the failures with one of these signals, 0 to 1. That the gateway had taken the upstream out is a
    /// consequence: the failures of its own kind count, and so does each check that failed, which was an attempt as well.
    pub fn share(&self, signals: &[Signal]) -> f64 {
        if !self.failures.has(&[TAKEN_OUT]) {
            return self.failures.share(signals);
        }
        let own = self.failures.count_of(|signal| signal != TAKEN_OUT) as f64;
        if own == 0.0 {
            let met = self.check_met().is_some_and(|met| signals.contains(&met));
            return if met || signals.contains(&TAKEN_OUT) { 1.0 } else { 0.0 };
        }
        let wanted = |signal: Signal| signal != TAKEN_OUT && signals.contains(&signal);
        let kept_out = self.kept_out_by();
        let met: f64 = kept_out.iter().filter(|(met, _)| wanted(*met)).map(|(_, weight)| weight).sum();
        let all: f64 = kept_out.iter().map(|(_, weight)| weight).sum();
        (self.failures.count_of(wanted) as f64 + met) / (own + all)
    }

    /// What the gateway's checks met, and how much each weighs: as much as the requests that found the upstream taken out until the
    /// next one, for it is why they failed, and as one at least.
    fn kept_out_by(&self) -> Vec<(Signal, f64)> {
        let checks: Vec<_> = self.failed_checks().filter(|(at_us, _)| self.beside_failures(*at_us)).collect();
        let until = checks.iter().skip(1).map(|(at_us, _)| *at_us).chain([i64::MAX]);
        let weighed = checks.iter().zip(until).map(|((at_us, met), until_us)| {
            let refused = self.failures.course.count(*at_us, until_us, |signal| signal == TAKEN_OUT);
            (*met, refused.max(1.0))
        });
        weighed.collect()
    }

    /// Whether a check that failed then tells of what the failures tell of.
    fn beside_failures(&self, at_us: i64) -> bool {
        at_us >= self.failures.began_us - CHECKED_BEFORE_US && at_us < self.aftermath_us
    }

    /// The same of the failures from before the instance's end, where it ended while it failed for another reason: what
    /// came later is that end's doing.
    pub fn share_before_end(&self, signals: &[Signal]) -> f64 {
        if self.aftermath_us > self.failures.last_us {
            return self.share(signals);
        }
        let course = &self.failures.course;
        let before = |fits: &dyn Fn(Signal) -> bool| course.count(i64::MIN, self.aftermath_us, fits);
        let own = before(&|signal| signal != TAKEN_OUT);
        if own == 0.0 {
            return self.share(signals);
        }
        before(&|signal| signal != TAKEN_OUT && signals.contains(&signal)) / own
    }

    /// Share of the attempts that failed from a time on with one of these signals, 0 to 1; 0 where none did.
    pub fn share_from(&self, from_us: i64, signals: &[Signal]) -> f64 {
        let since = |fits: &dyn Fn(Signal) -> bool| self.failures.course.count(from_us, i64::MAX, fits);
        let own = since(&|signal| signal != TAKEN_OUT);
        if own == 0.0 { 0.0 } else { since(&|signal| signal != TAKEN_OUT && signals.contains(&signal)) / own }
    }

    /// What the gateway's own check met when it took the upstream out, where that is a signal of the way or the process.
    pub fn check_met(&self) -> Option<Signal> {
        self.failed_checks().next_back().map(|(_, met)| met)
    }

    /// The gateway's checks that failed up to the newest failure, and what they met.
    fn failed_checks(&self) -> impl DoubleEndedIterator<Item = (i64, Signal)> {
        let down = |(at_us, notice): &&(i64, &GatewayNotice)| {
            notice.signal == Signal::HealthCheckDown && *at_us <= self.failures.last_us
        };
        let met =
            self.notices.iter().filter(down).map(|(at_us, notice)| (*at_us, Signal::from_id(&notice.check_signal)));
        met.filter(|(_, signal)| signal.is_failure())
    }
}
