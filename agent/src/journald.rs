//! Follows systemd's journal by its files, for the entries that have some fields: each of them once and in order, through
//! rotation and restarts of the agent.
//!
//! journald adds to `system.journal` and renames it when it is full; what is renamed gets nothing more. So one file is read
//! to its end, then the next one that has later entries. Entries of one sequence are told apart by their numbers, others (of
//! another boot's volatile journal, or after a damaged file) by their times. No program is asked and nothing is mapped.

mod file;
mod header;
mod packed;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

pub use file::{Entry, Wanted};
use file::{JournalFile, Next, Place};
use header::{Header, header_of};

use crate::tail::{FilePosition, Fingerprint, MAX_LINE_BYTES, Mark, Position, Positions};

/// Between two looks at which files there are.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Most entries passed in one round.
const ROUND_ENTRIES: usize = 2_048;
/// Most files of a folder that are looked at.
const MAX_FILES: usize = 1_024;

/// What happened to entries that could not be handed on whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries with a value that was cut at 64 KiB.
    pub cut_entries: u64,
    /// Entries packed in a way that is not read here.
    pub packed_entries: u64,
    /// Files that were gone or damaged before they were read to their ends.
    pub lost_files: u64,
}

/// How the journal is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is followed.
    Following,
    /// There is no file; it is waited for.
    Missing,
    /// It can't be read; why.
    Unreadable(String),
}

/// How far was read, across files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    file_id: [u8; 16],
    sequence_id: [u8; 16],
    place: Place,
}

/// A file that has entries.
struct Found {
    path: PathBuf,
    header: Header,
}

/// Which files there are.
#[derive(Default)]
struct Look {
    files: Vec<Found>,
    /// One has no entries yet.
    pending: bool,
    /// Why one of them, or a folder, can't be read.
    fault: Option<String>,
}

/// A journal that is followed.
#[derive(Debug)]
pub struct Journal {
    name: String,
    folders: Vec<PathBuf>,
    wanted: Wanted,
    resume: Option<FilePosition>,
    begun: bool,
    open: Option<JournalFile>,
    reached: Option<Reached>,
    looked: Option<Instant>,
    /// When the folders had changed before a look that found all files read.
    settled: Option<Vec<SystemTime>>,
    marked: Option<FilePosition>,
    counts: Counts,
    sight: Sight,
}

