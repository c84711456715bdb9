//! The segments of the spool on disk: append-only files, one run of the agent in each, in the order of their names.
//!
//! A run never appends to what a run before it left, so a tail that was torn stays where it is and costs nothing but itself.
//! What can't be read is left out and counted. An append that fails leaves the segment as it was.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::frame::{self, FRAME_HEADER, Frame, Numbering, SEGMENT_HEADER, SegmentHeader};
use super::thin::{Brief, LAST_LEVEL};

/// Most closed segments that wait for a sync; beyond these the kernel's own writing back must do.
const MAX_UNSYNCED: usize = 8;

/// A closed or open segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the order of all.
    pub order: u64,
    /// Whose reports it holds.
    pub numbering: Numbering,
    /// Its length, bytes.
    pub bytes: u64,
    /// How often it was thinned.
    pub level: u8,
    /// The highest number in it. 0: none.
    pub last_seq: u64,
}

#[derive(Debug)]
struct Active {
    file: File,
    salt: u64,
    unsynced: bool,
}

/// The folder of segments.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    own: Numbering,
    segments: Vec<Segment>,
    /// The last of the segments is this run's and open.
    active: Option<Active>,
    /// Closed segments whose last records may not be durable.
    unsynced: Vec<File>,
    /// A file was made or replaced since the folder was last synced.
    folder_changed: bool,
    segment_bytes: u64,
    next_order: u64,
}

/// What was found at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Bytes that belong to no record.
    pub bad_bytes: u64,
    /// Segments whose headers are gone.
    pub bad_segments: u64,
    /// Segments that another version of the agent wrote.
    pub foreign_segments: u64,
}

impl Found {
    /// In words. None: all was well.
    pub fn told(&self, dir: &Path) -> Option<String> {
        let (dir, bytes, segments) = (dir.display(), self.bad_bytes, self.bad_segments);
        let damaged = (bytes > 0 || segments > 0).then(|| {
            format!(
                "{dir}: {bytes} bytes and {segments} whole files were damaged: the reports in them are lost, check the disk"
            )
        });
        let foreign = (self.foreign_segments > 0).then(|| {
            let files = self.foreign_segments;
            format!("{dir}: {files} files are another agent version's and stay: run it to deliver them, or remove them")
        });
        damaged.or(foreign)
    }
}

