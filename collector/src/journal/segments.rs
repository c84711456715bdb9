//! The files of a journal: each segment as it is written, or packed. Where a crash left both, one of them counts: the packed
//! one if nothing of it is missing, else the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::frame::{SEGMENT_HEADER, SegmentHeader};
use super::packed;
use super::retention::SegmentFacts;

/// The file name of the segment that begins with record `first`.
pub fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The file name of the same, packed.
pub fn packed_name(first: u64) -> String {
    format!("{first:020}.pak")
}

/// Its name until it is written whole.
pub fn fresh_name(first: u64) -> String {
    format!("{first:020}.pak.new")
}

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// The segment, by the index of its first record.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is packed.
    pub packed: bool,
}

/// The segments of a folder, in order, by the number in their names.
pub fn list(dir: &Path) -> io::Result<Vec<SegmentFile>> {
    Ok(choose(dir)?.into_iter().map(|(counts, _)| counts).collect())
}

/// Removes what packing left behind when it was broken off.
pub fn settle(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".pak.new")) {
            fs::remove_file(path)?;
        }
    }
    choose(dir)?.into_iter().filter_map(|(_, other)| other).try_for_each(fs::remove_file)
}

/// Each segment's file that counts, and the one beside it that does not.
fn choose(dir: &Path) -> io::Result<Vec<(SegmentFile, Option<PathBuf>)>> {
    let mut found: BTreeMap<u64, (Option<PathBuf>, Option<PathBuf>)> = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
        let Some((first, ending)) = name else { continue };
        let (Ok(first), is_packed) = (first.parse::<u64>(), ending == "pak") else { continue };
        if is_packed || ending == "seg" {
            let (written, packed) = found.entry(first).or_default();
            *(if is_packed { packed } else { written }) = Some(path);
        }
    }
    let one = |(first, files)| match files {
        (None, Some(path)) => Some((SegmentFile { first, path, packed: true }, None)),
        (Some(path), None) => Some((SegmentFile { first, path, packed: false }, None)),
        (Some(written), Some(packed)) => match fs::read(&packed).is_ok_and(|bytes| packed::is_whole(&bytes)) {
            true => Some((SegmentFile { first, path: packed, packed: true }, Some(written))),
            false => Some((SegmentFile { first, path: written, packed: false }, Some(packed))),
        },
        (None, None) => None,
    };
    Ok(found.into_iter().filter_map(one).collect())
}

/// Whether there is a file of the segment `first`, of either kind.
pub fn is_taken(dir: &Path, first: u64) -> bool {
    dir.join(segment_name(first)).exists() || dir.join(packed_name(first)).exists()
}

/// Removes the segment `first`.
pub fn remove(dir: &Path, first: u64) -> io::Result<()> {
    for name in [segment_name(first), packed_name(first)] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a segment whole. None: its owner has removed it.
pub fn load(file: &mut SegmentFile) -> io::Result<Option<Vec<u8>>> {
    loop {
        match fs::read(&file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.packed => return Ok(None),
            // Its owner may pack it while another process reads.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (file.path, file.packed) = (file.path.with_file_name(packed_name(file.first)), true);
            }
            read => return read.map(Some),
        }
    }
}

/// What is known of a packed segment without reading it. None: it is not packed, or not whole.
pub fn packed_facts(file: &SegmentFile) -> Option<SegmentFacts> {
    let opened = File::open(&file.path).ok().filter(|_| file.packed)?;
    let bytes = opened.metadata().ok()?.len();
    let (header, _) = packed::Header::decode(&head(opened, packed::HEADER)?)?;
    let (first, unpacked, newest_us) = (file.first, Some(header.unpacked), Some(header.span_us.1));
    (header.packed == bytes).then_some(SegmentFacts { first, bytes, unpacked, newest_us })
}

/// The header of the segment `first`, and how large it was as it was written, bytes. None: it is not there, or damaged.
pub fn facts(dir: &Path, first: u64) -> Option<(SegmentHeader, u64)> {
    if let Ok(file) = File::open(dir.join(segment_name(first))) {
        let len = file.metadata().ok()?.len();
        return Some((SegmentHeader::decode(&head(file, SEGMENT_HEADER)?)?.0, len));
    }
    let file = File::open(dir.join(packed_name(first))).ok()?;
    let len = file.metadata().ok()?.len();
    let (header, _) = packed::Header::decode(&head(file, packed::HEADER)?)?;
    (header.packed == len).then_some((header.segment, header.unpacked))
}

fn head(file: File, len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
