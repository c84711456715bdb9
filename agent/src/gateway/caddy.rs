//! Caddy's log: JSON objects (`http.log.access`, `http.log.error`, the reverse proxy's own loggers), also in the console
//! encoding, where the object follows stamp, level, logger and message behind tabs. The access entry tells no upstream; the
//! error entry of the same request does, in the words of Go's libraries.

mod conf;
mod glance;

pub(super) use conf::configuration;

use super::apache::{access, format};
use super::json::{self, Object, Value};
use super::json_lines::scaled_us;
use super::stamp::{self, Zone};
use super::template::Template;
use super::{Attempt, Line, Notice, Origin, Reader, Record, Served, Signal, Stamp};
use super::{go_error, line, mend};

/// A reader of Caddy's log. Its encoders have no format setting that a line could be read by.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    let common = format::parse(format::COMMON).with_open_end();
    Box::new(Caddy { zone: zone.clone(), common })
}

#[derive(Debug)]
struct Caddy {
    zone: Zone,
    /// The common log, which encoders beyond Caddy's own write.
    common: Template,
}

/// Levels in the console's encoding, which writes them large or small.
const LEVELS: [&str; 6] = ["debug", "info", "warn", "error", "panic", "fatal"];
/// The modules that log under a name of their own.
const LOGGERS: [&str; 8] = ["http", "tls", "admin", "pki", "caddy", "events", "layer4", "docker-proxy"];

/// Whether a word is the name of a logger: a module's, or one within it.
fn is_logger(word: &str) -> bool {
    LOGGERS.contains(&word.split('.').next().unwrap_or(word))
}

/// One entry, from either encoding.
struct Entry<'a> {
    at: Option<Stamp>,
    level: &'a str,
    logger: &'a str,
    message: &'a str,
    fields: &'a Object<'a>,
}

impl Reader for Caddy {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        glance::served(self, line)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let framed = || line::within(body, &self.zone, |framed| self.entry(framed.body).ok());
        match self.entry(body) {
            Ok(line) => line,
            Err(why) => framed().or_else(|| self.by_common(body)).unwrap_or_else(|| Line::Unparsed(why.to_owned())),
        }
    }
}

impl Caddy {
    fn by_common(&self, body: &[u8]) -> Option<Line> {
        let fields = self.common.read(body).ok()?;
        access::record(&fields, &self.zone).map(boxed)
    }

    fn entry(&self, body: &[u8]) -> Result<Line, &'static str> {
        let (head, object) = match memchr::memchr(b'{', body) {
            Some(brace) => body.split_at(brace),
            // What needs no fields has no object in the console's encoding.
            None => (body, b"{}".as_slice()),
        };
        let mended;
        let fields = match json::object(object) {
            Ok(fields) => fields,
            Err(why) => {
                mended = mend::cut_object(object).ok_or(why)?;
                json::object(&mended)?
            }
        };
        if !head.is_empty() {
            let head = String::from_utf8_lossy(head);
            return self.console(&head, &fields).ok_or("text before the JSON object");
        }
        let text = |name| fields.text(name).unwrap_or("");
        if fields.get("msg").is_none() && fields.get("status").is_none() {
            return Err("neither a message nor a status");
        }
        let at = fields.text("ts").or_else(|| fields.text("time")).and_then(|text| self.stamp(text));
        let entry = Entry { at, level: text("level"), logger: text("logger"), message: text("msg"), fields: &fields };
        Ok(entry.line())
    }

    /// `2026/11/22 06:57:29.123<tab>ERROR<tab>http.log.error<tab>message<tab>{...}`; stamp and logger may be missing, and
    /// copies have blanks for the tabs.
    fn console(&self, head: &str, fields: &Object) -> Option<Line> {
        let small = head.to_ascii_lowercase();
        let level_at = LEVELS.iter().filter_map(|level| small.find(level)).min()?;
        let (stamp, rest) = head.split_at(level_at);
        let at = if stamp.is_empty() { None } else { Some(self.stamp(stamp.trim_end())?) };
        let (level, rest) = rest.split_once(['\t', ' '])?;
        let level = level.to_ascii_lowercase();
        if !LEVELS.contains(&level.as_str()) {
            return None;
        }
        let rest = rest.trim();
        let (logger, message) = match rest.split_once(['\t', ' ']) {
            Some((logger, message)) if is_logger(logger) => (logger, message.trim_start()),
            _ => ("", rest),
        };
        Some(Entry { at, level: &level, logger, message, fields }.line())
    }

    /// A time in any form, also in seconds as `1.795329325e+09`.
    fn stamp(&self, text: &str) -> Option<Stamp> {
        let seconds = || {
            let unix_us = i64::try_from(scaled_us(Some(text), 1e6)?).ok()?;
            Some(Stamp { unix_us, precision_us: 1_000 })
        };
        stamp::whole(text.as_bytes(), &self.zone).or_else(seconds)
    }
}

