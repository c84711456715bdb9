//! What samplers and watchers hand on: readings and events in the words of the schema, and how well each of them sees.
//! They fill the schema's messages directly; only `kernel` and `gateway` stay free of it, as pure readers of text.

pub mod cgroup;
pub mod health;
pub mod host;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod socket;

use why502_proto::v1;
use why502_proto::v1::sampler_status::State;

pub use crate::tail::Mark;

/// One thing on its way into a report.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // events are what it mostly carries: a box for each would cost more
pub enum Observed {
    /// Something happened.
    Event(v1::Event),
    /// The host's readings.
    Host(Box<v1::HostSample>),
    /// One service's readings.
    Instance(Box<v1::InstanceSample>),
    /// What a gateway's logs told of one upstream.
    Upstream(Box<v1::UpstreamSample>),
    /// A sampler's state changed.
    Status(v1::SamplerStatus),
    /// A gateway's configuration was read.
    Gateway(Box<v1::GatewayConfig>),
    /// What was read of a source of a gateway's lines.
    Source(Box<v1::LogSource>),
    /// A log was read up to here, and everything told from its lines was handed on before this.
    Mark(Mark),
}

impl Observed {
    /// An event at a time.
    pub fn event(at_unix_us: i64, kind: v1::event::Kind) -> Self {
        Self::Event(v1::Event { at_unix_us, kind: Some(kind) })
    }
}

/// How well a sampler or watcher sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All it should.
    Active,
    /// A part; why.
    Degraded(String),
    /// Nothing, for want of a privilege or a kernel feature; which.
    Unavailable(String),
    /// Its last reading failed; how.
    Failed(String),
}

impl Status {
    /// As the schema's message, under a sampler's stable name.
    pub fn message(&self, name: &str) -> v1::SamplerStatus {
        let (state, why) = match self {
            Self::Active => (State::Active, ""),
            Self::Degraded(why) => (State::Degraded, why.as_str()),
            Self::Unavailable(why) => (State::Unavailable, why.as_str()),
            Self::Failed(why) => (State::Failed, why.as_str()),
        };
        v1::SamplerStatus { name: name.to_owned(), state: state.into(), why: why.to_owned() }
    }
}
