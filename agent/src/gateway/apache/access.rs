//! One access line's directives become a record. Apache's access log tells who made a status only through the note that the
//! proxy leaves (`%{error-notes}n`); all else is for the error log, joined by `%L`.

use super::super::stamp::{self, Zone};
use super::super::template::Fields;
use crate::gateway::{Attempt, Origin, Record, Signal, Stamp};

/// The record, or None where the line tells no status.
pub(in crate::gateway) fn record(fields: &Fields, zone: &Zone) -> Option<Record> {
    let text = |name: &str| fields.get(name).map(|text| String::from_utf8_lossy(text).into_owned());
    let status: u16 = text("s")?.parse().ok()?;
    let request = text("r");
    let note = text("n:error-notes");
    let duration_us = duration_us(fields);
    let upstream = text("e:balancer_worker_name").map(|worker| worker_address(&worker));
    let signal = match (note.as_deref().and_then(noted), by_status(status)) {
        (Some(noted), _) => noted,
        (None, Signal::StatusOnly) if upstream.is_some() && nothing_logged(fields) => Signal::AppStatus,
        // 503 may also be a rule's, which logs nothing.
        (None, _) if matches!(status, 500 | 502 | 504) && nothing_logged(fields) => Signal::AppStatus,
        (None, signal) => signal,
    };
    let (method, path) = request.as_deref().map_or((None, None), request_parts);
    Some(Record {
        at: begun(fields, zone).map(|at| ended(at, duration_us)),
        status: Some(status),
        origin: if note.as_deref().and_then(noted).is_some() { Origin::Gateway } else { origin(signal) },
        signal,
        attempts: upstream
            .map(|upstream| Attempt {
                upstream: Some(upstream),
                status: (signal == Signal::AppStatus).then_some(status),
                signal,
                ..Attempt::default()
            })
            .into_iter()
            .collect(),
        duration_us,
        method: method.or_else(|| text("m")),
        path: path.or_else(|| Some(text("U")? + &text("q").unwrap_or_default())),
        request_id: text("L").or_else(|| text("e:unique_id")).or_else(|| text("i:x-request-id")),
        client: text("peer").or_else(|| text("a")).or_else(|| text("h")),
        connection: text("p:remote").and_then(|port| port.parse().ok()),
        server: text("v").or_else(|| text("V")),
        reason: note,
        body_bytes: text("b").or_else(|| text("B")).and_then(|bytes| bytes.parse().ok()),
        ..Record::default()
    })
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::ClientError => Origin::Client,
        Signal::AppStatus => Origin::App,
        _ => Origin::Unknown,
    }
}

/// `%L` stays `-` where the error log has nothing of the request. The proxy logs each failure of its own, so the answer
/// came from behind it.
fn nothing_logged(fields: &Fields) -> bool {
    fields.has("L") && fields.get("L").is_none()
}

/// What a status alone tells. Only statuses that are never an application's are the client's fault here, for a line without
/// a place for the upstream cannot tell whether there was one.
pub(in crate::gateway) fn by_status(status: u16) -> Signal {
    match status {
        ..400 => Signal::Ok,
        400 | 408 | 414 | 417 | 431 => Signal::ClientError,
        499 => Signal::ClientAbort,
        _ => Signal::StatusOnly,
    }
}

/// The proxy's note. The request's own path may stand before the reason, escaped for HTML, so its markup marks the place.
fn noted(note: &str) -> Option<Signal> {
    let (_, reason) = note.rsplit_once("Reason: <strong>")?;
    const REASONS: [(&str, Signal); 6] = [
        ("Error during SSL Handshake with remote server", Signal::TlsHandshake),
        ("Error reading from remote server", Signal::NoResponseHeaders),
        ("DNS lookup failure for", Signal::DnsFailure),
        ("Corrupt status line returned by remote server", Signal::HeaderInvalid),
        ("Connect to remote machine blocked", Signal::LbLocalResponse),
        ("Timeout on 100-Continue", Signal::ReadTimeout),
    ];
    let known = REASONS.iter().find(|(text, _)| reason.starts_with(text));
    Some(known.map_or(Signal::UpstreamErrorUnspecified, |(_, signal)| *signal))
}

/// Method and path of a request line. Text that is no request line has neither.
pub(in crate::gateway) fn request_parts(request: &str) -> (Option<String>, Option<String>) {
    let Some((method, rest)) = request.split_once(' ') else { return (None, None) };
    let path = rest.rsplit_once(" HTTP/").map_or(rest, |(path, _)| path);
    let plain = method.starts_with(|first: char| first.is_ascii_uppercase())
        && method.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    if plain { (Some(method.to_owned()), Some(path.to_owned())) } else { (None, None) }
}

fn duration_us(fields: &Fields) -> Option<u64> {
    let number =
        |name: &str, scale: u64| std::str::from_utf8(fields.get(name)?).ok()?.parse::<u64>().ok()?.checked_mul(scale);
    let whole = || number("T:us", 1).or_else(|| number("T:ms", 1000));
    number("D", 1).or_else(whole).or_else(|| number("T:", 1_000_000)).or_else(|| number("T:s", 1_000_000))
}

fn begun(fields: &Fields, zone: &Zone) -> Option<Stamp> {
    if let Some(text) = fields.get("t") {
        return stamp::clf(text, zone).map(|(at, _)| at);
    }
    let text = fields.get_like("t:")?;
    let text = text.strip_prefix(b"[").unwrap_or(text);
    stamp::whole(text.strip_suffix(b"]").unwrap_or(text), zone)
}

/// `%t` is when the request came.
fn ended(begun: Stamp, duration_us: Option<u64>) -> Stamp {
    let duration_us = duration_us.and_then(|us| i64::try_from(us).ok()).unwrap_or(0);
    Stamp { unix_us: begun.unix_us.saturating_add(duration_us), ..begun }
}

/// `http://10.0.0.1:8080/app` and `unix:/run/app.sock|http://localhost/` as addresses.
pub(super) fn worker_address(worker: &str) -> String {
    if let Some((socket, _)) = worker.split_once('|') {
        return socket.to_owned();
    }
    let host = worker.split_once("://").map_or(worker, |(_, rest)| rest);
    host.split('/').next().unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_note_is_no_reason() {
        let note = "could not handle the request <em><a href=\"/\">GET /Reason: &lt;strong&gt;DNS lookup failure for</a></em>.<p>\n\
                    Reason: <strong>Error reading from remote server</strong></p>";
        assert_eq!(noted(note), Some(Signal::NoResponseHeaders));
    }

    #[test]
    fn an_error_answer_without_a_line_in_the_error_log_is_the_members() {
        let of = |log_id: &[u8], worker: &[u8]| {
            let fields = Fields::of(vec![("s", &b"503"[..]), ("L", log_id), ("e:balancer_worker_name", worker)]);
            record(&fields, &Zone::utc()).map(|record| (record.signal, record.origin))
        };
        assert_eq!(of(b"-", b"http://10.0.0.1:80"), Some((Signal::AppStatus, Origin::App)));
        assert_eq!(of(b"a2pZHgjQz30", b"http://10.0.0.1:80"), Some((Signal::StatusOnly, Origin::Unknown)));
        assert_eq!(of(b"-", b"-"), Some((Signal::StatusOnly, Origin::Unknown)));
    }

    #[test]
    fn workers_are_named_by_their_address() {
        assert_eq!(worker_address("http://192.0.2.11:9005/x"), "192.0.2.11:9005");
        assert_eq!(worker_address("unix:/run/a.sock|fcgi://localhost"), "unix:/run/a.sock");
    }
}
