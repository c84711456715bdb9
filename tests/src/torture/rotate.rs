//! Logs rotated while they are read: renamed, copied and cut back, removed, and links that are swapped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use why502_agent::tail::{BUFFER_BYTES, Group, Positions};

use super::{Outcome, Size, folder};
use crate::dice::Dice;

/// A burst of lines comes each so often: together 10,000 a second.
const BURST: Duration = Duration::from_millis(5);
/// See `BURST`.
const BURST_LINES: u64 = 50;
/// Between two rotations.
const PERIOD: Duration = Duration::from_millis(100);
/// Rotated files that are kept.
const KEPT: u64 = 64;
/// How long the last lines may take to be read.
const LIMIT: Duration = Duration::from_secs(20);

/// A way to rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Renamed, and a new file.
    Rename,
    /// Copied, and cut back to nothing.
    Copy,
    /// Removed, and a new file.
    Remove,
    /// A link that leads to another file from now on.
    Link,
}

impl Way {
    /// What was not read by the next rotation is still there.
    fn keeps(self) -> bool {
        matches!(self, Self::Rename | Self::Copy)
    }
}

/// Writes numbered lines into a log and rotates it.
struct Writer {
    dir: PathBuf,
    way: Way,
    file: File,
    rotations: u64,
    lines: u64,
}

impl Writer {
    fn new(dir: &Path, way: Way) -> io::Result<Self> {
        let dir = dir.to_owned();
        if way == Way::Link {
            symlink("part-0.log", dir.join("access.log"))?;
        }
        let file = append(&dir.join("access.log"))?;
        Ok(Self { dir, way, file, rotations: 0, lines: 0 })
    }

    fn burst(&mut self) -> io::Result<()> {
        let text: String = (self.lines..self.lines + BURST_LINES).map(|number| format!("{number} a line\n")).collect();
        self.lines += BURST_LINES;
        self.file.write_all(text.as_bytes())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.rotations += 1;
        let (log, number) = (self.dir.join("access.log"), self.rotations);
        let part = |number: u64| match self.way {
            Way::Link => self.dir.join(format!("part-{number}.log")),
            _ => self.dir.join(format!("access.log.{number}")),
        };
        match self.way {
            Way::Rename => fs::rename(&log, part(number))?,
            Way::Copy => {
                fs::copy(&log, part(number))?;
                self.file.set_len(0)?;
            }
            Way::Remove => fs::remove_file(&log)?,
            Way::Link => {
                File::create(part(number))?;
                symlink(part(number), self.dir.join("next"))?;
                fs::rename(self.dir.join("next"), &log)?;
            }
        }
        self.file = append(&log)?;
        if number > KEPT && self.way != Way::Remove {
            fs::remove_file(part(number - KEPT))?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What the reader makes of the lines: each is to be the next one.
#[derive(Default)]
struct Read {
    next: u64,
    wrong: Option<String>,
}

impl Read {
    fn line(&mut self, line: &[u8]) {
        let number: Option<u64> =
            String::from_utf8_lossy(line).split(' ').next().and_then(|number| number.parse().ok());
        match number {
            Some(number) if number == self.next => self.next += 1,
            _ if self.wrong.is_some() => {}
            _ => self.wrong = Some(format!("\"{}\" where {} was due", String::from_utf8_lossy(line), self.next)),
        }
    }
}

/// Rotates in every way.
pub fn run(size: Size) -> Outcome {
    let rotations = size.pick(12, 1_000);
    let mut figures = Vec::new();
    for way in [Way::Rename, Way::Copy, Way::Remove, Way::Link] {
        let (lines, pauses) = rotated(way, rotations).map_err(|why| format!("{way:?}: {why}"))?;
        figures.push(format!("{way:?} {lines} lines, {pauses} pauses"));
    }
    Ok(format!("{rotations} rotations each: {}; 0 lost, 0 twice", figures.join("; ")))
}

/// One way: a thread writes, this one reads. Gives the lines, and how often the reader paused over several rotations.
fn rotated(way: Way, rotations: u64) -> Result<(u64, u64), String> {
    let told = |error: io::Error| error.to_string();
    let dir = folder()?;
    let mut writer = Writer::new(dir.path(), way).map_err(told)?;
    let (positions, _) = Positions::load(&dir.path().join("state"));
    let mut group = Group::new(dir.path().join("access.log"), &positions, Instant::now());
    let (mut read, mut buffer) = (Read::default(), vec![0; BUFFER_BYTES]);
    let mut poll = |read: &mut Read| while group.poll(Instant::now(), &mut buffer, &mut |_, line| read.line(line)) {};
    // A log seen first is read from its end: it is empty now.
    poll(&mut read);
    let (seen, written, ended) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (seen_by, count, end) = (seen.clone(), written.clone(), ended.clone());
    let thread = thread::spawn(move || {
        let done = write(&mut writer, way, rotations, &seen_by);
        count.store(writer.lines, SeqCst);
        end.store(true, SeqCst);
        done
    });
    let (mut dice, mut pauses, mut last) = (Dice::new(11), 0, None);
    while read.wrong.is_none() {
        poll(&mut read);
        seen.store(read.next, SeqCst);
        if ended.load(SeqCst) {
            let until = *last.get_or_insert_with(|| Instant::now() + LIMIT);
            if read.next == written.load(SeqCst) || Instant::now() > until {
                break;
            }
        }
        let long = way.keeps() && dice.below(30) == 0;
        pauses += u64::from(long);
        thread::sleep(if long { PERIOD * 5 } else { Duration::from_millis(20) });
    }
    // What was wrong with the reading comes first: a writer may have waited for it.
    seen.store(u64::MAX, SeqCst);
    let done = thread.join().map_err(|_| "the writer failed".to_owned())?;
    match read.wrong {
        Some(wrong) => return Err(wrong),
        None => done.map_err(told)?,
    }
    match written.load(SeqCst) {
        lines if lines == read.next => Ok((lines, pauses)),
        lines => Err(format!("{} of {lines} lines were read", read.next)),
    }
}

fn write(writer: &mut Writer, way: Way, rotations: u64, seen: &AtomicU64) -> io::Result<()> {
    let mut rotated = Instant::now();
    let mut due = Instant::now();
    let mut lines_at_rotation = 0;
    while writer.rotations < rotations {
        writer.burst()?;
        // What a removed file held before it was ever opened is gone for good: one rotation at a time.
        let is_read = way.keeps() || seen.load(SeqCst) > lines_at_rotation;
        if rotated.elapsed() >= PERIOD && is_read {
            lines_at_rotation = writer.lines;
            writer.rotate()?;
            rotated = Instant::now();
        }
        due += BURST;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    writer.burst()
}
