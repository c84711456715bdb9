//! The oldest reports that wait, in memory: those under way on the present connection, and the next ones.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use why502_proto::v1;

use super::frame::Numbering;
use super::record::Entry;

/// Most reports sent and not acknowledged.
pub const MOST_SENT: usize = 128;
/// Most bytes of these.
const MOST_SENT_BYTES: usize = 1 << 20;

/// The reports in memory.
#[derive(Debug)]
pub struct Window {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The numbering of this run.
    own: Arc<Numbering>,
    /// Whose reports the present connection takes, and from where on: a numbering with a hole in it comes as two.
    linked: Arc<Numbering>,
    sent: usize,
    sent_bytes: usize,
    /// The highest number of this run that was ever sent.
    highest_sent: u64,
}

impl Window {
    /// An empty one.
    pub fn new(own: Arc<Numbering>) -> Self {
        let linked = own.clone();
        Self { entries: VecDeque::new(), bytes: 0, own, linked, sent: 0, sent_bytes: 0, highest_sent: 0 }
    }

    /// The oldest report.
    pub fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// The newest report.
    pub fn back(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// More may come in.
    pub fn has_room(&self) -> bool {
        self.entries.len() < 2 * MOST_SENT && self.bytes < 2 * MOST_SENT_BYTES
    }

    /// All of it was sent.
    pub fn is_sent(&self) -> bool {
        self.entries.len() <= self.sent
    }

    /// Reports sent on this connection and not acknowledged.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Takes in the next report.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    /// Gives the newest one back, where none is under way.
    pub fn pop_unsent(&mut self) -> Option<Entry> {
        if self.sent > 0 {
            return None;
        }
        let entry = self.entries.pop_back()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    /// A new connection: everything not acknowledged is to be sent again.
    pub fn link(&mut self, numbering: Arc<Numbering>) {
        (self.sent, self.sent_bytes) = (0, 0);
        self.linked = numbering;
    }

    /// What this connection takes is acknowledged, and what comes next needs one of its own.
    pub fn wants_another_connection(&self) -> bool {
        let next = self.front().map_or(&self.own, |entry| &entry.numbering);
        self.sent == 0 && !Arc::ptr_eq(next, &self.linked)
    }

    /// Whether there is one to send, and it may be sent.
    pub fn has_next(&self) -> bool {
        self.sent < MOST_SENT
            && self.sent_bytes < MOST_SENT_BYTES
            && self.entries.get(self.sent).is_some_and(|entry| Arc::ptr_eq(&entry.numbering, &self.linked))
    }

    /// The next report to send on this connection.
    pub fn next_report(&mut self) -> Option<v1::Report> {
        let entry = self.entries.get(self.sent).filter(|_| self.has_next())?;
        if Arc::ptr_eq(&entry.numbering, &self.own) {
            self.highest_sent = self.highest_sent.max(entry.seq);
        }
        self.sent_bytes += entry.bytes();
        self.sent += 1;
        Some(entry.report())
    }

    /// Takes out the oldest report where this acknowledgement covers it.
    pub fn pop_acknowledged(&mut self, up_to_seq: u64) -> Option<Entry> {
        let front = self.entries.front()?;
        let is_own = Arc::ptr_eq(&front.numbering, &self.own);
        // What a run before this one left may have been taken already; of this run only what was sent.
        let covered = front.numbering == self.linked && front.seq <= up_to_seq;
        if !covered || is_own && front.seq > self.highest_sent {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes();
        if self.sent > 0 {
            self.sent -= 1;
            self.sent_bytes = self.sent_bytes.saturating_sub(entry.bytes());
        }
        Some(entry)
    }

    /// The oldest reports that are in memory only and were gathered together. Those on disk stand before all of them.
    pub fn unwritten(&self) -> Range<usize> {
        let first = self.entries.iter().position(|entry| entry.order.is_none()).unwrap_or(self.entries.len());
        let together = self.entries.range(first..).position(|entry| !entry.goes_on).map_or(0, |last| last + 1);
        first..first + together
    }

    /// Some of them.
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = &Entry> {
        self.entries.range(range)
    }

    /// Notes where they stand on disk now.
    pub fn written(&mut self, range: Range<usize>, order: u64) {
        self.entries.range_mut(range).for_each(|entry| entry.order = Some(order));
    }
}
