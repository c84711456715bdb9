//! Closed segments, packed: the same records in a fraction of the bytes. Records of one kin (what that is their owner
//! says; here it is a number) stand side by side, in frames of some hundred KiB, each taken apart into columns and
//! compressed, with a checksum of its own: a broken frame loses itself and nothing else, and is named. A record keeps its
//! number, its time, and as its place the one that it had before.
//!
//! A header stands twice in a row, as in a segment; then come frames of a header and a body. Of both the checksums begin
//! with the segment's salt. The frame's header tells the first and the last of its records, by kin and place, so that
//! a reader of one kin unpacks only what it needs. Pure functions over bytes; what is made is read back and compared before it
//! is given out.

use std::ops::Range;

use super::MAX_PAYLOAD;
use super::frame::{Bad, Entry, Place, Scan, SegmentHeader, next_magic, salted_crc, scan, u32_at, u64_at};

mod columns;
mod tree;
mod varint;

/// Bytes of one copy of the header.
const HEADER_COPY: usize = 68;
/// Bytes before the first frame.
pub const HEADER: usize = 2 * HEADER_COPY;
/// Bytes before a frame's body.
pub const FRAME_HEADER: usize = 56;
/// A frame's records are at most so large, unless it is a single one, bytes.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// No frame's columns are larger, bytes.
const COLUMNS_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"WHY502P1";
const FRAME_MAGIC: [u8; 4] = *b"\xf5W5\x03";
const VERSION: u32 = 1;
/// Higher levels of compression gain a few percent for several times the work.
const LEVEL: i32 = 3;

/// How closed segments are packed.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Says of a payload which others it is alike.
    pub kin: fn(&[u8]) -> u64,
    /// So large are the records of a frame, bytes.
    pub frame_bytes: usize,
}

/// What the header of a packed segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// That of the segment.
    pub segment: SegmentHeader,
    /// How large the segment was before, bytes.
    pub unpacked: u64,
    /// How large it is now, bytes.
    pub packed: u64,
    /// Times of its first and last record.
    pub span_us: (i64, i64),
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let (one, two) = out.split_at_mut(HEADER_COPY);
        one[..8].copy_from_slice(MAGIC);
        one[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let (oldest_us, newest_us) = self.span_us;
        let SegmentHeader { first, salt } = self.segment;
        let numbers = [first, salt, self.unpacked, self.packed, oldest_us as u64, newest_us as u64];
        for (at, number) in numbers.iter().enumerate() {
            one[12 + 8 * at..20 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&one[..HEADER_COPY - 4]);
        one[HEADER_COPY - 4..HEADER_COPY].copy_from_slice(&crc.to_le_bytes());
        two.copy_from_slice(one);
        out
    }

    /// The header of a packed segment, and whether both copies are good. None: neither is.
    pub fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let one = bytes.get(..HEADER_COPY).and_then(Self::decode_copy);
        let two = bytes.get(HEADER_COPY..HEADER).and_then(Self::decode_copy);
        one.or(two).map(|header| (header, one == two))
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.starts_with(MAGIC)
            && u32_at(bytes, 8)? == VERSION
            && u32_at(bytes, HEADER_COPY - 4)? == crc32fast::hash(bytes.get(..HEADER_COPY - 4)?);
        let number = |at: usize| u64_at(bytes, 12 + 8 * at);
        let segment = SegmentHeader { first: number(0)?, salt: number(1)? };
        let span_us = (number(4)? as i64, number(5)? as i64);
        whole.then_some(Self { segment, unpacked: number(2)?, packed: number(3)?, span_us })
    }
}

/// Orders records in a packed segment: by kin, then by the place they had.
pub type Key = (u64, u64);

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The body's length, bytes.
    pub body: usize,
    columns: usize,
    records: usize,
    first: Key,
    last: Key,
    crc: u32,
}

