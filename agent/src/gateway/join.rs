//! Joins the access and the error records of one gateway. An access record says that a client got an error answer; an
//! error record says why, but a client may have made it up. So an access record takes a reason only where both tell of
//! the same request and the reason fits what the access record shows; an error record that finds none is given out as
//! unconfirmed, once, and is still kept for the access record of a request that goes on for long.
//!
//! Access records are never held back. Gateways write the error first, so whoever feeds this takes new bytes of the
//! access log, then reads the error log to its end, and hands in the errors before the access records.

use std::collections::{HashMap, VecDeque};

use super::{Kind, Record, Signal};

mod loose;
mod refine;
mod served;

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
    served: served::Served,
    lost: u64,
    /// The gateway answers 504 where it waited in vain, and only there.
    tells_waits: bool,
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
    /// An empty one for the logs of a kind.
    pub fn new(kind: Kind) -> Self {
        // ngx_http_upstream_next() of nginx' ngx_http_upstream.c.
        let tells_waits = matches!(kind, Kind::Nginx | Kind::IngressNginx);
        Self { tells_waits, ..Self::default() }
    }

    /// Takes a record of the error log. `now_us` is any clock that goes with the other calls, microseconds.
    pub fn error(&mut self, record: Record, now_us: i64) {
        if record.told_again || !(record.signal.is_failure() || record.signal == Signal::RateLimited) {
            return;
        }
        let record = self.with_cause(record, now_us);
        if self.served.error(&record) {
            return;
        }
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
        let (record, taken) = refine::refine(record, &errors, self.tells_waits);
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

    /// Takes the access record of a request that was served. Where the access log names the last upstream alone, only the error
    /// log tells of attempts before it: `retried` gives those out that were of such a request.
    pub fn served(&mut self, record: &Record) {
        let Some(id) = record.request_id.as_ref().filter(|_| self.served.is_of_use()) else { return };
        let numbers = self.index.get(&Key::Request(id.clone())).cloned().unwrap_or_default();
        for number in numbers {
            let Some(held) = self.held_mut(number).filter(|held| !held.joined && !held.told) else { continue };
            let error = held.record.clone();
            let taken = self.served.failed_before(&error, record);
            if let Some(held) = self.held_mut(number).filter(|_| taken) {
                (held.joined, held.told) = (true, true);
            }
        }
        self.served.keep(record);
    }

    /// Failures of upstreams that no client was harmed by, each once.
    pub fn retried(&mut self) -> Vec<Record> {
        self.served.take()
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
        self.lost + self.served.lost
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
        self.keep_own(record, &mut numbers);
        self.drop_undecided(&mut numbers);
        numbers
    }

    /// Many clients may come from one address: where the error log has some with the request's own id, others' are not of it.
    fn keep_own(&self, record: &Record, numbers: &mut Vec<u64>) {
        let id_of = |number: &u64| self.held_at(*number).and_then(|held| held.record.request_id.as_ref());
        let Some(own) = record.request_id.as_ref().filter(|own| numbers.iter().any(|one| id_of(one) == Some(own)))
        else {
            return;
        };
        numbers.retain(|number| id_of(number).is_none_or(|id| id == own));
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
mod tests;
