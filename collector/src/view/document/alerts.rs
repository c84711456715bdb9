//! Alerts and silences.

use serde::{Deserialize, Serialize};

document! {
    /// `alerts`.
    AlertsDoc {
        /// The moment.
        at: String,
        /// By name.
        sinks: Vec<SinkDoc>,
        /// Messages that did not arrive, the newest attempt first, at most 200.
        letters: Vec<LetterDoc>,
    }
}

document! {
    /// A sink.
    SinkDoc {
        /// Its name.
        name: String,
        /// "alertmanager", "webhook" or "otlp"; empty where it is configured no longer.
        kind: String,
        /// Where it is, without what may be secret.
        to: Vec<String>,
        /// It stands in the configuration.
        configured: bool,
        /// Incidents and groups that it takes for open.
        open: u64,
        /// Messages that it confirmed.
        delivered: u64,
        /// Attempts that failed.
        failed: u64,
        /// Attempts to tell again what had failed before, however they ended.
        retried: u64,
        /// Messages that are tried again.
        retrying: u64,
        /// Messages that were given up.
        given_up: u64,
        /// When it last confirmed one.
        last_delivered: Option<String>,
        /// When one last failed.
        last_failed: Option<String>,
        /// Why.
        last_fault: String,
    }
}

document! {
    /// A message that did not arrive.
    LetterDoc {
        /// The sink.
        sink: String,
        /// The id of the incident or the group.
        key: String,
        /// "retrying" or "given_up".
        state: String,
        /// "opened", "changed", "again" or "resolved".
        step: String,
        /// How often it was tried.
        attempts: u32,
        /// When first.
        first_attempt: String,
        /// When last.
        last_attempt: String,
        /// Why it failed.
        why: String,
    }
}

document! {
    /// `silences`.
    SilencesDoc {
        /// The moment.
        at: String,
        /// Those that hold, the first to end first; then those that ended in the last day.
        silences: Vec<SilenceDoc>,
    }
}

document! {
    /// A silence. What is null fits any incident.
    SilenceDoc {
        /// Its id.
        id: String,
        /// It holds now.
        active: bool,
        /// When it ends.
        until: String,
        /// Only this service.
        service: Option<String>,
        /// Only this host.
        host: Option<String>,
        /// Only this upstream.
        upstream: Option<String>,
        /// Only this gateway.
        gateway: Option<String>,
        /// Only this family.
        family: Option<String>,
        /// Only this cause.
        cause: Option<String>,
        /// Why.
        comment: String,
    }
}
