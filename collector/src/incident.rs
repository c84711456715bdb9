//! Incidents: the life of cases. Opens one when a case has its first verdict, revises it as evidence comes, splits it where
//! an upstream that had recovered fails again for another reason, and resolves it when it is over.
//! Keeps open incidents and a bounded number of resolved ones, in the order of their opening.

mod identity;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::case::{Case, CaseKey, Stretch};
use crate::fleet::Place;
use crate::model::{Cause, Family, Incident, IncidentState, Verdict};

/// Resolved incidents kept.
const RESOLVED_MAX: usize = 10_000;
/// Of these, of one host's gateways: one that fails without end must not push out what the others went through.
const RESOLVED_MAX_PER_HOST: usize = 4_096;
/// A first verdict below this confidence waits a little for more evidence.
const SURE: f64 = 0.8;
/// How long it waits at the most, microseconds.
const PATIENCE_US: i64 = 1_500_000;
/// A recovered upstream that fails again gets so long to show whether the cause is another, microseconds.
const SPLIT_AFTER_US: i64 = 3_000_000;
/// Quiet after which a case whose upstream answers again is over, microseconds.
const QUIET_US: i64 = 30_000_000;
/// Quiet after which any case is over, microseconds.
const LONG_QUIET_US: i64 = 60_000_000;

/// All incidents.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Incidents {
    /// By id; ids sort by the time of the first failure.
    kept: BTreeMap<String, Arc<Incident>>,
    /// Where the open incident of a case stands: its id.
    open: BTreeMap<CaseKey, String>,
    /// How many resolved ones are kept, by the gateway's host.
    resolved_by_host: BTreeMap<String, usize>,
    /// The newest incident of each cause and subject, to group by.
    groups: BTreeMap<String, (String, i64)>,
    revision: u64,
}

/// What becomes of a case after it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Goes,
    /// Its present stretch has a cause of its own and must be split off.
    Splits,
}

impl Incidents {
    /// Takes a case's newest verdict; `failing`: where it names no upstream, those of
    /// the same gateway that are known to fail at that time.
    pub fn judged(
        &mut self,
        case: &mut Case,
        place: &Place,
        verdict: Verdict,
        failing: &[String],
        now_us: i64,
    ) -> Outcome {
        let Some(id) = self.open.get(&case.key).cloned() else {
            let waited = now_us - case.current.opened_us >= PATIENCE_US;
            if opens(case, &verdict)
                && !self.adds_nothing(case, &verdict, failing)
                && (verdict.confidence >= SURE && verdict.cause != Cause::Unknown || waited)
            {
                self.opened(case, place, verdict, now_us);
            }
            return Outcome::Goes;
        };
        let Some(incident) = self.get_mut(&id) else { return Outcome::Goes };
        let mut next = (**incident).clone();
        if case.before.is_some() {
            let settled = verdict.confidence >= SURE || now_us - case.current.opened_us >= SPLIT_AFTER_US;
            if settled && verdict.cause != next.verdict.cause {
                return Outcome::Splits;
            }
            if settled {
                case.join_stretches();
                next.verdict = verdict;
            }
        } else {
            next.verdict = verdict;
        }
        fill(&mut next, case, &case.total, place);
        if next.verdict.cause != incident.verdict.cause {
            next.verdict_at_us = now_us;
        }
        self.replace(&id, next, now_us);
        Outcome::Goes
    }

    /// Whether a case only says that some attempt failed and did no harm, while it is known which upstreams of the same gateway
    /// failed at that time: it was at one of them.
    fn adds_nothing(&self, case: &Case, verdict: &Verdict, failing: &[String]) -> bool {
        let harmed = case.current.notes.iter().any(|note| note.last_try);
        if case.key.upstream.is_some() || harmed {
            return false;
        }
        if let Some(member) = &case.singled_out {
            return failing.contains(member);
        }
        // Most were resolved before there was time to ask whose these were.
        let failed = |incident: &Incident| {
            let same = incident.gateway == case.key.gateway && incident.upstream.is_some();
            same && incident.first_seen_us <= case.current.last_us && incident.last_seen_us >= case.current.first_us
        };
        verdict.cause == Cause::Unknown && (!failing.is_empty() || self.iter().any(|incident| failed(incident)))
    }

    /// Gives the incident of a split case back to what was before, and resolves it.
    pub fn split_off(&mut self, key: &CaseKey, before: &Stretch, now_us: i64) {
        let Some(id) = self.open.remove(key) else { return };
        let Some(incident) = self.get_mut(&id) else { return };
        let mut next = (**incident).clone();
        count(&mut next, before);
        self.resolve(&id, next, now_us);
    }

    /// Whether a case is over; resolves its incident if so.
    pub fn ends(&mut self, case: &Case, now_us: i64) -> bool {
        let quiet_us = now_us - case.total.heard_us;
        let over = quiet_us >= LONG_QUIET_US || (quiet_us >= QUIET_US && case.answers_since > 0);
        if over
            && let Some(id) = self.open.remove(&case.key)
            && let Some(incident) = self.get_mut(&id)
        {
            let next = (**incident).clone();
            self.resolve(&id, next, now_us);
        }
        over
    }

