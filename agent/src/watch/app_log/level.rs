//! How grave a line says it is, and what it says: JSON lines by their fields, others by the level word that logging
//! libraries write near the beginning.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::pattern;
use serde_json::{Map, Value};

/// How grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Information and below.
    Quiet,
    /// A warning.
    Warning,
    /// An error and above.
    Error,
}

/// Bytes at a line's beginning in which a level word counts.
const HEAD_BYTES: usize = 200;
/// Fields of a JSON line that hold its level.
const LEVEL_FIELDS: [&str; 9] =
    ["level", "severity", "lvl", "levelname", "log.level", "loglevel", "@l", "Level", "levelno"];
/// Fields of a JSON line that hold what it says; those of a nested error, too.
const TEXT_FIELDS: [&str; 16] = [
    "msg",
    "message",
    "@m",
    "@mt",
    "event",
    "text",
    "err",
    "error",
    "exception",
    "exc_info",
    "@x",
    "code",
    "errno",
    "type",
    "name",
    "errorMessage",
];
/// Nesting of errors that is followed.
const DEPTH: usize = 3;

const WORDS: &str = "trace|debug|verbose|info|information|notice|warn|warning|error|err|severe|fatal|critical|crit|alert|emerg|emergency|panic";

static COLOUR: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(r"\x1b\[[0-9;]*m"));
/// In capitals by itself; in brackets; as a value of a level key.
static MARKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let capitals = WORDS.to_ascii_uppercase();
    let pattern = format!(
        r#"(?:^|[^A-Za-z0-9_/.-])({capitals})(?:$|[^A-Za-z0-9_/.=-])|(?i:[\[<(](?:[a-z0-9_]+:)?({WORDS})[\])>])|(?i:\b(?:level|lvl|severity|loglevel)=["']?({WORDS})\b)"#
    );
    pattern::compile(&pattern)
});
/// "Error: ..." and "fatal: ..." at the beginning, behind at most a time.
static AT_START: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern::compile(&format!(r"^[\[(]?[0-9TZ:.,+\- /]*[\])]?\s*(?i:({WORDS})(?:\[\d+\])?):\s")));
/// klog and glog: "E1122 14:32:01.120 ...".
static KLOG: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(r"^([IWEF])\d{4} \d\d:\d\d:\d\d"));
/// "TypeError: ...", "java.lang.IllegalStateException: ...".
static EXCEPTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern::compile(r"^(?:[A-Za-z_$][\w$]*(?:\.|::))*[A-Z]\w*(?:Error|Exception|Fault)(?::\s|$| \[)")
});

/// A line without the codes that colour it on a terminal.
pub(super) fn without_colours(line: &str) -> Cow<'_, str> {
    match COLOUR.as_ref().filter(|_| line.contains('\x1b')) {
        Some(colour) => colour.replace_all(line, ""),
        None => Cow::Borrowed(line),
    }
}

/// A line's level and what it says.
pub(super) fn read(line: &str) -> (Option<Level>, Cow<'_, str>) {
    if line.starts_with('{')
        && let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line)
    {
        let level = LEVEL_FIELDS.iter().find_map(|name| fields.get(*name).and_then(|value| json_level(name, value)));
        let mut says = String::new();
        collect(&fields, DEPTH, &mut says);
        return (level.or_else(|| text_level(&says)), Cow::Owned(says));
    }
    (text_level(line), Cow::Borrowed(line))
}

/// pino and bunyan number their levels 10 to 60; Python's numbers are 10 less from warnings on.
fn json_level(field: &str, value: &Value) -> Option<Level> {
    if let Some(text) = value.as_str() {
        return word_level(text);
    }
    let (warning, error) = if field == "levelno" { (30, 40) } else { (40, 50) };
    Some(match value.as_u64()? {
        // Syslog's numbers grow the other way: 3 is an error.
        0..=3 => Level::Error,
        4 => Level::Warning,
        5..=9 => Level::Quiet,
        number if number >= error => Level::Error,
        number if number >= warning => Level::Warning,
        _ => Level::Quiet,
    })
}

fn collect(fields: &Map<String, Value>, depth: usize, says: &mut String) {
    for name in TEXT_FIELDS {
        match fields.get(name) {
            Some(Value::String(text)) => {
                says.push_str(if says.is_empty() { "" } else { " " });
                says.push_str(text);
            }
            Some(Value::Object(inner)) if depth > 0 => collect(inner, depth - 1, says),
            _ => {}
        }
    }
}

fn text_level(line: &str) -> Option<Level> {
    let end = (0..=HEAD_BYTES.min(line.len())).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    let head = line.get(..end)?;
    let klog = KLOG.as_ref().and_then(|klog| klog.captures(head)).and_then(|found| match found.get(1)?.as_str() {
        "I" => Some(Level::Quiet),
        "W" => Some(Level::Warning),
        _ => Some(Level::Error),
    });
    let word = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref()?.captures(head)?;
        word_level(found.iter().skip(1).flatten().next()?.as_str())
    };
    let exception = || EXCEPTION.as_ref().filter(|pattern| pattern.is_match(head)).map(|_| Level::Error);
    klog.or_else(|| word(&AT_START)).or_else(|| word(&MARKED)).or_else(exception)
}

fn word_level(word: &str) -> Option<Level> {
    match word.to_ascii_lowercase().as_str() {
        "trace" | "debug" | "verbose" | "info" | "information" | "notice" | "default" => Some(Level::Quiet),
        "warn" | "warning" => Some(Level::Warning),
        "error" | "err" | "severe" | "fatal" | "critical" | "crit" | "alert" | "emerg" | "emergency" | "panic" => {
            Some(Level::Error)
        }
        _ => None,
    }
}
