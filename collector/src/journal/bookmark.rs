//! A place between two records of a journal, kept outside of it: whoever has folded everything before it may go on from
//! there without reading it again. It is worth something only while the journal is the one it was made of.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frame::{Place, SEGMENT_HEADER, SegmentHeader};
use super::recover::segment_name;
use super::retention::SegmentFacts;

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
        let length = |first| fs::metadata(dir.join(segment_name(first))).map(|metadata| metadata.len());
        let whole = earlier.into_iter().all(|segment| length(segment.first).is_ok_and(|len| len == segment.bytes))
            && length(self.place.segment).is_ok_and(|len| len >= self.place.offset);
        let expected = SegmentHeader { first: self.place.segment, salt: self.salt };
        whole && self.header(dir).is_some_and(|header| header == expected)
    }

    fn header(&self, dir: &Path) -> Option<SegmentHeader> {
        let mut bytes = [0; SEGMENT_HEADER];
        File::open(dir.join(segment_name(self.place.segment))).ok()?.read_exact(&mut bytes).ok()?;
        SegmentHeader::decode(&bytes).map(|(header, _)| header)
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
