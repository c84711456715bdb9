//! What stands around a log line: byte order marks, NUL blocks, and the headers that syslog, container tools and
//! platforms put in front. A reader tries the trimmed line first and the line without its frame second, so that a
//! format which itself begins like a frame is read as what it is.

use super::stamp::{self, Zone};
use super::{Line, Stamp};

/// Bytes of one line that are looked at; what a gateway writes is far shorter.
pub const LIMIT_BYTES: usize = 64 * 1024;

/// A line without the frame around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Framed<'a> {
    /// What the gateway wrote.
    pub body: &'a [u8],
    /// The frame's time, where it tells one with a year.
    pub at: Option<Stamp>,
    /// The program that a syslog header names.
    pub program: Option<&'a [u8]>,
    /// Nothing that a gateway writes begins so.
    sure: bool,
}

impl<'a> Framed<'a> {
    fn of(body: &'a [u8]) -> Self {
        Self { body, at: None, program: None, sure: false }
    }
}

/// A line without what never belongs to it: NUL blocks (a log cut by copytruncate), a byte order mark, a carriage
/// return, a newline. Err: nothing is left, or it is too long.
pub(super) fn trim(line: &[u8]) -> Result<&[u8], Line> {
    let unparsed = |why: &str| Err(Line::Unparsed(why.to_owned()));
    if line.len() > LIMIT_BYTES {
        return unparsed("longer than 64 KiB");
    }
    let mut body = line;
    while let [0, rest @ ..] = body {
        body = rest;
    }
    body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    while let [rest @ .., 0 | b'\r' | b'\n'] = body {
        body = rest;
    }
    if body.iter().all(u8::is_ascii_whitespace) { unparsed("empty line") } else { Ok(body) }
}

/// The program that a syslog header names, for a socket that several write to.
pub fn program(line: &[u8]) -> Option<&[u8]> {
    // No time of the header is looked at, so any zone will do.
    syslog(trim(line).ok()?, &Zone::utc())?.program
}

/// Takes every frame off a trimmed line, or gives None where there is none.
pub(super) fn unframe<'a>(body: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    frames(body, zone).last()
}

/// The same for those frames from the outermost on that no line of a gateway's can be taken for.
pub(super) fn surely_within<'a>(body: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    frames(body, zone).take_while(|framed| framed.sure).last()
}

/// What a reader makes of a line within its frames: the outermost that it can read, for what looks like a frame may be the
/// line's own beginning.
pub(super) fn within<'a>(
    body: &'a [u8],
    zone: &Zone,
    mut read: impl FnMut(Framed<'a>) -> Option<Line>,
) -> Option<Line> {
    let mut unparsed = None;
    for framed in frames(body, zone) {
        match read(framed) {
            Some(line @ Line::Unparsed(_)) => unparsed = Some(line),
            Some(line) => return Some(line),
            None => {}
        }
    }
    unparsed
}

/// What stands within each frame of a trimmed line, the outermost first. Frames nest (a compose prefix before a platform stamp
/// before syslog); three are more than was ever seen.
fn frames<'a>(body: &'a [u8], zone: &Zone) -> impl Iterator<Item = Framed<'a>> {
    std::iter::successors(opened(Framed::of(body), zone), |outer| opened(*outer, zone)).take(3)
}

fn opened<'a>(outer: Framed<'a>, zone: &Zone) -> Option<Framed<'a>> {
    let body = outer.body;
    let inner = indented(body)
        .or_else(|| compose(body))
        .or_else(|| syslog(body, zone))
        .or_else(|| platform(body, zone))
        .or_else(|| pod(body))
        .or_else(|| found(body))?;
    // Marks that a program puts before its text stand within what others put around it.
    let body = inner.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(inner.body).trim_ascii_start();
    Some(Framed { body, at: inner.at.or(outer.at), program: inner.program.or(outer.program), ..inner })
}

