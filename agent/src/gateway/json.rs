//! JSON as gateways write it, which is not always JSON: raw bytes that are no UTF-8, numbers such as `009`, values
//! that a format left unquoted (`-`, `0.001, 0.002`, nothing), `\xNN` escapes. Depth is bounded. An object that names
//! one key twice with different values is refused: readers disagree on which holds, and one of them may be a client's.

pub(super) mod skim;

use std::borrow::Cow;

/// Levels of nesting that are followed.
const MOST_LEVELS: usize = 32;
/// Members of one object; a log line has far fewer.
const MOST_MEMBERS: usize = 512;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// `null`, or nothing at all.
    Null,
    /// A number, a word or anything else that stood without quotes, as written.
    Bare(Cow<'a, str>),
    /// A string, decoded.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// The text of a string, number or word; None for anything else.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub(super) fn object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// An object's members in the order written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object<'a>(pub Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// A member by its exact name.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text of a member; None also where it is null, a list or an object.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::text)
    }
}

/// Reads a line that is one object. Err: why it is none.
pub(super) fn object(line: &[u8]) -> Result<Object<'_>, &'static str> {
    let mut parser = Parser { text: line, at: 0 };
    parser.blanks();
    if parser.peek() != Some(b'{') {
        return Err("no JSON object");
    }
    let object = parser.object(0)?;
    parser.blanks();
    if parser.at == line.len() { Ok(object) } else { Err("text after the JSON object") }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn object(&mut self, level: usize) -> Result<Object<'a>, &'static str> {
        if level >= MOST_LEVELS {
            return Err("JSON nested too deep");
        }
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(16);
        loop {
            self.blanks();
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Object(members));
                }
                _ => return Err("JSON object cut or malformed"),
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err("JSON key without a value");
            }
            self.at += 1;
            let value = self.value(level + 1, b'}')?;
            if members.len() == MOST_MEMBERS {
                return Err("JSON object with too many members");
            }
            if members.iter().any(|(other, known)| *other == key && *known != value) {
                return Err("JSON key given twice with different values");
            }
            members.push((key, value));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err("JSON object cut or malformed"),
            }
        }
    }

    fn list(&mut self, level: usize) -> Result<Vec<Value<'a>>, &'static str> {
        if level >= MOST_LEVELS {
            return Err("JSON nested too deep");
        }
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.peek() == Some(b']') {
                self.at += 1;
                return Ok(items);
            }
            items.push(self.value(level + 1, b']')?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {}
                _ => return Err("JSON list cut or malformed"),
            }
        }
    }

    fn value(&mut self, level: usize, closing: u8) -> Result<Value<'a>, &'static str> {
        self.blanks();
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.object(level).map(Value::Object),
            Some(b'[') => self.list(level).map(Value::List),
            Some(_) => Ok(self.bare(closing)),
            None => Err("JSON value cut"),
        }
    }

    /// Anything up to the comma that a key follows, or the closing bracket: `-`, `009`, `0.001, 0.002 : 0.000`.
    fn bare(&mut self, closing: u8) -> Value<'a> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            if byte == closing || (byte == b',' && (closing == b']' || self.key_follows())) {
                break;
            }
            self.at += 1;
        }
        match self.text[start..self.at].trim_ascii() {
            b"" | b"null" => Value::Null,
            text => Value::Bare(String::from_utf8_lossy(text)),
        }
    }

    /// After a comma: whether what comes is the next member and not more of an unquoted list.
    fn key_follows(&self) -> bool {
        let next = self.text[self.at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(next, Some(b'"' | b'}') | None)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        self.at += 1;
        let rest = &self.text[self.at..];
        let end = memchr::memchr2(b'"', b'\\', rest).ok_or("JSON string cut")?;
        if rest[end] == b'"' {
            self.at += end + 1;
            return Ok(String::from_utf8_lossy(&rest[..end]));
        }
        let mut bytes = Vec::with_capacity(rest.len().min(256));
        loop {
            let rest = &self.text[self.at..];
            let end = memchr::memchr2(b'"', b'\\', rest).ok_or("JSON string cut")?;
            bytes.extend_from_slice(&rest[..end]);
            self.at += end + 1;
            if rest[end] == b'"' {
                return Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()));
            }
            self.escape(&mut bytes)?;
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
        let kind = self.peek().ok_or("JSON string cut")?;
        self.at += 1;
        match kind {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'r' => bytes.push(b'\r'),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'u' => {
                let unit = self.hex(4)?;
                let mut encoded = [0; 4];
                bytes.extend_from_slice(self.scalar(unit).encode_utf8(&mut encoded).as_bytes());
            }
            b'x' => bytes.push(u8::try_from(self.hex(2)?).unwrap_or(b'?')),
            other => bytes.push(other),
        }
        Ok(())
    }

    /// A character from its UTF-16 unit, taking the second of a pair along.
    fn scalar(&mut self, unit: u32) -> char {
        if (0xD800..0xDC00).contains(&unit) && self.text[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            match self.hex(4) {
                Ok(low) if (0xDC00..0xE000).contains(&low) => {
                    let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                    return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                }
                _ => self.at = before,
            }
        }
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self, count: usize) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at..self.at + count).ok_or("JSON escape cut")?;
        let value = digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?));
        self.at += count;
        value.ok_or("JSON escape without hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gateways_write() {
        let line = br#" {"status":009,"rt":0.001, 0.002 : -,"up":"-","n":null,"gone":,"a":[1,"b",{"c":{}}],"u":"\u00e9\uD83D\uDD25\x22\/"} "#;
        let object = object(line).unwrap();
        assert_eq!(object.text("status"), Some("009"));
        assert_eq!(object.text("rt"), Some("0.001, 0.002 : -"));
        assert_eq!(object.text("up"), Some("-"));
        assert_eq!((object.get("n"), object.get("gone")), (Some(&Value::Null), Some(&Value::Null)));
        assert_eq!(object.text("u"), Some("\u{e9}\u{1F525}\"/"));
        assert!(matches!(object.get("a"), Some(Value::List(items)) if items.len() == 3));
    }

    #[test]
    fn raw_bytes_are_kept_readable() {
        let object = object(b"{\"ua\":\"\xFF\xFE caf\xE9\"}").unwrap();
        assert_eq!(object.text("ua"), Some("\u{FFFD}\u{FFFD} caf\u{FFFD}"));
    }

    #[test]
    fn refuses_what_has_no_single_meaning() {
        assert!(object(br#"{"status":502,"status":200}"#).is_err());
        assert!(object(br#"{"status":502,"status":502}"#).is_ok());
        assert!(object("{\"a\":".repeat(5000).as_bytes()).is_err());
        assert!(object(format!("{{\"a\":{}", "[".repeat(5000)).as_bytes()).is_err());
        for cut in ["{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"b", "{\"a\":1", "{\"a\":\"\\u12", "{} x", "[]", ""] {
            assert!(object(cut.as_bytes()).is_err(), "{cut}");
        }
    }
}
