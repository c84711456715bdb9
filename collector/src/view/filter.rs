//! The documents and what each may be narrowed by: one table, by which questions are checked and the API is described.

use serde_json::{Value, json};

use super::logs::{Level, PATTERN_CHARS};
use super::question::Document;
use crate::model::CATALOGUE;

/// The longest number in a duration, digits: even so many days are counted in microseconds.
pub(super) const DURATION_DIGITS: usize = 8;

/// One thing that a question may be narrowed by.
#[derive(Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub says: &'static str,
    /// Without it there is no answer.
    pub needed: bool,
    accepts: Accepts,
}

/// What a filter takes; never an empty text.
#[derive(Debug, PartialEq, Eq)]
enum Accepts {
    /// Any text.
    Text,
    /// A time.
    Time,
    /// A duration.
    Duration,
    /// A state of incidents, or all of them.
    State,
    /// A cause of the catalogue.
    Cause,
    /// A family of the catalogue.
    Family,
    /// A regular expression.
    Pattern,
    /// How bad a line is at least.
    Level,
}

const fn may(name: &'static str, accepts: Accepts, says: &'static str) -> Filter {
    Filter { name, says, needed: false, accepts }
}

const AT: Filter = may(
    "at",
    Accepts::Time,
    "As it was then; without it, as it is now. RFC 3339, YYYY-MM-DD HH:MM[:SS] or the last HH:MM[:SS] (UTC), or so long ago (15m).",
);
const SINCE: Filter = may("since", Accepts::Duration, "How far back, such as 500ms, 5s, 2m, 1h or 7d.");
const TARGET: Filter = may(
    "target",
    Accepts::Text,
    "An upstream address, a service, a host, a gateway, or the id of an incident or a group.",
);
const NEEDED_TARGET: Filter = Filter { needed: true, ..TARGET };

const INCIDENTS: &[Filter] = &[
    SINCE,
    may("state", Accepts::State, "Only those in this state."),
    may("upstream", Accepts::Text, "Only those of this upstream address."),
    may("service", Accepts::Text, "Only those of this service."),
    may("cause", Accepts::Cause, "Only those of this cause."),
    may("family", Accepts::Family, "Only those of this family of causes."),
];
const LOGS: &[Filter] = &[
    NEEDED_TARGET,
    AT,
    SINCE,
    may("grep", Accepts::Pattern, "Only lines in which this regular expression is found."),
    may("level", Accepts::Level, "Only lines at least so bad."),
];
const ADVISE: &[Filter] =
    &[may("target", Accepts::Text, "A gateway, a service, a host, a pool, or a kind of gateway.")];

impl Document {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Status,
        Self::Hosts,
        Self::Instances,
        Self::Gateways,
        Self::Incidents,
        Self::Why,
        Self::Timeline,
        Self::Logs,
        Self::Environment,
        Self::Causes,
        Self::Alerts,
        Self::Silences,
        Self::Advise,
    ];

    /// Its name, which is its place in the API too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Hosts => "hosts",
            Self::Instances => "instances",
            Self::Gateways => "gateways",
            Self::Incidents => "incidents",
            Self::Why => "why",
            Self::Timeline => "timeline",
            Self::Logs => "logs",
            Self::Environment => "environment",
            Self::Causes => "causes",
            Self::Alerts => "alerts",
            Self::Silences => "silences",
            Self::Advise => "advise",
        }
    }

    /// What it tells.
    pub fn says(self) -> &'static str {
        match self {
            Self::Status => "The fleet in a screenful.",
            Self::Hosts => "What hosts look like.",
            Self::Instances => "What instances of services look like.",
            Self::Gateways => "What gateways and their upstreams look like.",
            Self::Incidents => "Incidents, newest first.",
            Self::Why => "The incidents of a target, and what is known of it.",
            Self::Timeline => "A target over a stretch of time: states, readings, and what happened.",
            Self::Logs => "The lines that agents sent of a target, newest first.",
            Self::Environment => "What a target runs on, and how the gateways before it are set up.",
            Self::Causes => "The catalogue: what proves each cause, what refutes it, what mends it.",
            Self::Alerts => "Who was told of what, and what did not arrive.",
            Self::Silences => "What nobody is told of.",
            Self::Advise => "Setting by setting: now, recommended, why.",
        }
    }

    /// What it may be narrowed by.
    pub fn filters(self) -> &'static [Filter] {
        match self {
            Self::Status | Self::Causes | Self::Alerts | Self::Silences => &[],
            Self::Hosts | Self::Instances | Self::Gateways => &[AT],
            Self::Incidents => INCIDENTS,
            Self::Why | Self::Timeline => &[NEEDED_TARGET, AT, SINCE],
            Self::Logs => LOGS,
            Self::Environment => &[NEEDED_TARGET],
            Self::Advise => ADVISE,
        }
    }
}

impl Filter {
    /// What it takes, as JSON Schema. Times that are yet to come and patterns of too much memory
    /// are refused too, which a schema can't say.
    pub fn schema(&self) -> Value {
        match self.accepts {
            Accepts::Text => json!({"type": "string", "minLength": 1}),
            Accepts::Time => {
                let clock = "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$";
                let day =
                    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$";
                let forms = [json!({"format": "date-time"}), json!({ "pattern": day }), json!({ "pattern": clock })];
                let ago = json!({ "pattern": duration() });
                json!({"type": "string", "anyOf": forms.into_iter().chain([ago]).collect::<Vec<_>>()})
            }
            Accepts::Duration => json!({"type": "string", "pattern": duration()}),
            Accepts::State => json!({"type": "string", "enum": ["open", "resolved", "all"], "default": "all"}),
            Accepts::Cause => {
                json!({"type": "string", "enum": CATALOGUE.iter().map(|entry| entry.id).collect::<Vec<_>>()})
            }
            Accepts::Family => {
                let mut families: Vec<&str> = CATALOGUE.iter().map(|entry| entry.family.id()).collect();
                families.dedup();
                json!({"type": "string", "enum": families})
            }
            Accepts::Pattern => {
                json!({"type": "string", "minLength": 1, "maxLength": PATTERN_CHARS, "format": "regex"})
            }
            Accepts::Level => {
                json!({"type": "string", "enum": Level::ALL.map(Level::id), "default": Level::default().id()})
            }
        }
    }
}

/// What a duration looks like.
fn duration() -> String {
    format!("^[0-9]{{1,{DURATION_DIGITS}}}(ms|s|m|h|d)$")
}
