//! How often to look: at the interval that is configured, unless a look at this host costs so much CPU that the agent would
//! be felt. Then it looks more seldom, and says so.

use std::time::{Duration, Instant};

use crate::kernel::clock;
use crate::sampler::Status;

/// A look is followed by a rest of so many times its own CPU time: 1.25 % of a CPU goes into looks at most.
const REST: u32 = 79;
/// A stretch is told of for so long after the last look that needed it, so that the status does not flap.
const TOLD: Duration = Duration::from_secs(60);

/// The time of the next look.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Instant,
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
    pub fn new(interval: Duration) -> Self {
        Self { interval, next: Instant::now(), stretched: None }
    }

    /// When the next look is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Not before the whole interval has passed again.
    pub fn put_off(&mut self) {
        self.next = self.next.max(Instant::now() + self.interval);
    }

    /// Looks; the next look comes after the interval, or after a longer rest where this one was dear.
    pub fn look(&mut self, look: impl FnOnce()) {
        let (began, before) = (Instant::now(), clock::cpu_time());
        look();
        self.looked(began, Instant::now(), clock::cpu_time().saturating_sub(before));
    }

    fn looked(&mut self, began: Instant, now: Instant, cost: Duration) {
        let rest = cost * REST;
        // In time with the looks before, so that intervals stay what they are called; what was missed is not made up for.
        let due = self.next + self.interval;
        let on_time = if due > began { due } else { began + self.interval };
        self.next = on_time.max(now + rest);
        let pause = self.next.duration_since(began);
        if pause > self.interval + self.interval / 4
            && self.stretched.is_none_or(|s| s.pause <= pause || now.duration_since(s.at) > TOLD)
        {
            self.stretched = Some(Stretched { pause, cost, at: now });
        }
        self.stretched = self.stretched.filter(|s| now.duration_since(s.at) <= TOLD);
    }

    /// Whether the interval is kept.
    pub fn status(&self) -> Status {
        let Some(Stretched { pause, cost, .. }) = self.stretched else { return Status::Active };
        // In powers of two: the words change only where the matter does.
        let (seconds, cost_ms) = (pause.as_secs().max(1).next_power_of_two(), cost.as_millis().next_power_of_two());
        Status::Degraded(format!(
            "interval stretched from {:?} to up to {seconds} s: one look at this host costs up to {cost_ms} ms of CPU",
            self.interval
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cheap_looks_keep_the_interval_and_dear_ones_stretch_it() {
        let start = Instant::now();
        let mut pace = Pace { interval: 1000 * MS, next: start, stretched: None };
        pace.looked(start, start + 3 * MS, 3 * MS);
        assert_eq!((pace.next(), pace.status()), (start + 1000 * MS, Status::Active));
        let late = start + 1010 * MS;
        pace.looked(late, late + 3 * MS, 3 * MS);
        assert_eq!(pace.next(), start + 2000 * MS, "lateness does not add up");
        let dear = start + 2000 * MS;
        pace.looked(dear, dear + 60 * MS, 50 * MS);
        assert_eq!(pace.next(), dear + 60 * MS + 50 * MS * REST);
        assert!(matches!(pace.status(), Status::Degraded(why) if why.contains("from 1s to up to 4 s")));
        let cheap = pace.next();
        pace.looked(cheap, cheap, MS);
        assert!(matches!(pace.status(), Status::Degraded(_)), "it is told for a while");
        pace.looked(cheap + TOLD, cheap + TOLD, MS);
        assert_eq!(pace.status(), Status::Active);
    }

    #[test]
    fn looks_missed_in_suspension_are_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace { interval: 1000 * MS, next: start, stretched: None };
        let hours = start + 10_000_000 * MS;
        pace.looked(hours, hours, MS);
        assert_eq!(pace.next(), hours + 1000 * MS);
    }
}
