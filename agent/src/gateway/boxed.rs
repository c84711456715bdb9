//! Lines that a collector of logs has put into an object of its own: Docker's json-file driver, journald's JSON, what
//! cloud platforms export. The gateway's line is taken out and read; the object tells the time where the line tells none.

use memchr::memmem::Finder;

use super::json::{self, Object, Value};
use super::json_lines::stamp_of;
use super::stamp::Zone;
use super::{Line, Reader, Served, Stamp, line};

/// Keys under which only collectors keep a line.
const SURE_KEYS: [&str; 2] = ["MESSAGE", "textPayload"];
/// Keys that a gateway's own JSON may have too: they count where its reader knows nothing to do with the object.
const KEYS: [&str; 7] = ["log", "message", "msg", "line", "event", "full_message", "short_message"];
/// Where the object tells its time.
const TIME_KEYS: [&str; 6] = ["time", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP", "ts", "date"];

/// A reader of lines in or out of boxes.
pub(super) struct Boxed {
    reader: Box<dyn Reader>,
    zone: Zone,
    /// Each of `SURE_KEYS` in quotes.
    quoted: [Finder<'static>; 2],
}

impl Boxed {
    /// Around the reader of what is within.
    pub(super) fn new(reader: Box<dyn Reader>, zone: &Zone) -> Self {
        Self { reader, zone: zone.clone(), quoted: ["\"MESSAGE\"", "\"textPayload\""].map(Finder::new) }
    }

    /// What the reader makes of a line without the frames that are surely around it, else of the whole. The gateway's line may
    /// be in an object.
    fn framed(&mut self, line: &[u8], read: fn(&mut Self, &[u8]) -> Line) -> Line {
        let Ok(body) = line::trim(line) else { return self.reader.read(line) };
        // What is told at a glance is in the gateway's own format as it stands.
        if let Some(framed) = line::surely_within(body, &self.zone).filter(|_| self.reader.served(body).is_none()) {
            match read(self, framed.body) {
                Line::Unparsed(_) => {}
                line => return with_time(line, framed.at),
            }
        }
        read(self, body)
    }

    /// A line that may be an object.
    fn boxed(&mut self, body: &[u8]) -> Line {
        if body.first() != Some(&b'{') {
            return self.reader.read(body);
        }
        if let Some(read) = self.sure_keys(body).and_then(|keys| self.within(body, keys)) {
            return read;
        }
        match self.reader.read(body) {
            Line::Unparsed(why) => match self.within(body, &KEYS) {
                None | Some(Line::Unparsed(_)) => Line::Unparsed(why),
                Some(read) => read,
            },
            read => read,
        }
    }

    fn within(&mut self, line: &[u8], keys: &[&str]) -> Option<Line> {
        let object = json::object(line).ok()?;
        let inner = keys.iter().find_map(|key| object.text(key))?.trim_end_matches('\n').as_bytes();
        let plain = line::without_colours(inner);
        let read = self.framed(plain.as_deref().unwrap_or(inner), |this, body| this.reader.read(body));
        Some(with_time(read, time(&object, &self.zone)))
    }
}

impl Boxed {
    /// The keys to look under before anything else, if this is surely a box.
    fn sure_keys(&self, body: &[u8]) -> Option<&'static [&'static str]> {
        const STREAM: &[u8] = b"\"stream\":";
        let of_docker = || {
            let at = memchr::memmem::find(body, STREAM)?;
            body.get(at + STREAM.len()..)?.trim_ascii_start().strip_prefix(b"\"std")
        };
        if body.starts_with(b"{\"log\":") && of_docker().is_some() {
            return Some(&KEYS[..1]);
        }
        self.quoted.iter().any(|key| key.find(body).is_some()).then_some(&SURE_KEYS)
    }
}

impl Reader for Boxed {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        match line {
            // What would have to be trimmed first is read whole,
            [0 | b'\xEF', ..] | [.., 0 | b'\r' | b'\n'] => None,
            // and so is what is looked into before the gateway's reader sees it.
            [b'{', ..] if self.sure_keys(line).is_some() => None,
            line => self.reader.served(line),
        }
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let plain = line::without_colours(line).filter(|_| self.served(line).is_none());
        self.framed(plain.as_deref().unwrap_or(line), Self::boxed)
    }
}

