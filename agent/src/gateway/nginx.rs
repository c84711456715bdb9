//! nginx, its stream module and ingress-nginx: access lines of any `log_format`, the error log, the controller's own
//! words, and the configuration.

mod access;
mod auto;
mod conf;
mod error;
mod error_fields;
mod error_signals;
mod fields;
mod format;
mod glance;

pub(super) use conf::configuration;

use auto::Auto;
use error::ErrorReader;
use format::{Format, Match};
use glance::Glance;

use super::line;
use super::stamp::Zone;
use super::{FormatError, Kind, Line, Log, Notice, Reader, Record, Served, Signal, Stamp};

/// nginx's predefined format and that of its example configuration.
const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// A reader of an nginx log.
pub(super) fn reader(kind: Kind, log: Log, format: Option<&str>, zone: &Zone) -> Result<Box<dyn Reader>, FormatError> {
    let format = match format.map(str::trim) {
        None | Some("") => None,
        Some("combined") => Some(Format::compile(COMBINED)?),
        Some(text) => Some(Format::compile(&conf::unquoted(text).unwrap_or_else(|| text.to_owned()))?),
    };
    let stream = kind == Kind::NginxStream;
    Ok(Box::new(NginxReader {
        stream,
        log,
        glance: format.as_ref().filter(|_| log == Log::Access).and_then(|format| Glance::new(format, stream)),
        format,
        auto: Auto::new(stream),
        errors: ErrorReader::default(),
        zone: zone.clone(),
    }))
}

struct NginxReader {
    stream: bool,
    log: Log,
    format: Option<Format>,
    glance: Option<Glance>,
    auto: Auto,
    errors: ErrorReader,
    zone: Zone,
}

impl Reader for NginxReader {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        self.glance.as_mut()?.served(self.format.as_ref()?, line, &self.zone)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        if let Some((record, at)) = self.framed_error(body) {
            return self.error(record, at);
        }
        if let Some(line) = self.framed_access(body) {
            return line;
        }
        match self.body(body, None) {
            Line::Unparsed(why) => {
                let zone = self.zone.clone();
                let framed = line::within(body, &zone, |framed| Some(self.body(framed.body, framed.at)));
                framed.unwrap_or(Line::Unparsed(why))
            }
            line => line,
        }
    }
}

impl NginxReader {
    /// The error record behind a frame: with the frame it would look like one whose own beginning was cut off.
    fn framed_error<'a>(&self, body: &'a [u8]) -> Option<(&'a [u8], Option<Stamp>)> {
        if self.log == Log::Access || begins_as_error(body) {
            return None;
        }
        let framed = line::unframe(body, &self.zone)?;
        begins_as_error(framed.body).then_some((framed.body, framed.at))
    }

    /// The line in the format that was given within a frame: with the frame it may look like one in another format.
    fn framed_access(&self, body: &[u8]) -> Option<Line> {
        let format = self.format.as_ref().filter(|_| self.log != Log::Error)?;
        let fits = |body: &[u8]| !matches!(format.read(body), Match::No);
        let framed = line::unframe(body, &self.zone)?;
        (fits(framed.body) && !fits(body)).then(|| self.access(framed.body, framed.at))
    }

    fn body(&mut self, body: &[u8], at: Option<Stamp>) -> Line {
        match self.log {
            Log::Access => self.access(body, at),
            Log::Error => self.error(body, at),
            Log::All if begins_as_error(body) => self.error(body, at),
            Log::All => match self.access(body, at) {
                Line::Unparsed(why) => match self.error(body, at) {
                    Line::Unparsed(_) => Line::Unparsed(why),
                    line => line,
                },
                line => line,
            },
        }
    }

    fn error(&mut self, body: &[u8], at: Option<Stamp>) -> Line {
        if body.first() == Some(&b'{') {
            return Line::Unparsed("an object, not a line of the error log".to_owned());
        }
        let text = String::from_utf8_lossy(body);
        controller(&text, at)
            .or_else(|| self.errors.read(&text, at, &self.zone))
            .unwrap_or_else(|| Line::Unparsed("no error-log line".to_owned()))
    }

    fn access(&self, body: &[u8], at: Option<Stamp>) -> Line {
        match self.record(body) {
            Ok(mut record) => {
                record.at = record.at.or(at);
                Line::Record(Box::new(record))
            }
            Err(why) => Line::Unparsed(why.to_owned()),
        }
    }

    fn record(&self, body: &[u8]) -> Result<Record, &'static str> {
        let fields = match self.format.as_ref().map(|format| format.read(body)) {
            Some(Match::Fits(fields)) => fields,
            Some(Match::TwoReadings) => {
                return Err("the format leaves a client's text open: this line has two readings");
            }
            Some(Match::No) | None => self.auto.read(body)?,
        };
        if self.stream { access::stream(&fields, &self.zone) } else { access::http(&fields, &self.zone) }
    }
}

fn begins_as_error(body: &[u8]) -> bool {
    let first = &body[..body.len().min(64)];
    (memchr::memchr(b'#', first).is_some() || first.get(4) == Some(&b'/'))
        && error::is_error_line(&String::from_utf8_lossy(body))
}

