//! The journal: append-only segments of opaque records, the ground state of the collector. Records keep their order
//! and are numbered from 1. `append` only buffers; `commit` writes all that is buffered with one write and, where
//! asked, one sync: what it returned for survives kill -9 and power loss, what came after may be lost but never half
//! read. `open` keeps every valid record: a torn or corrupt stretch is set aside in a file and named, never a reason
//! not to start. A full disk keeps nothing of the batch and can be tried again; any other failed write and every
//! failed sync is final, because the kernel may have dropped the pages. One process owns a folder, by a lock file.
//! Closed segments are packed beside all that, where its owner says which records are alike; a record keeps its place.
//! It knows nothing of what a record means.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod bookmark;
mod disk;
#[cfg(test)]
pub(crate) mod faulty;
mod frame;
pub mod loose;
mod packed;
mod packer;
mod reader;
mod recover;
mod retention;
mod segments;
#[cfg(test)]
mod tests;

pub use bookmark::Bookmark;
pub use disk::{Appender, Disk, FileSystem, rename_durably, sync_dir, write_durably};
pub use frame::{Entry, MAX_PAYLOAD, Place};
pub use packed::Packing;
pub use packer::{Fault, Packed};
pub use reader::Reader;
pub use recover::{Note, Recovery};
pub use retention::Limits;

use frame::{SEGMENT_HEADER, SegmentHeader};
use packer::Packer;
use retention::SegmentFacts;

/// A start closes the segment it finds last where that is at least so large, so that it is packed soon, bytes.
const CLOSED_FROM: u64 = 1 << 20;

/// How a journal is kept.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A segment is closed once it is this large, bytes.
    pub segment_bytes: u64,
    /// How much is kept.
    pub limits: Limits,
    /// How closed segments are packed. None: they are not.
    pub packing: Option<Packing>,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits { max_age: Duration::from_secs(7 * 86_400), max_bytes: 10 << 30 };
        Self { segment_bytes: 64 << 20, limits, packing: None }
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the folder.
    #[error("{0} is in use by another collector")]
    InUse(PathBuf),
    /// The disk said no.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// Why a commit kept nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No space: nothing of the batch is kept, trying again later is fine.
    #[error("no space for the journal: {0}")]
    Full(io::Error),
    /// What is on the disk is not known any more: the journal takes nothing more until it is opened anew.
    #[error("the journal failed: {0}")]
    Failed(io::Error),
}

/// An open journal.
pub struct Journal {
    dir: PathBuf,
    options: Options,
    disk: Box<dyn Disk>,
    segments: Vec<SegmentFacts>,
    active: Option<Active>,
    buffer: Vec<u8>,
    buffered: Buffered,
    /// Where the records of the last commit stand.
    placed: Vec<Place>,
    next_index: u64,
    broken: bool,
    packer: Packer,
    /// Held as long as the journal is open; the lock goes with it.
    _lock: File,
}

struct Active {
    file: Box<dyn Appender>,
    first: u64,
    salt: u64,
    bytes: u64,
    oldest_us: Option<i64>,
}

/// Records that wait for a commit, frames in `buffer`.
#[derive(Default)]
struct Buffered {
    records: Vec<(i64, std::ops::Range<usize>)>,
}

