//! Compiles nginx's `log_format` into a matcher. A format is literal text and variables in turn; a value ends where
//! the literal after it begins. Which bytes a value may have follows from its variable and from the format's escaping,
//! so that text which a client chose can't pass for the fields behind it: within quotes an escaped value never holds a
//! bare quote. A format that leaves client text open (`escape=none`, or no quotes around it) is read both
//! ways, and a line with two different readings is refused.

use super::fields::{Fields, Var, unescape};
use crate::gateway::FormatError;
use crate::gateway::template::first_place;

/// Most places that are tried for the ends of open values in one line.
const MOST_STEPS: usize = 4_000;
/// Most variables of one format.
const MOST_PIECES: usize = 256;

/// A compiled `log_format`.
#[derive(Debug, Clone)]
pub(super) struct Format {
    head: Vec<u8>,
    pieces: Vec<Piece>,
    escaped: bool,
    ambiguous: bool,
}

#[derive(Debug, Clone)]
struct Piece {
    var: Option<Var>,
    shape: Shape,
    /// The text after the value.
    then: Vec<u8>,
}

/// Which bytes a value may have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// Up to the quote that closes it.
    Quoted,
    /// Three digits.
    Status,
    /// No blank.
    Word,
    /// Words joined by `, ` and ` : `; may be empty.
    List,
    /// Anything.
    Open,
}

/// Whether a line fits a format.
pub(super) enum Match<'a> {
    /// It does.
    Fits(Box<Fields<'a>>),
    /// It does not.
    No,
    /// In more than one way.
    TwoReadings,
}

impl Format {
    /// Compiles the text of a `log_format`, without its name; `escape=json` and the like may precede it.
    pub(super) fn compile(text: &str) -> Result<Self, FormatError> {
        let (escape, text) = match text.trim_start().strip_prefix("escape=") {
            Some(rest) => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            None => ("", text),
        };
        let mut parts = split(text.trim_end_matches(['\r', '\n']))?;
        let head = std::mem::take(&mut parts.head);
        let mut pieces: Vec<Piece> = Vec::with_capacity(parts.variables.len());
        let mut before = head.last().copied();
        for (name, then) in parts.variables {
            if let Some(joined) = pieces.last_mut().filter(|piece| piece.then.is_empty()) {
                // Two values with nothing between them are one that nothing is known of.
                *joined = Piece { var: None, shape: shape(None, &name, before, &then), then: then.into_bytes() };
            } else {
                let var = Var::of_variable(&name);
                pieces.push(Piece { var, shape: shape(var, &name, before, &then), then: then.into_bytes() });
            }
            before = pieces.last().and_then(|piece| piece.then.last().copied()).or(before);
        }
        if !pieces.iter().any(|piece| piece.var.is_some()) {
            return Err(FormatError(
                "the format names no variable of nginx that a failure could be told by".to_owned(),
            ));
        }
        let escaped = escape != "none";
        let quote_after = |at: usize| pieces[at..].iter().any(|piece| piece.then.contains(&b'"'));
        let open_to_clients = |at: usize, piece: &Piece| {
            piece.shape == Shape::Open && !piece.then.is_empty() && (!escaped || !quote_after(at))
        };
        let ambiguous = pieces
            .iter()
            .enumerate()
            .any(|(at, piece)| open_to_clients(at, piece) || (!escaped && piece.shape == Shape::Quoted));
        Ok(Self { head, pieces, escaped, ambiguous })
    }

    /// Reads a whole line.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Match<'a> {
        let Some(first) = self.values(line, false) else { return Match::No };
        if self.ambiguous && self.values(line, true).is_some_and(|last| self.differ(&first, &last)) {
            return Match::TwoReadings;
        }
        let mut fields = Box::<Fields>::default();
        for (piece, value) in self.pieces.iter().zip(first) {
            if let Some(var) = piece.var {
                fields.set(var, if self.escaped { unescape(value) } else { value.into() });
            }
        }
        Match::Fits(fields)
    }

    /// Whether two readings give different values to a field that a failure is told by.
    fn differ(&self, one: &[&[u8]], other: &[&[u8]]) -> bool {
        let matters = |piece: &Piece| piece.var.is_some_and(|var| !matches!(var, Var::Request | Var::Uri | Var::Host));
        self.pieces.iter().zip(one.iter().zip(other)).any(|(piece, (a, b))| matters(piece) && a != b)
    }

    /// Whether a value can end in one place only, so that the first reading is the one; its values may need unescaping.
    pub(super) fn is_plain(&self) -> bool {
        self.escaped && !self.ambiguous
    }

    /// The variables in order; None for those that nothing is told by.
    pub(super) fn variables(&self) -> impl Iterator<Item = Option<Var>> {
        self.pieces.iter().map(|piece| piece.var)
    }

    /// The values of a line as they stand, each ending at the first place where it can. None: the line does not fit so.
    pub(super) fn first_values<'a>(&self, line: &'a [u8], values: &mut [&'a [u8]]) -> Option<()> {
        let mut rest = line.strip_prefix(self.head.as_slice())?;
        for (piece, value) in self.pieces.iter().zip(values) {
            let end = match piece.shape {
                Shape::Open if piece.then.is_empty() => rest.len(),
                Shape::Open => first_place(rest, &piece.then)?,
                _ => end(piece, rest)?,
            };
            *value = &rest[..end];
            rest = rest[end..].strip_prefix(piece.then.as_slice())?;
        }
        rest.is_empty().then_some(())
    }

    fn values<'a>(&self, line: &'a [u8], from_the_end: bool) -> Option<Vec<&'a [u8]>> {
        let rest = line.strip_prefix(self.head.as_slice())?;
        let mut values = Vec::with_capacity(self.pieces.len());
        let mut search = Search { format: self, from_the_end, steps: 0 };
        search.piece(0, rest, &mut values).then_some(values)
    }
}

