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
    let mut joiner = Joiner::new(Kind::Nginx);
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
    let mut joiner = Joiner::new(Kind::Nginx);
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
    let mut joiner = Joiner::new(Kind::Nginx);
    joiner.error(error(100, "a:1", Signal::ConnectRefused), 0);
    joiner.error(Record { connection: Some(95), ..error(100, "a:1", Signal::ReadTimeout) }, 0);
    joiner.error(Record { connection: Some(95), ..error(100, "a:1", Signal::ConnectRefused) }, 0);
    // nginx answers 504 where it waited in vain, whichever line came first.
    let ended = [
        (504, Signal::ReadTimeout),
        (502, Signal::ConnectRefused),
        (502, Signal::ConnectRefused),
        (502, Signal::StatusOnly),
    ];
    for (status, wanted) in ended {
        let joined = joiner.access(Record { status: Some(status), ..record(100, &[]) }, 10);
        assert_eq!((joined.signal, joined.attempts.len() <= 1), (wanted, true));
    }
}

#[test]
fn the_last_attempt_decides_how_a_request_is_answered() {
    let mut joiner = Joiner::new(Kind::Nginx);
    joiner.error(Record { connection: Some(95), ..error(100, "a:1", Signal::ReadTimeout) }, 0);
    joiner.error(error(100, "a:1", Signal::ReadTimeout), 0);
    joiner.error(error(100, "b:1", Signal::ConnectRefused), 0);
    let joined = joiner.access(record(100, &[]), 10);
    assert_eq!(signals(&joined), [Signal::ReadTimeout, Signal::ConnectRefused]);
    let joined = joiner.access(record(100, &[]), 10);
    assert_eq!(joined.signal, Signal::StatusOnly, "an answer of the application's own has no reason here");
    let joined = joiner.access(Record { status: Some(504), ..record(100, &[]) }, 10);
    assert_eq!(signals(&joined), [Signal::ReadTimeout]);
}

/// An error record and an access record of one request that Apache gave an id.
fn with_id(id: &str, record: Record) -> Record {
    Record { request_id: Some(id.to_owned()), ..record }
}

/// Of two that came from one address one was given to a member that took too long, and one found them all out of order.
#[test]
fn a_request_with_an_id_takes_no_reason_from_another_of_the_same_client() {
    let mut joiner = Joiner::new(Kind::Nginx);
    let loose = |id: &str, signal| {
        let attempts = vec![Attempt { signal, ..Attempt::default() }];
        let error = Record { connection: None, method: None, path: None, attempts, ..error(100, "", signal) };
        with_id(id, error)
    };
    joiner.error(loose("one", Signal::ConnectFailed), 0);
    joiner.error(Record { attempts: vec![], ..loose("two", Signal::NoLiveUpstream) }, 0);
    let joined = joiner.access(with_id("two", record(100, &[])), 10);
    assert_eq!((joined.signal, joined.attempts.len()), (Signal::NoLiveUpstream, 0));
    assert_eq!(joiner.access(with_id("one", record(100, &[])), 20).signal, Signal::ConnectFailed);
}

#[test]
fn attempts_before_the_last_come_from_errors_of_the_same_id() {
    let mut joiner = Joiner::new(Kind::Nginx);
    joiner.error(with_id("one", error(100, "a:1", Signal::ConnectTimeout)), 0);
    joiner.error(with_id("two", error(100, "a:1", Signal::ConnectRefused)), 0);
    let joined = joiner.access(with_id("one", record(101, &[("b:1", Signal::UpstreamErrorUnspecified)])), 10);
    assert_eq!(signals(&joined), [Signal::ConnectTimeout, Signal::UpstreamErrorUnspecified]);
    assert_eq!(joined.signal, Signal::UpstreamErrorUnspecified);
}

#[test]
fn what_failed_before_a_request_was_served_is_told_once() {
    let served = |id: &str| {
        let ok = Record { status: Some(200), ..record(101, &[("b:1", Signal::Ok)]) };
        with_id(id, ok)
    };
    let mut joiner = Joiner::new(Kind::Nginx);
    joiner.error(with_id("one", error(100, "a:1", Signal::ConnectRefused)), 0);
    joiner.error(with_id("own", error(100, "b:1", Signal::BodyTruncated)), 0);
    joiner.served(&served("one"));
    joiner.served(&served("own"));
    joiner.served(&served("two"));
    joiner.error(with_id("two", error(100, "a:1", Signal::ConnectTimeout)), 10);
    let retried = joiner.retried();
    let told: Vec<_> = retried.iter().map(|record| (record.signal, signals(record), record.status)).collect();
    let expected = |signal| (Signal::RetriedOk, vec![signal, Signal::Ok], Some(200));
    assert_eq!(told, [expected(Signal::ConnectRefused), expected(Signal::ConnectTimeout)]);
    assert!(joiner.retried().is_empty());
    let unconfirmed = joiner.expire(10 * SECOND_US);
    assert_eq!(unconfirmed.iter().map(|record| record.signal).collect::<Vec<_>>(), [Signal::BodyTruncated]);
}

#[test]
fn a_name_that_did_not_resolve_is_no_attempt() {
    let mut joiner = Joiner::new(Kind::Nginx);
    let mut dns = error(100, "", Signal::DnsFailure);
    dns.attempts.clear();
    joiner.error(dns, 0);
    let joined = joiner.access(record(100, &[]), 10);
    assert_eq!((joined.signal, joined.attempts.len()), (Signal::DnsFailure, 0));
}

#[test]
fn reasons_that_do_not_fit_are_not_taken() {
    let fits = |access: Record, reason: Record| {
        let mut joiner = Joiner::new(Kind::Nginx);
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
    assert!(other(|reason| reason.at = reason.at.map(|at| Stamp { unix_us: at.unix_us + 5_400 * SECOND_US, ..at })));
    let served = Record { status: Some(200), signal: Signal::Ok, ..record(100, &[]) };
    assert!(!fits(served, error(100, "a:1", Signal::ConnectRefused)), "nothing failed");
    let elsewhere = Record { connection: Some(7), ..access() };
    assert!(!fits(elsewhere, error(100, "a:1", Signal::ConnectRefused)), "another connection");
    let by_connection = Record { connection: Some(94), client: None, path: Some("/a".to_owned()), ..access() };
    assert!(fits(by_connection, error(100, "a:1", Signal::ConnectRefused)));
}

#[test]
fn an_error_alone_is_given_out_once_and_still_joined() {
    let mut joiner = Joiner::new(Kind::Nginx);
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
    let mut joiner = Joiner::new(Kind::Nginx);
    joiner.access(record(100, &[("a:1", Signal::ConnectFailed)]), 0);
    joiner.error(error(100, "a:1", Signal::ConnectRefused), SECOND_US);
    assert!(joiner.expire(10 * SECOND_US).is_empty());
}

#[test]
fn what_is_held_is_bounded() {
    let mut joiner = Joiner::new(Kind::Nginx);
    for number in 0..3 * MOST_HELD {
        joiner.error(Record { path: Some(format!("/{number}")), ..error(100, "a:1", Signal::ReadTimeout) }, 0);
    }
    assert_eq!(joiner.held.len(), MOST_HELD);
    assert_eq!(joiner.lost() as usize, 2 * MOST_HELD);
    assert!(joiner.index.len() <= MOST_HELD + 1);
    joiner.expire(HELD_US + 1);
    assert!(joiner.held.is_empty() && joiner.index.is_empty());
}
