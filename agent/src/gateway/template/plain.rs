//! The reading of a line that can be read in one way only, and without ever going back: each field ends at the first place
//! where it can, and what a client chose holds nothing that parts fields. Nearly all lines are such; a test holds this
//! reading and the full one to the same answer.

use super::{Part, Shape, Span, Template, first_place, reach};

/// The fields of one line, to be filled line by line without new memory.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Spans(pub(super) Vec<Span>);

impl Spans {
    /// The text of the field at a place that [`Template::place`] gave.
    pub(in crate::gateway) fn text<'l>(&self, line: &'l [u8], place: usize) -> &'l [u8] {
        self.0.get(place).and_then(|span| line.get(span.from..span.to)).unwrap_or_default()
    }

    /// The text from one field's beginning to another one's end.
    pub(in crate::gateway) fn between<'l>(&self, line: &'l [u8], first: usize, last: usize) -> &'l [u8] {
        let (first, last) = (self.0.get(first), self.0.get(last));
        first.zip(last).and_then(|(first, last)| line.get(first.from..last.to)).unwrap_or_default()
    }
}

impl Template {
    /// Which field a name is; the first one where several have it.
    pub(in crate::gateway) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Reads a line that is plain to read. False: it may be read otherwise, or not at all.
    pub(in crate::gateway) fn plain(&self, line: &[u8], spans: &mut Spans) -> bool {
        spans.0.clear();
        let counted = !self.open_end && memchr::memchr_iter(b'"', line).count() == self.quotes;
        let (mut from, mut sure) = (0, 0);
        for (at, part) in self.parts.iter().enumerate() {
            let rest = line.get(from..).unwrap_or_default();
            from += match part {
                Part::Exact(exact) if rest.starts_with(exact) => exact.len(),
                Part::Exact(_) => return false,
                Part::Blank => match rest.iter().take_while(|byte| is_blank(**byte)).count() {
                    0 if from > 0 && !is_blank(line[from - 1]) => return false,
                    blanks => blanks,
                },
                Part::Field(field, shape) => {
                    let Some(end) = self.first_end(at, rest, *shape) else { return false };
                    if self.guarded && at >= sure {
                        if !self.ends_nowhere_else(at, rest, *shape, end, counted) {
                            return false;
                        }
                        sure = at + 2 * worded(self.parts.get(at..).unwrap_or_default());
                    }
                    spans.0.push(Span { field: *field, from, to: from + end });
                    end
                }
            };
        }
        self.open_end || line.get(from..).unwrap_or_default().iter().all(|byte| matches!(byte, b' ' | b'\r'))
    }

    /// The first place where the field at the front of `rest` can end.
    fn first_end(&self, at: usize, rest: &[u8], shape: Shape) -> Option<usize> {
        let reach = reach(rest, shape);
        let least = usize::from(matches!(shape, Shape::Number | Shape::Word));
        let end = match (shape, self.parts.get(at + 1)) {
            (Shape::Braces | Shape::Escaped, _) => return Some(reach),
            (_, None) => reach,
            (_, next) if ends_at_reach(shape, next) => reach,
            (_, Some(Part::Exact(exact))) => least + first_place(rest.get(least..)?, exact)?,
            (Shape::Own | Shape::Text, Some(Part::Blank)) => memchr::memchr2(b' ', b'\t', rest)?,
            (_, Some(Part::Blank | Part::Field(..))) => return None,
        };
        (least..=reach).contains(&end).then_some(end)
    }

    /// Whether the field at the front of `rest` can end nowhere but at `end` in any reading of the whole line. `counted`: the
    /// line has just the quotes that the format has, so a field that took one would leave too few for what follows.
    fn ends_nowhere_else(&self, at: usize, rest: &[u8], shape: Shape, end: usize, counted: bool) -> bool {
        match (shape, self.parts.get(at + 1)) {
            (Shape::Braces | Shape::Escaped, _) | (_, None) => true,
            (shape, next) if ends_at_reach(shape, next) => true,
            (_, Some(Part::Exact(exact))) if counted && exact.first() == Some(&b'"') => true,
            (_, Some(Part::Exact(exact))) => {
                let reach = if counted { reach(rest, shape).min(quote_from(rest, end)) } else { reach(rest, shape) };
                first_place(rest.get(end + 1..).unwrap_or_default(), exact).is_none_or(|place| end + 1 + place > reach)
            }
            (_, Some(Part::Blank)) => self.only_blank(at, rest, end, counted),
            (_, Some(Part::Field(..))) => false,
        }
    }

    /// Whether the blank at `end` is the only one at which the field before it can end. Such fields may follow each other:
    /// then there are just as many blanks as fields before what follows them, which can begin nowhere else.
    fn only_blank(&self, at: usize, rest: &[u8], end: usize, counted: bool) -> bool {
        let limit = if counted { quote_from(rest, end) } else { rest.len() };
        let fields = worded(self.parts.get(at..).unwrap_or_default());
        let behind = self.parts.get(at + 2 * fields..).unwrap_or_default();
        if limit == rest.len() && may_begin(behind, &[]) {
            // It might take all that is left.
            return false;
        }
        let words = rest.get(end..limit).unwrap_or_default();
        let mut begun = false;
        for (number, blank) in memchr::memchr2_iter(b' ', b'\t', words).enumerate() {
            let after = rest.get(end + blank + 1..).unwrap_or_default();
            if number < fields && after.first().is_some_and(|byte| is_blank(*byte)) {
                return false;
            }
            if may_begin(behind, after) {
                if number + 1 != fields {
                    return false;
                }
                begun = true;
            }
        }
        begun
    }
}