/// Without the terminal's colour sequences, which console writers and compose prefixes bring along. None: it has none.
pub(super) fn without_colours(line: &[u8]) -> Option<Vec<u8>> {
    let mut starts = memchr::memmem::find_iter(line, b"\x1b[").peekable();
    starts.peek()?;
    let mut plain = Vec::with_capacity(line.len());
    let mut from = 0;
    for start in starts {
        plain.extend_from_slice(line.get(from..start).unwrap_or_default());
        let digits = line[start + 2..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        let end = start + 2 + digits;
        from = end + usize::from(line.get(end) == Some(&b'm'));
    }
    plain.extend_from_slice(line.get(from..).unwrap_or_default());
    Some(plain)
}

/// Blanks before a line that was copied out of something.
fn indented(body: &[u8]) -> Option<Framed<'_>> {
    let inner = body.trim_ascii_start();
    (inner.len() < body.len()).then(|| Framed { sure: true, ..Framed::of(inner) })
}

/// `svc_1  | `, `web.1.id@host | `, `editor stderr | `: docker compose, swarms, process managers.
fn compose(body: &[u8]) -> Option<Framed<'_>> {
    let bar = body.iter().take(80).position(|byte| *byte == b'|')?;
    let (name, rest) = (&body[..bar], &body[bar + 1..]);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-@ ".contains(byte);
    let begins = name.first().is_some_and(u8::is_ascii_alphanumeric);
    let body = rest.strip_prefix(b" ").unwrap_or(rest);
    (begins && name.ends_with(b" ") && name.iter().all(plain))
        .then(|| Framed { sure: is_numbered(name.trim_ascii_end()), ..Framed::of(body) })
}

/// `web-1`, `web_1`, `web.1`, `web.1.id@host`: a column of a log may stand before a bar too, but is hardly called that.
fn is_numbered(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| b"-_.".contains(byte)).next().unwrap_or_default();
    let number = last.len() < name.len() && !last.is_empty() && last.iter().all(u8::is_ascii_digit);
    name.first().is_some_and(u8::is_ascii_alphabetic) && (number || name.contains(&b'@'))
}

/// RFC 5424 and RFC 3164 with or without priority, octet count and host.
fn syslog<'a>(body: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    let counted = body.iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
    let body = match &body[counted..] {
        [b' ', rest @ ..] if counted > 0 && rest.starts_with(b"<") => rest,
        _ => body,
    };
    let (priority, rest) = match priority(body) {
        Some(rest) => (true, rest),
        None => (false, body),
    };
    if priority && let Some(rest) = rest.strip_prefix(b"1 ") {
        return rfc5424(rest, zone);
    }
    if let Some(rest) = stamp::skip_yearless(rest).and_then(|rest| rest.strip_prefix(b" ")) {
        return Some(tagged(rest, None).map_or_else(|| relayed(rest), |framed| Framed { sure: true, ..framed }));
    }
    if let Some((at, after)) = stamp::rfc3339(rest, zone).or_else(|| stamp::asctime(rest, zone)) {
        return tagged(after.strip_prefix(b" ")?, Some(at))
            .or_else(|| rfc5424(rest, zone).filter(|_| has_process(after)));
    }
    if let Some(framed) = journal(rest, zone) {
        return Some(framed);
    }
    // A program's tag alone, as journals and some relays leave it; only with a process number, since words end in colons too.
    let alone = || word(rest).and_then(|(first, rest)| Some((rest, tag(first).filter(|_| first.ends_with(b"]:"))?)));
    match alone() {
        Some((body, program)) => Some(Framed { program: Some(program), sure: true, ..Framed::of(body) }),
        None => priority.then_some(Framed::of(rest)),
    }
}

/// What `journalctl` puts before a line besides syslog's header: `Sat 2026-11-22 06:43:09 CET ` (short-full),
/// `1795329789.123456 ` (short-unix), `[  123.456789] ` (short-monotonic), each before host and program.
fn journal<'a>(text: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    if let Some(inner) = text.strip_prefix(b"[") {
        let (since_boot, rest) = inner.split_at(memchr::memchr(b']', inner)?);
        let is_number = since_boot.trim_ascii_start().iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        return tagged(rest.strip_prefix(b"] ").filter(|_| is_number)?, None);
    }
    if let Some((at, rest)) = stamp::unix(text) {
        return tagged(rest.strip_prefix(b" ")?, Some(at));
    }
    let (weekday, dated) = word(text)?;
    let (at, rest) = stamp::rfc3339(dated, zone).filter(|_| weekday.len() == 3)?;
    let (_zone, rest) = word(rest.strip_prefix(b" ")?)?;
    tagged(rest, Some(at))
}

