//! The lines that agents sent of a target: what applications logged of trouble, what gateways logged of failures and of
//! their upstreams, what the kernel said. Agents send no others, and of like lines one with a count; of these the newest are
//! told, so many for each source and hour.

use std::collections::{BTreeMap, VecDeque};

use regex::{Regex, RegexBuilder};

use super::chronicle::{Chronicle, Stretch, moment};
use super::document::{LogLineDoc, LogsDoc, stamp};
use super::question::BadQuestion;
use super::scope::Scope;
use super::{Answer, View};
use crate::model::{Event, EventKind, Failure, GatewayNotice, HostState, KernelNote, LogMatch, Record, RecordKind};

/// Lines told of one source in one hour.
const PER_HOUR: usize = 200;
/// Lines told in all.
const LINES_MAX: usize = 2_000;
/// How far back it goes if not told and no incident is named, microseconds.
const SINCE_US: i64 = HOUR_US;
/// An hour, microseconds.
const HOUR_US: i64 = 3_600_000_000;
/// Records that came so long after may tell of the stretch.
const LATE_US: i64 = 2 * 60 * 1_000_000;
/// Longest pattern, characters.
pub const PATTERN_CHARS: usize = 1_000;
/// Most memory of a pattern, bytes. A line takes time by its length and by this at the most, whatever the pattern.
const PATTERN_BYTES: usize = 1 << 20;

/// How bad a line is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Something began.
    #[default]
    Info,
    /// A gateway or the kernel remarked something.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    /// All of them, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The level of a name.
    pub fn parse(name: &str) -> Result<Self, BadQuestion> {
        let named = Self::ALL.into_iter().find(|level| level.id() == name);
        named.ok_or_else(|| BadQuestion(format!("level {name:?} is not error, warn or info")))
    }

    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Which lines.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LineFilter {
    /// How far back, microseconds. None: an hour; of an incident from before it began.
    pub since_us: Option<i64>,
    /// Only lines in which this is found.
    pub grep: Option<Pattern>,
    /// Only lines at least so bad.
    pub level: Level,
}

/// A regular expression from outside, bounded in what it may cost.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// The pattern of a text.
    pub fn parse(text: &str) -> Result<Self, BadQuestion> {
        if text.chars().count() > PATTERN_CHARS {
            return Err(BadQuestion(format!("the pattern is longer than {PATTERN_CHARS} characters")));
        }
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(most) => {
                BadQuestion(format!("the pattern {text:?} needs too much memory: {most} bytes are allowed"))
            }
            // Its own words draw the pattern over several lines; the last tells what is wrong.
            other => {
                let said = other.to_string();
                let said = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
                BadQuestion(format!("the pattern {text:?} is no regular expression: {said}"))
            }
        })
    }

    fn is_in(&self, line: &LogLineDoc) -> bool {
        self.0.is_match(&line.line) || self.0.is_match(&line.reason)
    }
}

