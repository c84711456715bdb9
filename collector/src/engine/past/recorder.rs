//! Fills the blocks of past states as records are folded. Only the engine's thread has one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::warn;

use super::{Block, FullBlock, Hop, Past, SHARED, Timeline};
use crate::engine::fold::{Fold, HostFold};
use crate::journal::{Bookmark, CommitError, FileSystem, Journal, Limits, OpenError, Options, Place};

/// A block is full once its records are this large, bytes.
const BLOCK_BYTES: u64 = 256 << 10;
/// And at least so many times as large as the state it begins with.
const BLOCK_STATES: u64 = 16;
/// A block is full once its records lie in so many segments.
const BLOCK_SEGMENTS: u32 = 16;
/// A block is full once it is this long, microseconds.
const BLOCK_SPAN_US: i64 = 6 * 3600 * 1_000_000;
/// Of what the whole journal may take, this share is for past states: one in so many.
const SHARE: u64 = 16;
/// Segments of the journal of full blocks, bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Full blocks that may wait to be written.
const WAITING_MAX: usize = 64;

/// Where the full blocks of the journal in `dir` stand.
pub fn folder(dir: &Path) -> PathBuf {
    dir.join("past")
}

/// The limits of the records' own journal, once past states have got their share.
pub fn without_share(limits: Limits) -> Limits {
    Limits { max_bytes: limits.max_bytes - limits.max_bytes / SHARE, ..limits }
}

/// Fills blocks.
pub struct Recorder {
    timeline: Arc<RwLock<Timeline>>,
    /// None: writing failed, so that full blocks are lost until the next start.
    full: Option<Journal>,
    waiting: Vec<Waiting>,
    journal: PathBuf,
    /// Blocks that could not be written.
    pub lost: u64,
}

/// A full block that waits to be written.
struct Waiting {
    host: String,
    from_us: i64,
    segment: u64,
    /// Its journal took it.
    taken: bool,
}

