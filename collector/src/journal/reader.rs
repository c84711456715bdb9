//! Reading single records by their places, while the journal's owner goes on writing. Each reader has the segment it
//! last read open. What it gives has been checked against its checksums.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{FRAME_HEADER, Place, SEGMENT_HEADER, SegmentHeader, payload_fits, payload_len};
use super::recover::segment_name;

/// Reads records of the journal in one folder.
pub struct Reader {
    dir: PathBuf,
    open: Option<(SegmentHeader, File)>,
}

impl Reader {
    /// A reader of the journal in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), open: None }
    }

    /// The payload of the record at `place`.
    pub fn payload(&mut self, place: Place) -> io::Result<Vec<u8>> {
        let (header, file) = match self.open.take() {
            Some(open) if open.0.first == place.segment => open,
            _ => self.segment(place.segment)?,
        };
        let mut frame = [0; FRAME_HEADER];
        file.read_exact_at(&mut frame, place.offset)?;
        let len = payload_len(header.salt, &frame).ok_or_else(|| damaged(place))?;
        let mut payload = vec![0; len];
        file.read_exact_at(&mut payload, place.offset + FRAME_HEADER as u64)?;
        if !payload_fits(header.salt, &frame, &payload) {
            return Err(damaged(place));
        }
        self.open = Some((header, file));
        Ok(payload)
    }

    fn segment(&self, first: u64) -> io::Result<(SegmentHeader, File)> {
        let file = File::open(self.dir.join(segment_name(first)))?;
        let mut bytes = [0; SEGMENT_HEADER];
        file.read_exact_at(&mut bytes, 0)?;
        let header = SegmentHeader::decode(&bytes).filter(|(header, _)| header.first == first);
        let (header, _) = header.ok_or_else(|| damaged(Place { segment: first, offset: 0 }))?;
        Ok((header, file))
    }
}

fn damaged(place: Place) -> io::Error {
    let what = format!("{} is damaged at offset {}", segment_name(place.segment), place.offset);
    io::Error::new(io::ErrorKind::InvalidData, what)
}
