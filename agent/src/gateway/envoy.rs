//! Envoy's and Istio's log: access lines of the default formats, of any format string or JSON format, and event lines. In text
//! Envoy escapes nothing of a client's, so a line is taken only if it reads one way; status and flags stand before what a
//! client chose and the upstream behind it.

mod conf;
mod event;
mod format;
mod glance;
mod signal;

use super::json::{self, Object};
use super::line;
use super::mend;
use super::stamp::{self, Zone};
use super::template::{Fields, Misfit, Template};
use super::{Attempt, Line, Reader, Record, Served, Signal, Stamp};
pub(super) use conf::configuration;
use format::Format;
use glance::{Glance, after_stamp};
use signal::Answer;

/// Places of two of the formats shipped, of which the first is tried first and the second has the fewest quotes: a line that has
/// no more can't be in another one.
const ISTIO: usize = 0;
const DEFAULT: usize = 2;

/// Attempts told of one request at most.
const MOST_ATTEMPTS: usize = 16;

/// A reader of Envoy's log. `format` is a format string or a JSON format written as JSON.
pub(super) fn reader(format: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    let shipped = [format::ISTIO, format::OLD_ISTIO, format::DEFAULT].map(format::template);
    let given = format.map(format::parse);
    let pattern = format.and_then(format::time_pattern).map(str::to_owned);
    let glances = match &given {
        Some(_) if pattern.is_some() => Vec::new(),
        Some(Format::Text(template)) => vec![(None, Glance::new(template))],
        Some(Format::Json(_)) => Vec::new(),
        None => [ISTIO, DEFAULT].map(|at| (Some(at), Glance::new(&shipped[at]))).into(),
    };
    let glances = glances.into_iter().filter_map(|(at, glance)| Some((at, glance?))).collect();
    Box::new(Envoy { zone: zone.clone(), given, pattern, shipped, glances })
}

#[derive(Debug)]
struct Envoy {
    zone: Zone,
    given: Option<Format>,
    /// How the format that was given has times written.
    pattern: Option<String>,
    shipped: [Template; 3],
    /// For lines in the format that was given, or in those of these shipped.
    glances: Vec<(Option<usize>, Glance)>,
}

/// The values of one line by the names of `format`; `-` is kept, for it tells that there is nothing to tell.
#[derive(Debug, Default)]
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|text| !matches!(*text, "" | "-" | "null"))
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        let text = self.get(name)?;
        // JSON formats may write 502.0.
        text.strip_suffix(".0").unwrap_or(text).parse().ok()
    }

    fn add(&mut self, fields: &Fields) {
        for name in NAMES {
            if let Some(text) = fields.raw(name) {
                self.0.push((name, String::from_utf8_lossy(text).into_owned()));
            }
        }
    }
}

/// The names that a record is made of.
const NAMES: [&str; 20] = [
    "start",
    "code",
    "flags",
    "details",
    "termination",
    "reason",
    "host",
    "remote_host",
    "hosts",
    "cluster",
    "attempts",
    "duration",
    "header_ms",
    "sent",
    "client",
    "service_ms",
    "request_id",
    "method",
    "path",
    "authority",
];

impl Envoy {
    fn by_given(&self, body: &[u8]) -> Option<Line> {
        let mut values = Values::default();
        match self.given.as_ref()? {
            Format::Text(template) => match template.read(body) {
                Ok(fields) => values.add(&fields),
                Err(Misfit::Form) => return None,
                Err(misfit) => return Some(Line::Unparsed(misfit.says().to_owned())),
            },
            Format::Json(leaves) => {
                let object = json::object(body).ok()?;
                let mut texts = Vec::new();
                format::leaves_of(&object, "", &mut texts);
                for (way, text) in &texts {
                    let read = leaves
                        .iter()
                        .find(|(known, _)| known == way)
                        .map(|(_, template)| template.read(text.as_bytes()));
                    if let Some(Ok(fields)) = read {
                        values.add(&fields);
                    }
                }
            }
        }
        self.record(&values, None)
    }

    /// A line of the formats shipped: they begin with a stamp in brackets and the request in quotes. Copies of lines have
    /// lost the stamp or its bracket; nothing of a client's stands before the first quote.
    fn by_shipped(&self, body: &[u8]) -> Option<Line> {
        let quote = memchr::memchr(b'"', body)?;
        let (head, rest) = body.split_at(quote);
        let fields = match self.shipped_fields(rest) {
            Ok(fields) => fields,
            Err(Misfit::Form) => return None,
            Err(misfit) => return Some(Line::Unparsed(misfit.says().to_owned())),
        };
        let mut values = Values::default();
        values.add(&fields);
        let head = head.trim_ascii_end();
        let head = head.strip_suffix(b"]").unwrap_or(head);
        let stamp = memchr::memrchr2(b'[', b' ', head).and_then(|at| head.get(at + 1..)).unwrap_or(head);
        self.record(&values, stamp::rfc3339(stamp, &self.zone).map(|(at, _)| at))
    }

