//! What a host looks like now: what queries show of the fleet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Address, GatewayConfig, HealthResult, HostSample, InstanceSample, LogSource, Machine, SamplerState, SamplerStatus,
    ServiceConfig, canonical,
};

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
    /// When its stream was lost without a word, where it has not come back since; else 0.
    pub lost_us: i64,
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
    /// What kind of machine it is, where its agent tells.
    pub machine: Option<Arc<Machine>>,
    /// Services that its agent was told of.
    pub services: BTreeMap<String, ServiceConfig>,
    /// Its newest readings.
    pub sample: Option<Arc<HostSample>>,
    /// Its services.
    pub instances: BTreeMap<String, InstanceState>,
    /// Its gateways.
    pub gateways: BTreeMap<String, GatewayState>,
    /// When what is kept of its past was last thinned since it says too much, and how often it was.
    pub thinned: Option<(i64, u64)>,
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
    /// Whether it holds its service's leadership, and since when, where it tells.
    pub role: Option<(bool, i64)>,
    /// Times of its newest good health answers, microseconds.
    pub health_times_us: VecDeque<u64>,
    /// Times from its newest starts to listening, microseconds.
    pub start_times_us: VecDeque<u64>,
}

/// A gateway as last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GatewayState {
    /// Its configuration.
    pub config: Option<Arc<GatewayConfig>>,
    /// What that was before it was last changed.
    pub config_before: Option<Arc<GatewayConfig>>,
    /// Totals by upstream since the collector first heard of it.
    pub upstreams: BTreeMap<String, UpstreamTotals>,
    /// Where its lines come from, by the path or address.
    pub sources: BTreeMap<String, Arc<LogSource>>,
    /// Lines that could not be parsed, as agents tell that know of no sources.
    pub unparsed: u64,
    /// The newest of them.
    pub unparsed_sample: String,
}

impl GatewayState {
    /// Takes a configuration as it was read now.
    pub fn take_config(&mut self, config: &GatewayConfig) {
        match self.config.take() {
            // It was read again and says the same.
            Some(known) if known.pools == config.pools => {
                self.config = Some(Arc::new(GatewayConfig { at_us: known.at_us, ..config.clone() }));
            }
            known => {
                self.config_before = known.or(self.config_before.take());
                self.config = Some(Arc::new(config.clone()));
            }
        }
    }

    /// The address of an upstream that a record of a time names by its server, or by pool and server; as it stands where no
    /// member is called so.
    pub fn address_of(&self, pool: &str, named: &str, at_us: i64) -> String {
        let Address::Name(name, _) = Address::parse(named) else { return canonical(named) };
        let (pool, server) = named.split_once('/').unwrap_or((pool, name.as_str()));
        let pools = self.config_at(at_us).into_iter().flat_map(|config| &config.pools);
        let mut members = pools.filter(|known| known.name == pool || pool.is_empty()).flat_map(|known| &known.members);
        let member = members.find(|member| !server.is_empty() && member.name == server);
        member.map_or_else(|| named.to_owned(), |member| canonical(&member.address))
    }

    /// The configuration at a time, as far as it is remembered.
    pub fn config_at(&self, at_us: i64) -> Option<&Arc<GatewayConfig>> {
        let newest = self.config.as_ref().filter(|config| config.at_us <= at_us);
        newest.or(self.config_before.as_ref()).or(self.config.as_ref())
    }
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
    /// The slowest answers of a day, microseconds; none where the log tells no times.
    pub slowest_us: DayPeak,
    /// How long it keeps an idle connection, as a probe measured last, microseconds.
    pub idle_close_us: Option<u64>,
    /// The largest response headers that probes saw in a day, bytes.
    pub header_bytes: DayPeak,
}

/// The greatest readings of the day that ended with the newest: advice follows what is, not what was once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayPeak {
    /// By hour since 1970, oldest first.
    by_hour: VecDeque<(i64, u64)>,
}

impl DayPeak {
    const HOUR_US: i64 = 3_600_000_000;
    const HOURS: i64 = 24;

    /// Takes a reading. What is older than a day is left out, and so is a reading of zero.
    pub fn note(&mut self, at_us: i64, value: u64) {
        let hour = at_us.div_euclid(Self::HOUR_US);
        let newest = self.by_hour.back().map_or(hour, |(newest, _)| *newest);
        if value == 0 || hour <= newest - Self::HOURS {
            return;
        }
        match self.by_hour.iter_mut().find(|(known, _)| *known == hour) {
            Some((_, peak)) => *peak = value.max(*peak),
            None => {
                let place = self.by_hour.partition_point(|(known, _)| *known < hour);
                self.by_hour.insert(place, (hour, value));
            }
        }
        let first = newest.max(hour) - Self::HOURS;
        self.by_hour.retain(|(known, _)| *known > first);
    }

    /// The greatest that is not older than a day. None: there is none.
    pub fn at(&self, now_us: i64) -> Option<u64> {
        let first = now_us.div_euclid(Self::HOUR_US) - Self::HOURS;
        self.by_hour.iter().filter(|(hour, _)| *hour > first).map(|(_, peak)| *peak).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Pool, PoolMember};

    #[test]
    fn a_peak_lasts_for_a_day() {
        const HOUR_US: i64 = DayPeak::HOUR_US;
        let mut peak = DayPeak::default();
        assert_eq!(peak.at(0), None);
        for (hour, value) in [(100, 60), (101, 5), (90, 9), (101, 7), (102, 0)] {
            peak.note(hour * HOUR_US, value);
        }
        assert_eq!((peak.at(102 * HOUR_US), peak.at(123 * HOUR_US)), (Some(60), Some(60)));
        assert_eq!((peak.at(124 * HOUR_US), peak.at(126 * HOUR_US)), (Some(7), None));
        for hour in 0..1000 {
            peak.note(hour * HOUR_US, 1);
        }
        assert_eq!(peak.by_hour.len(), 24);
    }

    #[test]
    fn a_failure_is_judged_by_the_configuration_of_its_time() {
        let config = |at_us, pool: &str| GatewayConfig {
            at_us,
            pools: vec![Pool { name: pool.to_owned(), ..Pool::default() }],
            ..GatewayConfig::default()
        };
        let mut state = GatewayState::default();
        for (at_us, pool) in [(10, "first"), (20, "second"), (25, "second"), (30, "third")] {
            state.take_config(&config(at_us, pool));
        }
        let at = |at_us| state.config_at(at_us).map(|config| config.pools[0].name.as_str());
        assert_eq!([at(20), at(29), at(30)], [Some("second"), Some("second"), Some("third")]);
        assert_eq!(at(5), Some("second"), "the oldest that is remembered");
    }

    #[test]
    fn a_name_means_the_address_that_it_had_when_the_request_began() {
        let config = |at_us, address: &str| {
            let member = PoolMember { name: "app0".into(), address: address.into(), ..PoolMember::default() };
            let pools = vec![Pool { name: "api".into(), members: vec![member], ..Pool::default() }];
            GatewayConfig { at_us, pools, ..GatewayConfig::default() }
        };
        let mut state = GatewayState::default();
        state.take_config(&config(10, "10.0.0.2:3000"));
        state.take_config(&config(20, "10.0.0.9:3000"));
        let waited = Failure { duration_us: Some(5), ..Failure::default() };
        let of = |at_us| state.address_of("api", "app0", waited.began_us(at_us));
        assert_eq!([of(24), of(25)], ["10.0.0.2:3000", "10.0.0.9:3000"]);
    }
}
