//! What the glances of several readers have in common. A glance is the least work for a line of a request that its one attempt
//! served: only what is counted of it is looked at, where it stands in the line. Whatever is not plainly such a line is left
//! to the whole reading; tests hold both to the same answer.

use super::json::skim::Found;
use super::{Asked, Stamp};

/// Three digits that tell of no error.
pub(super) fn is_served(status: &[u8]) -> bool {
    matches!(status, [b'1'..=b'3', b'0'..=b'9', b'0'..=b'9'])
}

/// A text that tells nothing.
pub(super) fn is_nothing(text: &[u8]) -> bool {
    matches!(text, b"" | b"-")
}

/// A whole number of few digits.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let is_short = (1..=12).contains(&text.len());
    let digit = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
    text.iter().try_fold(0, digit).filter(|_| is_short)
}

/// Milliseconds in microseconds.
pub(super) fn us_of_ms(ms: i64) -> Option<u64> {
    u64::try_from(ms).ok()?.checked_mul(1_000)
}

/// A time later by so many microseconds.
pub(super) fn later(at: Stamp, by_us: i64) -> Stamp {
    Stamp { unix_us: at.unix_us.saturating_add(by_us), ..at }
}

/// The host and port of `http://10.0.0.1:8080/app`. None: it is written in another way.
pub(super) fn host_of(url: &[u8]) -> Option<&str> {
    let begin = memchr::memmem::find(url, b"://")? + 3;
    let host = url.get(begin..)?;
    let host = host.get(..memchr::memchr(b'/', host).unwrap_or(host.len()))?;
    std::str::from_utf8(host).ok().filter(|host| !host.is_empty() && !host.contains("://"))
}

/// The text at a place of an object; None: it is to be read whole.
pub(super) fn plain(found: Found<'_>) -> Option<Option<&str>> {
    found.text()?.map_or(Some(None), |text| std::str::from_utf8(text).ok().map(Some))
}

/// What was asked for, where an object tells it without escapes.
pub(super) fn asked<'a>(method: Found<'a>, path: Found<'a>) -> Option<Asked<'a>> {
    Some(Asked::Parts { method: method.text()??, path: path.text()?? })
}
