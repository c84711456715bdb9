//! Varnish's logs. varnishncsa writes the common log and answers every failed fetch with 503, so its lines tell a status and
//! nothing more, but where fetches are logged with their errors (`-b`); varnishlog tells why in `FetchError`, and which backend's address was opened before. varnishlog's lines of one
//! fetch stand together, so the address is remembered until the next fetch begins.

mod conf;
mod glance;

use std::net::IpAddr;

use super::apache::{access, format};
use super::line;
use super::stamp::Zone;
use super::template::{Fields, Misfit, Template};
use super::{Attempt, Line, Notice, Origin, Reader, Record, Served, Signal};
pub(super) use conf::configuration;
use glance::Glance;

/// A reader of Varnish's logs. `format` is varnishncsa's.
pub(super) fn reader(format: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    let shipped = [format::parse(FETCHES), format::parse(format::COMMON).with_open_end()];
    let given = format.map(format::parse);
    let glances = match &given {
        Some(given) => vec![Glance::new(given)],
        None => shipped.iter().map(Glance::new).collect(),
    };
    Box::new(Varnish { zone: zone.clone(), given, shipped, glances, opened: None })
}

/// What `deploy/gateways/varnish.service` logs: a line a fetch.
const FETCHES: &str = r#"%t "%r" %s %D "%{VSL:FetchError}x" "%{VSL:BackendOpen}x""#;

/// What `%{Varnish:handling}x` is called in a template.
const HANDLING: &str = "x:varnish:handling";

#[derive(Debug)]
struct Varnish {
    zone: Zone,
    given: Option<Template>,
    shipped: [Template; 2],
    /// Of the format that was given, else of those shipped.
    glances: Vec<Option<Glance>>,
    /// The address of the connection last opened, and what stood before it on its line: of the fetch that is being told of.
    opened: Option<(String, String)>,
}

impl Reader for Varnish {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        let Self { zone, given, shipped, glances, .. } = self;
        let (template, place) = match (given, line.first()) {
            (Some(given), _) => (&*given, 0),
            // A fetch's line begins with its time, and no other is tried as such.
            (None, Some(b'[')) => (&shipped[0], 0),
            // With what stands around it a fetch's line may look like a client's, but for the address.
            (None, _) if begins_with_address(line) => (&shipped[1], 1),
            (None, _) => return None,
        };
        glances.get_mut(place)?.as_mut()?.served(template, line, zone)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            // Transactions are parted by one.
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => return continuation(),
            Err(unparsed) => return unparsed,
        };
        if let Some(line) = self.by_access(body) {
            return line;
        }
        let framed = line::unframe(body, &self.zone);
        if let Some(line) = framed.and_then(|framed| self.by_access(framed.body)) {
            return line;
        }
        let text = String::from_utf8_lossy(body);
        let own = framed.map(|framed| String::from_utf8_lossy(framed.body));
        let other = || own.as_deref().filter(|_| framed.is_some_and(|framed| framed.program == Some(b"varnishd")));
        let read = self
            .tag(&text)
            .or_else(|| self.tag(own.as_deref()?))
            .or_else(|| own.as_deref().and_then(child))
            .or_else(|| child(&text));
        let read = read.or_else(|| other().map(|says| notice(Signal::Noise, says)));
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor one of varnishlog".to_owned()))
    }
}

impl Varnish {
    fn by_access(&self, body: &[u8]) -> Option<Line> {
        for template in self.given.iter().chain(&self.shipped) {
            match template.read(body) {
                Ok(fields) => {
                    if let Some(record) = access::record(&fields, &self.zone) {
                        return Some(Line::Record(Box::new(of_fetch(record, &fields))));
                    }
                }
                Err(Misfit::Form) => {}
                Err(misfit) => return Some(Line::Unparsed(misfit.says().to_owned())),
            }
        }
        None
    }

    /// `--  FetchError     text`: dashes or stars for the depth, a transaction's number instead in raw grouping, the tag, its text.
    fn tag(&mut self, text: &str) -> Option<Line> {
        let rest = text.trim_start();
        let depth = rest.bytes().take_while(|byte| matches!(byte, b'-' | b'*') || byte.is_ascii_digit()).count();
        if depth == 0 {
            return None;
        }
        let (fetch, rest) = rest.split_at_checked(depth)?;
        let rest = rest.strip_prefix(' ')?.trim_start();
        if rest.starts_with("<< ") {
            self.opened = None;
            return Some(continuation());
        }
        let (tag, said) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        // Raw grouping puts the side (b, c, -) between tag and text.
        let said = said.trim_start();
        let said = ["b ", "c ", "- "].iter().find_map(|side| said.strip_prefix(side)).unwrap_or(said);
        match tag {
            "BackendOpen" => self.opened = opened(said).map(|address| (fetch.to_owned(), address)),
            "FetchError" | "Fetch_Error" => return Some(self.fetch_error(fetch, said)),
            "Backend_health" => return health(said),
            _ if !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                || !tag.starts_with(|letter: char| letter.is_ascii_uppercase()) =>
            {
                return None;
            }
            _ => {}
        }
        Some(continuation())
    }

