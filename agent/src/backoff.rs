//! How long to wait before the next try: exponential, with jitter over the whole upper half so that a fleet that lost
//! its collector at one moment does not come back at one moment. Pure: randomness is an argument.

use std::time::Duration;

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait at all.
const CAP: Duration = Duration::from_secs(30);

/// The wait after `failures` failed tries in a row (1: after the first), between half and all of
/// 500 ms doubled for each further failure and capped at 30 s. `random` is uniform over all of u64.
pub fn delay(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = FIRST.saturating_mul(1 << doublings).min(CAP);
    let half = longest / 2;
    let share = (random >> 32) as f64 / f64::from(u32::MAX);
    half + half.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_wait_is_between_a_quarter_and_half_a_second() {
        assert_eq!(delay(1, 0), Duration::from_millis(250));
        assert_eq!(delay(1, u64::MAX), Duration::from_millis(500));
        assert_eq!(delay(0, u64::MAX), Duration::from_millis(500));
    }

    #[test]
    fn waits_grow_to_the_cap_and_stay_there() {
        let mut before = Duration::ZERO;
        for failures in 1..=7 {
            let (low, high) = (delay(failures, 0), delay(failures, u64::MAX));
            assert!(low > before || failures == 7, "{failures}: {low:?} after {before:?}");
            assert!(high <= CAP && low * 2 == high, "{failures}: {low:?} to {high:?}");
            before = low;
        }
        for failures in [8, 100, u32::MAX] {
            assert_eq!(delay(failures, 0), CAP / 2);
            assert_eq!(delay(failures, u64::MAX), CAP);
        }
    }

    #[test]
    fn every_random_number_stays_between_the_bounds() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..10_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let wait = delay(3, random);
            assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(2), "{wait:?}");
        }
    }
}
