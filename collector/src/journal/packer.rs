//! Packs closed segments, one at a time, on a thread that gives way to everything else. The packed one is written under another
//! name, synced and read back before it takes its place, and only then the segment goes; whatever ends this in between,
//! the next start finds one of both and removes the other.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::packed::{self, Packing};
use super::retention::SegmentFacts;
use super::segments::{fresh_name, packed_name, segment_name};

/// Not the lowest there is: whoever ends the collector waits for the frame that is being packed.
const NICE: i32 = 10;
/// A full disk is tried again after so long.
const FULL_REST: Duration = Duration::from_secs(60);

/// A segment that was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// It, by the index of its first record.
    pub first: u64,
    /// Its size before, bytes.
    pub before: u64,
    /// Its size now, bytes.
    pub after: u64,
}

/// Packs.
#[derive(Default)]
pub struct Packer {
    running: Option<(u64, JoinHandle<Result<Packed, Fault>>)>,
    stop: Arc<AtomicBool>,
    /// What could not be packed is left as it is until the next start.
    left: BTreeSet<u64>,
    rests_until: Option<Instant>,
}

/// Why a segment was not packed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no space for both.
    #[error("no space: {0}")]
    Full(io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl Packer {
    /// Whether it is at work on a segment.
    pub fn holds(&self, first: u64) -> bool {
        self.running.as_ref().is_some_and(|(running, _)| *running == first)
    }

    /// What became of the segment that was being packed; waited for where asked. None: there was none, or it still is.
    pub fn ended(&mut self, wait: bool) -> Option<(u64, Result<Packed, Fault>)> {
        let (first, thread) = self.running.take_if(|(_, thread)| wait || thread.is_finished())?;
        let ended = thread.join().unwrap_or_else(|_| Err(Fault::Other("its thread died".to_owned())));
        match &ended {
            Ok(_) => {}
            Err(Fault::Full(_)) => self.rests_until = Some(Instant::now() + FULL_REST),
            Err(Fault::Other(_)) => drop(self.left.insert(first)),
        }
        Some((first, ended))
    }

    /// Begins with the oldest of the closed segments that are not packed, unless it is at work or rests.
    pub fn begin(&mut self, dir: &Path, closed: &[SegmentFacts], packing: Packing, mut disk: Box<dyn Disk>) {
        self.left.retain(|left| closed.iter().any(|segment| segment.first == *left));
        let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
        let next = closed.iter().find(|segment| segment.unpacked.is_none() && !self.left.contains(&segment.first));
        let (Some(SegmentFacts { first, .. }), None, false) = (next.copied(), &self.running, rests) else { return };
        let (dir, stop) = (dir.to_owned(), self.stop.clone());
        let work = move || {
            // Where it can't give way it packs all the same.
            let _ = rustix::process::setpriority_process(None, NICE);
            pack(&dir, first, packing, disk.as_mut(), &|| !stop.load(Relaxed))
        };
        // Without a thread the segment stays as it is, and its turn comes again.
        self.running = thread::Builder::new().name("packer".to_owned()).spawn(work).ok().map(|thread| (first, thread));
    }
}

impl Drop for Packer {
    /// Nothing in the folder changes any more once its owner has let go of it.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some((_, thread)) = self.running.take() {
            let _ = thread.join();
        }
    }
}

/// Puts a packed segment in the place of a closed one.
pub fn pack(
    dir: &Path,
    first: u64,
    packing: Packing,
    disk: &mut dyn Disk,
    goes_on: &dyn Fn() -> bool,
) -> Result<Packed, Fault> {
    let (written, fresh) = (dir.join(segment_name(first)), dir.join(fresh_name(first)));
    let segment = fs::read(&written)?;
    let bytes = packed::pack(&segment, packing, goes_on).map_err(Fault::Other)?;
    let packed = Packed { first, before: segment.len() as u64, after: bytes.len() as u64 };
    if packed.after >= packed.before {
        return Err(Fault::Other("packing gains nothing".to_owned()));
    }
    let mut replace = || {
        let mut file = disk.create(&fresh)?;
        file.append(&bytes)?;
        file.sync()?;
        disk.rename(&fresh, &dir.join(packed_name(first)))
    };
    if let Err(error) = replace() {
        // A rest of it would be removed at the next start anyway.
        let _ = fs::remove_file(&fresh);
        return Err(error.into());
    }
    disk.remove(&written)?;
    Ok(packed)
}

#[cfg(test)]
mod tests;