/// What a relay sent on, header and all, behind a stamp and the sender's name of its own; else the text as it is.
fn relayed(rest: &[u8]) -> Framed<'_> {
    let inner = word(rest).map(|(_, inner)| inner).filter(|inner| stamp::skip_yearless(inner).is_some());
    Framed::of(inner.unwrap_or(rest))
}

/// Passes over `<134>`.
fn priority(body: &[u8]) -> Option<&[u8]> {
    let rest = body.strip_prefix(b"<")?;
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    (1..=3).contains(&digits).then(|| rest[digits..].strip_prefix(b">")).flatten()
}

/// `STAMP HOST PROGRAM PROCESS MESSAGE-ID STRUCTURED-DATA TEXT`, each `-` where nothing is told.
fn rfc5424<'a>(text: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    let (stamp, rest) = word(text)?;
    let (_host, rest) = word(rest)?;
    let (program, rest) = word(rest)?;
    let (_process, rest) = word(rest)?;
    let (_message, rest) = word(rest)?;
    let mut body = match rest {
        [b'-', rest @ ..] => rest,
        [b'[', ..] => after_structured_data(rest)?,
        // Routers of some platforms leave the structured data out.
        _ => rest,
    };
    body = body.strip_prefix(b" ").unwrap_or(body);
    body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let at = stamp::rfc3339(stamp, zone).map(|(at, _)| at);
    Some(Framed { at, program: (program != b"-").then_some(program), sure: true, ..Framed::of(body) })
}

/// Whether ` HOST PROGRAM PROCESS MESSAGE-ID DATA` has a number for the process and data where they belong: RFC 5424's header without its priority, as some
/// daemons write it to files.
fn has_process(text: &[u8]) -> bool {
    let mut words = text.split(|byte| *byte == b' ').skip(3);
    let process = words.next().unwrap_or_default();
    let has_data = words.nth(1).is_some_and(|data| data.starts_with(b"-") || data.starts_with(b"["));
    !process.is_empty() && process.iter().all(u8::is_ascii_digit) && has_data
}

/// What follows `[id name="value"][...]`; quotes inside a value are escaped.
fn after_structured_data(text: &[u8]) -> Option<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && text.get(index + 1) != Some(&b'[') => return Some(&text[index + 1..]),
            _ => {}
        }
    }
    None
}

/// `[HOST ][FACILITY.LEVEL ]program[pid]: text`; the second as BusyBox writes it.
fn tagged(rest: &[u8], at: Option<Stamp>) -> Option<Framed<'_>> {
    let (mut first, mut text) = word(rest)?;
    if tag(first).is_none() {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(byte);
        if !first.iter().all(plain) {
            return None;
        }
        (first, text) = if is_priority(first) { (first, text) } else { word(text)? };
    }
    if is_priority(first) {
        (first, text) = word(text)?;
    }
    Some(Framed { at, program: Some(tag(first)?), sure: first.ends_with(b"]:"), ..Framed::of(text) })
}

/// `local0.info`.
fn is_priority(word: &[u8]) -> bool {
    let lower =
        |part: &[u8]| !part.is_empty() && part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let parts = memchr::memchr(b'.', word).map(|dot| (&word[..dot], &word[dot + 1..]));
    parts.is_some_and(|(facility, level)| lower(facility) && LEVELS.contains(&level))
}

