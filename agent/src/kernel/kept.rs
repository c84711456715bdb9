//! Files of /proc that are read again and again through one descriptor: a third of the price of opening them anew. The kernel
//! makes their text afresh at each read from the start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Error, FILE_LIMIT, Result};

/// Enough for most of them, so that no memory is asked for.
const USUAL_BYTES: usize = 8 * 1024;
/// More than a record of numbers has.
const RECORD_BYTES: usize = 1024;

/// A file that is opened when it is first read, and kept. One that was gone is looked for again at the next read.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    file: Option<File>,
}

impl Kept {
    /// Not opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Reads it from its start and parses it; the error names the path.
    pub fn read_with<T>(&mut self, parse: impl FnOnce(&str) -> std::result::Result<T, String>) -> Result<T> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path).map_err(|error| Error::io(&self.path, &error))?,
        };
        let read = read_again(&file, &self.path, parse);
        self.file = read.as_ref().err().is_none_or(|error| !error.gone()).then_some(file);
        read
    }
}

/// Reads an open file from its start, at most [`FILE_LIMIT`] bytes, and parses it; the error names the path.
pub fn read_again<T>(
    file: &File,
    path: &Path,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let mut usual = [0u8; USUAL_BYTES];
    let mut filled = fill(file, path, &mut usual, 0)?;
    let mut large = Vec::new();
    if filled == USUAL_BYTES {
        large.resize(FILE_LIMIT as usize, 0);
        large[..filled].copy_from_slice(&usual);
        filled += fill(file, path, &mut large[filled..], filled as u64)?;
    }
    let bytes = if large.is_empty() { &usual[..filled] } else { &large[..filled] };
    parse(&String::from_utf8_lossy(bytes)).map_err(|what| Error::parse(path, what))
}

/// Reads an open file of one record, such as /proc/PID/stat, and parses it. The kernel hands out such a record whole, so its end
/// is not asked for.
pub fn read_record<T>(
    file: &File,
    path: &Path,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let mut record = [0u8; RECORD_BYTES];
    let read = file.read_at(&mut record, 0).map_err(|error| Error::io(path, &error))?;
    if read == RECORD_BYTES {
        return read_again(file, path, parse);
    }
    parse(&String::from_utf8_lossy(&record[..read])).map_err(|what| Error::parse(path, what))
}

/// Reads until the end or until there is no room; how much.
fn fill(file: &File, path: &Path, buffer: &mut [u8], from: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(path, &error)),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_what_is_there_now_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut kept = Kept::new(path.clone());
        let length = |text: &str| Ok::<_, String>(text.len());
        assert!(kept.read_with(length).unwrap_err().gone());
        for bytes in [3, USUAL_BYTES, 3 * USUAL_BYTES, FILE_LIMIT as usize + 1] {
            fs::write(&path, "x".repeat(bytes)).unwrap();
            assert_eq!(kept.read_with(length).unwrap(), bytes.min(FILE_LIMIT as usize));
            let record = read_record(&File::open(&path).unwrap(), &path, length);
            assert_eq!(record.unwrap(), bytes.min(FILE_LIMIT as usize));
        }
        let fault = kept.read_with(|_| Err::<(), _>("no number".to_owned())).unwrap_err();
        assert_eq!(fault.to_string(), format!("{}: no number", path.display()));
    }
}
