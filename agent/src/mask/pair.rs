//! Secrets that are told by the name before them: `PASSWORD=x`, `"token": "x"`, `--api-key x`, `?sig=x`,
//! `<password>x</password>`, also where quotes are escaped or percent-encoded. The value's end is found by its opening
//! quote; without one it reaches to the next blank, `&`, `;` or quote.

use std::sync::LazyLock;

use regex::Regex;

use crate::pattern;

use super::MASK;
use super::name::{Secrecy, secrecy, secret_in_query};
use super::shape::looks_secret;

/// Names that could be secret; `name::secrecy` decides. Kept wide so that it is one pass over the text.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*"));

/// Values that are words of the language or the shell, no secrets.
const PLAIN_VALUES: [&str; 16] = [
    "true",
    "false",
    "null",
    "none",
    "nil",
    "undefined",
    "yes",
    "no",
    "on",
    "off",
    "[redacted]",
    "<redacted>",
    "[filtered]",
    "(null)",
    "***",
    "required",
];

/// What stands between a name and its value.
struct Join {
    /// Where the value (or its opening quote) begins.
    value: usize,
    /// A colon with a blank behind it and no quote before: as in a sentence.
    prose: bool,
}

/// Masks the values of secret names.
pub(super) fn mask(text: &str) -> String {
    let Some(names) = NAME.as_ref() else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for found in names.find_iter(text) {
        if found.start() < done {
            continue;
        }
        let Some((from, to)) = value_of(text, found.start(), found.end()) else { continue };
        out.push_str(text.get(done..from).unwrap_or(""));
        out.push_str(MASK);
        done = to;
    }
    out.push_str(text.get(done..).unwrap_or(""));
    out
}

/// The secret value of a name, if it has one.
fn value_of(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let before = text.get(..start)?;
    let name = text.get(start..end)?.trim_end_matches(['.', '-']);
    let end = start + name.len();
    let in_query = before.ends_with(['?', '&']) || before.ends_with("%3F") || before.ends_with("%26");
    // Percent-encoded quotes and separators leave their hex digits at the name's start.
    let bare = ["22", "27", "26", "3F", "7B", "2C"].iter().find_map(|hex| name.strip_prefix(hex));
    let bare = bare.filter(|_| before.ends_with('%')).unwrap_or(name);
    let secrecy = match secrecy(bare) {
        Secrecy::None if in_query && secret_in_query(bare) => Secrecy::Certain,
        found => found,
    };
    if secrecy == Secrecy::None {
        return None;
    }
    if is_tag(before) {
        return tag_value(text, end);
    }
    let flag = before.ends_with('-') || before.ends_with("--");
    let join = join(text, end, flag, before)?;
    let (from, to) = extent(text, join.value)?;
    let value = text.get(from..to)?;
    let count = value.len() <= 3 && value.bytes().all(|byte| byte.is_ascii_digit());
    let word = count || !looks_secret(value);
    let sentence = join.prose && word && (secrecy == Secrecy::Likely || more_words(text, to));
    let file = value.starts_with('/') && name.to_ascii_lowercase().ends_with("key") && !in_query;
    (!plain(value) && !sentence && !file).then_some((from, to))
}

/// Whether a text goes on with another word, as a sentence does.
fn more_words(text: &str, from: usize) -> bool {
    let rest = text.get(from..).unwrap_or("");
    rest.strip_prefix(' ').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_lowercase()) && !rest.split(' ').next().unwrap_or("").contains('=')
    })
}

