//! How long a connection may stay: while something that was let in is open on it, and a little beside. Whoever lets something
//! in holds the connection; whoever listens cuts those that nothing holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What holds a connection.
pub struct Stay(Mutex<State>);

struct State {
    /// Streams that were let in and are open.
    held: usize,
    /// Since when there is none.
    idle_since: Instant,
    /// Who came with this connection was let in for good.
    settled: bool,
    /// Its place among those that nothing was let in from yet.
    unproven: Option<OwnedSemaphorePermit>,
}

/// Holds a connection until it is dropped.
pub struct Held(Arc<Stay>);

impl Stay {
    /// Of a connection that came in at a time, with its place among those that nothing was let in from yet.
    pub fn new(idle_since: Instant, unproven: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { held: 0, idle_since, settled: false, unproven })))
    }

    /// Something was let in.
    pub fn hold(self: &Arc<Self>) -> Held {
        let mut state = self.state();
        state.held += 1;
        state.unproven = None;
        Held(self.clone())
    }

    /// Who came was let in and may stay without anything open.
    pub fn settle(&self) {
        let mut state = self.state();
        state.settled = true;
        state.unproven = None;
    }

    /// Since when nothing holds it. None: something does.
    pub fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.held == 0 && !state.settled).then_some(state.idle_since)
    }

    /// Whether it has a place among those that nothing was let in from yet.
    pub fn is_unproven(&self) -> bool {
        self.state().unproven.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.held -= 1;
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_held_by_what_is_open_on_it() {
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        let stay = Stay::new(Instant::now(), Some(places.clone().try_acquire_owned().unwrap()));
        let begun = stay.idle_since().unwrap();
        assert_eq!((stay.is_unproven(), places.available_permits()), (true, 0));
        let (one, other) = (stay.hold(), stay.hold());
        assert_eq!((stay.idle_since(), stay.is_unproven(), places.available_permits()), (None, false, 1));
        drop(one);
        assert_eq!(stay.idle_since(), None);
        drop(other);
        assert!(stay.idle_since().unwrap() > begun);
        stay.settle();
        assert_eq!(stay.idle_since(), None);
    }
}
