//! The engine: one plain thread that owns all mutable state, behind one bounded channel. What waits in the channel is
//! taken as one batch: each record is judged against the numbering of its agent, appended to the journal, made durable
//! by one sync for all, folded into the core, and only then answered. Readers see immutable views, published at most
//! every 100 ms. A full disk refuses the batch and tries again with the next; any other fault of the journal ends the
//! thread without an answer. The journal's times never go back. Whoever holds a [`Handle`] may submit and read.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::journal::{self, CommitError, Journal, OpenError, Packed};
use crate::view::{SinkInfo, Stats, View};
use crate::wire::{self, Incoming, Key, Numbering};

mod checkpoint;
mod clock;
mod fold;
mod handle;
#[cfg(test)]
mod hostile;
mod numbering;
mod past;
#[cfg(test)]
mod tests;

pub use fold::{Fold, picture};
pub use handle::{Handle, Refusal, Taken};
pub use past::{Past, PastError, Raw};

use checkpoint::{Checkpoint, Saver};
use clock::Clock;
use handle::Command;
use numbering::Admission;
use past::Recorder;

/// Records that may wait for the engine. Beyond it, submitters wait.
const QUEUE: usize = 512;
/// Most records of one batch.
const BATCH: usize = 256;
/// Idle time is journalled so often: closing an incident replays too.
const TICK: Duration = Duration::from_secs(1);
/// Views are published at most so often.
const PUBLISH: Duration = Duration::from_millis(100);
/// Hosts that are kept. Further ones are refused: names cost memory, and anybody can make up names.
const HOSTS_MAX: usize = 50_000;
/// Questions about the past that are answered at once.
const PAST_READERS: usize = 2;
/// Ticks between two looks at the retention.
const RETAIN_TICKS: u64 = 60;

/// Records of one host stand side by side in packed segments.
const PACKING: journal::Packing = journal::Packing { kin: wire::kin, frame_bytes: 128 << 10 };

/// A checkpoint is written once so many records came after the one before: folding them again takes about a second.
const CHECKPOINT_RECORDS: u64 = 30_000;
/// And after so many ticks in any case.
const CHECKPOINT_TICKS: u64 = 600;

/// All mutable state of the collector.
pub struct Engine {
    journal: Journal,
    state: Fold,
    recorder: Recorder,
    stats: Stats,
    clock: Clock,
    ticks: u64,
    /// Records at the newest checkpoint.
    checkpoint_at: u64,
    saver: Saver,
}

impl Engine {
    /// Opens the journal in `dir` and folds all it holds.
    pub fn open(dir: &Path, options: journal::Options) -> Result<Self, OpenError> {
        Self::open_on(dir, options, Box::new(journal::FileSystem))
    }

    /// As `open`, on any disk.
    pub fn open_on(dir: &Path, options: journal::Options, disk: Box<dyn journal::Disk>) -> Result<Self, OpenError> {
        let began = Instant::now();
        let known = Checkpoint::load(dir).unwrap_or_else(|why| {
            warn!("checkpoint: {why}; the journal is read without it");
            None
        });
        let known = known.filter(|known| known.past.as_ref().is_none_or(|past| past.fits(&past::folder(dir))));
        let (after, past, mut last_us, mut state) = match known {
            Some(known) => (Some(known.journal), Some((known.timeline, known.past)), known.last_us, known.fold),
            None => (checkpoint::begin_without(dir), None, 0, Fold::default()),
        };
        let mut recorder = Recorder::open(dir, options.limits, past)?;
        let limits = past::without_share(options.limits);
        let options = journal::Options { limits, packing: Some(PACKING), ..options };
        let (journal, recovery) = Journal::open_on(dir, options, disk, after.as_ref(), &mut |entry| {
            last_us = last_us.max(entry.at_us);
            if let Some(host) = state.fold_bytes(entry.payload) {
                recorder.note(&state, &host, entry.at_us, entry.place, entry.payload.len() as u64);
                recorder.flush(false);
            }
        })?;
        recorder.flush(true);
        for note in &recovery.notes {
            warn!("journal {}: {} bytes at offset {}: {}", note.file, note.bytes, note.offset, note.what);
        }
        let whence = if after.is_some() { "after the checkpoint" } else { "in all" };
        info!("journal has {} records {whence}, read in {} ms", recovery.records, began.elapsed().as_millis());
        let checkpoint_at = journal.records() - recovery.records;
        let mut engine = Self {
            journal,
            state,
            recorder,
            stats: Stats::default(),
            clock: Clock::after(last_us),
            ticks: 0,
            checkpoint_at,
            saver: Saver::new(dir),
        };
        engine.stats.started_us = engine.clock.now_us();
        engine.stats.journal_faults = recovery.notes.len() as u64;
        engine.keep_what_was_read().map_err(|why| OpenError::Io(dir.to_owned(), std::io::Error::other(why)))?;
        Ok(engine)
    }

    /// Tells readers which sinks are configured.
    pub fn name_sinks(&mut self, sinks: Vec<SinkInfo>) {
        self.stats.sinks = sinks.into();
    }

