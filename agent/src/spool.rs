//! Reports between their closing and their acknowledgement, oldest first, in memory and bounded by bytes: killing the agent
//! loses what is not acknowledged, but not the log lines behind it, since their positions are kept only once acknowledged.
//!
//! A report gets its number when it is sent for the first time, and then stays as it is until acknowledged, so that sending
//! it again is sending the same. Those not yet sent may be thinned when the limit is reached: `plan` says which.

use std::collections::VecDeque;

use prost::Message;
use why502_proto::v1;

use crate::report::Sealed;
use crate::tail::Mark;

/// What is counted for a report beside its own bytes.
const ENTRY_BYTES: usize = 128;
/// Most reports sent and not acknowledged.
const WINDOW_REPORTS: usize = 128;
/// Most bytes of these.
const WINDOW_BYTES: usize = 1 << 20;

/// What was given up for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reports whose samples were left out.
    pub thinned_reports: u64,
    /// Events left out.
    pub dropped_events: u64,
}

/// What a report that was not sent yet weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// All of it, bytes.
    pub bytes: usize,
    /// What would stay without its samples, bytes. Equal: it has none.
    pub bytes_without_samples: usize,
    /// It has events, statuses or configurations.
    pub has_events: bool,
}

/// What to do with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave its samples out.
    Strip(usize),
    /// Leave it out.
    Drop(usize),
}

/// How to make room for `excess_bytes`: every second report that has samples only, from the oldest, so that history becomes
/// coarser before it becomes shorter; then the rest of these; then the samples of those with events; the oldest events last.
pub fn plan(briefs: &[Brief], excess_bytes: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut left = excess_bytes;
    let plain: Vec<usize> = (0..briefs.len()).filter(|index| !briefs[*index].has_events).collect();
    let halves = plain.iter().step_by(2).chain(plain.iter().skip(1).step_by(2));
    for index in halves {
        if left == 0 {
            return actions;
        }
        left = left.saturating_sub(briefs[*index].bytes);
        actions.push(Action::Drop(*index));
    }
    let eventful: Vec<usize> = (0..briefs.len()).filter(|index| briefs[*index].has_events).collect();
    for index in &eventful {
        let samples = briefs[*index].bytes - briefs[*index].bytes_without_samples;
        if left == 0 {
            return actions;
        }
        if samples > 0 {
            left = left.saturating_sub(samples);
            actions.push(Action::Strip(*index));
        }
    }
    for index in &eventful {
        if left == 0 {
            return actions;
        }
        left = left.saturating_sub(briefs[*index].bytes_without_samples);
        actions.retain(|action| *action != Action::Strip(*index));
        actions.push(Action::Drop(*index));
    }
    actions
}

#[derive(Debug)]
struct Entry {
    /// Encoded, without its number.
    body: Vec<u8>,
    bytes_without_samples: usize,
    events: usize,
    has_events: bool,
    marks: Vec<Mark>,
}

impl Entry {
    fn new(report: &v1::Report, marks: Vec<Mark>) -> Self {
        let body = report.encode_to_vec();
        let samples = report.host.iter().map(Message::encoded_len).sum::<usize>()
            + report.instances.iter().map(Message::encoded_len).sum::<usize>()
            + report.upstreams.iter().map(Message::encoded_len).sum::<usize>();
        Self {
            bytes_without_samples: ENTRY_BYTES + body.len() - samples,
            body,
            events: report.events.len(),
            has_events: !(report.events.is_empty() && report.samplers.is_empty() && report.gateways.is_empty()),
            marks,
        }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.body.len()
    }
}

/// The reports that are not acknowledged.
#[derive(Debug)]
pub struct Spool {
    /// The first `numbered` of them have the numbers from `first_seq` on.
    queue: VecDeque<Entry>,
    first_seq: u64,
    numbered: usize,
    /// How many of the numbered ones were sent on the present connection.
    sent: usize,
    sent_bytes: usize,
    bytes: usize,
    limit_bytes: usize,
    counts: Counts,
}

