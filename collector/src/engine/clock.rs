//! The time that records are given. It follows the machine's clock and never goes back: the order of the journal is the order
//! of its times. While the machine's clock is behind what was given before, because it was set back or had once been wrong,
//! time goes on at half its pace until that is made good, so that a host's silence is still noticed and nothing stands still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::warn;

/// A clock that is set back by less than this is none to tell of, microseconds.
const TOLD_FROM_US: i64 = 1_000_000;

/// See above.
pub struct Clock {
    /// The newest time at which the machine's clock was not behind, and when that was.
    right_us: i64,
    right: Instant,
    /// The newest time that was given.
    last_us: i64,
    told: bool,
}

impl Clock {
    /// One that goes on from a time that was given before.
    pub fn after(last_us: i64) -> Self {
        Self { right_us: last_us, right: Instant::now(), last_us, told: false }
    }

    /// The newest time that was given.
    pub fn last_us(&self) -> i64 {
        self.last_us
    }

    /// Gives the time.
    pub fn now_us(&mut self) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.give(micros(wall), Instant::now())
    }

    fn give(&mut self, wall_us: i64, now: Instant) -> i64 {
        let slow_us = self.right_us.saturating_add(micros(now.saturating_duration_since(self.right)) / 2);
        if wall_us >= slow_us {
            (self.right_us, self.right, self.told) = (wall_us, now, false);
        } else if slow_us - wall_us >= TOLD_FROM_US && !std::mem::replace(&mut self.told, true) {
            let behind = (slow_us - wall_us) / 1_000_000;
            warn!(
                "this machine's clock was set back by {behind} s: until that is made good, time goes on at half its pace"
            );
        }
        self.last_us = self.last_us.max(slow_us).max(wall_us);
        self.last_us
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_clock_that_is_set_back_goes_on_at_half_its_pace_until_it_is_right_again() {
        let (mut clock, began) = (Clock::after(0), Instant::now());
        let mut give = |wall_s: i64, passed_s: u64| clock.give(wall_s * SECOND, began + Duration::from_secs(passed_s));
        assert_eq!(give(10_000, 0), 10_000 * SECOND);
        assert_eq!(give(10_001, 1), 10_001 * SECOND);
        assert_eq!(give(6_401, 1), 10_001 * SECOND, "an hour back");
        assert_eq!(give(6_501, 101), 10_051 * SECOND, "it never stands still");
        assert_eq!(give(13_600, 7_200), 13_600 * SECOND + SECOND / 2);
        assert_eq!(give(13_700, 7_300), 13_700 * SECOND, "two hours later it is right");
    }

    #[test]
    fn a_journal_from_the_future_is_gone_on_from() {
        let mut clock = Clock::after(i64::MAX - 10);
        assert_eq!(clock.give(5, Instant::now()), i64::MAX - 10);
        assert_eq!(clock.give(i64::MAX, Instant::now()), i64::MAX);
        assert_eq!(clock.last_us(), i64::MAX);
    }
}
