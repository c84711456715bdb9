//! Gives configuration readers the files of this host, bounded.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::gateway::Files;
use crate::glob;

/// Most bytes of one configuration file.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The files of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let metadata = fs::metadata(path).map_err(told)?;
        if !metadata.is_file() {
            return Err(format!("{}: not a regular file", path.display()));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(told)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("{}: more than {MAX_FILE_BYTES} bytes", path.display()));
        }
        Ok(bytes)
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        glob::paths(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("3.conf");
        fs::write(&path, "text").unwrap();
        assert_eq!(Disk.read(&path), Ok(b"text".to_vec()));
        assert!(Disk.read(dir.path()).unwrap_err().contains("regular"));
        assert_eq!(Disk.glob(&dir.path().join("*.conf")), [path]);
    }
}