/// A source of lines in one hour: the hour since 1970, the host, what kind of source, and which.
type Source = (i64, String, &'static str, String);

/// Lines that are being gathered.
pub struct Logs {
    target: String,
    scope: Scope,
    from_us: i64,
    to_us: i64,
    grep: Option<Pattern>,
    level: Level,
    /// Oldest hours first, and in each the oldest lines.
    kept: BTreeMap<Source, VecDeque<(i64, LogLineDoc)>>,
    count: usize,
    left_out: u64,
    kept_since: Option<String>,
    unreadable: Vec<String>,
}

impl Logs {
    /// No lines yet of `target` up to `at`.
    pub fn new(
        view: &View,
        kept_since_us: Option<i64>,
        target: &str,
        at: Option<&str>,
        filter: &LineFilter,
    ) -> Result<Self, BadQuestion> {
        let scope = Scope::of(view, target);
        let (from_us, to_us) = scope.stretch(view, moment(view, at)?, filter.since_us, SINCE_US);
        Ok(Self {
            target: target.to_owned(),
            scope,
            from_us,
            to_us,
            grep: filter.grep.clone(),
            level: filter.level,
            kept: BTreeMap::new(),
            count: 0,
            left_out: 0,
            kept_since: kept_since_us.map(stamp),
            unreadable: Vec::new(),
        })
    }

    fn event(&mut self, host: &str, event: &Event) {
        let (source, level, line) = match &event.kind {
            EventKind::LogMatch(found) if self.scope.has_instance(&found.service, host) => of_application(found),
            EventKind::Failure(failure) if self.is_concerned(host, failure) => of_failure(failure),
            EventKind::Notice(notice) if self.scope.has_way(host, &notice.gateway, &notice.upstream) => {
                of_notice(notice)
            }
            EventKind::KernelNote(note) if note.service.is_empty() || self.scope.has_instance(&note.service, host) => {
                of_kernel(note)
            }
            _ => return,
        };
        let found = self.grep.as_ref().is_none_or(|grep| grep.is_in(&line));
        let in_time = (self.from_us..=self.to_us).contains(&event.at_us);
        if found && in_time && level >= self.level && !line.line.is_empty() {
            let (at, host, level) = (stamp(event.at_us), host.to_owned(), level.id().to_owned());
            let line = LogLineDoc { at, host, source: source.to_owned(), level, ..line };
            self.keep(source, event.at_us, line);
        }
    }

    fn is_concerned(&self, host: &str, failure: &Failure) -> bool {
        let mut tried = failure.attempts.iter().map(|attempt| attempt.upstream.as_str());
        match failure.attempts.is_empty() {
            true => self.scope.has_way(host, &failure.gateway, ""),
            false => tried.any(|upstream| self.scope.has_way(host, &failure.gateway, upstream)),
        }
    }

    fn keep(&mut self, source: &'static str, at_us: i64, line: LogLineDoc) {
        let hour = at_us.div_euclid(HOUR_US);
        let lines = self.kept.entry((hour, line.host.clone(), source, line.of.clone())).or_default();
        let place = lines.partition_point(|(earlier_us, _)| *earlier_us <= at_us);
        lines.insert(place, (at_us, line));
        self.count += 1;
        if lines.len() > PER_HOUR {
            lines.pop_front();
            self.count -= 1;
            self.left_out += 1;
        }
        if self.count > LINES_MAX {
            self.forget_one();
        }
    }

    /// Leaves out a line of the oldest hour.
    fn forget_one(&mut self) {
        let Some(mut oldest) = self.kept.first_entry() else { return };
        if oldest.get_mut().pop_front().is_some() {
            self.count -= 1;
            self.left_out += 1;
        }
        if oldest.get().is_empty() {
            oldest.remove();
        }
    }
}

/// Where a line came from, how bad it is, and what it tells.
type Line = (&'static str, Level, LogLineDoc);

fn of_application(found: &LogMatch) -> Line {
    let level = if found.kind == "starting" { Level::Info } else { Level::Error };
    let line = LogLineDoc {
        of: found.service.clone(),
        file: found.file.clone(),
        kind: found.kind.clone(),
        line: found.line.clone(),
        repeats: found.repeats,
        ..LogLineDoc::default()
    };
    ("app", level, line)
}

fn of_failure(failure: &Failure) -> Line {
    let upstream = failure.attempts.last().map(|attempt| attempt.upstream.clone());
    // Where only the error log told of it, its words are the line.
    let (line, reason) = match failure.line.is_empty() {
        true => (failure.reason.clone(), String::new()),
        false => (failure.line.clone(), failure.reason.clone()),
    };
    let line = LogLineDoc {
        of: failure.gateway.clone(),
        upstream: upstream.unwrap_or_default(),
        kind: failure.signal.id().to_owned(),
        line,
        reason,
        repeats: failure.repeats,
        ..LogLineDoc::default()
    };
    ("gateway", Level::Error, line)
}

fn of_notice(notice: &GatewayNotice) -> Line {
    let line = LogLineDoc {
        of: notice.gateway.clone(),
        upstream: notice.upstream.clone(),
        kind: notice.signal.id().to_owned(),
        line: notice.says.clone(),
        ..LogLineDoc::default()
    };
    ("gateway", Level::Warn, line)
}

fn of_kernel(note: &KernelNote) -> Line {
    let (of, kind, line) = (note.service.clone(), note.kind.clone(), note.line.clone());
    ("kernel", Level::Warn, LogLineDoc { of, kind, line, ..LogLineDoc::default() })
}

impl Chronicle for Logs {
    fn stretch(&self) -> Stretch {
        let to_us = self.to_us.saturating_add(LATE_US);
        Stretch { hosts: self.scope.hosts.clone(), from_us: self.from_us, to_us }
    }

    fn take(&mut self, record: &Record, host: &HostState) {
        let RecordKind::Report(report) = &record.kind else { return };
        report.events.iter().for_each(|event| self.event(&host.name, event));
    }

    fn take_shared(&mut self, _: &Record) {}

    fn unreadable(&mut self, why: String) {
        self.unreadable.push(why);
    }

    fn answer(self: Box<Self>) -> Answer {
        let mut lines: Vec<(i64, LogLineDoc)> = self.kept.into_values().flatten().collect();
        lines.sort_by_key(|(at_us, _)| std::cmp::Reverse(*at_us));
        let lines: Vec<LogLineDoc> = lines.into_iter().map(|(_, line)| line).collect();
        let document = LogsDoc {
            target: self.target,
            near: self.scope.near,
            from: stamp(self.from_us),
            to: stamp(self.to_us),
            kept_since: self.kept_since,
            not_sent: lines.iter().map(|line| u64::from(line.repeats)).sum(),
            lines,
            per_hour: PER_HOUR as u64,
            in_all: LINES_MAX as u64,
            left_out: self.left_out,
            sources_left_out: self.scope.left_out as u64,
            unreadable: self.unreadable,
        };
        let found = !document.lines.is_empty();
        Answer::new(&document, found)
    }
}
