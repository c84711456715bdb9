//! Apache httpd's logs: access lines of the formats it ships or of a `LogFormat` setting, and the error log of mod_proxy and
//! its kin. Of an access line alone nobody can tell whether the application or the proxy made an error answer.

pub(super) mod access;
mod conf;
mod error;
pub(super) mod format;

use super::stamp::Zone;
use super::template::{Misfit, Template};
use super::{Line, Reader, Signal};
use super::{json, line};
pub(super) use conf::configuration;

/// A reader of Apache's logs. `format` is a `LogFormat` setting.
pub(super) fn reader(format: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    let shipped = [format::VHOST, format::COMMON].map(|setting| format::parse(setting).with_open_end());
    Box::new(Apache { zone: zone.clone(), given: format.map(format::parse), shipped, sending: None })
}

#[derive(Debug)]
struct Apache {
    zone: Zone,
    given: Option<Template>,
    shipped: [Template; 2],
    /// The process and thread whose last line told that a request could not be sent, and why: the next line of that thread is
    /// about the same and does not tell the reason again.
    sending: Option<(String, Signal)>,
}

impl Apache {
    fn by_given(&self, body: &[u8]) -> Option<Line> {
        match self.given.as_ref()?.read(body) {
            Ok(fields) if !fields.cut || fields.has("s") => {
                access::record(&fields, &self.zone).map(Box::new).map(Line::Record)
            }
            Ok(_) | Err(Misfit::Form) => None,
            Err(misfit) => Some(Line::Unparsed(misfit.says().to_owned())),
        }
    }

    fn by_shipped(&self, body: &[u8]) -> Option<Line> {
        let mut reads = self.shipped.iter().filter_map(|template| template.read(body).ok());
        reads.find_map(|fields| access::record(&fields, &self.zone)).map(Box::new).map(Line::Record)
    }

    fn by_error(&mut self, body: &[u8]) -> Option<Line> {
        let text = String::from_utf8_lossy(body);
        let parts = error::parts(&text, &self.zone)?;
        let before = self.sending.take().filter(|(process, _)| process == parts.process).map(|(_, signal)| signal);
        let line = parts.line(before);
        if let (Line::Record(record), "AH01084") = (&line, parts.number) {
            self.sending = Some((parts.process.to_owned(), record.signal));
        }
        Some(line)
    }

    /// JSON that a `LogFormat` was made to write, by the keys that people usually choose.
    fn by_json(&self, body: &[u8]) -> Option<Line> {
        if body.first() != Some(&b'{') {
            return None;
        }
        let object = match json::object(body) {
            Ok(object) => object,
            Err(why) => return Some(Line::Unparsed(why.to_owned())),
        };
        const KEYS: [(&str, &[&str]); 9] = [
            ("s", &["status", "status_code", "response_code"]),
            ("r", &["request", "request_line"]),
            ("m", &["method", "request_method", "requestMethod"]),
            ("U", &["path", "uri", "url", "request_uri", "requestURI"]),
            ("t:", &["time", "timestamp", "@timestamp", "ts"]),
            ("h", &["remote_addr", "client", "clientip", "client_ip", "remoteIP", "remote_ip", "remote_host"]),
            ("D", &["duration_us", "response_time_us", "D", "time_us"]),
            ("L", &["log_id", "request_id", "unique_id", "L"]),
            ("n:error-notes", &["error_notes", "error-notes"]),
        ];
        let found = KEYS.iter().filter_map(|(name, keys)| {
            keys.iter().find_map(|key| object.text(key)).map(|text| (*name, text.as_bytes()))
        });
        let fields = super::template::Fields::of(found.collect());
        access::record(&fields, &self.zone).map(Box::new).map(Line::Record)
    }

    fn by_any(&mut self, body: &[u8]) -> Option<Line> {
        let given = self.by_given(body);
        given.or_else(|| self.by_error(body)).or_else(|| self.by_shipped(body)).or_else(|| self.by_json(body))
    }
}

impl Reader for Apache {
    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let zone = self.zone.clone();
        let read = self.by_any(body).or_else(|| self.by_any(line::unframe(body, &zone)?.body));
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor one of Apache's error log".to_owned()))
    }
}