    /// The first format that a line from the request on fits whole, else the first that a cut one fits as far as its flags.
    fn shipped_fields<'a>(&'a self, rest: &'a [u8]) -> Result<Fields<'a>, Misfit> {
        let quotes = memchr::memchr_iter(b'"', rest).count();
        let enough = |template: &&Template| template.quotes() <= quotes;
        let read = |template: &'a Template| template.read(rest);
        if let Some(whole) = self.shipped.iter().filter(enough).filter_map(|one| read(one).ok()).find(|one| !one.cut) {
            return Ok(whole);
        }
        let (mut misfit, mut cut) = (Misfit::Form, None);
        for read in self.shipped.iter().map(read) {
            match read {
                Ok(fields) if fields.has("flags") => cut = cut.or(Some(fields)),
                Err(other) if misfit == Misfit::Form => misfit = other,
                Ok(_) | Err(_) => {}
            }
        }
        cut.ok_or(misfit)
    }

    fn by_json(&self, body: &[u8]) -> Option<Line> {
        if body.first() != Some(&b'{') {
            return None;
        }
        let mended;
        let object = match json::object(body) {
            Ok(object) => object,
            Err(why) => {
                mended = mend::cut_object(body);
                match mended.as_deref().map(json::object) {
                    Some(Ok(object)) => object,
                    _ => return Some(Line::Unparsed(why.to_owned())),
                }
            }
        };
        if let Some(notice) = event::of_object(&object, &self.zone) {
            return Some(Line::Notice(Box::new(notice)));
        }
        let mut values = Values::default();
        usual_members(&object, "", &mut values);
        self.record(&values, None)
    }

    fn by_any(&self, body: &[u8]) -> Option<Line> {
        let own_log =
            || event::of_text(&String::from_utf8_lossy(body), &self.zone).map(|notice| Line::Notice(Box::new(notice)));
        let shipped = || self.by_shipped(body).or_else(|| self.by_shipped(&with_its_quote(body)?));
        self.by_given(body).or_else(own_log).or_else(|| self.by_json(body)).or_else(shipped)
    }

    /// None: the line tells no status, so it is none of Envoy's access lines.
    fn record(&self, values: &Values, at: Option<Stamp>) -> Option<Line> {
        let code = values.get("code")?;
        let Some(status) = values.number("code").and_then(|status| u16::try_from(status).ok()) else {
            return Some(Line::Unparsed(format!("status {} is none", code.chars().take(20).collect::<String>())));
        };
        let host = values.get("host").or_else(|| values.get("remote_host")).map(address);
        let answer = Answer {
            status: Some(status),
            flags: values.raw("flags"),
            details: values.get("details"),
            reason: values.get("reason"),
            knows_reason: values.raw("reason").is_some(),
            has_host: host.is_some(),
            is_tcp: status == 0 && values.get("method").is_none(),
            duration_ms: values.number("duration"),
            nothing_came: values.raw("service_ms").is_some_and(|time| time == "-") && values.number("sent") == Some(0),
        };
        let attempts = attempts(values, &answer, host);
        let last = answer.signal();
        let signal = if last == Signal::Ok && attempts.len() > 1 { Signal::RetriedOk } else { last };
        let reason = [values.get("flags"), values.get("details"), values.get("reason")];
        Some(Line::Record(Box::new(Record {
            at: at.or_else(|| self.begun(values)).map(|at| ended(at, answer.duration_ms)),
            status: Some(status),
            origin: answer.origin(signal),
            signal,
            attempts,
            duration_us: answer.duration_ms.and_then(|ms| ms.checked_mul(1000)),
            method: values.owned("method"),
            path: values.owned("path"),
            request_id: values.owned("request_id"),
            client: values.owned("client"),
            server: values.owned("authority"),
            pool: values.owned("cluster"),
            reason: Some(reason.into_iter().flatten().collect::<Vec<_>>().join(" "))
                .filter(|reason| !reason.is_empty()),
            body_bytes: values.number("sent"),
            ..Record::default()
        })))
    }

    fn begun(&self, values: &Values) -> Option<Stamp> {
        let text = values.get("start")?.as_bytes();
        let patterned = self.pattern.as_ref().and_then(|pattern| stamp::patterned(text, pattern, &self.zone));
        patterned.or_else(|| stamp::whole(text, &self.zone))
    }
}

impl Reader for Envoy {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        let Self { zone, given, shipped, glances, .. } = self;
        if let Some(Format::Text(template)) = given {
            return glances.first_mut()?.1.served(template, line, None, zone);
        }
        let (at, rest) = after_stamp(line, zone)?;
        let quotes = memchr::memchr_iter(b'"', rest).count();
        let fits = |format: usize| shipped.get(format).is_some_and(|template| template.quotes() == quotes);
        let (format, glance) = glances
            .iter_mut()
            .find_map(|(format, glance)| Some(((*format)?, glance)).filter(|(format, _)| fits(*format)))?;
        glance.served(shipped.get(format)?, rest, Some(at), zone)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let framed = || line::within(body, &self.zone, |framed| self.by_any(framed.body));
        let read = self.by_any(body).or_else(framed);
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor an event of Envoy".to_owned()))
    }
}

