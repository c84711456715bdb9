//! Reports between their closing and their acknowledgement, oldest first, on disk in `state_dir/spool` and bounded by bytes.
//!
//! A report gets its number as it comes in. One with events, or with places up to which logs were read, is written before it
//! is sent, and those closed together are written together, so that killing the agent at any moment loses nothing that came
//! in and no line is told twice; samples alone are written where they wait for long. Each run of the agent numbers its
//! reports anew; what a run before it left is delivered first, under the numbers that it had, so that the collector counts
//! each report once. What waits is synced to the disk from time to time, which is the uplink's care: a loss of power costs
//! at most what came since. When the limit is reached, [`thin`] says what goes. Where the disk takes nothing, a few reports
//! are held in memory and then no more are taken in, so that logs wait in their files.

mod frame;
mod load;
mod record;
mod store;
pub mod thin;
mod window;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use why502_proto::v1;

pub use frame::Numbering;
use record::Entry;
use store::Store;
use window::Window;

use crate::report::Sealed;
use crate::tail::Mark;

/// Most bytes held in memory while the disk takes nothing.
const HELD_BYTES: usize = 4 << 20;
/// Most bytes of samples held in memory while the disk could take them.
const UNWRITTEN_BYTES: usize = 256 * 1024;
/// The limit is kept by segments of this share of it.
const SEGMENTS: u64 = 64;
/// The largest segment, bytes: so much is read at once.
const MAX_SEGMENT_BYTES: u64 = 256 * 1024;
/// A segment whose reports are all acknowledged is written on up to here, bytes.
const KEPT_BYTES: u64 = 64 * 1024;

/// What was given up for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reports whose samples were left out.
    pub thinned_reports: u64,
    /// Events left out.
    pub dropped_events: u64,
}

/// The reports that are not acknowledged.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    /// None: the folder can't be used.
    store: Option<Store>,
    own: Arc<Numbering>,
    next_seq: u64,
    /// The oldest ones, in memory.
    window: Window,
    /// The last record on disk that was taken into the window: its segment and number.
    loaded: (u64, u64),
    /// The last number that was taken into the window, and whose it is.
    newest: Option<(Arc<Numbering>, u64)>,
    /// Those that are not on disk, behind all others.
    held: VecDeque<Entry>,
    held_bytes: usize,
    waiting: usize,
    disk_fault: Option<String>,
    damage: Option<String>,
    /// Places were acknowledged that no record on disk tells.
    unkept_marks: bool,
    limit_bytes: u64,
    counts: Counts,
}

impl Spool {
    /// Takes up what the runs before this one left; tells how far they had read logs for it.
    pub fn open(state_dir: &Path, own: Numbering, limit_bytes: u64) -> (Self, Vec<Mark>) {
        let own = Arc::new(own);
        let mut spool = Self {
            dir: state_dir.join("spool"),
            store: None,
            window: Window::new(own.clone()),
            own,
            next_seq: 1,
            loaded: (0, 0),
            newest: None,
            held: VecDeque::new(),
            held_bytes: 0,
            waiting: 0,
            disk_fault: None,
            damage: None,
            unkept_marks: false,
            limit_bytes,
            counts: Counts::default(),
        };
        let marks = spool.open_store();
        (spool, marks)
    }

    fn open_store(&mut self) -> Vec<Mark> {
        let segment_bytes = (self.limit_bytes / SEGMENTS).min(MAX_SEGMENT_BYTES);
        let (mut marks, mut waiting) = (Vec::<Mark>::new(), 0);
        let opened = Store::open(self.dir.clone(), (*self.own).clone(), segment_bytes, &mut |frame| {
            waiting += 1;
            for mark in record::marks(frame.payload) {
                marks.retain(|other| other.log != mark.log);
                marks.push(mark);
            }
        });
        match opened {
            Ok((store, found)) => {
                self.store = Some(store);
                self.waiting += waiting;
                self.disk_fault = None;
                self.damage = found.told(&self.dir);
            }
            Err(error) => self.disk_fault = Some(fault(&self.dir, &error)),
        }
        marks
    }

