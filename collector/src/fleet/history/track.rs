//! Readings of one subject in the order in which they came. The newest are at hand as they are; those before them are written one
//! behind the other, and packed by the dozen: readings of one subject differ by little. Nothing is lost by that. What is asked for
//! is read again, and stays at hand until it is put away; that changes nothing that is told, weighed or kept in a checkpoint.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

use super::fit::Weigh;

/// The newest that stay as they are.
const AT_HAND: usize = 2;
/// So many are packed together.
const TOGETHER: usize = 16;
/// Each is packed once or twice in its life, and seldom unpacked.
const LEVEL: i32 = 1;

/// What is read of a subject at one time.
pub(super) trait Reading: Weigh + Serialize + DeserializeOwned + Clone {
    /// When.
    fn at_us(&self) -> i64;
}

/// Readings of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "T: Reading")]
pub(super) struct Track<T> {
    /// The older ones. The last block may still be open.
    blocks: VecDeque<Arc<Block<T>>>,
    /// Readings of the first block that are forgotten.
    gone: usize,
    newest: VecDeque<Arc<T>>,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self { blocks: VecDeque::new(), gone: 0, newest: VecDeque::new() }
    }
}

impl<T: Reading> Track<T> {
    /// Adds the newest; where there are more than `most` then, the oldest goes.
    pub fn push(&mut self, reading: Arc<T>, most: usize) {
        self.newest.push_back(reading);
        if self.newest.len() > AT_HAND
            && let Some(oldest) = self.newest.pop_front()
        {
            self.write(&oldest);
        }
        if self.len() > most {
            self.drop_first();
        }
    }

    fn write(&mut self, reading: &T) {
        if self.blocks.back().is_none_or(|block| block.is_packed()) {
            self.blocks.push_back(Arc::default());
        }
        let Some(block) = self.blocks.back_mut().map(Arc::make_mut) else { return };
        block.append(reading);
        if block.marks.len() >= TOGETHER {
            block.pack();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.marks.len()).sum::<usize>() - self.gone + self.newest.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the first ones, as long as they are from before a time.
    pub fn forget(&mut self, before_us: i64) {
        while self.first_us().is_some_and(|at_us| at_us < before_us) {
            self.drop_first();
        }
    }

    fn first_us(&self) -> Option<i64> {
        match self.blocks.front() {
            Some(block) => block.marks.get(self.gone).map(|mark| mark.at_us),
            None => self.newest.front().map(|reading| reading.at_us()),
        }
    }

    fn drop_first(&mut self) {
        let Some(block) = self.blocks.front() else {
            self.newest.pop_front();
            return;
        };
        self.gone += 1;
        if self.gone >= block.marks.len() {
            self.blocks.pop_front();
            self.gone = 0;
        }
    }

    /// Those of a stretch of time.
    pub fn within(&self, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = &Arc<T>> {
        let asked = move |at_us: i64| (from_us..=to_us).contains(&at_us);
        let blocks = self.blocks.iter().enumerate();
        let blocks = blocks.filter(move |(_, block)| block.marks.iter().any(|mark| asked(mark.at_us)));
        let older = blocks.flat_map(|(index, block)| {
            let gone = if index == 0 { self.gone } else { 0 };
            block.readings().get(gone..).unwrap_or_default()
        });
        older.chain(&self.newest).filter(move |reading| asked(reading.at_us()))
    }

    /// Keeps those of which this is true, told when they were read, from the oldest on.
    pub fn retain(&mut self, mut keep: impl FnMut(i64) -> bool) {
        let mut gone = std::mem::take(&mut self.gone);
        let mut kept = Kept(VecDeque::new());
        for block in std::mem::take(&mut self.blocks) {
            let stays: Vec<bool> =
                block.marks.iter().enumerate().map(|(index, mark)| index >= gone && keep(mark.at_us)).collect();
            gone = 0;
            match stays.iter().all(|stays| *stays) {
                true => kept.whole(block),
                false => kept.rest(block.only(&stays)),
            }
        }
        self.blocks = kept.0;
        self.newest.retain(|reading| keep(reading.at_us()));
    }

    /// What was read again is not at hand any more.
    pub fn put_away(&mut self) {
        for block in self.blocks.iter_mut().filter(|block| block.read.get().is_some()) {
            *block = Arc::new(Block::clone(block));
        }
    }

    /// What they weigh as they are: what was read again may be as much.
    pub fn bytes(&self) -> usize {
        let newest = self.newest.iter().map(|reading| reading.bytes()).sum::<usize>();
        self.blocks.iter().map(|block| block.weight).sum::<usize>() + newest
    }
}

/// Where a written reading stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Mark {
    at_us: i64,
    /// How long it is, bytes.
    length: u32,
}

/// Some readings, written one behind the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "T: Reading")]
struct Block<T> {
    marks: Vec<Mark>,
    /// What they weigh as they are.
    weight: usize,
    /// What is written, packed where that is told.
    bytes: Vec<u8>,
    /// How much comes out of what is packed. None: it is not.
    packed_from: Option<usize>,
    #[serde(skip)]
    read: OnceLock<Vec<Arc<T>>>,
}

impl<T> Default for Block<T> {
    fn default() -> Self {
        Self { marks: Vec::new(), weight: 0, bytes: Vec::new(), packed_from: None, read: OnceLock::new() }
    }
}

/// What was read again is not copied.
impl<T> Clone for Block<T> {
    fn clone(&self) -> Self {
        let (marks, bytes) = (self.marks.clone(), self.bytes.clone());
        Self { marks, weight: self.weight, bytes, packed_from: self.packed_from, read: OnceLock::new() }
    }
}

impl<T: Reading> Block<T> {
    fn is_packed(&self) -> bool {
        self.packed_from.is_some()
    }

