//! Failures of one case, counted exactly and kept in full up to a bound.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Moment;
use super::course::Course;
use crate::model::{Attempt, Failure, Origin, Signal};

/// The first failures of a stretch that are kept in full.
const FIRST_MAX: usize = 16;
/// The newest failures that are kept in full besides.
const LAST_MAX: usize = 48;

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// When it failed, unix microseconds.
    pub at_us: i64,
    /// When the attempt began, as far as the record tells.
    pub began_us: i64,
    /// When the collector learned of it.
    pub received_us: i64,
    /// What became of it.
    pub signal: Signal,
    /// Status that the client got. 0: not told.
    pub status: u32,
    /// Time to connect, where it did.
    pub connect_us: Option<u64>,
    /// Time of the attempt.
    pub response_us: Option<u64>,
    /// Whether a kept connection was used.
    pub reused: Option<bool>,
    /// Others that the upstream answered while this attempt waited, where known.
    pub answered_meanwhile: Option<u32>,
    /// The request's method and path, for people.
    pub request: String,
    /// The request's id, by which the records of several gateways are joined. Empty: not told.
    pub request_id: String,
    /// Who made the status, as the record tells.
    pub origin: Origin,
    /// The gateway's own words.
    pub reason: String,
    /// The record itself.
    pub line: String,
    /// Only an error log tells of it.
    pub unconfirmed: bool,
    /// No further attempt followed for this request.
    pub last_try: bool,
}

/// Failures of a case in a stretch of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stretch {
    /// The first failure.
    pub first_us: i64,
    /// When the first failing attempt began.
    pub began_us: i64,
    /// The newest failure.
    pub last_us: i64,
    /// When the newest failing attempt began.
    pub last_began_us: i64,
    /// When the collector learned of the first.
    pub opened_us: i64,
    /// When the collector learned of the newest.
    pub heard_us: i64,
    /// Failed attempts with an access record or a host's word.
    pub count: u64,
    /// Failed attempts that only an error log tells of.
    pub unconfirmed: u64,
    /// Of `count`, those after which another upstream served.
    pub retried: u64,
    /// Statuses that clients got.
    pub statuses: BTreeMap<u16, u64>,
    /// Signals.
    pub signals: BTreeMap<Signal, u64>,
    /// All of them over time.
    pub course: Course,
    /// The first and the newest failures in full.
    pub notes: VecDeque<Note>,
}

impl Note {
    pub(super) fn new(moment: Moment, failure: &Failure, attempt: Option<&Attempt>) -> Self {
        let took_us = attempt.and_then(|attempt| attempt.response_us).or(failure.duration_us).unwrap_or(0);
        let whole_us = failure.duration_us.unwrap_or(0).max(took_us);
        // A retried attempt ended before the record's own time, which is the end of the whole request.
        let later_us: u64 = attempt.map_or(0, |attempt| time_after(failure, attempt));
        let at_us = moment.at_us - i64::try_from(later_us.min(whole_us)).unwrap_or(0);
        Self {
            at_us,
            began_us: at_us - i64::try_from(took_us).unwrap_or(0),
            received_us: moment.received_us,
            signal: attempt.map_or(failure.signal, |attempt| attempt.signal),
            status: failure.status,
            connect_us: attempt.and_then(|attempt| attempt.connect_us),
            response_us: attempt.and_then(|attempt| attempt.response_us).or(failure.duration_us),
            reused: attempt.and_then(|attempt| attempt.reused_connection),
            answered_meanwhile: attempt.and_then(|attempt| attempt.answered_meanwhile),
            request: format!("{} {}", failure.method, failure.path).trim().to_owned(),
            request_id: failure.request_id.clone(),
            origin: failure.origin,
            reason: failure.reason.clone(),
            line: failure.line.clone(),
            unconfirmed: failure.unconfirmed,
            last_try: match (attempt, failure.attempts.last()) {
                (Some(attempt), Some(last)) => std::ptr::eq(attempt, last),
                _ => true,
            },
        }
    }
}

/// Time that the attempts after this one took.
fn time_after(failure: &Failure, attempt: &Attempt) -> u64 {
    let position = failure.attempts.iter().position(|other| std::ptr::eq(other, attempt));
    let after = position.map_or(&[][..], |position| &failure.attempts[position + 1..]);
    after.iter().filter_map(|attempt| attempt.response_us).sum()
}

impl Stretch {
    pub(super) fn add(&mut self, note: &Note, failure: &Failure) {
        if self.opened_us == 0 {
            (self.first_us, self.began_us, self.opened_us) = (note.at_us, note.began_us, note.received_us);
            self.last_began_us = note.began_us;
        }
        self.first_us = self.first_us.min(note.at_us);
        self.began_us = self.began_us.min(note.began_us);
        self.last_us = self.last_us.max(note.at_us);
        self.last_began_us = self.last_began_us.max(note.began_us);
        self.heard_us = note.received_us;
        let failed = 1 + u64::from(failure.repeats);
        let repeated = failure.repeats.saturating_add(1);
        if note.unconfirmed {
            self.unconfirmed += failed;
            if self.count == 0 {
                *self.signals.entry(note.signal).or_default() += failed;
                self.course.add(note.at_us, note.signal, repeated);
            }
        } else {
            if self.count == 0 {
                // What only the error log told is told better by the access records that follow.
                self.signals.clear();
                self.course = Course::default();
            }
            self.count += failed;
            *self.signals.entry(note.signal).or_default() += failed;
            self.course.add(note.at_us, note.signal, repeated);
            if failure.signal == Signal::RetriedOk {
                self.retried += failed;
            }
            if let Ok(status @ 1..) = u16::try_from(note.status) {
                *self.statuses.entry(status).or_default() += failed;
            }
        }
        self.notes.push_back(note.clone());
        if self.notes.len() > FIRST_MAX + LAST_MAX {
            self.notes.remove(FIRST_MAX);
        }
    }

    /// Share of the failures that have one of these signals, 0 to 1.
    pub fn share(&self, wanted: &[Signal]) -> f64 {
        self.count_of(|signal| wanted.contains(&signal)) as f64 / self.count_of(|_| true).max(1) as f64
    }

    /// How many have a signal that fits.
    pub fn count_of(&self, fits: impl Fn(Signal) -> bool) -> u64 {
        self.signals.iter().filter(|(signal, _)| fits(**signal)).map(|(_, count)| count).sum()
    }

    /// Whether any failure has one of these signals.
    pub fn has(&self, wanted: &[Signal]) -> bool {
        wanted.iter().any(|signal| self.signals.contains_key(signal))
    }

    /// Whether only an error log tells of it.
    pub fn is_unconfirmed(&self) -> bool {
        self.count == 0
    }
}
