//! lighttpd: its access log, which has the status alone, and the words of mod_proxy and its kin in the error log
//! (`gw_backend.c`, `mod_proxy.c`): `2026-11-22 07:05:01: (gw_backend.c.2708) read timeout on socket: tcp:A (fd: 12)`.

use super::apache::{access, format};
use super::stamp::{self, Zone};
use super::template::Template;
use super::text_lines::{notice, told};
use super::{Line, Notice, Reader, Signal, Stamp, line};

/// mod_accesslog's default, up to the answer's size.
const ACCESS: &str = "%h %V %u %t \"%r\" %>s %b";

/// A reader of both logs. `format` is an `accesslog.format`.
pub(super) fn reader(given: Option<&str>, zone: &Zone) -> Box<dyn Reader> {
    let access = format::parse(given.unwrap_or(ACCESS)).with_open_end();
    Box::new(Lighttpd { zone: zone.clone(), access })
}

#[derive(Debug)]
struct Lighttpd {
    zone: Zone,
    access: Template,
}

impl Lighttpd {
    fn by_any(&self, body: &[u8]) -> Option<Line> {
        let text = String::from_utf8_lossy(body);
        own(&text, &self.zone).or_else(|| {
            let fields = self.access.read(body).ok()?;
            access::record(&fields, &self.zone).map(Box::new).map(Line::Record)
        })
    }
}

impl Reader for Lighttpd {
    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let framed = || line::within(body, &self.zone, |framed| self.by_any(framed.body));
        let read = self.by_any(body).or_else(framed);
        read.unwrap_or_else(|| Line::Unparsed("neither an access line nor one of lighttpd's error log".to_owned()))
    }
}

/// `stamp: (file.c.line) message`.
fn own(text: &str, zone: &Zone) -> Option<Line> {
    let stamped = stamp::rfc3339(text.as_bytes(), zone);
    let (at, rest) = match &stamped {
        Some((at, rest)) => (Some(*at), std::str::from_utf8(rest).ok()?.strip_prefix(": ")?),
        None => (None, text),
    };
    let (source, said) = rest.strip_prefix('(')?.split_once(") ")?;
    let (file, _) = source.rsplit_once('.')?;
    // Some builds name the whole path.
    let file = file.rsplit('/').next().unwrap_or(file);
    file.ends_with(".c").then(|| meaning(at, file, said))
}

fn meaning(at: Option<Stamp>, file: &str, said: &str) -> Line {
    let has = |part: &str| said.contains(part);
    let peer = |signal| {
        let upstream = socket(said);
        let pool = None;
        Line::Notice(Box::new(Notice { at, upstream, pool, signal, says: said.to_owned(), ..Notice::default() }))
    };
    match file {
        _ if has("-server re-enabled") || has("proxy - re-enabled") => peer(Signal::HealthCheckUp),
        _ if has("gw-server disabled") => peer(Signal::UpstreamDisabled),
        _ if has("server started")
            || has("server stopped")
            || has("Going down")
            || has("graceful")
            || has("logfiles cycled") =>
        {
            notice(at, Signal::GatewayLifecycle, said)
        }
        _ if said.starts_with("FastCGI-stderr:") => notice(at, Signal::AppStderr, said),
        _ if has("all handlers for") && has("down") || has("no proxy-handler found") => {
            told(at, Signal::NoLiveUpstream, None, said)
        }
        "gw_backend.c" | "mod_proxy.c" | "mod_fastcgi.c" | "mod_scgi.c" => match failure(said) {
            Some(signal) => told(at, signal, socket(said), said),
            None => notice(at, Signal::Noise, said),
        },
        "http-header-glue.c" if has("response headers too large") => told(at, Signal::HeaderTooBig, None, said),
        _ => notice(at, Signal::Noise, said),
    }
}

