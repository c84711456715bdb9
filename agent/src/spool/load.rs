//! Between disk and memory: what waits is taken into the window as there is room, and what is too much is thinned.

use std::sync::Arc;

use super::record::{self, Entry};
use super::store::{self, Store};
use super::thin::{self, Action};
use super::{Spool, together};

/// The widest hole in the numbers of a run that is filled with empty reports; a wider one takes a new connection, whose
/// hello says where the numbers go on.
const MOST_FILLED: u64 = 256;

impl Spool {
    /// Whether records stand on disk that are behind the window.
    pub(super) fn has_unloaded(&self) -> bool {
        self.next_segment().is_some()
    }

    /// The segment of the next record behind the window.
    fn next_segment(&self) -> Option<&store::Segment> {
        let segments = self.store.as_ref().map_or(&[][..], Store::segments);
        segments.iter().find(|one| one.last_seq > 0 && (one.order, one.last_seq) > self.loaded)
    }

    /// Fills the window from the disk, and with what is held in memory once nothing on disk comes before it.
    pub(super) fn load(&mut self) {
        while self.window.is_sent() && self.has_unloaded() {
            self.load_segment();
        }
        while self.window.is_sent() && !self.held.is_empty() {
            // Those closed together stay together.
            for entry in self.held.drain(..together(&self.held)) {
                self.held_bytes -= entry.bytes();
                self.newest = Some((entry.numbering.clone(), entry.seq));
                self.window.push(entry);
            }
        }
    }

    /// Takes records of the next segment into the window. One that can't be read is passed over.
    fn load_segment(&mut self) {
        let Some(segment) = self.next_segment().cloned() else { return };
        let Self { store, window, loaded, newest, own, .. } = self;
        let order = segment.order;
        let after = if loaded.0 == order { loaded.1 } else { 0 };
        let known = newest.clone().filter(|(numbering, _)| **numbering == segment.numbering);
        let mut expected = known.as_ref().map(|(_, seq)| seq + 1);
        let mut numbering = match known {
            Some((numbering, _)) => numbering,
            None if segment.numbering == **own => own.clone(),
            None => Arc::new(segment.numbering),
        };
        let mut took = false;
        let read = store.as_ref().map(|store| {
            store.read(order, &mut |frame| {
                if frame.seq <= after {
                    return;
                }
                let mut first = expected.unwrap_or(frame.seq);
                if frame.seq.saturating_sub(first) > MOST_FILLED {
                    (numbering, first) = (Arc::new((*numbering).clone()), frame.seq);
                }
                // A number whose record is gone (thinned, damaged) is an empty report, so that there is no hole.
                for seq in first..=frame.seq {
                    if !window.has_room() {
                        return;
                    }
                    window.push(match seq == frame.seq {
                        true => Entry::read(numbering.clone(), order, frame),
                        false => Entry::filler(numbering.clone(), order, seq),
                    });
                    *loaded = (order, seq);
                    *newest = Some((numbering.clone(), seq));
                    expected = Some(seq + 1);
                    took = true;
                }
            })
        });
        if read.is_none_or(|read| read.is_err()) || !took {
            self.loaded = (order, segment.last_seq);
        }
    }

    /// Keeps the limit.
    pub(super) fn keep_limit(&mut self) {
        if self.store.as_ref().is_none_or(|store| store.bytes() <= self.limit_bytes) {
            return;
        }
        self.unload();
        while let Some(store) = &mut self.store {
            let (briefs, open_bytes) = store.briefs();
            // What stands in the window is under way.
            let under_way = |segment: &&store::Segment| segment.order <= self.loaded.0;
            let first = if self.window.is_empty() { 0 } else { store.segments().iter().take_while(under_way).count() };
            let first = first.min(briefs.len());
            let kept: u64 = briefs[..first].iter().map(|brief| brief.bytes).sum();
            let Some(action) = thin::next(&briefs[first..], kept + open_bytes, self.limit_bytes) else { return };
            let done = match action {
                Action::Thin(at) => record::thin(store, first + at),
                Action::Drop(at) => record::drop(store, first + at),
            };
            match done {
                Ok(given_up) => {
                    self.counts.thinned_reports += given_up.thinned_reports;
                    self.counts.dropped_events += given_up.dropped_events;
                    self.waiting = self.waiting.saturating_sub(given_up.removed_records);
                }
                Err(error) => {
                    self.disk_fault = Some(super::fault(&self.dir, &error));
                    return;
                }
            }
        }
    }

    /// Leaves to the disk again what of the window stands there and is not under way.
    fn unload(&mut self) {
        while self.window.back().is_some_and(|entry| entry.order.is_some()) {
            let Some(entry) = self.window.pop_unsent() else { return };
            self.loaded = (entry.order.unwrap_or(0), entry.seq - 1);
            self.newest = Some((entry.numbering, entry.seq - 1));
        }
    }
}
