//! Questions as parsed types: which document, which filters. Text becomes these once, here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::filter::DURATION_DIGITS;
use super::incidents::IncidentFilter;
use super::logs::{Level, LineFilter, Pattern};
use super::near::like;
use crate::model::{CATALOGUE, Cause, IncidentState};

/// Why a question can't be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadQuestion(pub String);

/// The documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // named as in the contract
pub enum Document {
    Status,
    Hosts,
    Instances,
    Gateways,
    Incidents,
    Why,
    Timeline,
    Logs,
    Environment,
    Causes,
    Alerts,
    Silences,
    Advise,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// The fleet in a screenful.
    Status,
    /// Hosts, now or at a past time as given.
    Hosts(Option<String>),
    /// Instances, now or at a past time as given.
    Instances(Option<String>),
    /// Gateways, now or at a past time as given.
    Gateways(Option<String>),
    /// Incidents that pass a filter.
    Incidents(IncidentFilter),
    /// What is wrong with a target.
    Why {
        /// An upstream address, a service, a host, a gateway, or an incident's id.
        target: String,
        /// The end of the stretch, as given. None: now.
        at: Option<String>,
        /// How far back, microseconds.
        since_us: i64,
    },
    /// A target over a stretch of time.
    Timeline {
        /// As for `Why`.
        target: String,
        /// The end of the stretch, as given. None: now.
        at: Option<String>,
        /// How far back, microseconds. None: as far as is of use.
        since_us: Option<i64>,
    },
    /// The lines that agents sent of a target.
    Logs {
        /// As for `Why`.
        target: String,
        /// The end of the stretch, as given. None: now.
        at: Option<String>,
        /// Which of them.
        filter: LineFilter,
    },
    /// What a target runs on.
    Environment {
        /// As for `Why`.
        target: String,
    },
    /// The catalogue.
    Causes,
    /// Who was told of what.
    Alerts,
    /// What nobody is told of.
    Silences,
    /// Setting by setting: now, recommended, why.
    Advise {
        /// A gateway, a service, a host, a pool, or a kind of gateway. None: all.
        target: Option<String>,
    },
}

/// How far back `why` looks if not told.
const WHY_SINCE_US: i64 = 15 * 60 * 1_000_000;

impl Document {
    /// The document of a name.
    pub fn parse(name: &str) -> Result<Self, BadQuestion> {
        let named = Self::ALL.into_iter().find(|document| document.name() == name);
        named.ok_or_else(|| BadQuestion(format!("there is no document {name:?}")))
    }

    /// Whether these filters are its own, and all it needs are there.
    fn check(self, filters: &BTreeMap<String, String>) -> Result<(), BadQuestion> {
        let own = |name: &str| self.filters().iter().any(|filter| filter.name == name);
        if let Some(name) = filters.keys().find(|name| !own(name)) {
            return Err(BadQuestion(format!("there is no filter {name:?} for this document")));
        }
        let lacks = |name: &str| filters.get(name).is_none_or(String::is_empty);
        if let Some(filter) = self.filters().iter().find(|filter| filter.needed && lacks(filter.name)) {
            return Err(BadQuestion(format!("this needs a {}", filter.name)));
        }
        match filters.iter().find(|(_, value)| value.is_empty()) {
            Some((name, _)) => Err(BadQuestion(format!("the filter {name:?} is empty: leave it out"))),
            None => Ok(()),
        }
    }
}

impl Question {
    /// Parses the filters of a question for `document`; one that it does not know is refused.
    pub fn parse(document: Document, mut filters: BTreeMap<String, String>) -> Result<Self, BadQuestion> {
        document.check(&filters)?;
        let mut take = |name: &str| filters.remove(name);
        let since_us = take("since").map(|since| parse_duration(&since)).transpose()?;
        let question = match document {
            Document::Status => Self::Status,
            Document::Causes => Self::Causes,
            Document::Hosts => Self::Hosts(take("at")),
            Document::Instances => Self::Instances(take("at")),
            Document::Gateways => Self::Gateways(take("at")),
            Document::Alerts => Self::Alerts,
            Document::Silences => Self::Silences,
            Document::Advise => Self::Advise { target: take("target") },
            Document::Incidents => Self::Incidents(IncidentFilter {
                since_us,
                state: state(take("state"))?,
                upstream: take("upstream"),
                service: take("service"),
                cause: take("cause").map(cause).transpose()?,
                family: take("family").map(family).transpose()?,
            }),
            Document::Why => Self::Why {
                target: take("target").unwrap_or_default(),
                at: take("at"),
                since_us: since_us.unwrap_or(WHY_SINCE_US),
            },
            Document::Timeline => {
                Self::Timeline { target: take("target").unwrap_or_default(), at: take("at"), since_us }
            }
            Document::Environment => Self::Environment { target: take("target").unwrap_or_default() },
            Document::Logs => Self::Logs {
                target: take("target").unwrap_or_default(),
                at: take("at"),
                filter: LineFilter {
                    since_us,
                    grep: take("grep").map(|text| Pattern::parse(&text)).transpose()?,
                    level: take("level").map(|name| Level::parse(&name)).transpose()?.unwrap_or_default(),
                },
            },
        };
        question.at_us(0).map(|_| question)
    }

    /// The past time that it asks about, unix microseconds. None: it asks about now.
    pub fn at_us(&self, now_us: i64) -> Result<Option<i64>, BadQuestion> {
        match self {
            Self::Hosts(at)
            | Self::Instances(at)
            | Self::Gateways(at)
            | Self::Why { at, .. }
            | Self::Timeline { at, .. }
            | Self::Logs { at, .. } => at.as_deref().map(|at| parse_time(at, now_us)).transpose(),
            Self::Status
            | Self::Incidents(_)
            | Self::Environment { .. }
            | Self::Causes
            | Self::Alerts
            | Self::Silences
            | Self::Advise { .. } => Ok(None),
        }
    }
}