    fn resolve(&mut self, id: &str, incident: Incident, now_us: i64) {
        let host = incident.gateway.host.clone();
        let next = Incident { state: IncidentState::Resolved, resolved_us: Some(now_us), ..incident };
        self.replace(id, next, now_us);
        *self.resolved_by_host.entry(host.clone()).or_default() += 1;
        let too_many = |incidents: &Self| incidents.resolved_by_host.get(&host) > Some(&RESOLVED_MAX_PER_HOST);
        while too_many(self) && self.forget_oldest(|incident| incident.gateway.host == host) {}
    }

    /// Open incidents and the resolved ones kept, in the order of their opening.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Incident>> {
        self.kept.values()
    }

    /// Rises whenever an incident is opened or changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn opened(&mut self, case: &Case, place: &Place, verdict: Verdict, now_us: i64) {
        let id = identity::incident_id(&case.key, case.current.first_us);
        let mut incident = Incident {
            id: id.clone(),
            state: IncidentState::Open,
            gateway: case.key.gateway.clone(),
            upstream: case.key.upstream.clone(),
            service: None,
            host: None,
            first_seen_us: 0,
            last_seen_us: 0,
            resolved_us: None,
            count: 0,
            retried: 0,
            statuses: BTreeMap::new(),
            signals: BTreeMap::new(),
            verdict,
            group: None,
            verdict_at_us: now_us,
            changed_us: now_us,
        };
        fill(&mut incident, case, &case.total, place);
        incident.group = self.group(&incident);
        self.open.insert(case.key.clone(), id.clone());
        self.kept.insert(id, Arc::new(incident));
        self.revision += 1;
        self.forget();
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Arc<Incident>> {
        self.kept.get_mut(id)
    }

    fn replace(&mut self, id: &str, mut next: Incident, now_us: i64) {
        let Some(old) = self.get_mut(id).cloned() else { return };
        if next.verdict.cause != old.verdict.cause || next.host != old.host {
            next.group = self.group(&next);
        }
        if next == *old {
            return;
        }
        next.changed_us = now_us;
        if let Some(place) = self.get_mut(id) {
            *place = Arc::new(next);
        }
        self.revision += 1;
    }

    /// The group of incidents that the same cause explains: the id of its first incident.
    fn group(&mut self, incident: &Incident) -> Option<String> {
        let subject = identity::subject(incident)?;
        let known = self.groups.get(&subject).filter(|(_, at_us)| incident.first_seen_us - at_us < LONG_QUIET_US * 4);
        let group = known.map_or_else(|| incident.id.clone(), |(group, _)| group.clone());
        self.groups.insert(subject, (group.clone(), incident.last_seen_us));
        if self.groups.len() > RESOLVED_MAX {
            self.groups.pop_first();
        }
        Some(group)
    }

    fn forget(&mut self) {
        while self.kept.len().saturating_sub(self.open.len()) > RESOLVED_MAX && self.forget_oldest(|_| true) {}
    }

    /// Forgets the oldest resolved incident of a kind. False: there is none.
    fn forget_oldest(&mut self, is_meant: impl Fn(&Incident) -> bool) -> bool {
        let is_over = |incident: &&Arc<Incident>| incident.state == IncidentState::Resolved && is_meant(incident);
        let Some(oldest) = self.kept.values().find(is_over).cloned() else { return false };
        self.kept.remove(&oldest.id);
        let host = &oldest.gateway.host;
        if let Some(kept) = self.resolved_by_host.get_mut(host) {
            *kept = kept.saturating_sub(1);
            if *kept == 0 {
                self.resolved_by_host.remove(host);
            }
        }
        true
    }
}

/// Whether a case is worth an incident. An error log's word alone can be forged by a client: it needs positive evidence
/// from the instance's host beside it, which only these families rest on.
fn opens(case: &Case, verdict: &Verdict) -> bool {
    let seen_there = matches!(verdict.cause.family(), Family::InstanceDown | Family::Restarting | Family::Overload);
    !case.current.is_unconfirmed() || (seen_there && verdict.confidence >= SURE)
}

fn fill(incident: &mut Incident, case: &Case, stretch: &Stretch, place: &Place) {
    incident.gateway.clone_from(&case.key.gateway);
    incident.upstream = case.key.upstream.clone().or_else(|| case.singled_out.clone());
    incident.service.clone_from(&place.service);
    incident.host.clone_from(&place.host);
    count(incident, stretch);
}

fn count(incident: &mut Incident, stretch: &Stretch) {
    incident.first_seen_us = stretch.first_us;
    incident.last_seen_us = stretch.last_us;
    incident.count = if stretch.is_unconfirmed() { stretch.unconfirmed } else { stretch.count };
    incident.retried = stretch.retried;
    incident.statuses.clone_from(&stretch.statuses);
    incident.signals.clone_from(&stretch.signals);
}
