//! The folded state in one packed file beside the journal, so that a start reads only what came after it. It is written by a
//! thread of its own from a frozen copy, whole and durable under another name before it takes the place of the one
//! before. It is worth nothing to other code than wrote it, nor beside another journal: then, and where its checksum
//! does not fit, it is passed over and the journal is folded from its beginning. Losing it loses nothing.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::fold::Fold;
use super::past::Timeline;
use crate::journal::{Bookmark, sync_dir};

const MAGIC: &[u8; 8] = b"WHY502C1";
/// Bytes before the body: magic, and the digest of the sources that wrote it.
const HEADER: usize = 16;
/// Bytes after the body: its checksum.
const TRAILER: usize = 4;
/// A start waits for it to be unpacked, and the next one is written soon.
const LEVEL: i32 = 1;
/// Digest of the sources of this program, made by the build script.
const SOURCES: &str = env!("WHY502_SOURCES");
/// Without a checkpoint, as after an upgrade, so much of what was written last is read, bytes: to read all that fits into the
/// limit when it is packed could take hours, in which nobody would be told anything.
const READ_WITHOUT_CHECKPOINT: u64 = 4 << 30;

/// All that a start needs.
#[derive(Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the journal goes on.
    pub journal: Bookmark,
    /// Where the journal of past states goes on. None: it has nothing yet.
    pub past: Option<Bookmark>,
    /// The newest time given to a record.
    pub last_us: i64,
    /// The folded state.
    pub fold: Fold,
    /// Where past states are found.
    pub timeline: Timeline,
}

impl Checkpoint {
    /// The file's name beside a journal.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("checkpoint")
    }

    /// Reads the file beside the journal in `dir`. None: there is none. Otherwise the reason why it is of no use.
    pub fn load(dir: &Path) -> Result<Option<Self>, String> {
        let bytes = match fs::read(Self::path(dir)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or("it is cut off")?;
        if header != Self::header() {
            return Err("another version wrote it".to_owned());
        }
        let body_len = rest.len().checked_sub(TRAILER).ok_or("it is cut off")?;
        let (body, checksum) = rest.split_at(body_len);
        if checksum != crc32fast::hash(body).to_le_bytes() {
            return Err("its checksum does not fit".to_owned());
        }
        let body = zstd::decode_all(body).map_err(|error| error.to_string())?;
        let checkpoint: Self = postcard::from_bytes(&body).map_err(|error| error.to_string())?;
        match checkpoint.journal.fits(dir) {
            true => Ok(Some(checkpoint)),
            false => Err("it is of another journal".to_owned()),
        }
    }

    /// Writes the file beside the journal in `dir`; gives its size, bytes.
    pub fn save(&self, dir: &Path) -> io::Result<u64> {
        let (path, fresh) = (Self::path(dir), dir.join("checkpoint.new"));
        let written = self.write(&fresh).and_then(|bytes| {
            fs::rename(&fresh, &path)?;
            sync_dir(&path)?;
            Ok(bytes)
        });
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    fn write(&self, path: &Path) -> io::Result<u64> {
        let mut file = File::create(path)?;
        file.write_all(&Self::header())?;
        let body = Summed { out: file, sum: crc32fast::Hasher::new(), bytes: 0 };
        // The state comes in pieces of a few bytes.
        let mut packed = BufWriter::with_capacity(1 << 16, zstd::Encoder::new(body, LEVEL)?);
        postcard::to_io(self, &mut packed).map_err(io::Error::other)?;
        let body = packed.into_inner().map_err(|error| error.into_error())?.finish()?;
        let Summed { out: mut file, sum, bytes } = body;
        file.write_all(&sum.finalize().to_le_bytes())?;
        file.sync_all()?;
        Ok(bytes)
    }

    fn header() -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..].copy_from_slice(&SOURCES.parse::<u64>().unwrap_or(0).to_le_bytes());
        header
    }
}

/// Where to begin to read a journal that has no checkpoint. None: at its beginning.
pub fn begin_without(dir: &Path) -> Option<Bookmark> {
    let after = Bookmark::before_newest(dir, READ_WITHOUT_CHECKPOINT)?;
    let older = after.segments_before();
    warn!(
        "{older} older segments are kept and not read, to serve soon: `why502 replay` still tells of their time, --at does not"
    );
    Some(after)
}

/// Has checkpoints written, one at a time.
pub struct Saver {
    dir: PathBuf,
    /// The thread that writes one now.
    thread: Option<JoinHandle<io::Result<u64>>>,
}

impl Saver {
    /// For the journal in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), thread: None }
    }

    /// Whether no checkpoint is being written; tells how the one before ended.
    pub fn is_free(&mut self) -> bool {
        let busy = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if !busy {
            self.wait();
        }
        !busy
    }

    /// Begins to write one.
    pub fn begin(&mut self, checkpoint: Checkpoint) {
        let dir = self.dir.clone();
        match thread::Builder::new().name("checkpoint".to_owned()).spawn(move || checkpoint.save(&dir)) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => warn!("checkpoint: {error}"),
        }
    }

    /// Waits for the one that is being written, then writes the last one.
    pub fn end(&mut self, last: Option<Checkpoint>) {
        self.wait();
        if let Some(Err(error)) = last.map(|checkpoint| checkpoint.save(&self.dir)) {
            warn!("checkpoint: {error}");
        }
    }

    fn wait(&mut self) {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => warn!("checkpoint: {error}"),
            Some(Err(_)) => warn!("checkpoint: its thread died"),
            Some(Ok(Ok(bytes))) => debug!("checkpoint written, {bytes} bytes"),
            None => {}
        }
    }
}

/// Passes bytes on and adds up their checksum.
struct Summed<W> {
    out: W,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.sum.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
