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
