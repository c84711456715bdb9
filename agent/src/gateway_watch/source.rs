//! One source of a gateway's lines, files, a socket or systemd's journal: the reader of its lines, what is counted of them, and what is told
//! of the source itself.

use std::time::Instant;

use why502_proto::v1;

use super::failure;
use super::setting::Setting;
use crate::budget;
use crate::clock::Steps;
use crate::config::{Gateway, Journald, LogListen};
use crate::gateway::{self, FormatError, Line, Log, Reader, Served, Zone, syslog_program};
use crate::journald::{self, Entry, Journal, Wanted};
use crate::listen::Inbox;
use crate::mask;
use crate::sampler::{Mark, Status};
use crate::tail::{Group, Positions, Sight};

/// The most of a line that could not be read, bytes.
const MAX_UNPARSED_BYTES: usize = 512;
/// The most that is told of a source that can't be read, bytes.
const MAX_FAULT_BYTES: usize = 512;
/// Bytes taken from a socket's lines in one round.
const ROUND_BYTES: usize = 256 * 1024;

/// What a line tells.
pub enum Told<'a> {
    /// A request that its one attempt served: it is only counted.
    Served(Served<'a>),
    /// Anything.
    Line(Line),
}

impl Told<'_> {
    /// With its time, which was stamped by this host's clock, on the agent's time line.
    pub fn steady(mut self, steps: &Steps, now_us: i64) -> Self {
        let at = match &mut self {
            Self::Served(served) => &mut served.at,
            Self::Line(Line::Record(record)) => &mut record.at,
            Self::Line(Line::Notice(notice)) => &mut notice.at,
            Self::Line(Line::Unparsed(_)) => &mut None,
        };
        if let Some(at) = at {
            at.unix_us = steps.steady(at.unix_us, now_us);
        }
        self
    }
}

enum From {
    Files(Group),
    Socket { name: String, program: Option<String>, inbox: Inbox },
    Journal(Box<Journal>),
}

/// A source that is followed and read.
pub struct Source {
    from: From,
    reader: Box<dyn Reader>,
    /// Why the lines are not read in the format that was set.
    format_fault: Option<String>,
    /// It grew faster than it was read lately.
    slow: bool,
    told: Option<Status>,
    /// What was read since the agent began.
    read: v1::LogSource,
    /// What of this was told.
    told_read: v1::LogSource,
}

impl Source {
    /// Follows files.
    pub fn files(group: Group, reader: Box<dyn Reader>, format_fault: Option<String>) -> Self {
        Self::new(From::Files(group), reader, format_fault)
    }

    /// Takes what comes in at an address; of syslog messages those of one program only, where that is named.
    pub fn socket(
        listen: &LogListen,
        program: Option<String>,
        inbox: Inbox,
        reader: Box<dyn Reader>,
        format_fault: Option<String>,
    ) -> Self {
        Self::new(From::Socket { name: listen.to_string(), program, inbox }, reader, format_fault)
    }

    /// Follows what of systemd's journal is the gateway's.
    pub fn journal(
        setting: &Journald,
        positions: &Positions,
        reader: Box<dyn Reader>,
        format_fault: Option<String>,
    ) -> Self {
        let folders = setting.folder.clone().map_or_else(journald::folders, |folder| vec![folder]);
        let (unit, program) = (setting.unit.as_deref(), setting.program.as_deref());
        let unit_field = unit.map(|unit| format!("_SYSTEMD_UNIT={unit}"));
        let program_field = program.map(|program| format!("SYSLOG_IDENTIFIER={program}"));
        let all = unit_field.into_iter().chain(program_field).collect();
        let name = [unit, program].into_iter().flatten().collect::<Vec<_>>().join(":");
        let wanted = Wanted { all, fields: vec!["MESSAGE"] };
        let journal = Journal::new(format!("journald:{name}"), folders, wanted, positions);
        Self::new(From::Journal(Box::new(journal)), reader, format_fault)
    }

    fn new(from: From, reader: Box<dyn Reader>, format_fault: Option<String>) -> Self {
        let (read, told_read) = (v1::LogSource::default(), v1::LogSource::default());
        Self { from, reader, format_fault, slow: false, told: None, read, told_read }
    }

    /// Lines come by a socket.
    pub fn is_socket(&self) -> bool {
        matches!(self.from, From::Socket { .. })
    }