impl FrameHeader {
    /// Reads one. None: no frame of this segment begins so.
    pub fn decode(salt: u64, bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER)?;
        let whole = header.starts_with(&FRAME_MAGIC) && u32_at(header, 52)? == salted_crc(salt, header.get(..52)?);
        let key = |at| Some((u64_at(header, at)?, u64_at(header, at + 8)?));
        whole.then_some(Self {
            body: u32_at(header, 4)? as usize,
            columns: u32_at(header, 8)? as usize,
            records: u32_at(header, 12)? as usize,
            first: key(16)?,
            last: key(32)?,
            crc: u32_at(header, 48)?,
        })
    }

    fn encode(&self, salt: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        for number in [self.body, self.columns, self.records] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        for number in [self.first.0, self.first.1, self.last.0, self.last.1] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.crc.to_le_bytes());
        let crc = salted_crc(salt, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Whether all its records stand before one.
    pub fn ends_before(&self, key: Key) -> bool {
        self.last < key
    }

    /// Whether a record may be in the frame.
    pub fn spans(&self, key: Key) -> bool {
        (self.first..=self.last).contains(&key)
    }

    /// Its records. None: the body is damaged.
    pub fn unpack(&self, salt: u64, body: &[u8]) -> Option<Unpacked> {
        if self.crc != salted_crc(salt, body) || self.columns > COLUMNS_MAX {
            return None;
        }
        let columns = zstd::bulk::decompress(body, self.columns).ok()?;
        Unpacked::decode(&columns, self.records)
    }
}

/// A record of a packed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    offset: u64,
    index: u64,
    at_us: i64,
    payload: Range<usize>,
}

/// The records of a frame.
#[derive(Debug, Default)]
pub struct Unpacked {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

impl Unpacked {
    fn decode(mut columns: &[u8], records: usize) -> Option<Self> {
        let mut numbers = [&[][..]; 3];
        for column in &mut numbers {
            let len = usize::try_from(varint::take(&mut columns)?).ok()?;
            (*column, columns) = columns.split_at_checked(len)?;
        }
        let mut payloads = columns::Reader::new(columns)?;
        let mut unpacked = Self::default();
        let mut last = [0u64; 3];
        for _ in 0..records {
            for (number, column) in last.iter_mut().zip(&mut numbers) {
                *number = number.wrapping_add(varint::unzigzag(varint::take(column)?));
            }
            let [offset, index, at_us] = last;
            let start = unpacked.bytes.len();
            payloads.pull(&mut unpacked.bytes, FRAME_BYTES_MAX + MAX_PAYLOAD)?;
            unpacked.rows.push(Row { offset, index, at_us: at_us as i64, payload: start..unpacked.bytes.len() });
        }
        numbers.iter().all(|column| column.is_empty()).then_some(unpacked)
    }

