//! Traefik's logs: access lines as JSON or in its common format, and its own log, where the reason of a 502 stands at level
//! debug in the words of Go's libraries. An access line shows the same status for an application's answer and the proxy's own.

mod conf;
mod format;
mod glance;

use super::json::{self, Object, Value};
use super::json_lines::{later, stamp_of, status, told};
use super::stamp::{self, Zone};
use super::template::{Fields, Misfit, Template};
use super::{Attempt, Line, Notice, Origin, Reader, Record, Served, Signal, Stamp};
use super::{apache, go_error, line, mend};
pub(super) use conf::configuration;
use format::{common, older, plain};
use glance::Glance;

/// A reader of Traefik's logs.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    let common = [common(), older(), plain()];
    Box::new(Traefik { zone: zone.clone(), glance: Glance::new(&common[0]), common })
}

#[derive(Debug)]
struct Traefik {
    zone: Zone,
    common: [Template; 3],
    /// For lines in the first of these.
    glance: Option<Glance>,
}

impl Reader for Traefik {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        match line.first() {
            Some(b'{') => glance::of_object(line, &self.zone),
            _ => self.glance.as_mut()?.served(&self.common[0], line, &self.zone),
        }
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let read = self.by_any(body).or_else(|| line::within(body, &self.zone, |framed| self.by_any(framed.body)));
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor one of Traefik's own log".to_owned()))
    }
}

impl Traefik {
    fn by_any(&self, body: &[u8]) -> Option<Line> {
        if body.first() == Some(&b'{') {
            return Some(self.by_json(body));
        }
        self.by_common(body).or_else(|| own_text(&String::from_utf8_lossy(body), &self.zone))
    }

    fn by_json(&self, body: &[u8]) -> Line {
        let mended;
        let object = match json::object(body) {
            Ok(object) => object,
            Err(why) => {
                mended = mend::cut_object(body);
                match mended.as_deref().map(json::object) {
                    Some(Ok(object)) => object,
                    _ => return Line::Unparsed(why.to_owned()),
                }
            }
        };
        if object.get("DownstreamStatus").is_none() && object.get("OriginStatus").is_none() {
            return own_object(&object, &self.zone);
        }
        match access(&object, &self.zone) {
            Ok(record) => Line::Record(Box::new(record)),
            Err(why) => Line::Unparsed(why),
        }
    }

    fn by_common(&self, body: &[u8]) -> Option<Line> {
        let mut misfit = Misfit::Form;
        for template in &self.common {
            match template.read(body) {
                Ok(fields) if !fields.cut || fields.has("s") => return self.of_common(&fields),
                Err(other) if misfit == Misfit::Form => misfit = other,
                Ok(_) | Err(_) => {}
            }
        }
        (misfit != Misfit::Form).then(|| Line::Unparsed(misfit.says().to_owned()))
    }

    fn of_common(&self, fields: &Fields) -> Option<Line> {
        let text = |name: &str| {
            let text = String::from_utf8_lossy(fields.get(name)?);
            Some(text.trim_matches('"')).filter(|text| !matches!(*text, "" | "-")).map(str::to_owned)
        };
        let Some(status) = text("s") else {
            // Of a request that ended before there was an answer.
            let at = stamp::clf(fields.get("t")?, &self.zone).map(|(at, _)| at);
            return Some(Line::Record(Box::new(Record { at, client: text("h"), ..Record::default() })));
        };
        let answer = Answer {
            status: status.parse().ok()?,
            from_origin: None,
            upstream: text("service").map(|url| address(&url)),
            routed: text("router").is_some(),
            names_service: fields.has("service"),
        };
        let duration_us = text("ms").and_then(|ms| ms.parse::<u64>().ok()).and_then(|ms| ms.checked_mul(1000));
        let (method, path) = text("r").as_deref().map_or((None, None), apache::access::request_parts);
        Some(Line::Record(Box::new(Record {
            at: stamp::clf(fields.get("t")?, &self.zone).map(|(at, _)| later(at, duration_us)),
            duration_us,
            method,
            path,
            client: text("h"),
            pool: text("router"),
            body_bytes: text("b").and_then(|bytes| bytes.parse().ok()),
            ..answer.record(1)
        })))
    }
}

/// What an access line tells of its answer.
struct Answer {
    status: u16,
    /// None: the format has no such column.
    from_origin: Option<u16>,
    upstream: Option<String>,
    routed: bool,
    names_service: bool,
}

