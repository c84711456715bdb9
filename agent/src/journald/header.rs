//! What a journal file says of itself, in the first bytes of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What is read of a file's header: all that its first version has.
const HEADER_BYTES: usize = 208;
const SIGNATURE: &[u8] = b"LPKSHHRH";
/// Payloads hold offsets of four bytes instead of eight.
const COMPACT: u32 = 1 << 4;
/// Packed payloads of three kinds, keyed hashes, and the compact mode.
const KNOWN_FLAGS: u32 = 0b1_1111;
/// The state of a file that nothing is added to any longer.
const ARCHIVED: u8 = 2;
/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    flags: u32,
    /// Nothing is added any longer.
    pub archived: bool,
    /// The file's own id.
    pub file_id: [u8; 16],
    /// The id of the sequence that its entries are numbered in.
    pub sequence_id: [u8; 16],
    /// Its entries.
    pub entries: u64,
    /// Where the first array of entries stands. 0: nowhere yet.
    pub first_array: u64,
    /// The number of its first entry.
    pub first_number: u64,
    /// When its first entry was written, unix microseconds.
    pub first_us: u64,
    /// When its last entry was written, unix microseconds.
    pub last_us: u64,
}

impl Header {
    /// Reads it from a file's first bytes.
    fn parse(bytes: &[u8; HEADER_BYTES]) -> io::Result<Self> {
        if !bytes.starts_with(SIGNATURE) {
            return Err(fault("no journal file"));
        }
        let id = |at: usize| bytes[at..].first_chunk().copied().unwrap_or_default();
        let flags = u32_at(bytes, 12);
        if flags & !KNOWN_FLAGS != 0 {
            return Err(fault(format!("a journal file of a newer form (flags {flags:#x})")));
        }
        Ok(Self {
            flags,
            archived: bytes[16] == ARCHIVED,
            file_id: id(24),
            sequence_id: id(72),
            entries: u64_at(bytes, 152),
            first_number: u64_at(bytes, 168),
            first_array: u64_at(bytes, 176),
            first_us: u64_at(bytes, 184),
            last_us: u64_at(bytes, 192),
        })
    }

    /// Places take four bytes instead of eight.
    pub fn is_compact(&self) -> bool {
        self.flags & COMPACT != 0
    }

    /// Bytes of a place in an array.
    pub fn place_bytes(&self) -> usize {
        if self.is_compact() { 4 } else { 8 }
    }

    /// Bytes of an item of an entry: a place, in the regular mode with a hash.
    pub fn item_bytes(&self) -> usize {
        if self.is_compact() { 4 } else { 16 }
    }

    /// The place that stands in an array or an item.
    pub fn place(&self, bytes: &[u8]) -> u64 {
        if self.is_compact() { u64::from(u32_at(bytes, 0)) } else { u64_at(bytes, 0) }
    }
}

/// What the file at a path says of itself.
pub fn header_of(path: &Path) -> io::Result<Header> {
    header(&open(path)?)
}

/// Opens a regular file. A pipe or terminal is refused, and never waited for.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(fault("not a regular file")) }
}

/// What an open file says of itself now.
pub fn header(file: &File) -> io::Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    Header::parse(&bytes)
}

/// A file that is not as it should be.
pub fn fault(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// The number of eight bytes at a place. 0: there are not so many.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}
