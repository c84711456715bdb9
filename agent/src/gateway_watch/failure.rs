//! What leaves the host of a gateway's record: error answers and failed attempts as failures, bounded and masked.

use why502_proto::v1;

use crate::gateway::{Attempt, Notice, Origin, Record, Signal};
use crate::mask;

/// The most of a record's line, bytes.
const MAX_LINE_BYTES: usize = 1_024;
/// The most of a path, bytes.
const MAX_PATH_BYTES: usize = 256;
/// The most of a notice's words, bytes.
const MAX_SAYS_BYTES: usize = 512;
/// The most of a name, address or id, bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most attempts of one record.
const MAX_ATTEMPTS: usize = 16;

/// Whether a record tells of a failure: an attempt that failed, or an error answer, whoever made it. A client that went
/// away is none.
pub fn is_failure(record: &Record) -> bool {
    record.signal.is_failure()
        || record.attempts.iter().any(|attempt| attempt.signal.is_failure())
        || record.status.is_some_and(|status| status >= 500)
}

/// A record as the schema's failure.
pub fn failure(gateway: &str, record: &Record, line: &[u8], unconfirmed: bool, read_us: i64) -> v1::Event {
    let failure = v1::Failure {
        gateway: gateway.to_owned(),
        status: record.status.map_or(0, u32::from),
        origin: origin(record.origin).into(),
        signal: record.signal.id().to_owned(),
        attempts: record.attempts.iter().take(MAX_ATTEMPTS).map(attempt).collect(),
        duration_us: record.duration_us,
        method: name(record.method.as_deref()),
        path: record.path.as_deref().map_or_else(String::new, |path| mask::path(path, MAX_PATH_BYTES)),
        request_id: name(record.request_id.as_deref()),
        precision_us: record.at.map_or(0, |at| at.precision_us),
        unconfirmed,
        line: mask::line(line, MAX_LINE_BYTES),
        reason: record.reason.as_deref().map_or_else(String::new, |text| mask::line(text.as_bytes(), MAX_SAYS_BYTES)),
        pool: name(record.pool.as_deref()),
        read_unix_us: read_us,
        body_bytes: record.body_bytes,
        repeats: 0,
    };
    let at_unix_us = record.at.map_or(read_us, |at| at.unix_us);
    v1::Event { at_unix_us, kind: Some(v1::event::Kind::Failure(failure)) }
}

/// A notice as the schema's.
pub fn notice(gateway: &str, notice: &Notice, read_us: i64) -> v1::Event {
    let told = v1::GatewayNotice {
        gateway: gateway.to_owned(),
        upstream: name(notice.upstream.as_deref()),
        signal: notice.signal.id().to_owned(),
        says: mask::line(notice.says.as_bytes(), MAX_SAYS_BYTES),
        check_status: notice.check_status.map_or(0, u32::from),
        check_signal: notice.check_signal.map_or_else(String::new, |signal| signal.id().to_owned()),
        check_us: notice.check_us,
        pool: name(notice.pool.as_deref()),
    };
    let at_unix_us = notice.at.map_or(read_us, |at| at.unix_us);
    v1::Event { at_unix_us, kind: Some(v1::event::Kind::Notice(told)) }
}

/// Whether a notice is worth an event.
pub fn is_telling(notice: &Notice) -> bool {
    !matches!(notice.signal, Signal::Noise | Signal::Continuation | Signal::Unknown | Signal::Ok)
}

fn attempt(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt {
        upstream: name(attempt.upstream.as_deref()),
        status: attempt.status.map_or(0, u32::from),
        signal: attempt.signal.id().to_owned(),
        connect_us: attempt.connect_us,
        header_us: attempt.header_us,
        response_us: attempt.response_us,
        received_bytes: attempt.received_bytes,
        reused_connection: attempt.reused_connection,
        // Known where the others are counted; see [`add_answers`].
        answered_meanwhile: None,
    }
}

/// Adds how many others were answered while the last attempt waited.
pub fn add_answers(event: &mut v1::Event, answered: Option<u32>) {
    if let Some(v1::event::Kind::Failure(failure)) = &mut event.kind
        && let Some(last) = failure.attempts.last_mut()
    {
        last.answered_meanwhile = answered;
    }
}

fn name(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    text[..text.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

fn origin(origin: Origin) -> v1::Origin {
    match origin {
        Origin::Unknown => v1::Origin::Unspecified,
        Origin::App => v1::Origin::App,
        Origin::Gateway => v1::Origin::Gateway,
        Origin::InnerGateway => v1::Origin::InnerGateway,
        Origin::Client => v1::Origin::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: u16, signal: Signal, attempts: &[Signal]) -> Record {
        let attempts = attempts.iter().map(|signal| Attempt { signal: *signal, ..Default::default() }).collect();
        Record { status: Some(status), signal, attempts, ..Default::default() }
    }

    #[test]
    fn error_answers_and_failed_attempts_are_failures() {
        for failing in [
            record(502, Signal::ConnectRefused, &[Signal::ConnectRefused]),
            record(200, Signal::RetriedOk, &[Signal::ReadTimeout, Signal::Ok]),
            record(500, Signal::AppStatus, &[Signal::AppStatus]),
            record(502, Signal::StatusOnly, &[]),
            record(499, Signal::ClientAbort, &[Signal::ReadTimeout, Signal::ClientAbort]),
            record(200, Signal::BodyTruncated, &[Signal::BodyTruncated]),
        ] {
            assert!(is_failure(&failing), "{failing:?}");
        }
        for fine in [
            record(200, Signal::Ok, &[Signal::Ok]),
            record(404, Signal::AppStatus, &[Signal::AppStatus]),
            record(499, Signal::ClientAbort, &[Signal::ClientAbort]),
            record(400, Signal::ClientError, &[]),
            record(429, Signal::RateLimited, &[]),
        ] {
            assert!(!is_failure(&fine), "{fine:?}");
        }
    }

    #[test]
    fn what_leaves_the_host_is_bounded_and_masked() {
        let long = "é".repeat(2_000);
        let record = Record {
            path: Some("/pay?token=secret".into()),
            request_id: Some(long.clone()),
            reason: Some(long.clone()),
            attempts: vec![Attempt { upstream: Some(long.clone()), ..Default::default() }; 100],
            ..record(502, Signal::ReadTimeout, &[])
        };
        let event = failure("edge", &record, format!("password=hunter2 {long}").as_bytes(), true, 5);
        let Some(v1::event::Kind::Failure(failure)) = event.kind else { panic!("no failure") };
        assert_eq!((failure.path.as_str(), failure.unconfirmed, event.at_unix_us), ("/pay", true, 5));
        assert!(failure.line.len() <= MAX_LINE_BYTES && !failure.line.contains("hunter2"), "{}", failure.line);
        assert!(failure.request_id.len() <= MAX_NAME_BYTES && failure.reason.len() <= MAX_SAYS_BYTES);
        assert!(failure.attempts.len() == MAX_ATTEMPTS && failure.attempts[0].upstream.len() <= MAX_NAME_BYTES);
    }
}