impl Answer {
    fn signal(&self) -> Signal {
        let status = self.status;
        match (&self.upstream, status) {
            (_, 499) => Signal::ClientAbort,
            (Some(_), ..400) if self.from_origin == Some(0) => Signal::BodyTruncated,
            (_, ..400) => Signal::Ok,
            // The proxy itself answers an upstream's failure with 499 or 500 and above only.
            (Some(_), 400..500) => Signal::AppStatus,
            (Some(_), _) => Signal::StatusOnly,
            (None, 404) if self.names_service => Signal::NoRoute,
            (None, 429) => Signal::RateLimited,
            (None, 400 | 408 | 414 | 417 | 431) => Signal::ClientError,
            (None, _) if self.names_service && self.routed => Signal::LbLocalResponse,
            (None, _) => Signal::StatusOnly,
        }
    }

    fn record(self, tries: usize) -> Record {
        let signal = self.signal();
        let origin = match signal {
            Signal::AppStatus | Signal::BodyTruncated => Origin::App,
            Signal::ClientAbort | Signal::ClientError => Origin::Client,
            Signal::StatusOnly => Origin::Unknown,
            Signal::Ok if self.upstream.is_some() => Origin::App,
            Signal::Ok => Origin::Unknown,
            _ => Origin::Gateway,
        };
        let retried = signal == Signal::Ok && tries > 1;
        let failed = Attempt { signal: Signal::UpstreamErrorUnspecified, ..Attempt::default() };
        let mut attempts = if retried { vec![failed; (tries - 1).min(16)] } else { Vec::new() };
        let status = Some(self.status);
        attempts.extend(self.upstream.map(|upstream| Attempt {
            upstream: Some(upstream),
            status,
            signal,
            ..Attempt::default()
        }));
        Record {
            status,
            origin,
            signal: if retried { Signal::RetriedOk } else { signal },
            attempts,
            ..Record::default()
        }
    }
}

/// `http://10.0.0.1:80/x` without scheme and path.
fn address(url: &str) -> String {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    host.split('/').next().unwrap_or(host).to_owned()
}

fn access(entry: &Object, zone: &Zone) -> Result<Record, String> {
    let Some(code) = status(entry.text("DownstreamStatus").or_else(|| entry.text("OriginStatus")))? else {
        return Err("no status".to_owned());
    };
    let url = entry
        .text("ServiceURL")
        .or_else(|| entry.get("ServiceURL").and_then(Value::object).and_then(|url| url.text("Host")));
    let named = told(entry, "ServiceAddr").or_else(|| url.filter(|url| !url.is_empty()).map(str::to_owned));
    let named = named.or_else(|| told(entry, "BackendAddr")).or_else(|| told(entry, "BackendURL"));
    let answer = Answer {
        status: code,
        from_origin: status(entry.text("OriginStatus"))?,
        upstream: named.map(|named| address(&named)),
        routed: told(entry, "RouterName").is_some() || told(entry, "FrontendName").is_some(),
        names_service: true,
    };
    let retries = entry.text("RetryAttempts").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let duration_us = entry.text("Duration").and_then(|ns| ns.parse::<u64>().ok()).map(|ns| ns / 1000);
    let begun = entry.text("StartUTC").or_else(|| entry.text("StartLocal"));
    Ok(Record {
        at: stamp_of(begun, zone).map(|at| later(at, duration_us)).or_else(|| stamp_of(entry.text("time"), zone)),
        duration_us,
        method: told(entry, "RequestMethod"),
        path: told(entry, "RequestPath"),
        request_id: told(entry, "request_X-Request-Id").or_else(|| told(entry, "TraceId")),
        client: told(entry, "ClientHost").or_else(|| told(entry, "ClientAddr")),
        server: told(entry, "RequestHost"),
        pool: told(entry, "ServiceName").or_else(|| told(entry, "BackendName")),
        body_bytes: entry.text("DownstreamContentSize").and_then(|bytes| bytes.parse().ok()),
        ..answer.record(retries.saturating_add(1))
    })
}

/// One entry of Traefik's own log, whichever way it was written.
struct Own<'a> {
    at: Option<Stamp>,
    level: &'a str,
    message: &'a str,
    error: &'a str,
    target: Option<&'a str>,
    service: Option<&'a str>,
}

fn own_object(entry: &Object, zone: &Zone) -> Line {
    let Some(message) = entry.text("message").or_else(|| entry.text("msg")) else {
        return Line::Unparsed("neither a status nor a message".to_owned());
    };
    let own = Own {
        at: stamp_of(entry.text("time"), zone),
        level: entry.text("level").unwrap_or(""),
        message,
        error: entry.text("error").unwrap_or(""),
        target: entry.text("targetURL").or_else(|| entry.text("url")),
        service: entry.text("serviceName"),
    };
    own.line()
}

