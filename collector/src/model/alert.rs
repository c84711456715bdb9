//! Alerts as records: what somebody outside was told of an incident, and what nobody wants to be told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Incident;

/// What a sink is told of an incident or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertStep {
    /// It began.
    Opened,
    /// It is something else than was told.
    Changed,
    /// It goes on.
    Again,
    /// It is over.
    Resolved,
}

/// What became of telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertOutcome {
    /// The sink has confirmed it.
    Delivered,
    /// It did not; it is tried again.
    Failed,
    /// It did not, and is not tried again.
    GivenUp,
}

/// One attempt to tell a sink of an incident or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The sink's name.
    pub sink: String,
    /// The id of the incident or of the group.
    pub key: String,
    /// What was to be told.
    pub step: AlertStep,
    /// What became of it.
    pub outcome: AlertOutcome,
    /// Why it failed. Empty where it did not.
    pub why: String,
    /// The labels under which it was told.
    pub labels: BTreeMap<String, String>,
}

/// Incidents that nobody is told of for a time. Fields that are None fit any incident.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// When it ends, unix microseconds.
    pub until_us: i64,
    /// Only this family.
    pub family: Option<String>,
    /// Only this cause.
    pub cause: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this host.
    pub host: Option<String>,
    /// Only this upstream.
    pub upstream: Option<String>,
    /// Only this gateway.
    pub gateway: Option<String>,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Whether it holds for an incident.
    pub fn covers(&self, incident: &Incident) -> bool {
        let cause = incident.verdict.cause;
        let fits = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        fits(&self.family, Some(cause.family().id()))
            && fits(&self.cause, Some(cause.id()))
            && fits(&self.service, incident.service.as_deref())
            && fits(&self.host, incident.host.as_deref())
            && fits(&self.upstream, incident.upstream.as_deref())
            && fits(&self.gateway, Some(&incident.gateway.name))
    }
}