    fn fetch_error(&self, fetch: &str, said: &str) -> Line {
        let record = Record { from_error_log: true, ..Record::default() };
        let address = self.opened.as_ref().filter(|(of, _)| of == fetch).map(|(_, address)| address.clone());
        Line::Record(Box::new(failed(record, said, address)))
    }
}

/// What an error of a fetch says, put into its record.
fn failed(record: Record, said: &str, opened: Option<String>) -> Record {
    let named = said.strip_prefix("backend ").and_then(|rest| rest.split_once(':'));
    let named = named.filter(|(name, _)| !name.contains(' '));
    let (backend, why) = named.map_or((None, said), |(name, why)| (Some(name.to_owned()), why.trim()));
    let signal = fetch_signal(why);
    let upstream = opened.or_else(|| backend.clone());
    let chosen = !matches!(signal, Signal::NoLiveUpstream | Signal::UpstreamOverflow);
    Record {
        origin: Origin::Gateway,
        signal,
        attempts: if chosen { vec![Attempt { upstream, signal, ..Attempt::default() }] } else { Vec::new() },
        pool: backend,
        reason: Some(said.chars().take(512).collect()),
        ..record
    }
}

/// A line of a fetch tells its error, or that the backend made the answer. A line of a client stays as it is.
fn of_fetch(record: Record, fields: &Fields) -> Record {
    let text = |name: &str| fields.get(name).map(String::from_utf8_lossy);
    // How a request was handled is told of clients' lines alone, to which no fetch's error ever belongs.
    if !fields.has("x:vsl:fetcherror") || fields.get(HANDLING).is_some() {
        return record;
    }
    let address = text("x:vsl:backendopen").as_deref().and_then(opened);
    if let Some(said) = text("x:vsl:fetcherror") {
        return failed(record, &said, address);
    }
    let signal = if record.status >= Some(400) { Signal::AppStatus } else { Signal::Ok };
    let attempt = Attempt { upstream: address, status: record.status, signal, ..Attempt::default() };
    Record { origin: Origin::App, signal, attempts: vec![attempt], ..record }
}

fn begins_with_address(line: &[u8]) -> bool {
    let first = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(first).is_ok_and(|first| first.parse::<IpAddr>().is_ok())
}

fn continuation() -> Line {
    Line::Notice(Box::new(Notice { signal: Signal::Continuation, ..Notice::default() }))
}

