//! Where reading of the logs stands, kept in `state_dir/positions.json` across restarts.
//!
//! A position is set only once the report that carries everything told from the lines before it was acknowledged, and the
//! file is replaced as a whole (write beside, sync, rename), so that killing the agent at any moment, or the host, leaves the
//! one state or the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes at the beginning of a file by which it is known again.
const FINGERPRINT_BYTES: u64 = 1024;

/// A digest of a file's first bytes, of those only that were read already, so that appending never changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many bytes it covers.
    pub len_bytes: u64,
    /// FNV-1a, 64 bits, of these.
    pub hash: u64,
}

impl Fingerprint {
    /// That of the first bytes of a file that was read up to `offset_bytes`.
    pub fn of(file: &File, offset_bytes: u64) -> io::Result<Self> {
        let len_bytes = offset_bytes.min(FINGERPRINT_BYTES);
        if len_bytes == 0 {
            return Ok(Self::default());
        }
        let mut start = [0; FINGERPRINT_BYTES as usize];
        let start = &mut start[..len_bytes as usize];
        file.read_exact_at(start, 0)?;
        Ok(Self::of_bytes(start))
    }

    /// That of the first of these bytes, which a file begins with.
    pub fn of_first(bytes: &[u8]) -> Self {
        match bytes.len().min(FINGERPRINT_BYTES as usize) {
            0 => Self::default(),
            len => Self::of_bytes(&bytes[..len]),
        }
    }

    /// Whether bytes begin so.
    pub fn begins(&self, bytes: &[u8]) -> bool {
        let start = usize::try_from(self.len_bytes).ok().and_then(|len| bytes.get(..len));
        start.is_some_and(|start| Self::of_bytes(start) == *self)
    }

    /// That of bytes at hand.
    pub fn of_bytes(start: &[u8]) -> Self {
        let hash = start
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        Self { len_bytes: start.len() as u64, hash }
    }

    /// Whether a file still begins so. A shorter file does not.
    pub fn matches(&self, file: &File) -> bool {
        Self::of(file, self.len_bytes).is_ok_and(|found| found == *self)
    }

    /// Whether more read bytes would make it more telling.
    pub fn can_grow(&self, offset_bytes: u64) -> bool {
        self.len_bytes < offset_bytes.min(FINGERPRINT_BYTES)
    }
}

/// Where reading stands in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Device number (st_dev).
    pub device: u64,
    /// Inode number (st_ino).
    pub inode: u64,
    /// Everything before this byte was read, whole lines only.
    pub offset_bytes: u64,
    /// How the file begins.
    pub start: Fingerprint,
    /// When it had last been written as it was last read to its end, unix nanoseconds. 0: never so read.
    pub seen_ns: u64,
}

/// Where reading stands in one log: the files of it that may still grow, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The last of them is the one that is read now.
    pub files: Vec<FilePosition>,
}

impl Position {
    /// Whether the same bytes were read.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |file: &FilePosition| (file.device, file.inode, file.offset_bytes);
        self.files.iter().map(place).eq(other.files.iter().map(place))
    }
}

/// Where reading of one log stands, on its way to the acknowledgement that lets it be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The log's path.
    pub log: PathBuf,
    /// Where reading stands.
    pub position: Position,
}

/// The positions of all logs.
#[derive(Debug, Clone)]
pub struct Positions {
    path: PathBuf,
    logs: BTreeMap<String, Position>,
}

impl Positions {
    /// Those of a state directory, which is made where it is missing. A file that can't be understood counts as none, and the
    /// error says so: its logs are then read from their ends.
    pub fn load(state_dir: &Path) -> (Self, Option<String>) {
        let path = state_dir.join("positions.json");
        let made = fs::create_dir_all(state_dir).map_err(|error| format!("making {}: {error}", state_dir.display()));
        let read = made.and_then(|()| match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("reading {}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(format!("reading {}: {error}", path.display())),
        });
        match read {
            Ok(logs) => (Self { path, logs }, None),
            Err(fault) => (Self { path, logs: BTreeMap::new() }, Some(fault)),
        }
    }

    /// That of a log. None: it was never read.
    pub fn get(&self, log: &Path) -> Option<Position> {
        self.logs.get(log.to_string_lossy().as_ref()).cloned()
    }

    /// All logs that have one.
    pub fn logs(&self) -> impl Iterator<Item = &Path> {
        self.logs.keys().map(Path::new)
    }

    /// Sets that of a log, in memory. One without files is forgotten.
    pub fn set(&mut self, mark: Mark) {
        let log = mark.log.to_string_lossy().into_owned();
        if mark.position.files.is_empty() {
            self.logs.remove(&log);
        } else {
            self.logs.insert(log, mark.position);
        }
    }

    /// Writes them, durably.
    pub fn save(&self) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&self.logs)?)?;
        file.sync_data()?;
        fs::rename(&beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_and_a_broken_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("new");
        let (mut positions, fault) = Positions::load(&state_dir);
        assert_eq!(fault, None);
        let start = Fingerprint { len_bytes: 3, hash: 9 };
        let position =
            Position { files: vec![FilePosition { device: 1, inode: 2, offset_bytes: 3, start, seen_ns: 4 }] };
        positions.set(Mark { log: "/var/log/a.log".into(), position: position.clone() });
        positions.save().unwrap();
        let (again, fault) = Positions::load(&state_dir);
        assert_eq!((again.get(Path::new("/var/log/a.log")), fault), (Some(position), None));
        fs::write(state_dir.join("positions.json"), "{\"/var").unwrap();
        let (empty, fault) = Positions::load(&state_dir);
        assert_eq!(empty.get(Path::new("/var/log/a.log")), None);
        assert!(fault.unwrap().contains("positions.json"));
    }
}
