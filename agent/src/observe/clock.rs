//! Steps of the host's clock against the time since boot. Slewing (at most 0.5 ms a second) is followed and is no step.

use crate::kernel::clock;

/// A difference from look to look that is a step.
const STEP_US: i64 = 250_000;

/// Remembers when the host booted, by the clock as it was.
#[derive(Debug)]
pub struct ClockWatch {
    at_last_look_us: i64,
    boot_unix_us: i64,
}

impl ClockWatch {
    /// Takes the clock as it is.
    pub fn new() -> Self {
        let boot_unix_us = clock::boot_unix_us();
        Self { at_last_look_us: boot_unix_us, boot_unix_us }
    }

    /// When the host booted, unix microseconds: the same number until the clock is stepped, so that start times made from it agree.
    pub fn boot_unix_us(&self) -> i64 {
        self.boot_unix_us
    }

    /// By how much the clock was stepped since the last look.
    pub fn look(&mut self) -> Option<i64> {
        self.take(clock::boot_unix_us())
    }

    fn take(&mut self, now_us: i64) -> Option<i64> {
        let by_us = now_us - std::mem::replace(&mut self.at_last_look_us, now_us);
        if by_us.abs() < STEP_US {
            return None;
        }
        self.boot_unix_us = now_us;
        Some(by_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_slewing_never() {
        let mut watch = ClockWatch { at_last_look_us: 1000, boot_unix_us: 1000 };
        for n in 1..100 {
            assert_eq!(watch.take(1000 + n * 10_000), None);
        }
        assert_eq!(watch.boot_unix_us(), 1000);
        assert_eq!(watch.take(991_000 - 3_600_000_000), Some(-3_600_000_000));
        assert_eq!(watch.take(991_000 - 3_600_000_000), None);
        assert_eq!(watch.boot_unix_us(), 991_000 - 3_600_000_000);
    }
}
