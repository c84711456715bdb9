//! An incident: a case's life and its verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Cause, Signal};

/// One gateway and one upstream that failed for a stretch of time, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// A sortable id: the same records give the same id.
    pub id: String,
    /// Open or resolved.
    pub state: IncidentState,
    /// Which gateway.
    pub gateway: GatewayRef,
    /// The address the gateway tried. None only where no record tells.
    pub upstream: Option<String>,
    /// The service behind it, where known.
    pub service: Option<String>,
    /// Its host, where known.
    pub host: Option<String>,
    /// The first failure.
    pub first_seen_us: i64,
    /// The newest failure.
    pub last_seen_us: i64,
    /// When it was resolved.
    pub resolved_us: Option<i64>,
    /// Failed attempts.
    pub count: u64,
    /// Of these, attempts after which another upstream served the client.
    pub retried: u64,
    /// Statuses that clients got, with how often.
    pub statuses: BTreeMap<u16, u64>,
    /// Signals of the failed attempts, with how often.
    pub signals: BTreeMap<Signal, u64>,
    /// Why.
    pub verdict: Verdict,
    /// Incidents that one cause explains carry the same group.
    pub group: Option<String>,
    /// When a first verdict was given, and when the present cause was named.
    pub verdict_at_us: i64,
    /// When anything of it last changed.
    pub changed_us: i64,
}

/// Open or resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncidentState {
    /// Failures may still come.
    Open,
    /// It is over.
    Resolved,
}

impl IncidentState {
    /// The word for it in JSON.
    pub fn id(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }
}

/// A gateway by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct GatewayRef {
    /// The host it runs on.
    pub host: String,
    /// Its name there.
    pub name: String,
    /// Its kind.
    pub kind: String,
}

/// A case's ranked causes with what they rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The cause.
    pub cause: Cause,
    /// Its probability, 0 to 1.
    pub confidence: f64,
    /// Other causes with theirs, likeliest first. All probabilities sum to at most 1.
    pub alternatives: Vec<(Cause, f64)>,
    /// What it rests on, in time order, at least one.
    pub evidence: Vec<Evidence>,
    /// What could not be seen and would have settled the matter.
    pub missing: Vec<String>,
    /// What to do, most useful first.
    pub advice: Vec<String>,
}

/// The name of a source of evidence: one of the few that the rules know.
pub type Source = &'static str;

/// A dated statement from one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When, unix microseconds.
    pub at_us: i64,
    /// The host it comes from.
    pub host: String,
    /// Where from: "gateway_log", "kernel_log", "process", "socket", "health", "probe", "app_log", "cgroup", "collector", ...
    #[serde(deserialize_with = "source")]
    pub source: Source,
    /// The statement.
    pub says: String,
}

/// Most different sources of evidence: the rules name a few dozen.
const SOURCES_MAX: usize = 256;

/// A source read back: each different one is kept once for the life of the process.
fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
    static KNOWN: Mutex<BTreeSet<Source>> = Mutex::new(BTreeSet::new());
    let text = String::deserialize(deserializer)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(source) = known.get(text.as_str()) {
        return Ok(source);
    }
    if known.len() >= SOURCES_MAX {
        return Err(serde::de::Error::custom("too many different sources of evidence"));
    }
    let source: Source = text.leak();
    known.insert(source);
    Ok(source)
}
