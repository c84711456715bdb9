//! How much CPU goes into looking at the host and reading logs: 2.5 % of a CPU on average and in all, of which logs get
//! 1.5 % at most, so that a flood of lines leaves something for looks. There is something in hand for a burst. Looks that
//! are too dear come more seldom; a log that is written too fast is read more slowly than it grows, whole and in order. Both
//! are told in a status.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;

use crate::kernel::clock;
use crate::{alarm, beat};

/// A CPU's time over this is what comes in.
const SHARE: u32 = 40;
/// The same for logs.
const LOGS_SHARE: u32 = 64;
/// The most that is in hand.
const MOST: Duration = Duration::from_millis(100);

/// For so long a log that was read too slowly is said to be.
pub const TOLD: Duration = Duration::from_secs(10);
/// What is said then.
pub const SLOW: &str =
    "it grows faster than it is read with 1.5 % of a CPU, the agent's limit: what it tells comes late";

/// The budget of this agent.
#[derive(Debug, Clone)]
pub struct Budget(Rc<Cell<State>>);

#[derive(Debug, Clone, Copy)]
struct State {
    all: Account,
    logs: Account,
}

impl Default for Budget {
    /// All of it is in hand.
    fn default() -> Self {
        let full = Account { left: MOST, at: Instant::now() };
        Self(Rc::new(Cell::new(State { all: full, logs: full })))
    }
}

impl Budget {
    /// Reads a log; returns what that gave, and how long to rest before more is read.
    pub fn spend<T>(&self, read: impl FnOnce() -> T) -> (T, Duration) {
        let (done, cost) = measure(read);
        let (now, mut state) = (Instant::now(), self.0.get());
        state.all = state.all.spent(cost, SHARE, now);
        state.logs = state.logs.spent(cost, LOGS_SHARE, now);
        self.0.set(state);
        (done, state.logs.rest(now))
    }

    /// Looks at the host; returns what that cost.
    pub fn look(&self, look: impl FnOnce()) -> Duration {
        let ((), cost) = measure(look);
        let mut state = self.0.get();
        state.all = state.all.spent(cost, SHARE, Instant::now());
        self.0.set(state);
        cost
    }

    /// How long to rest before the next look.
    pub fn rest(&self, now: Instant) -> Duration {
        self.0.get().all.rest(now)
    }
}

/// Rests for as long as is owed, and where nothing waits to be read until the next beat, or until it is told to stop. False:
/// nobody is left who could tell it.
pub async fn rest(owed: Duration, beats: Option<Duration>, stop: &mut Receiver<bool>) -> bool {
    let paid = Instant::now() + owed;
    let until = beats.map_or(paid, |apart| beat::nearest(paid.max(Instant::now() + apart), apart).max(paid));
    tokio::select! {
        () = alarm::sleep_until(until) => true,
        changed = stop.changed() => changed.is_ok(),
    }
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = clock::cpu_time();
    let done = work();
    (done, clock::cpu_time().saturating_sub(before))
}

#[derive(Debug, Clone, Copy)]
struct Account {
    left: Duration,
    /// When that was left. In the future: until then what is owed comes in.
    at: Instant,
}

impl Account {
    fn spent(self, cost: Duration, share: u32, now: Instant) -> Self {
        let left = (self.left + now.saturating_duration_since(self.at) / share).min(MOST);
        let owed = cost.saturating_sub(left) * share;
        Self { left: left.saturating_sub(cost), at: self.at.max(now) + owed }
    }

    fn rest(self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_is_read_at_once_and_a_flood_at_its_share() {
        let start = Instant::now();
        let (mut account, mut now, mut used) = (Account { left: MOST, at: start }, start, Duration::ZERO);
        while now < start + 10_000 * MS {
            account = account.spent(2 * MS, LOGS_SHARE, now);
            used += 2 * MS;
            assert!(used > MOST || account.rest(now).is_zero(), "the burst needs no rest");
            now += account.rest(now) + 2 * MS;
        }
        assert!(used <= MOST + (now - start) / LOGS_SHARE + 4 * MS, "{used:?}");
        assert!(used >= MOST + 10_000 * MS / LOGS_SHARE - 8 * MS, "{used:?}");
        now += 10_000 * MS;
        assert!(account.spent(50 * MS, LOGS_SHARE, now).rest(now).is_zero(), "there is something in hand again");
    }

    #[test]
    fn what_several_owe_adds_up() {
        let now = Instant::now();
        let look = Account { left: Duration::ZERO, at: now }.spent(10 * MS, SHARE, now);
        assert_eq!(look.rest(now), 10 * MS * SHARE);
        let both = look.spent(5 * MS, SHARE, now + 100 * MS);
        assert_eq!(both.rest(now), 15 * MS * SHARE);
    }
}
