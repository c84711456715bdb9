//! Reading single records by their places, while the journal's owner goes on writing and packing. Each reader keeps some
//! segments open, and of a packed one the frame that it last read there. What it gives has been checked against its checksums.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{FRAME_HEADER, Place, SEGMENT_HEADER, SegmentHeader, payload_fits, payload_len};
use super::packed::{self, FrameHeader, Unpacked};
use super::segments::{packed_name, segment_name};

/// Segments that a reader keeps open.
const OPEN_MAX: usize = 16;

/// Reads records of the journal in one folder.
pub struct Reader {
    dir: PathBuf,
    /// By the indexes of their first records, in the order in which they were opened.
    open: VecDeque<(u64, Open)>,
}

enum Open {
    Written(SegmentHeader, File),
    Packed(OpenPacked),
}

/// A packed segment: where each of its frames is, and the one that was read last.
struct OpenPacked {
    salt: u64,
    file: File,
    frames: Vec<(FrameHeader, u64)>,
    unpacked: Option<(usize, Unpacked)>,
}

impl Reader {
    /// A reader of the journal in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: VecDeque::new() }
    }

    /// The payload of the record at `place`, which is of the kin `kin` where segments are packed.
    pub fn payload(&mut self, place: Place, kin: u64) -> io::Result<Vec<u8>> {
        match self.segment(place.segment)? {
            Open::Written(header, file) => written(header, file, place),
            Open::Packed(packed) => packed.payload(place, kin),
        }
    }

    fn segment(&mut self, first: u64) -> io::Result<&mut Open> {
        let at = match self.open.iter().position(|(known, _)| *known == first) {
            Some(at) => at,
            None => {
                let segment = self.open_segment(first)?;
                if self.open.len() >= OPEN_MAX {
                    self.open.pop_front();
                }
                self.open.push_back((first, segment));
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[at].1)
    }

    fn open_segment(&self, first: u64) -> io::Result<Open> {
        let begin = Place { segment: first, offset: 0 };
        let file = match File::open(self.dir.join(segment_name(first))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::open(self.dir.join(packed_name(first)))?;
                return OpenPacked::new(file, first)?.map(Open::Packed).ok_or_else(|| damaged(begin));
            }
            file => file?,
        };
        let mut bytes = [0; SEGMENT_HEADER];
        file.read_exact_at(&mut bytes, 0)?;
        let header = SegmentHeader::decode(&bytes).filter(|(header, _)| header.first == first);
        header.map(|(header, _)| Open::Written(header, file)).ok_or_else(|| damaged(begin))
    }
}

fn written(header: &SegmentHeader, file: &File, place: Place) -> io::Result<Vec<u8>> {
    let mut frame = [0; FRAME_HEADER];
    file.read_exact_at(&mut frame, place.offset)?;
    let len = payload_len(header.salt, &frame).ok_or_else(|| damaged(place))?;
    let mut payload = vec![0; len];
    file.read_exact_at(&mut payload, place.offset + FRAME_HEADER as u64)?;
    if payload_fits(header.salt, &frame, &payload) { Ok(payload) } else { Err(damaged(place)) }
}

impl OpenPacked {
    /// None: the header is damaged, or of another segment.
    fn new(file: File, first: u64) -> io::Result<Option<Self>> {
        let mut bytes = [0; packed::HEADER];
        file.read_exact_at(&mut bytes, 0)?;
        let header = packed::Header::decode(&bytes).filter(|(header, _)| header.segment.first == first);
        let Some((packed::Header { segment: SegmentHeader { salt, .. }, packed, .. }, _)) = header else {
            return Ok(None);
        };
        let (mut frames, mut at) = (Vec::new(), packed::HEADER as u64);
        while at < packed {
            let mut bytes = [0; packed::FRAME_HEADER];
            // Frames behind a damaged header are not looked for: whoever opens the journal names it.
            let read = file.read_exact_at(&mut bytes, at).ok().and_then(|()| FrameHeader::decode(salt, &bytes));
            let Some(frame) = read else { break };
            at += packed::FRAME_HEADER as u64;
            frames.push((frame, at));
            at += frame.body as u64;
        }
        Ok(Some(Self { salt, file, frames, unpacked: None }))
    }

    fn payload(&mut self, place: Place, kin: u64) -> io::Result<Vec<u8>> {
        let key = (kin, place.offset);
        // They stand in the order of their records.
        let number = self.frames.partition_point(|(frame, _)| frame.ends_before(key));
        if !self.frames.get(number).is_some_and(|(frame, _)| frame.spans(key)) {
            return Err(damaged(place));
        }
        if self.unpacked.as_ref().is_none_or(|(known, _)| *known != number) {
            let (frame, at) = self.frames[number];
            let mut body = vec![0; frame.body];
            self.file.read_exact_at(&mut body, at)?;
            let unpacked = frame.unpack(self.salt, &body).ok_or_else(|| damaged(place))?;
            self.unpacked = Some((number, unpacked));
        }
        let payload = self.unpacked.as_ref().and_then(|(_, unpacked)| unpacked.payload(place.offset));
        payload.map(<[u8]>::to_vec).ok_or_else(|| damaged(place))
    }
}

fn damaged(place: Place) -> io::Error {
    let what = format!("segment {} is damaged at offset {}", place.segment, place.offset);
    io::Error::new(io::ErrorKind::InvalidData, what)
}
