//! Gathers what was observed into reports, in the order observed.
//!
//! Events leave within 200 ms of their coming, samples with the next report or after 100 ms; a stretch without either is
//! told by an empty report, so that silence means trouble. A report stays below 200 KiB and 1,000 events; what is more goes
//! into the next one. The place up to which a log was read travels in the report that holds the last of what its lines told.

use std::time::{Duration, Instant};

use prost::Message;
use why502_proto::v1;

use crate::sampler::Observed;
use crate::tail::Mark;

/// The largest report, bytes; collectors refuse more than 256 KiB.
const MAX_REPORT_BYTES: usize = 200 * 1024;
/// Most events in one report.
const MAX_REPORT_EVENTS: usize = 1_000;
/// So long an event waits for others that come at the same moment.
const EVENT_WAIT: Duration = Duration::from_millis(20);
/// So long a sample waits for the others of its round.
const SAMPLE_WAIT: Duration = Duration::from_millis(100);
/// Between two reports lies at least this.
const SPACING: Duration = Duration::from_millis(150);

/// A report that is closed but has no number yet, with what its acknowledgement will allow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sealed {
    /// The report; its number is set when it is sent for the first time.
    pub report: v1::Report,
    /// Logs that were read so far.
    pub marks: Vec<Mark>,
}

/// The clocks at the moment a report is closed.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Unix microseconds.
    pub unix_us: i64,
    /// CLOCK_BOOTTIME, microseconds.
    pub boottime_us: u64,
}

/// Gathers reports. The caller asks `due` when to close.
#[derive(Debug)]
pub struct Gatherer {
    done: Vec<Sealed>,
    open: Sealed,
    open_bytes: usize,
    due: Instant,
    spaced: Instant,
    idle: Duration,
    oversize: u64,
}

impl Gatherer {
    /// The first report is due at once; later ones come at least each `idle`, even if empty.
    pub fn new(now: Instant, idle: Duration) -> Self {
        Self {
            done: Vec::new(),
            open: Sealed::default(),
            open_bytes: 0,
            due: now + EVENT_WAIT,
            spaced: now,
            idle,
            oversize: 0,
        }
    }

    /// When the next report is to be closed.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Things that were too large for any report and were left out.
    pub fn oversize(&self) -> u64 {
        self.oversize
    }

    /// Adds what was observed.
    pub fn add(&mut self, observed: Observed, now: Instant) {
        let wait = match &observed {
            Observed::Event(_) | Observed::Status(_) | Observed::Gateway(_) => EVENT_WAIT,
            Observed::Host(_) | Observed::Instance(_) | Observed::Upstream(_) | Observed::Source(_) => SAMPLE_WAIT,
            Observed::Mark(mark) => {
                self.open.marks.retain(|other| other.log != mark.log);
                self.open.marks.push(mark.clone());
                return;
            }
        };
        // Tag and length of the field stand before each thing; five bytes are enough for both.
        let bytes = size_bytes(&observed) + 5;
        if bytes > MAX_REPORT_BYTES {
            self.oversize += 1;
            return;
        }
        if self.open_bytes + bytes > MAX_REPORT_BYTES
            || self.open.report.events.len() >= MAX_REPORT_EVENTS
            || matches!(observed, Observed::Host(_)) && self.open.report.host.is_some()
        {
            self.done.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
            self.due = now;
        }
        self.open_bytes += bytes;
        put(&mut self.open.report, observed);
        self.due = self.due.min((now + wait).max(self.spaced));
    }

    /// Closes what was gathered, into one report at least.
    pub fn close(&mut self, now: Instant, clocks: Clocks) -> Vec<Sealed> {
        self.done.push(std::mem::take(&mut self.open));
        self.open_bytes = 0;
        self.due = now + self.idle;
        self.spaced = now + SPACING;
        let mut closed = std::mem::take(&mut self.done);
        for sealed in &mut closed {
            sealed.report.at_unix_us = clocks.unix_us;
            sealed.report.boottime_us = clocks.boottime_us;
        }
        closed
    }
}

fn size_bytes(observed: &Observed) -> usize {
    match observed {
        Observed::Event(event) => event.encoded_len(),
        Observed::Host(sample) => sample.encoded_len(),
        Observed::Instance(sample) => sample.encoded_len(),
        Observed::Upstream(sample) => sample.encoded_len(),
        Observed::Status(status) => status.encoded_len(),
        Observed::Gateway(config) => config.encoded_len(),
        Observed::Source(source) => source.encoded_len(),
        Observed::Mark(_) => 0,
    }
}

