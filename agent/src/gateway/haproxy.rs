//! HAProxy's log: access lines of every format HAProxy ships (httplog, httpslog, tcplog, clf, the default), of a `log-format`
//! setting or as JSON, and its words on servers and itself, all in one file. A line's state letters stand before anything that a
//! client chose, so its meaning is settled there; what follows is only kept as text.

mod access;
mod conf;
mod event;
mod format;
mod glance;
mod state;

use super::json::{self, Object};
use super::line;
use super::stamp::{self, Zone};
use super::template::{Fields, Misfit, Template};
use super::{Line, Notice, Reader, Record, Served, Signal, Stamp};
pub(super) use conf::configuration;

use access::Variables;
use format::Format;
use glance::Glance;

/// A reader of HAProxy's log. `format` is a `log-format` setting for access lines of another form than those shipped.
pub(super) fn reader(format: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    Box::new(Haproxy::new(format, zone.clone()))
}

#[derive(Debug)]
struct Haproxy {
    zone: Zone,
    given: Option<Format>,
    shipped: Vec<Template>,
    common: Vec<Template>,
    /// For lines in the format that was given, or in the first of those shipped where none was.
    glance: Option<Glance>,
}

impl Haproxy {
    fn new(format: Option<&str>, zone: Zone) -> Self {
        let template = |setting: &&str| match format::parse(setting) {
            Format::Text(template) => Some(template.with_open_end()),
            Format::Json(_) => None,
        };
        let shipped = [format::HTTP, format::OLD_HTTP, format::TCP, format::CLF];
        let shipped = shipped.iter().filter_map(template).collect::<Vec<_>>();
        let common = format::COMMON.iter().filter_map(template).collect();
        let given = format.map(format::parse);
        let glance = in_use(given.as_ref(), &shipped).and_then(Glance::new);
        Self { zone, given, shipped, common, glance }
    }

    /// The line within a frame that can't be read with it.
    fn surely_framed<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let begins = line.first().is_some_and(|first| *first == b'<' || first.is_ascii_digit());
        if !begins && stamp::skip_yearless(line).is_none() || after_client(line).is_some() {
            return None;
        }
        let read_by_given = match &self.given {
            Some(Format::Text(template)) => !matches!(template.read(line), Err(Misfit::Form)),
            Some(Format::Json(_)) => true,
            None => false,
        };
        line::unframe(line, &self.zone).map(|framed| framed.body).filter(|_| !read_by_given)
    }

    /// By the format that was given. None: the line has another form.
    fn by_given(&self, body: &[u8]) -> Option<Line> {
        match self.given.as_ref()? {
            Format::Text(template) => match template.read(body) {
                Ok(fields) => access::record(&Found(fields), &self.zone).map(boxed),
                Err(Misfit::Form) => None,
                Err(misfit) => Some(Line::Unparsed(misfit.says().to_owned())),
            },
            Format::Json(keys) => {
                let object = json::object(body).ok()?;
                access::record(&Named { object: &object, keys }, &self.zone).map(boxed)
            }
        }
    }

    /// By the formats that HAProxy ships.
    fn by_shipped(&self, body: &[u8]) -> Option<Line> {
        let fields = self.shipped.iter().find_map(|template| template.read(body).ok().filter(is_whole));
        fields.and_then(|fields| access::record(&Found(fields), &self.zone)).map(boxed)
    }

    /// By what most formats have in common, whatever stands before the date and behind the state.
    fn by_common(&self, body: &[u8]) -> Option<Line> {
        let dated = body.get(date_at(body)? + 1..)?;
        let is_state = |fields: &Fields| {
            let state = fields.raw("tsc").or_else(|| fields.raw("ts"));
            !fields.cut && state.is_some_and(|state| fits("tsc", &String::from_utf8_lossy(state)))
        };
        let fields = self.common.iter().find_map(|template| template.read(dated).ok().filter(is_state));
        fields.and_then(|fields| access::record(&Found(fields), &self.zone)).map(boxed)
    }

    fn by_json(&self, body: &[u8]) -> Option<Line> {
        if body.first() != Some(&b'{') {
            return None;
        }
        match json::object(body) {
            Ok(object) => access::record(&Usual(&object), &self.zone).map(boxed),
            Err(why) => Some(Line::Unparsed(why.to_owned())),
        }
    }

    /// `Connect from A to B (frontend/mode)` when nothing else is set; `A [date] frontend/bind: error` of a connection that
    /// never became a request. Both tell nothing of an upstream.
    fn by_default(&self, body: &[u8], text: &str, at: Option<Stamp>) -> Option<Line> {
        if let Some(rest) = text.strip_prefix("Connect from ") {
            let client = rest.split(' ').next().map(str::to_owned);
            return Some(boxed(Record { at, client, signal: Signal::Unknown, ..Record::default() }));
        }
        let (at, rest) = stamp::clf(after_client(body)?, &self.zone)?;
        let (listener, why) = std::str::from_utf8(rest.strip_prefix(b"] ")?).ok()?.split_once(": ")?;
        let plain = !listener.contains(' ') && listener.contains('/');
        let notice =
            Notice { at: Some(at), signal: Signal::Noise, says: why.chars().take(200).collect(), ..Notice::default() };
        plain.then(|| Line::Notice(Box::new(notice)))
    }

    fn by_any(&self, body: &[u8], at: Option<Stamp>) -> Option<Line> {
        let text = String::from_utf8_lossy(body);
        let event = || event::read(&text).map(|notice| Line::Notice(Box::new(Notice { at, ..notice })));
        self.by_given(body)
            .or_else(event)
            .or_else(|| self.by_shipped(body))
            .or_else(|| self.by_json(body))
            .or_else(|| self.by_default(body, &text, at))
    }
}

