//! A log format as a list of literal texts and fields, and the reading of one line by it. Each gateway's own format language
//! is translated into such a list; here nothing is known of any gateway.
//!
//! A field that a client can fill may hold the very texts that separate fields. So a line is read twice where that matters,
//! with the shortest and with the longest such fields; if the gateway's own fields then differ, the line is ambiguous and
//! is refused: a client must not be able to choose what a line says. Work is bounded by remembering dead ends.

mod plain;

use std::collections::HashSet;

pub(super) use plain::Spans;

/// Steps allowed for one reading of one line; a line that needs more is refused.
const STEPS: usize = 200_000;

/// What a field's text may consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Digits, signs and points, or `-`. Never empty.
    Number,
    /// No blank. Never empty.
    Word,
    /// `{...}` without a closing brace inside, or nothing.
    Braces,
    /// The gateway's own words, blanks allowed.
    Own,
    /// A stamp in brackets: anything but a bracket or a quote.
    Date,
    /// A client's text between quotes in which the gateway escapes quotes: it ends at the first bare one.
    Escaped,
    /// Anything: a client may have chosen it.
    Text,
}

/// One piece of a format.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Exact(Vec<u8>),
    /// One or more blanks; none where the text before ended in one, as with empty optional fields.
    Blank,
    Field(usize, Shape),
}

/// A format, ready to read lines with.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Template {
    parts: Vec<Part>,
    names: Vec<String>,
    open_end: bool,
    guarded: bool,
    /// Quotes in all literal texts.
    quotes: usize,
    /// Which fields a client can fill.
    clients: Vec<bool>,
}

/// Why a line does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It has another form.
    Form,
    /// Text that a client chose makes it readable in two ways.
    Ambiguous,
    /// Reading it would cost too much.
    Costly,
}

impl Misfit {
    /// In words.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::Form => "the line does not have the form of this format",
            Self::Ambiguous => "text that the client chose makes the line readable in two ways",
            Self::Costly => "the line is too intricate to read",
        }
    }
}

/// The fields of one line.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'l> {
    found: Vec<(&'l str, &'l [u8])>,
    /// The line ended inside a field: later ones are missing.
    pub(super) cut: bool,
}

impl<'l> Fields<'l> {
    /// Fields that were found in another way.
    pub(super) fn of(found: Vec<(&'l str, &'l [u8])>) -> Self {
        Self { found, cut: false }
    }

    /// The text of the first field of this name that is not `-` or empty.
    pub(super) fn get(&self, name: &str) -> Option<&'l [u8]> {
        self.found.iter().find(|(found, text)| *found == name && !matches!(*text, b"" | b"-")).map(|(_, text)| *text)
    }

    /// The text of the first field of this name, be it `-`.
    pub(super) fn raw(&self, name: &str) -> Option<&'l [u8]> {
        self.found.iter().find(|(found, _)| *found == name).map(|(_, text)| *text)
    }

    /// The text of the first field whose name begins so, if it is not `-` or empty.
    pub(super) fn get_like(&self, start: &str) -> Option<&'l [u8]> {
        self.found
            .iter()
            .find(|(name, text)| name.starts_with(start) && !matches!(*text, b"" | b"-"))
            .map(|(_, text)| *text)
    }

    /// Whether the line has this field at all, be it `-`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.found.iter().any(|(found, _)| *found == name)
    }
}

impl Template {
    /// Adds literal text; each run of blanks in it stands for one or more.
    pub(super) fn push_literal(&mut self, text: &str) {
        for byte in text.bytes() {
            self.quotes += usize::from(byte == b'"');
            match (byte, self.parts.last_mut()) {
                (b' ' | b'\t', Some(Part::Blank)) => {}
                (b' ' | b'\t', _) => self.parts.push(Part::Blank),
                (_, Some(Part::Exact(exact))) => exact.push(byte),
                _ => self.parts.push(Part::Exact(vec![byte])),
            }
        }
    }

    /// Adds a field.
    pub(super) fn push_field(&mut self, name: &str, shape: Shape) {
        // Only a field of a client's before one of the gateway's can shift the latter.
        self.guarded |= shape != Shape::Text && self.clients.contains(&true);
        self.clients.push(shape == Shape::Text);
        self.parts.push(Part::Field(self.names.len(), shape));
        self.names.push(name.to_owned());
    }

    /// Lets a line go on after the last part.
    pub(super) fn with_open_end(mut self) -> Self {
        self.open_end = true;
        self
    }

    /// Quotes in all its literal texts: a line that fits has at least as many.
    pub(super) fn quotes(&self) -> usize {
        self.quotes
    }

    /// The names of the fields in order.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Reads a line.
    pub(super) fn read<'l>(&'l self, line: &'l [u8]) -> Result<Fields<'l>, Misfit> {
        let mut spans = Spans::default();
        if self.plain(line, &mut spans) {
            return Ok(self.fields(line, &spans.0, false));
        }
        self.read_fully(line)
    }

