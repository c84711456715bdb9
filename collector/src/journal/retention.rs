//! Which segments may go: a pure plan, so that its edges are tested without a disk. The oldest go first, and the
//! segment that is being written never goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Segments whose newest record is older go.
    pub max_age: Duration,
    /// The oldest segments go while all together are larger, bytes.
    pub max_bytes: u64,
}

/// What the plan needs to know of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// Index of its first record: its name.
    pub first: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// Its size before it was packed, bytes. None: it is not packed.
    pub unpacked: Option<u64>,
    /// Time of its newest record, unix microseconds. None: it holds none.
    pub newest_us: Option<i64>,
}

impl SegmentFacts {
    /// Its size as it was written, bytes.
    pub fn written(&self) -> u64 {
        self.unpacked.unwrap_or(self.bytes)
    }
}

/// The segments that go, oldest first. `segments` are in order; the last is being written.
pub fn plan(segments: &[SegmentFacts], limits: Limits, now_us: i64) -> Vec<u64> {
    let max_age_us = i64::try_from(limits.max_age.as_micros()).unwrap_or(i64::MAX);
    let mut left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut gone = Vec::new();
    let closed = segments.len().saturating_sub(1);
    for segment in &segments[..closed] {
        let old = segment.newest_us.is_none_or(|newest| now_us.saturating_sub(newest) > max_age_us);
        if !old && left <= limits.max_bytes {
            break;
        }
        left -= segment.bytes;
        gone.push(segment.first);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(first: u64, bytes: u64, newest_s: i64) -> SegmentFacts {
        SegmentFacts { first, bytes, unpacked: None, newest_us: Some(newest_s * 1_000_000) }
    }

    const LIMITS: Limits = Limits { max_age: Duration::from_secs(100), max_bytes: 1000 };

    #[test]
    fn nothing_goes_within_both_limits() {
        assert!(plan(&[facts(1, 500, 0), facts(2, 500, 50)], LIMITS, 100_000_000).is_empty());
        assert!(plan(&[], LIMITS, 0).is_empty());
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size() {
        let segments = [facts(1, 100, 0), facts(2, 600, 90), facts(3, 600, 95), facts(4, 10, 99)];
        assert_eq!(plan(&segments, LIMITS, 100_000_001), vec![1, 2]);
    }

    #[test]
    fn the_segment_being_written_never_goes() {
        assert!(plan(&[facts(1, 5000, 0)], LIMITS, 1_000_000_000).is_empty());
    }
}
