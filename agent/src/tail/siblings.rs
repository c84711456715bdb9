//! Files beside a log that were the log before: found by name, ordered by the time they were last written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::source::{Identity, modified_ns};

/// How the names of packed files end.
const PACKED: [&[u8]; 4] = [b".gz", b".zst", b".xz", b".bz2"];

/// A file that may be an earlier part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Its path now; it may be renamed at any moment.
    pub path: PathBuf,
    /// Device and inode.
    pub identity: Identity,
    /// When it was last written, unix nanoseconds.
    pub modified_ns: u64,
    /// It is compressed, so it can't be read on.
    pub compressed: bool,
    /// Nothing is in it.
    pub is_empty: bool,
}

/// The siblings of a log, oldest first. Where the log is a link, the files like its target too.
pub fn siblings(log: &Path) -> Vec<Sibling> {
    let mut found = in_folder(log, rotated);
    if let Ok(target) = fs::canonicalize(log)
        && target != log
    {
        found.extend(in_folder(&target, |name, base| alike(name, base).then_some(false)));
    }
    found.sort_by_key(|sibling| sibling.modified_ns);
    found.dedup_by_key(|sibling| sibling.identity);
    found
}

fn in_folder(log: &Path, matches: impl Fn(&[u8], &[u8]) -> Option<bool>) -> Vec<Sibling> {
    let (Some(folder), Some(base)) = (log.parent(), log.file_name()) else { return Vec::new() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let compressed = matches(name.as_bytes(), base.as_bytes())?;
            let path = folder.join(OsStr::from_bytes(name.as_bytes()));
            let metadata = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            let identity = (metadata.dev(), metadata.ino());
            Some(Sibling {
                path,
                identity,
                modified_ns: modified_ns(&metadata),
                compressed,
                is_empty: metadata.len() == 0,
            })
        })
        .collect()
}

/// Whether a path is that of a log that was rotated away or packed, of a log that is one of these.
pub fn is_rotated(path: &Path, logs: &[PathBuf]) -> bool {
    let Some(name) = path.file_name() else { return false };
    PACKED.iter().any(|ending| name.as_bytes().ends_with(ending))
        || logs.iter().any(|log| {
            let base = log.file_name().filter(|_| log.parent() == path.parent());
            base.is_some_and(|base| rotated(name.as_bytes(), base.as_bytes()).is_some())
        })
}

/// Whether a name is that of a rotated log (`access.log.1`, `access.log-20261122`, `access.log.old`), and compressed.
fn rotated(name: &[u8], base: &[u8]) -> Option<bool> {
    let suffix = name.strip_prefix(base)?;
    let plain = PACKED.iter().find_map(|ending| suffix.strip_suffix(*ending));
    let stamp = plain.unwrap_or(suffix);
    let is_stamp = stamp.len() > 1
        && stamp.iter().all(|byte| byte.is_ascii_digit() || b".-_:TZ+".contains(byte))
        && stamp.iter().any(u8::is_ascii_digit);
    (is_stamp || stamp == b".old" || stamp == b".0").then_some(plain.is_some())
}

/// Whether two names differ in their numbers only (`app-1.log`, `app-22.log`).
fn alike(name: &[u8], base: &[u8]) -> bool {
    fn shape(name: &[u8]) -> Vec<u8> {
        let mut shape: Vec<u8> = name.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        shape.dedup_by(|next, before| *next == b'0' && *before == b'0');
        shape
    }
    name != base && shape(name) == shape(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_logs() {
        let base = b"access.log";
        for name in ["access.log.1", "access.log-20261122", "access.log.2026-11-22T10:00:00Z", "access.log.old"] {
            assert_eq!(rotated(name.as_bytes(), base), Some(false), "{name}");
        }
        for name in ["access.log.3.gz", "access.log-20261122.zst"] {
            assert_eq!(rotated(name.as_bytes(), base), Some(true), "{name}");
        }
        for name in
            ["access.log", "access.log.json", "access.log.", "access-api.log", "access.log.1.swp", "error.log.1"]
        {
            assert_eq!(rotated(name.as_bytes(), base), None, "{name}");
        }
        assert!(alike(b"app-22.log", b"app-1.log") && !alike(b"app-1.log", b"app-1.log"));
        assert!(!alike(b"apple-1.log", b"app-1.log"));
    }
}