fn time(object: &Object<'_>, zone: &Zone) -> Option<Stamp> {
    let texts = TIME_KEYS.iter().filter_map(|key| object.get(key).and_then(Value::text));
    texts.filter_map(|text| stamp_of(Some(text), zone)).next()
}

fn with_time(line: Line, at: Option<Stamp>) -> Line {
    match line {
        Line::Record(mut record) => {
            record.at = record.at.or(at);
            Line::Record(record)
        }
        Line::Notice(mut notice) => {
            notice.at = notice.at.or(at);
            Line::Notice(notice)
        }
        line @ Line::Unparsed(_) => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Kind, Log, Signal, reader};

    fn read(kind: Kind, line: &str) -> Line {
        reader(kind, Log::All, None, &Zone::utc()).unwrap().read(line.as_bytes())
    }

    const DOWN: &str =
        r#"Server be/s1 is DOWN, reason: Layer4 timeout, check duration: 2001ms. 0 active and 0 backup servers left."#;

    #[test]
    fn boxes_of_collectors_are_opened() {
        let at_us = 1_795_329_325_250_000;
        for line in [
            format!(r#"{{"log":"{DOWN}\n","stream":"stdout","time":"2026-11-22T06:35:25.25Z"}}"#),
            format!(
                r#"{{"__REALTIME_TIMESTAMP":"1795329325250000","SYSLOG_IDENTIFIER":"haproxy","MESSAGE":"{DOWN}"}}"#
            ),
            format!(r#"{{"insertId":"a","textPayload":"{DOWN}","timestamp":"2026-11-22T06:35:25.250Z"}}"#),
            format!(r#"{{"message":"{DOWN}","@timestamp":"2026-11-22T06:35:25.250Z"}}"#),
        ] {
            let Line::Notice(notice) = read(Kind::Haproxy, &line) else { panic!("{line}") };
            assert_eq!((notice.signal, notice.at.unwrap().unix_us), (Signal::HealthCheckDown, at_us), "{line}");
        }
    }

    #[test]
    fn colours_of_a_terminal_are_looked_through() {
        let line = "\u{1b}[90m2026-11-22T07:02:17Z\u{1b}[0m \u{1b}[33mDBG\u{1b}[0m \u{1b}[1mproxy.go:199\u{1b}[0m\u{1b}[36m >\u{1b}[0m 502 Bad Gateway \u{1b}[36merror=\u{1b}[0mEOF";
        let boxed = serde_json::json!({ "log": line, "stream": "stdout" }).to_string();
        for line in [line.to_owned(), format!("\u{1b}[36mtraefik-1  |\u{1b}[0m {line}"), boxed] {
            let Line::Record(record) = read(Kind::Traefik, &line) else { panic!("{line}") };
            assert_eq!(record.signal, Signal::ClosedBeforeHeaders, "{line}");
        }
    }

    #[test]
    fn a_gateways_own_object_is_no_box() {
        let own = r#"{"status":502,"upstream_addr":"10.0.0.2:80","upstream_status":"502","message":"GET / 200"}"#;
        assert!(matches!(read(Kind::Nginx, own), Line::Record(record) if record.status == Some(502)));
        // What a client sent stands within a string, where no key can be.
        let path = r#"{"status":200,"upstream_addr":"10.0.0.2:80","path":"/\"MESSAGE\":\"x\""}"#;
        assert!(matches!(read(Kind::Nginx, path), Line::Record(record) if record.status == Some(200)));
    }
}
