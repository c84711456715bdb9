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
    let mut framed = Framed { body, at: None, program: None };
    let mut any = false;
    // Frames nest (a compose prefix before a platform stamp before syslog); three are more than was ever seen.
    for _ in 0..3 {
        let Some(inner) =
            compose(framed.body).or_else(|| syslog(framed.body, zone)).or_else(|| platform(framed.body, zone))
        else {
            break;
        };
        framed = Framed { at: inner.at.or(framed.at), program: inner.program.or(framed.program), ..inner };
        any = true;
    }
    any.then_some(framed)
}

/// `svc_1  | `, `web.1.id@host | `, `editor stderr | `: docker compose, swarms, process managers.
fn compose(body: &[u8]) -> Option<Framed<'_>> {
    let bar = body.iter().take(80).position(|byte| *byte == b'|')?;
    let (name, rest) = (&body[..bar], &body[bar + 1..]);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-@ ".contains(byte);
    let begins = name.first().is_some_and(u8::is_ascii_alphanumeric);
    (begins && name.ends_with(b" ") && name.iter().all(plain)).then(|| Framed {
        body: rest.strip_prefix(b" ").unwrap_or(rest),
        at: None,
        program: None,
    })
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
        return Some(tagged(rest, None).unwrap_or_else(|| relayed(rest)));
    }
    if let Some((at, rest)) = stamp::rfc3339(rest, zone).or_else(|| stamp::asctime(rest, zone)) {
        return tagged(rest.strip_prefix(b" ")?, Some(at));
    }
    // A program's tag alone, as journals and some relays leave it; only with a process number, since words end in colons too.
    let alone = || word(rest).and_then(|(first, rest)| Some((rest, tag(first).filter(|_| first.ends_with(b"]:"))?)));
    match alone() {
        Some((body, program)) => Some(Framed { body, at: None, program: Some(program) }),
        None => priority.then_some(Framed { body: rest, at: None, program: None }),
    }
}

/// What a relay sent on, header and all, behind a stamp and the sender's name of its own; else the text as it is.
fn relayed(rest: &[u8]) -> Framed<'_> {
    let inner = word(rest).map(|(_, inner)| inner).filter(|inner| stamp::skip_yearless(inner).is_some());
    Framed { body: inner.unwrap_or(rest), at: None, program: None }
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
    Some(Framed { body, at, program: (program != b"-").then_some(program) })
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
    Some(Framed { body: text, at, program: Some(tag(first)?) })
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
        None => name,
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-".contains(byte);
    (name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(plain)).then_some(name)
}

/// `2026-11-22T06:35:22.123Z [stdout F ]text` of container runtimes and platforms, `[pod/name/container] text` of kubectl.
fn platform<'a>(body: &'a [u8], zone: &Zone) -> Option<Framed<'a>> {
    if body.starts_with(b"[pod/") {
        let (_, body) = word(body).filter(|(pod, _)| pod.ends_with(b"]"))?;
        return Some(Framed { body, at: None, program: None });
    }
    let (at, rest) = stamp::rfc3339(body, zone)?;
    let rest = rest.strip_prefix(b" ")?;
    let streams: [&[u8]; 4] = [b"stdout F ", b"stderr F ", b"stdout P ", b"stderr P "];
    let rest = streams.iter().find_map(|stream| rest.strip_prefix(*stream)).unwrap_or(rest);
    Some(Framed { body: rest, at: Some(at), program: None })
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
            "Nov 22 06:43:09 10.0.0.9 Nov 22 06:43:09 haproxy[4243]: ",
            "[pod/ingress-7d9/controller] ",
        ] {
            assert_eq!(body(&format!("{frame}198.51.100.7 - x: y")).as_deref(), Some("198.51.100.7 - x: y"), "{frame}");
        }
    }

    #[test]
    fn plain_lines_have_no_frame() {
        for line in ["198.51.100.7 - - [22/Nov/2026] \"GET /a|b\"", "{\"a\":1}", "[error] 1#1: x", "GET / | 200", ""] {
            assert!(body(line).is_none() || line.starts_with("GET"), "{line}");
        }
    }

    #[test]
    fn degenerate_bytes_are_trimmed() {
        assert_eq!(trim(b"\0\0\0\xEF\xBB\xBFabc\r\n"), Ok(b"abc".as_slice()));
        assert!(trim(b" \r").is_err() && trim(b"").is_err() && trim(&[b'a'; LIMIT_BYTES + 1]).is_err());
    }
}
