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

pub(super) use conf::configuration;

use auto::Auto;
use error::ErrorReader;
use format::{Format, Match};

use super::line;
use super::stamp::Zone;
use super::{FormatError, Kind, Line, Log, Notice, Reader, Record, Signal, Stamp};

/// nginx's predefined format and that of its example configuration.
const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// A reader of an nginx log.
pub(super) fn reader(kind: Kind, log: Log, format: Option<&str>, zone: &Zone) -> Result<Box<dyn Reader>, FormatError> {
    let format = match format.map(str::trim) {
        None | Some("") => None,
        Some("combined") => Some(Format::compile(COMBINED)?),
        Some(text) => Some(Format::compile(text)?),
    };
    let stream = kind == Kind::NginxStream;
    Ok(Box::new(NginxReader {
        stream,
        log,
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
    auto: Auto,
    errors: ErrorReader,
    zone: Zone,
}

impl Reader for NginxReader {
    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        match self.body(body, None) {
            Line::Unparsed(why) => match line::unframe(body, &self.zone) {
                Some(framed) => self.body(framed.body, framed.at),
                None => Line::Unparsed(why),
            },
            line => line,
        }
    }
}

impl NginxReader {
    fn body(&mut self, body: &[u8], at: Option<Stamp>) -> Line {
        let text = String::from_utf8_lossy(body);
        match self.log {
            Log::Access => self.access(body, at),
            Log::Error => self.error(&text, at).unwrap_or_else(|| Line::Unparsed("no error-log line".to_owned())),
            Log::All if error::is_error_line(&text) => {
                self.error(&text, at).unwrap_or_else(|| Line::Unparsed("no error-log line".to_owned()))
            }
            Log::All => match self.access(body, at) {
                Line::Unparsed(why) => self.error(&text, at).unwrap_or(Line::Unparsed(why)),
                line => line,
            },
        }
    }

    fn error(&mut self, text: &str, at: Option<Stamp>) -> Option<Line> {
        controller(text).or_else(|| self.errors.read(text, at, &self.zone))
    }

    fn access(&mut self, body: &[u8], at: Option<Stamp>) -> Line {
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

/// ingress-nginx's controller writes beside nginx, in klog's form: `W1122 06:35:22.123456       7 file.go:1070] text`.
fn controller(text: &str) -> Option<Line> {
    let (head, says) = text.split_once("] ")?;
    let level = head.bytes().next()?;
    let place = head.rsplit_once(' ').map(|(_, place)| place)?;
    let dated = head.len() > 5 && head.as_bytes()[1..5].iter().all(u8::is_ascii_digit);
    if !b"IWEF".contains(&level) || !dated || !place.contains(".go:") {
        return None;
    }
    let mut notice = Notice { says: says.chars().take(400).collect(), signal: Signal::Noise, ..Notice::default() };
    if says.contains("does not have any active Endpoint") {
        notice.signal = Signal::NoLiveUpstream;
        notice.pool = says.split('"').nth(1).map(str::to_owned);
    } else if says.contains("reload") || says.contains("shutting down") || says.contains("Starting NGINX") {
        notice.signal = Signal::GatewayLifecycle;
    }
    Some(Line::Notice(Box::new(notice)))
}
