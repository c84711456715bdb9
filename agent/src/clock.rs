//! The time line that all goes by which the agent tells: the host's clock as it was when the agent began, and what has passed since.
//! No step of the clock moves it. What others stamp by the host's clock, such as the lines of a log, is brought onto it.

use std::sync::OnceLock;

use crate::kernel::clock;

/// When this host booted on that time line, unix microseconds: ever the same number, so that start times made from it agree.
pub fn boot_unix_us() -> i64 {
    static BOOTED: OnceLock<i64> = OnceLock::new();
    *BOOTED.get_or_init(clock::boot_unix_us)
}

/// Now, unix microseconds.
pub fn unix_now_us() -> i64 {
    boot_unix_us().saturating_add(i64::try_from(clock::boottime_us()).unwrap_or(i64::MAX))
}

/// A difference that is a step, microseconds: two clocks are not read at quite the same moment.
const STEP_US: i64 = 250_000;
/// A moment that lies farther ahead of now than this has not been, microseconds.
const AHEAD_US: i64 = 250_000;

/// How far the host's clock is ahead of the time line, and was before its last step.
#[derive(Debug, Default)]
pub struct Steps {
    ahead_us: i64,
    before_us: i64,
}

impl Steps {
    /// Looks at the clock; gives by how much it was stepped since the look before.
    pub fn look(&mut self) -> Option<i64> {
        self.take(clock::boot_unix_us() - boot_unix_us())
    }

    fn take(&mut self, ahead_us: i64) -> Option<i64> {
        let by_us = ahead_us - self.ahead_us;
        if by_us.abs() < STEP_US {
            return None;
        }
        (self.before_us, self.ahead_us) = (self.ahead_us, ahead_us);
        Some(by_us)
    }

    /// A moment of the host's clock on the time line. Whether it was stamped before the last step or after it nobody
    /// tells: it is taken for the newer of both that has been by now, for what is read was written lately.
    pub fn steady(&self, host_us: i64, now_us: i64) -> i64 {
        let after_us = host_us.saturating_sub(self.ahead_us);
        if self.ahead_us == self.before_us {
            return after_us;
        }
        let before_us = host_us.saturating_sub(self.before_us);
        let has_been = |at_us: &i64| *at_us <= now_us.saturating_add(AHEAD_US);
        [after_us, before_us].into_iter().filter(has_been).max().unwrap_or(after_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    #[test]
    fn a_step_is_told_once_and_what_is_no_step_never() {
        let mut steps = Steps::default();
        assert!((0..100).all(|n| steps.take(n * 1_000).is_none()));
        assert_eq!(steps.take(-HOUR_US), Some(-HOUR_US));
        assert_eq!(steps.take(-HOUR_US + 10), None);
        assert_eq!(steps.take(0), Some(HOUR_US));
    }

    #[test]
    fn what_was_stamped_before_and_after_a_step_is_when_it_was() {
        for by_us in [-HOUR_US, HOUR_US, 24 * HOUR_US, -24 * HOUR_US] {
            let mut steps = Steps::default();
            steps.take(by_us);
            let now_us = 1_000 * HOUR_US;
            assert_eq!(steps.steady(now_us - 50_000 + by_us, now_us), now_us - 50_000, "after {by_us}");
            assert_eq!(steps.steady(now_us - 900_000, now_us), now_us - 900_000, "before {by_us}");
        }
    }

    #[test]
    fn a_clock_that_was_never_stepped_is_taken_at_its_word() {
        assert_eq!(Steps::default().steady(5, 1), 5);
        assert_eq!(Steps::default().steady(i64::MIN, 0), i64::MIN);
    }
}
