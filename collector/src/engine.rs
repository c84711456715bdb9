//! The engine: one plain thread that owns all mutable state, behind one bounded channel. What waits in the channel is
//! taken as one batch: each record is judged against the numbering of its agent, appended to the journal, made durable
//! by one sync for all, folded into the core, and only then answered. Readers see immutable views, published at most
//! every 100 ms. A full disk refuses the batch and tries again with the next; any other fault of the journal ends the
//! thread without an answer. The journal's times never go back. Whoever holds a [`Handle`] may submit and read.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::core::Core;
use crate::journal::{self, CommitError, Journal, OpenError};
use crate::view::{Stats, View};
use crate::wire::{self, Converter, Incoming, Key, Numbering};

#[cfg(test)]
mod hostile;
mod numbering;
#[cfg(test)]
mod tests;

use numbering::{Admission, Numberings};

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
/// Ticks between two looks at the retention.
const RETAIN_TICKS: u64 = 60;

/// What became of a record that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The highest number of its numbering below which nothing is missing. 0 where it has none.
    pub up_to: u64,
    /// When it was taken, unix microseconds.
    pub received_us: i64,
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Reports before it are missing.
    #[error("report {awaited} is awaited")]
    Gap {
        /// The number that would be taken.
        awaited: u64,
    },
    /// The disk is full.
    #[error("the collector's disk is full: nothing is taken until there is space")]
    Full,
    /// It is larger than the journal takes.
    #[error("the record is too large")]
    TooLarge,
    /// More hosts than are kept.
    #[error("the collector knows {HOSTS_MAX} hosts and takes no more")]
    TooManyHosts,
    /// The engine has ended.
    #[error("the collector is stopping")]
    Stopped,
}

enum Command {
    Take(Box<Incoming>, Option<oneshot::Sender<Result<Taken, Refusal>>>),
    Stop,
}

/// The engine's front door and its newest view.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    views: watch::Receiver<Arc<View>>,
}

impl Handle {
    /// Hands a record to the engine; the answer comes once it is durable. Waits while the queue is full.
    pub async fn submit(&self, incoming: Incoming) -> oneshot::Receiver<Result<Taken, Refusal>> {
        let (reply, answer) = oneshot::channel();
        // Where the engine has ended, the answer's sender is dropped with the command.
        let _ = self.commands.send(Command::Take(Box::new(incoming), Some(reply))).await;
        answer
    }

    /// Hands a record to the engine and waits for the answer.
    pub async fn take(&self, incoming: Incoming) -> Result<Taken, Refusal> {
        self.submit(incoming).await.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Hands over a record that nobody waits for.
    pub async fn tell(&self, incoming: Incoming) {
        let _ = self.commands.send(Command::Take(Box::new(incoming), None)).await;
    }

    /// More than half of the queue is taken: agents should slow down.
    pub fn loaded(&self) -> bool {
        self.waiting() > QUEUE / 2
    }

    /// Records that wait for the engine.
    pub fn waiting(&self) -> usize {
        QUEUE - self.commands.capacity()
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// Tells of each new view.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// Asks the engine to end once it has taken what waits.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// All mutable state of the collector.
pub struct Engine {
    journal: Journal,
    state: Fold,
    stats: Stats,
    last_us: i64,
    ticks: u64,
}

/// What is folded from the journal, and nothing else.
#[derive(Default)]
pub struct Fold {
    /// Fleet, cases, incidents.
    pub core: Core,
    converter: Converter,
    numberings: Numberings,
}

impl Fold {
    /// Folds the bytes of a journalled record.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        if let Some(incoming) = Incoming::decode(bytes) {
            self.numberings.fold(&incoming.key());
            self.apply(incoming);
        }
    }

    fn apply(&mut self, incoming: Incoming) {
        if let Some(record) = self.converter.convert(incoming) {
            self.core.apply(&record);
        }
    }
}

impl Engine {
    /// Opens the journal in `dir` and folds all it holds.
    pub fn open(dir: &Path, options: journal::Options) -> Result<Self, OpenError> {
        Self::open_on(dir, options, Box::new(journal::FileSystem))
    }

    /// As `open`, on any disk.
    pub fn open_on(dir: &Path, options: journal::Options, disk: Box<dyn journal::Disk>) -> Result<Self, OpenError> {
        let began = Instant::now();
        let mut state = Fold::default();
        let mut last_us = 0;
        let (journal, recovery) = Journal::open_on(dir, options, disk, &mut |entry| {
            last_us = last_us.max(entry.at_us);
            state.fold_bytes(entry.payload);
        })?;
        for note in &recovery.notes {
            warn!("journal {}: {} bytes at offset {}: {}", note.file, note.bytes, note.offset, note.what);
        }
        info!("journal has {} records, read in {} ms", recovery.records, began.elapsed().as_millis());
        let mut engine = Self { journal, state, stats: Stats::default(), last_us, ticks: 0 };
        engine.stats.started_us = engine.now_us();
        engine.stats.journal_faults = recovery.notes.len() as u64;
        Ok(engine)
    }

