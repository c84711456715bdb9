//! The uplink's care for the disk: what waits is synced, the places in logs are kept, and then what is acknowledged is
//! removed. One such job at a time, on a thread of its own, since a slow disk must not stop the agent.

use std::fs::File;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::spool::Spool;
use crate::tail::Positions;

/// An event that waits is synced after so long.
const EVENTS: Duration = Duration::from_secs(1);
/// Samples that wait are written and synced after so long.
const SAMPLES: Duration = Duration::from_secs(30);
/// Between two tries where the disk takes nothing.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Job {
    task: JoinHandle<Faults>,
    /// All before this segment is removed once the places are kept.
    removes: Option<u64>,
}

/// Why each half of a job failed.
#[derive(Debug, Default)]
struct Faults {
    sync: Option<String>,
    keep: Option<String>,
}

/// What is to be done to the disk, and when.
#[derive(Debug, Default)]
pub struct Upkeep {
    job: Option<Job>,
    due: Option<Instant>,
    /// What failed and was not done since.
    faults: Faults,
    /// Nothing is removed before, so that what fails is not tried without a pause.
    clears_after: Option<Instant>,
}

impl Upkeep {
    /// Something waits from now on.
    pub fn waits(&mut self, has_events: bool, is_off_disk: bool) {
        let after = match (is_off_disk, has_events) {
            (true, _) => RETRY,
            (_, true) => EVENTS,
            (_, false) => SAMPLES,
        };
        let due = Instant::now() + after;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }

    /// When there is something to do. None: not before something else happens.
    pub fn wake(&self) -> Option<Instant> {
        self.due.filter(|_| self.job.is_none())
    }

    /// Why what waits may not survive a loss of power, or logs may be read again.
    pub fn fault(&self) -> Option<&str> {
        self.faults.sync.as_deref().or(self.faults.keep.as_deref())
    }

    /// Writes and syncs what waits, where that is due.
    pub fn look(&mut self, spool: &mut Spool) {
        if self.wake().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        spool.flush();
        let files = spool.take_unsynced();
        if !files.is_empty() {
            self.begin(files, None);
        }
        if spool.is_empty() {
            // What could not be synced is acknowledged by now.
            self.faults.sync = None;
        }
        if spool.is_off_disk() {
            self.waits(false, true);
        }
    }

    /// Removes what is acknowledged, once the places in the logs that only it tells are kept.
    pub fn clear(&mut self, spool: &mut Spool, positions: &Positions) {
        if self.job.is_some() || self.clears_after.is_some_and(|after| after > Instant::now()) {
            return;
        }
        if spool.is_empty() && !spool.is_off_disk() && self.faults.sync.is_none() {
            // What was to be synced is acknowledged: nothing to wake for.
            self.due = None;
        }
        if let Some(order) = spool.begin_removal(false) {
            self.begin(Vec::new(), Some((order, positions)));
        }
    }

    fn begin(&mut self, files: Vec<File>, keeps: Option<(u64, &Positions)>) {
        let positions = keeps.map(|(_, positions)| positions.clone());
        let task = tokio::task::spawn_blocking(move || Faults {
            sync: files.iter().try_for_each(File::sync_all).err().map(|error| {
                format!("syncing the spool: {error}: what waits may not survive a loss of power, check the disk")
            }),
            keep: positions.and_then(|positions| positions.save().err()).map(|error| {
                format!("keeping the places in logs: {error}: a restart may read some lines again, check state_dir")
            }),
        });
        self.job = Some(Job { task, removes: keeps.map(|(order, _)| order) });
    }

    /// Waits until the present job has ended; for ever where there is none.
    pub async fn finish(&mut self, spool: &mut Spool) {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let found = (&mut job.task).await.unwrap_or_default();
        let removes = self.job.take().and_then(|job| job.removes);
        self.clears_after = found.keep.is_some().then(|| Instant::now() + RETRY);
        if found.sync.is_some() {
            spool.sync_failed();
        }
        match removes {
            Some(order) if found.keep.is_none() => spool.remove_before(order),
            Some(_) => {
                spool.removal_failed();
                self.waits(false, true);
            }
            None => {}
        }
        self.faults = Faults { keep: found.keep.or(self.faults.keep.take().filter(|_| removes.is_none())), ..found };
    }

    /// The end of a run: what waits is written and synced once more, and the places are kept.
    pub async fn close(mut self, spool: &mut Spool, positions: &Positions) {
        if self.job.is_some() {
            self.finish(spool).await;
        }
        spool.flush();
        let (files, removes) = (spool.take_unsynced(), spool.begin_removal(true));
        if !files.is_empty() || removes.is_some() {
            self.begin(files, removes.map(|order| (order, positions)));
            self.finish(spool).await;
        }
        if let Some(fault) = self.fault() {
            tracing::warn!("{fault}");
        }
    }
}
