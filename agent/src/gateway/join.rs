//! Joins the access and the error records of one gateway. An access record says that a client got an error answer; an
//! error record says why, but a client may have made it up. So an access record takes a reason only where both tell of
//! the same request and the reason fits what the access record shows; an error record that finds none is given out as
//! unconfirmed, once, and is still kept for the access record of a request that goes on for long.
//!
//! Access records are never held back. Gateways write the error first, so whoever feeds this takes new bytes of the
//! access log, then reads the error log to its end, and hands in the errors before the access records.

use std::collections::{HashMap, VecDeque};

use super::{Record, Signal};

mod loose;
mod refine;

/// Error records that are held at most; the oldest goes first.
const MOST_HELD: usize = 4_096;
/// How long an error record is held: several attempts of a minute each, and a buffered access log.
const HELD_US: i64 = 300_000_000;
/// How long an error record waits for its access record before it is given out.
const PATIENCE_US: i64 = 1_000_000;
/// How far the two stamps of one moment may lie apart: both logs tell whole seconds, and one may lag.
const SLACK_US: i64 = 2_000_000;
/// Stamps of error logs are local times of a process whose zone may not be the host's: all zones lie so far apart.
const ZONE_STEP_US: i64 = 900_000_000;
/// Access records that are remembered to have gone by without a reason.
const MOST_PASSED: usize = 256;
/// Bytes of a path that are compared.
const PATH_BYTES: usize = 512;

/// Holds the recent error records of one gateway.
#[derive(Debug, Default)]
pub struct Joiner {
    /// In order of arrival; a record's number is its place plus `first`.
    held: VecDeque<Held>,
    first: u64,
    index: HashMap<Key, Vec<u64>>,
    passed: VecDeque<(Key, i64)>,
    lost: u64,
}

#[derive(Debug)]
struct Held {
    record: Record,
    arrived_us: i64,
    /// It was given out as unconfirmed, or need not be.
    told: bool,
    /// An access record has taken it.
    joined: bool,
}

/// By what a request is known in both logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Request(String),
    Connection(u64),
    /// A client's host and, where told, the path.
    Client(String, Option<String>),
    /// Where a line tells nothing of the request: the upstream, or the status alone, and the thread that wrote it.
    Upstream(String),
    Status(u16),
    Thread(String),
}

impl Joiner {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record of the error log. `now_us` is any clock that goes with the other calls, microseconds.
    pub fn error(&mut self, record: Record, now_us: i64) {
        if record.told_again || !(record.signal.is_failure() || record.signal == Signal::RateLimited) {
            return;
        }
        let record = self.with_cause(record, now_us);
        let keys = keys(&record);
        let passed =
            keys.iter().any(|key| self.passed.iter().any(|(other, at_us)| key == other && now_us - at_us <= SLACK_US));
        // One that comes after its access record was counted with that; a rate limit is no failure of an upstream.
        let told = passed || !record.signal.is_failure();
        let number = self.first + self.held.len() as u64;
        for key in keys {
            self.index.entry(key).or_default().push(number);
        }
        self.held.push_back(Held { record, arrived_us: now_us, told, joined: false });
        while self.held.len() > MOST_HELD {
            self.drop_first();
        }
    }

    /// Gives an access record back with the reasons that the error log has for it.
    pub fn access(&mut self, record: Record, now_us: i64) -> Record {
        if !refine::may_gain(&record) {
            return record;
        }
        let keys = keys(&record);
        let found = self.find(&record, &keys, now_us);
        let errors: Vec<(u64, &Record)> =
            found.iter().filter_map(|number| Some((*number, &self.held_at(*number)?.record))).collect();
        let (record, taken) = refine::refine(record, &errors);
        for number in &taken {
            if let Some(held) = self.held_mut(*number) {
                (held.joined, held.told) = (true, true);
            }
        }
        if taken.is_empty() {
            self.passed.extend(keys.into_iter().map(|key| (key, now_us)));
            let excess = self.passed.len().saturating_sub(MOST_PASSED);
            self.passed.drain(..excess);
        }
        record
    }

    /// Whether an error record waits that was neither taken nor given out.
    pub fn waits(&self) -> bool {
        self.held.iter().any(|held| !held.told)
    }

