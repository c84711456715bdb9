//! Apache httpd's logs: access lines of the formats it ships or of a `LogFormat` setting, and the error log of mod_proxy and
//! its kin. Of an access line alone nobody can tell whether the application or the proxy made an error answer.

pub(super) mod access;
mod conf;
mod errno;
mod error;
pub(super) mod format;
pub(super) mod glance;

use std::collections::VecDeque;

use super::stamp::Zone;
use super::template::{Misfit, Template};
use super::{Attempt, Line, Reader, Served};
use super::{json, line};
pub(super) use conf::configuration;
use glance::Glance;

/// Threads that may be in the middle of telling of a failure.
const MOST_FAILING: usize = 64;

/// A reader of Apache's logs. `format` is a `LogFormat` setting.
pub(super) fn reader(format: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    let shipped = [format::VHOST, format::COMMON].map(|setting| format::parse(setting).with_open_end());
    let given = format.map(format::parse);
    let glance = Glance::new(given.as_ref().unwrap_or(&shipped[1]));
    Box::new(Apache { zone: zone.clone(), given, shipped, glance, failing: VecDeque::new() })
}

#[derive(Debug)]
struct Apache {
    zone: Zone,
    given: Option<Template>,
    shipped: [Template; 2],
    /// For lines in the format that was given, or in the common one where none was.
    glance: Option<Glance>,
    /// Processes and threads whose last line told how an attempt failed: the next line of that thread is about the same and
    /// does not tell it again. The oldest goes first.
    failing: VecDeque<(String, Attempt)>,
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
        // That the worker is left out for a while stands between the attempt and the line of the request.
        let of_worker = parts.number == "AH00959";
        let before = self.failing.iter().position(|(process, _)| process == parts.process && !of_worker);
        let before = before.and_then(|at| self.failing.remove(at)).map(|(_, attempt)| attempt);
        let line = parts.line(before.as_ref());
        if let (Line::Record(record), "AH01084" | "AH00957" | "AH02454" | "AH01102" | "AH10124" | "AH10404") =
            (&line, parts.number)
            && let Some(attempt) = record.attempts.first()
        {
            self.failing.push_back((parts.process.to_owned(), attempt.clone()));
            if self.failing.len() > MOST_FAILING {
                self.failing.pop_front();
            }
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
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        let first = line.get(..memchr::memchr(b' ', line)?)?;
        // Else it may be a line of the error log, or one that names the virtual host first.
        let is_common = first.first().is_some_and(u8::is_ascii_alphanumeric) && !first.contains(&b':');
        let template = self.given.as_ref().or(is_common.then_some(&self.shipped[1]))?;
        self.glance.as_mut()?.served(template, line, &self.zone)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let zone = self.zone.clone();
        let read = self.by_any(body).or_else(|| line::within(body, &zone, |framed| self.by_any(framed.body)));
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor one of Apache's error log".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Signal;

    #[test]
    fn the_line_of_the_request_takes_the_address_from_the_line_before_of_its_thread() {
        let mut reader = reader(None, &Zone::utc());
        let mut read = |line: &str| match reader.read(line.as_bytes()) {
            Line::Record(record) => *record,
            other => panic!("{other:?}"),
        };
        let of = |thread: u32, rest: &str| {
            format!("[Wed Nov 25 21:00:36.288256 2026] [proxy:error] [pid 54:tid {thread}] {rest}")
        };
        let connect = |address: &str| format!("AH00957: http: attempt to connect to {address} ({address}) failed");
        let first = read(&of(1, &format!("(111)Connection refused: {}", connect("10.0.0.1:80"))));
        let other = read(&of(2, &format!("(70007)The timeout specified has expired: {}", connect("10.0.0.2:80"))));
        assert!(first.told_again && other.told_again);
        for (thread, upstream, signal) in
            [(2, Some("10.0.0.2:80"), Signal::ConnectTimeout), (1, Some("10.0.0.1:80"), Signal::ConnectRefused)]
        {
            let told = "AH01114: HTTP: failed to make connection to backend: 10.0.0.1";
            let record = read(&of(thread, &format!("[abc{thread}] [client 192.0.2.7:55774] {told}")));
            let attempt = &record.attempts[0];
            assert_eq!((attempt.upstream.as_deref(), attempt.signal), (upstream, signal));
            assert_eq!((record.told_again, record.request_id), (false, Some(format!("abc{thread}"))));
        }
    }
}