    /// Reads a line with all the ways that there may be to read it.
    fn read_fully<'l>(&'l self, line: &'l [u8]) -> Result<Fields<'l>, Misfit> {
        let mut short = Walk::new(self, line, false);
        if !short.run()? {
            return short.cut.take().map(|spans| self.fields(line, &spans, true)).ok_or(Misfit::Form);
        }
        if self.guarded {
            let mut long = Walk::new(self, line, true);
            if !long.run()? || self.own_fields_differ(&short.spans, &long.spans) {
                return Err(Misfit::Ambiguous);
            }
        }
        Ok(self.fields(line, &short.spans, false))
    }

    fn fields<'l>(&'l self, line: &'l [u8], spans: &[Span], cut: bool) -> Fields<'l> {
        let found = spans
            .iter()
            .filter_map(|span| Some((self.names.get(span.field)?.as_str(), line.get(span.from..span.to)?)))
            .collect();
        Fields { found, cut }
    }

    fn own_fields_differ(&self, one: &[Span], other: &[Span]) -> bool {
        // What is read over may be read either way.
        let is_kept = |span: &Span| self.names.get(span.field).is_some_and(|name| name != "-");
        let own = |span: &&Span| self.clients.get(span.field) == Some(&false) && is_kept(span);
        one.iter().filter(own).ne(other.iter().filter(own))
    }
}

/// Where a field's text lies in the line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    field: usize,
    from: usize,
    to: usize,
}

/// One reading of one line.
struct Walk<'t> {
    parts: &'t [Part],
    line: &'t [u8],
    open_end: bool,
    longest: bool,
    spans: Vec<Span>,
    /// The longest reading that ran into the end of the line inside a client's field.
    cut: Option<Vec<Span>>,
    dead: HashSet<(usize, usize)>,
    steps: usize,
}

impl<'t> Walk<'t> {
    fn new(template: &'t Template, line: &'t [u8], longest: bool) -> Self {
        let spans = Vec::with_capacity(template.names.len());
        let (parts, open_end) = (template.parts.as_slice(), template.open_end);
        Self { parts, line, open_end, longest, spans, cut: None, dead: HashSet::new(), steps: 0 }
    }

    fn run(&mut self) -> Result<bool, Misfit> {
        self.step(0, 0)
    }

    /// Reads from part `at` on, at byte `from`. Recursion is as deep as there are parts.
    fn step(&mut self, at: usize, from: usize) -> Result<bool, Misfit> {
        let rest = self.line.get(from..).unwrap_or_default();
        match self.parts.get(at) {
            None => Ok(self.open_end || rest.iter().all(|byte| matches!(byte, b' ' | b'\r'))),
            Some(Part::Exact(exact)) if rest.starts_with(exact) => self.step(at + 1, from + exact.len()),
            Some(Part::Exact(_)) => Ok(false),
            Some(Part::Blank) => {
                let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                let after_blank = from == 0 || matches!(self.line.get(from - 1), Some(b' ' | b'\t'));
                if blanks == 0 && !after_blank && !(rest.is_empty() && self.only_optional_from(at)) {
                    return Ok(false);
                }
                self.step(at + 1, from + blanks)
            }
            Some(Part::Field(field, shape)) => self.field(at, from, *field, *shape),
        }
    }

    /// Whether all parts from `at` on may be empty.
    fn only_optional_from(&self, at: usize) -> bool {
        self.parts.iter().skip(at).all(|part| matches!(part, Part::Blank | Part::Field(_, Shape::Braces)))
    }

    fn field(&mut self, at: usize, from: usize, field: usize, shape: Shape) -> Result<bool, Misfit> {
        if self.dead.contains(&(at, from)) {
            return Ok(false);
        }
        let reach = from + reach(self.line.get(from..).unwrap_or_default(), shape);
        let mut ends = self.ends(at, from, reach, shape);
        if self.longest {
            ends.reverse();
        }
        for to in ends {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(Misfit::Costly);
            }
            self.spans.push(Span { field, from, to });
            if self.step(at + 1, to)? {
                return Ok(true);
            }
            self.spans.pop();
        }
        if reach == self.line.len() && matches!(shape, Shape::Text | Shape::Escaped | Shape::Braces) {
            self.note_cut(Span { field, from, to: reach });
        }
        self.dead.insert((at, from));
        Ok(false)
    }

    fn note_cut(&mut self, last: Span) {
        if self.cut.as_ref().is_none_or(|cut| cut.len() <= self.spans.len()) {
            let mut cut = self.spans.clone();
            cut.push(last);
            self.cut = Some(cut);
        }
    }

    /// Where a field that starts at `from` and may reach to `reach` can end, ascending.
    fn ends(&self, at: usize, from: usize, reach: usize, shape: Shape) -> Vec<usize> {
        let least = usize::from(matches!(shape, Shape::Number | Shape::Word));
        let fits = |to: &usize| *to >= from + least && *to <= reach;
        match self.parts.get(at + 1) {
            _ if matches!(shape, Shape::Braces | Shape::Escaped) => vec![reach],
            None => vec![reach].into_iter().filter(fits).collect(),
            Some(Part::Blank) if matches!(shape, Shape::Number | Shape::Word) => {
                vec![reach].into_iter().filter(fits).collect()
            }
            Some(Part::Exact(exact)) => {
                let hay = self.line.get(from..).unwrap_or_default();
                places(hay, exact).map(|found| from + found).filter(fits).collect()
            }
            Some(Part::Blank) => {
                let hay = self.line.get(from..=reach.min(self.line.len().saturating_sub(1))).unwrap_or_default();
                let blanks = memchr::memchr2_iter(b' ', b'\t', hay).map(|found| from + found);
                blanks.chain([reach]).filter(fits).collect()
            }
            Some(Part::Field(..)) => (from + least..=reach).collect(),
        }
    }
}

