//! What an access record gains from the error records of its request. A reason must fit what the access record shows
//! of that attempt: its upstream and its phase.

use crate::gateway::{Attempt, Origin, Record, Signal};

/// Whether an error log could tell more of a record than it tells itself.
pub(super) fn may_gain(record: &Record) -> bool {
    let vague = matches!(record.signal, Signal::StatusOnly | Signal::RetriedOk | Signal::ClientAbort);
    (record.signal.is_failure() || vague || local_error(record))
        && (record.status >= Some(500) || record.attempts.iter().any(|attempt| attempt.signal.is_failure()))
}

/// An answer of 500 and above that the gateway made without an upstream.
fn local_error(record: &Record) -> bool {
    record.signal == Signal::LbLocalResponse && record.status >= Some(500) && record.attempts.is_empty()
}

/// The record with the reasons that fit, and the numbers of the error records they came from.
pub(super) fn refine(mut record: Record, errors: &[(u64, &Record)], tells_waits: bool) -> (Record, Vec<u64>) {
    let named = record.attempts.iter().any(|attempt| attempt.upstream.is_some());
    let mut taken =
        if named { by_upstream(&mut record, errors) } else { from_errors(&mut record, errors, tells_waits) };
    if named {
        add_earlier(&mut record, errors, &mut taken);
    }
    if !taken.is_empty() {
        conclude(&mut record, errors, &taken);
    }
    (record, taken)
}

/// Each attempt takes the first reason that names its upstream, or none, and fits its phase.
fn by_upstream(record: &mut Record, errors: &[(u64, &Record)]) -> Vec<u64> {
    let mut taken = Vec::new();
    for attempt in &mut record.attempts {
        let mut fitting = errors.iter().filter(|(number, error)| {
            let upstream = error.attempts.first().and_then(|told| told.upstream.as_ref());
            let same = upstream.is_none() || upstream == attempt.upstream.as_ref();
            !taken.contains(number) && same && refines(attempt.signal, error.signal)
        });
        if let Some((number, error)) = fitting.next() {
            attempt.signal = error.signal;
            taken.push(*number);
        }
    }
    taken
}

/// Some access logs name the last upstream alone: what failed before it stands in the error log with the request's own id.
fn add_earlier(record: &mut Record, errors: &[(u64, &Record)], taken: &mut Vec<u64>) {
    for (number, error) in errors.iter().filter(|(_, error)| error.request_id.is_some()) {
        let Some(attempt) = error.attempts.first().filter(|_| error.request_id == record.request_id) else { continue };
        let known = record.attempts.iter().any(|other| other.upstream == attempt.upstream);
        if attempt.upstream.is_some() && !known && !taken.contains(number) {
            let last = record.attempts.len().saturating_sub(1);
            record.attempts.insert(last, attempt.clone());
            taken.push(*number);
        }
    }
}

/// The access record names no upstream: the error records, which must be of this very request, tell the attempts.
fn from_errors(record: &mut Record, errors: &[(u64, &Record)], tells_waits: bool) -> Vec<u64> {
    if record.status < Some(500) {
        return Vec::new();
    }
    let shown = record.attempts.last().map_or(Signal::StatusOnly, |attempt| attempt.signal);
    let fitting: Vec<(u64, &Record)> = errors
        .iter()
        .copied()
        .filter(|(_, error)| refines(shown, error.signal) && fits_status(record.status, error.signal))
        .collect();
    // Many requests of one client may fail in the same second: it was one that ended as this one was answered.
    let ends_so = |reason: Signal| !tells_waits || ends_in(record.status, reason);
    let ends = fitting.iter().position(|(_, error)| ends_so(error.signal));
    let begins = ends.and_then(|at| fitting.iter().position(|(_, one)| one.connection == fitting[at].1.connection));
    let (mut attempts, taken) = [begins, ends]
        .into_iter()
        .flatten()
        .map(|from| of_request(&fitting[from..]))
        .find_map(|(attempts, taken, last)| ends_so(last?).then_some((attempts, taken)))
        .unwrap_or_default();
    let told = record.attempts.pop().unwrap_or_default();
    if let Some(last) = attempts.last_mut() {
        *last = Attempt { upstream: last.upstream.take(), signal: last.signal, status: record.status, ..told };
        record.attempts = attempts;
    } else if shown != Signal::StatusOnly {
        record.attempts.push(told);
    }
    taken
}

/// The attempts of the request that the first of some error records is of, the numbers of those it takes, and the last reason.
fn of_request(errors: &[(u64, &Record)]) -> (Vec<Attempt>, Vec<u64>, Option<Signal>) {
    let (mut attempts, mut taken, mut last) = (Vec::new(), Vec::new(), None);
    let mut connection = None;
    for (number, error) in errors {
        if error.connection.is_some() && connection.is_some_and(|first| first != error.connection) {
            continue;
        }
        if let Some(attempt) = error.attempts.first()
            && !add(&mut attempts, attempt)
        {
            break;
        }
        connection = Some(error.connection);
        taken.push(*number);
        last = Some(error.signal);
    }
    (attempts, taken, last)
}

