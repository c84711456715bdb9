//! Reading what a journal holds: segments in order, each record once, everything bad named. Reading changes nothing;
//! mending (setting bad stretches aside, cutting the tail) is done by `open` alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bookmark::Bookmark;
use super::disk::{rename_durably, write_durably};
use super::frame::{Bad, Entry, SEGMENT_HEADER, Scan, SegmentHeader, scan};
use super::packed;
use super::retention::SegmentFacts;
use super::segments::{self, SegmentFile};

/// Something in a journal that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The segment's file name.
    pub file: String,
    /// Where it begins, bytes.
    pub offset: u64,
    /// How long it is, bytes.
    pub bytes: u64,
    /// What it is and what was done.
    pub what: String,
}

/// What reading a journal found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Valid records.
    pub records: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Index after the last valid record.
    pub next_index: u64,
    /// What was not as it should be.
    pub notes: Vec<Note>,
}

/// A segment as found.
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Its header. None: damaged beyond use.
    pub header: Option<SegmentHeader>,
    /// Its length, bytes.
    pub len: u64,
    /// Where its valid records end, bytes.
    pub valid_len: u64,
    /// Stretches without a valid record, the tail included.
    pub bad: Vec<Bad>,
    /// Times of its first and last record.
    pub span_us: Option<(i64, i64)>,
    /// Its length before it was packed, bytes. None: it is not packed.
    pub unpacked: Option<u64>,
}

impl Found {
    /// A segment that lies before a bookmark and is not read.
    fn passed(file: SegmentFile, facts: &SegmentFacts) -> io::Result<Self> {
        // It may have been packed since the bookmark was made.
        let len = fs::metadata(&file.path)?.len();
        Ok(Self {
            path: file.path,
            header: Some(SegmentHeader { first: facts.first, salt: 0 }),
            len,
            valid_len: len,
            unpacked: file.packed.then(|| facts.written()),
            bad: Vec::new(),
            span_us: facts.newest_us.map(|newest_us| (newest_us, newest_us)),
        })
    }
}

