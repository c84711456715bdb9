//! What sinks of alerts are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EvidenceDoc, IncidentDoc};

document! {
    /// What a sink is told: the body of a webhook without a template. Templates see these names.
    MessageDoc {
        /// Of this form; rises when a field changes its meaning.
        version: u32,
        /// "opened", "changed", "again", "resolved" or "test".
        step: String,
        /// The id of the incident or the group.
        key: String,
        /// The same for every attempt to deliver this message, and for no other message.
        delivery: String,
        /// When it was written.
        at: String,
        /// "critical" or "warning".
        severity: String,
        /// Labels as Alertmanager gets them.
        labels: BTreeMap<String, String>,
        /// One line.
        title: String,
        /// The verdict in a sentence.
        sentence: String,
        /// The cause.
        cause: String,
        /// Its family.
        family: String,
        /// Its probability.
        confidence: f64,
        /// Failed attempts.
        count: u64,
        /// The first failure.
        first_seen: String,
        /// The newest failure.
        last_seen: String,
        /// Addresses that failed.
        upstreams: Vec<String>,
        /// Gateways that saw it.
        gateways: Vec<String>,
        /// What the verdict rests on.
        evidence: Vec<EvidenceDoc>,
        /// What could not be seen.
        missing: Vec<String>,
        /// What to do.
        advice: Vec<String>,
        /// The command that tells more.
        ask: String,
        /// The incidents, at most 20.
        incidents: Vec<IncidentDoc>,
        /// Further ones.
        more: u64,
    }
}
