//! nginx's error log: `time [level] pid#tid: *connection message, client: ..., server: ..., request: "..."`.
//! Messages are told by their beginning, the phase (`while ...`) and the error number, never by the system's text.
//! The log is not escaped: what a client sends may hold quotes and whole fields, so the fields count only where they
//! fit the grammar to the end of the line, and in one way.

use super::error_fields::{self, Tail};
use super::error_signals::{self, Meaning};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::{Attempt, Line, Notice, Origin, Record, Signal, Stamp};

/// Bytes of a message that are kept.
const MOST_WORDS: usize = 400;

/// Reads the lines of one error log. An application's text that FastCGI relays may span lines.
#[derive(Debug, Default)]
pub(super) struct ErrorReader {
    within_stderr: bool,
}

/// A line without its prefix.
struct Prefixed<'a> {
    at: Option<Stamp>,
    level: &'a str,
    connection: Option<u64>,
    /// How much of the prefix was there: time, level, process.
    parts: usize,
    text: &'a str,
}

impl ErrorReader {
    /// Reads a line that may be cut at its beginning, as people post them. None: it is no line of an error log.
    pub(super) fn read(&mut self, line: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
        let prefixed = prefix(line, zone);
        let split = error_fields::split(prefixed.text);
        if prefixed.parts == 0 && self.within_stderr {
            self.within_stderr = !ends_stderr(line);
            let signal = if self.within_stderr { Signal::Continuation } else { Signal::AppStderr };
            return Some(relayed(&prefixed, signal));
        }
        if prefixed.parts == 0 && !line.starts_with("FastCGI sent") && ends_stderr(line) {
            return Some(relayed(&prefixed, Signal::AppStderr));
        }
        if prefixed.parts == 0 && (split.client.is_none() || !error_signals::is_known(split.message)) {
            return None;
        }
        let starts_stderr = prefixed.text.starts_with("FastCGI sent in stderr:");
        if !starts_stderr && prefixed.text.split_once(", client: ").is_some_and(|(_, tail)| ends_stderr(tail)) {
            // A record of its own, made by the application's text: the true record's end follows its fields.
            self.within_stderr = false;
            return Some(relayed(&prefixed, Signal::AppStderr));
        }
        self.within_stderr = starts_stderr && split.client.is_none();
        let mut line = meaning(&prefixed, &split);
        if let (Line::Record(record), Some(at)) = (&mut line, at) {
            record.at.get_or_insert(at);
        }
        Some(line)
    }
}

/// Whether a line begins as nginx writes them: time and level, or level and process.
pub(super) fn is_error_line(line: &str) -> bool {
    prefix(line, &Zone::utc()).parts >= 2
}

/// The end of a FastCGI message within a line. The same words within a client's field are taken for it too, which
/// costs a reason and forges none.
fn ends_stderr(text: &str) -> bool {
    text.contains("\" while reading response header from upstream, client: ")
        || text.contains("\" while reading upstream, client: ")
        || text.contains("\" while reading header from upstream, client: ")
}

