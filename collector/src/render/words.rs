//! Words that several documents share: times, sizes, shares, whom nobody knows, and lines that fit a terminal.

use super::Style;
use crate::view::{clean, parse_time};

/// A stamp without its date where that is the date of `now`, without milliseconds, with the Z of UTC.
pub(super) fn short_time(stamp: &str, now: &str) -> String {
    let seconds = stamp.split('.').next().unwrap_or(stamp).trim_end_matches('Z');
    let shown = match (seconds.split_once('T'), now.split_once('T')) {
        (Some((date, time)), Some((today, _))) if date == today => format!("{time}Z"),
        (Some((date, time)), _) => format!("{date} {time}Z"),
        _ => stamp.to_owned(),
    };
    clean(&shown).into_owned()
}

/// How long it is from one stamp to another; None where one is no time.
pub(super) fn between(from: &str, to: &str) -> Option<String> {
    let seconds = parse_time(to, 0).ok()?.checked_sub(parse_time(from, 0).ok()?)? / 1_000_000;
    Some(span(u64::try_from(seconds).unwrap_or(0)))
}

/// So many seconds in the two largest units that tell of them.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

pub(super) fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.0}%", ratio * 100.0))
}

pub(super) fn size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 { format!("{:.1} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}

pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { clean(text).into_owned() }
}

pub(super) fn option(text: Option<&str>) -> String {
    or_dash(text.unwrap_or_default())
}

/// That nobody is called so, and whom to ask about instead.
pub(super) fn nobody(target: &str, near: &[String]) -> String {
    let target = clean(target);
    let instead = match near.is_empty() {
        true => "why502 instances and why502 gateways tell who is known".to_owned(),
        false => format!("did you mean {}?", clean(&near.join(" or "))),
    };
    format!("no upstream address, service, host, gateway or incident is known as {target}: {instead}\n")
}

/// A line that begins as given, and as many more as a terminal needs, those set in by `hang` columns.
pub(super) fn hanging(begin: &str, text: &str, hang: usize, style: Style) -> String {
    let mut out = begin.to_owned();
    let mut column = begin.chars().count();
    for (at, word) in text.split(' ').enumerate() {
        let long = word.chars().count();
        let full = style.width.is_some_and(|width| column + 1 + long > width && column > hang);
        match (at, full) {
            (0, _) => {}
            (_, true) => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', hang));
                column = hang;
            }
            (_, false) => {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += long;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_their_largest_units() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h"), (86_400, "1 d 0 h")]
        {
            assert_eq!(span(seconds), told);
        }
        assert_eq!(between("2026-11-22T14:32:00.000Z", "2026-11-22T14:34:01.000Z").as_deref(), Some("2 min"));
        assert_eq!(between("soon", "2026-11-22T14:34:01.000Z"), None);
    }

    #[test]
    fn a_line_that_is_too_long_goes_on_below_its_text() {
        let style = Style { colour: false, width: Some(20) };
        let told = hanging("  - ", "find the rule that rejects it", 4, style);
        assert_eq!(told, "  - find the rule\n    that rejects it\n");
        assert_eq!(hanging("- ", "a b", 4, Style::default()), "- a b\n");
        assert_eq!(hanging("", &"x".repeat(40), 4, style), format!("{}\n", "x".repeat(40)), "a word is never cut");
    }
}