    /// Lines of every kind come by it.
    pub fn is_mixed(&self) -> bool {
        !matches!(self.from, From::Files(_))
    }

    /// Reads on in another format.
    pub fn set_reader(&mut self, reader: Box<dyn Reader>, format_fault: Option<String>) {
        self.reader = reader;
        self.format_fault = format_fault;
    }

    /// Hands on the lines of at most one buffer. True: there may be more at once.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(Told<'_>, &[u8])) -> bool {
        let Self { from, reader, read, .. } = self;
        let mut take = |text: &[u8]| {
            read.lines += 1;
            match reader.served(text) {
                Some(served) => lines(Told::Served(served), text),
                None => {
                    let line = reader.read(text);
                    count(read, &line, text);
                    lines(Told::Line(line), text);
                }
            }
        };
        match from {
            From::Files(group) => group.poll(now, buffer, &mut |_, text| take(text)),
            From::Socket { program, inbox, .. } => inbox.take(ROUND_BYTES, &mut |text| {
                let wanted = program.as_deref().map(str::as_bytes);
                if wanted.is_none() || syslog_program(text) == wanted {
                    take(text);
                }
            }),
            From::Journal(journal) => journal.poll(now, &mut |entry| take(&framed(&entry))),
        }
    }

    /// Where reading stands. A socket has no places.
    pub fn positions(&self) -> Vec<Mark> {
        match &self.from {
            From::Files(group) => group.positions(),
            From::Socket { .. } => Vec::new(),
            From::Journal(journal) => journal.positions(),
        }
    }

    /// A file is followed whose place was never told.
    pub fn has_unmarked(&self) -> bool {
        matches!(&self.from, From::Files(group) if group.has_unmarked())
    }

    /// Of these places, up to which everything was told, those that are news.
    pub fn mark(&mut self, places: Vec<Mark>) -> Vec<Mark> {
        match &mut self.from {
            From::Files(group) => group.mark(places),
            From::Socket { .. } => Vec::new(),
            From::Journal(journal) => journal.mark(places),
        }
    }

    /// Its state, where that changed; `slow` tells that it grew faster than it was read lately.
    pub fn status(&mut self, slow: bool) -> Option<v1::SamplerStatus> {
        self.slow = slow;
        let status = self.state();
        (self.told.as_ref() != Some(&status)).then(|| {
            let message = status.message(&format!("log:{}", self.name()));
            self.told = Some(status);
            message
        })
    }

    /// What was read of it, where that is news.
    pub fn news(&mut self, gateway: &str) -> Option<Box<v1::LogSource>> {
        let fault = match self.state() {
            Status::Active => String::new(),
            Status::Degraded(why) | Status::Unavailable(why) | Status::Failed(why) => why,
        };
        self.read.fault = mask::line(fault.as_bytes(), MAX_FAULT_BYTES);
        match &self.from {
            From::Files(group) => {
                let counts = group.counts();
                (self.read.cut_lines, self.read.lost_files) = (counts.cut_lines, counts.lost_files);
            }
            From::Socket { inbox, .. } => {
                let counts = inbox.counts();
                (self.read.cut_lines, self.read.lost_lines) = (counts.cut_lines, counts.lost_lines);
                self.read.cut_senders = counts.cut_senders;
            }
            From::Journal(journal) => {
                let counts = journal.counts();
                (self.read.cut_lines, self.read.lost_lines) = (counts.cut_entries, counts.packed_entries);
                self.read.lost_files = counts.lost_files;
            }
        }
        if self.read.source.is_empty() {
            (self.read.gateway, self.read.source) = (gateway.to_owned(), self.name());
        }
        (self.told_read != self.read).then(|| {
            self.told_read = self.read.clone();
            Box::new(self.read.clone())
        })
    }

    fn name(&self) -> String {
        match &self.from {
            From::Files(group) => group.name().display().to_string(),
            From::Socket { name, .. } => name.clone(),
            From::Journal(journal) => journal.name().to_owned(),
        }
    }

    fn state(&self) -> Status {
        let state = match &self.from {
            From::Files(group) => files_state(group),
            From::Socket { inbox, .. } => match inbox.fault() {
                Some(fault) => Status::Failed(format!("can't listen: {fault}")),
                None => Status::Active,
            },
            From::Journal(journal) => journal_state(journal),
        };
        match (&self.format_fault, state) {
            (Some(fault), Status::Active) => Status::Degraded(format!("read as its default format: {fault}")),
            (None, Status::Active) if self.slow => Status::Degraded(budget::SLOW.to_owned()),
            (_, state) => state,
        }
    }
}

