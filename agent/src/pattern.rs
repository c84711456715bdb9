//! The agent's own patterns. `\w`, `\d`, `\s` and `\b` mean ASCII in them: what they are to find (names, numbers, words of logs)
//! is, and the whole of Unicode would make each of them cost a hundred times the memory and most of the speed.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// The most memory that one pattern keeps for what it has met, bytes.
const MET_BYTES: usize = 256 * 1024;

/// Compiles a pattern. None: it is none, which the tests of whoever wrote it must show.
pub fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&ascii(pattern)).dfa_size_limit(MET_BYTES).build().ok()
}

/// Compiles several patterns that are looked for at once. None: one of them is none.
pub fn compile_all<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<RegexSet> {
    RegexSetBuilder::new(patterns.map(ascii)).build().ok()
}

/// The same pattern with classes of ASCII. A class may stand within another, so no look at what is around is needed.
fn ascii(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        if letter != '\\' {
            written.push(letter);
            continue;
        }
        match rest.next() {
            Some('w') => written.push_str("[0-9A-Za-z_]"),
            Some('W') => written.push_str("[^0-9A-Za-z_]"),
            Some('d') => written.push_str("[0-9]"),
            Some('s') => written.push_str(r"[\t-\r ]"),
            Some('S') => written.push_str(r"[^\t-\r ]"),
            Some('b') => written.push_str(r"(?-u:\b)"),
            Some(other) => written.extend(['\\', other]),
            None => written.push('\\'),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_mean_ascii_wherever_they_stand() {
        let found = |pattern: &str, text: &str| {
            compile(pattern).unwrap().find(text).map(|found| found.as_str().to_owned()).unwrap_or_default()
        };
        assert_eq!(found(r"\w+=\d+", "größe=12٣"), "e=12");
        assert_eq!(found(r"[\w.]+:[^\s:]+", "!a.b:c\u{a0}d e"), "a.b:c\u{a0}d");
        assert_eq!(found(r"\bkey\S*\\\W", "monkey key=ü\\! "), "key=ü\\!");
        assert!(compile(r"(").is_none() && compile("\\").is_none());
    }

    #[test]
    fn one_that_is_none_is_missed_among_many() {
        assert!(compile_all([r"\d", "b"].into_iter()).is_some_and(|set| set.matches("a1").matched(0)));
        assert!(compile_all(["a", "("].into_iter()).is_none());
    }
}
