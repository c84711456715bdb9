//! A disk that fails on demand, for tests.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use super::disk::{Appender, Disk, FileSystem};

/// What fails, shared with the disk.
#[derive(Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Default)]
struct State {
    operations: AtomicU32,
    fail_from: AtomicU32,
    syncs_fail: AtomicBool,
    syncs: AtomicU32,
}

/// A disk on which nothing fails yet.
pub fn disk() -> (Faulty, Faults) {
    let faults = Faults::default();
    faults.mend();
    (Faulty(faults.clone()), faults)
}

impl Faults {
    /// From the given number of further operations on the disk is full.
    pub fn fail_from(&self, operations: u32) {
        self.0.operations.store(0, SeqCst);
        self.0.fail_from.store(operations, SeqCst);
    }

    /// From now on a sync is an I/O error.
    pub fn fail_syncs(&self) {
        self.0.syncs_fail.store(true, SeqCst);
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        self.0.fail_from.store(u32::MAX, SeqCst);
        self.0.syncs_fail.store(false, SeqCst);
    }

    /// Syncs that were asked for.
    pub fn syncs(&self) -> u32 {
        self.0.syncs.load(SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        let full = self.0.operations.fetch_add(1, SeqCst) >= self.0.fail_from.load(SeqCst);
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A disk that fails on demand.
pub struct Faulty(Faults);

struct FaultyFile(Box<dyn Appender>, Faults);

impl Disk for Faulty {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        self.0.step()?;
        Ok(Box::new(FaultyFile(FileSystem.create(path)?, self.0.clone())))
    }

    fn reopen(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        Ok(Box::new(FaultyFile(FileSystem.reopen(path)?, self.0.clone())))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step()?;
        FileSystem.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.0.step()?;
        FileSystem.remove(path)
    }

    fn share(&self) -> Box<dyn Disk> {
        Box::new(Self(self.0.clone()))
    }
}

impl Appender for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.1.step() {
            // A full disk takes a part first.
            self.0.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.0.syncs.fetch_add(1, SeqCst);
        if self.1.0.syncs_fail.load(SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { self.0.sync() }
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.cut(len)
    }
}