/// `STAMP DBG path > message error="..."`, and before version 3 `time="..." level=debug msg="..."` or on a terminal
/// `DEBU[STAMP] message`.
fn own_text(text: &str, zone: &Zone) -> Option<Line> {
    let of_old = |time: Option<&str>, level, message: &str| {
        Own { at: stamp_of(time, zone), level, message, error: "", target: None, service: None }.line()
    };
    if text.starts_with("time=") || text.starts_with("level=") {
        // A client's text stands in the message, behind time and level.
        let (head, _) = text.split_once("msg=")?;
        let message = value(text, "msg=")?.replace("\\\"", "\"");
        return Some(of_old(value(head, "time="), value(head, "level=").unwrap_or(""), &message));
    }
    if let Some((level, rest)) = text.split_once('[').filter(|(level, _)| TERMINAL_LEVELS.contains(level)) {
        let (time, message) = rest.split_once(']')?;
        return Some(of_old(Some(time), level, message.trim()));
    }
    let (at, rest) = stamp::rfc3339(text.as_bytes(), zone)?;
    let rest = std::str::from_utf8(rest).ok()?.trim_start();
    let (level, rest) = rest.split_once(' ')?;
    if !matches!(level, "TRC" | "DBG" | "INF" | "WRN" | "ERR" | "FTL" | "PNC") {
        return None;
    }
    let said = rest.split_once(" > ").map_or(rest, |(_, said)| said);
    let message = said.split(" error=").next().unwrap_or(said);
    let error = value(said, " error=").unwrap_or("").replace("\\\"", "\"");
    let (target, service) = (value(said, "targetURL="), value(said, "serviceName="));
    Some(Own { at: Some(at), level, message, error: &error, target, service }.line())
}

/// Levels as the older log writes them on a terminal.
const TERMINAL_LEVELS: [&str; 7] = ["TRAC", "DEBU", "INFO", "WARN", "ERRO", "FATA", "PANI"];

/// The value of the first such key: a word, or a text in quotes with the inner ones escaped.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    let Some(inner) = rest.strip_prefix('"') else { return rest.split(' ').next() };
    let bare = inner.match_indices('"').find(|(at, _)| !inner.get(..*at).is_some_and(|before| before.ends_with('\\')));
    inner.get(..bare.map_or(inner.len(), |(at, _)| at))
}

impl Own<'_> {
    fn line(&self) -> Line {
        let (message, error) = match self.message.split_once("' caused by: ") {
            Some((status, error)) => (status.trim_start_matches('\''), error),
            None => (self.message, self.error),
        };
        let code = message.split(' ').next().filter(|word| word.len() == 3).and_then(|word| word.parse::<u16>().ok());
        if let (Some(code @ 400..), false) = (code, error.is_empty()) {
            return self.failure(Some(code), go_error::classify(error), error);
        }
        // Version 1 before 1.7.
        if let Some((url, error)) =
            message.split_once("Error forwarding to ").and_then(|(_, rest)| rest.split_once(", err: "))
        {
            let (signal, upstream) = go_error::classify(error);
            return self.failure(None, (signal, upstream.or_else(|| Some(address(url)))), error);
        }
        if let Some((_, error)) = message.split_once("ReverseProxy read error during body copy: ") {
            let signal = match go_error::classify(error).0 {
                Signal::ReadTimeout => Signal::BodyTimeout,
                Signal::ClientAbort => Signal::ClientAbort,
                _ => Signal::BodyTruncated,
            };
            return self.failure(None, (signal, go_error::classify(error).1), error);
        }
        self.notice(message)
    }

    fn failure(&self, status: Option<u16>, (signal, upstream): (Signal, Option<String>), error: &str) -> Line {
        let chosen = !matches!(signal, Signal::DnsFailure | Signal::NoLiveUpstream);
        let attempt = Attempt { upstream, signal, ..Attempt::default() };
        Line::Record(Box::new(Record {
            at: self.at,
            from_error_log: true,
            status,
            origin: if signal == Signal::ClientAbort { Origin::Client } else { Origin::Gateway },
            signal,
            attempts: if chosen { vec![attempt] } else { Vec::new() },
            reason: Some(error.chars().take(512).collect()),
            ..Record::default()
        }))
    }

    fn notice(&self, message: &str) -> Line {
        let begins = |starts: &[&str]| starts.iter().any(|start| message.starts_with(start));
        let down = begins(&["Health check failed", "Health check still failing"]);
        let url = self.target.or_else(|| message.split_once("URL: \"").and_then(|(_, rest)| rest.split('"').next()));
        let reason = message.split_once("Reason: ").map_or(self.error, |(_, reason)| reason);
        let signal = match self.level {
            _ if down => Signal::HealthCheckDown,
            _ if begins(&["Health check up"]) => Signal::HealthCheckUp,
            _ if message.starts_with("CircuitBreaker(state=tripped") || message.contains("state=tripped") => {
                Signal::UpstreamDisabled
            }
            "panic" | "PNC" | "PANI" => Signal::GatewayCrash,
            "fatal" | "FTL" | "FATA" => Signal::GatewayLifecycle,
            _ if begins(&[
                "Traefik version",
                "Starting",
                "Stopping",
                "Shutting down",
                "Server stopped",
                "Configuration received",
                "I have to go",
            ]) =>
            {
                Signal::GatewayLifecycle
            }
            _ => Signal::Noise,
        };
        let (check_status, check_signal) = if down { checked(reason) } else { (None, None) };
        Line::Notice(Box::new(Notice {
            at: self.at,
            upstream: url.filter(|_| matches!(signal, Signal::HealthCheckDown | Signal::HealthCheckUp)).map(address),
            pool: self.service.map(str::to_owned),
            signal,
            says: format!("{message} {}", self.error).trim().chars().take(512).collect(),
            check_status,
            check_signal,
            ..Notice::default()
        }))
    }
}

