//! Lines that a collector of logs has put into an object of its own: Docker's json-file driver, journald's JSON, what
//! cloud platforms export. The gateway's line is taken out and read; the object tells the time where the line tells none.

use super::json::{self, Object, Value};
use super::stamp::{self, Zone};
use super::{Line, Reader, Served, Stamp};

/// Keys under which only collectors keep a line.
const SURE_KEYS: [&str; 2] = ["MESSAGE", "textPayload"];
/// Keys that a gateway's own JSON may have too: they count where its reader knows nothing to do with the object.
const KEYS: [&str; 5] = ["log", "message", "msg", "line", "event"];
/// Where the object tells its time.
const TIME_KEYS: [&str; 6] = ["time", "timestamp", "@timestamp", "__REALTIME_TIMESTAMP", "ts", "date"];

/// A reader of lines in or out of boxes.
pub(super) struct Boxed {
    reader: Box<dyn Reader>,
    zone: Zone,
}

impl Boxed {
    /// Around the reader of what is within.
    pub(super) fn new(reader: Box<dyn Reader>, zone: &Zone) -> Self {
        Self { reader, zone: zone.clone() }
    }

    fn within(&mut self, line: &[u8], keys: &[&str]) -> Option<Line> {
        let object = json::object(line).ok()?;
        let inner = keys.iter().find_map(|key| object.text(key))?;
        let read = self.reader.read(inner.trim_end_matches('\n').as_bytes());
        Some(with_time(read, time(&object, &self.zone)))
    }
}

impl Reader for Boxed {
    fn served<'a>(&mut self, line: &'a [u8]) -> Option<Served<'a>> {
        // Objects are read whole, and so is what would have to be trimmed first.
        match line {
            [b'{' | 0 | b'\xEF', ..] | [.., 0 | b'\r' | b'\n'] => None,
            line => self.reader.served(line),
        }
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = line.trim_ascii();
        if body.first() != Some(&b'{') {
            return self.reader.read(line);
        }
        if let Some(read) = sure_keys(body).and_then(|keys| self.within(body, keys)) {
            return read;
        }
        match self.reader.read(line) {
            Line::Unparsed(why) => match self.within(body, &KEYS) {
                None | Some(Line::Unparsed(_)) => Line::Unparsed(why),
                Some(read) => read,
            },
            read => read,
        }
    }
}

/// The keys to look under before anything else, if this is surely a box.
fn sure_keys(body: &[u8]) -> Option<&'static [&'static str]> {
    if body.starts_with(b"{\"log\":\"") && memchr::memmem::find(body, b"\"stream\":\"std").is_some() {
        return Some(&KEYS[..1]);
    }
    let has = |key: &&str| memchr::memmem::find(body, format!("\"{key}\"").as_bytes()).is_some();
    SURE_KEYS.iter().any(has).then_some(&SURE_KEYS)
}

fn time(object: &Object<'_>, zone: &Zone) -> Option<Stamp> {
    let texts = TIME_KEYS.iter().filter_map(|key| object.get(key).and_then(Value::text));
    texts
        .filter_map(|text| stamp::rfc3339(text.as_bytes(), zone).or_else(|| stamp::unix(text.as_bytes())))
        .map(|(at, _)| at)
        .next()
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
    fn a_gateways_own_object_is_no_box() {
        let own = r#"{"status":502,"upstream_addr":"10.0.0.2:80","upstream_status":"502","message":"GET / 200"}"#;
        assert!(matches!(read(Kind::Nginx, own), Line::Record(record) if record.status == Some(502)));
        // What a client sent stands within a string, where no key can be.
        let path = r#"{"status":200,"upstream_addr":"10.0.0.2:80","path":"/\"MESSAGE\":\"x\""}"#;
        assert!(matches!(read(Kind::Nginx, path), Line::Record(record) if record.status == Some(200)));
    }
}
