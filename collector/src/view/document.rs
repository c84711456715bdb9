//! The JSON documents, field for field as the contract writes them. The collector writes them and the command line
//! reads them, so a field that an older collector does not send has a default.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

macro_rules! document {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $says:literal])* $(#[serde(skip_serializing_if = $lacks:literal)])? $field:ident: $kind:ty,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $says])* $(#[serde(skip_serializing_if = $lacks)])? pub $field: $kind,)*
        }

        impl crate::view::schema::Schema for $name {
            fn schema(shapes: &mut crate::view::schema::Shapes) -> serde_json::Value {
                let fields = [$(crate::view::schema::Field {
                    name: stringify!($field),
                    says: concat!($($says),*),
                    may_lack: !concat!($($lacks)?).is_empty(),
                    schema: <$kind as crate::view::schema::Schema>::schema,
                }),*];
                let name = stringify!($name).trim_end_matches("Doc");
                crate::view::schema::named(shapes, name, concat!($($doc),*), &fields)
            }
        }
    };
}

mod advise;
mod alerts;
mod environment;
mod fault;
mod gateway;
mod incident;
mod logs;
mod message;
mod rollout;
mod timeline;

pub use advise::*;
pub use alerts::*;
pub use environment::*;
pub use fault::*;
pub use gateway::*;
pub use incident::*;
pub use logs::*;
pub use message::*;
pub use rollout::*;
pub use timeline::*;

/// A time as the documents write it: RFC 3339, UTC, milliseconds.
pub fn stamp(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| at_us.to_string(), |at| format!("{at:.3}"))
}

document! {
    /// What is known of a target now.
    NowDoc {
        /// The moment.
        at: String,
        /// Hosts it names.
        hosts: Vec<HostDoc>,
        /// Instances it names.
        instances: Vec<InstanceDoc>,
        /// Upstreams it names.
        upstreams: Vec<UpstreamDoc>,
    }
}

impl NowDoc {
    /// Whether anybody is called so.
    pub fn is_known(&self) -> bool {
        !self.hosts.is_empty() || !self.instances.is_empty() || !self.upstreams.is_empty()
    }
}

document! {
    /// `hosts`.
    HostsDoc {
        /// The moment.
        at: String,
        /// Where a past moment was asked for: the oldest that can be told of.
        kept_since: Option<String>,
        /// By name.
        hosts: Vec<HostDoc>,
        /// Now: what the front doors have to tell of hosts, newest first. Such as were never let in are not among the hosts.
        notices: Vec<NoticeDoc>,
    }
}

document! {
    /// A host.
    HostDoc {
        /// Its name.
        host: String,
        /// "up", "silent" or "stopped" (its agent said so).
        state: String,
        /// When it was last heard.
        last_heard: String,
        /// The agent's version.
        agent_version: String,
        /// Its boot.
        boot_id: String,
        /// The agent's clock less the collector's, milliseconds.
        clock_ahead_ms: i64,
        /// Seconds since its boot.
        uptime_s: Option<u64>,
        /// Share of CPU in use.
        cpu_ratio: Option<f64>,
        /// Load average of one minute.
        load1: Option<f64>,
        /// Share of memory in use.
        mem_ratio: Option<f64>,
        /// Its services.
        services: Vec<String>,
        /// Its gateways.
        gateways: Vec<String>,
        /// Samplers that do not see what they should.
        impaired: Vec<SamplerDoc>,
    }
}

document! {
    /// A sampler that does not see what it should.
    SamplerDoc {
        /// Its name.
        name: String,
        /// What it can do.
        state: String,
        /// Why.
        why: String,
    }
}

document! {
    /// `instances`.
    InstancesDoc {
        /// The moment.
        at: String,
        /// Where a past moment was asked for: the oldest that can be told of.
        kept_since: Option<String>,
        /// By service and host.
        instances: Vec<InstanceDoc>,
    }
}