/// `27 default 10.0.0.1 8080 10.0.0.9 40214 connect`.
fn opened(said: &str) -> Option<String> {
    let mut words = said.split(' ').skip(2);
    let (ip, port) = (words.next()?, words.next()?);
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

fn fetch_signal(why: &str) -> Signal {
    if let Some((_, number)) = why.split_once("errno ") {
        return match number.split(' ').next().unwrap_or("") {
            "111" => Signal::ConnectRefused,
            "110" | "115" => Signal::ConnectTimeout,
            "113" | "101" => Signal::ConnectUnreachable,
            "2" => Signal::SocketMissing,
            "13" => Signal::SocketPermission,
            "11" => Signal::SocketBacklogFull,
            "99" => Signal::LocalPortExhausted,
            "24" | "23" => Signal::GatewayResource,
            _ => Signal::ConnectFailed,
        };
    }
    if why.starts_with("backend write error") || why.starts_with("req.body read error") {
        let request = why.starts_with("req.body");
        let reset = why.contains("error: 32 ") || why.contains("error: 104 ");
        return match (request, reset) {
            (true, _) => Signal::ClientAbort,
            (false, true) => Signal::ResetBeforeHeaders,
            (false, false) => Signal::UpstreamErrorUnspecified,
        };
    }
    const TEXTS: [(&str, Signal); 23] = [
        // Version 3: a call's result and the system's number.
        ("http first read error: -1 11 ", Signal::ReadTimeout),
        ("http first read error: -1 104 ", Signal::ResetBeforeHeaders),
        ("http first read error: -1", Signal::NoResponseHeaders),
        ("unhealthy", Signal::NoLiveUpstream),
        ("returned no backend", Signal::NoLiveUpstream),
        // between_bytes_timeout is a limit of the socket: its end is an errno's text.
        ("Resource temporarily unavailable", Signal::BodyTimeout),
        ("No backend", Signal::NoLiveUpstream),
        ("busy", Signal::UpstreamOverflow),
        ("HTC eof", Signal::NoResponseHeaders),
        ("HTC status -1", Signal::NoResponseHeaders),
        ("http first read error: EOF", Signal::NoResponseHeaders),
        ("http first read error: overflow", Signal::HeaderTooBig),
        ("overflow", Signal::HeaderTooBig),
        ("first byte timeout", Signal::ReadTimeout),
        ("HTC idle", Signal::ReadTimeout),
        ("between bytes timeout", Signal::BodyTimeout),
        ("timeout", Signal::ReadTimeout),
        ("http read error", Signal::NoResponseHeaders),
        ("straight insufficient bytes", Signal::BodyTruncated),
        ("chunked read err", Signal::BodyTruncated),
        ("eof socket fail", Signal::BodyTruncated),
        ("straight read_error", Signal::BodyTruncated),
        ("http format error", Signal::HeaderInvalid),
    ];
    if why == "fail" || why.starts_with("connection failed") {
        return Signal::ConnectFailed;
    }
    let known = TEXTS.iter().find(|(text, _)| why.contains(text));
    known.map_or(Signal::UpstreamErrorUnspecified, |(_, signal)| *signal)
}

/// `boot.default Went sick 4--X-R- 2 3 5 0.000000 0.004 "HTTP/1.1 503 ..."`.
fn health(said: &str) -> Option<Line> {
    let (name, state) = said.split_once(' ')?;
    let signal = match state {
        _ if state.starts_with("Went sick") || state.starts_with("Still sick") => Signal::HealthCheckDown,
        _ if state.starts_with("Back healthy") || state.starts_with("Still healthy") => Signal::HealthCheckUp,
        _ => Signal::Noise,
    };
    let answer =
        state.split_once("\"HTTP/").and_then(|(_, rest)| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let check_signal = match (signal, answer) {
        (Signal::HealthCheckUp, _) => Some(Signal::Ok),
        (Signal::HealthCheckDown, Some(_)) => Some(Signal::AppStatus),
        _ => None,
    };
    Some(Line::Notice(Box::new(Notice {
        upstream: Some(name.to_owned()),
        pool: Some(name.to_owned()),
        signal,
        says: state.chars().take(512).collect(),
        check_status: answer,
        check_signal,
        ..Notice::default()
    })))
}

/// varnishd's own words in the system's log.
fn child(text: &str) -> Option<Line> {
    let text = text.strip_prefix("Error: ").or_else(|| text.strip_prefix("Info: ")).unwrap_or(text);
    let text = text.strip_prefix("Debug: ").unwrap_or(text);
    let rest = text.strip_prefix("Child (").map(|rest| rest.split_once(')').map_or("", |(_, rest)| rest.trim_start()));
    let signal = match rest {
        Some(rest) if rest.starts_with("died") || rest.starts_with("Panic") || rest.starts_with("not responding") => {
            Signal::GatewayCrash
        }
        Some(_) => Signal::GatewayLifecycle,
        None if text.starts_with("Child launched")
            || text.starts_with("Child cleanup")
            || text.starts_with("Manager ") =>
        {
            Signal::GatewayLifecycle
        }
        None => return None,
    };
    Some(notice(signal, text))
}

fn notice(signal: Signal, says: &str) -> Line {
    Line::Notice(Box::new(Notice { signal, says: says.chars().take(512).collect(), ..Notice::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_tells_its_address_and_its_error() {
        let mut reader = reader(None, &Zone::utc());
        for line in [
            "**  << BeReq    >> 32771",
            "--  Begin          bereq 32770 fetch",
            "--  BackendOpen    27 default 192.0.2.11 8080 192.0.2.1 40214 connect",
        ] {
            assert!(matches!(reader.read(line.as_bytes()), Line::Notice(_)), "{line}");
        }
        let Line::Record(record) = reader.read(b"--  FetchError     HTC eof (-1)") else { panic!("a record") };
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("192.0.2.11:8080"));
        assert_eq!(record.signal, Signal::NoResponseHeaders);
        reader.read(b"**  << BeReq    >> 32774");
        let Line::Record(record) =
            reader.read(b"--  FetchError     backend default: fail errno 111 (Connection refused)")
        else {
            panic!("a record")
        };
        assert_eq!((record.signal, record.attempts[0].upstream.as_deref()), (Signal::ConnectRefused, Some("default")));
    }

    #[test]
    fn probes_tell_of_health() {
        let mut reader = reader(None, &Zone::utc());
        let line = b"         0 Backend_health - boot.default Went sick 4--X-R- 2 3 5 0.000000 0.004120 \"HTTP/1.1 503 Service Unavailable\"";
        let Line::Notice(notice) = reader.read(line) else { panic!("a notice") };
        assert_eq!((notice.signal, notice.check_status), (Signal::HealthCheckDown, Some(503)));
        assert_eq!(notice.upstream.as_deref(), Some("boot.default"));
    }
}
