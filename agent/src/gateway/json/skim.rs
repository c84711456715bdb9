//! A look at an object for some of its members, of which no other is kept. Only an object that has one plain meaning is looked at,
//! whatever else is left to the whole reading; a test holds both to the same answer.

/// Members of one object that are looked at.
const MOST_MEMBERS: usize = 48;
/// Levels of nesting that are followed.
const MOST_LEVELS: usize = 6;

/// Where a member stands: the name of the object within the line's own object, empty for that itself, and its own name.
pub(in crate::gateway) type Place = (&'static str, &'static str);

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Found<'a> {
    /// Nothing, `null`, a list or an object.
    NoText,
    /// A number, a word, or a string without escapes, as written.
    Text(&'a [u8]),
    /// A string with escapes in it.
    Escaped,
}

impl<'a> Found<'a> {
    /// The text, where there is one. None: only the whole reading tells it.
    pub(in crate::gateway) fn text(self) -> Option<Option<&'a [u8]>> {
        match self {
            Self::NoText => Some(None),
            Self::Text(text) => Some(Some(text)),
            Self::Escaped => None,
        }
    }
}

/// What stands at some places of a line that is one object. None: it is to be read whole.
pub(in crate::gateway) fn skim<'a, const N: usize>(line: &'a [u8], places: &[Place; N]) -> Option<[Found<'a>; N]> {
    let mut skim = Skim { text: line, at: 0, places, found: [Found::NoText; N] };
    skim.skip(b'{')?;
    skim.object(Some(b""), 0)?;
    skim.blanks();
    (skim.at == line.len()).then_some(skim.found)
}