impl Journal {
    /// What is wanted of the journal in these folders, from where it was left, else from the end. The name is what positions
    /// are kept under.
    pub fn new(name: String, folders: Vec<PathBuf>, wanted: Wanted, positions: &Positions) -> Self {
        Self {
            resume: positions.get(Path::new(&name)).and_then(|position| position.files.first().copied()),
            name,
            folders,
            wanted,
            begun: false,
            open: None,
            reached: None,
            looked: None,
            settled: None,
            marked: None,
            counts: Counts::default(),
            sight: Sight::Missing,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is seen since the last poll.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Where its files are looked for.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Troubles since the beginning.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Hands on some entries. True: there may be more at once.
    pub fn poll(&mut self, now: Instant, entries: &mut dyn FnMut(Entry)) -> bool {
        if !self.begun {
            return self.is_due(now) && self.begin();
        }
        let Some(open) = &mut self.open else { return self.look(now) };
        for _ in 0..ROUND_ENTRIES {
            match open.next(&self.wanted) {
                Ok(Next::End) => return self.look(now),
                Ok(Next::Other) => {}
                Ok(Next::Packed(_)) => self.counts.packed_entries += 1,
                Ok(Next::Entry(mut entry)) => {
                    let mut cut = false;
                    for value in entry.values.iter_mut().flatten() {
                        cut |= value.len() > MAX_LINE_BYTES;
                        value.truncate(MAX_LINE_BYTES);
                    }
                    self.counts.cut_entries += u64::from(cut);
                    entries(entry);
                }
                Err(error) => {
                    self.leave_damaged(&error);
                    return false;
                }
            }
        }
        true
    }

    /// Where reading stands.
    pub fn positions(&self) -> Vec<Mark> {
        let Some(open) = self.open.as_ref().filter(|open| open.last().offset > 0) else { return Vec::new() };
        let (device, inode) = open.identity();
        let file = FilePosition {
            device,
            inode,
            offset_bytes: open.last().offset,
            start: Fingerprint::of_bytes(&open.header().file_id),
            seen_ns: open.last().at_us.saturating_mul(1_000),
        };
        vec![Mark { log: PathBuf::from(&self.name), position: Position { files: vec![file] } }]
    }

    /// Of these places those that are news.
    pub fn mark(&mut self, mut places: Vec<Mark>) -> Vec<Mark> {
        places.retain(|mark| mark.position.files.first() != self.marked.as_ref());
        self.marked = places.last().map_or(self.marked, |mark| mark.position.files.first().copied());
        places
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL);
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// Takes the journal up where it was left, else at its end. False: there is none yet, or it can't be read.
    fn begin(&mut self) -> bool {
        let Look { mut files, fault, .. } = self.files();
        if files.is_empty() {
            // Files that come later are read from their beginnings, once it is known that there were none before.
            self.begun = fault.is_none();
            self.sight = fault.map_or(Sight::Missing, Sight::Unreadable);
            return false;
        }
        self.begun = true;
        let taken = match self.resume {
            Some(saved) => self.resume(&saved, &files),
            None => {
                files.sort_by_key(|file| (!file.header.archived, file.header.last_us));
                files.last().map_or(Ok(()), |last| self.follow(&last.path, |file| file.skip_to(u64::MAX)))
            }
        };
        if let Err(error) = taken {
            self.sight = Sight::Unreadable(error.to_string());
        }
        true
    }

    fn resume(&mut self, saved: &FilePosition, files: &[Found]) -> io::Result<()> {
        let is_it = |file: &&Found| Fingerprint::of_bytes(&file.header.file_id) == saved.start;
        if let Some(file) = files.iter().find(is_it) {
            return self.follow(&file.path, |file| file.skip_to(saved.offset_bytes));
        }
        self.counts.lost_files += 1;
        let place = Place { at_us: saved.seen_ns / 1_000, ..Place::default() };
        self.reached = Some(Reached { file_id: [0; 16], sequence_id: [0; 16], place });
        Ok(())
    }

    /// Opens a file and goes to where it is to be read from.
    fn follow(&mut self, path: &Path, skip: impl FnOnce(&mut JournalFile) -> io::Result<()>) -> io::Result<()> {
        let mut file = JournalFile::open(path)?;
        skip(&mut file)?;
        self.open = Some(file);
        self.sight = Sight::Following;
        Ok(())
    }

    /// What was read last, in whatever file.
    fn reached(&self) -> Option<Reached> {
        let of = |open: &JournalFile| {
            let (file_id, sequence_id) = (open.header().file_id, open.header().sequence_id);
            Reached { file_id, sequence_id, place: open.last() }
        };
        self.open.as_ref().map(of).or(self.reached)
    }

    /// The open file was read to its end, or there is none: takes up the next one that has later entries. True: there is one.
    fn look(&mut self, now: Instant) -> bool {
        if !self.is_due(now) {
            return false;
        }
        let changed = self.changed();
        if self.settled.is_some() && self.settled == changed {
            return false;
        }
        let Look { files, pending, fault } = self.files();
        let settled = !pending && fault.is_none();
        if let Some(fault) = fault.filter(|_| self.open.is_none()) {
            self.sight = Sight::Unreadable(fault);
        }
        let reached = self.reached();
        let later = files.into_iter().filter(|file| reached.is_none_or(|reached| reached.is_before(&file.header)));
        let Some(next) = later.min_by_key(|file| file.header.first_us) else {
            self.settled = changed.filter(|_| settled);
            return false;
        };
        self.looked = None;
        // Entries may have come to the open file between its end and its renaming.
        if self.open.as_mut().is_some_and(|open| matches!(open.has_more(), Ok(true))) {
            return true;
        }
        let other = reached.filter(|reached| reached.sequence_id != next.header.sequence_id);
        let skip = |file: &mut JournalFile| other.map_or(Ok(()), |reached| file.skip_until(reached.place.at_us));
        if let Err(error) = self.follow(&next.path, skip) {
            self.sight = Sight::Unreadable(format!("{}: {error}", next.path.display()));
            return false;
        }
        true
    }

    /// A file that can't be read on is left for the next one.
    fn leave_damaged(&mut self, error: &io::Error) {
        self.reached = self.reached();
        self.open = None;
        self.counts.lost_files += 1;
        self.settled = None;
        self.sight = Sight::Unreadable(error.to_string());
    }

    /// When the folders changed. None: lately, so that the next change may show no other time.
    fn changed(&self) -> Option<Vec<SystemTime>> {
        let changes =
            self.folders.iter().filter_map(|folder| fs::metadata(folder).and_then(|data| data.modified()).ok());
        let changes: Vec<SystemTime> = changes.collect();
        let is_old = |at: &SystemTime| at.elapsed().is_ok_and(|age| age > LOOK_INTERVAL);
        changes.iter().all(is_old).then_some(changes)
    }

    fn files(&self) -> Look {
        let mut look = Look::default();
        for path in
            self.folders.iter().flat_map(|folder| paths(folder, &mut look.fault)).take(MAX_FILES).collect::<Vec<_>>()
        {
            match header_of(&path) {
                Ok(header) if header.entries > 0 => look.files.push(Found { path, header }),
                Ok(_) => look.pending = true,
                // It was renamed or removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => look.fault = Some(format!("{}: {error}", path.display())),
            }
        }
        look
    }
}

impl Reached {
    /// Whether a file has entries that come after this.
    fn is_before(&self, header: &Header) -> bool {
        if header.file_id == self.file_id {
            return false;
        }
        if header.sequence_id == self.sequence_id {
            return header.first_number > self.place.number;
        }
        // An archive of another sequence may be of a time when the clock was wrong.
        !header.archived && header.last_us > self.place.at_us
    }
}

/// Where this machine's journal stands, kept and volatile.
pub fn folders() -> Vec<PathBuf> {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    ["/var/log/journal", "/run/log/journal"].iter().map(|folder| Path::new(folder).join(id.trim())).collect()
}

/// The journal's files in a folder. Those of people who log in hold nothing of the system's units.
fn paths(folder: &Path, fault: &mut Option<String>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                *fault = Some(format!("{}: {error}", folder.display()));
            }
            return Vec::new();
        }
    };
    let is_journal = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        (name.ends_with(".journal") || name.ends_with(".journal~")) && !name.starts_with("user-")
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_journal).collect()
}

#[cfg(test)]
pub(crate) mod tests;