    fn append(&mut self, reading: &T) {
        // Writing into a vector can't fail.
        let written = postcard::to_stdvec(reading).unwrap_or_default();
        self.add(reading.at_us(), reading.bytes(), &written);
    }

    fn add(&mut self, at_us: i64, weight: usize, written: &[u8]) {
        self.marks.push(Mark { at_us, length: u32::try_from(written.len()).unwrap_or(u32::MAX) });
        self.weight += weight;
        // There are many subjects: each has room for some more, and none for many.
        if self.bytes.capacity() - self.bytes.len() < written.len() {
            self.bytes.reserve_exact(written.len() * TOGETHER / 4);
        }
        self.bytes.extend_from_slice(written);
        self.read = OnceLock::new();
    }

    fn pack(&mut self) {
        if self.is_packed() {
            return;
        }
        // Where that fails it stays as it is.
        if let Some(packed) = compress(&self.bytes) {
            self.packed_from = Some(self.bytes.len());
            self.bytes = packed;
            self.bytes.shrink_to_fit();
            self.marks.shrink_to_fit();
        }
    }

    fn written(&self) -> Cow<'_, [u8]> {
        match self.packed_from {
            None => Cow::Borrowed(&self.bytes),
            Some(length) => Cow::Owned(decompress(&self.bytes, length).unwrap_or_default()),
        }
    }

    /// Each with its bytes as written.
    fn each<'a>(&'a self, written: &'a [u8]) -> impl Iterator<Item = (&'a Mark, &'a [u8])> {
        let mut rest = written;
        self.marks.iter().map(move |mark| {
            let (one, behind) = rest.split_at_checked(mark.length as usize).unwrap_or_default();
            rest = behind;
            (mark, one)
        })
    }

    /// What was written is what is read: all of it was written here.
    fn readings(&self) -> &[Arc<T>] {
        let read = || {
            let written = self.written();
            let all = self.each(&written).filter_map(|(_, bytes)| postcard::from_bytes(bytes).ok());
            all.map(Arc::new).collect()
        };
        self.read.get_or_init(read)
    }

    /// Some of them, not packed.
    fn only(&self, stays: &[bool]) -> Self {
        let (mut some, written) = (Self::default(), self.written());
        for ((mark, bytes), _) in self.each(&written).zip(stays).filter(|(_, stays)| **stays) {
            let weight = postcard::from_bytes::<T>(bytes).map_or(0, |reading| reading.bytes());
            some.add(mark.at_us, weight, bytes);
        }
        some
    }

    fn extend(&mut self, other: &Self) {
        let weight = self.weight + other.weight;
        for (mark, bytes) in other.each(&other.written()) {
            self.add(mark.at_us, 0, bytes);
        }
        self.weight = weight;
    }
}

/// What is left of a track, in its order: what is left of neighbours is packed together.
struct Kept<T>(VecDeque<Arc<Block<T>>>);

impl<T: Reading> Kept<T> {
    /// A block that stays as it is.
    fn whole(&mut self, block: Arc<Block<T>>) {
        self.close();
        self.0.push_back(block);
    }