document! {
    /// An instance.
    InstanceDoc {
        /// The service.
        service: String,
        /// Its host.
        host: String,
        /// "running", "unhealthy", "paused" (stopped by a signal, or its control group is frozen), "not_listening",
        /// "not_running" or "unknown".
        state: String,
        /// Where gateways reach it.
        listen: Vec<String>,
        /// Processes that match. Absent where not read.
        processes: Option<u32>,
        /// CPU in use, in CPUs.
        cpu_ratio: Option<f64>,
        /// Resident memory, bytes.
        rss_bytes: Option<u64>,
        /// Its memory limit, bytes.
        mem_limit_bytes: Option<u64>,
        /// Connections that wait to be accepted, and most that may.
        queue: Option<(u32, u32)>,
        /// Its newest health result.
        health: Option<HealthDoc>,
        /// Whether it holds its service's leadership. Absent where it does not tell.
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<RoleDoc>,
        /// When it was last seen to start.
        last_start: Option<String>,
        /// Its newest end that was seen.
        last_exit: Option<ExitDoc>,
        /// Its unit.
        unit: String,
    }
}

document! {
    /// A health result.
    HealthDoc {
        /// When.
        at: String,
        /// It was good.
        ok: bool,
        /// Status of the answer. 0: none.
        status: u32,
        /// Time to the first byte, milliseconds.
        first_byte_ms: Option<u64>,
        /// Why it failed.
        error: String,
    }
}

document! {
    /// Whether an instance leads.
    RoleDoc {
        /// It holds the leadership.
        leader: bool,
        /// Since when it does, or does not.
        since: String,
    }
}

document! {
    /// An end that was seen.
    ExitDoc {
        /// When.
        at: String,
        /// "signal 9", "exit code 1".
        how: String,
    }
}

document! {
    /// `status`.
    StatusDoc {
        /// The moment.
        at: String,
        /// Hosts by state.
        hosts: BTreeMap<String, u64>,
        /// How far a rollout of agents is.
        agents: RolloutDoc,
        /// Instances by state.
        instances: BTreeMap<String, u64>,
        /// Gateways.
        gateways: u64,
        /// Failed attempts in this minute and the one before.
        failed_by_minute: (u64, u64),
        /// Incidents by state.
        incidents: BTreeMap<String, u64>,
        /// The open ones, newest first, at most 50.
        open: Vec<IncidentDoc>,
        /// The collector itself.
        collector: CollectorDoc,
        /// How its front doors are open.
        doors: DoorsDoc,
    }
}

document! {
    /// How the front doors are open.
    DoorsDoc {
        /// The agents': "plain", "tls" or "plain and tls".
        ingest: String,
        /// The askers', in the same words.
        api: String,
        /// Doors that take plain text from beyond the collector's machine.
        exposed: Vec<String>,
        /// Who was not let in and why, which name two machines use; newest first, at most 50.
        notices: Vec<NoticeDoc>,
    }
}

document! {
    /// Something that a front door has to tell.
    NoticeDoc {
        /// When last.
        at: String,
        /// The host that it is about, as it calls itself.
        host: String,
        /// What.
        says: String,
        /// How often.
        count: u64,
    }
}

document! {
    /// The collector itself.
    CollectorDoc {
        /// Its version.
        version: String,
        /// When it started.
        started: String,
        /// Records of its journal.
        journal_records: u64,
        /// Bytes of its journal.
        journal_bytes: u64,
        /// Stretches that recovery found unreadable.
        journal_faults: u64,
        /// Nothing is acknowledged for lack of space.
        disk_full: bool,
        /// Reports taken since the start.
        reports: u64,
        /// Reports that had been taken before.
        duplicates: u64,
        /// Reports refused because ones before them were missing.
        gaps: u64,
        /// Texts, list entries and times that were out of bounds.
        cut: u64,
        /// Records and events of unknown kind.
        unknown: u64,
    }
}

document! {
    /// `causes`.
    CausesDoc {
        /// Families in the catalogue's order.
        families: Vec<String>,
        /// Causes in the catalogue's order.
        causes: Vec<CauseDoc>,
    }
}

document! {
    /// A cause of the catalogue.
    CauseDoc {
        /// Its id.
        cause: String,
        /// Its family.
        family: String,
        /// What proves it.
        proof: String,
        /// What refutes it.
        refuted_by: String,
        /// What mends it.
        fix: String,
    }
}