    /// Takes in what was closed together; older samples are thinned where there is no room.
    pub fn push(&mut self, closed: Vec<Sealed>) {
        let must_last = |sealed: &Sealed| !sealed.report.events.is_empty() || !sealed.marks.is_empty();
        let writes = closed.iter().any(must_last);
        let count = closed.len();
        for (index, sealed) in closed.into_iter().enumerate() {
            let entry = Entry::new(self.own.clone(), self.next_seq, sealed, index + 1 < count);
            self.next_seq += 1;
            self.waiting += 1;
            self.held_bytes += entry.bytes();
            self.held.push_back(entry);
        }
        if writes || self.held_bytes > UNWRITTEN_BYTES {
            self.flush();
        }
        while self.held_bytes > HELD_BYTES && self.strip_held() {}
    }

    /// Whether more may come in.
    pub fn has_room(&self) -> bool {
        self.held_bytes <= HELD_BYTES
    }

    /// Writes what is in memory only, as far as the disk takes it.
    pub fn flush(&mut self) {
        if self.store.is_none() {
            self.open_late();
        }
        while self.write_together() {}
    }

    /// The folder may be usable by now. What stands in it is older than all that came since.
    fn open_late(&mut self) {
        self.open_store();
        if self.store.as_ref().is_none_or(|store| store.segments().is_empty()) {
            return;
        }
        self.window.link(self.own.clone());
        while let Some(entry) = self.window.pop_unsent() {
            self.held_bytes += entry.bytes();
            self.held.push_front(entry);
        }
        self.newest = None;
    }

    /// Writes the oldest reports that are in memory only and were closed together. False: there are none, or it failed.
    fn write_together(&mut self) -> bool {
        let range = self.window.unwritten();
        let is_caught_up = !self.has_unloaded();
        let Some(store) = &mut self.store else { return false };
        let held = if range.is_empty() { together(&self.held) } else { 0 };
        let entries: Vec<&Entry> = self.window.range(range.clone()).chain(self.held.range(..held)).collect();
        let Some(last_seq) = entries.last().map(|entry| entry.seq) else { return false };
        let payloads: Vec<Vec<u8>> = entries.iter().map(|entry| entry.payload()).collect();
        let frames: Vec<_> = entries.iter().zip(&payloads).map(|(entry, payload)| entry.frame(payload)).collect();
        let order = match store.append(&frames) {
            Ok(order) => order,
            Err(error) => {
                self.disk_fault = Some(fault(&self.dir, &error));
                return false;
            }
        };
        self.disk_fault = None;
        if !range.is_empty() {
            self.loaded = (order, last_seq);
        }
        self.window.written(range, order);
        self.release(held, order, is_caught_up);
        self.keep_limit();
        true
    }

    /// Those that stand on disk now need not be held; the window takes them where nothing comes before them and it has room.
    fn release(&mut self, count: usize, order: u64, is_caught_up: bool) {
        let mut fits = is_caught_up;
        for mut entry in self.held.drain(..count) {
            self.held_bytes -= entry.bytes();
            fits &= self.window.has_room();
            if fits {
                entry.order = Some(order);
                self.loaded = (order, entry.seq);
                self.newest = Some((entry.numbering.clone(), entry.seq));
                self.window.push(entry);
            }
        }
    }

    /// What is wrong with the disk. None: it takes what comes, and all that stood on it could be read.
    pub fn trouble(&self) -> Option<&str> {
        self.disk_fault.as_deref().or(self.damage.as_deref())
    }

    /// Whether the disk takes nothing.
    pub fn is_off_disk(&self) -> bool {
        self.disk_fault.is_some()
    }

    /// What is to be synced by now: nothing where nothing waits.
    pub fn take_unsynced(&mut self) -> Vec<File> {
        let waits = !self.is_empty();
        self.store.as_mut().filter(|_| waits).map(Store::take_unsynced).unwrap_or_default()
    }

    /// A sync failed: what was written may not stand there, so what comes next goes into another file.
    pub fn sync_failed(&mut self) {
        if let Some(store) = &mut self.store {
            store.close();
        }
    }

    /// What the hello of a new connection says: whose reports it takes, those of the oldest run, and from which number on.
    pub fn first(&mut self) -> (Arc<Numbering>, u64) {
        self.load();
        let first = self.window.front();
        let numbering = first.map_or_else(|| self.own.clone(), |entry| entry.numbering.clone());
        (numbering, first.map_or(self.next_seq, |entry| entry.seq))
    }

