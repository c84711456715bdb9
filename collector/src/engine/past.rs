//! What hosts looked like at past times. For each host its records are cut into blocks: the state at the block's begin,
//! packed, and the places in the journal of the records that followed. A past state is the block's state with those of
//! its records that had come by then folded into it. The block being filled is in memory; full ones go into a journal of
//! their own, and memory keeps only where. Everything here can be made again from the journal; what can't be written
//! is counted and left out. Records that are nobody's alone have a
//! track of their own, whose blocks begin with no state. The engine's [`Recorder`] writes; anybody may read through [`Past`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::fold::HostFold;
use crate::journal::{Place, Reader};
use crate::model::{HostState, Record};
use crate::wire::{Converter, Incoming, kin_of};

mod recorder;

pub use recorder::{Recorder, folder, without_share};

/// Why a past state can't be told.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It could not be written when it was the present.
    #[error("the state of {0} at that time was not kept: the disk was full or failed")]
    NotKept(String),
    /// A record that it needs is gone or damaged.
    #[error("the state of {host} at that time can't be read any more: {error}")]
    Unreadable {
        /// The host.
        host: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Where the past states of every host are found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    hosts: BTreeMap<String, Arc<Track>>,
}

/// One host's blocks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Track {
    /// Full blocks, oldest first.
    full: VecDeque<FullBlock>,
    /// The one being filled.
    open: Option<Block>,
}

/// Where a full block stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct FullBlock {
    from_us: i64,
    /// The segment of the journal that its first record stands in.
    segment: u64,
    /// None: it could not be written.
    place: Option<Place>,
}

/// A stretch of one host's records.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Block {
    /// When it begins.
    from_us: i64,
    /// The host as it was then, packed.
    state: Arc<[u8]>,
    /// The records since, as differences from one to the next.
    hops: Vec<u8>,
    /// The newest of them, and before the first where that will be.
    last: Hop,
    /// The segment of the first of them.
    segment: u64,
    /// Segments that they lie in.
    segments: u32,
    /// Size of all of them, bytes.
    bytes: u64,
}

/// A record and its time.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Hop {
    at_us: i64,
    place: Place,
}

/// States are packed on the engine's own thread: fast before all else.
const LEVEL: i32 = 1;

/// The track of the records that are nobody's alone: ticks, marks, what people were told. No host has an empty name.
const SHARED: &str = "";

/// A record as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// When it came, unix microseconds.
    pub at_us: i64,
    /// Where it stands: orders records that came at once.
    pub place: Place,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Is shown a record and its host as it was right after it.
pub type Visit<'a> = dyn FnMut(&Record, &HostState) + 'a;

/// Reads past states.
#[derive(Clone)]
pub struct Past {
    timeline: Arc<RwLock<Timeline>>,
    journal: PathBuf,
}

impl Past {
    /// When the oldest state that can be told was. None: none can.
    pub fn begins_us(&self) -> Option<i64> {
        let timeline = self.timeline.read().unwrap_or_else(PoisonError::into_inner);
        timeline.hosts.iter().filter(|(host, _)| *host != SHARED).filter_map(|(_, track)| track.begins_us()).min()
    }

    /// Every host of which something is kept.
    pub fn hosts(&self) -> Vec<String> {
        let timeline = self.timeline.read().unwrap_or_else(PoisonError::into_inner);
        timeline.hosts.keys().filter(|host| *host != SHARED).cloned().collect()
    }

    /// Hosts as they were at a time, by name; those that nothing is known of then are left out.
    pub fn states(&self, hosts: &[String], at_us: i64) -> Result<Vec<Arc<HostState>>, PastError> {
        let mut files = self.files();
        // So stand their records in packed segments: each frame is unpacked once, for all the hosts in it.
        let mut by_kin: Vec<&String> = hosts.iter().collect();
        by_kin.sort_by_cached_key(|host| kin_of(host));
        let then = |host: &String| self.records(&mut files, host, at_us, at_us, &mut |_, _| {}).transpose();
        let mut states = by_kin.into_iter().filter_map(then).collect::<Result<Vec<_>, _>>()?;
        states.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(states)
    }

