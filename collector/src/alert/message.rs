//! What sinks are told: the labels by which an incident or a group is known, and the message that people read. Text from
//! outside is cleaned here once, for all sinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::plan::Tell;
use super::settings::Sink;
use crate::model::{Cause, Incident};
use crate::view::{EvidenceDoc, IncidentDoc, clean, incident_doc, stamp, word};

pub use crate::view::MessageDoc as Message;

/// Incidents of a message; more are counted.
const INCIDENTS_MAX: usize = 20;
/// Statements of evidence in a message.
const EVIDENCE_MAX: usize = 10;

/// Labels by name. None is empty.
pub type Labels = BTreeMap<String, String>;

impl Message {
    /// The message of what is to be told at `now_us`.
    pub fn new(tell: &Tell, collector_url: &str, now_us: i64) -> Self {
        let step = word(tell.step);
        let docs: Vec<IncidentDoc> = tell.incidents.iter().map(|one| incident_doc(one)).collect();
        // The surest speaks for all.
        let by_confidence = |a: &&IncidentDoc, b: &&IncidentDoc| a.confidence.total_cmp(&b.confidence);
        let chief = docs.iter().rev().max_by(by_confidence).cloned().unwrap_or_default();
        let label = |name: &str| tell.labels.get(name).cloned().unwrap_or_default();
        let count = docs.iter().fold(0_u64, |sum, one| sum.saturating_add(one.count));
        let sentence = if docs.is_empty() { label("cause") } else { chief.sentence.clone() };
        let others = if docs.len() > 1 { format!(" (and {} more upstreams)", docs.len() - 1) } else { String::new() };
        let message = Self {
            version: 1,
            step: step.to_owned(),
            delivery: format!("{}.{step}.{}", tell.key, tell.told_us),
            at: stamp(now_us),
            severity: label("severity"),
            title: format!("[{step}] {sentence}{others}"),
            sentence,
            cause: label("cause"),
            family: label("family"),
            confidence: chief.confidence,
            count,
            first_seen: docs.iter().map(|one| one.first_seen.clone()).min().unwrap_or_default(),
            last_seen: docs.iter().map(|one| one.last_seen.clone()).max().unwrap_or_default(),
            upstreams: distinct(docs.iter().filter_map(|one| one.upstream.clone())),
            gateways: distinct(docs.iter().map(|one| format!("{} on {}", one.gateway.name, one.gateway.host))),
            evidence: chief.evidence.iter().take(EVIDENCE_MAX).cloned().collect(),
            missing: chief.missing,
            advice: chief.advice,
            ask: ask(collector_url, &tell.key),
            more: docs.len().saturating_sub(INCIDENTS_MAX) as u64,
            incidents: docs.into_iter().take(INCIDENTS_MAX).collect(),
            labels: tell.labels.clone(),
            key: tell.key.clone(),
        };
        message.cleaned()
    }

    /// A message to try a sink with, about nothing that ever happened.
    pub fn sample(collector_url: &str, labels: &Labels, now_us: i64) -> Self {
        let upstream = "192.0.2.1:3000".to_owned();
        let incident = IncidentDoc {
            id: "00000000000000000000000000".to_owned(),
            state: "open".to_owned(),
            upstream: Some(upstream.clone()),
            service: Some("sample".to_owned()),
            host: Some("sample-1".to_owned()),
            first_seen: stamp(now_us),
            last_seen: stamp(now_us),
            count: 1,
            ..IncidentDoc::default()
        };
        let sentence = "this is a test of this sink: nothing has failed".to_owned();
        let known = [("alertname", "Why502Test"), ("cause", "unknown"), ("family", "unknown"), ("severity", "warning")];
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (host, source, says) =
            ("sample-1".to_owned(), "collector".to_owned(), "somebody asked for a test".to_owned());
        Self {
            version: 1,
            step: "test".to_owned(),
            delivery: format!("test.{now_us}"),
            at: stamp(now_us),
            severity: "warning".to_owned(),
            labels: known.chain(labels.clone()).collect(),
            title: format!("[test] {sentence}"),
            cause: "unknown".to_owned(),
            family: "unknown".to_owned(),
            count: 1,
            first_seen: stamp(now_us),
            last_seen: stamp(now_us),
            upstreams: vec![upstream],
            gateways: vec!["edge on lb-1".to_owned()],
            evidence: vec![EvidenceDoc { at: stamp(now_us), host, source, says }],
            advice: vec!["nothing is to be done".to_owned()],
            ask: ask(collector_url, "192.0.2.1:3000"),
            key: incident.id.clone(),
            incidents: vec![incident],
            sentence,
            ..Self::default()
        }
    }

    /// What the verdict rests on, a line for each statement.
    pub fn evidence_lines(&self) -> impl Iterator<Item = String> {
        self.evidence.iter().map(|one| format!("{} {} {}: {}", one.at, one.host, one.source, one.says))
    }

    /// As data, as templates see it.
    pub fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The same with every text cleaned.
    fn cleaned(self) -> Self {
        let mut value = self.value();
        clean_all(&mut value);
        serde_json::from_value(value).unwrap_or(self)
    }
}

/// The labels of some incidents: those in which all agree.
pub fn labels(sink: &Sink, incidents: &[&Arc<Incident>]) -> Labels {
    let mut all = incidents.iter().map(|incident| labels_of(incident));
    let mut common = all.next().unwrap_or_default();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    if !incidents.is_empty() {
        let critical = incidents.iter().any(|incident| is_critical(incident));
        common.insert("severity".to_owned(), if critical { "critical" } else { "warning" }.to_owned());
    }
    common.extend(sink.labels.clone());
    common
}

fn labels_of(incident: &Incident) -> Labels {
    let cause = incident.verdict.cause;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let labels = [
        ("alertname", "Why502Incident".to_owned()),
        ("family", cause.family().id().to_owned()),
        ("cause", cause.id().to_owned()),
        ("service", text(&incident.service)),
        ("host", text(&incident.host)),
        ("upstream", text(&incident.upstream)),
        ("gateway", incident.gateway.name.clone()),
        ("gateway_host", incident.gateway.host.clone()),
        ("group", incident.group.clone().unwrap_or_else(|| incident.id.clone())),
    ];
    let cleaned = labels.into_iter().map(|(name, value)| (name.to_owned(), clean(&value).into_owned()));
    cleaned.filter(|(_, value)| !value.is_empty()).collect()
}

/// Clients got errors, and not only because somebody deploys or clients leave.
fn is_critical(incident: &Incident) -> bool {
    let expected = matches!(incident.verdict.cause, Cause::Deploying | Cause::WarmingUp | Cause::ClientClosed);
    incident.count > incident.retried && !expected
}

fn ask(collector_url: &str, key: &str) -> String {
    match collector_url {
        "" => format!("why502 why {key}"),
        url => format!("why502 --collector {url} why {key}"),
    }
}

/// Each text once, in the order of their first coming, at most as many as a message has incidents.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.filter(|text| seen.insert(text.clone())).take(INCIDENTS_MAX).collect()
}

fn clean_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text).into_owned(),
        Value::Array(entries) => entries.iter_mut().for_each(clean_all),
        Value::Object(fields) => fields.values_mut().for_each(clean_all),
        _ => {}
    }
}
