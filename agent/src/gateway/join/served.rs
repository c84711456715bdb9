//! Attempts that failed and were retried with success, where the access log names the upstream that served and no other, as
//! Apache's does: the error log tells of them with the request's id.

use std::collections::VecDeque;

use crate::gateway::{Attempt, Origin, Record, Signal};

/// Served requests that are remembered: more than one round of reading takes in.
const MOST_REMEMBERED: usize = 1_024;
/// Failed attempts that wait to be taken.
const MOST_RETRIED: usize = 4_096;

/// The newest served requests of one gateway, and what failed before they were.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// An error record had a request's id.
    errors_have_ids: bool,
    newest: VecDeque<(String, Attempt)>,
    retried: Vec<Record>,
    /// Failed attempts that there was no room for.
    pub(super) lost: u64,
}

impl Served {
    /// Whether ids are worth remembering.
    pub(super) fn is_of_use(&self) -> bool {
        self.errors_have_ids
    }

    /// Takes an error record. True: it tells of an attempt before one that served, and of nothing else.
    pub(super) fn error(&mut self, error: &Record) -> bool {
        let Some(id) = &error.request_id else { return false };
        self.errors_have_ids = true;
        let last = self.newest.iter().rev().find(|(other, _)| other == id).map(|(_, last)| last.clone());
        last.is_some_and(|last| self.tell(error, last))
    }

    /// Takes an error record whose request was served after all. False: it tells of the upstream that served.
    pub(super) fn failed_before(&mut self, error: &Record, served: &Record) -> bool {
        last_of(served).is_some_and(|last| self.tell(error, last))
    }

    fn tell(&mut self, error: &Record, last: Attempt) -> bool {
        let elsewhere = |attempt: &Attempt| attempt.upstream.is_some() && attempt.upstream != last.upstream;
        if !error.attempts.iter().all(elsewhere) || error.attempts.is_empty() {
            return false;
        }
        if self.retried.len() == MOST_RETRIED {
            self.lost += 1;
            return true;
        }
        let status = last.status;
        let attempts = error.attempts.iter().cloned().chain([last]).collect();
        let (signal, origin) = (Signal::RetriedOk, Origin::App);
        self.retried.push(Record { status, signal, origin, attempts, from_error_log: false, ..error.clone() });
        true
    }

    /// Remembers a served request.
    pub(super) fn keep(&mut self, record: &Record) {
        let (Some(id), Some(last)) = (&record.request_id, last_of(record)) else { return };
        if self.newest.len() == MOST_REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back((id.clone(), last));
    }

    pub(super) fn take(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.retried)
    }
}

/// The attempt that served.
fn last_of(record: &Record) -> Option<Attempt> {
    let last = record.attempts.last()?.clone();
    Some(Attempt { status: last.status.or(record.status), ..last })
}
