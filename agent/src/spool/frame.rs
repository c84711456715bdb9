//! The bytes of a segment: a header, then frames. Pure functions over bytes, so that every cut and every flipped bit can be
//! tested in memory.
//!
//! The header stands twice in a row, so that one bad bit in it does not cost the segment:
//! `"WHY502S1" epoch:u64 salt:u64 level:u8 boot_len:u8 boot:[u8; 62] crc:u32`. A frame is
//! `magic:u32 len:u32 seq:u64 payload_crc:u32 header_crc:u32 payload`, all little endian; the highest bit of its length says
//! that it and the next one were written together and count only together, so that what a killed write left of them is
//! nothing. Checksums begin with the segment's random salt, so that no payload can hold a frame and no stale block is taken
//! for one.

use crc32fast::Hasher;

/// Bytes of one copy of a segment's header.
const HEADER_COPY: usize = 92;
/// Bytes before the first frame.
pub const SEGMENT_HEADER: usize = 2 * HEADER_COPY;
/// Bytes before a frame's payload.
pub const FRAME_HEADER: usize = 24;
/// The largest payload, bytes. A length above it is corruption.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// In a frame's length: the next frame belongs to it.
const GOES_ON: u32 = 1 << 31;
/// The longest boot id, bytes.
const MAX_BOOT: usize = 62;

const SEGMENT_MAGIC: &[u8; 8] = b"WHY502S1";
const FRAME_MAGIC: [u8; 4] = *b"\xf5S5\x02";

/// What names the reports of one run of the agent, together with their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbering {
    /// The boot in which it ran.
    pub boot_id: String,
    /// When it began, as its hello says.
    pub epoch: u64,
}

/// What a segment's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose reports it holds.
    pub numbering: Numbering,
    /// What its checksums begin with.
    pub salt: u64,
    /// How often its samples were thinned.
    pub level: u8,
}

impl SegmentHeader {
    /// The header's bytes, both copies.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        let (one, two) = out.split_at_mut(HEADER_COPY);
        let boot = &self.numbering.boot_id.as_bytes()[..self.numbering.boot_id.floor_char_boundary(MAX_BOOT)];
        one[..8].copy_from_slice(SEGMENT_MAGIC);
        one[8..16].copy_from_slice(&self.numbering.epoch.to_le_bytes());
        one[16..24].copy_from_slice(&self.salt.to_le_bytes());
        (one[24], one[25]) = (self.level, boot.len() as u8);
        one[26..26 + boot.len()].copy_from_slice(boot);
        let crc = crc32fast::hash(&one[..HEADER_COPY - 4]);
        one[HEADER_COPY - 4..].copy_from_slice(&crc.to_le_bytes());
        two.copy_from_slice(one);
        out
    }

    /// The header of a segment. None: neither copy is good.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let copies = bytes.get(..SEGMENT_HEADER)?.chunks(HEADER_COPY);
        copies.into_iter().find_map(Self::decode_copy)
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.starts_with(SEGMENT_MAGIC)
            && u32_at(bytes, HEADER_COPY - 4)? == crc32fast::hash(bytes.get(..HEADER_COPY - 4)?);
        let boot = bytes.get(26..26 + usize::from(*bytes.get(25)?))?;
        let numbering = Numbering { boot_id: String::from_utf8_lossy(boot).into_owned(), epoch: u64_at(bytes, 8)? };
        whole.then_some(Self { numbering, salt: u64_at(bytes, 16)?, level: bytes[24] })
    }
}

/// Whether a segment without a good header is one of another version of the agent.
pub fn is_foreign(bytes: &[u8]) -> bool {
    let (family, version) = SEGMENT_MAGIC.split_at(SEGMENT_MAGIC.len() - 1);
    bytes.strip_prefix(family).is_some_and(|rest| !rest.is_empty() && !rest.starts_with(version))
}

/// One record as it stands in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The report's number.
    pub seq: u64,
    /// What was kept.
    pub payload: &'a [u8],
    /// The next one was written together with it.
    pub goes_on: bool,
}

/// Appends a frame to `out`.
pub fn encode(salt: u64, frame: Frame<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let flag = if frame.goes_on { GOES_ON } else { 0 };
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&(frame.payload.len() as u32 | flag).to_le_bytes());
    out.extend_from_slice(&frame.seq.to_le_bytes());
    out.extend_from_slice(&salted_crc(salt, frame.payload).to_le_bytes());
    let crc = salted_crc(salt, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(frame.payload);
}

