//! What is given up when the spool is full, and in which order. Pure.
//!
//! Samples go first, evenly: in the segment that was thinned least, the oldest of these, every second report that has samples
//! loses them, so that history becomes coarser the older it is and the longer the collector stays away. Failures, exits and
//! all other events, states and configurations stay whole. Only once no samples are left the oldest segment goes as it is.

use why502_proto::v1;

/// After so many halvings no samples are left at all.
pub const LAST_LEVEL: u8 = 6;

/// What a closed segment weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// Its length, bytes.
    pub bytes: u64,
    /// How often it was thinned.
    pub level: u8,
}

/// What to do with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Halve its samples.
    Thin(usize),
    /// Leave it out.
    Drop(usize),
}

/// The next thing to do so that these closed segments, oldest first, fit beside so many other bytes.
pub fn next(segments: &[Brief], other_bytes: u64, limit_bytes: u64) -> Option<Action> {
    let bytes = segments.iter().map(|segment| segment.bytes).sum::<u64>() + other_bytes;
    if bytes <= limit_bytes || segments.is_empty() {
        return None;
    }
    let least = segments.iter().enumerate().filter(|(_, one)| one.level < LAST_LEVEL).min_by_key(|(_, one)| one.level);
    Some(least.map_or(Action::Drop(0), |(at, _)| Action::Thin(at)))
}

/// Whether a report has samples.
pub fn has_samples(report: &v1::Report) -> bool {
    report.host.is_some() || !report.instances.is_empty() || !report.upstreams.is_empty()
}

/// Takes the samples out of a report; true: something else is left in it.
pub fn strip(report: &mut v1::Report) -> bool {
    (report.host, report.instances, report.upstreams) = (None, Vec::new(), Vec::new());
    !(report.events.is_empty() && report.samplers.is_empty() && report.gateways.is_empty() && report.sources.is_empty())
}

/// Which of the reports of a segment lose their samples as it goes from a level to the next: the flags say of each report
/// in order whether it has samples.
pub fn losers(has_samples: &[bool], level: u8) -> Vec<bool> {
    let mut ordinal = 0;
    has_samples
        .iter()
        .map(|has| {
            ordinal += usize::from(*has);
            *has && (level + 1 >= LAST_LEVEL || ordinal.is_multiple_of(2))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bytes: u64, level: u8) -> Brief {
        Brief { bytes, level }
    }

    #[test]
    fn nothing_is_given_up_without_need() {
        assert_eq!(next(&[segment(50, 0), segment(40, 0)], 10, 100), None);
        assert_eq!(next(&[], 200, 100), None);
    }

    #[test]
    fn the_least_thinned_and_oldest_goes_first_and_whole_segments_last() {
        let over = |levels: &[u8]| {
            let segments: Vec<Brief> = levels.iter().map(|level| segment(50, *level)).collect();
            next(&segments, 1, 60)
        };
        assert_eq!(over(&[0, 0, 0]), Some(Action::Thin(0)));
        assert_eq!(over(&[1, 0, 0]), Some(Action::Thin(1)));
        assert_eq!(over(&[2, 1, 1]), Some(Action::Thin(1)));
        assert_eq!(over(&[LAST_LEVEL, LAST_LEVEL, 5]), Some(Action::Thin(2)));
        assert_eq!(over(&[LAST_LEVEL; 3]), Some(Action::Drop(0)));
    }

    #[test]
    fn half_of_the_samples_go_each_time_and_all_at_the_end() {
        let flags = [true, false, true, true, false, true];
        assert_eq!(losers(&flags, 0), [false, false, true, false, false, true]);
        assert_eq!(losers(&flags, LAST_LEVEL - 1), flags);
        assert_eq!(losers(&[], 0), [false; 0]);
    }
}
