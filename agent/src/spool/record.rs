//! One report as it waits: its bytes, in memory and on disk, and what thinning leaves of a segment of them.

use std::io;
use std::sync::Arc;

use prost::Message;
use why502_proto::v1;

use super::frame::{Frame, Numbering};
use super::store::Store;
use super::thin::{self, LAST_LEVEL};
use crate::report::Sealed;
use crate::tail::{FilePosition, Fingerprint, Mark, Position};

/// What is counted for a report in memory beside its own bytes.
const ENTRY_BYTES: usize = 128;

/// A report that waits.
#[derive(Debug, Clone)]
pub struct Entry {
    pub numbering: Arc<Numbering>,
    pub seq: u64,
    /// Encoded, without its number.
    body: Vec<u8>,
    pub marks: Vec<Mark>,
    /// The segment that holds it. None: it is in memory only.
    pub order: Option<u64>,
    /// The next one was closed together with it: on disk they count only together.
    pub goes_on: bool,
    /// It stands for a record that is gone.
    pub is_filler: bool,
}

impl Entry {
    /// A report that just came in.
    pub fn new(numbering: Arc<Numbering>, seq: u64, sealed: Sealed, goes_on: bool) -> Self {
        let body = sealed.report.encode_to_vec();
        Self { numbering, seq, body, marks: sealed.marks, order: None, goes_on, is_filler: false }
    }

    /// One that stands on disk.
    pub fn read(numbering: Arc<Numbering>, order: u64, frame: Frame<'_>) -> Self {
        // Our own bytes, checked by their sum; should they not decode, an empty report keeps the numbering without a gap.
        let record = v1::SpoolRecord::decode(frame.payload).unwrap_or_default();
        let marks = record.marks.into_iter().map(mark).collect();
        Self {
            numbering,
            seq: frame.seq,
            body: record.report,
            marks,
            order: Some(order),
            goes_on: false,
            is_filler: false,
        }
    }

    /// One that is gone.
    pub fn filler(numbering: Arc<Numbering>, order: u64, seq: u64) -> Self {
        let (body, marks) = (Vec::new(), Vec::new());
        Self { numbering, seq, body, marks, order: Some(order), goes_on: false, is_filler: true }
    }

    /// What it weighs in memory.
    pub fn bytes(&self) -> usize {
        ENTRY_BYTES + self.body.len()
    }

    /// The report with its number.
    pub fn report(&self) -> v1::Report {
        v1::Report { seq: self.seq, ..v1::Report::decode(self.body.as_slice()).unwrap_or_default() }
    }

    /// What is written of it.
    pub fn payload(&self) -> Vec<u8> {
        payload(self.body.clone(), &self.marks)
    }

    /// The frame of it around what is written.
    pub fn frame<'p>(&self, payload: &'p [u8]) -> Frame<'p> {
        Frame { seq: self.seq, payload, goes_on: self.goes_on }
    }

    /// Takes its samples out. False: it has none.
    pub fn strip(&mut self) -> bool {
        let Ok(mut report) = v1::Report::decode(self.body.as_slice()) else { return false };
        let has = thin::has_samples(&report);
        if has {
            thin::strip(&mut report);
            self.body = report.encode_to_vec();
        }
        has
    }
}

/// The places that a record on disk tells.
pub fn marks(payload: &[u8]) -> Vec<Mark> {
    v1::SpoolRecord::decode(payload).unwrap_or_default().marks.into_iter().map(mark).collect()
}

/// What was given up in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    pub thinned_reports: u64,
    pub dropped_events: u64,
    pub removed_records: usize,
}

struct Record {
    seq: u64,
    report: v1::Report,
    marks: Vec<v1::LogMark>,
}

fn records(store: &Store, at: usize) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let Some(segment) = store.segments().get(at) else { return Ok(records) };
    store.read(segment.order, &mut |frame| {
        let record = v1::SpoolRecord::decode(frame.payload).unwrap_or_default();
        let report = v1::Report::decode(record.report.as_slice()).unwrap_or_default();
        records.push(Record { seq: frame.seq, report, marks: record.marks });
    })?;
    Ok(records)
}

/// Thins a closed segment once more. A report of which nothing is left goes; what it tells of logs, the next one tells.
pub fn thin(store: &mut Store, at: usize) -> io::Result<GivenUp> {
    let records = records(store, at)?;
    let level = store.segments().get(at).map_or(LAST_LEVEL, |segment| segment.level);
    let flags: Vec<bool> = records.iter().map(|record| thin::has_samples(&record.report)).collect();
    let losers = thin::losers(&flags, level);
    if !flags.contains(&true) {
        store.settle(at);
        return Ok(GivenUp::default());
    }
    let left = flags.iter().zip(&losers).filter(|(has, loses)| **has && !**loses).count();
    let mut given_up = GivenUp::default();
    let (mut frames, mut carried) = (Vec::new(), Vec::<v1::LogMark>::new());
    let count = records.len();
    for (index, (mut record, loses)) in records.into_iter().zip(losers).enumerate() {
        carried.retain(|mark| !record.marks.iter().any(|newer| newer.log == mark.log));
        record.marks.append(&mut carried);
        given_up.thinned_reports += u64::from(loses);
        // The last one stays, so that the segment tells where its numbers end.
        if loses && !thin::strip(&mut record.report) && index + 1 < count {
            given_up.removed_records += 1;
            carried = record.marks;
            continue;
        }
        let payload = v1::SpoolRecord { report: record.report.encode_to_vec(), marks: record.marks };
        frames.push((record.seq, payload.encode_to_vec()));
    }
    store.rewrite(at, &frames, if left == 0 { LAST_LEVEL } else { level + 1 })?;
    Ok(given_up)
}

/// Removes a segment.
pub fn drop(store: &mut Store, at: usize) -> io::Result<GivenUp> {
    let records = records(store, at).unwrap_or_default();
    let dropped_events = records.iter().map(|record| record.report.events.len() as u64).sum();
    store.remove(at);
    Ok(GivenUp { thinned_reports: 0, dropped_events, removed_records: records.len() })
}

fn payload(report: Vec<u8>, marks: &[Mark]) -> Vec<u8> {
    let file = |file: &FilePosition| v1::LogFile {
        device: file.device,
        inode: file.inode,
        offset_bytes: file.offset_bytes,
        start_len_bytes: file.start.len_bytes,
        start_hash: file.start.hash,
        seen_ns: file.seen_ns,
    };
    let mark = |mark: &Mark| v1::LogMark {
        log: mark.log.to_string_lossy().into_owned(),
        files: mark.position.files.iter().map(file).collect(),
    };
    v1::SpoolRecord { report, marks: marks.iter().map(mark).collect() }.encode_to_vec()
}

fn mark(mark: v1::LogMark) -> Mark {
    let file = |file: v1::LogFile| FilePosition {
        device: file.device,
        inode: file.inode,
        offset_bytes: file.offset_bytes,
        start: Fingerprint { len_bytes: file.start_len_bytes, hash: file.start_hash },
        seen_ns: file.seen_ns,
    };
    Mark { log: mark.log.into(), position: Position { files: mark.files.into_iter().map(file).collect() } }
}
