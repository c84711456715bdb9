//! Error records that tell nothing of the request: what Traefik says of a failed upstream, and what Apache's workers say ahead
//! of the request's own line. The first are found by upstream or status and by the time alone, so they count only where
//! the answer is the gateway's own by its size, and where nothing else may be meant. The second give what they know to
//! the next line of the same thread.

use super::{Joiner, Key};
use crate::gateway::{Record, Signal};

/// Between what a worker says and the request's own line in the same thread.
const NEXT_LINE_US: i64 = 1_000_000;
/// The bodies of errors that Go's proxies write themselves are the status's name.
const OWN_BODIES: [(u16, u64); 4] = [(500, 21), (502, 11), (503, 19), (504, 15)];

/// The keys of an error record that has no others.
pub(super) fn keys_of_error(record: &Record) -> Vec<Key> {
    let upstream = record.attempts.first().and_then(|attempt| attempt.upstream.clone());
    let told = upstream.map(Key::Upstream).or_else(|| record.status.map(Key::Status));
    let thread = record.thread.clone().map(Key::Thread);
    [told, thread].into_iter().flatten().collect()
}

/// By what an access record looks for such error records, if its answer may be the gateway's own.
pub(super) fn keys_of_access(record: &Record) -> Vec<Key> {
    let Some(status) = record.status else { return Vec::new() };
    let own = |bytes| OWN_BODIES.contains(&(status, bytes));
    if record.signal != Signal::StatusOnly || !record.body_bytes.is_some_and(own) {
        return Vec::new();
    }
    let upstreams = record.attempts.iter().filter_map(|attempt| attempt.upstream.clone());
    upstreams.map(Key::Upstream).chain([Key::Status(status)]).collect()
}

impl Joiner {
    /// Of error records that are known by a status alone none counts where they give several reasons, or where another is
    /// found by more.
    pub(super) fn drop_undecided(&self, numbers: &mut Vec<u64>) {
        let by_status = |number: &u64| {
            self.held_at(*number)
                .is_some_and(|held| matches!(keys_of_loose(&held.record).first(), Some(Key::Status(_))))
        };
        let signal = |number: &u64| self.held_at(*number).map(|held| held.record.signal);
        let mut signals = numbers.iter().filter(|number| by_status(number)).map(signal);
        let first = signals.next();
        let several = signals.any(|other| Some(other) != first);
        let better = numbers.iter().any(|number| !by_status(number));
        if several || better {
            numbers.retain(|number| !by_status(number));
        }
    }

    /// A record that says no more than that an upstream failed takes the reason and the upstream that its thread told just
    /// before.
    pub(super) fn with_cause(&mut self, mut record: Record, now_us: i64) -> Record {
        let vague = record.signal == Signal::ConnectFailed && record.client.is_some();
        let unnamed = record.attempts.iter().all(|attempt| attempt.upstream.is_none());
        let (Some(thread), true) = (record.thread.clone(), vague && unnamed) else { return record };
        let numbers = self.index.get(&Key::Thread(thread)).cloned().unwrap_or_default();
        let cause = numbers.into_iter().rfind(|number| {
            self.held_at(*number).is_some_and(|held| !held.joined && now_us - held.arrived_us <= NEXT_LINE_US)
        });
        if let Some(held) = cause.and_then(|number| self.held_mut(number)) {
            (held.joined, held.told) = (true, true);
            record.signal = held.record.signal;
            record.attempts.clone_from(&held.record.attempts);
            record.reason.clone_from(&held.record.reason);
        }
        record
    }
}

fn keys_of_loose(record: &Record) -> Vec<Key> {
    let known = record.client.is_some() || record.connection.is_some() || record.request_id.is_some();
    if known { Vec::new() } else { keys_of_error(record) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Attempt, Kind, Stamp};

    fn error(at_s: i64, upstream: Option<&str>, signal: Signal) -> Record {
        let attempt = Attempt { upstream: upstream.map(str::to_owned), signal, ..Attempt::default() };
        Record {
            at: Some(Stamp { unix_us: at_s * 1_000_000, precision_us: 1_000_000 }),
            from_error_log: true,
            status: Some(502),
            signal,
            attempts: vec![attempt],
            ..Record::default()
        }
    }

    fn access(at_s: i64, upstream: &str, body_bytes: u64) -> Record {
        let mut record = error(at_s, Some(upstream), Signal::StatusOnly);
        (record.from_error_log, record.body_bytes, record.client) = (false, Some(body_bytes), Some("192.0.2.7".into()));
        record
    }

    fn joined(errors: &[&Record], access: Record) -> Signal {
        let mut joiner = Joiner::new(Kind::Apache);
        errors.iter().for_each(|error| joiner.error((*error).clone(), 0));
        joiner.access(access, 0).signal
    }

    #[test]
    fn reasons_are_found_by_upstream_and_time() {
        let refused = error(10, Some("10.0.0.2:80"), Signal::ConnectRefused);
        assert_eq!(joined(&[&refused], access(10, "10.0.0.2:80", 11)), Signal::ConnectRefused);
        assert_eq!(joined(&[&refused], access(10, "10.0.0.3:80", 11)), Signal::StatusOnly, "another upstream");
        assert_eq!(joined(&[&refused], access(20, "10.0.0.2:80", 11)), Signal::StatusOnly, "another time");
        assert_eq!(
            joined(&[&refused], access(10, "10.0.0.2:80", 512)),
            Signal::StatusOnly,
            "the application's own words"
        );
    }

    #[test]
    fn a_reason_without_an_upstream_counts_where_it_is_the_only_one() {
        let closed = error(10, None, Signal::ClosedBeforeHeaders);
        assert_eq!(joined(&[&closed], access(10, "10.0.0.2:80", 11)), Signal::ClosedBeforeHeaders);
        let other = error(10, None, Signal::ReadTimeout);
        assert_eq!(joined(&[&closed, &other], access(10, "10.0.0.2:80", 11)), Signal::StatusOnly);
        let refused = error(10, Some("10.0.0.2:80"), Signal::ConnectRefused);
        assert_eq!(joined(&[&closed, &refused], access(10, "10.0.0.2:80", 11)), Signal::ConnectRefused);
    }

    #[test]
    fn the_next_line_of_a_thread_tells_whose_the_reason_is() {
        let mut joiner = Joiner::new(Kind::Apache);
        let mut refused = error(10, Some("10.0.0.2:80"), Signal::ConnectRefused);
        let mut failed = error(10, None, Signal::ConnectFailed);
        (refused.thread, failed.thread) = (Some("7:tid 1".into()), Some("7:tid 1".into()));
        (failed.client, failed.request_id) = (Some("192.0.2.7".into()), Some("Cg".into()));
        joiner.error(refused, 0);
        joiner.error(failed, 0);
        let mut access = access(10, "", 299);
        (access.attempts, access.request_id) = (Vec::new(), Some("Cg".into()));
        let record = joiner.access(access, 0);
        assert_eq!(record.signal, Signal::ConnectRefused);
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("10.0.0.2:80"));
        assert!(joiner.expire(10_000_000).is_empty(), "both lines were of that request");
    }
}