/// How many fields that may hold blanks, each with a blank behind it, follow each other.
fn worded(parts: &[Part]) -> usize {
    let is_worded = |pair: &&[Part]| matches!(pair, [Part::Field(_, Shape::Own | Shape::Text), Part::Blank]);
    parts.chunks(2).take_while(is_worded).count()
}

/// Whether a text may begin with these parts. They are followed as long as each can end in one place only.
fn may_begin(parts: &[Part], text: &[u8]) -> bool {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let mut rest = text.get(blanks..).unwrap_or_default();
    for (at, part) in parts.iter().enumerate() {
        let next = parts.get(at + 1);
        let len = match part {
            Part::Exact(exact) if rest.starts_with(exact) => exact.len(),
            Part::Blank => rest.iter().take_while(|byte| is_blank(**byte)).count(),
            Part::Field(_, shape) if ends_at_reach(*shape, next) => reach(rest, *shape),
            Part::Field(..) => return true,
            Part::Exact(_) => return false,
        };
        let may_be_empty = match part {
            Part::Blank => rest.is_empty(),
            Part::Field(_, shape) => *shape == Shape::Date,
            Part::Exact(_) => false,
        };
        if len == 0 && !may_be_empty {
            return false;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    true
}

/// Whether a field of this shape ends where its letters do, since what follows is none of them.
fn ends_at_reach(shape: Shape, next: Option<&Part>) -> bool {
    match (shape, next) {
        (Shape::Number | Shape::Word, None | Some(Part::Blank)) => true,
        (Shape::Number, Some(Part::Exact(exact))) => exact.first().is_some_and(|first| reach(&[*first], shape) == 0),
        (Shape::Date, Some(Part::Exact(exact))) => exact.first().is_some_and(|first| reach(&[*first], shape) == 0),
        _ => false,
    }
}

/// Where the first quote from a place on stands; the end of the text where there is none.
fn quote_from(text: &[u8], from: usize) -> usize {
    text.get(from..).and_then(|text| memchr::memchr(b'"', text)).map_or(text.len(), |found| from + found)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats as gateways' own are: literal texts, and fields by their shapes.
    const FORMATS: [&[Piece]; 9] = [
        &[Is(Shape::Word), At(":"), Is(Shape::Number), At(" ["), Is(Shape::Own), At("] "), Is(Shape::Word)],
        &[Is(Shape::Text), At(" ["), Is(Shape::Date), At("] \""), Is(Shape::Escaped), At("\" "), Is(Shape::Number)],
        &[At("\""), Is(Shape::Word), At(" "), Is(Shape::Text), At(" "), Is(Shape::Word), At("\" "), Is(Shape::Number)],
        &[
            At("\""),
            Is(Shape::Text),
            At("\" \""),
            Is(Shape::Text),
            At("\" "),
            Is(Shape::Own),
            At(" "),
            Is(Shape::Number),
        ],
        &[Is(Shape::Text), At(" "), Is(Shape::Braces), At(" "), Is(Shape::Word), At(" \""), Is(Shape::Text), At("\"")],
        &[Is(Shape::Text), At("-"), Is(Shape::Number), At("-\""), Is(Shape::Own), At("\" "), Is(Shape::Word)],
        &[Is(Shape::Text), At(" "), Is(Shape::Own), At(" \""), Is(Shape::Own), At("\""), Is(Shape::Word)],
        &[Is(Shape::Text), At(" "), Is(Shape::Number), At(":"), Is(Shape::Number), At("]")],
        &[Is(Shape::Braces), At(" "), Is(Shape::Text), At("- "), Is(Shape::Date), At("-"), Is(Shape::Word), At(" ")],
    ];

    enum Piece {
        At(&'static str),
        Is(Shape),
    }
    use Piece::{At, Is};

    fn template(pieces: &[Piece], open_end: bool) -> Template {
        let mut template = Template::default();
        for (at, piece) in pieces.iter().enumerate() {
            match piece {
                At(text) => template.push_literal(text),
                Is(shape) => template.push_field(&at.to_string(), *shape),
            }
        }
        if open_end { template.with_open_end() } else { template }
    }

    /// A line that fits a format, or nearly: fields of few letters, those that part fields among them.
    fn line(pieces: &[Piece], below: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut line = Vec::new();
        for piece in pieces {
            match piece {
                At(text) => line.extend_from_slice(text.as_bytes()),
                Is(Shape::Braces) => line.extend_from_slice([&b""[..], b"{1}", b"{a b}"][below(3)]),
                Is(Shape::Number) => line.push(b"0-7"[below(3)]),
                Is(_) => line.extend((0..below(4)).map(|_| b"abab12 \"[]:-{}\\\t"[below(16)])),
            }
        }
        if below(3) == 0 && !line.is_empty() {
            let at = below(line.len());
            line[at] = b"a \"[]:-{}1"[below(10)];
        }
        line
    }

    #[test]
    fn a_plain_reading_is_the_only_one() {
        let mut state = 502_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap_or_default() % limit
        };
        let mut plain = [0; FORMATS.len()];
        for round in 0..20_000 {
            let format = round % FORMATS.len();
            let template = template(FORMATS[format], below(4) == 0);
            let line = line(FORMATS[format], &mut below);
            let mut spans = Spans::default();
            if template.plain(&line, &mut spans) {
                plain[format] += 1;
                let read = template.read_fully(&line).map(|fields| (fields.cut, fields.found));
                let expected = template.fields(&line, &spans.0, false).found;
                assert_eq!(read, Ok((false, expected)), "{format}: {}", line.escape_ascii());
            }
        }
        // Some formats can't be sure of any line.
        assert!(plain.iter().filter(|lines| **lines > 100).count() >= 5, "{plain:?}");
    }
}
