//! Logs of which each line is told by its text alone: squid's, linkerd's, cloudflared's, Heroku's router's.

use super::stamp::Zone;
use super::{Attempt, Line, Notice, Reader, Record, Signal, Stamp, line};

/// A reader of such a log.
#[derive(Debug)]
pub(super) struct TextLines {
    /// The host's zone, for stamps that carry none.
    pub zone: Zone,
    /// Reads a line; None: it is none of this gateway's. The stamp is that of the frame around it.
    pub line: fn(&str, Option<Stamp>, &Zone) -> Option<Line>,
    /// What to say of other lines.
    pub otherwise: &'static str,
}

impl Reader for TextLines {
    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let read = |body: &[u8], at: Option<Stamp>| (self.line)(&String::from_utf8_lossy(body), at, &self.zone);
        let framed = || line::within(body, &self.zone, |framed| read(framed.body, framed.at));
        read(body, None).or_else(framed).unwrap_or_else(|| Line::Unparsed(self.otherwise.to_owned()))
    }
}

/// The value behind `key=`: a word, or what stands in quotes. The key begins a word.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let starts = |at: usize| at == 0 || text.as_bytes().get(at - 1).is_some_and(|byte| b" {:".contains(byte));
    let (at, _) = text.match_indices(key).find(|(at, _)| starts(*at))?;
    let rest = text.get(at + key.len()..)?.strip_prefix('=')?;
    match rest.strip_prefix('"') {
        Some(inner) => inner.split('"').next(),
        None => rest.split([' ', '}']).next(),
    }
}

/// A record of the gateway's own words on one attempt.
pub(super) fn told(at: Option<Stamp>, signal: Signal, upstream: Option<String>, reason: &str) -> Line {
    let chosen = signal.is_failure() && upstream.is_some();
    Line::Record(Box::new(Record {
        at,
        from_error_log: true,
        origin: super::Origin::Gateway,
        signal,
        attempts: if chosen { vec![Attempt { upstream, signal, ..Attempt::default() }] } else { Vec::new() },
        reason: Some(reason.chars().take(512).collect()),
        ..Record::default()
    }))
}

/// A notice of the gateway itself.
pub(super) fn notice(at: Option<Stamp>, signal: Signal, says: &str) -> Line {
    Line::Notice(Box::new(Notice { at, signal, says: says.chars().take(512).collect(), ..Notice::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_their_key() {
        let text = r#"at=error code=H13 desc="a code=H12" endpoint{addr=10.0.0.1:80}: x"#;
        assert_eq!(value(text, "code"), Some("H13"));
        assert_eq!(value(text, "desc"), Some("a code=H12"));
        assert_eq!((value(text, "addr"), value(text, "de")), (Some("10.0.0.1:80"), None));
    }
}