    /// Every record of a host from one time to another, in order; then the host as it was at the end. None: it was not known
    /// by then, or its records of then are not kept any more.
    pub fn records(
        &self,
        files: &mut Files,
        host: &str,
        from_us: i64,
        to_us: i64,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Arc<HostState>>, PastError> {
        let mut newest = None;
        self.walk(files, host, from_us, to_us, &mut |block, reader| {
            newest = block.replay(reader, from_us, to_us, visit)?;
            Ok(())
        })?;
        Ok(newest)
    }

    /// Every record from one time to another that is nobody's alone, in order.
    pub fn shared(&self, from_us: i64, to_us: i64, visit: &mut dyn FnMut(&Record)) -> Result<(), PastError> {
        self.walk(&mut self.files(), SHARED, from_us, to_us, &mut |block, reader| {
            let mut converter = Converter::default();
            for hop in block.hops().filter(|hop| (from_us..=to_us).contains(&hop.at_us)) {
                let record = Incoming::decode(&reader.payload(hop.place)?).and_then(|one| converter.convert(one));
                record.iter().for_each(&mut *visit);
            }
            Ok(())
        })
    }

    /// The bytes of every record of a host from one time to another, in order, until `visit` breaks off; and the host as it
    /// was before the first of them. None: it was not known by the end.
    pub fn raw(
        &self,
        host: &str,
        from_us: i64,
        to_us: i64,
        visit: &mut dyn FnMut(Raw) -> ControlFlow<()>,
    ) -> Result<Option<Arc<HostState>>, PastError> {
        let (mut before, mut flow) = (None, ControlFlow::Continue(()));
        self.walk(&mut self.files(), host, from_us, to_us, &mut |block, reader| {
            if before.is_none() {
                before = block.before(reader, from_us)?;
            }
            if flow.is_continue() {
                flow = block.show(reader, from_us, to_us, visit)?;
            }
            Ok(())
        })?;
        Ok(before)
    }

    /// The bytes of every record from one time to another that is nobody's alone, in order.
    pub fn shared_raw(&self, from_us: i64, to_us: i64, visit: &mut dyn FnMut(Raw)) -> Result<(), PastError> {
        let mut all = |raw| {
            visit(raw);
            ControlFlow::Continue(())
        };
        self.walk(&mut self.files(), SHARED, from_us, to_us, &mut |block, reader| {
            block.show(reader, from_us, to_us, &mut all).map(|_| ())
        })
    }

    /// What records are read from, for one host after the other.
    pub fn files(&self) -> Files {
        Files { blocks: Reader::new(&folder(&self.journal)), records: Reader::new(&self.journal) }
    }

    /// Shows the blocks of a track that lie over a stretch of time, in order, with a reader of their records.
    fn walk(
        &self,
        Files { blocks, records }: &mut Files,
        track: &str,
        from_us: i64,
        to_us: i64,
        show: &mut dyn FnMut(&Block, &mut Records<'_>) -> std::io::Result<()>,
    ) -> Result<(), PastError> {
        let unreadable = |error| PastError::Unreadable { host: track.to_owned(), error };
        let (full, open) = self.blocks(track, from_us, to_us);
        let mut records = Records { reader: records, kin: kin_of(track) };
        for place in full {
            let place = place.ok_or_else(|| PastError::NotKept(track.to_owned()))?;
            let bytes = blocks.payload(place, 0).map_err(unreadable)?;
            let (_, block): (String, Block) = postcard::from_bytes(&bytes).map_err(|e| unreadable(damaged(&e)))?;
            show(&block, &mut records).map_err(unreadable)?;
        }
        open.map_or(Ok(()), |block| show(&block, &mut records).map_err(unreadable))
    }

    /// The blocks that lie over a stretch of time: the places of the full ones, and the one being filled.
    fn blocks(&self, host: &str, from_us: i64, to_us: i64) -> (Vec<Option<Place>>, Option<Block>) {
        let timeline = self.timeline.read().unwrap_or_else(PoisonError::into_inner);
        let Some(track) = timeline.hosts.get(host) else { return Default::default() };
        let open = track.open.as_ref().filter(|block| block.from_us <= to_us);
        // A block reaches to where the next one begins.
        let mut next_us = open.map_or(i64::MAX, |block| block.from_us);
        let mut places = Vec::new();
        for block in track.full.iter().rev().filter(|block| block.from_us <= to_us) {
            if next_us <= from_us {
                break;
            }
            places.push(block.place);
            next_us = block.from_us;
        }
        places.reverse();
        (places, open.cloned())
    }
}

/// The journals of blocks and of records, whose segments are opened as they are needed.
pub struct Files {
    blocks: Reader,
    records: Reader,
}

/// Reads the records of one track.
struct Records<'a> {
    reader: &'a mut Reader,
    kin: u64,
}

impl Records<'_> {
    fn payload(&mut self, place: Place) -> std::io::Result<Vec<u8>> {
        self.reader.payload(place, self.kin)
    }
}

