//! The files of an identity: where they lie, how they are replaced so that no reader sees a half, and how a change of them
//! is noticed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Roots that are trusted, below the identity's folder. The first signs what is made now.
pub const ROOTS: &str = "ca.pem";
/// The key of the first.
pub const ROOT_KEY: &str = "ca.key";
/// The key of the root before it, while both are trusted.
pub const OLD_ROOT_KEY: &str = "ca.old.key";
/// Tokens and revoked hosts.
pub const REGISTRY: &str = "registry.json";
/// The token of the administrator on the collector's own machine.
pub const ADMIN_TOKEN: &str = "admin.token";

/// What tells one version of a file from the next.
pub type Stamp = Option<(u64, i64, i64, u64)>;

/// Replaces a file, readable for its owner only: the old text or the new, whatever happens in between.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    // What a crash left behind may have other rights.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

/// What the file is now; None where there is none.
pub fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

/// Reads a text file; the error names it.
pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
