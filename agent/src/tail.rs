//! Follows a log: every whole line once and in order, through rotation, truncation and restarts of the agent.
//!
//! A log is a path; its files are known by device, inode and how they begin. A file that was renamed away is read to its
//! end, and on for a while for writers that have not reopened yet, and so are those that came and went between two looks,
//! as long as they stand beside it uncompressed. What is cut back by copy-and-truncate is read on in the copy, where there
//! is one. Nothing here waits: `poll` reads at most one buffer and says whether there is more, so that the caller decides
//! how fast to go and nothing piles up. Lines longer than 64 KiB are cut and counted.

mod group;
mod position;
mod rotation;
mod siblings;
mod source;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use group::Group;
pub use position::{FilePosition, Fingerprint, Mark, Position, Positions};
use siblings::{Sibling, siblings};
use source::{Identity, Source, Step};

/// The most of one line that is kept, bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// A good size for the buffer given to `poll`, bytes; it must be larger than a line.
pub const BUFFER_BYTES: usize = 128 * 1024;
/// For how long after its last growth a file that was renamed away is looked at.
const LINGER: Duration = Duration::from_secs(10);
/// The most files that linger.
const MAX_LINGERING: usize = 8;
/// The most files remembered as done with.
const MAX_FINISHED: usize = 64;
/// A copy must share so many first bytes to be taken for one.
const MIN_COPY_FINGERPRINT_BYTES: u64 = 32;

/// A file of another name must share so many first bytes to be taken for a part of a log.
const MIN_PART_FINGERPRINT_BYTES: u64 = 256;

/// What happened to lines that could not be handed on whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines cut at 64 KiB.
    pub cut_lines: u64,
    /// Times a file was cut back and no copy of what it had held was found: bytes not yet read then are lost.
    pub truncations: u64,
    /// Files that were gone or compressed before they were read to their ends.
    pub lost_files: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cut_lines: self.cut_lines + other.cut_lines,
            truncations: self.truncations + other.truncations,
            lost_files: self.lost_files + other.lost_files,
        }
    }
}

/// How the log is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is followed.
    Following,
    /// There is no such file; it is waited for.
    Missing,
    /// It can't be read; why.
    Unreadable(String),
}

#[derive(Debug)]
struct Lingering {
    source: Source,
    until: Instant,
}

/// A log that is followed.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    resume: Option<Position>,
    begun: bool,
    lingering: Vec<Lingering>,
    current: Option<Source>,
    /// What was last taken up at the path itself: what is copied away and cut back stays the same file there.
    at_path: Option<Identity>,
    finished: VecDeque<FilePosition>,
    /// When the newest of the files that were counted as lost was last written, unix nanoseconds.
    lost_ns: u64,
    counts: Counts,
    sight: Sight,
}

impl Tail {
    /// A log, to be read on from a position; without one from its end, or from the beginning if it comes later.
    pub fn new(path: PathBuf, resume: Option<Position>) -> Self {
        Self {
            path,
            resume,
            begun: false,
            lingering: Vec::new(),
            current: None,
            at_path: None,
            finished: VecDeque::new(),
            lost_ns: 0,
            counts: Counts::default(),
            sight: Sight::Missing,
        }
    }

    /// A log that came while the agent ran, to be read from its beginning.
    pub fn from_start(path: PathBuf) -> Self {
        Self { begun: true, ..Self::new(path, None) }
    }

    /// The log's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is seen since the last poll.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Troubles since the beginning.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Where reading stands: all lines handed on lie before it, and all others after it.
    pub fn position(&self) -> Position {
        if let Some(resume) = &self.resume {
            return resume.clone();
        }
        let lingering = self.lingering.iter().map(|old| old.source.position());
        Position { files: lingering.chain(self.current.as_ref().map(Source::position)).collect() }
    }