impl Reader for Haproxy {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        self.glance.as_ref()?;
        // Events begin with words, lines with the client's address.
        let is_bare = line.first().is_some_and(u8::is_ascii_digit) && after_client(line).is_some();
        let line = if is_bare { line } else { self.surely_framed(line)? };
        let template = in_use(self.given.as_ref(), &self.shipped)?;
        self.glance.as_mut()?.served(template, line, &self.zone)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let framed = || line::within(body, &self.zone, |framed| self.by_any(framed.body, framed.at));
        let read = self.by_any(body, None).or_else(framed);
        let read = read.or_else(|| self.by_shipped(from_client(body)?)).or_else(|| self.by_common(body));
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor an event of HAProxy".to_owned()))
    }
}

/// The format that lines are expected in.
fn in_use<'a>(given: Option<&'a Format>, shipped: &'a [Template]) -> Option<&'a Template> {
    match given {
        Some(Format::Text(template)) => Some(template),
        Some(Format::Json(_)) => None,
        None => shipped.first(),
    }
}

fn boxed(record: Record) -> Line {
    Line::Record(Box::new(record))
}

/// A cut line will do once its state is known.
fn is_whole(fields: &Fields) -> bool {
    !fields.cut || fields.has("tsc") || fields.has("ts")
}

/// What follows `client:port [`.
fn after_client(body: &[u8]) -> Option<&[u8]> {
    let blank = memchr::memchr(b' ', body)?;
    body.get(blank + 1..)?.strip_prefix(b"[")
}

/// The line from the client's address on, whatever stands before it: the word before the first stamp in brackets. No
/// client has a say in what stands before that.
fn from_client(body: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memrchr(b' ', body.get(..date_at(body)?)?).map_or(0, |blank| blank + 1);
    body.get(begin..)
}

/// Where ` [22/Nov/2026...` begins.
fn date_at(body: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(body, b" [").find(|at| {
        let inside = body.get(at + 2..).unwrap_or_default();
        matches!(inside, [b'0'..=b'9', b'0'..=b'9', b'/', ..])
    })
}

/// Variables of a line that a template read.
struct Found<'l>(Fields<'l>);

impl Variables for Found<'_> {
    fn get(&self, name: &str) -> Option<String> {
        plain(&String::from_utf8_lossy(self.0.get(name)?))
    }

    fn get_like(&self, start: &str) -> Option<String> {
        plain(&String::from_utf8_lossy(self.0.get_like(start)?))
    }
}

/// Variables of an object whose keys the format names.
struct Named<'a> {
    object: &'a Object<'a>,
    keys: &'a [(String, String)],
}