impl Track {
    fn begins_us(&self) -> Option<i64> {
        self.full.front().map(|block| block.from_us).or(self.open.as_ref().map(|block| block.from_us))
    }
}

impl Block {
    /// A block that begins with a host's state, to which no record has been added.
    fn begin(from_us: i64, state: &[u8], segment: u64) -> Self {
        // What could not be packed could not be read either: it is told when it is asked for.
        let state = zstd::bulk::compress(state, LEVEL).unwrap_or_default().into();
        Self { from_us, state, hops: Vec::new(), last: Hop::default(), segment, segments: 0, bytes: 0 }
    }

    fn push(&mut self, hop: Hop, bytes: u64) {
        let same = hop.place.segment == self.last.place.segment;
        let offset = hop.place.offset - if same { self.last.place.offset } else { 0 };
        let step = (hop.at_us - self.last.at_us, hop.place.segment - self.last.place.segment, offset);
        // Writing numbers into a vector can't fail.
        self.hops = postcard::to_extend(&step, std::mem::take(&mut self.hops)).unwrap_or_default();
        self.segments += u32::from(!same);
        self.bytes += bytes;
        self.last = hop;
    }

    /// Its records in order.
    fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        let (mut rest, mut last) = (self.hops.as_slice(), Hop::default());
        std::iter::from_fn(move || {
            let ((later_us, segments, offset), after) = postcard::take_from_bytes::<(i64, u64, u64)>(rest).ok()?;
            rest = after;
            let before = if segments == 0 { last.place.offset } else { 0 };
            let place = Place { segment: last.place.segment + segments, offset: before + offset };
            last = Hop { at_us: last.at_us + later_us, place };
            Some(last)
        })
    }

    /// Folds its records up to a time; those from `from_us` on are shown. Gives the host as it was then.
    fn replay(
        &self,
        reader: &mut Records<'_>,
        from_us: i64,
        to_us: i64,
        visit: &mut Visit<'_>,
    ) -> std::io::Result<Option<Arc<HostState>>> {
        let mut fold = self.fold()?;
        for hop in self.hops().take_while(|hop| hop.at_us <= to_us) {
            let record = fold.apply(&reader.payload(hop.place)?);
            if let (Some(record), Some(state)) = (record.filter(|_| hop.at_us >= from_us), fold.state()) {
                visit(&record, state);
            }
        }
        Ok(fold.state().cloned())
    }

    /// The host as it was before a time, or at the block's begin where that was later.
    fn before(&self, reader: &mut Records<'_>, at_us: i64) -> std::io::Result<Option<Arc<HostState>>> {
        let mut fold = self.fold()?;
        for hop in self.hops().take_while(|hop| hop.at_us < at_us) {
            fold.apply(&reader.payload(hop.place)?);
        }
        Ok(fold.state().cloned())
    }

    /// Shows the bytes of its records from one time to another, until `visit` breaks off.
    fn show(
        &self,
        reader: &mut Records<'_>,
        from_us: i64,
        to_us: i64,
        visit: &mut dyn FnMut(Raw) -> ControlFlow<()>,
    ) -> std::io::Result<ControlFlow<()>> {
        for Hop { at_us, place } in self.hops().filter(|hop| (from_us..=to_us).contains(&hop.at_us)) {
            if visit(Raw { at_us, place, payload: reader.payload(place)? }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The fold that its records are folded into.
    fn fold(&self) -> std::io::Result<HostFold> {
        let state = zstd::decode_all(&*self.state)?;
        HostFold::unpack(&state).map_err(|error| damaged(&error))
    }
}

fn damaged(error: &dyn std::fmt::Display) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
}
