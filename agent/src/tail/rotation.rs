//! What stands where after a log was rotated: which file goes on where another one ended.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use super::siblings::siblings;
use super::source::{Identity, Source};
use super::{LINGER, MIN_COPY_FINGERPRINT_BYTES, Sight, Tail};

impl Tail {
    /// The current file was read to its end: whether another one stands at the path by now.
    pub(super) fn look_for_successor(&mut self, now: Instant) -> bool {
        let Some(current) = &self.current else { return false };
        let at_path = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.sight = Sight::Missing;
                return false;
            }
            Err(error) => {
                self.sight = Sight::Unreadable(error.to_string());
                return false;
            }
        };
        if identity(&at_path) == current.identity() {
            self.sight = Sight::Following;
            return false;
        }
        let base = current.modified_ns();
        let between = base.and_then(|base| self.first_after(base, &at_path));
        let opened = Source::open(&self.path).ok();
        if between.is_none() && opened.as_ref().is_some_and(|source| source.identity() != identity(&at_path)) {
            // It was rotated once more since the look at it: what stood there then is beside it now, and comes first.
            return true;
        }
        let Some(done) = self.current.take() else { return false };
        // It is read once more before the next one, since lines may have come between its end and its renaming.
        match (between, opened) {
            (Some(source), _) => {
                self.linger(done, now);
                self.current = Some(source);
                true
            }
            (None, Some(source)) => self.succeed(done, source, now),
            (None, None) => {
                self.linger(done, now + LINGER);
                self.open_path()
            }
        }
    }

    /// Goes on with what stands at the path after a file was read to its end.
    fn succeed(&mut self, done: Source, mut at_path: Source, now: Instant) -> bool {
        let read = done.position();
        let was_there = self.at_path == Some(at_path.identity());
        if was_there && read.start.len_bytes >= MIN_COPY_FINGERPRINT_BYTES && at_path.holds(&read) {
            // It was copied and is not cut back yet: what was read in the copy is not read again, nor what is still copied.
            let Some(source) = at_path.resume(&read) else {
                self.current = Some(done);
                return true;
            };
            self.forget(read);
            return self.take_up(source);
        }
        if let Some(base_ns) = done.modified_ns() {
            // Copied away and cut back it would look the same: before it is read it is asked for what came between.
            at_path.begins_after(base_ns);
        }
        self.linger(done, now + LINGER);
        self.take_up(at_path)
    }

    /// The current file is not what was read: reads on in the copy of what it held, where there is one.
    pub(super) fn truncated(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        let held = current.position();
        let other = self.copy_of(&held).or_else(|| self.first_after(held.seen_ns, &fs::metadata(&self.path).ok()?));
        self.current = other.or_else(|| {
            self.counts.truncations += 1;
            current.restart();
            Some(current)
        });
    }

    /// The current file had been empty and was written since: whether it was filled and copied away meanwhile.
    pub(super) fn begun(&mut self) {
        let Some(current) = self.current.take() else { return };
        let seen_ns = current.position().seen_ns;
        let missed = fs::metadata(&self.path).ok().filter(|at_path| identity(at_path) == current.identity());
        let missed = missed.and_then(|at_path| self.first_after(seen_ns, &at_path));
        self.current = Some(missed.unwrap_or(current));
    }

    /// The oldest file beside the log that was written after `base` and not read yet.
    fn first_after(&mut self, base_ns: u64, at_path: &Metadata) -> Option<Source> {
        let mut found = None;
        for sibling in siblings(&self.path) {
            // What is empty has nothing to read, or is being copied just now.
            let is_nothing = sibling.is_empty || sibling.modified_ns < base_ns;
            if is_nothing || sibling.identity == identity(at_path) || self.is_known(&sibling) {
                continue;
            }
            if sibling.compressed {
                // It is met again at the next look.
                let is_news = sibling.modified_ns > base_ns.max(self.lost_ns);
                self.counts.lost_files += u64::from(is_news);
                self.lost_ns = self.lost_ns.max(if is_news { sibling.modified_ns } else { 0 });
                continue;
            }
            let opened = Source::open(&sibling.path).ok().filter(|source| source.identity() == sibling.identity);
            if opened.is_some() {
                found = opened;
                break;
            }
        }
        found
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