impl Variables for Named<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let (key, _) = self.keys.iter().find(|(_, variable)| variable == name)?;
        plain(self.object.text(key)?)
    }

    fn get_like(&self, start: &str) -> Option<String> {
        let (key, _) = self.keys.iter().find(|(_, variable)| variable.starts_with(start))?;
        plain(self.object.text(key)?)
    }
}

/// Variables of an object with the keys that people usually choose, compared by their letters and digits only.
struct Usual<'a>(&'a Object<'a>);

/// Variable and the keys it goes by.
const USUAL: [(&str, &[&str]); 24] = [
    ("ci", &["client", "clientip", "clientaddr", "remoteaddr", "srcip", "src", "ci"]),
    ("cp", &["clientport", "srcport", "cp"]),
    ("tr", &["requestdate", "acceptdate", "timestamp", "time", "date", "datetime", "ts", "t", "tr"]),
    ("Ts", &["timestamp", "time", "ts", "epoch"]),
    ("f", &["frontend", "frontendname", "frontendnametransport", "fe", "fename", "fenametransport", "ft", "f"]),
    ("b", &["backend", "backendname", "be", "bename", "pool", "b"]),
    ("s", &["server", "servername", "srv", "srvname", "s"]),
    ("si", &["serverip", "srvip", "upstreamaddr", "serveraddr", "backendip", "si"]),
    ("sp", &["serverport", "srvport", "upstreamport", "sp"]),
    ("Tw", &["timewaiting", "timewait", "timequeue", "queuetime", "queuewaittime", "tw"]),
    ("Tc", &["timetoconnect", "timeconnect", "connecttime", "upstreamconnecttime", "serverwaittime", "tc"]),
    ("Tr", &["timeserverresponse", "timeresponse", "responsetime", "serverresponsetime", "upstreamresponsetime", "tr"]),
    ("Ta", &["timeactive", "requesttime", "timeduration", "duration", "ta"]),
    ("Tt", &["sessionduration", "timetotal", "totaltime", "tt"]),
    ("ST", &["status", "statuscode", "httpstatus", "httpstatuscode", "responsestatus", "responsecode", "st"]),
    ("B", &["bytesread", "bytes", "bytessent", "responsebytes", "b"]),
    (
        "tsc",
        &[
            "terminationstate",
            "terminationstatecookie",
            "requestterminationstate",
            "term",
            "termination",
            "termstate",
            "state",
            "tsc",
            "ts",
        ],
    ),
    ("rc", &["retries", "retry", "rc"]),
    ("r", &["requestline", "request", "req", "httprequest", "r"]),
    ("HM", &["method", "httpmethod", "requestmethod", "hm"]),
    ("HU", &["uri", "path", "url", "requesturi", "requestpath", "hu", "hp"]),
    ("ID", &["requestid", "uniqueid", "traceid", "id"]),
    ("[bc_err_str]", &["bcerrstr", "backenderror", "bcerr"]),
    ("[bc_err]", &["bcerr"]),
];

impl Variables for Usual<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let (_, keys) = USUAL.iter().find(|(variable, _)| *variable == name)?;
        let members = |key: &&str| {
            let wanted: &str = key;
            let same = |given: &str| {
                let given = given.strip_prefix("haproxy").unwrap_or(given);
                given.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).eq(wanted.chars())
            };
            self.0.0.iter().find(|(given, _)| same(given)).and_then(|(_, value)| value.text()).and_then(plain)
        };
        keys.iter().filter_map(members).find(|text| fits(name, text))
    }

    fn get_like(&self, start: &str) -> Option<String> {
        USUAL.iter().find(|(variable, _)| variable.starts_with(start)).and_then(|(variable, _)| self.get(variable))
    }
}

/// Whether a text can be what is looked for: `ts` is a time for some and a state for others.
fn fits(name: &str, text: &str) -> bool {
    match name {
        "tr" => stamp::clf(text.as_bytes(), &Zone::utc()).is_some(),
        "Ts" => stamp::unix(text.as_bytes()).is_some(),
        "tsc" => matches!(text.len(), 2 | 4) && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'),
        "Tw" | "Tc" | "Tr" | "Ta" | "Tt" | "B" | "ST" => text.trim_start_matches('+').parse::<i64>().is_ok(),
        _ => true,
    }
}

/// Without quotes; None where nothing is told.
fn plain(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"');
    (!matches!(text, "" | "-")).then(|| text.to_owned())
}