/// Walks the frames of a segment in order and hands each valid one to `visit`, those at its end only where all that were
/// written together are there; returns how many bytes belong to none.
pub fn scan<'a>(bytes: &'a [u8], salt: u64, mut visit: impl FnMut(Frame<'a>)) -> usize {
    let (mut at, mut bad, mut last) = (SEGMENT_HEADER.min(bytes.len()), 0, None);
    let mut together: Vec<Frame<'a>> = Vec::new();
    while at < bytes.len() {
        let next = match parse(bytes, at, salt) {
            Some((Some(frame), end)) if last.is_none_or(|last| frame.seq > last) => {
                last = Some(frame.seq);
                together.push(frame);
                if !frame.goes_on {
                    together.drain(..).for_each(&mut visit);
                }
                at = end;
                continue;
            }
            // A good header tells where a bad payload ends.
            Some((_, end)) => end,
            None => next_magic(bytes, at + 1),
        };
        bad += next - at;
        at = next;
    }
    bad + together.iter().map(|frame| FRAME_HEADER + frame.payload.len()).sum::<usize>()
}

/// A frame with a valid header and where it ends; no frame where its payload does not fit its checksum.
fn parse(bytes: &[u8], at: usize, salt: u64) -> Option<(Option<Frame<'_>>, usize)> {
    let header = bytes.get(at..at + FRAME_HEADER)?;
    let (len, goes_on) = (u32_at(header, 4)?, u32_at(header, 4)? & GOES_ON != 0);
    let len = (len & !GOES_ON) as usize;
    let whole = header.starts_with(&FRAME_MAGIC)
        && len <= MAX_PAYLOAD
        && u32_at(header, 20)? == salted_crc(salt, header.get(..20)?);
    if !whole {
        return None;
    }
    let end = at + FRAME_HEADER + len;
    let payload = bytes.get(at + FRAME_HEADER..end)?;
    let good = u32_at(header, 16)? == salted_crc(salt, payload);
    Some((good.then_some(Frame { seq: u64_at(header, 8)?, payload, goes_on }), end))
}

fn next_magic(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    memchr::memmem::find(rest, &FRAME_MAGIC).map_or(bytes.len(), |at| from + at)
}

fn salted_crc(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOADS: &[&[u8]] = &[b"first", b"", b"the third record", b"\xf5S5\x02 looks like a frame", b"last"];

    fn header() -> SegmentHeader {
        let numbering = Numbering { boot_id: "8c1b0cc1-5d3f-4b8a-9d56-6a3c4f1f5f10".into(), epoch: 77 };
        SegmentHeader { numbering, salt: 0x1234_5678_9abc_def0, level: 3 }
    }

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header().encode().to_vec();
        for (seq, payload) in (1..).zip(payloads) {
            encode(header().salt, Frame { seq, payload, goes_on: false }, &mut bytes);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, usize) {
        let mut seen = Vec::new();
        let salt = SegmentHeader::decode(bytes).map_or(0, |header| header.salt);
        let bad = scan(bytes, salt, |frame| seen.push((frame.seq, frame.payload.to_vec())));
        (seen, bad)
    }

    #[test]
    fn cut_at_every_byte_keeps_the_exact_prefix() {
        let whole = segment(PAYLOADS);
        for len in SEGMENT_HEADER..=whole.len() {
            let (seen, bad) = read(&whole[..len]);
            assert!(seen.iter().zip(PAYLOADS).all(|((_, got), want)| got == want), "cut at {len}");
            let taken: usize = PAYLOADS[..seen.len()].iter().map(|payload| FRAME_HEADER + payload.len()).sum();
            assert_eq!(SEGMENT_HEADER + taken + bad, len, "each byte is a record's or bad");
            let next = PAYLOADS.get(seen.len()).map_or(usize::MAX, |payload| FRAME_HEADER + payload.len());
            assert!(bad < next, "cut at {len}: a whole record is missing");
        }
    }

    #[test]
    fn what_was_written_together_counts_only_together() {
        let mut bytes = header().encode().to_vec();
        let mut ends = Vec::new();
        for (seq, goes_on) in [(1, false), (2, true), (3, true), (4, false), (5, true), (6, false)] {
            encode(header().salt, Frame { seq, payload: b"some bytes", goes_on }, &mut bytes);
            ends.push((bytes.len(), goes_on));
        }
        for len in SEGMENT_HEADER..=bytes.len() {
            let whole = ends.iter().filter(|(end, _)| *end <= len).count();
            let counts = ends[..whole].iter().rposition(|(_, goes_on)| !goes_on).map_or(0, |last| last + 1);
            assert_eq!(read(&bytes[..len]).0.len(), counts, "cut at {len}");
        }
    }

    #[test]
    fn every_flipped_bit_costs_at_most_its_own_record() {
        let whole = segment(PAYLOADS);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Some(header()), "bit {bit}");
            let (seen, bad) = read(&bytes);
            assert!(seen.len() + 1 >= PAYLOADS.len(), "bit {bit}: {} records", seen.len());
            assert!(seen.iter().all(|(seq, got)| got == PAYLOADS[*seq as usize - 1]), "bit {bit}");
            assert_eq!(bad > 0, seen.len() < PAYLOADS.len(), "bit {bit}: each loss is told");
        }
    }
}
