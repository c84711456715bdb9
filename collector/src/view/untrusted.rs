//! Text from outside (process names, log lines, host names) is data: this is the only way it reaches a terminal.
//! Control characters, bidirectional overrides and invisible characters are written as escapes, also into pipes,
//! because what a pipe feeds is often a terminal in the end.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Text from outside; its `Display` is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untrusted<'a>(pub &'a str);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&clean(self.0))
    }
}

/// Whether a character may do something to a terminal or hide from a reader.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every dangerous character as an escape.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_dangerous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A JSON text in which dangerous characters stand as JSON escapes: the same document, fit for a terminal. Line feeds
/// between the tokens stay; inside strings JSON has none.
pub fn clean_json(json: &str) -> Cow<'_, str> {
    let dangerous = |c: char| is_dangerous(c) && c != '\n';
    if !json.chars().any(dangerous) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if dangerous(c) {
            // JSON spells characters in UTF-16 units.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_as_an_escape() {
        assert_eq!(clean("a\x1b[31m\u{9b}2J\u{202e}\n\u{7f}"), "a\\u{1b}[31m\\u{9b}2J\\u{202e}\\n\\u{7f}");
        assert_eq!(clean("naïve — 10.0.0.2:3000 ✓"), "naïve — 10.0.0.2:3000 ✓");
        assert_eq!(format!("{:<4}|", Untrusted("\u{7}")), "\\u{7}|");
    }

    #[test]
    fn a_cleaned_json_text_is_the_same_document() {
        let value = serde_json::json!({"a": "\u{7f}\u{9b}\u{202e}\u{e0041}\u{1b}"});
        let cleaned = clean_json(&value.to_string()).into_owned();
        assert!(!cleaned.chars().any(is_dangerous));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(), value);
    }
}
