//! Single values of the configuration: durations, names, nearest keys.

use std::time::Duration;

use toml::de::DeValue;

/// Most characters of a name.
pub(super) const NAME_LIMIT: usize = 128;

/// What a duration may be.
pub(super) struct Limits {
    pub(super) default_text: &'static str,
    pub(super) least_ms: u64,
    pub(super) most_ms: u64,
}

impl Limits {
    pub(super) fn default(&self) -> Duration {
        duration(self.default_text).unwrap_or(Duration::from_millis(self.least_ms))
    }

    pub(super) fn parse(&self, text: &str) -> Result<Duration, String> {
        let parsed = duration(text)?;
        let allowed = Duration::from_millis(self.least_ms)..=Duration::from_millis(self.most_ms);
        if allowed.contains(&parsed) {
            return Ok(parsed);
        }
        let quoted = shown(text);
        Err(format!("\"{quoted}\" is out of its bounds, {} to {}", in_words(self.least_ms), in_words(self.most_ms)))
    }
}

fn in_words(ms: u64) -> String {
    match ms {
        ms if ms >= 60_000 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms >= 1000 && ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// A whole number with its unit: "500ms", "5s", "2m", "1h", "1d".
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("\"{}\" has no unit (ms, s, m, h, d)", shown(text))),
        _ => return Err(format!("\"{}\" is no duration", shown(text))),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{}\" is no duration", shown(text)))?;
    let ms = number.checked_mul(unit_ms).ok_or_else(|| format!("\"{}\" is too long", shown(text)))?;
    Ok(Duration::from_millis(ms))
}

/// What a value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Text of the file as a fault shows it: escaped, and cut after 60 characters.
pub(super) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        cut.push_str("...");
    }
    cut
}

/// The known word that a mistyped one most likely meant: at most two edits away, or three in a long word.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word: String =
        word.chars().take(40).flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect();
    let near = known.iter().map(|known| (distance(&word, known), *known)).min_by_key(|(distance, _)| *distance)?;
    let allowed = if near.1.len() >= 8 { 3 } else { 2.min(near.1.len().saturating_sub(1)) };
    let begins = word.len() >= 3 && (near.1.starts_with(&word) || word.starts_with(near.1));
    let other = known.iter().find(|known| word.len() >= 3 && (known.starts_with(&word) || word.starts_with(**known)));
    if near.0 <= allowed || begins { Some(near.1) } else { other.copied() }
}

/// Edit distance of Levenshtein.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (down, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = down + 1;
        for (across, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[across + 1];
            row[across + 1] = replaced.min(row[across] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