/// The levels of syslog(3) as BusyBox names them.
const LEVELS: [&[u8]; 8] = [b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug"];

/// The program of `haproxy[4243]:` or `nginx:`.
fn tag(word: &[u8]) -> Option<&[u8]> {
    let name = word.strip_suffix(b":")?;
    let name = match name.strip_suffix(b"]") {
        Some(inner) => &inner[..inner.iter().position(|byte| *byte == b'[')?],
        // Squid's workers: `(squid-1):`.
        None => name.strip_prefix(b"(").and_then(|inner| inner.strip_suffix(b")")).unwrap_or(name),
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-".contains(byte);
    (name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(plain)).then_some(name)
}

/// `2026-11-22T06:35:22.123Z [stdout F ]text` of container runtimes and platforms, `[pod/name/container] text` of kubectl.
fn platform<'a>(body: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    if body.starts_with(b"[pod/") {
        let (_, body) = word(body).filter(|(pod, _)| pod.ends_with(b"]"))?;
        return Some(Framed { sure: true, ..Framed::of(body) });
    }
    let (at, rest) = stamp::rfc3339(body, zone)?;
    let rest = rest.strip_prefix(b" ")?;
    let streams: [&[u8]; 4] = [b"stdout F ", b"stderr F ", b"stdout P ", b"stderr P "];
    let of_stream = streams.iter().find_map(|stream| rest.strip_prefix(*stream));
    Some(Framed { at: Some(at), sure: of_stream.is_some(), ..Framed::of(of_stream.unwrap_or(rest)) })
}

/// `[pod-name] text` of kubetail, `pod-name container text` of stern. A pod's name has a hyphen before what Kubernetes drew for
/// it, and no letter but small ones.
fn pod(body: &[u8]) -> Option<Framed<'_>> {
    let name = |text: &[u8]| {
        !text.is_empty()
            && text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte))
    };
    let is_pod = |text: &[u8]| name(text) && text.first().is_some_and(u8::is_ascii_lowercase) && text.contains(&b'-');
    let (first, rest) = word(body)?;
    let body = match first.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")) {
        Some(inner) if is_pod(inner) => rest,
        None if is_pod(first) => word(rest).filter(|(container, _)| name(container))?.1,
        _ => return None,
    };
    Some(Framed::of(body))
}

/// `access.log.1:text`, `/var/log/nginx/error.log:12:text`: what grep puts before what it found in several files.
fn found(body: &[u8]) -> Option<Framed<'_>> {
    let name = body.get(..memchr::memchr2(b':', b' ', body)?)?;
    let is_log = [".log", ".gz", ".txt"].iter().any(|ending| memchr::memmem::find(name, ending.as_bytes()).is_some());
    let rest = body.get(name.len()..)?.strip_prefix(b":").filter(|_| is_log)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let body = rest.get(digits..).and_then(|rest| rest.strip_prefix(b":")).filter(|_| digits > 0).unwrap_or(rest);
    Some(Framed { sure: true, ..Framed::of(body) })
}