    /// What a reader would see and read now, without a thread that goes on.
    #[cfg(test)]
    pub(crate) fn opened(&self) -> (Past, View) {
        (self.recorder.past(), self.view())
    }

    /// Starts the thread. The receiver tells how it ended.
    pub fn spawn(mut self) -> std::io::Result<(Handle, oneshot::Receiver<Result<(), String>>)> {
        let (commands, waiting) = mpsc::channel(QUEUE);
        let (publisher, views) = watch::channel(Arc::new(self.view()));
        let (ended, end) = oneshot::channel();
        let past = self.recorder.past();
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let end = self.run(waiting, &publisher);
            // The journal is closed before anybody hears of the end, so that it can be opened again at once.
            drop(self);
            let _ = ended.send(end);
        })?;
        let past_readers = Arc::new(Semaphore::new(PAST_READERS));
        Ok((Handle { commands, views, past, past_readers }, end))
    }

    fn run(
        &mut self,
        mut waiting: mpsc::Receiver<Command>,
        publisher: &watch::Sender<Arc<View>>,
    ) -> Result<(), String> {
        // Only for waiting with a time limit: nothing else runs on it.
        let timer = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let timer = timer.map_err(|error| format!("engine's timer: {error}"))?;
        let orphans = self.orphans();
        self.take(orphans)?;
        self.pack();
        publisher.send_replace(Arc::new(self.view()));
        let (mut next_tick, mut last_view, mut dirty) = (Instant::now() + TICK, Instant::now(), false);
        loop {
            let until = if dirty { next_tick.min(last_view + PUBLISH) } else { next_tick };
            let first = timer.block_on(async { tokio::time::timeout_at(until.into(), waiting.recv()).await });
            let (batch, stop) = handle::gather(first.ok(), &mut waiting);
            dirty |= !batch.is_empty();
            self.take(batch)?;
            let now = Instant::now();
            if now >= next_tick {
                self.tick()?;
                next_tick = now + TICK;
                dirty = true;
            }
            if stop || (dirty && now >= last_view + PUBLISH) {
                publisher.send_replace(Arc::new(self.view()));
                (last_view, dirty) = (now, false);
            }
            if stop {
                // The next start has nothing to fold then.
                let last = self.freeze()?;
                self.saver.end(last);
                return Ok(());
            }
        }
    }

    /// What took long to read is not read again, however soon this start ends: who dies early again and again would need longer
    /// each time.
    fn keep_what_was_read(&mut self) -> Result<(), String> {
        if self.since_checkpoint() < CHECKPOINT_RECORDS {
            return Ok(());
        }
        // A start that found a torn end has no segment yet to go on from.
        self.take(vec![Command::Take(Box::new(wire::tick()), None)])?;
        let read = self.freeze()?;
        self.saver.end(read);
        Ok(())
    }

    fn since_checkpoint(&self) -> u64 {
        self.journal.records() - self.checkpoint_at
    }

    /// Hosts that the journal leaves connected: their streams ended with the process that held them.
    fn orphans(&self) -> Vec<Command> {
        let connected = self.state.core.hosts().filter(|host| host.connected);
        connected
            .map(|host| Command::Take(Box::new(wire::stream_ended(&host.name, "collector restarted")), None))
            .collect()
    }

    /// Takes one batch: judge, journal, sync, fold, answer, in this order.
    fn take(&mut self, batch: Vec<Command>) -> Result<(), String> {
        if batch.is_empty() {
            return Ok(());
        }
        let received_us = self.clock.now_us();
        self.state.numberings.begin();
        let (mut fresh, mut answers, mut durable) = (Vec::new(), Vec::new(), false);
        for command in batch {
            let Command::Take(mut incoming, reply) = command else { continue };
            let key = incoming.key();
            incoming.stamp(received_us);
            let bytes = incoming.encoded_len();
            let judged = self.judge(&key, &incoming, bytes, received_us);
            if matches!(judged, Ok(Admission::Apply | Admission::ApplyAfterHole)) {
                durable |= reply.is_some();
                fresh.push((incoming, bytes as u64));
            }
            answers.extend(reply.map(|reply| (reply, key, judged)));
        }
        let kept = match self.journal.commit(durable) {
            Ok(()) => true,
            Err(CommitError::Full(error)) => self.full(&error),
            Err(CommitError::Failed(error)) => return Err(format!("journal: {error}")),
        };
        if kept {
            if self.stats.disk_full && !fresh.is_empty() {
                info!("journal: there is space again");
                self.stats.disk_full = false;
            }
            self.fold(fresh, received_us);
        }
        for (reply, key, judged) in answers {
            // Who asked may be gone; what was taken stays taken.
            let _ = reply.send(self.answer(&key, judged, kept, received_us));
        }
        Ok(())
    }

    /// Folds what the journal has just kept.
    fn fold(&mut self, fresh: Vec<(Box<Incoming>, u64)>, received_us: i64) {
        for ((incoming, bytes), place) in fresh.into_iter().zip(self.journal.placed()) {
            let host = incoming.host().unwrap_or_default().to_owned();
            self.state.apply(*incoming);
            self.recorder.note(&self.state, &host, received_us, *place, bytes);
        }
        self.recorder.flush(true);
    }

    fn judge(&mut self, key: &Key, incoming: &Incoming, bytes: usize, received_us: i64) -> Result<Admission, Refusal> {
        if bytes > journal::MAX_PAYLOAD {
            return Err(Refusal::TooLarge);
        }
        if let Key::Hello(numbering, _) = key
            && self.state.numberings.hosts() >= HOSTS_MAX
            && !self.state.numberings.knows(&numbering.host)
        {
            return Err(Refusal::TooManyHosts);
        }
        let admission = self.state.numberings.admit(key);
        match admission {
            Admission::Apply | Admission::ApplyAfterHole => {
                self.journal.append(received_us, |out| incoming.encode(out)).map_err(|_| Refusal::TooLarge)?;
                self.stats.reports += u64::from(matches!(key, Key::Report(..)));
            }
            Admission::Duplicate => self.stats.duplicates += 1,
            Admission::Gap(_) => self.stats.gaps += 1,
        }
        Ok(admission)
    }

    fn answer(
        &self,
        key: &Key,
        judged: Result<Admission, Refusal>,
        kept: bool,
        received_us: i64,
    ) -> Result<Taken, Refusal> {
        let admission = judged?;
        match admission {
            Admission::Gap(awaited) => return Err(Refusal::Gap { awaited }),
            // A number of a batch that was not kept is not below the floor any more: it is never acknowledged.
            Admission::Duplicate => {}
            Admission::Apply | Admission::ApplyAfterHole if kept => {}
            Admission::Apply | Admission::ApplyAfterHole => return Err(Refusal::Full),
        }
        let up_to = match key {
            Key::Hello(numbering, _) | Key::Report(numbering, _) => self.floor(numbering),
            Key::Other => 0,
        };
        Ok(Taken { up_to, received_us, missed_some: admission == Admission::ApplyAfterHole })
    }

    fn floor(&self, numbering: &Numbering) -> u64 {
        self.state.numberings.floor(numbering)
    }

    /// Nothing of the batch was kept.
    fn full(&mut self, error: &std::io::Error) -> bool {
        self.state.numberings.roll_back();
        if !self.stats.disk_full {
            error!("journal: {error}; nothing is acknowledged until there is space");
        }
        self.stats.disk_full = true;
        false
    }

    /// Time passed. A tick is written but not waited for: losing it loses nothing.
    fn tick(&mut self) -> Result<(), String> {
        self.take(vec![Command::Take(Box::new(wire::tick()), None)])?;
        self.ticks += 1;
        self.pack();
        if self.ticks.is_multiple_of(RETAIN_TICKS) {
            self.retain();
        }
        if self.since_checkpoint() >= CHECKPOINT_RECORDS || self.ticks.is_multiple_of(CHECKPOINT_TICKS) {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn retain(&mut self) {
        match self.journal.retain(self.clock.aging_us()) {
            Ok(0) => {}
            Ok(gone) => info!("retention removed {gone} journal segments"),
            Err(error) => warn!("retention: {error}"),
        }
        let (oldest, newest) = self.journal.segments_kept();
        self.recorder.retain(&self.state, (oldest, newest), self.clock.last_us(), self.clock.aging_us());
    }

    fn pack(&mut self) {
        match self.journal.pack() {
            Some(Ok(Packed { first, before, after })) => {
                debug!("segment {first} packed from {before} to {after} bytes")
            }
            Some(Err(fault)) => warn!("packing the journal: {fault}; the segment stays as it is"),
            None => {}
        }
    }

    /// Has a checkpoint of the present state written, unless one is still being written.
    fn checkpoint(&mut self) -> Result<(), String> {
        if self.saver.is_free()
            && let Some(checkpoint) = self.freeze()?
        {
            self.saver.begin(checkpoint);
        }
        Ok(())
    }

    /// The present state with its place in the journal, everything before which is durable.
    fn freeze(&mut self) -> Result<Option<Checkpoint>, String> {
        let Some(journal) = self.journal.bookmark().map_err(|error| format!("journal: {error}"))? else {
            return Ok(None);
        };
        self.checkpoint_at = self.journal.records();
        let Some((past, timeline)) = self.recorder.bookmark() else { return Ok(None) };
        Ok(Some(Checkpoint { journal, past, last_us: self.clock.last_us(), fold: self.state.clone(), timeline }))
    }

    fn view(&self) -> View {
        let cuts = self.state.cuts();
        let stats = Stats {
            aging_us: self.clock.aging_us(),
            journal_records: self.journal.records(),
            journal_bytes: self.journal.bytes(),
            texts_cut: cuts.texts,
            entries_cut: cuts.entries,
            times_cut: cuts.times,
            unknown_records: cuts.unknown,
            ..self.stats.clone()
        };
        picture(&self.state.core, self.clock.last_us(), stats)
    }
}