impl Store {
    /// Opens the folder, makes it where it is missing, and hands on every record in order.
    pub fn open(
        dir: PathBuf,
        own: Numbering,
        segment_bytes: u64,
        visit: &mut dyn FnMut(Frame<'_>),
    ) -> io::Result<(Self, Found)> {
        fs::create_dir_all(&dir)?;
        let (segments, unsynced) = (Vec::new(), Vec::new());
        let (active, folder_changed, next_order) = (None, false, 1);
        let mut store = Self { dir, own, segments, active, unsynced, folder_changed, segment_bytes, next_order };
        let mut found = Found::default();
        for order in store.list()? {
            store.next_order = order + 1;
            let Ok(bytes) = fs::read(store.path(order)) else {
                // One file that can't be read must not cost the others.
                found.bad_segments += 1;
                continue;
            };
            let Some(header) = SegmentHeader::decode(&bytes) else {
                if frame::is_foreign(&bytes) {
                    found.foreign_segments += 1;
                    continue;
                }
                found.bad_segments += 1;
                let _ = fs::remove_file(store.path(order));
                continue;
            };
            let mut last_seq = 0;
            found.bad_bytes += frame::scan(&bytes, header.salt, |frame| {
                last_seq = frame.seq;
                visit(frame);
            }) as u64;
            let SegmentHeader { numbering, level, .. } = header;
            store.segments.push(Segment { order, numbering, bytes: bytes.len() as u64, level, last_seq });
        }
        Ok((store, found))
    }

    /// The segments' places, in order; what a killed rewriting left is removed.
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut orders = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("seg") => orders.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok())),
                Some("new") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        orders.sort_unstable();
        Ok(orders)
    }

    fn path(&self, order: u64) -> PathBuf {
        self.dir.join(format!("{order:020}.seg"))
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The closed segments, oldest first, and the bytes of the open one.
    pub fn briefs(&self) -> (Vec<Brief>, u64) {
        let closed = self.segments.len() - usize::from(self.active.is_some());
        let briefs = self.segments[..closed].iter().map(|one| Brief { bytes: one.bytes, level: one.level }).collect();
        (briefs, self.segments[closed..].iter().map(|one| one.bytes).sum())
    }

    /// Appends records of this run, all or none; returns the segment that holds them.
    pub fn append(&mut self, frames: &[Frame<'_>]) -> io::Result<u64> {
        if self.active.is_none() || self.segments.last().is_some_and(|last| last.bytes >= self.segment_bytes) {
            self.begin_segment()?;
        }
        let (Some(active), Some(segment)) = (&mut self.active, self.segments.last_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        let mut bytes = Vec::with_capacity(frames.iter().map(|frame| FRAME_HEADER + frame.payload.len()).sum());
        frames.iter().for_each(|frame| frame::encode(active.salt, *frame, &mut bytes));
        if let Err(error) = active.file.write_all(&bytes) {
            // A part of it may stand there; it must go, or it would hide nothing but cost room.
            let _ = active.file.set_len(segment.bytes);
            // What comes after the trouble stands in a file of its own: this one's places may become older than those kept.
            self.close();
            if let Some(empty) = self.segments.pop_if(|last| last.last_seq == 0) {
                let _ = fs::remove_file(self.path(empty.order));
            }
            return Err(error);
        }
        active.unsynced = true;
        segment.bytes += bytes.len() as u64;
        segment.last_seq = frames.last().map_or(segment.last_seq, |frame| frame.seq);
        Ok(segment.order)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.close();
        // Somebody may have removed it.
        fs::create_dir_all(&self.dir)?;
        let order = self.next_order;
        let header = SegmentHeader { numbering: self.own.clone(), salt: RandomState::new().hash_one(order), level: 0 };
        let path = self.path(order);
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all(&header.encode()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.next_order += 1;
        self.folder_changed = true;
        self.active = Some(Active { file, salt: header.salt, unsynced: true });
        let bytes = SEGMENT_HEADER as u64;
        self.segments.push(Segment { order, numbering: header.numbering, bytes, level: 0, last_seq: 0 });
        Ok(())
    }

    /// Closes the open segment: what comes next goes into another one.
    pub fn close(&mut self) {
        if let Some(active) = self.active.take().filter(|active| active.unsynced && self.unsynced.len() < MAX_UNSYNCED)
        {
            self.unsynced.push(active.file);
        }
    }

    /// Handles to sync what was appended since the last time, and the folder where a file is new in it.
    pub fn take_unsynced(&mut self) -> Vec<File> {
        let mut files = std::mem::take(&mut self.unsynced);
        if let Some(active) = self.active.as_mut().filter(|active| active.unsynced) {
            active.unsynced = false;
            files.extend(active.file.try_clone().ok());
        }
        if std::mem::take(&mut self.folder_changed) {
            files.extend(File::open(&self.dir).ok());
        }
        files
    }

    /// Hands on the records of one segment.
    pub fn read(&self, order: u64, visit: &mut dyn FnMut(Frame<'_>)) -> io::Result<()> {
        let bytes = fs::read(self.path(order))?;
        if let Some(header) = SegmentHeader::decode(&bytes) {
            frame::scan(&bytes, header.salt, visit);
        }
        Ok(())
    }

    /// Removes the segments before this place.
    pub fn remove_before(&mut self, order: u64) {
        let gone = self.segments.iter().take_while(|segment| segment.order < order).count();
        for segment in self.segments.drain(..gone) {
            let _ = fs::remove_file(self.dir.join(format!("{:020}.seg", segment.order)));
        }
    }

    /// Removes one segment.
    pub fn remove(&mut self, at: usize) {
        let segment = self.segments.remove(at);
        let _ = fs::remove_file(self.path(segment.order));
    }

    /// Notes that there is nothing to thin in a segment.
    pub fn settle(&mut self, at: usize) {
        if let Some(segment) = self.segments.get_mut(at) {
            segment.level = LAST_LEVEL;
        }
    }

    /// Writes a closed segment anew, thinned once more, with these records.
    pub fn rewrite(&mut self, at: usize, frames: &[(u64, Vec<u8>)], level: u8) -> io::Result<()> {
        let Some(segment) = self.segments.get(at) else { return Ok(()) };
        let salt = RandomState::new().hash_one(segment.order);
        let header = SegmentHeader { numbering: segment.numbering.clone(), salt, level };
        let mut bytes = header.encode().to_vec();
        for (seq, payload) in frames {
            frame::encode(salt, Frame { seq: *seq, payload, goes_on: false }, &mut bytes);
        }
        let path = self.path(segment.order);
        write_beside(&path, &bytes)?;
        self.folder_changed = true;
        let segment = &mut self.segments[at];
        (segment.bytes, segment.level) = (bytes.len() as u64, level);
        Ok(())
    }
}

/// Replaces a file as a whole, durably.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