    fn encode(rows: &[(Key, Entry<'_>)]) -> Vec<u8> {
        let mut numbers: [Vec<u8>; 3] = Default::default();
        let mut payloads = columns::Writer::default();
        let mut last = [0u64; 3];
        for (_, Entry { index, at_us, payload, place }) in rows {
            let row = [place.offset, *index, *at_us as u64];
            for ((number, before), column) in row.iter().zip(&mut last).zip(&mut numbers) {
                varint::put(column, varint::zigzag(number.wrapping_sub(*before)));
                *before = *number;
            }
            payloads.push(payload);
        }
        let mut out = Vec::new();
        for column in &mut numbers {
            varint::put(&mut out, column.len() as u64);
            out.append(column);
        }
        out.append(&mut payloads.finish());
        out
    }

    /// The payload of the record that had its place at `offset`.
    pub fn payload(&self, offset: u64) -> Option<&[u8]> {
        let row = self.rows.iter().find(|row| row.offset == offset)?;
        self.bytes.get(row.payload.clone())
    }

    fn is_of(&self, rows: &[(Key, Entry<'_>)]) -> bool {
        self.rows.len() == rows.len()
            && self.rows.iter().zip(rows).all(|(row, (_, entry))| {
                (row.offset, row.index, row.at_us) == (entry.place.offset, entry.index, entry.at_us)
                    && self.bytes.get(row.payload.clone()) == Some(entry.payload)
            })
    }
}

/// Packs a closed segment. Between two frames it asks whether to go on.
pub fn pack(segment: &[u8], packing: Packing, goes_on: &dyn Fn() -> bool) -> Result<Vec<u8>, String> {
    let (header, _) = SegmentHeader::decode(segment).ok_or("its header is damaged")?;
    let mut rows: Vec<(Key, Entry<'_>)> = Vec::new();
    let found = scan(segment, header, 0, |entry| {
        rows.push((((packing.kin)(entry.payload), entry.place.offset), entry));
    });
    let (Some(span_us), true) = (found.span_us, found.bad.is_empty() && found.valid_len == segment.len()) else {
        return Err("it is damaged, or empty".to_owned());
    };
    rows.sort_by_key(|(key, _)| *key);
    let mut out = vec![0; HEADER];
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        if !goes_on() {
            return Err("it was broken off".to_owned());
        }
        let (frame, after) = rest.split_at(frame_len(rest, packing.frame_bytes.min(FRAME_BYTES_MAX)));
        pack_frame(header.salt, frame, &mut out)?;
        rest = after;
    }
    let packed = out.len() as u64;
    out[..HEADER]
        .copy_from_slice(&Header { segment: header, unpacked: segment.len() as u64, packed, span_us }.encode());
    Ok(out)
}

/// How many of these records make the next frame.
fn frame_len(rows: &[(Key, Entry<'_>)], frame_bytes: usize) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|(_, entry)| {
        bytes += entry.payload.len();
        bytes <= frame_bytes
    });
    fits.count().max(1)
}

fn pack_frame(salt: u64, rows: &[(Key, Entry<'_>)], out: &mut Vec<u8>) -> Result<(), String> {
    let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else { return Ok(()) };
    let columns = Unpacked::encode(rows);
    let body = zstd::bulk::compress(&columns, LEVEL).map_err(|error| error.to_string())?;
    let crc = salted_crc(salt, &body);
    let (first, last) = (*first, *last);
    let header = FrameHeader { body: body.len(), columns: columns.len(), records: rows.len(), first, last, crc };
    // The records themselves will be removed: that they come back is seen, not believed.
    if !header.unpack(salt, &body).is_some_and(|unpacked| unpacked.is_of(rows)) {
        return Err("what was packed does not come back as it was".to_owned());
    }
    header.encode(salt, out);
    out.extend_from_slice(&body);
    Ok(())
}

/// A frame and its records, or where there is none.
enum Found {
    Frame(Unpacked, usize),
    /// Only its header is good.
    Damaged(usize),
    None,
}

fn frame_at(bytes: &[u8], pos: usize, salt: u64) -> Found {
    let Some(header) = bytes.get(pos..).and_then(|rest| FrameHeader::decode(salt, rest)) else { return Found::None };
    let end = pos + FRAME_HEADER + header.body;
    match bytes.get(pos + FRAME_HEADER..end) {
        Some(body) => header.unpack(salt, body).map_or(Found::Damaged(end), |unpacked| Found::Frame(unpacked, end)),
        None => Found::None,
    }
}

/// Unpacks every frame that is whole; tells where none is, and where the last one ends.
fn frames(bytes: &[u8], salt: u64) -> (Vec<Unpacked>, Scan) {
    let mut found = Scan { valid_len: HEADER.min(bytes.len()), ..Scan::default() };
    let (mut frames, mut pos) = (Vec::new(), found.valid_len);
    while pos < bytes.len() {
        match frame_at(bytes, pos, salt) {
            Found::Frame(unpacked, end) => {
                if pos > found.valid_len {
                    found.bad.push(Bad { offset: found.valid_len, len: pos - found.valid_len });
                }
                frames.push(unpacked);
                (found.valid_len, pos) = (end, end);
            }
            Found::Damaged(end) => pos = end,
            Found::None => pos = next_magic(bytes, pos + 1, FRAME_MAGIC),
        }
    }
    (frames, found)
}

/// Shows the records of a packed segment in the order of their numbers, those before the place `start` left out.
pub fn read(bytes: &[u8], header: Header, start: u64, mut visit: impl FnMut(Entry<'_>)) -> Scan {
    let (frames, mut found) = frames(bytes, header.segment.salt);
    let rows = frames.iter().flat_map(|frame| frame.rows.iter().map(move |row| (row, frame)));
    let mut rows: Vec<(&Row, &Unpacked)> = rows.filter(|(row, _)| row.offset >= start).collect();
    rows.sort_by_key(|(row, _)| row.index);
    for (row, frame) in rows {
        let Row { offset, index, at_us, ref payload } = *row;
        let place = Place { segment: header.segment.first, offset };
        visit(Entry { index, at_us, payload: frame.bytes.get(payload.clone()).unwrap_or_default(), place });
        found.last_index = Some(index);
    }
    found.span_us = Some(header.span_us);
    found
}

/// Whether nothing of a packed segment is missing or damaged.
pub fn is_whole(bytes: &[u8]) -> bool {
    let Some((header, _)) = Header::decode(bytes) else { return false };
    let (_, found) = frames(bytes, header.segment.salt);
    bytes.len() as u64 == header.packed && found.valid_len == bytes.len() && found.bad.is_empty()
}