/// Objects that people group an access line's values in.
const GROUPS: [&str; 9] =
    ["http", "request", "response", "upstream", "downstream", "envoy", "istio", "access", "attributes"];

/// The values of an object's members by the names that people usually give them, alone or with that of the group they are in;
/// the outer ones first.
fn usual_members(object: &Object<'_>, around: &str, values: &mut Values) {
    let named = |key: &str| format::usual(&format!("{around}{key}")).or_else(|| format::usual(key));
    for (key, value) in &object.0 {
        if let (Some(name), text) = (named(key), value.text().unwrap_or("-")) {
            // What the line tells null of is kept as `-` for the reason only: null flags are no flags.
            if text != "-" || name == "reason" || value.text().is_some() {
                values.0.push((name, text.to_owned()));
            }
        }
    }
    for (key, value) in &object.0 {
        if let Some(inner) = value.object().filter(|_| GROUPS.contains(&key.to_ascii_lowercase().as_str())) {
            usual_members(inner, key, values);
        }
    }
}

/// A copy of a line that begins with the request and has lost the quote before it.
fn with_its_quote(body: &[u8]) -> Option<Vec<u8>> {
    let request = body.get(..memchr::memchr(b'"', body)?)?;
    let method = request.split(|byte| *byte == b' ').next()?;
    let is_request = !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && memchr::memmem::rfind(request, b" HTTP/").is_some_and(|at| at > method.len());
    is_request.then(|| [b"\"", body].concat())
}

/// Envoy tells when a request came; with its duration that gives when it ended.
fn ended(begun: Stamp, duration_ms: Option<u64>) -> Stamp {
    let duration_us =
        duration_ms.and_then(|ms| i64::try_from(ms).ok()).and_then(|ms| ms.checked_mul(1000)).unwrap_or(0);
    Stamp { unix_us: begun.unix_us.saturating_add(duration_us), ..begun }
}

/// Older versions write `tcp://10.0.0.1:80`.
fn address(text: &str) -> String {
    text.strip_prefix("tcp://").or_else(|| text.strip_prefix("unix://")).unwrap_or(text).to_owned()
}

fn attempts(values: &Values, answer: &Answer, host: Option<String>) -> Vec<Attempt> {
    let signal = answer.signal();
    if host.is_none() && !matches!(signal, Signal::AppStatus) {
        return Vec::new();
    }
    let told: Vec<String> = values.get("hosts").map_or_else(Vec::new, |hosts| hosts.split(',').map(address).collect());
    let count = usize::try_from(values.number("attempts").unwrap_or(1)).unwrap_or(1).max(told.len()).min(MOST_ATTEMPTS);
    // Only a request that went well in the end tells that the attempts before had failed; what else failed is one failure.
    let before = if signal == Signal::Ok || !told.is_empty() { count.saturating_sub(1) } else { 0 };
    let mut attempts: Vec<Attempt> = (0..before)
        .map(|at| Attempt {
            upstream: told.get(at).cloned(),
            signal: Signal::UpstreamErrorUnspecified,
            ..Attempt::default()
        })
        .collect();
    let service_us =
        values.number("header_ms").or_else(|| values.number("service_ms")).and_then(|ms| ms.checked_mul(1000));
    let answered = matches!(signal, Signal::Ok | Signal::AppStatus | Signal::BodyTruncated | Signal::BodyTimeout);
    attempts.push(Attempt {
        upstream: host.or_else(|| told.last().cloned()),
        status: answer.status.filter(|_| answered),
        signal,
        header_us: service_us,
        ..Attempt::default()
    });
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: Option<&str>, line: &str) -> Record {
        match reader(format, &Zone::utc()).read(line.as_bytes()) {
            Line::Record(record) => *record,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_time_is_read_as_its_format_says() {
        let format =
            "[%START_TIME(%d/%m/%YT%H:%M:%S%z %s)%] \"%REQ(:METHOD)%\" %RESPONSE_CODE% %DURATION% %UPSTREAM_HOST%";
        let line = "[22/11/2026T06:35:25+0000 1795329325] \"GET\" 200 1000 192.0.2.11:80";
        assert_eq!(record(Some(format), line).at.unwrap().unix_us, 1_795_329_326_000_000);
        assert_eq!(reader(Some(format), &Zone::utc()).served(line.as_bytes()).map(|served| served.at), None);
    }

    #[test]
    fn a_request_that_lost_its_quote_is_one_yet() {
        let line = r#"POST /login HTTP/1.1" 503 UC 379 88 2704 - "192.0.2.7" "Mozilla/5.0" "ce3e" "a.example" "192.0.2.11:80""#;
        let record = record(None, line);
        assert_eq!((record.signal, record.method.as_deref()), (Signal::NoResponseHeaders, Some("POST")));
        assert!(matches!(reader(None, &Zone::utc()).read(b"no request \" 503 UC"), Line::Unparsed(_)));
    }
}
