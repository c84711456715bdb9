//! What the Linux kernel tells in text and in netlink messages, as plain structs. The only place that knows the formats of
//! /proc, /sys, netlink and the kernel log. Each module has pure parsers, from text or bytes to a struct, and thin readers
//! that join them to a root path given by the caller, so that tests read captured trees. Every read is bounded; an error
//! names the path and the item. Nothing here keeps state between two calls, sleeps, or knows of the schema. Never read:
//! smaps, smaps_rollup and environ, which stall or betray the process that is looked at.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub mod capability;
pub mod cgroup;
pub mod clock;
pub mod diag;
pub mod host;
pub mod kept;
pub mod kmsg;
pub mod link;
pub mod machine;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod pidfd;
pub mod pressure;
pub mod process;
pub mod route;
pub mod tcp;

/// Most bytes of one file of /proc or /sys that are read.
const FILE_LIMIT: u64 = 256 * 1024;
/// More than most of them have.
const USUAL_BYTES: usize = 2 * 1024;

/// A reading that could not be had: which path, which item, why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Error {
    /// The file, or the name of the netlink request.
    pub path: String,
    /// The item in it and what is wrong, or the system's error.
    pub what: String,
    /// The kind of the system's error. `InvalidData` where the text was not understood.
    pub kind: io::ErrorKind,
}

impl Error {
    /// The system refused.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        Self { path: path.display().to_string(), what: error.to_string(), kind: error.kind() }
    }

    /// The text is not as expected.
    pub fn parse(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.display().to_string(), what: what.into(), kind: io::ErrorKind::InvalidData }
    }

    /// A privilege is missing.
    pub fn denied(&self) -> bool {
        self.kind == io::ErrorKind::PermissionDenied
    }

    /// The process, file or group is gone (or was never there).
    pub fn gone(&self) -> bool {
        // ESRCH (3) and ENODEV (19) have no kind of their own; /proc and cgroup files give them for what ended after the open.
        self.kind == io::ErrorKind::NotFound || self.what.contains("os error 3)") || self.what.contains("os error 19)")
    }
}

/// A reading or why it could not be had.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the kernel's trees are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// The kernel log's device, usually `/dev/kmsg`.
    pub kmsg: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), kmsg: PathBuf::from("/dev/kmsg") }
    }
}

/// Reads a whole small file, at most [`FILE_LIMIT`] bytes; bytes that are no UTF-8 become replacement characters.
pub fn read_text(path: &Path) -> Result<String> {
    // Room from the start: into less, such files are read in many small pieces.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let file = File::open(path).map_err(|e| Error::io(path, &e))?;
    file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(|e| Error::io(path, &e))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// Reads a file and parses it; the error names the path.
pub fn read_with<T>(path: &Path, parse: impl FnOnce(&str) -> std::result::Result<T, String>) -> Result<T> {
    let text = read_text(path)?;
    parse(&text).map_err(|what| Error::parse(path, what))
}

/// The number in a file that holds only one.
pub fn read_number(path: &Path) -> Result<u64> {
    read_with(path, parse_number)
}

/// Parses the text of a file that holds only a number.
pub fn parse_number(text: &str) -> std::result::Result<u64, String> {
    text.trim().parse().map_err(|_| format!("not a number: {:.40}", text.trim()))
}
