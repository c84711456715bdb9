//! A place between two records of a journal, kept outside of it: whoever has folded everything before it may go on from
//! there without reading it again. It is worth something only while the journal is the one it was made of.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frame::{Place, SegmentHeader};
use super::retention::SegmentFacts;
use super::segments;

/// Everything before it has been read and is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// Where the next record will stand.
    pub(super) place: Place,
    /// The salt of that segment: another segment of the same name has another.
    pub(super) salt: u64,
    /// The next record's number.
    pub(super) next_index: u64,
    /// The segments, this one last.
    pub(super) segments: Vec<SegmentFacts>,
}

impl Bookmark {
    /// The place before the newest segments that were not larger than this together when they were written, bytes. None: that is
    /// the journal's beginning. Only packed segments lie before it: what must be known of those that are kept their headers tell.
    pub fn before_newest(dir: &Path, bytes: u64) -> Option<Self> {
        let files = segments::list(dir).ok()?;
        let sizes = files.iter().rev().scan(0, |all: &mut u64, file| {
            let (_, written) = segments::facts(dir, file.first)?;
            *all = all.saturating_add(written);
            Some(*all)
        });
        let newest = sizes.take_while(|all| *all <= bytes).count().max(1);
        let older = files.iter().take(files.len().saturating_sub(newest));
        let segments: Vec<SegmentFacts> = older.map_while(segments::packed_facts).collect();
        let first = files.get(segments.len()).filter(|_| !segments.is_empty())?.first;
        let (header, _) = segments::facts(dir, first)?;
        Some(Self { place: Place { segment: first, offset: 0 }, salt: header.salt, next_index: first, segments })
    }

    /// Segments that lie before it.
    pub fn segments_before(&self) -> usize {
        self.segments.iter().filter(|segment| segment.first < self.place.segment).count()
    }

    /// Whether the journal in `dir` still is the one this was made of, with nothing before this place cut off.
    pub fn fits(&self, dir: &Path) -> bool {
        let earlier = self.segments.iter().filter(|segment| segment.first < self.place.segment);
        let written = |first| segments::facts(dir, first).map(|(_, written)| written);
        let mut earlier = earlier.map(|segment| written(segment.first) == Some(segment.written()));
        let expected = SegmentHeader { first: self.place.segment, salt: self.salt };
        earlier.all(|is_whole| is_whole)
            && segments::facts(dir, self.place.segment)
                .is_some_and(|(header, written)| header == expected && written >= self.place.offset)
    }

    /// Time of a segment's newest record before this place.
    pub(super) fn newest_us(&self, first: u64) -> Option<i64> {
        self.segments.iter().find(|segment| segment.first == first)?.newest_us
    }

    /// What is known of a segment that lies wholly before this place.
    pub(super) fn passed(&self, first: u64) -> Option<&SegmentFacts> {
        self.segments.iter().find(|segment| segment.first == first && first < self.place.segment)
    }
}