/// All places where `needle` begins, also those inside one another. It is short, so that no search is prepared for it.
fn places<'h>(hay: &'h [u8], needle: &'h [u8]) -> impl Iterator<Item = usize> + 'h {
    let first = needle.first().copied().unwrap_or_default();
    memchr::memchr_iter(first, hay).filter(move |at| hay.get(*at..).is_some_and(|from| from.starts_with(needle)))
}

/// The first of them.
pub(super) fn first_place(hay: &[u8], needle: &[u8]) -> Option<usize> {
    places(hay, needle).next()
}

/// How many bytes at the start of `text` a field of this shape can take.
fn reach(text: &[u8], shape: Shape) -> usize {
    match shape {
        Shape::Number => {
            text.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.')).count()
        }
        Shape::Word => memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len()),
        Shape::Braces if text.first() == Some(&b'{') => {
            memchr::memchr(b'}', text).map_or(text.len(), |found| found + 1)
        }
        Shape::Braces => 0,
        Shape::Date => text.iter().take_while(|byte| !matches!(byte, b'[' | b']' | b'"')).count(),
        Shape::Escaped => first_bare_quote(text),
        Shape::Own | Shape::Text => text.len(),
    }
}

/// Where the first quote stands that no backslash escapes.
fn first_bare_quote(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(parts: &[(&str, Option<Shape>)]) -> Template {
        let mut template = Template::default();
        for (text, shape) in parts {
            match shape {
                Some(shape) => template.push_field(text, *shape),
                None => template.push_literal(text),
            }
        }
        template
    }

    fn quoted_then_status() -> Template {
        template(&[
            ("\"", None),
            ("agent", Some(Shape::Text)),
            ("\" ", None),
            ("status", Some(Shape::Number)),
            (" \"", None),
            ("path", Some(Shape::Text)),
            ("\"", None),
        ])
    }

    #[test]
    fn reads_fields_between_literals() {
        let template = quoted_then_status();
        let fields = template.read(b"\"curl\" 502 \"/x y\"").unwrap();
        assert_eq!(fields.get("status"), Some(&b"502"[..]));
        assert_eq!(fields.get("path"), Some(&b"/x y"[..]));
    }

    #[test]
    fn refuses_what_a_client_made_ambiguous() {
        let line = b"\"curl\" 502 \"x\" 200 \"/x\"";
        assert_eq!(quoted_then_status().read(line).unwrap_err(), Misfit::Ambiguous);
    }

    #[test]
    fn keeps_what_stands_before_a_cut() {
        let template =
            template(&[("status", Some(Shape::Number)), (" \"", None), ("path", Some(Shape::Text)), ("\"", None)]);
        let fields = template.read(b"502 \"/loooong").unwrap();
        assert!(fields.cut);
        assert_eq!(fields.get("status"), Some(&b"502"[..]));
    }

    #[test]
    fn empty_optional_fields_take_their_blank_with_them() {
        let template = template(&[
            ("a", Some(Shape::Word)),
            (" ", None),
            ("hr", Some(Shape::Braces)),
            (" ", None),
            ("hs", Some(Shape::Braces)),
            (" ", None),
            ("b", Some(Shape::Word)),
        ]);
        for line in ["x y", "x {1} y", "x {1} {2} y"] {
            assert_eq!(template.read(line.as_bytes()).unwrap().get("b"), Some(&b"y"[..]), "{line}");
        }
    }

    #[test]
    fn an_intricate_line_ends_soon() {
        let mut template = Template::default();
        for index in 0..8 {
            template.push_field(&index.to_string(), Shape::Text);
            template.push_literal("\" \"");
        }
        template.push_field("last", Shape::Number);
        let line = b"\" \"".repeat(2000);
        assert!(template.read(&line).is_err());
    }
}