fn count(read: &mut v1::LogSource, line: &Line, text: &[u8]) {
    match line {
        Line::Record(record) => read.failures += u64::from(failure::is_failure(record)),
        Line::Notice(_) => {}
        Line::Unparsed(_) => {
            read.unparsed += 1;
            // One line is enough to see what is wrong; a new one now and then shows whether it still is.
            if read.unparsed.is_power_of_two() {
                read.unparsed_sample = mask::line(text, MAX_UNPARSED_BYTES);
            }
        }
    }
}

/// A message behind a header of RFC 5424 that tells when it was written.
fn framed(entry: &Entry) -> Vec<u8> {
    let at = i64::try_from(entry.at_us).ok().and_then(|at_us| jiff::Timestamp::from_microsecond(at_us).ok());
    let at = at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let message = entry.values.iter().flatten().flatten().copied();
    format!("<134>1 {at} - - - - - ").into_bytes().into_iter().chain(message).collect()
}

fn journal_state(journal: &Journal) -> Status {
    let counts = journal.counts();
    match journal.sight() {
        journald::Sight::Unreadable(why) => {
            Status::Failed(format!("{why}: let the agent's user read it, as members of systemd-journal may"))
        }
        journald::Sight::Missing => {
            let folders: Vec<String> = journal.folders().iter().map(|folder| folder.display().to_string()).collect();
            Status::Degraded(format!("no journal file in {} yet; it is waited for", folders.join(" or ")))
        }
        journald::Sight::Following if counts.packed_entries > 0 => Status::Degraded(format!(
            "{} messages are packed in a way that is not read: SYSTEMD_JOURNAL_COMPRESS=zstd for systemd-journald",
            counts.packed_entries
        )),
        journald::Sight::Following if counts.lost_files > 0 => {
            Status::Degraded(format!("{} journal files were gone or damaged before they were read", counts.lost_files))
        }
        journald::Sight::Following => Status::Active,
    }
}

fn files_state(group: &Group) -> Status {
    let files = group.sights().count();
    let unreadable: Vec<&str> = group
        .sights()
        .filter_map(|(_, sight)| match sight {
            Sight::Unreadable(why) => Some(why.as_str()),
            Sight::Following | Sight::Missing => None,
        })
        .collect();
    let is_there = group.sights().any(|(_, sight)| *sight == Sight::Following);
    let lost = group.counts().lost_files;
    match unreadable.first() {
        Some(why) if files == 1 => Status::Failed(format!("{why}: let the agent's user read it")),
        Some(why) => Status::Degraded(format!(
            "{} of {files} files can't be read, one for: {why}: let the agent's user read them",
            unreadable.len()
        )),
        None if !is_there => {
            Status::Degraded("no such file yet; it is waited for: check the path if the gateway runs".to_owned())
        }
        None if group.left_out() > 0 => {
            Status::Degraded(format!("{} files more than can be followed: name fewer", group.left_out()))
        }
        None if lost > 0 => {
            Status::Degraded(format!("{lost} rotated files were gone or compressed before they were read"))
        }
        None => Status::Active,
    }
}

/// The reader of a log: in the format that is set or configured, else as the kind's own formats, and why.
pub fn reader(gateway: &Gateway, setting: &Setting, log: Log, zone: &Zone) -> (Box<dyn Reader>, Option<String>) {
    let format = setting.format(gateway).filter(|_| log != Log::Error);
    match gateway::reader(gateway.kind, log, format, zone) {
        Ok(reader) => (reader, None),
        Err(FormatError(fault)) => match gateway::reader(gateway.kind, log, None, zone) {
            Ok(reader) => (reader, Some(fault)),
            Err(FormatError(fault)) => (Box::new(Unreadable(fault.clone())), Some(fault)),
        },
    }
}

/// Stands for the reader of a kind that has none.
struct Unreadable(String);

impl Reader for Unreadable {
    fn read(&mut self, _line: &[u8]) -> Line {
        Line::Unparsed(self.0.clone())
    }
}