/// Reads every segment in order; each valid record goes to `visit` once. With a bookmark only what lies after it is read.
pub fn walk(
    dir: &Path,
    after: Option<&Bookmark>,
    visit: &mut dyn FnMut(Entry<'_>),
) -> io::Result<(Vec<Found>, Recovery)> {
    let mut recovery = Recovery { next_index: after.map_or(1, |after| after.next_index), ..Recovery::default() };
    let mut found = Vec::new();
    for mut file in segments::list(dir)? {
        let first = file.first;
        if let Some(facts) = after.and_then(|after| after.passed(first)) {
            let passed = Found::passed(file, facts)?;
            recovery.bytes += passed.len;
            found.push(passed);
            continue;
        }
        let Some(bytes) = segments::load(&mut file)? else { continue };
        recovery.bytes += bytes.len() as u64;
        if first > recovery.next_index && !found.is_empty() {
            let what = format!("records {} to {} are missing before this segment", recovery.next_index, first - 1);
            recovery.notes.push(Note { file: name_of(&file.path), offset: 0, bytes: 0, what });
        }
        let start = after.filter(|after| after.place.segment == first).map_or(0, |after| after.place.offset);
        let mut one = walk_segment(file, &bytes, start, &mut recovery, visit);
        if let Some(newest_us) = after.filter(|_| start > 0).and_then(|after| after.newest_us(first)) {
            one.span_us = Some((newest_us, one.span_us.map_or(newest_us, |(_, newest_us)| newest_us)));
        }
        recovery.next_index = recovery.next_index.max(first);
        found.push(one);
    }
    Ok((found, recovery))
}

/// What a segment begins with.
#[derive(Clone, Copy)]
enum Head {
    Written(SegmentHeader),
    Packed(packed::Header),
}

impl Head {
    /// Reads it; the other value tells whether both of its copies are good.
    fn of(file: &SegmentFile, bytes: &[u8]) -> Option<(Self, bool)> {
        // A file without its whole header was being made when the power went: it holds nothing.
        match file.packed {
            false if bytes.len() < SEGMENT_HEADER => None,
            false => SegmentHeader::decode(bytes).map(|(header, both)| (Self::Written(header), both)),
            true => packed::Header::decode(bytes).map(|(header, both)| (Self::Packed(header), both)),
        }
    }

    fn segment(&self) -> SegmentHeader {
        match self {
            Self::Written(header) => *header,
            Self::Packed(header) => header.segment,
        }
    }

    fn read(&self, bytes: &[u8], start: u64, visit: &mut dyn FnMut(Entry<'_>)) -> Scan {
        match self {
            Self::Written(header) => scan(bytes, *header, start as usize, visit),
            Self::Packed(header) => packed::read(bytes, *header, start, visit),
        }
    }

    /// Bytes that are missing at its end.
    fn missing(&self, bytes: &[u8]) -> u64 {
        match self {
            Self::Written(_) => 0,
            Self::Packed(header) => header.packed.saturating_sub(bytes.len() as u64),
        }
    }
}

fn walk_segment(
    file: SegmentFile,
    bytes: &[u8],
    start: u64,
    recovery: &mut Recovery,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Found {
    let name = name_of(&file.path);
    let decoded = Head::of(&file, bytes);
    if let Some((_, false)) = decoded {
        let what = "one copy of the segment's header is damaged; the other was used".to_owned();
        recovery.notes.push(Note { file: name.clone(), offset: 0, bytes: SEGMENT_HEADER as u64, what });
    }
    let mut seen = 0;
    let mut next_index = recovery.next_index;
    let mut scanned = match decoded {
        Some((head, _)) => head.read(bytes, start, &mut |entry| {
            // A record that an earlier segment already gave is not given twice.
            if entry.index >= next_index {
                next_index = entry.index + 1;
                seen += 1;
                visit(entry);
            }
        }),
        None => Scan::default(),
    };
    recovery.records += seen;
    recovery.next_index = next_index;
    let missing = decoded.map_or(0, |(head, _)| head.missing(bytes));
    if scanned.valid_len < bytes.len() {
        scanned.bad.push(Bad { offset: scanned.valid_len, len: bytes.len() - scanned.valid_len });
    } else if missing > 0 {
        let what = format!("{missing} bytes are missing at its end");
        recovery.notes.push(Note { file: name, offset: bytes.len() as u64, bytes: 0, what });
    }
    Found {
        unpacked: decoded.and_then(|(head, _)| match head {
            Head::Written(_) => None,
            Head::Packed(header) => Some(header.unpacked),
        }),
        path: file.path,
        header: decoded.map(|(head, _)| head.segment()),
        len: bytes.len() as u64,
        valid_len: scanned.valid_len as u64,
        bad: scanned.bad,
        span_us: scanned.span_us,
    }
}

/// Names every bad stretch without touching a file.
pub fn name_bad(segments: &[Found], recovery: &mut Recovery) {
    for segment in segments {
        for bad in &segment.bad {
            recovery.notes.push(note(segment, bad, "no valid record there"));
        }
    }
}

/// Sets every bad stretch aside in a file of its own and cuts the tail of the last segment, so that records can be
/// appended to it. A segment whose header is gone is moved aside whole. What can't be set aside stays where it is.
pub fn mend(dir: &Path, segments: &mut Vec<Found>, recovery: &mut Recovery) {
    let aside = dir.join("aside");
    let last = segments.len().saturating_sub(1);
    let mut at = 0;
    segments.retain_mut(|segment| {
        let is_last = at == last;
        at += 1;
        if segment.header.is_none() {
            let target = aside.join(name_of(&segment.path));
            let moved = fs::create_dir_all(&aside).and_then(|()| rename_durably(&segment.path, &target));
            let what = said("segment header is damaged: the whole segment was", &target, &moved);
            recovery.notes.push(Note { file: name_of(&segment.path), offset: 0, bytes: segment.len, what });
            return false;
        }
        for bad in std::mem::take(&mut segment.bad) {
            let tail = bad.offset as u64 == segment.valid_len;
            let target = aside.join(format!("{}-{}.bad", name_of(&segment.path), bad.offset));
            let mut done = set_aside(&aside, segment, &bad, &target);
            // Nothing is ever appended to a packed one.
            if tail && is_last && segment.unpacked.is_none() && done.is_ok() {
                done = cut(segment);
            }
            let bad_what = match (tail, segment.unpacked) {
                (true, _) => "torn or corrupt tail was",
                (false, None) => "corrupt record was",
                (false, Some(_)) => "corrupt frame of packed records was",
            };
            let what = said(bad_what, &target, &done);
            recovery.notes.push(note(segment, &bad, &what));
        }
        true
    });
}

fn set_aside(aside: &Path, segment: &Found, bad: &Bad, target: &Path) -> io::Result<()> {
    let bytes = fs::read(&segment.path)?;
    let stretch = bytes.get(bad.offset..bad.offset + bad.len).unwrap_or_default();
    fs::create_dir_all(aside)?;
    // The same stretch is found again at every start as long as its segment is kept.
    if fs::read(target).is_ok_and(|kept| kept == stretch) {
        return Ok(());
    }
    write_durably(target, stretch)
}

fn cut(segment: &mut Found) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(&segment.path)?;
    file.set_len(segment.valid_len)?;
    file.sync_all()?;
    segment.len = segment.valid_len;
    Ok(())
}

fn said(what: &str, target: &Path, done: &io::Result<()>) -> String {
    match done {
        Ok(()) => format!("{what} set aside in {}", target.display()),
        Err(error) => format!("{what} left in place, setting it aside failed: {error}"),
    }
}

fn note(segment: &Found, bad: &Bad, what: &str) -> Note {
    Note { file: name_of(&segment.path), offset: bad.offset as u64, bytes: bad.len as u64, what: what.to_owned() }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
