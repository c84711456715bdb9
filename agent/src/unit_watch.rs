//! Follows what systemd writes of the units of watched services into its journal: starts, stops, ends, failures, restarts.
//! Nothing is asked of systemd itself: the journal's files tell all of it, with the time of each.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;

use crate::budget::{self, Budget};
use crate::clock::{Steps, unix_now_us};
use crate::journald::{self, Journal, Sight};
use crate::sampler::{Observed, Status};
use crate::tail::Positions;
use crate::watch::unit::{self, Units};

/// Between two looks where nothing new was found.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between two places told where nothing else was.
const MARK_INTERVAL: Duration = Duration::from_secs(30);

/// The journal, and which service lives in which unit.
pub struct UnitWatch {
    journal: Journal,
    units: Units,
    clock_steps: Steps,
    told: Option<Status>,
    marked_at: Option<Instant>,
}

impl UnitWatch {
    /// Takes this machine's journal up where it was left.
    pub fn new(units: Units, positions: &Positions) -> Self {
        let journal = Journal::new("journald:_PID=1".to_owned(), journald::folders(), unit::wanted(), positions);
        Self { journal, units, clock_steps: Steps::default(), told: None, marked_at: None }
    }

    /// Reads what is new and tells of it. True: there is more to read at once.
    fn round(&mut self, now: Instant, stopping: bool, out: &mut Vec<Observed>) -> bool {
        // Where nothing lives in a unit, systemd has nothing to tell.
        if self.units.is_empty() {
            return false;
        }
        let before = out.len();
        let now_us = unix_now_us();
        let _by = self.clock_steps.look();
        let (units, steps) = (&self.units, &self.clock_steps);
        let more = self
            .journal
            .poll(now, &mut |entry| out.extend(unit::change(&entry, units, |at_us| steps.steady(at_us, now_us))));
        let due = self.marked_at.is_none_or(|at| now.duration_since(at) >= MARK_INTERVAL);
        if stopping || due || out.len() > before {
            self.marked_at = Some(now);
            let places = self.journal.positions();
            out.extend(self.journal.mark(places).into_iter().map(Observed::Mark));
        }
        let status = self.status();
        if self.told.as_ref() != Some(&status) {
            out.push(Observed::Status(status.message("unit")));
            self.told = Some(status);
        }
        more
    }

    fn status(&self) -> Status {
        match self.journal.sight() {
            Sight::Following => Status::Active,
            Sight::Missing => Status::Unavailable(
                "systemd keeps no journal here, so what it does with units is seen by their processes alone".to_owned(),
            ),
            Sight::Unreadable(why) => Status::Unavailable(format!(
                "{why}: put the agent's user into the group systemd-journal, so that stops and restarts by systemd are known"
            )),
        }
    }
}

/// Follows them until told to stop.
pub async fn run(mut watch: UnitWatch, out: mpsc::Sender<Vec<Observed>>, mut stop: Receiver<bool>, budget: Budget) {
    let mut told = Vec::new();
    loop {
        let stopping = *stop.borrow();
        let (more, rest) = budget.spend(|| watch.round(Instant::now(), stopping, &mut told));
        // Whole, with its place: a report must not end between an entry and the place behind it.
        if !told.is_empty() && out.send(std::mem::take(&mut told)).await.is_err() {
            return;
        }
        if stopping {
            return;
        }
        if !budget::rest(rest, (!more).then_some(LOOK_INTERVAL), &mut stop).await {
            return;
        }
    }
}
