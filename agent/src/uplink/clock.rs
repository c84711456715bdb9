//! How far the collector's clock is from this host's, from acknowledgements. Pure.

use std::collections::VecDeque;

/// Sendings remembered until they are answered.
const MAX_SENT: usize = 64;
/// What two clocks may drift apart between answers that are remembered, microseconds.
const DRIFT_US: i64 = 10_000;
/// Answers of which the quickest is believed: it leaves the least room for error.
const MAX_ANSWERS: usize = 8;

/// The difference of two clocks.
#[derive(Debug, Default)]
pub struct Offset {
    /// Stamp in the message, and when it was really sent.
    sent: VecDeque<(i64, i64)>,
    /// Round trip and offset.
    answers: VecDeque<(i64, i64)>,
}

impl Offset {
    /// A message with this stamp left now. Messages that lie in the spool are sent long after their stamp.
    pub fn sent(&mut self, stamp_us: i64, now_us: i64) {
        self.sent.push_back((stamp_us, now_us));
        if self.sent.len() > MAX_SENT {
            self.sent.pop_front();
        }
    }

    /// An acknowledgement came that answers the message with this stamp, written at the collector's time.
    pub fn answered(&mut self, stamp_us: i64, collector_us: i64, now_us: i64) {
        let Some(at) = self.sent.iter().rposition(|(stamp, _)| *stamp == stamp_us) else { return };
        let (_, sent_us) = self.sent[at];
        self.sent.drain(..=at);
        let trip_us = now_us - sent_us;
        let offset_us = collector_us + trip_us / 2 - now_us;
        // An answer is at most half its round trip wrong. Where that can't make two agree, the collector's clock was stepped.
        self.answers.retain(|(other_us, known_us)| (offset_us - known_us).abs() <= (trip_us + other_us) / 2 + DRIFT_US);
        self.answers.push_back((trip_us, offset_us));
        if self.answers.len() > MAX_ANSWERS {
            self.answers.pop_front();
        }
    }

    /// Collector's clock less this host's, microseconds. None: not known yet. 0 where the round trip leaves room for no
    /// difference at all: an answer waits for the collector's disk, and times must not be moved by that wait.
    pub fn get(&self) -> Option<i64> {
        let (trip_us, offset_us) = *self.answers.iter().min_by_key(|(trip_us, _)| *trip_us)?;
        Some(if offset_us.abs() <= trip_us / 2 { 0 } else { offset_us })
    }

    /// A new connection: what was sent on the old one will not be answered.
    pub fn disconnected(&mut self) {
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_round_trip_is_the_way_back() {
        let mut offset = Offset::default();
        assert_eq!(offset.get(), None);
        offset.sent(100, 5_000);
        offset.answered(100, 1_005_500, 6_000);
        assert_eq!(offset.get(), Some(1_000_000));
    }

    #[test]
    fn the_quickest_answer_is_believed_and_strange_ones_are_not() {
        let mut offset = Offset::default();
        offset.sent(1, 0);
        offset.sent(2, 10);
        offset.answered(1, 500, 10);
        offset.answered(2, 2_000, 2_010);
        offset.answered(77, 0, 2_010);
        assert_eq!(offset.get(), Some(495));
    }

    #[test]
    fn a_collector_whose_clock_was_stepped_is_believed_at_once() {
        let mut offset = Offset::default();
        for at in 0..5 {
            offset.sent(at, at);
            offset.answered(at, at + 1_000_000, at + 10);
        }
        offset.sent(9, 1_000);
        offset.answered(9, 3_601_002_000, 3_000);
        assert_eq!(offset.get(), Some(3_601_000_000));
    }
}