impl Recorder {
    /// Goes on after `bookmark`, or begins anew where there is none.
    pub fn open(dir: &Path, limits: Limits, known: Option<(Timeline, Option<Bookmark>)>) -> Result<Self, OpenError> {
        let folder = folder(dir);
        let (timeline, bookmark) = known.unwrap_or_default();
        if bookmark.is_none() {
            // What is there belongs to a fold that is not gone on with.
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(OpenError::Io(folder, error)),
                _ => {}
            }
        }
        fs::create_dir_all(dir).map_err(|error| OpenError::Io(dir.to_owned(), error))?;
        let limits =
            Limits { max_bytes: limits.max_bytes / SHARE, max_age: limits.max_age + Duration::from_secs(3600) };
        // Their states are packed one by one.
        let options = Options { segment_bytes: SEGMENT_BYTES, limits, packing: None };
        let opened = Journal::open_on(&folder, options, Box::new(FileSystem), bookmark.as_ref(), &mut |_| {})?;
        Ok(Self {
            timeline: Arc::new(RwLock::new(timeline)),
            full: Some(opened.0),
            waiting: Vec::new(),
            journal: dir.to_owned(),
            lost: 0,
        })
    }

    /// For readers.
    pub fn past(&self) -> Past {
        Past { timeline: self.timeline.clone(), journal: self.journal.clone() }
    }

    /// Takes note of a record that was just folded: whose it was (empty: nobody's alone), when it came, where it stands and
    /// how large it is.
    pub fn note(&mut self, fold: &Fold, host: &str, at_us: i64, place: Place, bytes: u64) {
        let shared = self.timeline.clone();
        let mut timeline = shared.write().unwrap_or_else(PoisonError::into_inner);
        if !timeline.hosts.contains_key(host) {
            timeline.hosts.insert(host.to_owned(), Arc::default());
        }
        let Some(track) = timeline.hosts.get_mut(host).map(Arc::make_mut) else { return };
        if host == SHARED {
            // A host's first record is in the state that its first block begins with; this track has no state.
            track.open.get_or_insert_with(|| Block::begin(at_us, &[], place.segment));
        }
        if let Some(block) = &mut track.open {
            block.push(Hop { at_us, place }, bytes);
            if !block.is_full() {
                return;
            }
        }
        let Some(state) = begin(fold, host) else { return };
        // The next record's segment is not known yet; it is this one or a later one.
        if let Some(block) = track.open.replace(Block::begin(at_us, &state, place.segment)) {
            self.keep(host, &block);
        }
    }

    /// Hands a full block to its journal. One that its journal does not take is among those waiting all the same, so that
    /// nobody takes the state before it for the state during it.
    fn keep(&mut self, host: &str, block: &Block) {
        let bytes = postcard::to_stdvec(&(host, block)).unwrap_or_default();
        let taken = self.full.as_mut().is_some_and(|full| {
            let taken = full.append(block.last.at_us, |out| out.extend_from_slice(&bytes));
            taken.is_ok()
        });
        self.waiting.push(Waiting { host: host.to_owned(), from_us: block.from_us, segment: block.segment, taken });
    }

    /// Writes the full blocks that wait, if they are many or `all`.
    pub fn flush(&mut self, all: bool) {
        if self.waiting.is_empty() || !(all || self.waiting.len() >= WAITING_MAX) {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let mut places = self.write().into_iter();
        let mut timeline = self.timeline.write().unwrap_or_else(PoisonError::into_inner);
        for Waiting { host, from_us, segment, taken } in waiting {
            let place = if taken { places.next() } else { None };
            self.lost += u64::from(place.is_none());
            if let Some(track) = timeline.hosts.get_mut(&host).map(Arc::make_mut) {
                track.full.push_back(FullBlock { from_us, segment, place });
            }
        }
    }

    /// Writes what its journal was handed; gives where each stands, or nothing where none could be written.
    fn write(&mut self) -> Vec<Place> {
        let Some(full) = &mut self.full else { return Vec::new() };
        match full.commit(false) {
            Ok(()) => full.placed().to_vec(),
            Err(CommitError::Full(_)) => Vec::new(),
            Err(CommitError::Failed(error)) => {
                warn!("past states: {error}; they are not kept on until the next start");
                self.full = None;
                Vec::new()
            }
        }
    }

    /// Forgets blocks whose records the journal does not hold any more, and begins those anew that are being filled.
    pub fn retain(&mut self, fold: &Fold, (oldest_segment, newest_segment): (u64, u64), now_us: i64, aging_us: i64) {
        let oldest_block = self.full.as_mut().map_or(0, |full| {
            if let Err(error) = full.retain(aging_us) {
                warn!("past states: retention: {error}");
            }
            full.segments_kept().0
        });
        let mut timeline = self.timeline.write().unwrap_or_else(PoisonError::into_inner);
        for (host, track) in &mut timeline.hosts {
            let gone = |block: &FullBlock| {
                block.segment < oldest_segment || block.place.is_some_and(|place| place.segment < oldest_block)
            };
            let open_gone = track.open.as_ref().is_some_and(|block| block.segment < oldest_segment);
            if !open_gone && !track.full.front().is_some_and(gone) {
                continue;
            }
            let track = Arc::make_mut(track);
            while track.full.front().is_some_and(gone) {
                track.full.pop_front();
            }
            if open_gone {
                track.open = begin(fold, host).map(|state| Block::begin(now_us, &state, newest_segment));
            }
        }
    }

    /// Makes what is written durable: where its journal goes on, if it has anything, and where its blocks are. None: its
    /// journal has failed, so that nothing can go on from here.
    pub fn bookmark(&mut self) -> Option<(Option<Bookmark>, Timeline)> {
        self.flush(true);
        let bookmark = self.full.as_mut()?.bookmark();
        if bookmark.is_err() {
            self.full = None;
        }
        Some((bookmark.ok()?, self.timeline.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// The state that a track's next block begins with.
fn begin(fold: &Fold, track: &str) -> Option<Vec<u8>> {
    if track == SHARED { Some(Vec::new()) } else { HostFold::pack(fold, track) }
}

impl Block {
    fn is_full(&self) -> bool {
        let enough = BLOCK_BYTES.max(BLOCK_STATES * self.state.len() as u64);
        self.bytes >= enough
            || self.segments > BLOCK_SEGMENTS
            || self.last.at_us.saturating_sub(self.from_us) >= BLOCK_SPAN_US
    }
}
