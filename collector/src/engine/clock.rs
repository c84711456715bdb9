//! The time that records are given. It follows the machine's clock and never goes back: the order of the journal is the order
//! of its times. While the machine's clock is behind what was given before, because it was set back or had once been wrong,
//! time goes on at half its pace until that is made good, so that a host's silence is still noticed and nothing stands still.
//! What is removed for its age goes by the machine's clock as well, but for a day not by a leap of it: somebody may set it right.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

/// A clock that is set back by less than this is none to tell of, microseconds.
const TOLD_FROM_US: i64 = 1_000_000;

/// A clock that goes forward by more than time does was set, or the machine slept or was off, microseconds.
const LEAP_US: i64 = 3_600_000_000;
/// So long a leap makes nothing older.
const DOUBT: Duration = Duration::from_secs(86_400);

/// See above.
pub struct Clock {
    /// The newest time at which the machine's clock was not behind, and when that was.
    right_us: i64,
    right: Instant,
    /// The newest time that was given.
    last_us: i64,
    told: bool,
    /// The machine's clock as it was read last, and when.
    read_us: i64,
    read: Instant,
    /// By how much it leapt forward, and when it last did.
    leapt_us: i64,
    leapt: Instant,
}

impl Clock {
    /// One that goes on from a time that was given before.
    pub fn after(last_us: i64) -> Self {
        let now = Instant::now();
        let (right_us, read_us, leapt_us) = (last_us, last_us, 0);
        Self { right_us, right: now, last_us, told: false, read_us, read: now, leapt_us, leapt: now }
    }

    /// The newest time that was given.
    pub fn last_us(&self) -> i64 {
        self.last_us
    }

    /// The time that tells how old something is where it may be removed for that.
    pub fn aging_us(&self) -> i64 {
        self.read_us.saturating_sub(self.leapt_us)
    }

    /// Gives the time.
    pub fn now_us(&mut self) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.give(micros(wall), Instant::now())
    }

    fn give(&mut self, wall_us: i64, now: Instant) -> i64 {
        self.doubt(wall_us, now);
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

    /// Notes how the machine's clock went since it was read last.
    fn doubt(&mut self, wall_us: i64, now: Instant) {
        let expected_us = self.read_us.saturating_add(micros(now.saturating_duration_since(self.read)));
        let leap_us = wall_us.saturating_sub(expected_us);
        if leap_us > LEAP_US && self.read_us > 0 {
            let hours = leap_us / 3_600_000_000;
            info!(
                "{hours} h went by at once on this machine's clock: for a day nothing is removed for being older by that"
            );
            (self.leapt_us, self.leapt) = (self.leapt_us.saturating_add(leap_us), now);
        } else if leap_us < -LEAP_US {
            self.leapt_us = self.leapt_us.saturating_add(leap_us).max(0);
        }
        if now.saturating_duration_since(self.leapt) > DOUBT {
            self.leapt_us = 0;
        }
        (self.read_us, self.read) = (wall_us, now);
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
    fn a_leap_makes_nothing_older_for_a_day() {
        const YEAR_S: i64 = 365 * 86_400;
        let (mut clock, began) = (Clock::after(1_000 * SECOND), Instant::now());
        let mut age = |wall_s: i64, passed_s: u64| {
            clock.give(wall_s * SECOND, began + Duration::from_secs(passed_s));
            clock.aging_us() / SECOND
        };
        assert_eq!(age(1_010, 10), 1_010);
        assert_eq!(age(YEAR_S, 20), 1_020, "it leaps");
        assert_eq!(age(YEAR_S + 100, 120), 1_120);
        assert_eq!(age(1_130, 130), 1_130, "it was set right");
        assert_eq!(age(YEAR_S, 200), 1_200, "it leaps again");
        assert_eq!(age(YEAR_S + 86_400, 86_600), 87_600);
        assert_eq!(age(YEAR_S + 86_500, 86_700), YEAR_S + 86_500, "nobody set it right");
    }

    #[test]
    fn what_was_off_for_long_is_a_leap_and_a_first_start_is_none() {
        let mut clock = Clock::after(1_000 * SECOND);
        let began = clock.read;
        clock.give(1_000_000 * SECOND, began);
        assert_eq!(clock.aging_us(), 1_000 * SECOND);
        let mut clock = Clock::after(0);
        let began = clock.read;
        clock.give(1_000_000 * SECOND, began);
        assert_eq!(clock.aging_us(), 1_000_000 * SECOND);
    }

    #[test]
    fn a_journal_from_the_future_is_gone_on_from() {
        let mut clock = Clock::after(i64::MAX - 10);
        assert_eq!(clock.give(5, Instant::now()), i64::MAX - 10);
        assert_eq!(clock.give(i64::MAX, Instant::now()), i64::MAX);
        assert_eq!(clock.last_us(), i64::MAX);
    }
}