impl Spool {
    /// An empty one.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            first_seq: 1,
            numbered: 0,
            sent: 0,
            sent_bytes: 0,
            bytes: 0,
            limit_bytes,
            counts: Counts::default(),
        }
    }

    /// Takes a report in; others are thinned where there is no room.
    pub fn push(&mut self, sealed: Sealed) {
        let entry = Entry::new(&sealed.report, sealed.marks);
        self.bytes += entry.bytes();
        self.queue.push_back(entry);
        if self.bytes > self.limit_bytes {
            // An eighth more, so that not every further report pays for a look at all.
            self.make_room(self.bytes - self.limit_bytes + self.limit_bytes / 8);
        }
    }

    /// The lowest number not acknowledged: what the next connection begins with.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Reports sent on this connection and not acknowledged.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Whether all was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Reports that wait for their acknowledgement.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What was given up.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether `next_report` would give a report.
    pub fn has_next(&self) -> bool {
        self.sent < self.queue.len() && self.sent < WINDOW_REPORTS && self.sent_bytes < WINDOW_BYTES
    }

    /// The next report to send on this connection. None: all were sent, or as many as may be without an acknowledgement.
    pub fn next_report(&mut self) -> Option<v1::Report> {
        if !self.has_next() {
            return None;
        }
        let entry = self.queue.get(self.sent)?;
        // Our own bytes; should they not decode, an empty report keeps the numbering without a gap.
        let mut report = v1::Report::decode(entry.body.as_slice()).unwrap_or_default();
        report.seq = self.first_seq + self.sent as u64;
        self.sent_bytes += entry.bytes();
        self.sent += 1;
        self.numbered = self.numbered.max(self.sent);
        Some(report)
    }

    /// A new connection: everything not acknowledged is to be sent again.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// Forgets what is durable at the collector; returns how far logs need not be read again.
    pub fn acknowledge(&mut self, up_to_seq: u64) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        while self.numbered > 0 && self.first_seq <= up_to_seq {
            let Some(entry) = self.queue.pop_front() else { break };
            self.first_seq += 1;
            self.numbered -= 1;
            self.bytes -= entry.bytes();
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes = self.sent_bytes.saturating_sub(entry.bytes());
            }
            for mark in entry.marks {
                marks.retain(|other| other.log != mark.log);
                marks.push(mark);
            }
        }
        marks
    }

    fn make_room(&mut self, excess_bytes: usize) {
        let briefs: Vec<Brief> = self
            .queue
            .iter()
            .skip(self.numbered)
            .map(|entry| Brief {
                bytes: entry.bytes(),
                bytes_without_samples: entry.bytes_without_samples,
                has_events: entry.has_events,
            })
            .collect();
        let mut actions = plan(&briefs, excess_bytes);
        // From the newest, so that the places of the others stay.
        actions.sort_by_key(|action| match action {
            Action::Strip(index) | Action::Drop(index) => std::cmp::Reverse(*index),
        });
        for action in actions {
            match action {
                Action::Strip(index) => self.strip(self.numbered + index),
                Action::Drop(index) => self.drop_at(self.numbered + index),
            }
        }
    }

    fn strip(&mut self, at: usize) {
        let Some(entry) = self.queue.get_mut(at) else { return };
        let Ok(mut report) = v1::Report::decode(entry.body.as_slice()) else { return };
        (report.host, report.instances, report.upstreams) = (None, Vec::new(), Vec::new());
        self.bytes -= entry.bytes();
        *entry = Entry::new(&report, std::mem::take(&mut entry.marks));
        self.bytes += entry.bytes();
        self.counts.thinned_reports += 1;
    }

    fn drop_at(&mut self, at: usize) {
        let Some(entry) = self.queue.remove(at) else { return };
        self.bytes -= entry.bytes();
        self.counts.thinned_reports += u64::from(!entry.has_events);
        self.counts.dropped_events += entry.events as u64;
        // How far logs were read still holds once the report after it is acknowledged.
        let heir = if at < self.queue.len() { self.queue.get_mut(at) } else { self.queue.back_mut() };
        if let Some(heir) = heir {
            for mark in entry.marks {
                if !heir.marks.iter().any(|other| other.log == mark.log) {
                    heir.marks.push(mark);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