impl Entry<'_> {
    fn line(&self) -> Line {
        let is = |name: &str| {
            self.logger == name || self.logger.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        };
        if is("http.log.access") || self.message == "handled request" {
            return self.access();
        }
        if is("http.log.error") {
            return self.failure(self.message);
        }
        if self.logger.starts_with("http.handlers.reverse_proxy.health_checker") {
            return self.health_check();
        }
        if is("http.handlers.reverse_proxy") {
            return self.proxy();
        }
        self.own()
    }

    fn status(&self) -> Result<Option<u16>, Line> {
        match self.fields.get("status").and_then(Value::text) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Line::Unparsed("status is no status".to_owned())),
        }
    }

    /// What an entry tells of its request.
    fn request(&self, status: Option<u16>) -> Record {
        let request = self.fields.get("request").and_then(Value::object);
        let text = |name: &str| request.and_then(|request| request.text(name)).map(str::to_owned);
        Record {
            at: self.at,
            status,
            duration_us: self.fields.text("duration").and_then(duration_us),
            method: text("method"),
            path: text("uri"),
            client: text("remote_ip").or_else(|| {
                text("remote_addr").map(|at| at.rsplit_once(':').map_or(at.clone(), |(ip, _)| ip.to_owned()))
            }),
            // The client's port joins the entries of one request: Caddy numbers neither requests nor connections.
            connection: text("remote_port").and_then(|port| port.parse().ok()),
            server: text("host"),
            body_bytes: self.fields.text("size").and_then(|size| size.parse().ok()),
            ..Record::default()
        }
    }

    fn access(&self) -> Line {
        let status = match self.status() {
            Ok(status) => status,
            Err(unparsed) => return unparsed,
        };
        let (signal, origin) = match status {
            None => (Signal::Unknown, Origin::Unknown),
            Some(0 | 499) => (Signal::ClientAbort, Origin::Client),
            Some(..400) => (Signal::Ok, Origin::Unknown),
            // Never passed on; any other 4xx may be the application's own.
            Some(400 | 408 | 414 | 417 | 431) => (Signal::ClientError, Origin::Client),
            Some(_) if self.came_from_upstream() => (Signal::AppStatus, Origin::App),
            Some(_) => (Signal::StatusOnly, Origin::Unknown),
        };
        let answered = status.filter(|_| self.came_from_upstream());
        let upstream = self.fields.text("upstream").filter(|upstream| !upstream.is_empty());
        let attempt = |upstream: &str| Attempt {
            upstream: Some(upstream.to_owned()),
            status: answered,
            signal,
            ..Attempt::default()
        };
        let attempts = upstream.map(attempt).into_iter().collect();
        boxed(Record { signal, origin, attempts, ..self.request(status) })
    }

    /// The time to the upstream's header, which `log_append` writes where one asked for it: there was a header.
    fn came_from_upstream(&self) -> bool {
        self.fields.text("upstream_latency_ms").is_some()
    }

    /// The handler's error for a request.
    fn failure(&self, error: &str) -> Line {
        let status = match self.status() {
            Ok(status) => status,
            Err(unparsed) => return unparsed,
        };
        // Other handlers' errors (a missing file, a refused authentication) speak of no upstream. The proxy's own end in 499,
        // 502, 503 or 504.
        let elsewhere = match self.fields.text("err_trace") {
            Some(trace) => !trace.contains("reverseproxy"),
            None => !matches!(status, None | Some(499 | 502..=504)),
        };
        let (signal, upstream) = match status {
            _ if elsewhere && status.is_some_and(|status| status < 500) => (Signal::StatusOnly, None),
            _ if elsewhere => (Signal::LbLocalResponse, None),
            _ => go_error::classify(error),
        };
        let upstream = upstream.or_else(|| self.fields.text("upstream").map(str::to_owned));
        let chosen = !elsewhere && !matches!(signal, Signal::NoLiveUpstream | Signal::DnsFailure);
        let attempt = || Attempt { upstream, signal, ..Attempt::default() };
        let origin = match signal {
            Signal::ClientAbort => Origin::Client,
            Signal::StatusOnly => Origin::Unknown,
            _ => Origin::Gateway,
        };
        boxed(Record {
            from_error_log: true,
            signal,
            origin,
            attempts: if chosen { vec![attempt()] } else { Vec::new() },
            reason: Some(bounded(error)),
            ..self.request(status)
        })
    }

    /// The reverse proxy's own logger: cut answers, and at level debug each round trip.
    fn proxy(&self) -> Line {
        let error = self.fields.text("error").unwrap_or("");
        match self.message {
            "aborting with incomplete response" => {
                let signal = match go_error::classify(error).0 {
                    // What was read goes on to the client: it is the client that was lost.
                    _ if error.starts_with("writing: ") => Signal::ClientAbort,
                    Signal::ReadTimeout | Signal::SendTimeout => Signal::BodyTimeout,
                    Signal::ClientAbort => Signal::ClientAbort,
                    _ => Signal::BodyTruncated,
                };
                let upstream = self.fields.text("upstream").map(str::to_owned);
                let attempts = vec![Attempt { upstream, signal, ..Attempt::default() }];
                let record = self.request(None);
                let reason = Some(bounded(error));
                let origin = if signal == Signal::ClientAbort { Origin::Client } else { Origin::App };
                boxed(Record { from_error_log: true, signal, origin, attempts, reason, ..record })
            }
            "upstream roundtrip" if error.is_empty() => {
                let status = self.status().unwrap_or(None);
                let signal = if status.is_some_and(|status| status >= 400) { Signal::AppStatus } else { Signal::Ok };
                let upstream = self.fields.text("upstream").map(str::to_owned);
                let attempts = vec![Attempt { upstream, status, signal, ..Attempt::default() }];
                boxed(Record { from_error_log: true, signal, origin: Origin::App, attempts, ..self.request(None) })
            }
            "upstream roundtrip" => self.failure(error),
            _ => self.notice(Signal::Noise),
        }
    }

    fn health_check(&self) -> Line {
        let upstream = self.fields.text("host").or_else(|| self.fields.text("address")).map(str::to_owned);
        let check_status = self.fields.text("status_code").and_then(|code| code.parse().ok());
        let (signal, check_signal) = match (self.message, self.fields.text("error")) {
            ("host is up", _) => (Signal::HealthCheckUp, Some(Signal::Ok)),
            (_, Some(error)) => (Signal::HealthCheckDown, Some(go_error::classify(error).0)),
            _ if check_status.is_some() => (Signal::HealthCheckDown, Some(Signal::AppStatus)),
            ("response body failed expectations" | "host is down", None) => (Signal::HealthCheckDown, None),
            _ => (Signal::Noise, None),
        };
        let says =
            self.fields.text("error").map_or(self.message.to_owned(), |error| format!("{}: {error}", self.message));
        let notice = Notice {
            at: self.at,
            upstream,
            signal,
            check_status,
            check_signal,
            says: bounded(&says),
            ..Notice::default()
        };
        Line::Notice(Box::new(notice))
    }

    /// What Caddy says of itself.
    fn own(&self) -> Line {
        let begins = |starts: &[&str]| starts.iter().any(|start| self.message.starts_with(start));
        let told = |parts: &[&str]| parts.iter().any(|part| self.message.contains(part));
        let signal = match self.level {
            "panic" | "fatal" => Signal::GatewayCrash,
            _ if told(&["too many open files"]) => Signal::GatewayResource,
            _ if self.logger.is_empty() && self.level == "error" => Signal::GatewayLifecycle,
            _ if begins(&[
                "serving initial configuration",
                "shutting down",
                "exiting",
                "loading",
                "using ",
                "autosaved config",
                "admin endpoint",
                "server running",
                "shutdown complete",
                "stopped previous",
                "config is unchanged",
                "load complete",
            ]) =>
            {
                Signal::GatewayLifecycle
            }
            _ => Signal::Noise,
        };
        self.notice(signal)
    }

    fn notice(&self, signal: Signal) -> Line {
        Line::Notice(Box::new(Notice { at: self.at, signal, says: bounded(self.message), ..Notice::default() }))
    }
}

