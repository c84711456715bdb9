//! What an access line means: from the values of nginx's variables to attempts and signals. The upstream variables
//! are lists, one element a try: `, ` stands between the peers of one pass, ` : ` before an internal redirect.

use super::fields::{Fields, Var};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::{Attempt, Origin, Record, Signal, Stamp};

/// Most tries that are kept of one line.
const MOST_ATTEMPTS: usize = 64;

/// The record of an http line. Err: why the line is none.
pub(super) fn http(fields: &Fields<'_>, zone: &Zone) -> Result<Record, &'static str> {
    let mut record = base(fields, zone)?;
    let status = record.status.unwrap_or_default();
    let tries = Tries::of(fields);
    record.attempts = (0..tries.count).map(|at| tries.http(at, status)).collect();
    (record.signal, record.origin) = match record.attempts.last() {
        None if tries.known => none_chosen(status, fields, tries.phases),
        None => nothing_told(status),
        Some(last) => whole(status, last, &record.attempts),
    };
    if record.signal == Signal::NoLiveUpstream {
        let name = record.attempts.last().and_then(|attempt| attempt.upstream.clone());
        record.pool = record.pool.take().or(name);
    }
    Ok(record)
}

/// The record of a line of the stream module: its status tells how the connection went, no upstream has one.
pub(super) fn stream(fields: &Fields<'_>, zone: &Zone) -> Result<Record, &'static str> {
    let mut record = base(fields, zone)?;
    let status = record.status.unwrap_or_default();
    let tries = Tries::of(fields);
    record.attempts = (0..tries.count).map(|at| tries.stream(at, status)).collect();
    let failed_before = record.attempts.iter().rev().skip(1).any(|attempt| attempt.signal.is_failure());
    (record.signal, record.origin) = match (status, record.attempts.last()) {
        (200, _) if failed_before => (Signal::RetriedOk, Origin::Unknown),
        (200, _) => (Signal::Ok, Origin::Unknown),
        (400, _) => (Signal::ClientError, Origin::Client),
        (403, _) => (Signal::LbLocalResponse, Origin::Gateway),
        (503, _) => (Signal::RateLimited, Origin::Gateway),
        (_, Some(last)) => (last.signal, Origin::Gateway),
        (_, None) => (Signal::StatusOnly, Origin::Gateway),
    };
    if record.signal == Signal::NoLiveUpstream {
        record.pool = record.attempts.last().and_then(|attempt| attempt.upstream.clone());
    }
    Ok(record)
}

/// Everything but attempts, signal and origin.
fn base(fields: &Fields<'_>, zone: &Zone) -> Result<Record, &'static str> {
    let status = fields.get(Var::Status).ok_or("no status")?;
    let status = status_number(status).ok_or("the status is no number of three digits")?;
    let (method, path) = request(fields);
    Ok(Record {
        at: time(fields, zone),
        status: Some(status),
        duration_us: fields.said(Var::RequestTime).and_then(microseconds),
        method,
        path,
        request_id: fields.text(Var::RequestId),
        client: fields.text(Var::Client),
        connection: fields.said(Var::Connection).and_then(number),
        server: fields.text(Var::ServerName).or_else(|| fields.text(Var::Host)),
        pool: fields.text(Var::Pool).or_else(|| fields.text(Var::ProxyHost)),
        body_bytes: fields.said(Var::BodyBytes).or_else(|| fields.said(Var::Bytes)).and_then(number),
        ..Record::default()
    })
}

fn time(fields: &Fields<'_>, zone: &Zone) -> Option<Stamp> {
    let vars = [Var::Msec, Var::TimeIso, Var::TimeLocal];
    vars.into_iter().find_map(|var| fields.said(var).and_then(|text| stamp::whole(text, zone)))
}

/// Method and path, from the request line or from their own variables.
fn request(fields: &Fields<'_>) -> (Option<String>, Option<String>) {
    let line = fields.text(Var::Request).unwrap_or_default();
    let (method, path) = split_request(&line);
    let method = fields.text(Var::Method).or(method);
    (method, fields.text(Var::RequestUri).or(path).or_else(|| fields.text(Var::Uri)))
}

/// `GET /path HTTP/1.1` as method and path; nothing of what is no request line.
pub(super) fn split_request(line: &str) -> (Option<String>, Option<String>) {
    let Some((method, rest)) = line.split_once(' ') else { return (None, None) };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(&byte)) {
        return (None, None);
    }
    let path = rest.rsplit_once(" HTTP/").map_or(rest, |(path, _)| path);
    (Some(method.to_owned()), Some(path.to_owned()))
}

/// The lists of one line.
struct Tries<'a> {
    addresses: Vec<&'a [u8]>,
    statuses: Vec<&'a [u8]>,
    connects: Vec<&'a [u8]>,
    headers: Vec<&'a [u8]>,
    responses: Vec<&'a [u8]>,
    received: Vec<&'a [u8]>,
    lengths: Vec<&'a [u8]>,
    count: usize,
    /// The line has a variable by which an upstream would show.
    known: bool,
    /// The line has the times of the phases.
    phases: bool,
}

impl<'a> Tries<'a> {
    fn of(fields: &'a Fields<'_>) -> Self {
        let list = |var| fields.get(var).map(elements).unwrap_or_default();
        let mut tries = Self {
            addresses: list(Var::UpstreamAddr),
            statuses: list(Var::UpstreamStatus),
            connects: list(Var::ConnectTime),
            headers: list(Var::HeaderTime),
            responses: list(Var::ResponseTime),
            received: list(Var::UpstreamReceived),
            lengths: list(Var::UpstreamLength),
            count: 0,
            known: false,
            phases: fields.get(Var::ConnectTime).is_some() || fields.get(Var::HeaderTime).is_some(),
        };
        let shows = [&tries.addresses, &tries.statuses, &tries.responses, &tries.connects];
        tries.known = shows.iter().any(|list| !list.is_empty());
        let deciding = shows.into_iter().find(|list| !list.is_empty());
        let empty = deciding.is_none_or(|list| list.iter().all(|item| matches!(*item, b"" | b"-")));
        tries.count = if empty { 0 } else { deciding.map_or(0, |list| list.len().min(MOST_ATTEMPTS)) };
        tries
    }

    fn attempt(&self, at: usize) -> Attempt {
        let us = |list: &[&[u8]]| list.get(at).copied().and_then(microseconds);
        Attempt {
            upstream: self
                .addresses
                .get(at)
                .filter(|address| !matches!(**address, b"" | b"-"))
                .map(|address| String::from_utf8_lossy(address).into_owned()),
            status: self.statuses.get(at).copied().and_then(status_number),
            connect_us: us(&self.connects),
            header_us: us(&self.headers),
            response_us: us(&self.responses),
            received_bytes: self.received.get(at).copied().and_then(number),
            ..Attempt::default()
        }
    }

    fn http(&self, at: usize, status: u16) -> Attempt {
        let mut attempt = self.attempt(at);
        let last = at + 1 == self.count;
        if self.statuses.is_empty() && last && status != 499 {
            attempt.status = Some(status);
        }
        attempt.signal = if last && status == 499 && matches!(attempt.status, None | Some(499)) {
            Signal::ClientAbort
        } else if attempt.upstream.as_deref().is_some_and(is_pool) && attempt.status == Some(502) {
            Signal::NoLiveUpstream
        } else if self.headers.get(at).is_some() {
            self.by_header(&attempt)
        } else {
            self.by_status(at, &attempt)
        };
        attempt
    }

    /// The line tells when headers came, or that none came.
    fn by_header(&self, attempt: &Attempt) -> Signal {
        let connects = !self.connects.is_empty();
        match (attempt.header_us, attempt.connect_us, attempt.status) {
            (Some(_), _, Some(status)) if status >= 400 => Signal::AppStatus,
            (Some(_), _, _) => Signal::Ok,
            (None, _, Some(status)) if status < 400 => Signal::Ok,
            (None, _, Some(499)) => Signal::ClientAbort,
            (None, None, Some(502)) if connects => Signal::ConnectFailed,
            (None, None, Some(504)) if connects => Signal::ConnectTimeout,
            (None, Some(_), Some(502)) => Signal::NoResponseHeaders,
            (None, Some(_), Some(504)) => Signal::ReadTimeout,
            (None, None, None) if attempt.upstream.is_none() => Signal::LbLocalResponse,
            _ => Signal::UpstreamErrorUnspecified,
        }
    }

    /// The line does not tell whether headers came: nginx itself gives only 502 and 504 to an attempt, and an answer
    /// with a body can only be the upstream's.
    fn by_status(&self, at: usize, attempt: &Attempt) -> Signal {
        let body = self.lengths.get(at).copied().and_then(number).is_some_and(|bytes| bytes > 0);
        let connect = self.connects.get(at).map(|_| attempt.connect_us);
        match (attempt.status, connect) {
            (Some(status), _) if status < 400 => Signal::Ok,
            (Some(502 | 504), _) if body => Signal::AppStatus,
            (Some(502), Some(None)) => Signal::ConnectFailed,
            (Some(504), Some(None)) => Signal::ConnectTimeout,
            (Some(499), _) => Signal::ClientAbort,
            (None, _) if attempt.upstream.is_none() && !self.addresses.is_empty() => Signal::LbLocalResponse,
            (Some(502 | 504) | None, _) => Signal::UpstreamErrorUnspecified,
            (Some(_), _) => Signal::AppStatus,
        }
    }

    fn stream(&self, at: usize, status: u16) -> Attempt {
        let mut attempt = self.attempt(at);
        attempt.status = None;
        let last = at + 1 == self.count;
        let connect = self.connects.get(at).map(|_| attempt.connect_us);
        attempt.signal = match connect {
            _ if last && status == 200 => Signal::Ok,
            _ if attempt.upstream.as_deref().is_some_and(is_pool) => Signal::NoLiveUpstream,
            Some(None) => Signal::ConnectFailed,
            _ => Signal::UpstreamErrorUnspecified,
        };
        attempt
    }
}

/// The line says that no upstream was chosen.
fn none_chosen(status: u16, fields: &Fields<'_>, phases: bool) -> (Signal, Origin) {
    let in_ingress = fields.said(Var::Pool).is_some();
    // An empty address is not `-`: a peer was chosen and no socket could be made for it.
    let no_socket = fields.get(Var::UpstreamAddr) == Some(b"") && fields.get(Var::UpstreamStatus) == Some(b"-");
    match status {
        0..400 | 400 | 405 | 408 | 411 | 413 | 414 | 417 | 431 | 494..=497 | 499 => nothing_told(status),
        503 if in_ingress => (Signal::NoLiveUpstream, Origin::Gateway),
        429 | 503 => (Signal::RateLimited, Origin::Gateway),
        401..500 => (Signal::LbLocalResponse, Origin::Gateway),
        500 if no_socket && phases => (Signal::LbLocalResponse, Origin::Gateway),
        _ => (Signal::StatusOnly, Origin::Gateway),
    }
}

/// The line has nothing but a status.
fn nothing_told(status: u16) -> (Signal, Origin) {
    match status {
        0..400 => (Signal::Ok, Origin::Unknown),
        499 => (Signal::ClientAbort, Origin::Client),
        400 | 405 | 408 | 411 | 413 | 414 | 417 | 431 | 494..=497 => (Signal::ClientError, Origin::Client),
        _ => (Signal::StatusOnly, Origin::Unknown),
    }
}

/// The signal of a line with attempts.
fn whole(status: u16, last: &Attempt, attempts: &[Attempt]) -> (Signal, Origin) {
    let failed = |attempt: &Attempt| {
        attempt.signal.is_failure() || (attempt.signal == Signal::AppStatus && attempt.status >= Some(500))
    };
    let failed_before = attempts.iter().rev().skip(1).any(failed);
    match last.signal {
        _ if status == 499 => (Signal::ClientAbort, Origin::Client),
        // The upstream served and the client got an error all the same: a rule of the gateway made it.
        Signal::Ok if status >= 400 => (Signal::LbLocalResponse, Origin::Gateway),
        Signal::Ok if failed_before => (Signal::RetriedOk, Origin::Unknown),
        Signal::Ok => (Signal::Ok, Origin::Unknown),
        Signal::AppStatus if last.status == Some(status) => (Signal::AppStatus, Origin::App),
        Signal::AppStatus | Signal::UpstreamErrorUnspecified => (last.signal, Origin::Unknown),
        signal => (signal, Origin::Gateway),
    }
}

/// `a, b : c` as its elements.
fn elements(list: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::with_capacity(1);
    let mut rest = list;
    while let Some(at) = memchr::memchr(b' ', rest) {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let redirect = after.strip_prefix(b": ");
        elements.push(before.strip_suffix(b",").unwrap_or(before));
        rest = redirect.unwrap_or(after);
    }
    elements.push(rest);
    elements
}

/// A peer has a port or is a socket; a group's own name stands where no peer was live.
fn is_pool(address: &str) -> bool {
    let port = address.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    !port && !address.starts_with("unix:") && address.parse::<std::net::IpAddr>().is_err()
}

/// Three digits, `009` among them.
pub(super) fn status_number(text: &[u8]) -> Option<u16> {
    (text.len() == 3 && text.iter().all(u8::is_ascii_digit))
        .then(|| text.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with milliseconds, `0.012`.
pub(super) fn microseconds(text: &[u8]) -> Option<u64> {
    plain_milliseconds(text).map(|milliseconds| milliseconds * 1_000).or_else(|| any_microseconds(text))
}

/// As nginx writes them: at most six digits, a point and three digits. Nearly every line has one, and this is cheap.
fn plain_milliseconds(text: &[u8]) -> Option<u64> {
    let (whole, fraction) = text.split_last_chunk::<4>()?;
    let [b'.', thousandths @ ..] = fraction else { return None };
    let is_short = (1..=6).contains(&whole.len());
    whole
        .iter()
        .chain(thousandths)
        .try_fold(0, |sum, digit| (is_short && digit.is_ascii_digit()).then(|| sum * 10 + u64::from(digit - b'0')))
}

/// Any number of seconds.
fn any_microseconds(text: &[u8]) -> Option<u64> {
    let seconds: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be within the range
    (seconds.is_finite() && (0.0..1e9).contains(&seconds)).then(|| (seconds * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn line(status: &str, [addr, us, uct, uht]: [&str; 4]) -> Record {
        let mut fields = Fields::default();
        let values = [
            (Var::Status, status),
            (Var::UpstreamAddr, addr),
            (Var::UpstreamStatus, us),
            (Var::ConnectTime, uct),
            (Var::HeaderTime, uht),
        ];
        for (var, value) in values {
            if value != "?" {
                fields.set(var, Cow::Owned(value.as_bytes().to_vec()));
            }
        }
        http(&fields, &Zone::utc()).unwrap()
    }

    #[test]
    fn one_attempt() {
        for (status, values, signal, origin) in [
            ("200", ["a:1", "200", "0.0", "0.1"], Signal::Ok, Origin::Unknown),
            ("502", ["a:1", "502", "-", "-"], Signal::ConnectFailed, Origin::Gateway),
            ("504", ["a:1", "504", "-", "-"], Signal::ConnectTimeout, Origin::Gateway),
            ("502", ["a:1", "502", "0.0", "-"], Signal::NoResponseHeaders, Origin::Gateway),
            ("504", ["a:1", "504", "0.0", "-"], Signal::ReadTimeout, Origin::Gateway),
            ("502", ["a:1", "502", "0.0", "0.1"], Signal::AppStatus, Origin::App),
            ("404", ["a:1", "200", "0.0", "0.1"], Signal::LbLocalResponse, Origin::Gateway),
            ("502", ["group", "502", "-", "-"], Signal::NoLiveUpstream, Origin::Gateway),
            ("502", ["-", "-", "-", "-"], Signal::StatusOnly, Origin::Gateway),
            ("500", ["", "-", "-", "-"], Signal::LbLocalResponse, Origin::Gateway),
            ("503", ["-", "-", "-", "-"], Signal::RateLimited, Origin::Gateway),
            ("499", ["a:1", "-", "0.0", "-"], Signal::ClientAbort, Origin::Client),
            ("502", ["a:1", "502", "?", "?"], Signal::UpstreamErrorUnspecified, Origin::Unknown),
            ("503", ["a:1", "503", "?", "?"], Signal::AppStatus, Origin::App),
            ("502", ["?", "?", "?", "?"], Signal::StatusOnly, Origin::Unknown),
            ("404", ["-", "-", "?", "?"], Signal::LbLocalResponse, Origin::Gateway),
            ("009", ["a:1", "200", "0.0", "0.0"], Signal::Ok, Origin::Unknown),
            ("502", ["a:1", "?", "-", "?"], Signal::ConnectFailed, Origin::Gateway),
        ] {
            let record = line(status, values);
            assert_eq!((record.signal, record.origin), (signal, origin), "{status} {values:?}");
        }
    }

    #[test]
    fn several_attempts() {
        let record = line("200", ["a:1, b:1 : c:1", "502, 504 : 200", "-, 0.0 : 0.0", "-, - : 0.1"]);
        let signals: Vec<Signal> = record.attempts.iter().map(|attempt| attempt.signal).collect();
        assert_eq!(signals, [Signal::ConnectFailed, Signal::ReadTimeout, Signal::Ok]);
        assert_eq!(record.signal, Signal::RetriedOk);
        let aborted = line("499", ["a:1, b:1", "504, -", "?", "?"]);
        assert_eq!((aborted.signal, aborted.attempts[1].signal), (Signal::ClientAbort, Signal::ClientAbort));
        assert_eq!(aborted.attempts[0].signal, Signal::UpstreamErrorUnspecified);
        let redirected = line("200", ["group : a:1", "502 : 200", "- : 0.0", "- : 0.0"]);
        assert_eq!((redirected.signal, redirected.attempts[0].signal), (Signal::RetriedOk, Signal::NoLiveUpstream));
    }

    #[test]
    fn times_are_read_alike_whatever_their_form() {
        for (text, us) in [
            ("0.012", Some(12_000)),
            ("123456.789", Some(123_456_789_000)),
            ("1234567.891", Some(1_234_567_891_000)),
            ("0.0125", Some(12_500)),
            ("3", Some(3_000_000)),
            ("-0.012", None),
            (".012", Some(12_000)),
            ("0.0x2", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(microseconds(text.as_bytes()), us, "{text}");
        }
        for milliseconds in 0..100_000 {
            let text = format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
            assert_eq!(plain_milliseconds(text.as_bytes()).map(|ms| ms * 1_000), any_microseconds(text.as_bytes()));
        }
    }

    #[test]
    fn requests_are_split() {
        assert_eq!(split_request("GET /a b HTTP/1.1"), (Some("GET".to_owned()), Some("/a b".to_owned())));
        assert_eq!(split_request("GET /a"), (Some("GET".to_owned()), Some("/a".to_owned())));
        assert_eq!(split_request("\u{16}\u{3} x"), (None, None));
    }
}