fn state(word: Option<String>) -> Result<Option<IncidentState>, BadQuestion> {
    match word.as_deref() {
        None | Some("all") => Ok(None),
        Some("open") => Ok(Some(IncidentState::Open)),
        Some("resolved") => Ok(Some(IncidentState::Resolved)),
        Some(other) => Err(BadQuestion(format!("state {other:?} is not open, resolved or all"))),
    }
}

fn cause(id: String) -> Result<Cause, BadQuestion> {
    Cause::from_id(&id).ok_or_else(|| no_such("cause", &id, CATALOGUE.iter().map(|entry| entry.id)))
}

/// What is not in the catalogue, and what in it was perhaps meant.
fn no_such(kind: &str, id: &str, known: impl Iterator<Item = &'static str>) -> BadQuestion {
    let near = like(id, known.collect::<BTreeSet<_>>()).join(", ");
    BadQuestion(match near.is_empty() {
        true => format!("there is no {kind} {id:?}: why502 causes lists them"),
        false => format!("there is no {kind} {id:?}: did you mean {near}?"),
    })
}

fn family(id: String) -> Result<String, BadQuestion> {
    match CATALOGUE.iter().any(|entry| entry.family.id() == id) {
        true => Ok(id),
        false => Err(no_such("family", &id, CATALOGUE.iter().map(|entry| entry.family.id()))),
    }
}

/// A duration such as "500ms", "5s", "2m", "1h", "7d", microseconds.
pub fn parse_duration(text: &str) -> Result<i64, BadQuestion> {
    let bad = || BadQuestion(format!("{text:?} is not a duration such as \"500ms\", \"5s\", \"2m\", \"1h\", \"7d\""));
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(unit_at);
    if number.len() > DURATION_DIGITS {
        return Err(bad());
    }
    let unit_us: i64 = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(bad()),
    };
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_us)).ok_or_else(bad)
}

/// A time: RFC 3339, or the same without its zone (UTC), or "HH:MM" or "HH:MM:SS" (UTC, the latest such time that is not
/// after `now_us`), or a duration: so long before `now_us`. Unix microseconds.
pub fn parse_time(text: &str, now_us: i64) -> Result<i64, BadQuestion> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_microsecond());
    }
    let bad = |_| {
        let forms = "\"2026-11-22T14:32:00Z\", \"2026-11-22 14:32\", \"14:32\" (all UTC) or \"15m\" (so long ago)";
        BadQuestion(format!("{text:?} is not a time such as {forms}"))
    };
    if let Ok(ago_us) = parse_duration(text) {
        let at_us = now_us.saturating_sub(ago_us);
        return Timestamp::from_microsecond(at_us).map(|_| at_us).map_err(bad);
    }
    let civil = text.trim_end_matches('Z');
    if let Ok(at) = civil.parse::<DateTime>() {
        return Ok(at.to_zoned(TimeZone::UTC).map_err(bad)?.timestamp().as_microsecond());
    }
    let time: Time = civil.parse().map_err(bad)?;
    let now = Timestamp::from_microsecond(now_us).map_err(bad)?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let at = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(TimeZone::UTC).map(|at| at.timestamp());
    let at_us = at(today).map_err(bad)?.as_microsecond();
    if at_us <= now_us {
        return Ok(at_us);
    }
    let yesterday = today.checked_sub(1.day()).map_err(bad)?;
    Ok(at(yesterday).map_err(bad)?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(document: &str, filters: &[(&str, &str)]) -> Result<Question, BadQuestion> {
        let filters = filters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Question::parse(Document::parse(document)?, filters)
    }

    #[test]
    fn durations_and_times() {
        assert_eq!(parse_duration("15m").unwrap(), 900_000_000);
        assert_eq!(parse_duration("500ms").unwrap(), 500_000);
        for bad in ["", "5", "m", "-5s", "5 s", "99999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        let now_us = parse_time("2026-11-22T14:32:00Z", 0).unwrap();
        assert_eq!(parse_time("14:30", now_us).unwrap(), now_us - 120_000_000);
        assert_eq!(parse_time("14:33:00", now_us).unwrap(), now_us + 60_000_000 - 86_400_000_000);
        for same in ["2026-11-22 14:32", "2026-11-22T14:32:00", "2026-11-22 14:32Z", "2026-11-22 15:32+01:00"] {
            assert_eq!(parse_time(same, now_us + 30 * 86_400_000_000).unwrap(), now_us, "{same}");
        }
        assert_eq!(parse_time("15m", now_us).unwrap(), now_us - 900_000_000);
        assert!(parse_time("25:00", now_us).is_err() && parse_time("yesterday", now_us).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused_in_words() {
        assert!(parse("incidents", &[("cause", "oom_killed"), ("state", "open"), ("since", "1h")]).is_ok());
        for (document, filters) in [
            ("nothing", vec![]),
            ("why", vec![]),
            ("incidents", vec![("cause", "gremlins")]),
            ("incidents", vec![("family", "gremlins")]),
            ("incidents", vec![("state", "closed")]),
            ("incidents", vec![("colour", "red")]),
            ("logs", vec![("target", "api"), ("grep", "(")]),
            ("logs", vec![("target", "api"), ("grep", "(a{999}){999}")]),
            ("logs", vec![("target", "api"), ("level", "loud")]),
            ("hosts", vec![("at", "soon")]),
            ("status", vec![("at", "14:00")]),
        ] {
            assert!(parse(document, &filters).is_err(), "{document} {filters:?}");
        }
    }
}
