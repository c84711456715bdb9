//! Moments at which all that looks again and again does so together: being woken costs more than most looks do. A beat of a
//! second is one of half a second too, and so on.

use std::time::{Duration, Instant};

use crate::kernel::clock;

/// The beat nearest to a time, of those that lie so far apart. They are counted from the host's boot, so hosts keep no common time.
pub fn nearest(at: Instant, apart: Duration) -> Instant {
    let (now, since_boot) = (Instant::now(), Duration::from_micros(clock::boottime_us()));
    let then = since_boot + at.saturating_duration_since(now);
    let then = then.saturating_sub(now.saturating_duration_since(at));
    let Some(after) = then.as_nanos().checked_rem(apart.as_nanos()) else { return at };
    let after = Duration::from_nanos(u64::try_from(after).unwrap_or(0));
    let next = apart.saturating_sub(after);
    if after < next { at.checked_sub(after).unwrap_or(at) } else { at + next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_of_several_lengths_fall_together() {
        let (second, half) = (Duration::from_secs(1), Duration::from_millis(500));
        let close = |one: Instant, other: Instant| {
            let apart = one.max(other) - one.min(other);
            assert!(apart < Duration::from_millis(20), "{apart:?}");
        };
        let beat = nearest(Instant::now() + 10 * second, second);
        close(nearest(beat, half), beat);
        close(nearest(beat + half, half), beat + half);
        for (off, of) in [(0, 0), (400, 0), (600, 1000), (1400, 1000), (1600, 2000)] {
            close(nearest(beat + Duration::from_millis(off), second), beat + Duration::from_millis(of));
        }
        close(nearest(beat - Duration::from_millis(300), second), beat);
    }

    #[test]
    fn beats_without_a_length_are_at_all_times() {
        let at = Instant::now();
        assert_eq!(nearest(at, Duration::ZERO), at);
    }
}
