//! The bytes of a segment: a header, then frames. Pure functions over bytes, so that every cut and every flipped bit
//! can be tested in memory.
//!
//! A segment header stands twice in a row, so that one bad bit in it does not cost the segment:
//! `"WHY502J1" version:u32 first_index:u64 salt:u64 crc:u32`. A frame is
//! `magic:u32 len:u32 index:u64 at_us:i64 payload_crc:u32 header_crc:u32 payload`, all little endian. Checksums begin
//! with the segment's random salt: a sender can't smuggle a valid frame inside a payload, and a stale block of another
//! segment is not taken for a record. The header has its own checksum, so the extent of a record with a bad payload is
//! known, and looking for the next record after a bad header is cheap.

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

/// Bytes of one copy of a segment's header.
const HEADER_COPY: usize = 32;
/// Bytes before the first frame.
pub const SEGMENT_HEADER: usize = 2 * HEADER_COPY;
/// Bytes before a frame's payload.
pub const FRAME_HEADER: usize = 32;
/// The largest payload, bytes. A length above it is corruption.
pub const MAX_PAYLOAD: usize = 1 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"WHY502J1";
const FRAME_MAGIC: [u8; 4] = *b"\xf5W5\x02";
const VERSION: u32 = 1;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Index of its first record.
    pub first: u64,
    /// What its checksums begin with.
    pub salt: u64,
}

impl SegmentHeader {
    /// The header's bytes, both copies.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        let (one, two) = out.split_at_mut(HEADER_COPY);
        one[..8].copy_from_slice(SEGMENT_MAGIC);
        one[8..12].copy_from_slice(&VERSION.to_le_bytes());
        one[12..20].copy_from_slice(&self.first.to_le_bytes());
        one[20..28].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&one[..28]);
        one[28..].copy_from_slice(&crc.to_le_bytes());
        two.copy_from_slice(one);
        out
    }

    /// The header of a segment, and whether both copies are good. None: neither is.
    pub fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let one = bytes.get(..HEADER_COPY).and_then(Self::decode_copy);
        let two = bytes.get(HEADER_COPY..SEGMENT_HEADER).and_then(Self::decode_copy);
        one.or(two).map(|header| (header, one == two))
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.starts_with(SEGMENT_MAGIC)
            && u32_at(bytes, 8)? == VERSION
            && u32_at(bytes, 28)? == crc32fast::hash(bytes.get(..28)?);
        whole.then_some(Self { first: u64_at(bytes, 12)?, salt: u64_at(bytes, 20)? })
    }
}

/// One record as it stands in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number, from 1 up through all segments.
    pub index: u64,
    /// The writer's time of it, unix microseconds.
    pub at_us: i64,
    /// What was appended.
    pub payload: &'a [u8],
    /// Where it stands.
    pub place: Place,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// Its segment, by the index of the segment's first record.
    pub segment: u64,
    /// Where its frame begins there, bytes.
    pub offset: u64,
}

/// Appends a frame to `out`.
pub fn encode(salt: u64, index: u64, at_us: i64, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + FRAME_HEADER, 0);
    out.extend_from_slice(payload);
    seal(salt, index, at_us, &mut out[start..]);
}

/// Writes the header of a frame whose payload stands behind it already.
pub fn seal(salt: u64, index: u64, at_us: i64, frame: &mut [u8]) {
    let Some((header, payload)) = frame.split_first_chunk_mut::<FRAME_HEADER>() else { return };
    header[..4].copy_from_slice(&FRAME_MAGIC);
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&index.to_le_bytes());
    header[16..24].copy_from_slice(&at_us.to_le_bytes());
    header[24..28].copy_from_slice(&salted_crc(salt, payload).to_le_bytes());
    let crc = salted_crc(salt, &header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
}

/// A stretch of a segment that holds no valid record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Where it begins in the file.
    pub offset: usize,
    /// How long it is, bytes.
    pub len: usize,
}

/// What a walk through a segment found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Stretches that were passed over because valid records follow.
    pub bad: Vec<Bad>,
    /// End of the last valid record: what follows is a torn or corrupt tail.
    pub valid_len: usize,
    /// Index of the last valid record.
    pub last_index: Option<u64>,
    /// Time of the first and the last valid record.
    pub span_us: Option<(i64, i64)>,
}