    /// Hands on the lines of at most one buffer. True: there may be more at once.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(&[u8])) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(now);
        }
        if self.poll_lingering(now, buffer, lines) {
            return true;
        }
        let Some(current) = &mut self.current else { return self.open_path() };
        match current.read(buffer, &mut self.counts, lines) {
            Ok(Step::More) => true,
            Ok(Step::Truncated) => {
                self.truncated();
                true
            }
            Ok(Step::Begun) => {
                self.begun();
                true
            }
            Ok(Step::Read | Step::Idle) => self.look_for_successor(now),
            Err(error) => {
                self.sight = Sight::Unreadable(error.to_string());
                false
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        let Some(position) = self.resume.take() else {
            if let Ok(mut source) = Source::open(&self.path)
                && source.seek_to_end().is_ok()
            {
                self.at_path = Some(source.identity());
                self.current = Some(source);
            }
            return;
        };
        let last = position.files.len().saturating_sub(1);
        for (index, saved) in position.files.iter().enumerate() {
            match self.locate(saved) {
                Some(source) if index == last => self.current = Some(source),
                Some(source) => self.lingering.push(Lingering { source, until: now + LINGER }),
                None => self.counts.lost_files += 1,
            }
        }
    }

    /// The file of a saved position: at the path or renamed, else a copy of it.
    fn locate(&self, saved: &FilePosition) -> Option<Source> {
        let renamed =
            siblings(&self.path).into_iter().filter(|sibling| !sibling.compressed).map(|sibling| sibling.path);
        std::iter::once(self.path.clone())
            .chain(renamed)
            .filter_map(|path| Source::open(&path).ok())
            .find_map(|source| {
                (source.identity() == (saved.device, saved.inode)).then(|| source.resume(saved)).flatten()
            })
            .or_else(|| {
                // Device numbers may change with a boot: then the file is known by how it begins.
                let known = saved.start.len_bytes >= MIN_COPY_FINGERPRINT_BYTES;
                known.then(|| Source::open(&self.path).ok()?.resume(saved)).flatten()
            })
            .or_else(|| self.copy_of(saved))
    }

    /// A file beside the log that begins like another one and holds at least as much as was read of that.
    fn copy_of(&self, held: &FilePosition) -> Option<Source> {
        let telling = |sibling: &Sibling| {
            held.start.len_bytes >= MIN_COPY_FINGERPRINT_BYTES
                || held.start.len_bytes > 0 && sibling.modified_ns >= held.seen_ns
        };
        siblings(&self.path)
            .into_iter()
            .filter(|sibling| sibling.identity != (held.device, held.inode) && !sibling.compressed && telling(sibling))
            .find_map(|sibling| Source::open(&sibling.path).ok()?.resume(held))
    }

    fn poll_lingering(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(&[u8])) -> bool {
        let mut index = 0;
        while index < self.lingering.len() {
            let old = &mut self.lingering[index];
            match old.source.read(buffer, &mut self.counts, lines) {
                Ok(Step::More | Step::Read | Step::Begun) => {
                    old.until = old.until.max(now + LINGER);
                    return true;
                }
                Ok(Step::Idle) if now < old.until => index += 1,
                Ok(Step::Idle) => {
                    old.source.take_rest(buffer, lines);
                    self.finish(index);
                }
                Ok(Step::Truncated) | Err(_) => self.finish(index),
            }
        }
        false
    }

    fn finish(&mut self, index: usize) {
        let old = self.lingering.remove(index);
        self.forget(old.source.position());
    }

    /// Remembers a file as done with.
    fn forget(&mut self, file: FilePosition) {
        self.finished.push_back(file);
        if self.finished.len() > MAX_FINISHED {
            self.finished.pop_front();
        }
    }

    fn linger(&mut self, source: Source, until: Instant) {
        self.lingering.push(Lingering { source, until });
        if self.lingering.len() > MAX_LINGERING {
            self.finish(0);
        }
    }

    /// Opens what stands at the path, from its beginning: it was made after the agent began to look.
    fn open_path(&mut self) -> bool {
        match Source::open(&self.path) {
            Ok(source) => self.take_up(source),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.sight = Sight::Missing;
                false
            }
            Err(error) => {
                self.sight = Sight::Unreadable(error.to_string());
                false
            }
        }
    }

    fn take_up(&mut self, source: Source) -> bool {
        // One that still lingers (a link that went back) is taken up again where it stands.
        let known = self.lingering.iter().position(|old| old.source.identity() == source.identity());
        self.at_path = Some(source.identity());
        self.current = Some(known.map_or(source, |index| self.lingering.remove(index).source));
        self.sight = Sight::Following;
        true
    }

    /// Whether a file is a part of this log under another name: renamed, or a copy of what was read.
    fn has_held(&self, other: &Source) -> bool {
        let open = self.current.iter().chain(self.lingering.iter().map(|old| &old.source)).map(Source::position);
        let resumed = self.resume.iter().flat_map(|resume| resume.files.iter().copied());
        open.chain(resumed).chain(self.finished.iter().copied()).any(|held| {
            let is_itself = (held.device, held.inode) == other.identity();
            // Of two logs of one pattern both may begin with the same banner, so a copy is told by more than that.
            (is_itself || held.start.len_bytes >= MIN_PART_FINGERPRINT_BYTES) && other.begins_as(&held.start)
        })
    }

    /// Nothing of it is there any longer.
    fn is_gone(&self) -> bool {
        self.sight == Sight::Missing && self.lingering.is_empty()
    }

    fn is_known(&self, sibling: &Sibling) -> bool {
        let current = self.current.iter().map(Source::identity);
        let held = self.lingering.iter().map(|old| old.source.identity());
        current.chain(held).any(|known| known == sibling.identity)
            || self.finished.iter().any(|done| {
                (done.device, done.inode) == sibling.identity
                    && Source::open(&sibling.path).is_ok_and(|source| source.resume(done).is_some())
            })
    }
}

#[cfg(test)]
mod tests;