/// ingress-nginx's controller writes beside nginx, in klog's form: `W1122 06:35:22.123456       7 file.go:1070] text`.
fn controller(text: &str, at: Option<Stamp>) -> Option<Line> {
    let (head, says) = text.split_once("] ")?;
    let level = head.bytes().next()?;
    let place = head.rsplit_once(' ').map(|(_, place)| place)?;
    let dated = head.len() > 5 && head.as_bytes()[1..5].iter().all(u8::is_ascii_digit);
    if !b"IWEF".contains(&level) || !dated || !place.contains(".go:") {
        return None;
    }
    let says: String = says.chars().take(400).collect();
    let mut notice = Notice { at, says, signal: Signal::Noise, ..Notice::default() };
    let says = &notice.says;
    if says.contains("does not have any active Endpoint") {
        notice.signal = Signal::NoLiveUpstream;
        notice.pool = says.split('"').nth(1).map(str::to_owned);
    } else if says.contains("reload") || says.contains("shutting down") || says.contains("Starting NGINX") {
        notice.signal = Signal::GatewayLifecycle;
    }
    Some(Line::Notice(Box::new(notice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Asked;

    fn signal(log: Log, format: Option<&str>, line: &str) -> Option<&'static str> {
        let mut reader = reader(Kind::Nginx, log, format, &Zone::utc()).unwrap();
        match reader.read(line.as_bytes()) {
            Line::Record(record) => Some(record.signal.id()),
            Line::Notice(notice) => Some(notice.signal.id()),
            Line::Unparsed(_) => None,
        }
    }

    #[test]
    fn a_format_may_be_written_as_in_a_configuration() {
        let line = r#"502|10.0.0.2:80|502|-|-"#;
        let plain = "$status|$upstream_addr|$upstream_status|$upstream_connect_time|$upstream_header_time";
        let (first, second) = plain.split_at(8);
        for format in [
            plain.to_owned(),
            format!("'{first}' '{second}'"),
            format!("log_format x escape=json '{first}'\n   '{second}';"),
            format!("escape=json '{first}' '{second}';"),
        ] {
            assert_eq!(signal(Log::Access, Some(&format), line), Some("connect_failed"), "{format}");
        }
        assert!(reader(Kind::Nginx, Log::Access, Some("no variable"), &Zone::utc()).is_err());
    }

    #[test]
    fn a_glance_says_what_the_whole_reading_says() {
        let format = r#"$remote_addr [$time_local] "$request" $status $upstream_addr $upstream_status $upstream_response_time "$http_user_agent""#;
        let mut reader = reader(Kind::Nginx, Log::Access, Some(format), &Zone::utc()).unwrap();
        let begin = r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" "#;
        let mut glances = 0;
        for rest in [
            r#"200 10.0.0.2:3000 200 0.012 "curl""#,
            r#"304 unix:/run/a.sock 304 0.000 "a \"b\" 502 10.9.9.9:1 502""#,
            r#"200 - - - "curl""#,
            r#"200 10.0.0.2:3000, 10.0.0.3:3000 502, 200 0.001, 0.002 "curl""#,
            r#"502 10.0.0.2:3000 502 0.012 "curl""#,
            r#"404 10.0.0.2:3000 200 0.012 "curl""#,
            r#"200 10.0.0.2:3000 200 - "curl""#,
            r#"200  200 0.012 "curl""#,
            r#"200 10.0.0.2:3000 200 0.012 "curl"#,
        ] {
            let line = format!("{begin}{rest}");
            let read = reader.read(line.as_bytes());
            let Some(served) = reader.served(line.as_bytes()) else { continue };
            glances += 1;
            let Line::Record(record) = read else { panic!("{line}") };
            assert_eq!((record.signal, record.at), (Signal::Ok, served.at), "{line}");
            assert!(record.attempts.len() <= 1 && record.status.is_some_and(|status| status < 400), "{line}");
            let attempt = record.attempts.first().cloned().unwrap_or_default();
            assert_eq!(attempt.upstream.as_deref(), served.upstream, "{line}");
            if served.upstream.is_some() {
                assert_eq!((attempt.signal, record.took_us(&attempt)), (Signal::Ok, served.took_us), "{line}");
            }
            assert_eq!(served.request.and_then(Asked::path_of_get), Some("/a"));
        }
        assert_eq!(glances, 3);
    }

    #[test]
    fn both_logs_in_one() {
        let access = r#"10.0.0.1 - - [22/Nov/2026:06:35:22 +0000] "GET /#1 HTTP/1.1" 502 157 "-" "x""#;
        let error = "2026/11/22 06:39:38 [alert] 7#7: worker process 8 exited on signal 11";
        let controller =
            "W1122 06:35:22.123456       7 controller.go:1070] Service \"a/b\" does not have any active Endpoint.";
        let refused = "2026/11/22 06:39:38 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting to \
            upstream, client: 10.0.0.1, server: s, request: \"GET / HTTP/1.1\", upstream: \"http://10.0.0.2:80/\"";
        for (line, wanted) in [
            (access, "status_only"),
            (error, "gateway_crash"),
            (controller, "no_live_upstream"),
            (refused, "connect_refused"),
        ] {
            for frame in ["", "web_1  | ", "2026-11-22T06:39:38.1Z stderr F ", "Nov 22 06:39:38 lb nginx: "] {
                assert_eq!(signal(Log::All, None, &format!("{frame}{line}")), Some(wanted), "{frame}{line}");
            }
        }
        assert_eq!(signal(Log::Access, None, error), None);
        assert_eq!(signal(Log::Error, None, access), None);
    }
}
