//! Incidents: the part of the documents that other programs rely on most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::NowDoc;
use crate::view::schema::{Schema, Shapes};

document! {
    /// `incidents` and `why`.
    IncidentsDoc {
        /// Newest first.
        incidents: Vec<IncidentDoc>,
        /// `why` only: what was asked for.
        #[serde(skip_serializing_if = "String::is_empty")]
        target: String,
        /// `why` only, where nobody is called so: whose names are like it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
        /// `why` only: what is known of the target now.
        #[serde(skip_serializing_if = "Option::is_none")]
        now: Option<NowDoc>,
        /// The replay of a capsule only: how it compares.
        #[serde(skip_serializing_if = "Option::is_none")]
        replay: Option<ReplayDoc>,
    }
}

document! {
    /// How the verdict of a capsule that was replayed compares with the one that was recorded.
    ReplayDoc {
        /// The version of the collector that made the capsule.
        recorded_by: String,
        /// The version that replayed it.
        replayed_by: String,
        /// The cause that was recorded.
        cause: String,
        /// Its probability.
        confidence: f64,
        /// The replay says the same in every field.
        same: bool,
        /// What it says otherwise.
        differs: Vec<String>,
        /// What a replay by its maker said otherwise.
        differed_when_made: Vec<String>,
        /// Hosts that the verdict may rest on too and whose records are not in it.
        left_out: Vec<String>,
        /// Records that came later are left out.
        cut: bool,
    }
}

document! {
    /// An incident.
    IncidentDoc {
        /// Its id.
        id: String,
        /// "open" or "resolved".
        state: String,
        /// The gateway.
        gateway: GatewayRefDoc,
        /// The address the gateway tried.
        upstream: Option<String>,
        /// The service behind it.
        service: Option<String>,
        /// Its host.
        host: Option<String>,
        /// The first failure.
        first_seen: String,
        /// The newest failure.
        last_seen: String,
        /// When it was resolved.
        resolved: Option<String>,
        /// Failed attempts.
        count: u64,
        /// Of these, attempts after which another upstream served the client.
        retried: u64,
        /// Statuses that clients got.
        statuses: BTreeMap<String, u64>,
        /// Signals of the failed attempts.
        signals: BTreeMap<String, u64>,
        /// The cause's family.
        family: String,
        /// The cause.
        cause: String,
        /// Its probability.
        confidence: f64,
        /// Other causes, likeliest first.
        alternatives: Vec<AlternativeDoc>,
        /// In time order.
        evidence: Vec<EvidenceDoc>,
        /// What could not be seen.
        missing: Vec<String>,
        /// What to do.
        advice: Vec<String>,
        /// Incidents that one cause explains carry the same.
        group: Option<String>,
        /// The verdict in one sentence.
        sentence: String,
        /// When anything of it last changed.
        changed: String,
    }
}

document! {
    /// A gateway by name.
    GatewayRefDoc {
        /// Its host.
        host: String,
        /// Its name there.
        name: String,
        /// Its kind.
        kind: String,
    }
}

document! {
    /// Another cause.
    AlternativeDoc {
        /// The cause.
        cause: String,
        /// Its probability.
        confidence: f64,
    }
}

document! {
    /// A dated statement.
    EvidenceDoc {
        /// When.
        at: String,
        /// Whose.
        host: String,
        /// From which source.
        source: String,
        /// The statement.
        says: String,
    }
}

document! {
    /// Failed attempts of all gateways.
    RateDoc {
        /// The moment.
        at: String,
        /// Of these, in this minute so far.
        this_minute: u64,
        /// In the whole minute before.
        last_minute: u64,
    }
}

document! {
    /// An incident that is new or has changed.
    ChangeDoc {
        /// The moment.
        at: String,
        /// "opened", "changed" or "resolved".
        change: String,
        /// The incident.
        incident: IncidentDoc,
    }
}

/// One line of `watch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WatchDoc {
    /// How often attempts fail.
    Rate(RateDoc),
    /// What became of an incident.
    Incident(Box<ChangeDoc>),
}

impl Schema for WatchDoc {
    fn schema(shapes: &mut Shapes) -> Value {
        let tagged = |kind: &str, shape: Value| json!({"allOf": [shape, {"properties": {"kind": {"const": kind}}, "required": ["kind"]}]});
        json!({"oneOf": [tagged("rate", RateDoc::schema(shapes)), tagged("incident", ChangeDoc::schema(shapes))]})
    }
}