    /// A new connection for the reports of this run: everything not acknowledged is to be sent again.
    pub fn rewind(&mut self, numbering: Arc<Numbering>) {
        self.window.link(numbering);
    }

    /// All reports of this connection's run are acknowledged, and there are others, which need a connection of their own.
    pub fn wants_another_connection(&mut self) -> bool {
        self.load();
        self.window.wants_another_connection()
    }

    /// Reports sent on this connection and not acknowledged.
    pub fn sent(&self) -> usize {
        self.window.sent()
    }

    /// Reports that wait for their acknowledgement.
    pub fn len(&self) -> usize {
        if self.is_empty() { 0 } else { self.waiting.max(1) }
    }

    /// Whether all was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty() && self.held.is_empty() && !self.has_unloaded()
    }

    /// What was given up.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether `next_report` would give a report.
    pub fn has_next(&mut self) -> bool {
        self.load();
        self.window.has_next()
    }

    /// The next report to send on this connection. None: all were sent, or as many as may be without an acknowledgement.
    pub fn next_report(&mut self) -> Option<v1::Report> {
        self.load();
        self.window.next_report()
    }

    /// Forgets what is durable at the collector; returns how far logs need not be read again.
    pub fn acknowledge(&mut self, up_to_seq: u64) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        while let Some(entry) = self.window.pop_acknowledged(up_to_seq) {
            self.waiting = self.waiting.saturating_sub(usize::from(!entry.is_filler));
            self.unkept_marks |= entry.order.is_none() && !entry.marks.is_empty();
            for mark in entry.marks {
                marks.retain(|other| other.log != mark.log);
                marks.push(mark);
            }
            self.load();
        }
        if self.is_empty() {
            self.waiting = 0;
        }
        marks
    }

    /// What may be removed once the places that were acknowledged are kept elsewhere: all before this segment. None: there
    /// is nothing to remove and no place to keep. `ending` says that the run is over and nothing more is written.
    pub fn begin_removal(&mut self, ending: bool) -> Option<u64> {
        let is_caught_up = !self.has_unloaded();
        let front = self.window.front().and_then(|entry| entry.order);
        let Some(store) = &mut self.store else { return std::mem::take(&mut self.unkept_marks).then_some(0) };
        let keep = match (front, store.segments().last()) {
            (Some(order), _) => order,
            (None, _) if !is_caught_up => self.loaded.0,
            // All that is written is acknowledged; a small file is written on.
            (None, Some(last)) if last.bytes <= KEPT_BYTES && !self.unkept_marks && !ending => last.order,
            (None, last) => last.map_or(0, |last| last.order + 1),
        };
        let removes = store.segments().first().is_some_and(|segment| segment.order < keep);
        if !removes && !self.unkept_marks {
            return None;
        }
        if store.segments().last().is_some_and(|last| last.order < keep) {
            store.close();
        }
        self.unkept_marks = false;
        Some(keep)
    }

    /// The places are kept: what was to be removed goes.
    pub fn remove_before(&mut self, order: u64) {
        if let Some(store) = &mut self.store {
            store.remove_before(order);
        }
    }

    /// The places could not be kept: nothing goes, and it is to be tried again.
    pub fn removal_failed(&mut self) {
        self.unkept_marks = true;
    }

    /// Takes the samples out of the oldest report held in memory that has some. False: none has.
    fn strip_held(&mut self) -> bool {
        for entry in &mut self.held {
            let before = entry.bytes();
            if entry.strip() {
                self.held_bytes -= before - entry.bytes();
                self.counts.thinned_reports += 1;
                return true;
            }
        }
        false
    }
}

/// How many of the first entries were closed together.
fn together(entries: &VecDeque<Entry>) -> usize {
    entries.iter().position(|entry| !entry.goes_on).map_or(entries.len(), |last| last + 1)
}

/// Why the disk takes nothing, and what to do.
fn fault(dir: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _ => "let the agent's user write there",
    };
    format!("{}: {error}: {remedy}; reports wait in memory meanwhile", dir.display())
}

#[cfg(test)]
mod tests;
