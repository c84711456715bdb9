//! How much CPU goes into reading logs: 2 % of a CPU on average, with something in hand for a burst. A log that is written
//! faster than that is read more slowly than it grows, whole and in order, and its status says so.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::kernel::clock;

/// A CPU's time over this is what comes in.
const SHARE: u32 = 50;
/// The most that is in hand.
const MOST: Duration = Duration::from_millis(100);

/// For so long a log that was read too slowly is said to be.
pub const TOLD: Duration = Duration::from_secs(10);
/// What is said then.
pub const SLOW: &str = "it grows faster than it is read with 2 % of a CPU, the agent's limit: what it tells comes late";

/// The budget of all logs of this agent.
#[derive(Debug, Clone)]
pub struct Budget(Rc<Cell<State>>);

#[derive(Debug, Clone, Copy)]
struct State {
    left: Duration,
    at: Instant,
}

impl Default for Budget {
    /// All of it is in hand.
    fn default() -> Self {
        Self(Rc::new(Cell::new(State { left: MOST, at: Instant::now() })))
    }
}

impl Budget {
    /// Reads; returns what that gave, and how long to rest before more is read.
    pub fn spend<T>(&self, read: impl FnOnce() -> T) -> (T, Duration) {
        let before = clock::cpu_time();
        let done = read();
        let (state, rest) = spent(self.0.get(), clock::cpu_time().saturating_sub(before), Instant::now());
        self.0.set(state);
        (done, rest)
    }
}

fn spent(state: State, cost: Duration, now: Instant) -> (State, Duration) {
    let left = (state.left + now.saturating_duration_since(state.at) / SHARE).min(MOST);
    // What is owed comes in during the rest, so nothing is in hand until it is over.
    let rest = cost.saturating_sub(left) * SHARE;
    (State { left: left.saturating_sub(cost), at: now + rest }, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_read_at_once_and_a_flood_at_its_share() {
        const MS: Duration = Duration::from_millis(1);
        let start = Instant::now();
        let (mut state, mut now, mut used) = (State { left: MOST, at: start }, start, Duration::ZERO);
        while now < start + 10_000 * MS {
            let rest;
            (state, rest) = spent(state, 2 * MS, now);
            used += 2 * MS;
            assert!(used > MOST || rest.is_zero(), "the burst needs no rest");
            now += rest + 2 * MS;
        }
        assert!(used <= MOST + (now - start) / SHARE + 4 * MS, "{used:?}");
        assert!(used >= MOST + 10_000 * MS / SHARE - 8 * MS, "{used:?}");
        let (_, rest) = spent(state, 50 * MS, now + 10_000 * MS);
        assert!(rest.is_zero(), "after a quiet time there is something in hand again");
    }
}