fn plain(value: &str) -> bool {
    let small = value.trim_end_matches([',', ')', ']', '}', '.']).to_ascii_lowercase();
    value.is_empty()
        || PLAIN_VALUES.contains(&small.as_str())
        || PLAIN_VALUES.contains(&value.to_ascii_lowercase().as_str())
        || value.starts_with("***")
        || value.starts_with("${")
        || (value.starts_with('$')
            && value.len() > 1
            && value.bytes().skip(1).all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// `<password`, `<wsse:Password`.
fn is_tag(before: &str) -> bool {
    let name_start = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == ':');
    name_start.ends_with('<') && (name_start.len() == before.len() || before.ends_with(':'))
}

fn tag_value(text: &str, end: usize) -> Option<(usize, usize)> {
    let rest = text.get(end..)?;
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let from = end + rest.find('>')? + 1;
    let value = text.get(from..)?;
    let to = from + value.find("</").unwrap_or(value.len());
    (to > from).then_some((from, to))
}

/// What joins a name that ends here to its value.
fn join(text: &str, end: usize, flag: bool, before: &str) -> Option<Join> {
    let rest = text.get(end..)?;
    let (quoted, after_quote) = closing_quote(rest);
    let after_index = after_quote.strip_prefix(']').unwrap_or(after_quote);
    let after_index = closing_quote(after_index).1;
    let trimmed = after_index.trim_start_matches([' ', '\t']);
    let at = |left: &str| text.len() - left.len();
    for sign in ["=>", ":=", "==", "=", "%3D", "%3d", "%3A", "%3a", ":"] {
        if let Some(value) = trimmed.strip_prefix(sign) {
            let first = value.trim_start_matches([' ', '\t']);
            let prose = sign == ":" && !quoted && first.len() < value.len();
            return Some(Join { value: at(first), prose });
        }
    }
    if let Some(value) = trimmed.strip_prefix("value=").filter(|_| quoted) {
        return Some(Join { value: at(value), prose: false });
    }
    if quoted && (trimmed.starts_with("\r\n\r\n") || trimmed.starts_with("\\r\\n\\r\\n")) {
        return Some(Join {
            value: at(trimmed.trim_start_matches(['\r', '\n', '\\']).trim_start_matches("r\\n")),
            prose: false,
        });
    }
    if !flag {
        return None;
    }
    if let Some(value) = trimmed.strip_prefix(',').filter(|_| quoted) {
        return Some(Join { value: at(value.trim_start_matches([' ', '\t'])), prose: false });
    }
    // `--token x`: the flag stands alone, and what follows is no flag.
    let begins = before.trim_end_matches('-');
    let alone = begins.is_empty() || begins.ends_with([' ', '\t', '"', '\'', '`', '(']);
    let value = after_quote.strip_prefix([' ', '\t']).map(|value| value.trim_start_matches([' ', '\t']));
    value.filter(|value| alone && !value.starts_with("--")).map(|value| Join { value: at(value), prose: false })
}

/// Whether a quote closes here (with its backslashes, or percent-encoded), and what follows it.
fn closing_quote(rest: &str) -> (bool, &str) {
    let quote = opening(rest);
    (!quote.is_empty(), rest.get(quote.len()..).unwrap_or(""))
}

/// The quote that a text begins with, with its backslashes: `"`, `\"`, `\\\"`, `%22`.
fn opening(text: &str) -> &str {
    let slashes = text.len() - text.trim_start_matches('\\').len();
    let rest = text.get(slashes..).unwrap_or("");
    let quote = match rest.chars().next() {
        Some('"' | '\'' | '`') => 1,
        Some('%') if slashes == 0 && (rest.starts_with("%22") || rest.starts_with("%27")) => 3,
        _ => return "",
    };
    text.get(..slashes + quote).unwrap_or("")
}

/// From where to where a value reaches that begins here, its quotes left out.
fn extent(text: &str, start: usize) -> Option<(usize, usize)> {
    let rest = text.get(start..)?;
    let quote = opening(rest);
    if !quote.is_empty() {
        let from = start + quote.len();
        return Some((from, from + quoted_length(text.get(from..)?, quote)));
    }
    if rest.starts_with('[') {
        return Some((start + 1, start + rest.find(']').unwrap_or(rest.len()).max(1)));
    }
    if rest.starts_with('{') {
        return None;
    }
    let scheme = ["Bearer ", "bearer ", "Basic ", "basic ", "Token ", "token ", "Digest "];
    let skipped = scheme.iter().find(|word| rest.starts_with(**word)).map_or(0, |word| word.len());
    let from = start + skipped;
    let value = text.get(from..)?;
    Some((from, from + bare_length(value))).filter(|(from, to)| to > from)
}

/// Length of a quoted value: up to the same quote, over escaped ones. Without an end it reaches to the line's.
fn quoted_length(value: &str, quote: &str) -> usize {
    let mut from = 0;
    while let Some(found) = value.get(from..).and_then(|rest| rest.find(quote)) {
        let at = from + found;
        let slashes = value.get(..at).map_or(0, |before| before.len() - before.trim_end_matches('\\').len());
        if slashes % 2 == 0 {
            return at;
        }
        from = at + quote.len();
    }
    value.find(['\r', '\n']).unwrap_or(value.len())
}

/// Length of a value without quotes.
fn bare_length(value: &str) -> usize {
    let mut letters = value.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        let ends = match letter {
            '&' | ';' | '"' | '`' | '<' | '>' => true,
            '\'' | ',' => next.is_none_or(|next| !next.is_alphanumeric()),
            '\\' => next.is_some_and(|next| matches!(next, '"' | 'n' | 'r')),
            '%' => ["%26", "%22", "%7D"].iter().any(|sign| value.get(at..).is_some_and(|rest| rest.starts_with(sign))),
            other => other.is_whitespace(),
        };
        if ends {
            return at;
        }
    }
    value.len()
}