    /// The error records that have waited long enough without an access record, each once.
    pub fn expire(&mut self, now_us: i64) -> Vec<Record> {
        while self.held.front().is_some_and(|held| now_us - held.arrived_us > HELD_US || held.joined) {
            self.drop_first();
        }
        let due = |held: &&mut Held| !held.told && now_us - held.arrived_us >= PATIENCE_US;
        let unconfirmed = self.held.iter_mut().filter(due).map(|held| {
            held.told = true;
            held.record.clone()
        });
        unconfirmed.collect()
    }

    /// When `expire` has something to give out next, on the clock of the other calls.
    pub fn next_due_us(&self) -> Option<i64> {
        self.held.iter().find(|held| !held.told).map(|held| held.arrived_us + PATIENCE_US)
    }

    /// Error records that were dropped before they were told, for want of room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Numbers of the held records that tell of this request, in order.
    fn find(&self, record: &Record, keys: &[Key], now_us: i64) -> Vec<u64> {
        let client_only = record.client.as_deref().map(|client| Key::Client(host(client).to_owned(), None));
        let loose = loose::keys_of_access(record);
        let mut numbers: Vec<u64> = keys
            .iter()
            .chain(client_only.iter())
            .chain(&loose)
            .filter_map(|key| self.index.get(key))
            .flatten()
            .copied()
            .filter(|number| {
                self.held_at(*number).is_some_and(|held| !held.joined && tells_of(&held.record, record, held, now_us))
            })
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.drop_undecided(&mut numbers);
        numbers
    }

