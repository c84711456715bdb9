//! Logs in which each line is one JSON object with keys of the gateway's own choosing: the clouds' and the edge's.

use super::json::{self, Object};
use super::stamp::{self, Zone};
use super::{LINE_LIMIT_BYTES, Line, Reader, Record, Served, Stamp};
use super::{line, mend};

/// A reader of such a log.
#[derive(Debug)]
pub(super) struct JsonLines {
    /// The host's zone, for stamps that carry none.
    pub zone: Zone,
    /// Makes a record of an object, or says why it is none.
    pub record: fn(&Object, &Zone) -> Result<Record, String>,
    /// What is counted of a line that is such an object, where that can be told at a glance.
    pub glance: for<'a> fn(&'a [u8], &Zone) -> Option<Served<'a>>,
    /// Reads a line that is no object, where the gateway writes such.
    pub other: fn(&[u8], &Zone) -> Option<Line>,
}

impl JsonLines {
    fn by_object(&self, body: &[u8]) -> Option<Line> {
        let brace = body.first() == Some(&b'{');
        if !brace {
            return (self.other)(body, &self.zone);
        }
        let read = |object: &Object| match (self.record)(object, &self.zone) {
            Ok(record) => Line::Record(Box::new(record)),
            Err(why) => Line::Unparsed(why),
        };
        Some(match json::object(body) {
            Ok(object) => read(&object),
            Err(why) => match mend::cut_object(body).as_deref().map(json::object) {
                Some(Ok(object)) => read(&object),
                _ => Line::Unparsed(why.to_owned()),
            },
        })
    }
}

impl Reader for JsonLines {
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        (self.glance)(line, &self.zone).filter(|_| line.len() <= LINE_LIMIT_BYTES)
    }

    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let framed = || line::within(body, &self.zone, |framed| self.by_object(framed.body));
        let read = self.by_object(body).or_else(framed);
        read.unwrap_or_else(|| Line::Unparsed("no JSON object".to_owned()))
    }
}

/// A gateway that writes objects only.
pub(super) fn nothing_else(_: &[u8], _: &Zone) -> Option<Line> {
    None
}

/// A status. Err: the text is none. None: not told.
pub(super) fn status(text: Option<&str>) -> Result<Option<u16>, String> {
    let Some(text) = text.filter(|text| !matches!(*text, "" | "-")) else { return Ok(None) };
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().map(Some).map_err(|_| format!("status {} is none", text.chars().take(20).collect::<String>()))
}

/// A stamp as RFC 3339 or as a number of any unit.
pub(super) fn stamp_of(text: Option<&str>, zone: &Zone) -> Option<Stamp> {
    let bytes = text?.as_bytes();
    // A number is the whole text: a date that was spoilt begins with one too.
    let number = || stamp::unix(bytes).filter(|(_, rest)| rest.is_empty());
    stamp::rfc3339(bytes, zone).or_else(number).map(|(at, _)| at)
}

/// Microseconds of a number of units of `unit_us` microseconds.
pub(super) fn scaled_us(text: Option<&str>, unit_us: f64) -> Option<u64> {
    let number = text?.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    // The cast saturates; the number is not negative and no NaN.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some((number * unit_us).round() as u64)
}

/// A time later by a duration.
pub(super) fn later(at: Stamp, by_us: Option<u64>) -> Stamp {
    let by_us = by_us.and_then(|us| i64::try_from(us).ok()).unwrap_or(0);
    Stamp { unix_us: at.unix_us.saturating_add(by_us), ..at }
}

/// A member's text where it tells something.
pub(super) fn told(object: &Object, name: &str) -> Option<String> {
    object.text(name).filter(|text| !matches!(*text, "" | "-")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_date_is_no_number() {
        let unix_us = |text| stamp_of(Some(text), &Zone::utc()).map(|at| at.unix_us);
        assert_eq!(unix_us("2026-11-22T07:01:55Z"), Some(1_795_330_915_000_000));
        assert_eq!(unix_us("1795330915.5"), Some(1_795_330_915_500_000));
        assert_eq!(unix_us("2026-1?-22T07:01:55Z"), None);
    }
}