/// Walks the frames of a segment in order, from the one at `start` on, and hands each valid one to `visit`.
pub fn scan<'a>(bytes: &'a [u8], header: SegmentHeader, start: usize, mut visit: impl FnMut(Entry<'a>)) -> Scan {
    let SegmentHeader { first: segment, salt } = header;
    let mut found = Scan { valid_len: start.max(SEGMENT_HEADER).min(bytes.len()), ..Scan::default() };
    let mut pos = found.valid_len;
    while pos < bytes.len() {
        let step = parse(bytes, pos, salt).filter(|step| found.last_index.is_none_or(|last| step.index > last));
        match step {
            Some(Step { index, at_us, payload: Some(payload), end }) => {
                if pos > found.valid_len {
                    found.bad.push(Bad { offset: found.valid_len, len: pos - found.valid_len });
                }
                visit(Entry { index, at_us, payload, place: Place { segment, offset: pos as u64 } });
                found.last_index = Some(index);
                found.span_us = Some((found.span_us.map_or(at_us, |(first, _)| first), at_us));
                found.valid_len = end;
                pos = end;
            }
            Some(Step { end, .. }) => pos = end,
            None => pos = next_magic(bytes, pos + 1, FRAME_MAGIC),
        }
    }
    found
}

/// A frame whose header is valid.
struct Step<'a> {
    index: u64,
    at_us: i64,
    /// None: the payload does not fit its checksum.
    payload: Option<&'a [u8]>,
    end: usize,
}

/// How long the payload of the frame is that begins with these bytes. None: no frame of this segment begins so.
pub fn payload_len(salt: u64, header: &[u8; FRAME_HEADER]) -> Option<usize> {
    let len = u32_at(header, 4)? as usize;
    let whole = header.starts_with(&FRAME_MAGIC)
        && len <= MAX_PAYLOAD
        && u32_at(header, 28)? == salted_crc(salt, header.get(..28)?);
    whole.then_some(len)
}

/// Whether a payload is the one that its frame's header speaks of.
pub fn payload_fits(salt: u64, header: &[u8; FRAME_HEADER], payload: &[u8]) -> bool {
    u32_at(header, 24) == Some(salted_crc(salt, payload))
}

fn parse(bytes: &[u8], pos: usize, salt: u64) -> Option<Step<'_>> {
    let header = bytes.get(pos..)?.first_chunk()?;
    let end = pos + FRAME_HEADER + payload_len(salt, header)?;
    let payload = bytes.get(pos + FRAME_HEADER..end)?;
    let good = payload_fits(salt, header, payload);
    Some(Step { index: u64_at(header, 8)?, at_us: u64_at(header, 16)? as i64, payload: good.then_some(payload), end })
}

/// Where the next frame may begin.
pub fn next_magic(bytes: &[u8], from: usize, magic: [u8; 4]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(magic.len()).position(|window| window == magic).map_or(bytes.len(), |at| from + at)
}

/// A checksum that nobody outside can make.
pub fn salted_crc(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The number at a place.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// The number at a place.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = SegmentHeader { first: 1, salt: SALT }.encode().to_vec();
        for (index, payload) in (1..).zip(payloads) {
            encode(SALT, index, index as i64 * 10, payload, &mut bytes);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, Scan) {
        let mut seen = Vec::new();
        let header = SegmentHeader::decode(bytes).map_or(SegmentHeader { first: 0, salt: 0 }, |(header, _)| header);
        let found = scan(bytes, header, 0, |entry| seen.push((entry.index, entry.payload.to_vec())));
        (seen, found)
    }

    const PAYLOADS: &[&[u8]] = &[b"first", b"", b"the third record", b"\xf5W5\x02 looks like a frame", b"last"];

    #[test]
    fn cut_at_every_byte_keeps_the_exact_prefix() {
        let whole = segment(PAYLOADS);
        for len in SEGMENT_HEADER..=whole.len() {
            let (seen, found) = read(&whole[..len]);
            assert!(seen.iter().zip(PAYLOADS).all(|((_, got), want)| got == want), "cut at {len}");
            let next = seen.len();
            let taken: usize =
                SEGMENT_HEADER + PAYLOADS[..next].iter().map(|payload| FRAME_HEADER + payload.len()).sum::<usize>();
            assert_eq!(found.valid_len, taken, "cut at {len}");
            assert!(next == PAYLOADS.len() || taken + FRAME_HEADER + PAYLOADS[next].len() > len, "cut at {len}");
            assert!(found.bad.is_empty());
        }
    }

    #[test]
    fn every_flipped_bit_costs_at_most_its_own_record() {
        let whole = segment(PAYLOADS);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (seen, found) = read(&bytes);
            assert!(seen.len() + 1 >= PAYLOADS.len(), "bit {bit}: {} records", seen.len());
            assert!(seen.iter().all(|(index, got)| got == PAYLOADS[*index as usize - 1]), "bit {bit}");
            let told = found.bad.len() + usize::from(found.valid_len < bytes.len());
            assert_eq!(told, PAYLOADS.len() - seen.len(), "bit {bit}: each loss is told");
        }
    }

    #[test]
    fn a_frame_inside_a_payload_is_never_taken_for_a_record() {
        let mut forged = Vec::new();
        encode(SALT ^ 1, 9, 0, b"forged", &mut forged);
        let mut bytes = segment(&[&forged, b"true"]);
        bytes[SEGMENT_HEADER] ^= 0xff;
        assert_eq!(read(&bytes).0, vec![(2, b"true".to_vec())]);
    }
}