/// Looks for the ends of all values of one line.
struct Search<'f> {
    format: &'f Format,
    from_the_end: bool,
    steps: usize,
}

impl Search<'_> {
    fn piece<'a>(&mut self, at: usize, rest: &'a [u8], values: &mut Vec<&'a [u8]>) -> bool {
        let Some(piece) = self.format.pieces.get(at) else { return rest.is_empty() };
        let raw_quotes = !self.format.escaped && piece.shape == Shape::Quoted;
        if piece.shape == Shape::Open || raw_quotes {
            return self.open(at, piece, rest, values);
        }
        let Some(end) = end(piece, rest) else { return false };
        self.take(at, piece, rest, end, values)
    }

    fn take<'a>(&mut self, at: usize, piece: &Piece, rest: &'a [u8], end: usize, values: &mut Vec<&'a [u8]>) -> bool {
        let Some(after) = rest[end..].strip_prefix(piece.then.as_slice()) else { return false };
        values.push(&rest[..end]);
        self.piece(at + 1, after, values) || {
            values.truncate(at);
            false
        }
    }

    /// A value that may hold the text after it: each place where that text stands is tried.
    fn open<'a>(&mut self, at: usize, piece: &Piece, rest: &'a [u8], values: &mut Vec<&'a [u8]>) -> bool {
        if piece.then.is_empty() {
            return self.take(at, piece, rest, rest.len(), values);
        }
        let mut places: Box<dyn Iterator<Item = usize>> = if self.from_the_end {
            Box::new(memchr::memmem::rfind_iter(rest, &piece.then))
        } else {
            Box::new(memchr::memmem::find_iter(rest, &piece.then))
        };
        places.any(|end| {
            self.steps += 1;
            self.steps <= MOST_STEPS && self.take(at, piece, rest, end, values)
        })
    }
}

/// Where a value with a shape of its own ends.
fn end(piece: &Piece, rest: &[u8]) -> Option<usize> {
    match piece.shape {
        Shape::Quoted => closing_quote(rest),
        Shape::Status => (rest.len() >= 3 && rest[..3].iter().all(u8::is_ascii_digit)).then_some(3),
        Shape::List => Some(list_end(rest)),
        Shape::Word | Shape::Open => {
            let blank = memchr::memchr(b' ', rest).unwrap_or(rest.len());
            let stop = piece.then.first().filter(|byte| **byte != b' ');
            Some(stop.and_then(|byte| memchr::memchr(*byte, &rest[..blank])).unwrap_or(blank))
        }
    }
}

/// The first quote that no backslash escapes.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &text[from..])?;
        if text[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
        if from > text.len() {
            return None;
        }
    }
}

/// The end of `a, b : c`.
pub(super) fn list_end(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += memchr::memchr(b' ', &text[at..]).unwrap_or(text.len() - at);
        if at > 0 && text[at - 1] == b',' && at < text.len() {
            at += 1;
        } else if text[at..].starts_with(b" : ") {
            at += 3;
        } else {
            return at;
        }
    }
}

fn shape(var: Option<Var>, name: &str, before: Option<u8>, then: &str) -> Shape {
    if before == Some(b'"') && then.starts_with('"') {
        return Shape::Quoted;
    }
    let blank_follows = then.starts_with(' ') || then.is_empty();
    let bracketed = before == Some(b'[') && then.starts_with(']');
    match var {
        Some(Var::Status) => Shape::Status,
        Some(
            Var::UpstreamAddr
            | Var::UpstreamStatus
            | Var::ConnectTime
            | Var::HeaderTime
            | Var::ResponseTime
            | Var::UpstreamReceived
            | Var::UpstreamLength,
        ) => {
            if blank_follows {
                Shape::List
            } else {
                Shape::Open
            }
        }
        Some(Var::Request | Var::Uri | Var::TimeLocal) => Shape::Open,
        Some(Var::RequestUri | Var::Host) if !blank_follows && !bracketed => Shape::Open,
        Some(Var::Client | Var::TimeIso) if then.starts_with(':') => Shape::Open,
        Some(_) => Shape::Word,
        None if then.starts_with(' ') && is_list(name) => Shape::List,
        None if then.starts_with(' ') && is_word(name) => Shape::Word,
        _ => Shape::Open,
    }
}