/// `checking HTTP health: received error status code: 503` or `...HTTP request failed: GO ERROR`.
fn checked(reason: &str) -> (Option<u16>, Option<Signal>) {
    if let Some((_, code)) = reason.split_once("received error status code: ") {
        return (code.split(' ').next().and_then(|code| code.parse().ok()), Some(Signal::AppStatus));
    }
    let error = reason.split_once("request failed: ").map_or(reason, |(_, error)| error);
    (None, (!error.is_empty()).then(|| go_error::classify(error).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Line {
        reader(&Zone::utc()).read(line.as_bytes())
    }

    #[test]
    fn the_older_log_is_read_too() {
        let line = "time=\"2023-05-01T10:00:00Z\" level=debug msg=\"'502 Bad Gateway' caused by: dial tcp 10.0.0.1:80: connect: connection refused\"";
        let Line::Record(record) = read(line) else { panic!("{line}") };
        assert_eq!((record.status, record.signal), (Some(502), Signal::ConnectRefused));
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("10.0.0.1:80"));
        for line in [
            "level=debug msg=\"'502 Bad Gateway' caused by: EOF\"",
            "time=\"2017-05-01T10:00:00Z\" level=warning msg=\"Error forwarding to http://10.0.0.1:80, err: EOF\"",
            "DEBU[2023-05-01T10:00:00Z] '502 Bad Gateway' caused by: EOF  ",
        ] {
            assert!(
                matches!(read(line), Line::Record(record) if record.signal == Signal::ClosedBeforeHeaders),
                "{line}"
            );
        }
        let line = "time=\"2023-05-01T10:00:00Z\" level=warning msg=\"Health check failed, removing from server list. Backend: \\\"a@file\\\" URL: \\\"http://10.0.0.1:80\\\" Weight: 1 Reason: received error status code: 500\"";
        let Line::Notice(notice) = read(line) else { panic!("{line}") };
        assert_eq!((notice.upstream.as_deref(), notice.check_status), (Some("10.0.0.1:80"), Some(500)));
    }

    #[test]
    fn older_versions_leave_out_quotes_and_statuses() {
        let begin = "198.51.100.7 - - [22/Nov/2026:07:02:50 +0000] \"GET /x HTTP/1.1\"";
        for (rest, signal, upstream) in [
            ("502 11 - \"curl\" 17 \"Host-a\" \"http://10.0.0.1:80\" 1ms", Signal::StatusOnly, Some("10.0.0.1:80")),
            ("200 2 \"-\" \"-\" 1 \"ping@internal\" - 0ms", Signal::Ok, None),
            ("- - \"-\" \"-\" 746 \"-\" \"-\" 0ms", Signal::Unknown, None),
        ] {
            let Line::Record(record) = read(&format!("{begin} {rest}")) else { panic!("{rest}") };
            let found = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
            assert_eq!((record.signal, found), (signal, upstream), "{rest}");
        }
    }

    #[test]
    fn a_raw_request_cannot_shift_the_status() {
        let line = "198.51.100.7 - - [22/Nov/2026:07:02:50 +0000] \"GET /a\" 502 11 \"-\" \"x\" 1 \"r\" \"http://192.0.2.66:80\" 0ms HTTP/1.1\" 200 6 \"-\" \"curl\" 79 \"a@file\" \"http://192.0.2.11:80\" 0ms";
        match read(line) {
            Line::Record(record) => assert_eq!(record.signal, Signal::Ok),
            line => assert!(matches!(line, Line::Unparsed(_))),
        }
    }
}