/// The text up to the next blank, and what follows that.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memchr(b' ', text)?;
    Some((&text[..blank], text[blank..].trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(line: &str) -> Option<String> {
        unframe(line.as_bytes(), &Zone::utc()).map(|framed| String::from_utf8_lossy(framed.body).into_owned())
    }

    #[test]
    fn frames_are_taken_off() {
        for frame in [
            "nginx_1     | ",
            "editor stderr | ",
            "<134>Nov 22 06:43:09 haproxy[4243]: ",
            "<134>Nov  2 06:43:09 lb-1 haproxy[4243]: ",
            "Nov 22 06:43:09 lb-1.example.com nginx: ",
            "<134>1 2026-11-22T06:43:12.153022+00:00 - haproxy 4243 - - ",
            "<134>1 2026-11-22T06:43:12Z lb haproxy 4243 id [a@1 b=\"c]\\\"d\"][e] ",
            "396 <158>1 2015-05-12T18:27:15.834333+00:00 heroku router - - ",
            "2026-11-22T06:43:09.123456+00:00 lb-1 haproxy[4243]: ",
            "2026-11-22T06:43:09.123Z ",
            "2026-11-22T06:43:09.123456789Z stderr F ",
            "web_1 | <134>Nov 22 06:43:09 haproxy[4243]: ",
            "edge_proxy.1.si3c4s8mwvd6@ip-172-31-35-113    | ",
            "haproxy[4243]: ",
            "Sun Nov 22 06:43:09 2026 local0.info haproxy[4243]: ",
            "Nov 22 06:43:09 lb-1 local0.info haproxy[4243]: ",
            "Nov 22 06:43:09 lb-1 (squid-1): ",
            "Nov 22 06:43:09 10.0.0.9 Nov 22 06:43:09 haproxy[4243]: ",
            "2026-11-22T06:43:09+01:00 lb-1 haproxy 4243 - [meta sequenceId=\"1\"] ",
            "[pod/ingress-7d9/controller] ",
            "[ingress-7d9f4-x2z] ",
            "ingress-7d9f4-x2z controller ",
            "Sun 2026-11-22 06:43:09 CET lb-1 haproxy[4243]: ",
            "1795329789.123456 lb-1 haproxy[4243]: ",
            "[   12.123456] lb-1 haproxy[4243]: ",
            "/var/log/haproxy.log.1:",
            "haproxy.log:17:",
        ] {
            assert_eq!(body(&format!("{frame}198.51.100.7 - x: y")).as_deref(), Some("198.51.100.7 - x: y"), "{frame}");
        }
    }

    #[test]
    fn some_frames_are_sure() {
        let within = |line: &str| {
            let framed = surely_within(line.as_bytes(), &Zone::utc())?;
            Some(String::from_utf8_lossy(framed.body).into_owned())
        };
        for frame in
            ["web-1  | ", "web.1.a@b | ", "2026-11-22T06:43:09Z stderr F ", "<9>1 - lb nginx 7 - - ", "nginx[7]: "]
        {
            assert_eq!(within(&format!("{frame}a b c")).as_deref(), Some("a b c"), "{frame}");
            assert_eq!(within(&format!("web_1 | {frame}a b c")).as_deref(), Some("a b c"), "{frame}");
        }
        assert_eq!(within("2026-11-22T06:43:09Z stdout F 502 a 503").as_deref(), Some("502 a 503"));
        for line in
            ["192.0.2.1 | a", "status | a", "2026-11-22T06:43:09Z a b c", "2026-11-22 06:43:09: (a.c.1) b", "a-b c d"]
        {
            assert_eq!(within(line), None, "{line}");
        }
    }

    #[test]
    fn plain_lines_have_no_frame() {
        for line in ["198.51.100.7 - - [22/Nov/2026] \"GET /a|b\"", "{\"a\":1}", "[error] 1#1: x", "GET / | 200", ""] {
            assert!(body(line).is_none() || line.starts_with("GET"), "{line}");
        }
    }

    #[test]
    fn a_line_that_begins_like_a_frame_is_read_by_the_outermost_that_can() {
        let line = b"web-1 | 2026-11-22T06:43:09Z DBG text";
        let mut seen = Vec::new();
        within(line, &Zone::utc(), |framed| {
            seen.push(String::from_utf8_lossy(framed.body).into_owned());
            None
        });
        assert_eq!(seen, ["2026-11-22T06:43:09Z DBG text", "DBG text"]);
        let by_stamp = |framed: Framed| framed.body.starts_with(b"2026").then(|| Line::Unparsed("here".to_owned()));
        assert_eq!(within(line, &Zone::utc(), by_stamp), Some(Line::Unparsed("here".to_owned())));
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(without_colours(b"a \x1b[1;31mb\x1b[0m c\x1b[").as_deref(), Some(b"a b c".as_slice()));
        assert_eq!(without_colours(b"a [31m"), None);
    }

    #[test]
    fn degenerate_bytes_are_trimmed() {
        assert_eq!(trim(b"\0\0\0\xEF\xBB\xBFabc\r\n"), Ok(b"abc".as_slice()));
        assert!(trim(b" \r").is_err() && trim(b"").is_err() && trim(&[b'a'; LIMIT_BYTES + 1]).is_err());
    }
}