struct Skim<'a, 'p, const N: usize> {
    text: &'a [u8],
    at: usize,
    places: &'p [Place; N],
    found: [Found<'a>; N],
}

impl<'a, const N: usize> Skim<'a, '_, N> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, wanted: u8) -> Option<()> {
        (self.peek() == Some(wanted)).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// The members of an object behind its brace. `within` is its name; None: nothing in it is looked for.
    fn object(&mut self, within: Option<&[u8]>, level: usize) -> Option<()> {
        let mut names: [&[u8]; MOST_MEMBERS] = [b""; MOST_MEMBERS];
        let (mut count, mut seen) = (0, 0u64);
        self.blanks();
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            self.skip(b'"')?;
            let name = self.name()?;
            // Most names differ in these already.
            let mark = 1 << ((name.len() * 7 + usize::from(*name.last().unwrap_or(&0))) % 64);
            if seen & mark != 0 && names[..count].contains(&name) {
                return None;
            }
            seen |= mark;
            *names.get_mut(count)? = name;
            count += 1;
            self.blanks();
            self.skip(b':')?;
            self.blanks();
            let is_outer = level == 0 && self.peek() == Some(b'{');
            let inner = Some(name).filter(|_| is_outer && self.is_group(name));
            let found = self.value(inner, level)?;
            if let Some(within) = within {
                self.keep(within, name, found);
            }
            self.blanks();
            if self.skip(b'}').is_some() {
                return Some(());
            }
            self.skip(b',')?;
            self.blanks();
        }
    }

    fn is_group(&self, name: &[u8]) -> bool {
        self.places.iter().any(|(group, _)| group.as_bytes() == name)
    }

    fn keep(&mut self, within: &[u8], name: &[u8], found: Found<'a>) {
        let place = self.places.iter().position(|(group, own)| own.as_bytes() == name && group.as_bytes() == within);
        if let Some(kept) = place.and_then(|place| self.found.get_mut(place)) {
            *kept = found;
        }
    }

    /// A member's name behind its quote, of letters that are nothing else than they are written.
    fn name(&mut self) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let end = rest.iter().position(|byte| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'))?;
        self.at += end;
        self.skip(b'"')?;
        rest.get(..end)
    }

    fn value(&mut self, within: Option<&[u8]>, level: usize) -> Option<Found<'a>> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string()
            }
            b'{' | b'[' if level == MOST_LEVELS => None,
            b'{' => {
                self.at += 1;
                self.object(within, level + 1).map(|()| Found::NoText)
            }
            b'[' => {
                self.at += 1;
                self.list(level + 1).map(|()| Found::NoText)
            }
            _ => self.bare(),
        }
    }

    fn list(&mut self, level: usize) -> Option<()> {
        self.blanks();
        if self.skip(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(None, level)?;
            self.blanks();
            if self.skip(b']').is_some() {
                return Some(());
            }
            self.skip(b',')?;
            self.blanks();
        }
    }

    /// A number or a word.
    fn bare(&mut self) -> Option<Found<'a>> {
        let rest = self.text.get(self.at..)?;
        let end =
            rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.'));
        let text = rest.get(..end?).filter(|text| !text.is_empty())?;
        self.at += text.len();
        Some(if text == b"null" { Found::NoText } else { Found::Text(text) })
    }

    /// A string behind its quote, whose escapes are such as the whole reading knows.
    fn string(&mut self) -> Option<Found<'a>> {
        let begin = self.at;
        let mut escaped = false;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.skip(b'"').is_some() {
                let text = self.text.get(begin..self.at - 1)?;
                return Some(if escaped { Found::Escaped } else { Found::Text(text) });
            }
            escaped = true;
            let digits = match self.text.get(self.at + 1)? {
                b'u' => 4,
                b'x' => 2,
                _ => 0,
            };
            let end = self.at + 2 + digits;
            if !self.text.get(self.at + 2..end)?.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            self.at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::json;

    const PLACES: [Place; 4] = [("", "a"), ("", "b"), ("c", "a"), ("c", "d")];

    #[test]
    fn finds_what_the_whole_reading_finds_or_leaves_it_to_that() {
        let mut looked_at = 0;
        for line in [
            r#"{"a":1,"b":"x y","c":{"d":"\u0026","a":-1.5e+3,"e":[{"a":2},[],{}]},"z":null}"#,
            r#" {"a":1}"#,
            r#"{ "a" : null , "c" : { } } "#,
            r#"{"b":{"a":1},"c":["a"]}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"c":{"d":1,"d":1}}"#,
            r#"{"c":{"a":7},"a":8,"b":9}"#,
            r#"{"a":1, "c":2,}"#,
            r#"{"a":0.1, 0.2,"b":1}"#,
            r#"{"a":"\u00g0","b":1}"#,
            r#"{"a":"\ud83d\u00","b":1}"#,
            r#"{"\u0061":1,"b":1}"#,
            r#"{"a":"x"#,
            r#"{"a":1}}"#,
            r#"{"a":-,"b":}"#,
            "{\"a\":\"caf\u{e9}\",\"c\":{\"a\":1}}",
        ] {
            let Some(found) = skim(line.as_bytes(), &PLACES) else { continue };
            looked_at += 1;
            let whole = json::object(line.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why}"));
            for ((group, name), found) in PLACES.iter().zip(found) {
                let object =
                    if group.is_empty() { Some(&whole) } else { whole.get(group).and_then(json::Value::object) };
                let wanted = object.and_then(|object| object.text(name)).map(str::as_bytes);
                assert!(
                    found.text().is_none_or(|text| text == wanted),
                    "{line}: {group}.{name}: {found:?}, {wanted:?}"
                );
            }
        }
        assert_eq!(looked_at, 5);
    }

    #[test]
    fn gives_up_on_what_is_deep_or_wide() {
        let deep = "{\"a\":".repeat(MOST_LEVELS + 2) + "1" + &"}".repeat(MOST_LEVELS + 2);
        let wide: Vec<String> = (0..=MOST_MEMBERS).map(|number| format!("\"m{number}\":1")).collect();
        for line in [deep, format!("{{{}}}", wide.join(",")), format!("{{\"a\":{}", "[".repeat(10_000))] {
            assert!(skim(line.as_bytes(), &PLACES).is_none(), "{line}");
        }
        assert!(skim(format!("{{{}}}", wide[1..].join(",")).as_bytes(), &PLACES).is_some());
    }
}
