//! The records of the journal as the core folds them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Alert, Event, GatewayConfig, HostSample, InstanceSample, LogSource, Machine, ServiceConfig, Silence, UpstreamSample,
};

/// One record: what came in and when the collector took it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The collector's clock when it came in, unix microseconds. Never goes back from one record to the next.
    pub received_us: i64,
    /// What came in.
    pub kind: RecordKind,
}

/// Why a stream ended whose connection broke.
pub const CONNECTION_LOST: &str = "connection lost";
/// Why a stream ended on which nothing came any more.
pub const FELL_IDLE: &str = "idle";

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordKind {
    /// An agent connected.
    Hello(Hello),
    /// A report, taken for the first time.
    Report(Box<Report>),
    /// An agent's stream ended.
    StreamEnded {
        /// The host.
        host: String,
        /// In words.
        why: String,
    },
    /// Time passed.
    Tick,
    /// Somebody marked a deployment.
    Mark(Mark),
    /// Somebody was told of an incident, or could not be.
    Alert(Alert),
    /// Somebody silenced incidents.
    Silence(Silence),
    /// A silence was ended before its time: its id.
    SilenceExpired(String),
}

/// Who is speaking.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hello {
    /// The host's name.
    pub host: String,
    /// The kernel's boot id; empty where it can't be read.
    pub boot_id: String,
    /// Names one numbering of reports.
    pub epoch: u64,
    /// The agent's version.
    pub agent_version: String,
    /// The agent's clock less the collector's at the hello, microseconds.
    pub clock_ahead_us: i64,
    /// How often the host is sampled, microseconds.
    pub interval_us: u64,
    /// What the agent can and can't see.
    pub samplers: Vec<SamplerStatus>,
    /// Its services.
    pub services: Vec<ServiceConfig>,
    /// What kind of machine it is. None: its agent does not tell.
    pub machine: Option<Machine>,
}

/// Whether a sampler or watcher sees what it should.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SamplerStatus {
    /// Its stable name.
    pub name: String,
    /// What it can do now.
    pub state: SamplerState,
    /// Why it is not active. Empty where it is.
    pub why: String,
}

/// How well a sampler sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SamplerState {
    /// Sees all it should.
    #[default]
    Active,
    /// Sees a part.
    Degraded,
    /// Can't see.
    Unavailable,
    /// Its last reading failed.
    Failed,
}

impl SamplerState {
    /// The word for it, as queries print it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// What an agent saw, times already on the collector's time line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The host.
    pub host: String,
    /// Its boot.
    pub boot_id: String,
    /// The numbering of `seq`.
    pub epoch: u64,
    /// The report's number.
    pub seq: u64,
    /// When the agent closed it.
    pub at_us: i64,
    /// The agent's clock less the collector's, microseconds, as taken off all times below.
    pub clock_ahead_us: i64,
    /// The host's readings, which its state and its history share.
    pub host_sample: Option<Arc<HostSample>>,
    /// The services' readings, likewise.
    pub instances: Vec<Arc<InstanceSample>>,
    /// What the gateways' logs told, by upstream.
    pub upstreams: Vec<UpstreamSample>,
    /// What happened.
    pub events: Vec<Event>,
    /// Samplers whose state changed.
    pub samplers: Vec<SamplerStatus>,
    /// Gateway configurations read or changed.
    pub gateways: Vec<GatewayConfig>,
    /// Sources of gateways' lines of which more was read.
    pub sources: Vec<LogSource>,
}

/// A deployment begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// What is marked: "deploy".
    pub kind: String,
    /// The service.
    pub service: String,
    /// The version; empty where not told.
    pub version: String,
    /// The host; empty for all.
    pub host: String,
}