fn prefix<'a>(line: &'a str, zone: &Zone) -> Prefixed<'a> {
    // The console's form of what stops a start or a reload: `nginx: [emerg] ...`.
    let line = line.strip_prefix("nginx: ").filter(|rest| rest.starts_with('[')).unwrap_or(line);
    let mut prefixed = Prefixed { at: None, level: "", connection: None, parts: 0, text: line };
    if let Some((at, rest)) = stamp::slashed(line.as_bytes(), zone) {
        prefixed.at = Some(at);
        prefixed.parts += 1;
        prefixed.text = line[line.len() - rest.len()..].trim_start();
    }
    let bare = prefixed.text.strip_prefix('[').unwrap_or(prefixed.text);
    if let Some((level, rest)) = bare.split_once("] ")
        && matches!(level, "debug" | "info" | "notice" | "warn" | "error" | "crit" | "alert" | "emerg")
    {
        prefixed.level = level;
        prefixed.parts += 1;
        prefixed.text = rest;
    }
    if let Some((process, rest)) = prefixed.text.split_once(": ")
        && process.split_once('#').is_some_and(|(pid, tid)| is_number(pid) && is_number(tid))
    {
        prefixed.parts += 1;
        prefixed.text = rest;
    }
    if let Some((connection, rest)) = prefixed.text.strip_prefix('*').and_then(|rest| rest.split_once(' '))
        && is_number(connection)
    {
        prefixed.connection = connection.parse().ok();
        prefixed.text = rest;
    }
    prefixed
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn words(text: &str) -> String {
    let mut end = text.len().min(MOST_WORDS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn relayed(prefixed: &Prefixed<'_>, signal: Signal) -> Line {
    let says = words(prefixed.text);
    Line::Notice(Box::new(Notice { at: prefixed.at, signal, says, ..Notice::default() }))
}

fn meaning(prefixed: &Prefixed<'_>, split: &Tail<'_>) -> Line {
    let meaning = error_signals::meaning(split.message, prefixed.level, prefixed.connection.is_some());
    let (signal, upstream) = match meaning {
        Meaning::Upstream(signal) => (signal, split.upstream.or_else(|| error_signals::address(split.message))),
        Meaning::Request(signal) => return request(prefixed, split, signal, None),
        Meaning::Peer(signal) | Meaning::Own(signal) => return notice(prefixed, split, signal),
    };
    if split.forged {
        return Line::Unparsed("the upstream is no URL as nginx writes it: a record made up by a client".to_owned());
    }
    request(prefixed, split, signal, Some(upstream))
}

/// A line of a client's request; `upstream` where it tells of an attempt, with its address where that is told.
fn request(prefixed: &Prefixed<'_>, split: &Tail<'_>, signal: Signal, upstream: Option<Option<&str>>) -> Line {
    let upstream = match upstream {
        // A client that goes away is no failed attempt, but the upstream that was at work is told.
        None if signal == Signal::ClientAbort => split.upstream.map(Some),
        other => other,
    };
    let attempt =
        |address: Option<&str>| Attempt { upstream: address.map(str::to_owned), signal, ..Attempt::default() };
    let (method, path) = split.request.map(super::access::split_request).unwrap_or_default();
    let pool = (signal == Signal::NoLiveUpstream).then(|| split.upstream.map(str::to_owned)).flatten();
    Line::Record(Box::new(Record {
        at: prefixed.at,
        from_error_log: true,
        origin: origin(signal),
        signal,
        attempts: upstream.map(attempt).into_iter().collect(),
        method,
        path,
        client: split.client.map(str::to_owned),
        connection: prefixed.connection,
        server: split.server.or(split.host).map(str::to_owned),
        pool,
        reason: Some(words(split.message)),
        ..Record::default()
    }))
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::ClientAbort | Signal::ClientError => Origin::Client,
        _ => Origin::Gateway,
    }
}

fn notice(prefixed: &Prefixed<'_>, split: &Tail<'_>, signal: Signal) -> Line {
    let upstream = match signal {
        Signal::Noise | Signal::GatewayLifecycle | Signal::GatewayCrash => None,
        _ => split.upstream.or_else(|| error_signals::address(split.message)).map(str::to_owned),
    };
    let check_signal = error_signals::check_signal(split.message);
    let pool = error_signals::check_pool(split.message);
    let says = words(split.message);
    Line::Notice(Box::new(Notice { at: prefixed.at, upstream, pool, signal, says, check_signal, ..Notice::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Line {
        ErrorReader::default().read(line, None, &Zone::utc()).unwrap()
    }

    fn record(line: &str) -> Record {
        match read(line) {
            Line::Record(record) => *record,
            other => panic!("{other:?}"),
        }
    }

    const REFUSED: &str = "2026/11/22 06:40:39 [error] 29#31: *94 connect() failed (111: Connection refused) while \
        connecting to upstream, client: 198.51.100.7, server: app.example.com, request: \"GET /a?b HTTP/1.1\", \
        upstream: \"http://192.0.2.11:9027/a?b\", host: \"app.example.com\"";

    #[test]
    fn a_whole_line() {
        let record = record(REFUSED);
        assert_eq!((record.signal, record.connection), (Signal::ConnectRefused, Some(94)));
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("192.0.2.11:9027"));
        assert_eq!((record.method.as_deref(), record.path.as_deref()), (Some("GET"), Some("/a?b")));
        assert_eq!(record.client.as_deref(), Some("198.51.100.7"));
        assert_eq!(record.at.unwrap().unix_us, 1_795_329_639_000_000);
    }

    #[test]
    fn lines_cut_anywhere_are_read_or_refused() {
        for cut in 0..REFUSED.len() {
            for part in [&REFUSED[..cut], &REFUSED[cut..]] {
                if let Some(Line::Record(record)) = ErrorReader::default().read(part, None, &Zone::utc()) {
                    let upstream = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
                    assert!(matches!(upstream, None | Some("192.0.2.11:9027")), "{part}");
                }
            }
        }
    }

    #[test]
    fn relayed_text_of_an_application_is_no_record() {
        let mut reader = ErrorReader::default();
        let mut signal = |line: &str| match reader.read(line, None, &Zone::utc()) {
            Some(Line::Notice(notice)) => notice.signal,
            Some(Line::Record(record)) => record.signal,
            other => panic!("{other:?}"),
        };
        let begin = "2026/11/22 06:40:40 [error] 29#29: *100 FastCGI sent in stderr: \"PHP message: a";
        let end = "b\" while reading response header from upstream, client: 198.51.100.7, server: s, \
            request: \"GET /f HTTP/1.1\", upstream: \"fastcgi://192.0.2.11:9070\", host: \"h\"";
        assert_eq!(signal(begin), Signal::AppStderr);
        assert_eq!(signal("PHP Fatal error"), Signal::Continuation);
        assert_eq!(signal(&format!("{REFUSED}{end}")), Signal::AppStderr);
        assert_eq!(signal(REFUSED), Signal::ConnectRefused);
        assert_eq!(signal(begin), Signal::AppStderr);
        assert_eq!(signal(end), Signal::AppStderr);
    }
}
