//! Takes secrets out of text before it leaves the host: log lines, command lines, URLs, answers' bodies. What looks like
//! a secret is replaced by `***`; where a value's end can't be told, too much is taken rather than too little. Ordinary
//! text passes unchanged. Masking comes before cutting, so that a cut never lays a part of a secret bare.

mod name;
mod pair;
mod shape;
mod tool;

use std::borrow::Cow;

use crate::pattern;
use name::Secrecy;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Bytes of a text that are looked at; the rest of a longer one is dropped.
const INPUT_LIMIT_BYTES: usize = 64 * 1024;

/// A text without its secrets.
pub fn text(text: &str) -> String {
    let bounded = bounded(text, INPUT_LIMIT_BYTES);
    let masked = shape::mask(bounded);
    let masked = pair::mask(&masked);
    tool::mask(&masked).into_owned()
}

/// A line from outside as it may be kept: valid text without secrets, cut to so many bytes at a character's end.
pub fn line(bytes: &[u8], limit_bytes: usize) -> String {
    // What is masked shrinks: some room beyond the limit keeps the result full.
    let read = limit_bytes.saturating_mul(8).clamp(4096, INPUT_LIMIT_BYTES);
    let cut = bytes.get(..read).unwrap_or(bytes);
    let mut masked = text(&String::from_utf8_lossy(cut));
    masked.truncate(bounded(&masked, limit_bytes).len());
    masked
}

/// A process's arguments joined by blanks, without secrets: an argument after `--password` and the like goes whole,
/// whatever it holds. The result is cut to so many bytes.
pub fn arguments<'a>(arguments: impl IntoIterator<Item = &'a str>, limit_bytes: usize) -> String {
    let mut joined = String::new();
    let mut after_secret_flag = false;
    for argument in arguments {
        if !joined.is_empty() {
            joined.push(' ');
        }
        let hide = after_secret_flag && !argument.starts_with("--");
        joined.push_str(if hide { MASK } else { argument });
        let flag = argument.strip_prefix('-').unwrap_or("").trim_start_matches('-');
        after_secret_flag = !flag.contains(['=', ' ']) && name::secrecy(flag) == Secrecy::Certain;
        if joined.len() > INPUT_LIMIT_BYTES {
            break;
        }
    }
    line(joined.as_bytes(), limit_bytes)
}

/// The path of a request's target without its query, without secrets, cut to so many bytes.
pub fn path(target: &str, limit_bytes: usize) -> String {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    line(target.get(..end).unwrap_or(target).as_bytes(), limit_bytes)
}

/// The longest beginning of a text that fits and ends with a whole character.
fn bounded(text: &str, limit_bytes: usize) -> &str {
    if text.len() <= limit_bytes {
        return text;
    }
    let end = (0..=limit_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

/// Replaces with each of the rules in turn; `***` and what the rule keeps stand in its replacement.
fn replace_all<'t>(text: &'t str, rules: &[(regex::Regex, &str)]) -> Cow<'t, str> {
    let mut masked = Cow::Borrowed(text);
    for (pattern, replacement) in rules {
        if let Cow::Owned(changed) = pattern.replace_all(&masked, *replacement) {
            masked = Cow::Owned(changed);
        }
    }
    masked
}

/// Compiles rules. The patterns are constants that a test compiles; one that failed would be left out.
fn compile(rules: &'static [(&'static str, &'static str)]) -> Vec<(regex::Regex, &'static str)> {
    rules.iter().filter_map(|(pattern, with)| Some((pattern::compile(pattern)?, *with))).collect()
}

#[cfg(test)]
mod tests;