impl Journal {
    /// Opens the journal in `dir`, makes it if there is none, hands every valid record to `visit` in order.
    pub fn open(dir: &Path, options: Options, visit: &mut dyn FnMut(Entry<'_>)) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(dir, options, Box::new(FileSystem), None, visit)
    }

    /// As `open`, on any disk. With a bookmark that fits only what lies after it is read.
    pub fn open_on(
        dir: &Path,
        options: Options,
        mut disk: Box<dyn Disk>,
        after: Option<&Bookmark>,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<(Self, Recovery), OpenError> {
        let at_dir = |error| OpenError::Io(dir.to_owned(), error);
        fs::create_dir_all(dir).map_err(at_dir)?;
        let lock = lock(dir)?;
        segments::settle(dir).map_err(at_dir)?;
        let (mut found, mut recovery) = recover::walk(dir, after, visit).map_err(at_dir)?;
        recover::mend(dir, &mut found, &mut recovery);
        let segments: Vec<SegmentFacts> = found.iter().filter_map(facts).collect();
        let active = match found.last() {
            Some(last) => resume(last, disk.as_mut(), options.packing.is_some()).map_err(at_dir)?,
            None => None,
        };
        let mut next_index = recovery.next_index;
        // A damaged segment that could not be moved away keeps its name.
        while active.is_none() && segments::is_taken(dir, next_index) {
            next_index += 1;
        }
        let journal = Self {
            dir: dir.to_owned(),
            options,
            disk,
            segments,
            active,
            buffer: Vec::new(),
            buffered: Buffered::default(),
            placed: Vec::new(),
            next_index,
            broken: false,
            packer: Packer::default(),
            _lock: lock,
        };
        Ok((journal, recovery))
    }

    /// Buffers a record. It is kept by the next `commit`. A payload above `MAX_PAYLOAD` is refused.
    pub fn append(&mut self, at_us: i64, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLarge> {
        let start = self.buffer.len();
        // The frame's header is written once its number is known.
        self.buffer.resize(start + frame::FRAME_HEADER, 0);
        write(&mut self.buffer);
        let frame = start..self.buffer.len();
        let len = frame.len() - frame::FRAME_HEADER;
        if len > MAX_PAYLOAD {
            self.buffer.truncate(start);
            return Err(TooLarge(len));
        }
        self.buffered.records.push((at_us, frame));
        Ok(())
    }

    /// Writes all that is buffered; with `durable` it returns after it has reached the disk itself.
    pub fn commit(&mut self, durable: bool) -> Result<(), CommitError> {
        let buffered = std::mem::take(&mut self.buffered);
        self.placed.clear();
        let result = self.commit_records(&buffered.records, durable);
        self.buffer.clear();
        // One huge batch must not hold its memory for ever.
        self.buffer.shrink_to(4 << 20);
        if let Err(CommitError::Failed(_)) = result {
            self.broken = true;
        }
        result
    }

    fn commit_records(&mut self, records: &[(i64, std::ops::Range<usize>)], durable: bool) -> Result<(), CommitError> {
        if self.broken {
            return Err(CommitError::Failed(io::Error::other("an earlier write failed")));
        }
        let (Some((first_us, _)), Some((last_us, _))) = (records.first(), records.last()) else { return Ok(()) };
        if self.wants_new_segment(*first_us) {
            self.roll()?;
        }
        let Some(active) = self.active.as_mut() else {
            return Err(CommitError::Failed(io::Error::other("no segment is open")));
        };
        let mut placed = Vec::with_capacity(records.len());
        for (index, (at_us, frame)) in (self.next_index..).zip(records) {
            placed.push(Place { segment: active.first, offset: active.bytes + frame.start as u64 });
            frame::seal(active.salt, index, *at_us, self.buffer.get_mut(frame.clone()).unwrap_or_default());
        }
        active.write(&self.buffer)?;
        if durable {
            active.file.sync().map_err(CommitError::Failed)?;
        }
        active.bytes += self.buffer.len() as u64;
        active.oldest_us.get_or_insert(*first_us);
        self.next_index += records.len() as u64;
        self.placed = placed;
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes = active.bytes;
            segment.newest_us = Some(*last_us);
        }
        Ok(())
    }

    fn wants_new_segment(&self, now_us: i64) -> bool {
        // By age too, or a quiet collector's one segment would outlive the retention.
        let age_us = i64::try_from(self.options.limits.max_age.as_micros() / 8).unwrap_or(i64::MAX);
        self.active.as_ref().is_none_or(|active| {
            active.bytes >= self.options.segment_bytes
                || active.oldest_us.is_some_and(|oldest| now_us.saturating_sub(oldest) > age_us)
        })
    }

    fn roll(&mut self) -> Result<(), CommitError> {
        // A closed segment is never synced again, so what was written to it unsynced is made durable now.
        if let Some(active) = self.active.as_mut() {
            active.file.sync().map_err(CommitError::Failed)?;
        }
        let header = SegmentHeader { first: self.next_index, salt: RandomState::new().hash_one(self.next_index) };
        let path = self.dir.join(segments::segment_name(header.first));
        let made = self.disk.create(&path).and_then(|mut file| {
            file.append(&header.encode())?;
            Ok(file)
        });
        let file = made.map_err(|error| {
            // The name must be free for the next try; a rest of it would be set aside at the next start anyway.
            let _ = fs::remove_file(&path);
            judge(error)
        })?;
        let SegmentHeader { first, salt } = header;
        self.active = Some(Active { file, first, salt, bytes: SEGMENT_HEADER as u64, oldest_us: None });
        self.segments.push(SegmentFacts { first, bytes: SEGMENT_HEADER as u64, unpacked: None, newest_us: None });
        Ok(())
    }

    /// Removes the segments that the limits let go; gives how many.
    pub fn retain(&mut self, now_us: i64) -> io::Result<usize> {
        let gone = retention::plan(&self.segments, self.options.limits, now_us);
        // The one that is being packed, and those after it, wait for that.
        let gone = gone.into_iter().take_while(|first| !self.packer.holds(*first));
        let gone: Vec<u64> = gone.collect();
        for first in &gone {
            segments::remove(&self.dir, *first)?;
            self.segments.retain(|segment| segment.first != *first);
        }
        Ok(gone.len())
    }

    /// Has the oldest closed segment packed that is not, beside everything else; one at a time. Gives what became of the one
    /// before, once.
    pub fn pack(&mut self) -> Option<Result<Packed, Fault>> {
        let ended = self.packing_ended(false);
        self.begin_packing();
        ended
    }

    /// As `pack`, but waits for the segment, and gives what became of it. None: there was none to pack.
    pub fn pack_waiting(&mut self) -> Option<Result<Packed, Fault>> {
        self.begin_packing();
        self.packing_ended(true)
    }

    fn packing_ended(&mut self, wait: bool) -> Option<Result<Packed, Fault>> {
        let (first, ended) = self.packer.ended(wait)?;
        let segment = self.segments.iter_mut().find(|segment| segment.first == first);
        if let (Some(segment), Ok(packed)) = (segment, &ended) {
            (segment.bytes, segment.unpacked) = (packed.after, Some(packed.before));
        }
        Some(ended)
    }

    fn begin_packing(&mut self) {
        let closed = self.segments.len() - usize::from(self.active.is_some());
        if let (Some(packing), false) = (self.options.packing, self.broken) {
            self.packer.begin(&self.dir, &self.segments[..closed], packing, self.disk.share());
        }
    }

    /// Where the records of the last commit stand, in their order.
    pub fn placed(&self) -> &[Place] {
        &self.placed
    }

    /// The oldest and the newest segment, by the indexes of their first records. 0: there are none.
    pub fn segments_kept(&self) -> (u64, u64) {
        let first = |segment: Option<&SegmentFacts>| segment.map_or(0, |segment| segment.first);
        (first(self.segments.first()), first(self.segments.last()))
    }

    /// Makes everything committed durable and gives the place after it. None: there is nothing yet.
    pub fn bookmark(&mut self) -> Result<Option<Bookmark>, CommitError> {
        let Some(active) = self.active.as_mut().filter(|_| !self.broken) else { return Ok(None) };
        if let Err(error) = active.file.sync() {
            self.broken = true;
            return Err(CommitError::Failed(error));
        }
        Ok(Some(Bookmark {
            place: Place { segment: active.first, offset: active.bytes },
            salt: active.salt,
            next_index: self.next_index,
            segments: self.segments.clone(),
        }))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Records ever appended.
    pub fn records(&self) -> u64 {
        self.next_index - 1
    }
}

/// A payload that no record may have.
#[derive(Debug, thiserror::Error)]
#[error("a record of {0} bytes is larger than the journal takes")]
pub struct TooLarge(pub usize);

impl Active {
    fn write(&mut self, bytes: &[u8]) -> Result<(), CommitError> {
        self.file.append(bytes).map_err(|error| match judge(error) {
            // A part may have been written: it must go, or it would stand before the next batch.
            CommitError::Full(full) => match self.file.cut(self.bytes) {
                Ok(()) => CommitError::Full(full),
                Err(error) => CommitError::Failed(error),
            },
            failed => failed,
        })
    }
}

fn judge(error: io::Error) -> CommitError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CommitError::Full(error),
        _ => CommitError::Failed(error),
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| OpenError::Io(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(OpenError::Io(path, error)),
    }
}

fn facts(found: &recover::Found) -> Option<SegmentFacts> {
    let first = found.header?.first;
    let newest_us = found.span_us.map(|(_, newest)| newest);
    Some(SegmentFacts { first, bytes: found.len, unpacked: found.unpacked, newest_us })
}

/// Goes on in the last segment where that is clean. What it holds may have been written without a sync by a process
/// that was killed: it is made durable before anybody relies on it. Where segments are packed, one that is worth it is not
/// gone on with.
fn resume(last: &recover::Found, disk: &mut dyn Disk, packs: bool) -> io::Result<Option<Active>> {
    let (Some(header), None) = (last.header, last.unpacked) else { return Ok(None) };
    let mut file = disk.reopen(&last.path)?;
    file.sync()?;
    let SegmentHeader { first, salt } = header;
    let active = Active { file, first, salt, bytes: last.len, oldest_us: last.span_us.map(|(oldest, _)| oldest) };
    let is_closed = packs && last.len >= CLOSED_FROM;
    Ok((last.len == last.valid_len && !is_closed).then_some(active))
}

/// Reads the journal in `dir` without changing anything; another process may own it.
pub fn read(dir: &Path, visit: &mut dyn FnMut(Entry<'_>)) -> io::Result<Recovery> {
    let (found, mut recovery) = recover::walk(dir, None, visit)?;
    recover::name_bad(&found, &mut recovery);
    Ok(recovery)
}
