//! How often to look: at the interval that is configured, unless looks at this host cost so much CPU that the agent would
//! be felt. Then it looks more seldom, and says so.

use std::time::{Duration, Instant};

use crate::beat;
use crate::budget::Budget;
use crate::sampler::Status;

/// A stretch is told of for so long after the last look that needed it, so that the status does not flap.
const TOLD: Duration = Duration::from_secs(60);

/// The time of the next look of one kind.
#[derive(Debug)]
pub struct Pace {
    /// What its status calls it.
    name: &'static str,
    interval: Duration,
    next: Instant,
    /// When the last look began.
    began: Option<Instant>,
    /// The next look waits for the budget.
    waits: bool,
    stretched: Option<Stretched>,
}

/// The longest pause of the last minute.
#[derive(Debug, Clone, Copy)]
struct Stretched {
    pause: Duration,
    cost: Duration,
    at: Instant,
}

impl Pace {
    /// The first look is due at once.
    pub fn new(name: &'static str, interval: Duration) -> Self {
        Self { name, interval, next: Instant::now(), began: None, waits: false, stretched: None }
    }

    /// When the next look is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Another look was as good as this one: it comes when the whole interval has passed again.
    pub fn put_off(&mut self) {
        let now = Instant::now();
        self.next = self.next.max(beat::nearest(now + self.interval, self.interval));
        (self.began, self.waits) = (Some(now), false);
    }

    /// Looks, or puts that off until the budget allows it. True: it looked.
    pub fn look(&mut self, budget: &Budget, look: impl FnOnce()) -> bool {
        let began = Instant::now();
        if !self.may_look(began, budget.rest(began)) {
            return false;
        }
        let cost = budget.look(look);
        self.looked(began, cost);
        self.next = beat::nearest(self.next, self.interval);
        true
    }

    fn may_look(&mut self, now: Instant, rest: Duration) -> bool {
        if rest.is_zero() {
            return true;
        }
        self.next = now + rest;
        self.waits = true;
        false
    }

    fn looked(&mut self, began: Instant, cost: Duration) {
        // In time with the looks before, so that intervals stay what they are called; what was missed is not made up for.
        let due = self.next + self.interval;
        self.next = if due > began { due } else { began + self.interval };
        let pause = self.began.replace(began).map_or(Duration::ZERO, |before| began.duration_since(before));
        let waited = std::mem::take(&mut self.waits) && pause > self.interval + self.interval / 4;
        if waited && self.stretched.is_none_or(|s| s.pause <= pause || began.duration_since(s.at) > TOLD) {
            self.stretched = Some(Stretched { pause, cost, at: began });
        }
        self.stretched = self.stretched.filter(|s| began.duration_since(s.at) <= TOLD);
    }

    /// Whether the interval is kept.
    pub fn status(&self) -> Status {
        let Some(Stretched { pause, cost, .. }) = self.stretched else { return Status::Active };
        // In powers of two: the words change only where the matter does.
        let (seconds, cost_ms) = (pause.as_secs().max(1).next_power_of_two(), cost.as_millis().next_power_of_two());
        Status::Degraded(format!(
            "{} stretched from {:?} to up to {seconds} s: one look at this host costs up to {cost_ms} ms of CPU",
            self.name, self.interval
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn looks_keep_the_interval_unless_the_budget_makes_them_wait() {
        let mut pace = Pace::new("interval", 1000 * MS);
        let start = pace.next();
        pace.looked(start, 3 * MS);
        assert_eq!((pace.next(), pace.status()), (start + 1000 * MS, Status::Active));
        assert!(pace.may_look(start + 1010 * MS, Duration::ZERO));
        pace.looked(start + 1010 * MS, 50 * MS);
        assert_eq!(pace.next(), start + 2000 * MS, "lateness does not add up");
        assert!(!pace.may_look(start + 2000 * MS, 1500 * MS));
        assert_eq!(pace.next(), start + 3500 * MS);
        pace.looked(start + 3500 * MS, 50 * MS);
        assert!(
            matches!(pace.status(), Status::Degraded(why) if why.contains("interval stretched from 1s to up to 2 s"))
        );
        pace.looked(start + 4500 * MS, MS);
        assert!(matches!(pace.status(), Status::Degraded(_)), "it is told for a while");
        pace.looked(start + 4600 * MS + TOLD, MS);
        assert_eq!(pace.status(), Status::Active);
    }

    #[test]
    fn looks_that_were_missed_are_not_made_up_for() {
        let mut pace = Pace::new("interval", 1000 * MS);
        let late = pace.next() + 10_000_000 * MS;
        pace.looked(late, MS);
        assert_eq!((pace.next(), pace.status()), (late + 1000 * MS, Status::Active));
    }
}
