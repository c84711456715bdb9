//! Losing nothing, tried hard: journals and spools cut and flipped, disks that fill, fail and forget, collectors and agents
//! that are killed, logs that rotate, reports that come twice and out of order; and a collector that is attacked. Each trial prints its figures and fails with what was wrong.

mod agent;
mod attack;
mod damage;
mod disk;
mod kill;
mod lossy;
mod replayed;
mod rotate;
mod soak;
mod spool;
mod storm;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use crate::dice::Dice;

/// How long a trial may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Seconds.
    Short,
    /// As long as the figures of the requirements ask for.
    Full,
}

impl Size {
    /// One number or the other.
    pub fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// What a trial gives: its figures, or what was wrong.
pub type Outcome = Result<String, String>;

/// A trial.
pub struct Trial {
    /// Its name.
    pub name: &'static str,
    /// What is done, and what must hold.
    pub about: &'static str,
    /// Does it.
    pub run: fn(Size) -> Outcome,
    /// Its short form takes a minute: it is done only where it is named.
    pub lasts: bool,
}

/// Every trial.
pub fn all() -> Vec<Trial> {
    let trial = |name, about, run| Trial { name, about, run, lasts: false };
    vec![
        trial("journal-cut", "cut at every byte: it opens with the exact records before the cut", damage::cut),
        trial("journal-flip", "every bit flipped: at most the record it is in is lost, and told", damage::flip),
        trial("packed-cut", "a packed segment cut at every byte: the whole frames before the cut", damage::packed_cut),
        trial(
            "packed-flip",
            "every bit of one flipped: at most the frame it is in is lost, and told",
            damage::packed_flip,
        ),
        trial("power-loss", "unsynced writes dropped: nothing that was committed is lost", lossy::power_loss),
        trial("disk-full", "no space at every write: refused, never acknowledged, goes on by itself", lossy::disk_full),
        trial("sync-fails", "an I/O error on sync: never tried again, never acknowledged", lossy::sync_fails),
        trial("replayed", "reports twice and out of order: the journal of the clean run", replayed::run),
        trial(
            "spool-cut",
            "the agent's spool cut at every byte: it opens with the exact reports before the cut",
            spool::cut,
        ),
        trial("spool-flip", "every bit of it flipped: at most the report it is in is lost, and told", spool::flip),
        trial("spool-away", "24 h of reports and no collector: no failure and no exit is missing", spool::away),
        trial(
            "spool-full",
            "no space for the agent: it goes on in memory, says so, is back within 5 s",
            agent::disk_full,
        ),
        trial("agent-kill", "kill -9 of the agent while it tails: no failing line lost, none told twice", agent::kill),
        trial("rotate", "logs rotated in four ways at 10,000 lines/s: no line lost, none read twice", rotate::run),
        trial("half-open", "connections that go no further: all closed, honest hosts go on", attack::half_open::run),
        trial("slow-bytes", "messages without end, too large, bombs: cut off and named", attack::slow::run),
        trial("flood", "pings, settings, resets without end: cut off and named", attack::flood::run),
        trial("descriptors", "descriptors run out: no spinning, and it goes on by itself", attack::descriptors::run),
        trial("names", "names without end from one host: bounded, cut off and named", attack::names::run),
        trial("storm", "kill -9 of the collector under a fleet: all hosts are back within 60 s", storm::run),
        Trial {
            lasts: true,
            ..trial("soak", "a fleet that breaks for long: memory, descriptors, threads stay", soak::run)
        },
        trial("kill", "kill -9 of the collector: nothing acknowledged is lost, nothing taken twice", kill::run),
    ]
}

/// A folder in memory where there is one: millions of starts must not wear a disk.
fn folder() -> Result<tempfile::TempDir, String> {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.map_err(|error| format!("temporary folder: {error}"))
}

/// Does so many pieces of work by their numbers, on all processors; gives the sum of what they gave.
fn on_all_processors(
    pieces: usize,
    work: impl Fn(usize) -> Result<(usize, usize), String> + Sync,
) -> Result<(usize, usize), String> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut sum = (0, 0);
        loop {
            match next.fetch_add(1, Relaxed) {
                piece if piece < pieces => sum = add(sum, work(piece)?),
                _ => return Ok::<_, String>(sum),
            }
        }
    };
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_fold((0, 0), |sum, worker| {
            let ended = worker.join().map_err(|_| "a start panicked".to_owned())?;
            ended.map(|more| add(sum, more))
        })
    })
}

fn add(one: (usize, usize), other: (usize, usize)) -> (usize, usize) {
    (one.0 + other.0, one.1 + other.1)
}

/// The payload of a record: what it must be is told by its number.
fn payload(index: u64) -> Vec<u8> {
    let mut dice = Dice::new(index);
    let len = 40 + dice.below(900) as usize;
    (0..len).map(|_| dice.below(256) as u8).collect()
}