    /// Starts the thread. The receiver tells how it ended.
    pub fn spawn(mut self) -> std::io::Result<(Handle, oneshot::Receiver<Result<(), String>>)> {
        let (commands, waiting) = mpsc::channel(QUEUE);
        let (publisher, views) = watch::channel(Arc::new(self.view()));
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let end = self.run(waiting, &publisher);
            // The journal is closed before anybody hears of the end, so that it can be opened again at once.
            drop(self);
            let _ = ended.send(end);
        })?;
        Ok((Handle { commands, views }, end))
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
        publisher.send_replace(Arc::new(self.view()));
        let (mut next_tick, mut last_view, mut dirty) = (Instant::now() + TICK, Instant::now(), false);
        loop {
            let until = if dirty { next_tick.min(last_view + PUBLISH) } else { next_tick };
            let first = timer.block_on(async { tokio::time::timeout_at(until.into(), waiting.recv()).await });
            let (batch, stop) = gather(first.ok(), &mut waiting);
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
                return Ok(());
            }
        }
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
        let received_us = self.now_us();
        self.state.numberings.begin();
        let (mut fresh, mut answers, mut durable) = (Vec::new(), Vec::new(), false);
        for command in batch {
            let Command::Take(mut incoming, reply) = command else { continue };
            let key = incoming.key();
            let judged = self.judge(&key, &mut incoming, received_us);
            if judged == Ok(Admission::Apply) {
                durable |= reply.is_some();
                fresh.push(incoming);
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
            fresh.into_iter().for_each(|incoming| self.state.apply(*incoming));
        }
        for (reply, key, judged) in answers {
            // Who asked may be gone; what was taken stays taken.
            let _ = reply.send(self.answer(&key, judged, kept, received_us));
        }
        Ok(())
    }

    fn judge(&mut self, key: &Key, incoming: &mut Incoming, received_us: i64) -> Result<Admission, Refusal> {
        incoming.stamp(received_us);
        if incoming.encoded_len() > journal::MAX_PAYLOAD {
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
            Admission::Apply => {
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
        match judged? {
            Admission::Gap(awaited) => return Err(Refusal::Gap { awaited }),
            Admission::Apply if !kept => return Err(Refusal::Full),
            // A number of a batch that was not kept is not below the floor any more: it is never acknowledged.
            Admission::Apply | Admission::Duplicate => {}
        }
        let up_to = match key {
            Key::Hello(numbering, _) | Key::Report(numbering, _) => self.floor(numbering),
            Key::Other => 0,
        };
        Ok(Taken { up_to, received_us })
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
        if self.ticks.is_multiple_of(RETAIN_TICKS) {
            match self.journal.retain(self.last_us) {
                Ok(0) => {}
                Ok(gone) => info!("retention removed {gone} journal segments"),
                Err(error) => warn!("retention: {error}"),
            }
        }
        Ok(())
    }

    fn now_us(&mut self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_us = self.last_us.max(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.last_us
    }

    fn view(&self) -> View {
        let cuts = self.state.converter.cuts();
        let stats = Stats {
            journal_records: self.journal.records(),
            journal_bytes: self.journal.bytes(),
            texts_cut: cuts.texts,
            entries_cut: cuts.entries,
            times_cut: cuts.times,
            unknown_records: cuts.unknown,
            ..self.stats.clone()
        };
        picture(&self.state.core, self.last_us, stats)
    }
}

/// The core as readers see it.
pub fn picture(core: &Core, at_us: i64, stats: Stats) -> View {
    View { at_us, hosts: core.hosts().cloned().collect(), incidents: core.incidents().cloned().collect(), stats }
}

/// What waits now, the first of it already received; true: the engine is to end after it.
fn gather(first: Option<Option<Command>>, waiting: &mut mpsc::Receiver<Command>) -> (Vec<Command>, bool) {
    let mut batch = Vec::new();
    let mut next = match first {
        Some(Some(command)) => Some(command),
        // Every handle is gone: nobody can ask any more.
        Some(None) => return (batch, true),
        None => None,
    };
    while let Some(command) = next {
        if matches!(command, Command::Stop) {
            return (batch, true);
        }
        batch.push(command);
        if batch.len() >= BATCH {
            break;
        }
        next = waiting.try_recv().ok();
    }
    (batch, false)
}