    /// What is left of one, not packed.
    fn rest(&mut self, block: Block<T>) {
        if block.marks.is_empty() {
            return;
        }
        match self.0.back_mut().filter(|last| last.marks.len() + block.marks.len() <= TOGETHER) {
            Some(last) => {
                let mut opened = Block::default();
                opened.extend(last);
                opened.extend(&block);
                *last = Arc::new(opened);
            }
            None => {
                self.close();
                self.0.push_back(Arc::new(block));
            }
        }
    }

    fn close(&mut self) {
        if let Some(last) = self.0.back_mut().filter(|last| !last.is_packed()) {
            Arc::make_mut(last).pack();
        }
    }
}

thread_local! {
    // To set one up costs more than to pack a few kilobytes.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(bytes).ok())
}

/// Unpacks what is so long when it is unpacked, bytes.
fn decompress(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(packed, length).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostSample;

    const SECOND: i64 = 1_000_000;

    fn reading(second: i64) -> Arc<HostSample> {
        let load1 = Some(second as f64 / 7.0);
        Arc::new(HostSample { at_us: second * SECOND, load1, cpus: 4, ..HostSample::default() })
    }

    fn track(seconds: impl IntoIterator<Item = i64>) -> Track<HostSample> {
        let mut track = Track::default();
        seconds.into_iter().for_each(|second| track.push(reading(second), 1_000));
        track
    }

    fn seconds(track: &Track<HostSample>, from: i64, to: i64) -> Vec<i64> {
        track.within(from * SECOND, to * SECOND).map(|one| one.at_us / SECOND).collect()
    }

    #[test]
    fn what_was_packed_is_told_as_it_was() {
        let track = track(1..=100);
        assert!(track.blocks.iter().filter(|block| block.is_packed()).count() > 4);
        let (told, was): (Vec<_>, Vec<_>) =
            (track.within(0, i64::MAX).cloned().collect(), (1..=100).map(reading).collect());
        assert_eq!((told, track.len()), (was, 100));
        assert_eq!(seconds(&track, 30, 50), (30..=50).collect::<Vec<_>>());
        let backwards = track.within(90 * SECOND, 99 * SECOND).rev().map(|one| one.at_us / SECOND);
        assert_eq!(backwards.collect::<Vec<_>>(), (90..=99).rev().collect::<Vec<_>>());
    }

    #[test]
    fn only_what_is_asked_for_is_read_again_until_it_is_put_away() {
        let mut track = track(1..=100);
        let read = |track: &Track<HostSample>| track.blocks.iter().filter(|block| block.read.get().is_some()).count();
        assert_eq!((seconds(&track, 99, 200), read(&track)), (vec![99, 100], 0));
        assert_eq!((seconds(&track, 20, 20), read(&track)), (vec![20], 1));
        let before = postcard::to_stdvec(&track).unwrap();
        track.put_away();
        assert_eq!(read(&track), 0);
        assert_eq!(postcard::to_stdvec(&track).unwrap(), before, "of that a checkpoint knows nothing");
        let again: Track<HostSample> = postcard::from_bytes(&before).unwrap();
        assert_eq!(seconds(&again, 0, 200), (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_go_one_by_one_by_age_and_by_number() {
        let mut track = track((1..=60).chain([10]).chain(61..=80));
        track.forget(35 * SECOND);
        assert_eq!((track.len(), seconds(&track, 0, 34)), (47, vec![10]), "as far as they are old in a row");
        track.push(reading(81), 40);
        assert_eq!((track.len(), seconds(&track, 0, 36)), (47, vec![36, 10]));
        track.forget(200 * SECOND);
        assert!(track.is_empty() && track.blocks.is_empty());
    }

    #[test]
    fn what_is_left_of_neighbours_is_packed_together_and_weighs_what_is_left() {
        let mut track = track(1..=200);
        track.forget(5 * SECOND);
        let mut asked = Vec::new();
        track.retain(|at_us| {
            asked.push(at_us / SECOND);
            at_us > 150 * SECOND || at_us % (10 * SECOND) == 0
        });
        assert_eq!(asked, (5..=200).collect::<Vec<_>>(), "of what is forgotten nothing is asked");
        let left: Vec<i64> = (1..=15).map(|ten| ten * 10).chain(151..=200).collect();
        assert_eq!((seconds(&track, 0, 300), track.len()), (left, 65));
        assert!(track.blocks.len() <= 6, "{}", track.blocks.len());
        assert_eq!(track.bytes(), 65 * reading(1).bytes());
        track.retain(|_| false);
        assert!(track.is_empty() && track.bytes() == 0);
    }
}
