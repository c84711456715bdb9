//! One open file of a log: whole lines from an offset on, noticing when it was cut back.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use nix::unistd::{Whence, lseek};

use super::position::{FilePosition, Fingerprint};
use super::{Counts, MAX_LINE_BYTES};

/// What a look at the file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing new.
    Idle,
    /// It was read to its end.
    Read,
    /// There is more.
    More,
    /// A file that had been empty was written since: it may have been filled and cut back meanwhile. Told once of what it
    /// begins with.
    Begun,
    /// It is not the file that was read up to the offset: cut back, or written anew.
    Truncated,
}

/// An open file and how far it was read.
#[derive(Debug)]
pub struct Source {
    file: File,
    position: FilePosition,
    /// The rest of an over-long line is being passed over.
    skipping: bool,
    /// The time of change for which `Step::Begun` was told, and how the file began then.
    begun: Option<(u64, Fingerprint)>,
    /// Size and time of change at the last look that came to the end.
    seen: Option<(u64, u64)>,
}

/// Device and inode.
pub type Identity = (u64, u64);

impl Source {
    /// Opens a regular file at its beginning. A pipe or terminal is refused, and never waited for.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let position = FilePosition {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset_bytes: 0,
            start: Fingerprint::default(),
            seen_ns: 0,
        };
        Ok(Self { file, position, skipping: false, begun: None, seen: None })
    }

    /// Goes to the end, without reading what stands before it; an unfinished line there is passed over.
    pub fn seek_to_end(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            self.file.read_exact_at(&mut last, size - 1)?;
        }
        self.skipping = last != [b'\n'];
        self.position.offset_bytes = size;
        self.position.start = Fingerprint::of(&self.file, size)?;
        Ok(())
    }

    /// Goes to a saved position, if this is the file it was saved of: it begins alike and is not shorter.
    pub fn resume(mut self, saved: &FilePosition) -> Option<Self> {
        self.holds(saved).then(|| {
            self.position = FilePosition { device: self.position.device, inode: self.position.inode, ..*saved };
            self
        })
    }

    /// Whether it begins as the file of a position and holds all that was read of that.
    pub fn holds(&self, saved: &FilePosition) -> bool {
        let fits = self.file.metadata().is_ok_and(|metadata| metadata.len() >= saved.offset_bytes);
        fits && saved.start.matches(&self.file)
    }

    /// Takes the file for one that was begun after a time, at which something else of the log was read to its end.
    pub fn begins_after(&mut self, seen_ns: u64) {
        self.position.seen_ns = seen_ns;
    }

    /// Begins again after the file was cut back, after the hole that a writer leaves who keeps its own offset.
    pub fn restart(&mut self) {
        let data = lseek(self.file.as_fd(), 0, Whence::SeekData).ok().and_then(|at| u64::try_from(at).ok());
        self.position.offset_bytes = data.unwrap_or(0);
        self.position.start = Fingerprint::default();
        self.skipping = false;
        self.begun = None;
        self.seen = None;
    }

    /// Whether the file begins so.
    pub fn begins_as(&self, start: &Fingerprint) -> bool {
        start.matches(&self.file)
    }

    /// Device and inode.
    pub fn identity(&self) -> Identity {
        (self.position.device, self.position.inode)
    }

    /// Where reading stands.
    pub fn position(&self) -> FilePosition {
        self.position
    }

    /// When it was last written, unix nanoseconds.
    pub fn modified_ns(&self) -> Option<u64> {
        self.file.metadata().map(|metadata| modified_ns(&metadata)).ok()
    }

    /// Reads one buffer's worth of whole lines.
    pub fn read(&mut self, buffer: &mut [u8], counts: &mut Counts, lines: &mut dyn FnMut(&[u8])) -> io::Result<Step> {
        let metadata = self.file.metadata()?;
        let look = (metadata.len(), modified_ns(&metadata));
        if self.seen == Some(look) {
            return Ok(Step::Idle);
        }
        if look.0 < self.position.offset_bytes {
            return Ok(Step::Truncated);
        }
        // What comes after the look is of the next one: asking for its end would only cost.
        let waiting = usize::try_from(look.0 - self.position.offset_bytes).unwrap_or(usize::MAX);
        let room = waiting.min(buffer.len());
        let filled = self.fill(&mut buffer[..room])?;
        let touched = self.position.offset_bytes == 0 && self.position.seen_ns > 0 && self.position.seen_ns != look.1;
        if touched && !self.begins_as_told(look.1, &buffer[..filled]) {
            return Ok(Step::Begun);
        }
        // After the read, so that what was read is of the file that begins as expected.
        if !self.position.start.matches(&self.file) {
            return Ok(Step::Truncated);
        }
        let used = self.take_lines(&buffer[..filled], counts, lines);
        self.position.offset_bytes += used as u64;
        if self.position.start.can_grow(self.position.offset_bytes) {
            self.position.start = Fingerprint::of(&self.file, self.position.offset_bytes)?;
        }
        if filled == buffer.len() {
            return Ok(Step::More);
        }
        self.seen = Some(look);
        self.position.seen_ns = look.1;
        Ok(if used > 0 { Step::Read } else { Step::Idle })
    }

    /// Whether `Step::Begun` was told of these bytes: then no other part of the log came before them in the meantime.
    fn begins_as_told(&mut self, changed_ns: u64, bytes: &[u8]) -> bool {
        let is_told = self.begun.is_some_and(|(told_ns, start)| match start.len_bytes {
            0 => bytes.is_empty() && told_ns == changed_ns,
            _ => start.begins(bytes),
        });
        if !is_told {
            self.begun = Some((changed_ns, Fingerprint::of_first(bytes)));
        }
        is_told
    }

    /// The line without an end that stands at the end of a file to which nobody will add.
    pub fn take_rest(&mut self, buffer: &mut [u8], lines: &mut dyn FnMut(&[u8])) {
        let filled = self.fill(buffer).unwrap_or(0);
        let rest = trim(&buffer[..filled]);
        if !self.skipping && !rest.is_empty() && !rest.contains(&b'\n') {
            lines(rest);
        }
        self.position.offset_bytes += filled as u64;
    }

    fn fill(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], self.position.offset_bytes + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Hands on the whole lines of a buffer; returns how many bytes are done with.
    fn take_lines(&mut self, bytes: &[u8], counts: &mut Counts, lines: &mut dyn FnMut(&[u8])) -> usize {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = trim(&bytes[begin..end]);
            begin = end + 1;
            if !std::mem::take(&mut self.skipping) && !line.is_empty() {
                counts.cut_lines += u64::from(line.len() > MAX_LINE_BYTES);
                lines(&line[..line.len().min(MAX_LINE_BYTES)]);
            }
        }
        let rest = trim(&bytes[begin..]);
        if self.skipping || rest.is_empty() {
            // The rest of an over-long line, or a hole.
            return bytes.len();
        }
        if rest.len() > MAX_LINE_BYTES {
            counts.cut_lines += 1;
            lines(&rest[..MAX_LINE_BYTES]);
            self.skipping = true;
            return bytes.len();
        }
        begin
    }
}

/// When a file was last written, unix nanoseconds.
pub fn modified_ns(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// Without the NUL bytes of a hole before it and the carriage return after it.
fn trim(line: &[u8]) -> &[u8] {
    let begin = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
    let line = &line[begin..];
    line.strip_suffix(b"\r").unwrap_or(line)
}
