//! Heroku's router: `at=error code=H13 ... dyno=web.3 connect=1ms service=9ms status=503`. The code says what happened (Dev
//! Center, error codes); a dyno stands for the upstream.

use super::stamp::{self, Zone};
use super::text_lines::{TextLines, value};
use super::{Attempt, Line, Origin, Reader, Record, Signal, Stamp};

/// A reader of the router's lines.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(TextLines { zone: zone.clone(), line: read, otherwise: "no line of Heroku's router" })
}

fn read(text: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
    let begin = ["at=", "sock=client at=", "sock=backend at="].iter().find_map(|start| begin(text, start))?;
    let at = at.or_else(|| stamp::rfc3339(text.as_bytes(), zone).map(|(at, _)| at));
    let text = text.get(begin..)?;
    let status = value(text, "status").and_then(|status| status.parse::<u16>().ok());
    // What the router says stands before what the client sent.
    let said = text.split(" method=").next().unwrap_or(text);
    let code = value(said, "code");
    let (signal, origin) = match (code, status) {
        (Some("H18"), _) if said.starts_with("sock=client") => (Signal::ClientAbort, Origin::Client),
        (Some(code), _) => (of_code(code), Origin::Gateway),
        (None, Some(status)) if status >= 400 => (Signal::AppStatus, Origin::App),
        (None, Some(_)) => (Signal::Ok, Origin::App),
        (None, None) => return None,
    };
    let us = |key: &str| value(text, key)?.trim_end_matches("ms").parse::<u64>().ok()?.checked_mul(1_000);
    let dyno = value(text, "dyno").filter(|dyno| !dyno.is_empty() && signal != Signal::NoLiveUpstream);
    let attempt = |dyno: &str| Attempt {
        upstream: Some(dyno.to_owned()),
        status: status.filter(|_| code.is_none()),
        signal,
        connect_us: us("connect"),
        response_us: us("service"),
        ..Attempt::default()
    };
    let owned = |key: &str| value(text, key).map(str::to_owned);
    Some(Line::Record(Box::new(Record {
        at,
        status,
        origin: if matches!(signal, Signal::ClientAbort | Signal::ClientError) { Origin::Client } else { origin },
        signal,
        attempts: dyno.map(attempt).into_iter().collect(),
        duration_us: us("service"),
        method: owned("method"),
        path: owned("path"),
        request_id: owned("request_id"),
        client: owned("fwd"),
        server: owned("host"),
        reason: code.and_then(|code| Some(format!("{code} {}", value(text, "desc")?))),
        body_bytes: value(text, "bytes").and_then(|bytes| bytes.parse().ok()),
        ..Record::default()
    })))
}

/// Where the router's words begin with this, if they do.
fn begin(text: &str, start: &str) -> Option<usize> {
    let at = text.find(start)?;
    (at == 0 || text.get(..at)?.trim_end().ends_with(':')).then_some(at)
}

fn of_code(code: &str) -> Signal {
    match code {
        // Nothing runs that a request could be given to: crashed, none scaled, still starting.
        "H10" | "H14" | "H20" => Signal::NoLiveUpstream,
        "H11" | "H22" => Signal::UpstreamOverflow,
        "H12" => Signal::ReadTimeout,
        "H13" | "H18" => Signal::NoResponseHeaders,
        "H15" => Signal::BodyTimeout,
        "H17" | "H25" => Signal::ResponseInvalid,
        "H19" => Signal::ConnectTimeout,
        "H21" => Signal::ConnectRefused,
        "H26" => Signal::ClientError,
        "H27" | "H28" => Signal::ClientAbort,
        "H16" | "H23" | "H24" | "H31" | "H80" | "H81" | "H82" | "H83" => Signal::LbLocalResponse,
        _ => Signal::UpstreamErrorUnspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses() {
        let line = |begin: &str, status: u16| {
            format!(
                "2026-11-22T06:35:22.1+00:00 heroku[router]: {begin} method=GET path=\"/x code=H12\" dyno=web.1 status={status}"
            )
        };
        for (begin, status, signal, upstream) in [
            ("at=info", 200, Signal::Ok, Some("web.1")),
            ("at=info", 502, Signal::AppStatus, Some("web.1")),
            ("at=error code=H12 desc=\"Request timeout\"", 503, Signal::ReadTimeout, Some("web.1")),
            ("at=error code=H10 desc=\"App crashed\"", 503, Signal::NoLiveUpstream, None),
            (
                "at=info code=H82 desc=\"Free app running time quota exhausted\"",
                503,
                Signal::LbLocalResponse,
                Some("web.1"),
            ),
            ("sock=client at=error code=H18 desc=\"Request Interrupted\"", 503, Signal::ClientAbort, Some("web.1")),
            ("sock=backend at=error code=H18 desc=\"x\"", 503, Signal::NoResponseHeaders, Some("web.1")),
        ] {
            let Line::Record(record) = reader(&Zone::utc()).read(line(begin, status).as_bytes()) else {
                panic!("{begin}")
            };
            let found = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
            assert_eq!((record.signal, record.status, found), (signal, Some(status), upstream), "{begin}");
            assert!(record.at.is_some());
        }
        assert!(matches!(reader(&Zone::utc()).read(b"web.1: at=sea"), Line::Unparsed(_)));
    }
}
