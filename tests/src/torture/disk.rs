//! A disk that fills up, fails to sync, and forgets at a power loss what was not synced.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use why502::journal::{Appender, Disk, FileSystem};

use crate::dice::Dice;

/// What a disk does wrong, shared with it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Writes left until it is full. None: it never is.
    room: Option<u32>,
    syncs_fail: bool,
    syncs: u64,
    /// Of each file how much is sure to be kept, and how much was written.
    files: BTreeMap<PathBuf, (u64, u64)>,
    /// Files that were removed, with what they held: a power loss may bring them back.
    removed: BTreeMap<PathBuf, Vec<u8>>,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is full after so many further writes. None: it has space again.
    pub fn room(&self, writes: Option<u32>) {
        self.state().room = writes;
    }

    /// From now on syncs fail, or succeed again.
    pub fn syncs_fail(&self, fail: bool) {
        self.state().syncs_fail = fail;
    }

    /// Syncs that were asked for.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The power goes: of what was not synced an arbitrary part is kept, and of that some is not what was written. What was
    /// removed may be there again.
    pub fn power_loss(&self, dice: &mut Dice) -> io::Result<u64> {
        let mut forgotten = 0;
        for (path, bytes) in std::mem::take(&mut self.state().removed) {
            if dice.below(2) == 0 {
                fs::write(&path, bytes)?;
            }
        }
        for (path, (synced, written)) in std::mem::take(&mut self.state().files) {
            let unsynced = written - synced;
            let kept = synced + dice.below(unsynced + 1);
            forgotten += written - kept;
            let mut bytes = match fs::read(&path) {
                // Its owner gave it up.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            bytes.truncate(kept as usize);
            if dice.below(2) == 0 && kept > synced {
                // Blocks that were allocated and never written read as zeros.
                let from = (synced + dice.below(kept - synced)) as usize;
                bytes[from..].fill(0);
            }
            fs::write(&path, bytes)?;
        }
        Ok(forgotten)
    }

    fn write(&self) -> io::Result<()> {
        let mut state = self.state();
        match &mut state.room {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let len = fs::metadata(path)?.len();
        self.state().files.insert(path.to_owned(), (len, len));
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Box::new(FaultyFile { file, path: path.to_owned(), faults: self.clone() }))
    }
}

/// The disk.
pub struct Faulty(pub Faults);

struct FaultyFile {
    file: fs::File,
    path: PathBuf,
    faults: Faults,
}

impl FaultyFile {
    fn note(&self, change: impl FnOnce(&mut (u64, u64))) {
        if let Some(file) = self.faults.state().files.get_mut(&self.path) {
            change(file);
        }
    }
}

impl Disk for Faulty {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        self.0.write()?;
        FileSystem.create(path)?;
        self.0.open(path)
    }

    fn reopen(&mut self, path: &Path) -> io::Result<Box<dyn Appender>> {
        self.0.open(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.write()?;
        fs::rename(from, to)?;
        let mut state = self.0.state();
        if let Some(lengths) = state.files.remove(from) {
            state.files.insert(to.to_owned(), lengths);
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let bytes = fs::read(path)?;
        fs::remove_file(path)?;
        let mut state = self.0.state();
        state.files.remove(path);
        state.removed.insert(path.to_owned(), bytes);
        Ok(())
    }

    fn share(&self) -> Box<dyn Disk> {
        Box::new(Self(self.0.clone()))
    }
}

impl Appender for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.faults.write();
        // A full disk takes a part first.
        let taken = if room.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.file.append(taken)?;
        self.note(|(_, written)| *written += taken.len() as u64);
        room
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.state().syncs += 1;
        if self.faults.state().syncs_fail {
            return Err(io::Error::other("input/output error"));
        }
        // It is a pretended disk: what counts as synced is what is noted.
        self.note(|(synced, written)| *synced = *written);
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.note(|(synced, written)| (*synced, *written) = ((*synced).min(len), len));
        self.file.cut(len)
    }
}