/// Variables without a field of their own that hold a list.
fn is_list(name: &str) -> bool {
    matches!(name, "upstream_bytes_sent" | "upstream_cache_status" | "upstream_queue_time")
}

/// Variables without a field of their own that hold no blank, whatever a client sends.
fn is_word(name: &str) -> bool {
    matches!(
        name,
        "bytes_received"
            | "connection_requests"
            | "gzip_ratio"
            | "pid"
            | "protocol"
            | "remote_port"
            | "request_length"
            | "scheme"
            | "server_addr"
            | "server_port"
            | "server_protocol"
            | "ssl_cipher"
            | "ssl_protocol"
            | "tcpinfo_rtt"
    )
}

struct Parts {
    head: Vec<u8>,
    variables: Vec<(String, String)>,
}

/// Literal text and variables, `$name` or `${name}`.
fn split(text: &str) -> Result<Parts, FormatError> {
    let mut chunks = text.split('$');
    let head = chunks.next().unwrap_or_default().as_bytes().to_vec();
    let mut variables = Vec::new();
    for chunk in chunks {
        let (name, then) = match chunk.strip_prefix('{') {
            Some(braced) => {
                braced.split_once('}').ok_or_else(|| FormatError(format!("\"${{\" without \"}}\" before {chunk:?}")))?
            }
            None => {
                let end = chunk.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(chunk.len());
                chunk.split_at(end)
            }
        };
        if name.is_empty() {
            return Err(FormatError("a \"$\" without a variable's name".to_owned()));
        }
        variables.push((name.to_owned(), then.to_owned()));
        if variables.len() > MOST_PIECES {
            return Err(FormatError(format!("more than {MOST_PIECES} variables")));
        }
    }
    Ok(Parts { head, variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, line: &str, var: Var) -> Option<String> {
        match Format::compile(format).unwrap().read(line.as_bytes()) {
            Match::Fits(fields) => Some(String::from_utf8_lossy(fields.get(var)?).into_owned()),
            _ => None,
        }
    }

    const TAIL: &str = r#"$status $upstream_addr $upstream_response_time $upstream_status $req_id"#;

    #[test]
    fn lists_without_quotes_are_told_apart() {
        let line = "200 10.0.0.1:80, 10.0.0.2:80 : unix:/a 0.1, - : 0.2 502, 502 : 200 abc";
        assert_eq!(read(TAIL, line, Var::UpstreamAddr).as_deref(), Some("10.0.0.1:80, 10.0.0.2:80 : unix:/a"));
        assert_eq!(read(TAIL, line, Var::UpstreamStatus).as_deref(), Some("502, 502 : 200"));
        assert_eq!(read(TAIL, "500  0.000 - abc", Var::UpstreamAddr).as_deref(), Some(""));
        assert_eq!(read(TAIL, "5020 - - - abc", Var::Status), None);
    }

    #[test]
    fn quotes_of_a_client_end_no_value() {
        let format = r#"$remote_addr "$request" $status "$http_user_agent" ua="$upstream_addr""#;
        let line = r#"192.0.2.1 "GET / HTTP/1.1" 200 "x\" ua=\"6.6.6.6:1" ua="192.0.2.9:80""#;
        assert_eq!(read(format, line, Var::UpstreamAddr).as_deref(), Some("192.0.2.9:80"));
        assert_eq!(read(format, &line.replace("\\\"", "\\x22"), Var::UpstreamAddr).as_deref(), Some("192.0.2.9:80"));
    }

    #[test]
    fn two_readings_are_refused() {
        let format = r#"escape=none "$http_user_agent" st="$status" ua="$upstream_addr""#;
        let plain = r#""curl" st="200" ua="192.0.2.9:80""#;
        assert_eq!(read(format, plain, Var::Status).as_deref(), Some("200"));
        let forged = r#""x" st="502" ua="6.6.6.6:1" st="200" ua="192.0.2.9:80""#;
        assert!(matches!(Format::compile(format).unwrap().read(forged.as_bytes()), Match::TwoReadings));
        let unquoted = "$http_user_agent $status $http_x";
        assert!(matches!(Format::compile(unquoted).unwrap().read(b"a 502 b 200 -"), Match::TwoReadings));
        assert_eq!(read(unquoted, "a 200 -", Var::Status).as_deref(), Some("200"));
        assert_eq!(read("$http_a $status $upstream_addr", "a 502 b:1 200 c:2", Var::Status).as_deref(), Some("200"));
    }

    #[test]
    fn braces_and_neighbours() {
        let format = "${scheme}://$host$request_uri ${status}x";
        assert_eq!(read(format, "http://a.example/b 204x", Var::Status).as_deref(), Some("204"));
        for wrong in ["", "no variables", "$", "${status", "$http_x"] {
            assert!(Format::compile(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hostile_line_costs_bounded_time() {
        let format = Format::compile(&"$http_a $http_b ".repeat(20).replace("$http_b", "$status$http_c")).unwrap_err();
        assert!(format.0.contains("names no variable"));
        let format = Format::compile(&format!("{}$status", "$http_a x ".repeat(30))).unwrap();
        assert!(matches!(format.read("1 x ".repeat(10_000).as_bytes()), Match::No));
    }
}
