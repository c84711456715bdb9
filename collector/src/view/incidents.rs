//! Incidents: which pass a filter, and each as its document.

use super::document::{AlternativeDoc, ChangeDoc, EvidenceDoc, GatewayRefDoc, IncidentDoc, stamp};
use super::why::sentence;
use super::{View, WatchDoc};
use crate::model::{Cause, Incident, IncidentState};

/// Which incidents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IncidentFilter {
    /// Only those that had a failure so long ago at most, or are open; microseconds.
    pub since_us: Option<i64>,
    /// Only those in this state.
    pub state: Option<IncidentState>,
    /// Only this upstream.
    pub upstream: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this cause.
    pub cause: Option<Cause>,
    /// Only this family.
    pub family: Option<String>,
}

impl IncidentFilter {
    /// Whether an incident passes at `now_us`.
    pub fn passes(&self, incident: &Incident, now_us: i64) -> bool {
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        let recent =
            |since: i64| incident.state == IncidentState::Open || incident.last_seen_us >= now_us.saturating_sub(since);
        self.since_us.is_none_or(recent)
            && self.state.is_none_or(|state| state == incident.state)
            && same(&self.upstream, &incident.upstream)
            && same(&self.service, &incident.service)
            && self.cause.is_none_or(|cause| cause == incident.verdict.cause)
            && self.family.as_ref().is_none_or(|family| *family == incident.verdict.cause.family().id())
    }
}

/// The incidents that pass, newest first.
pub fn select(view: &View, mut passes: impl FnMut(&Incident) -> bool) -> Vec<&Incident> {
    let mut chosen: Vec<&Incident> = view.incidents.iter().map(AsRef::as_ref).filter(|one| passes(one)).collect();
    chosen.sort_by(|a, b| (b.first_seen_us, &b.id).cmp(&(a.first_seen_us, &a.id)));
    chosen
}

/// An incident's document.
pub fn incident_doc(incident: &Incident) -> IncidentDoc {
    let verdict = &incident.verdict;
    IncidentDoc {
        id: incident.id.clone(),
        state: incident.state.id().to_owned(),
        gateway: GatewayRefDoc {
            host: incident.gateway.host.clone(),
            name: incident.gateway.name.clone(),
            kind: incident.gateway.kind.clone(),
        },
        upstream: incident.upstream.clone(),
        service: incident.service.clone(),
        host: incident.host.clone(),
        first_seen: stamp(incident.first_seen_us),
        last_seen: stamp(incident.last_seen_us),
        resolved: incident.resolved_us.map(stamp),
        count: incident.count,
        retried: incident.retried,
        statuses: incident.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
        signals: incident.signals.iter().map(|(signal, count)| (signal.id().to_owned(), *count)).collect(),
        family: verdict.cause.family().id().to_owned(),
        cause: verdict.cause.id().to_owned(),
        confidence: probability(verdict.confidence),
        alternatives: verdict
            .alternatives
            .iter()
            .map(|(cause, confidence)| AlternativeDoc {
                cause: cause.id().to_owned(),
                confidence: probability(*confidence),
            })
            .collect(),
        evidence: verdict
            .evidence
            .iter()
            .map(|one| EvidenceDoc {
                at: stamp(one.at_us),
                host: one.host.clone(),
                source: one.source.to_owned(),
                says: one.says.clone(),
            })
            .collect(),
        missing: verdict.missing.clone(),
        advice: verdict.advice.clone(),
        group: incident.group.clone(),
        sentence: sentence(incident),
        changed: stamp(incident.changed_us),
    }
}

/// Three decimals, rounded down so that a sum of at most 1 stays so.
fn probability(value: f64) -> f64 {
    // The small addition keeps 0.97, which binary writes as 0.96999..., what it is.
    (value.clamp(0.0, 1.0) * 1000.0 + 1e-6).floor() / 1000.0
}

/// What a watcher is told when `before` became `after`: incidents that opened, changed or were resolved, in order.
pub fn changes(before: &View, after: &View) -> Vec<WatchDoc> {
    let mut told: Vec<(&Incident, &str)> = Vec::new();
    let known: std::collections::HashMap<&str, &Incident> =
        before.incidents.iter().map(|one| (one.id.as_str(), one.as_ref())).collect();
    for incident in &after.incidents {
        let change = match known.get(incident.id.as_str()) {
            None => "opened",
            Some(old) if std::ptr::eq(*old, incident.as_ref()) || *old == incident.as_ref() => continue,
            Some(old) if old.state != incident.state && incident.state == IncidentState::Resolved => "resolved",
            Some(_) => "changed",
        };
        told.push((incident, change));
    }
    told.sort_by_key(|(incident, _)| incident.changed_us);
    let line = |(incident, change): (&Incident, &str)| ChangeDoc {
        at: stamp(after.at_us),
        change: change.to_owned(),
        incident: incident_doc(incident),
    };
    told.into_iter().map(line).map(Box::new).map(WatchDoc::Incident).collect()
}
