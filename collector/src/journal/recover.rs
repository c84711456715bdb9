//! Reading what a journal holds: segments in order, each record once, everything bad named. Reading changes nothing;
//! mending (setting bad stretches aside, cutting the tail) is done by `open` alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bookmark::Bookmark;
use super::disk::{rename_durably, write_durably};
use super::frame::{Bad, Entry, SEGMENT_HEADER, Scan, SegmentHeader, scan};
use super::retention::SegmentFacts;

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
}

impl Found {
    /// A segment that lies before a bookmark and is not read.
    fn passed(path: PathBuf, facts: &SegmentFacts) -> Self {
        Self {
            path,
            header: Some(SegmentHeader { first: facts.first, salt: 0 }),
            len: facts.bytes,
            valid_len: facts.bytes,
            bad: Vec::new(),
            span_us: facts.newest_us.map(|newest_us| (newest_us, newest_us)),
        }
    }
}

/// The file name of the segment that begins with record `first`.
pub fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The segments of a folder, in order, by the number in their names.
pub fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let first = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".seg"));
        if let Some(first) = first.and_then(|digits| digits.parse().ok()) {
            segments.push((first, path));
        }
    }
    segments.sort();
    Ok(segments)
}

/// Reads every segment in order; each valid record goes to `visit` once. With a bookmark only what lies after it is read.
pub fn walk(
    dir: &Path,
    after: Option<&Bookmark>,
    visit: &mut dyn FnMut(Entry<'_>),
) -> io::Result<(Vec<Found>, Recovery)> {
    let mut recovery = Recovery { next_index: after.map_or(1, |after| after.next_index), ..Recovery::default() };
    let mut segments = Vec::new();
    for (first, path) in list(dir)? {
        if let Some(passed) = after.and_then(|after| after.passed(first)) {
            recovery.bytes += passed.bytes;
            segments.push(Found::passed(path, passed));
            continue;
        }
        let bytes = match fs::read(&path) {
            // Its owner may remove a segment while another process reads.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        recovery.bytes += bytes.len() as u64;
        if first > recovery.next_index && !segments.is_empty() {
            let what = format!("records {} to {} are missing before this segment", recovery.next_index, first - 1);
            recovery.notes.push(Note { file: name_of(&path), offset: 0, bytes: 0, what });
        }
        let start = after.filter(|after| after.place.segment == first).map_or(0, |after| after.place.offset);
        let mut found = walk_segment(path, &bytes, start as usize, &mut recovery, visit);
        if let Some(newest_us) = after.filter(|_| start > 0).and_then(|after| after.newest_us(first)) {
            found.span_us = Some((newest_us, found.span_us.map_or(newest_us, |(_, newest_us)| newest_us)));
        }
        recovery.next_index = recovery.next_index.max(first);
        segments.push(found);
    }
    Ok((segments, recovery))
}

fn walk_segment(
    path: PathBuf,
    bytes: &[u8],
    start: usize,
    recovery: &mut Recovery,
    visit: &mut dyn FnMut(Entry<'_>),
) -> Found {
    let file = name_of(&path);
    // A file without its whole header was being made when the power went: it holds nothing.
    let decoded = SegmentHeader::decode(bytes).filter(|_| bytes.len() >= SEGMENT_HEADER);
    if let Some((_, false)) = decoded {
        let what = "one copy of the segment's header is damaged; the other was used".to_owned();
        recovery.notes.push(Note { file: file.clone(), offset: 0, bytes: SEGMENT_HEADER as u64, what });
    }
    let mut seen = 0;
    let mut next_index = recovery.next_index;
    let mut scanned = match decoded {
        Some((header, _)) => scan(bytes, header, start, |entry| {
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
    if scanned.valid_len < bytes.len() {
        scanned.bad.push(Bad { offset: scanned.valid_len, len: bytes.len() - scanned.valid_len });
    }
    Found {
        path,
        header: decoded.map(|(header, _)| header),
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
            if tail && is_last && done.is_ok() {
                done = cut(segment);
            }
            let what = said(if tail { "torn or corrupt tail was" } else { "corrupt record was" }, &target, &done);
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
