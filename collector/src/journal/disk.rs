//! The few operations that the journal asks of a disk, as a trait so that tests can let each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Where segments are written.
pub trait Disk: Send {
    /// Makes a new, empty segment; it must not exist.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>>;
    /// Opens a segment to append to its end.
    fn reopen(&mut self, path: &Path) -> io::Result<Box<dyn Appender>>;
    /// Gives a segment another name, durably.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a segment; a power loss may bring it back.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// The same disk, for another thread.
    fn share(&self) -> Box<dyn Disk>;
}

/// One segment that is being written.
pub trait Appender: Send {
    /// Appends at the end of the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Default)]
pub struct FileSystem;

impl Disk for FileSystem {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        sync_dir(path)?;
        Ok(Box::new(file))
    }

    fn reopen(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        sync_dir(to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn share(&self) -> Box<dyn Disk> {
        Box::new(Self)
    }
}

impl Appender for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// A file's name is durable only once its folder is synced.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a small file whole and durably.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_dir(path)
}

/// Moves a file and makes the move durable.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(to)?;
    sync_dir(from)
}
