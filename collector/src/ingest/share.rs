//! How much one host may send. Journal and history are everybody's: what one host sends without end would push out what the
//! others said. So each has a rate, and some room above it for what an agent held while it was away; one that has used
//! both up is read no faster than the rate. Nothing is lost by that: its agent holds the rest, and thins it by its own rule.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a host may send for ever, bytes a second: some hundred times what a busy one sends.
const PER_SECOND: f64 = 131_072.0;
/// What it may have sent beyond that, bytes.
const ROOM: f64 = 4_194_304.0;
/// It is told so often that a host uses up both.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Hosts without a stream that are remembered for what they sent: half a minute of nothing makes all good.
const REMEMBERED_MAX: usize = 1_024;

/// What one host has sent, whichever of its streams it came by.
#[derive(Clone)]
pub struct Share(Arc<Mutex<Spent>>);

struct Spent {
    /// Bytes that time has not made good yet.
    bytes: f64,
    at: Instant,
    told: Option<Instant>,
}

/// A host has used up its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    /// Nothing more is read from it until then.
    pub until: Instant,
    /// It is time to tell so.
    pub untold: bool,
}

impl Share {
    fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Spent { bytes: 0.0, at: now, told: None })))
    }

    /// Takes off what a report costs.
    pub fn spend(&self, bytes: usize, now: Instant) -> Option<Spell> {
        let mut spent = self.spent(now);
        spent.bytes += bytes as f64;
        let beyond = spent.bytes - ROOM;
        if beyond <= 0.0 {
            return None;
        }
        let untold = spent.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        if untold {
            spent.told = Some(now);
        }
        Some(Spell { until: now + Duration::from_secs_f64(beyond / PER_SECOND), untold })
    }

    /// Takes away the room above the rate, for it was misused.
    pub fn forfeit(&self, now: Instant) {
        let mut spent = self.spent(now);
        spent.bytes = spent.bytes.max(ROOM);
    }

    fn is_whole(&self, now: Instant) -> bool {
        self.spent(now).bytes == 0.0
    }

    fn spent(&self, now: Instant) -> MutexGuard<'_, Spent> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made_good = now.saturating_duration_since(spent.at).as_secs_f64() * PER_SECOND;
        (spent.bytes, spent.at) = ((spent.bytes - made_good).max(0.0), now);
        spent
    }
}

/// The shares of hosts that have a stream, and of those that had one and have used some of theirs.
#[derive(Default)]
pub struct Shares(HashMap<String, Share>);

impl Shares {
    /// The share of a host.
    pub fn of(&mut self, host: &str, now: Instant) -> Share {
        self.0.entry(host.to_owned()).or_insert_with(|| Share::new(now)).clone()
    }

    /// A host has no stream any more.
    pub fn left(&mut self, host: &str, streams: usize, now: Instant) {
        if self.0.get(host).is_some_and(|share| share.is_whole(now)) {
            self.0.remove(host);
        }
        if self.0.len() > streams + REMEMBERED_MAX {
            // Who still has a stream holds its own.
            self.0.retain(|_, share| Arc::strong_count(&share.0) > 1 || !share.is_whole(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn who_sends_more_than_its_share_is_read_at_the_rate() {
        let now = Instant::now();
        let share = Share::new(now);
        assert_eq!(share.spend(ROOM as usize, now), None);
        let spell = share.spend(2 * PER_SECOND as usize, now).unwrap();
        assert_eq!(spell, Spell { until: after(now, 2), untold: true });
        let later = spell.until;
        let again = share.spend(PER_SECOND as usize, later).unwrap();
        assert_eq!(again, Spell { until: after(later, 1), untold: false }, "told once a minute");
        let much_later = after(later, 61);
        assert_eq!(share.spend(300, much_later), None);
        share.forfeit(much_later);
        assert!(share.spend(300, much_later).unwrap().untold);
    }

    #[test]
    fn coming_in_again_makes_nothing_good() {
        let now = Instant::now();
        let mut shares = Shares::default();
        assert_eq!(shares.of("a", now).spend(ROOM as usize, now), None);
        shares.left("a", 0, now);
        assert!(shares.of("a", now).spend(1, now).is_some());
        assert_eq!(shares.of("b", now).spend(1, now), None, "each has its own");
        shares.left("a", 1, after(now, 60));
        assert_eq!(shares.0.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn few_are_remembered() {
        let now = Instant::now();
        let mut shares = Shares::default();
        for number in 0..2 * REMEMBERED_MAX {
            let host = number.to_string();
            shares.of(&host, now).spend(1, now);
        }
        let last = shares.of("last", now);
        shares.left("0", 1, after(now, 1));
        assert_eq!(shares.0.len(), 1, "and who has a stream");
        drop(last);
    }
}