/// Seconds as a number, or Go's `1.5ms` where the encoder writes strings.
fn duration_us(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale_us = match unit {
        "" | "s" => 1e6,
        "ms" => 1e3,
        "us" | "\u{b5}s" => 1.0,
        "ns" => 1e-3,
        _ => return None,
    };
    let us = number.parse::<f64>().ok()? * scale_us;
    // The cast saturates, and a number read from digits is no NaN.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some(us.round() as u64)
}

fn bounded(text: &str) -> String {
    text.chars().take(512).collect()
}

fn boxed(record: Record) -> Line {
    Line::Record(Box::new(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Line {
        reader(&Zone::utc()).read(line.as_bytes())
    }

    #[test]
    fn console_lines_are_read_too() {
        let line = "2026/11/22 06:57:29.123\tERROR\thttp.log.error\tdial tcp 10.0.0.1:80: connect: connection refused\t\
                    {\"request\": {\"remote_ip\": \"198.51.100.7\", \"method\": \"GET\", \"uri\": \"/\"}, \"status\": 502}";
        let Line::Record(record) = read(line) else { panic!("{line}") };
        assert_eq!((record.status, record.signal), (Some(502), Signal::ConnectRefused));
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("10.0.0.1:80"));
        assert!(record.at.is_some());
        let older = line.replace("2026/11/22 06:57:29.123\tERROR", "1.576867456328023e+09\terror");
        assert!(matches!(read(&older), Line::Record(record) if record.at.unwrap().unix_us == 1_576_867_456_328_023));
        for copied in [line.replace('\t', "  "), line.split_once('\t').unwrap().1.to_owned()] {
            assert!(
                matches!(read(&copied), Line::Record(record) if record.signal == Signal::ConnectRefused),
                "{copied}"
            );
        }
        let signal = |line: &str| match read(line) {
            Line::Notice(notice) => Some(notice.signal),
            _ => None,
        };
        let bare = "2026/11/22 06:57:29.123\tINFO\tserving initial configuration";
        assert_eq!(signal(bare), Some(Signal::GatewayLifecycle));
        assert_eq!(
            signal("2026/11/22 06:57:29.123\tINFO\ttls\tstorage cleaning happened too recently"),
            Some(Signal::Noise)
        );
        assert_eq!(signal("INFORMATION of somebody else"), None);
    }

    #[test]
    fn an_upstreams_answer_is_told_from_caddys_own() {
        let of = |rest: &str| {
            let line =
                format!(r#"{{"ts":1795330791.6,"logger":"http.log.access.log0","msg":"handled request",{rest}}}"#);
            let Line::Record(record) = read(&line) else { panic!("{line}") };
            (record.signal, record.origin, record.attempts.first().and_then(|attempt| attempt.upstream.clone()))
        };
        let upstream = Some("10.0.0.1:80".to_owned());
        let by_latency = r#""status":503,"upstream_latency_ms":0.97,"upstream":"10.0.0.1:80""#;
        assert_eq!(of(by_latency), (Signal::AppStatus, Origin::App, upstream.clone()));
        let own =
            r#""status":502,"resp_headers":{"Server":["Caddy"]},"upstream_latency_ms":null,"upstream":"10.0.0.1:80""#;
        assert_eq!(of(own), (Signal::StatusOnly, Origin::Unknown, upstream));
    }

    #[test]
    fn another_handlers_error_speaks_of_no_upstream() {
        let line = r#"{"level":"debug","ts":1795330791.6,"logger":"http.log.error","msg":"stat /srv/dial tcp 10.0.0.1:80: connection refused: no such file or directory","status":404,"err_trace":"fileserver.(*FileServer).notFound (staticfiles.go:651)"}"#;
        let Line::Record(record) = read(line) else { panic!("{line}") };
        assert_eq!((record.signal, record.attempts.len()), (Signal::StatusOnly, 0));
    }

    #[test]
    fn durations_come_as_numbers_and_words() {
        assert_eq!(duration_us("0.00042496"), Some(425));
        assert_eq!(duration_us("1.5ms"), Some(1500));
        assert_eq!(duration_us("-"), None);
    }
}