/// Adds an attempt. False: its upstream was tried already, so that it is another request's.
fn add(attempts: &mut Vec<Attempt>, attempt: &Attempt) -> bool {
    let unnamed = attempt.upstream.is_none();
    if attempts.iter().any(|other| !unnamed && other.upstream == attempt.upstream) {
        // Some gateways tell of one failure twice, the second time with less.
        return is_vague(attempt.signal);
    }
    match attempts.last_mut() {
        Some(_) if unnamed && is_vague(attempt.signal) => {}
        Some(last) if last.upstream.is_none() && is_vague(last.signal) => *last = attempt.clone(),
        _ => attempts.push(attempt.clone()),
    }
    true
}

/// Signal, origin and reason of the whole.
fn conclude(record: &mut Record, errors: &[(u64, &Record)], taken: &[u64]) {
    let upstream = record.attempts.last().and_then(|attempt| attempt.upstream.clone());
    let of_last = |error: &Record| {
        upstream.is_none()
            || error.attempts.first().is_none_or(|one| one.upstream.is_none() || one.upstream == upstream)
    };
    let last =
        errors.iter().rev().find(|(number, error)| taken.contains(number) && of_last(error)).map(|(_, error)| *error);
    record.reason = last.and_then(|error| error.reason.clone()).or(record.reason.take());
    record.pool = record.pool.take().or_else(|| last.and_then(|error| error.pool.clone()));
    if matches!(record.signal, Signal::RetriedOk | Signal::ClientAbort) {
        return;
    }
    record.signal = match (record.attempts.last(), last) {
        (Some(attempt), _) => attempt.signal,
        (None, Some(error)) => error.signal,
        (None, None) => record.signal,
    };
    let told = record.signal.is_failure() && record.signal != Signal::UpstreamErrorUnspecified;
    if told || record.signal == Signal::RateLimited {
        record.origin = Origin::Gateway;
    }
}

/// Whether a request whose last attempt failed for this reason is answered so by a gateway that tells by its status where it
/// waited in vain. What else it answers it was configured to.
fn ends_in(status: Option<u16>, reason: Signal) -> bool {
    match (status, reason) {
        (Some(502), Signal::ConnectTimeout | Signal::ReadTimeout | Signal::SendTimeout) => false,
        (Some(504), reason) => matches!(
            reason,
            Signal::ConnectTimeout
                | Signal::ReadTimeout
                | Signal::SendTimeout
                | Signal::TlsHandshake
                | Signal::UpstreamErrorUnspecified
        ),
        _ => true,
    }
}

/// Gateways differ in how they answer: only what none does.
fn fits_status(status: Option<u16>, reason: Signal) -> bool {
    match reason {
        Signal::RateLimited => matches!(status, Some(429 | 503)),
        Signal::BodyTruncated | Signal::BodyTimeout => false,
        _ => true,
    }
}

fn is_vague(signal: Signal) -> bool {
    matches!(signal, Signal::UpstreamErrorUnspecified | Signal::ConnectFailed | Signal::NoResponseHeaders)
}

/// Whether a reason says more of an attempt than is shown, and the same.
fn refines(shown: Signal, reason: Signal) -> bool {
    let connect = matches!(
        reason,
        Signal::ConnectRefused
            | Signal::ConnectUnreachable
            | Signal::ConnectFailed
            | Signal::ResetBeforeHeaders
            | Signal::LocalPortExhausted
            | Signal::GatewayResource
            | Signal::SocketMissing
            | Signal::SocketPermission
            | Signal::SocketBacklogFull
            | Signal::TlsHandshake
            | Signal::TlsVerify
    );
    let answer = matches!(
        reason,
        Signal::ResetBeforeHeaders
            | Signal::ClosedBeforeHeaders
            | Signal::NoResponseHeaders
            | Signal::HeaderTooBig
            | Signal::HeaderInvalid
            | Signal::ResponseInvalid
    );
    let timeout = matches!(reason, Signal::ReadTimeout | Signal::SendTimeout);
    match shown {
        _ if shown == reason => true,
        Signal::ConnectFailed => connect || reason == Signal::ConnectTimeout,
        Signal::ConnectTimeout => reason == Signal::TlsHandshake,
        Signal::NoResponseHeaders => answer,
        Signal::ReadTimeout => timeout,
        Signal::UpstreamErrorUnspecified | Signal::StatusOnly | Signal::LbLocalResponse | Signal::Unknown => {
            reason.is_failure() || reason == Signal::RateLimited
        }
        _ => false,
    }
}