fn put(report: &mut v1::Report, observed: Observed) {
    match observed {
        Observed::Event(event) => report.events.push(event),
        Observed::Host(sample) => report.host = Some(*sample),
        Observed::Instance(sample) => report.instances.push(*sample),
        Observed::Upstream(sample) => report.upstreams.push(*sample),
        Observed::Status(status) => {
            // Only the newest state counts.
            report.samplers.retain(|other| other.name != status.name);
            report.samplers.push(status);
        }
        Observed::Gateway(config) => report.gateways.push(*config),
        Observed::Source(source) => {
            let is_same = |other: &v1::LogSource| other.gateway == source.gateway && other.source == source.source;
            report.sources.retain(|other| !is_same(other));
            report.sources.push(*source);
        }
        Observed::Mark(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::Position;

    const CLOCKS: Clocks = Clocks { unix_us: 7, boottime_us: 9 };

    fn event(line_bytes: usize) -> Observed {
        let line = "x".repeat(line_bytes);
        Observed::event(1, v1::event::Kind::LogMatch(v1::LogMatch { line, ..Default::default() }))
    }

    fn mark(offset_bytes: u64) -> Observed {
        let file =
            crate::tail::FilePosition { device: 1, inode: 1, offset_bytes, start: Default::default(), seen_ns: 0 };
        Observed::Mark(Mark { log: "a.log".into(), position: Position { files: vec![file] } })
    }

    fn gatherer() -> (Gatherer, Instant) {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(now, Duration::from_secs(10));
        assert_eq!(gatherer.close(now, CLOCKS).len(), 1, "the first report is sent even if empty");
        (gatherer, now + SPACING)
    }

    #[test]
    fn events_are_due_at_once_and_reports_are_spaced() {
        let (mut gatherer, now) = gatherer();
        assert_eq!(gatherer.due(), now - SPACING + Duration::from_secs(10));
        gatherer.add(Observed::Host(Box::default()), now);
        assert_eq!(gatherer.due(), now + SAMPLE_WAIT);
        gatherer.add(event(1), now);
        assert_eq!(gatherer.due(), now + EVENT_WAIT);
        gatherer.add(event(1), now + EVENT_WAIT / 2);
        assert_eq!(gatherer.due(), now + EVENT_WAIT, "later ones do not put it off");
        let closed = gatherer.close(now, CLOCKS);
        assert_eq!((closed.len(), closed[0].report.events.len()), (1, 2));
        assert_eq!((closed[0].report.at_unix_us, closed[0].report.boottime_us), (7, 9));
        gatherer.add(event(1), now);
        assert_eq!(gatherer.due(), now + SPACING);
        assert!(SPACING + EVENT_WAIT <= Duration::from_millis(200));
    }

    #[test]
    fn a_flood_is_split_in_order_below_the_limits() {
        let (mut gatherer, now) = gatherer();
        for number in 0..2_500 {
            gatherer.add(event(if number < 500 { 1_000 } else { 1 }), now);
        }
        assert_eq!(gatherer.due(), now, "a full report does not wait");
        let closed = gatherer.close(now, CLOCKS);
        let sizes: Vec<usize> = closed.iter().map(|sealed| sealed.report.events.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 2_500);
        assert!(sizes.iter().all(|events| *events <= MAX_REPORT_EVENTS), "{sizes:?}");
        for sealed in &closed {
            assert!(sealed.report.encoded_len() <= MAX_REPORT_BYTES + 64);
        }
        assert!(closed.len() <= 6, "{sizes:?}");
    }

    #[test]
    fn a_mark_travels_with_the_last_of_its_lines() {
        let (mut gatherer, now) = gatherer();
        for _ in 0..MAX_REPORT_EVENTS {
            gatherer.add(event(1), now);
        }
        gatherer.add(mark(10), now);
        gatherer.add(event(1), now);
        gatherer.add(mark(20), now);
        gatherer.add(mark(30), now);
        let marks: Vec<Vec<u64>> = gatherer
            .close(now, CLOCKS)
            .iter()
            .map(|sealed| sealed.marks.iter().map(|mark| mark.position.files[0].offset_bytes).collect())
            .collect();
        assert_eq!(marks, [vec![10], vec![30]]);
    }

    #[test]
    fn one_host_sample_a_report_and_the_newest_status() {
        let (mut gatherer, now) = gatherer();
        gatherer.add(Observed::Host(Box::default()), now);
        for why in ["one", "two"] {
            let status = crate::sampler::Status::Degraded(why.into()).message("socket");
            gatherer.add(Observed::Status(status), now);
        }
        gatherer.add(Observed::Host(Box::default()), now);
        let closed = gatherer.close(now, CLOCKS);
        assert_eq!(closed.len(), 2);
        assert_eq!(closed[0].report.samplers.iter().map(|status| status.why.as_str()).collect::<Vec<_>>(), ["two"]);
    }

    #[test]
    fn what_fits_into_no_report_is_left_out_and_counted() {
        let (mut gatherer, now) = gatherer();
        gatherer.add(event(MAX_REPORT_BYTES), now);
        assert_eq!((gatherer.oversize(), gatherer.close(now, CLOCKS)[0].report.events.len()), (1, 0));
    }
}