    fn held_at(&self, number: u64) -> Option<&Held> {
        self.held.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn held_mut(&mut self, number: u64) -> Option<&mut Held> {
        self.held.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn drop_first(&mut self) {
        let Some(held) = self.held.pop_front() else { return };
        self.lost += u64::from(!held.told);
        for key in keys(&held.record) {
            if let Some(numbers) = self.index.get_mut(&key) {
                numbers.retain(|number| *number != self.first);
                if numbers.is_empty() {
                    self.index.remove(&key);
                }
            }
        }
        self.first += 1;
    }
}

/// The keys of a record, the surest first.
fn keys(record: &Record) -> Vec<Key> {
    let request = record.request_id.clone().map(Key::Request);
    let connection = record.connection.map(Key::Connection);
    let client = record.client.as_deref().map(|client| {
        let path = record.path.as_deref().map(|path| bare(path).bytes().take(PATH_BYTES).collect::<Vec<u8>>());
        Key::Client(host(client).to_owned(), path.map(|path| String::from_utf8_lossy(&path).into_owned()))
    });
    let keys: Vec<Key> = [request, connection, client].into_iter().flatten().collect();
    if keys.is_empty() && record.from_error_log { loose::keys_of_error(record) } else { keys }
}

/// A path without its query: some access formats log it so.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// A client's address without its port.
fn host(client: &str) -> &str {
    match client.rsplit_once(':') {
        Some((host, port)) if host.parse::<std::net::Ipv4Addr>().is_ok() && port.parse::<u16>().is_ok() => host,
        Some((host, _)) if host.ends_with(']') => host.trim_matches(['[', ']']),
        _ => client,
    }
}

/// Whether an error record tells of an access record's request, beyond the key that found it.
fn tells_of(error: &Record, access: &Record, held: &Held, now_us: i64) -> bool {
    let agree = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
    let connection = error.connection.is_none() || access.connection.is_none() || error.connection == access.connection;
    // Some formats log the path as nginx decoded it, which can't be compared with what the client sent.
    let path = match (&error.path, &access.path) {
        (Some(one), Some(other)) => bare(one) == bare(other) || one.contains('%') || other.contains('%'),
        _ => true,
    };
    if !connection || !path || !agree(&error.method, &access.method) || now_us - held.arrived_us > HELD_US {
        return false;
    }
    let lasted_us = access.duration_us.and_then(|us| i64::try_from(us).ok()).unwrap_or(0);
    let before_us = match (error.at, access.at) {
        (Some(error), Some(access)) => {
            let apart_us = access.unix_us - error.unix_us;
            let within_us = apart_us.rem_euclid(ZONE_STEP_US);
            if within_us > ZONE_STEP_US - 2 * SLACK_US { within_us - ZONE_STEP_US } else { within_us }
        }
        // Without stamps the order of arrival is all there is.
        _ => (now_us - held.arrived_us).min(lasted_us),
    };
    (-SLACK_US..=lasted_us.saturating_add(SLACK_US)).contains(&before_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Attempt, Stamp};

    const SECOND_US: i64 = 1_000_000;

    fn attempt(upstream: &str, signal: Signal) -> Attempt {
        Attempt { upstream: Some(upstream.to_owned()), signal, ..Attempt::default() }
    }

    fn record(at_s: i64, attempts: &[(&str, Signal)]) -> Record {
        Record {
            at: Some(Stamp { unix_us: at_s * SECOND_US, precision_us: 1_000_000 }),
            status: Some(502),
            signal: attempts.last().map_or(Signal::StatusOnly, |(_, signal)| *signal),
            attempts: attempts.iter().map(|(upstream, signal)| attempt(upstream, *signal)).collect(),
            method: Some("GET".to_owned()),
            path: Some("/a?b".to_owned()),
            client: Some("192.0.2.7".to_owned()),
            ..Record::default()
        }
    }

    fn error(at_s: i64, upstream: &str, signal: Signal) -> Record {
        let mut record = record(at_s, &[(upstream, signal)]);
        (record.status, record.from_error_log, record.connection) = (None, true, Some(94));
        record.reason = Some(format!("reason of {upstream}"));
        record
    }

    fn signals(record: &Record) -> Vec<Signal> {
        record.attempts.iter().map(|attempt| attempt.signal).collect()
    }

    #[test]
    fn each_attempt_takes_its_own_reason() {
        let mut joiner = Joiner::new();
        joiner.error(error(100, "a:1", Signal::ConnectRefused), 0);
        joiner.error(error(100, "b:1", Signal::ConnectUnreachable), 0);
        let access = record(101, &[("a:1", Signal::ConnectFailed), ("b:1", Signal::ConnectFailed)]);
        let joined = joiner.access(access, 10);
        assert_eq!(signals(&joined), [Signal::ConnectRefused, Signal::ConnectUnreachable]);
        assert_eq!((joined.signal, joined.reason.as_deref()), (Signal::ConnectUnreachable, Some("reason of b:1")));
        assert!(joiner.expire(10 * SECOND_US).is_empty() && joiner.lost() == 0);
    }

    #[test]
    fn formats_without_upstreams_get_them_from_the_errors() {
        let mut joiner = Joiner::new();
        joiner.error(error(100, "a:1", Signal::ConnectRefused), 0);
        joiner.error(error(100, "b:1", Signal::ClosedBeforeHeaders), 0);
        let joined = joiner.access(record(100, &[]), 10);
        assert_eq!(signals(&joined), [Signal::ConnectRefused, Signal::ClosedBeforeHeaders]);
        assert_eq!((joined.signal, joined.attempts[1].status), (Signal::ClosedBeforeHeaders, Some(502)));
        // What was taken is not taken again.
        assert_eq!(joiner.access(record(100, &[]), 20).signal, Signal::StatusOnly);
    }

    #[test]
    fn two_requests_of_one_client_keep_their_own() {
        let mut joiner = Joiner::new();
        joiner.error(error(100, "a:1", Signal::ConnectRefused), 0);
        joiner.error(Record { connection: Some(95), ..error(100, "a:1", Signal::ReadTimeout) }, 0);
        joiner.error(Record { connection: Some(95), ..error(100, "a:1", Signal::ConnectRefused) }, 0);
        for wanted in [Signal::ConnectRefused, Signal::ReadTimeout, Signal::ConnectRefused, Signal::StatusOnly] {
            let joined = joiner.access(record(100, &[]), 10);
            assert_eq!((joined.signal, joined.attempts.len() <= 1), (wanted, true));
        }
    }

    #[test]
    fn a_name_that_did_not_resolve_is_no_attempt() {
        let mut joiner = Joiner::new();
        let mut dns = error(100, "", Signal::DnsFailure);
        dns.attempts.clear();
        joiner.error(dns, 0);
        let joined = joiner.access(record(100, &[]), 10);
        assert_eq!((joined.signal, joined.attempts.len()), (Signal::DnsFailure, 0));
    }

    #[test]
    fn reasons_that_do_not_fit_are_not_taken() {
        let fits = |access: Record, reason: Record| {
            let mut joiner = Joiner::new();
            let before = access.signal;
            joiner.error(reason, 0);
            joiner.access(access, 10).signal != before
        };
        let access = || record(100, &[("a:1", Signal::ConnectFailed)]);
        assert!(fits(access(), error(100, "a:1", Signal::ConnectRefused)));
        assert!(!fits(access(), error(100, "evil:1", Signal::ConnectRefused)), "another upstream");
        assert!(!fits(access(), error(100, "a:1", Signal::ReadTimeout)), "another phase");
        assert!(!fits(access(), error(90, "a:1", Signal::ConnectRefused)), "another time");
        let other = |change: fn(&mut Record)| {
            let mut reason = error(100, "a:1", Signal::ConnectRefused);
            change(&mut reason);
            fits(access(), reason)
        };
        assert!(!other(|reason| reason.client = Some("198.51.100.1".to_owned())));
        assert!(!other(|reason| reason.path = Some("/other".to_owned())));
        assert!(!other(|reason| reason.method = Some("POST".to_owned())));
        assert!(
            other(|reason| reason.at = reason.at.map(|at| Stamp { unix_us: at.unix_us + 5_400 * SECOND_US, ..at }))
        );
        let served = Record { status: Some(200), signal: Signal::Ok, ..record(100, &[]) };
        assert!(!fits(served, error(100, "a:1", Signal::ConnectRefused)), "nothing failed");
        let elsewhere = Record { connection: Some(7), ..access() };
        assert!(!fits(elsewhere, error(100, "a:1", Signal::ConnectRefused)), "another connection");
        let by_connection = Record { connection: Some(94), client: None, path: Some("/a".to_owned()), ..access() };
        assert!(fits(by_connection, error(100, "a:1", Signal::ConnectRefused)));
    }

    #[test]
    fn an_error_alone_is_given_out_once_and_still_joined() {
        let mut joiner = Joiner::new();
        joiner.error(error(100, "a:1", Signal::ReadTimeout), 0);
        assert!(joiner.expire(PATIENCE_US - 1).is_empty());
        assert_eq!(joiner.next_due_us(), Some(PATIENCE_US));
        assert_eq!(joiner.expire(PATIENCE_US).len(), 1);
        assert!(joiner.expire(2 * PATIENCE_US).is_empty());
        let attempts = [("a:1", Signal::ReadTimeout), ("b:1", Signal::UpstreamErrorUnspecified)];
        let late = Record { duration_us: Some(60_000_000), ..record(160, &attempts) };
        let joined = joiner.access(late, 60 * SECOND_US);
        assert_eq!(joined.signal, Signal::UpstreamErrorUnspecified);
        assert_eq!(joined.attempts[0].signal, Signal::ReadTimeout);
        assert!(joiner.expire(61 * SECOND_US).is_empty() && joiner.held.is_empty() && joiner.index.is_empty());
    }

    #[test]
    fn an_error_after_its_access_record_is_not_counted_again() {
        let mut joiner = Joiner::new();
        joiner.access(record(100, &[("a:1", Signal::ConnectFailed)]), 0);
        joiner.error(error(100, "a:1", Signal::ConnectRefused), SECOND_US);
        assert!(joiner.expire(10 * SECOND_US).is_empty());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut joiner = Joiner::new();
        for number in 0..3 * MOST_HELD {
            joiner.error(Record { path: Some(format!("/{number}")), ..error(100, "a:1", Signal::ReadTimeout) }, 0);
        }
        assert_eq!(joiner.held.len(), MOST_HELD);
        assert_eq!(joiner.lost() as usize, 2 * MOST_HELD);
        assert!(joiner.index.len() <= MOST_HELD + 1);
        joiner.expire(HELD_US + 1);
        assert!(joiner.held.is_empty() && joiner.index.is_empty());
    }
}
