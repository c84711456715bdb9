//! Words that comments and documents do not hold: notes to oneself, and places that exist on one machine only.

use std::path::Path;

/// Words, each cut in two so that this list does not find itself. Protocols have sessions; those who write here have none.
const BANNED: [(&str, &str); 9] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("HA", "CK"),
    ("/wo", "rk/"),
    ("this ses", "sion"),
    ("earlier ses", "sion"),
    ("previous ses", "sion"),
    ("last ses", "sion"),
];

/// Kinds of file that are read for words.
const READ: [&str; 9] = ["rs", "md", "proto", "toml", "sh", "py", "js", "service", "conf"];

/// Where a file holds a banned word.
pub fn faults(name: &str, path: &Path) -> Vec<String> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let generated =
        name.starts_with("proto/src/gen/") || name.contains("/fixtures/") || name.starts_with("tests/corpus/");
    if !(READ.contains(&extension) || extension.is_empty() && name.starts_with(".ci")) || generated {
        return Vec::new();
    }
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(prose) = prose(extension, line) else { continue };
        for word in BANNED.iter().map(|(one, two)| format!("{one}{two}")) {
            if holds(prose, &word) {
                faults.push(format!("{name}:{}: \"{word}\"", index + 1));
            }
        }
    }
    faults
}

/// The part of a line that people read as prose: all of a document, the comment of a program.
fn prose<'a>(extension: &str, line: &'a str) -> Option<&'a str> {
    match extension {
        "md" => Some(line),
        "rs" | "proto" | "js" => line.find("//").map(|at| &line[at..]),
        _ => line.find('#').map(|at| &line[at..]),
    }
}

/// The word stands there by itself, whatever its case where it is an ordinary one.
fn holds(line: &str, word: &str) -> bool {
    let ordinary = word.chars().all(char::is_lowercase);
    let line = if ordinary { line.to_lowercase() } else { line.to_owned() };
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        word.starts_with('/') || edge(before) && edge(after)
    })
}
