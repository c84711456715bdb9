//! Bounds what one application log sends: like lines of a stretch of ten seconds go as the first one, at once, and as one
//! more at the stretch's end that bears the count of the others; of each kind at most twenty different ones.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use why502_proto::v1::LogMatch;
use why502_proto::v1::event::Kind as EventKind;

use super::{Kind, classify};
use crate::mask;
use crate::pattern;
use crate::sampler::Observed;

/// Length of a stretch, microseconds.
const STRETCH_US: i64 = 10_000_000;
/// Different lines of one kind in a stretch.
const MOST_OF_A_KIND: usize = 20;
/// Bytes of a line that are sent.
const LINE_LIMIT_BYTES: usize = 1024;
/// Bytes by which lines are told to be alike, digits left out of account.
const ALIKE_BYTES: usize = 160;
/// A line's own time further off than this is not believed, microseconds.
const BELIEVED_US: i64 = 3_600_000_000;
/// Bytes at a line's beginning in which its time is looked for.
const TIME_BYTES: usize = 256;

/// A time with its zone, or milliseconds since 1970 in a JSON field.
static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern =
        r#"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d))|"(?:time|ts|timestamp)":\s*(\d{13})\b"#;
    pattern::compile(pattern)
});

/// Like lines of a stretch.
#[derive(Debug)]
struct Alike {
    /// Not sent so far.
    count: u32,
    /// The newest of them.
    newest: Option<(i64, String)>,
}

/// One log of one service.
#[derive(Debug)]
pub struct AppLog {
    service: String,
    file: String,
    stretch_from_us: i64,
    /// By kind and what lines have in common; the lines beyond the limit of a kind share one entry.
    seen: HashMap<(Kind, String), Alike>,
}

impl AppLog {
    /// A log of which nothing was read yet.
    pub fn new(service: &str, file: &str) -> Self {
        Self { service: service.to_owned(), file: file.to_owned(), stretch_from_us: 0, seen: HashMap::new() }
    }

    /// Reads a line, without its end of line. What is to be sent because of it is given back.
    pub fn line(&mut self, line: &[u8], now_unix_us: i64) -> Vec<Observed> {
        let mut out = self.flush(now_unix_us);
        let Some(kind) = classify(line) else { return out };
        let at_us = own_time(line, now_unix_us).unwrap_or(now_unix_us);
        let of_this_kind = self.seen.keys().filter(|(other, _)| *other == kind).count();
        let mut key = (kind, common(line));
        if of_this_kind >= MOST_OF_A_KIND && !self.seen.contains_key(&key) {
            key.1 = String::new();
        }
        if self.seen.is_empty() {
            self.stretch_from_us = now_unix_us;
        }
        let beyond = key.1.is_empty();
        let alike = self.seen.get_mut(&key);
        match alike {
            Some(alike) => {
                alike.count = alike.count.saturating_add(1);
                alike.newest = Some((at_us, mask::line(line, LINE_LIMIT_BYTES)));
            }
            None if beyond => {
                let newest = Some((at_us, mask::line(line, LINE_LIMIT_BYTES)));
                self.seen.insert(key, Alike { count: 1, newest });
            }
            None => {
                out.push(self.event(kind, at_us, mask::line(line, LINE_LIMIT_BYTES), 0));
                self.seen.insert(key, Alike { count: 0, newest: None });
            }
        }
        out
    }

    /// Ends the stretch if it is over: what was held back is given back as one line of each sort with its count.
    pub fn flush(&mut self, now_unix_us: i64) -> Vec<Observed> {
        // A clock that was set back ends it, too.
        if self.seen.is_empty() || (0..STRETCH_US).contains(&(now_unix_us - self.stretch_from_us)) {
            return Vec::new();
        }
        let mut seen: Vec<_> = std::mem::take(&mut self.seen).into_iter().collect();
        seen.sort_by_key(|(key, alike)| (alike.newest.as_ref().map_or(0, |(at_us, _)| *at_us), key.0));
        let held = seen.into_iter().filter_map(|((kind, _), alike)| {
            let (at_us, line) = alike.newest?;
            Some(self.event(kind, at_us, line, alike.count.saturating_sub(1)))
        });
        held.collect()
    }

    fn event(&self, kind: Kind, at_us: i64, line: String, repeats: u32) -> Observed {
        let (service, file, kind) = (self.service.clone(), self.file.clone(), kind.id().to_owned());
        Observed::event(at_us, EventKind::LogMatch(LogMatch { service, file, kind, line, repeats }))
    }
}

/// What like lines have in common: their beginning without digits.
fn common(line: &[u8]) -> String {
    let letters = line.iter().filter(|byte| !byte.is_ascii_digit()).take(ALIKE_BYTES);
    let common: Vec<u8> = letters.copied().collect();
    format!("={}", String::from_utf8_lossy(&common))
}

/// The line's own time, where it has one with its zone that can be right.
fn own_time(line: &[u8], now_unix_us: i64) -> Option<i64> {
    let head = String::from_utf8_lossy(line.get(..TIME_BYTES).unwrap_or(line));
    let found = TIME.as_ref()?.captures(&head)?;
    let at_us = match (found.get(1), found.get(2)) {
        (Some(text), _) => text.as_str().replace(',', ".").parse::<Timestamp>().ok()?.as_microsecond(),
        (None, millis) => millis?.as_str().parse::<i64>().ok()?.checked_mul(1000)?,
    };
    ((at_us - now_unix_us).abs() <= BELIEVED_US).then_some(at_us)
}