/// The system's text stands in these, since no number does.
fn failure(said: &str) -> Option<Signal> {
    let has = |part: &str| said.contains(part);
    if has("connect timeout") || has("connection timed out") {
        return Some(Signal::ConnectTimeout);
    }
    if has("establishing connection failed") || said.starts_with("connect failed") || said.starts_with("connect() ") {
        const REASONS: [(&str, Signal); 9] = [
            ("Connection refused", Signal::ConnectRefused),
            ("Connection timed out", Signal::ConnectTimeout),
            ("Operation timed out", Signal::ConnectTimeout),
            ("No route to host", Signal::ConnectUnreachable),
            ("Network is unreachable", Signal::ConnectUnreachable),
            ("No such file or directory", Signal::SocketMissing),
            ("Permission denied", Signal::SocketPermission),
            ("Resource temporarily unavailable", Signal::SocketBacklogFull),
            ("Cannot assign requested address", Signal::LocalPortExhausted),
        ];
        return Some(REASONS.iter().find(|(text, _)| has(text)).map_or(Signal::ConnectFailed, |(_, signal)| *signal));
    }
    const TEXTS: [(&str, Signal); 7] = [
        // A connect that an ICMP message turned down: epoll tells the error, and its reason is not asked for.
        ("got a FDEVENT_ERR", Signal::UpstreamErrorUnspecified),
        ("read timeout on socket", Signal::ReadTimeout),
        ("write timeout on socket", Signal::SendTimeout),
        ("response not received, request sent", Signal::NoResponseHeaders),
        ("unexpected end-of-file", Signal::ClosedBeforeHeaders),
        ("response headers too large", Signal::HeaderTooBig),
        ("invalid response", Signal::ResponseInvalid),
    ];
    TEXTS.iter().find(|(text, _)| has(text)).map(|(_, signal)| *signal)
}

/// `socket: tcp:10.0.0.1:80`, `unix:/run/a.sock:`; the path alone in `connect() /run/a.sock: ...`.
fn socket(said: &str) -> Option<String> {
    if let Some(path) = said.strip_prefix("connect() ").filter(|rest| rest.starts_with('/')) {
        return path.split(": ").next().map(|path| format!("unix:{path}"));
    }
    let word = said.split_ascii_whitespace().find(|word| word.starts_with("tcp:") || word.starts_with("unix:"))?;
    let word = word.trim_end_matches([':', ',', ';']);
    Some(word.strip_prefix("tcp:").unwrap_or(word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_error_log() {
        for (said, signal, upstream) in [
            (
                "establishing connection failed: socket: tcp:10.0.0.2:80: Connection refused",
                Signal::ConnectRefused,
                Some("10.0.0.2:80"),
            ),
            (
                "establishing connection failed: socket: unix:/run/a.sock: No such file or directory",
                Signal::SocketMissing,
                Some("unix:/run/a.sock"),
            ),
            (
                "response not received, request sent: 93 on socket: tcp:10.0.0.2:80 for /x?, closing connection",
                Signal::NoResponseHeaders,
                Some("10.0.0.2:80"),
            ),
            (
                "connect() /run/php/php.sock-3: Connection refused",
                Signal::ConnectRefused,
                Some("unix:/run/php/php.sock-3"),
            ),
            ("no proxy-handler found for: /x", Signal::NoLiveUpstream, None),
            ("all handlers for /x? on  are down.", Signal::NoLiveUpstream, None),
        ] {
            let line = format!("2026-11-22 07:05:01: (gw_backend.c.1) {said}");
            let Line::Record(record) = reader(None, &Zone::utc()).read(line.as_bytes()) else { panic!("{said}") };
            let found = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
            assert_eq!((record.signal, found), (signal, upstream), "{said}");
        }
        let line = b"2026-11-22 07:05:01: (gw_backend.c.1) gw-server re-enabled: tcp:10.0.0.2:80 10.0.0.2 80 ";
        let Line::Notice(notice) = reader(None, &Zone::utc()).read(line) else { panic!("a notice") };
        assert_eq!((notice.signal, notice.upstream.as_deref()), (Signal::HealthCheckUp, Some("10.0.0.2:80")));
    }
}
