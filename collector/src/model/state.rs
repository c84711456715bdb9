//! What a host looks like now: what queries show of the fleet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{GatewayConfig, HealthResult, HostSample, InstanceSample, SamplerState, SamplerStatus, ServiceConfig};

/// A host as last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostState {
    /// Its name.
    pub name: String,
    /// Its boot.
    pub boot_id: String,
    /// The agent's version.
    pub agent_version: String,
    /// How often it is sampled, microseconds.
    pub interval_us: u64,
    /// The agent's clock less the collector's, microseconds.
    pub clock_ahead_us: i64,
    /// An agent's stream is open.
    pub connected: bool,
    /// The agent said that it stops on purpose.
    pub stopped: bool,
    /// When the host was first heard of, collector's clock.
    pub first_heard_us: i64,
    /// When it was last heard, collector's clock.
    pub last_heard_us: i64,
    /// When its present boot was first heard of.
    pub boot_heard_us: i64,
    /// What its agent can and can't see.
    pub samplers: BTreeMap<String, SamplerStatus>,
    /// Services that its agent was told of.
    pub services: BTreeMap<String, ServiceConfig>,
    /// Its newest readings.
    pub sample: Option<Arc<HostSample>>,
    /// Its services.
    pub instances: BTreeMap<String, InstanceState>,
    /// Its gateways.
    pub gateways: BTreeMap<String, GatewayState>,
}

impl HostState {
    /// Samplers that do not see what they should.
    pub fn impaired(&self) -> impl Iterator<Item = &SamplerStatus> {
        self.samplers.values().filter(|status| status.state != SamplerState::Active)
    }
}

/// A service on a host as last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InstanceState {
    /// Its newest readings.
    pub sample: Option<Arc<InstanceSample>>,
    /// Its newest health result and when.
    pub health: Option<(i64, HealthResult)>,
    /// The newest start that was seen.
    pub last_start_us: Option<i64>,
    /// The newest end that was seen, in words ("signal 9", "exit code 1").
    pub last_exit: Option<(i64, String)>,
}

/// A gateway as last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GatewayState {
    /// Its configuration.
    pub config: Option<Arc<GatewayConfig>>,
    /// Totals by upstream since the collector first heard of it.
    pub upstreams: BTreeMap<String, UpstreamTotals>,
    /// Lines that could not be parsed.
    pub unparsed: u64,
    /// The newest of them.
    pub unparsed_sample: String,
}

/// What a gateway's logs told of one upstream, in sums.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UpstreamTotals {
    /// Attempts that the upstream answered.
    pub answered: u64,
    /// Of these with status 500 and above.
    pub answered_5xx: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Failed attempts by minute since 1970, the newest ten minutes that had any.
    pub failed_by_minute: VecDeque<(i64, u64)>,
    /// The newest answer.
    pub last_answered_us: i64,
    /// The newest failure.
    pub last_failed_us: i64,
}
