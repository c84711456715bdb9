//! The logs that one setting names: a path, or a pattern whose files may come and go.
//!
//! Files that stand there at the first look are read on where they were left, else from their ends; those that come later
//! from their beginnings, unless they are parts of a log that is followed already, under another name. What was packed or
//! rotated away of a log of the group is that log's own matter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::siblings::is_rotated;
use super::source::{Identity, Source};
use super::{Counts, Mark, Position, Positions, Sight, Tail};
use crate::glob;

/// Most files of one pattern.
const MAX_FILES: usize = 256;
/// Between two looks at which files a pattern names.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A file of a pattern that did not grow for so long is looked at each `QUIET_INTERVAL` only.
const QUIET: Duration = Duration::from_secs(10);
/// See `QUIET`.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);
/// A file of a pattern that is gone for so long is forgotten.
const GONE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Member {
    tail: Tail,
    marked: Position,
    /// When it last grew or was gone from.
    stirred: Instant,
    looked: Option<Instant>,
}

/// Logs that are followed together.
#[derive(Debug)]
pub struct Group {
    name: PathBuf,
    is_pattern: bool,
    members: Vec<Member>,
    looked: Option<Instant>,
    /// Files that turned out to be parts of others.
    parts: BTreeMap<PathBuf, Identity>,
    /// Logs to be forgotten.
    forgotten: Vec<PathBuf>,
    /// Files beyond the most that may be followed.
    left_out: usize,
    /// Troubles of members that are gone.
    past: Counts,
}

impl Group {
    /// A path or pattern, to be read on from where its files were left.
    pub fn new(name: PathBuf, positions: &Positions, now: Instant) -> Self {
        let is_pattern = glob::is_pattern(&name);
        let logs = if is_pattern {
            positions.logs().filter(|log| glob::names(&name, log)).map(Path::to_owned).collect()
        } else {
            vec![name.clone()]
        };
        let resumed = |log: PathBuf| {
            let resume = positions.get(&log);
            Member::new(resume.clone().unwrap_or_default(), Tail::new(log, resume), now)
        };
        Self {
            is_pattern,
            members: logs.into_iter().map(resumed).collect(),
            looked: None,
            parts: BTreeMap::new(),
            forgotten: Vec::new(),
            left_out: 0,
            past: Counts::default(),
            name,
        }
    }

    /// The path or pattern.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Hands on the lines of at most one buffer of each file, with the file's path. True: there may be more at once.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(&Path, &[u8])) -> bool {
        if self.is_pattern && self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL) {
            self.look(now);
        }
        let mut more = false;
        for member in &mut self.members {
            if !self.is_pattern || member.is_due(now) {
                more |= member.poll(now, buffer, lines);
            }
        }
        more
    }

    /// How each file is seen, with its path. Nothing: a pattern that names no file.
    pub fn sights(&self) -> impl Iterator<Item = (&Path, &Sight)> {
        self.members.iter().map(|member| (member.tail.path(), member.tail.sight()))
    }

    /// Troubles since the beginning.
    pub fn counts(&self) -> Counts {
        self.members.iter().fold(self.past, |sum, member| sum + member.tail.counts())
    }

    /// Files that are not followed because there are too many.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Where reading of each file stands.
    pub fn positions(&self) -> Vec<Mark> {
        let of = |member: &Member| Mark { log: member.tail.path().to_owned(), position: member.tail.position() };
        self.members.iter().map(of).collect()
    }

    /// A file is followed whose place was never told, so that a restart would not know where to go on.
    pub fn has_unmarked(&self) -> bool {
        let is_unmarked = |member: &Member| member.marked.files.is_empty() && !member.tail.position().files.is_empty();
        self.members.iter().any(is_unmarked)
    }

    /// Of these places those that are news, and the logs that are gone.
    pub fn mark(&mut self, places: Vec<Mark>) -> Vec<Mark> {
        let mut marks: Vec<Mark> =
            self.forgotten.drain(..).map(|log| Mark { log, position: Position::default() }).collect();
        for place in places {
            let Some(member) = self.members.iter_mut().find(|member| member.tail.path() == place.log) else { continue };
            if !place.position.files.is_empty() && !member.marked.is_same_place(&place.position) {
                member.marked = place.position.clone();
                marks.push(place);
            }
        }
        marks
    }

    fn look(&mut self, now: Instant) {
        let first = self.looked.replace(now).is_none();
        self.forget_gone(now);
        let found = glob::paths(&self.name);
        self.parts.retain(|path, _| found.contains(path));
        let mut new: Vec<PathBuf> = found.iter().filter(|path| !is_rotated(path, &found)).cloned().collect();
        new.retain(|path| self.members.iter().all(|member| member.tail.path() != path));
        // Where there are too many the newest count.
        new.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).and_then(|data| data.modified()).ok()));
        self.left_out = 0;
        for path in new {
            if !first && self.is_part(&path) {
                continue;
            }
            if self.members.len() >= MAX_FILES {
                self.left_out += 1;
                continue;
            }
            let tail = if first { Tail::new(path, None) } else { Tail::from_start(path) };
            self.members.push(Member::new(Position::default(), tail, now));
        }
    }

    /// Whether a file is what one of the logs held or holds.
    fn is_part(&mut self, path: &Path) -> bool {
        let Ok(source) = Source::open(path) else { return false };
        if self.parts.get(path) == Some(&source.identity()) {
            return true;
        }
        let is_part = self.members.iter().any(|member| member.tail.has_held(&source));
        if is_part {
            self.parts.insert(path.to_owned(), source.identity());
        }
        is_part
    }

    fn forget_gone(&mut self, now: Instant) {
        let Self { members, forgotten, past, .. } = self;
        members.retain(|member| {
            let keep = !member.tail.is_gone() || now.duration_since(member.stirred) < GONE;
            if !keep {
                *past = *past + member.tail.counts();
                forgotten.push(member.tail.path().to_owned());
            }
            keep
        });
    }
}

impl Member {
    fn new(marked: Position, tail: Tail, now: Instant) -> Self {
        Self { tail, marked, stirred: now, looked: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.stirred) < QUIET
            || self.looked.is_none_or(|looked| now.duration_since(looked) >= QUIET_INTERVAL)
    }

    fn poll(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(&Path, &[u8])) -> bool {
        let path = self.tail.path().to_owned();
        let was_there = !self.tail.is_gone();
        let mut grew = false;
        let more = self.tail.poll(now, buffer, &mut |line| {
            grew = true;
            lines(&path, line);
        });
        if more || grew || was_there && self.tail.is_gone() {
            self.stirred = now;
        }
        self.looked = Some(now);
        more
    }
}
