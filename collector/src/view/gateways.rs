//! Gateways and their ways to upstreams, as documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::View;
use super::document::{GatewayDoc, SourceDoc, UpstreamDoc, stamp};
use crate::model::{GatewayState, HostState, LogSource, UpstreamTotals};

const MINUTE_US: i64 = 60_000_000;

/// Which service on which host answers at an address, as the agents' configurations and interfaces tell.
pub struct Addresses<'a>(HashMap<Cow<'a, str>, (&'a str, &'a str)>);

impl<'a> Addresses<'a> {
    /// The index of a view.
    pub fn of(view: &'a View) -> Self {
        let mut found = HashMap::with_capacity(view.hosts.len());
        for host in &view.hosts {
            let interfaces = host.sample.as_deref().map(|one| one.interfaces.as_slice()).unwrap_or_default();
            for service in host.services.values() {
                let place = (service.name.as_str(), host.name.as_str());
                for listen in &service.listen {
                    if listen.parse::<u16>().is_err() {
                        found.entry(Cow::Borrowed(listen.as_str())).or_insert(place);
                        continue;
                    }
                    for ip in interfaces.iter().flat_map(|one| &one.addresses) {
                        let address =
                            if ip.contains(':') { format!("[{ip}]:{listen}") } else { format!("{ip}:{listen}") };
                        found.entry(Cow::Owned(address)).or_insert(place);
                    }
                }
            }
        }
        Self(found)
    }

    /// The service and the host behind an address.
    pub fn place(&self, address: &str) -> Option<(&'a str, &'a str)> {
        self.0.get(address).copied()
    }
}

/// A gateway's way to an upstream, before it is written out: most questions pass over most of them.
pub struct Upstream<'a> {
    /// The gateway's host.
    pub gateway_host: &'a str,
    /// The gateway.
    pub gateway: &'a str,
    /// The address.
    pub address: &'a str,
    /// The service and the host behind it, where known.
    pub place: Option<(&'a str, &'a str)>,
    totals: &'a UpstreamTotals,
}

/// Of an upstream that no log has told of.
static UNTOLD: LazyLock<UpstreamTotals> = LazyLock::new(UpstreamTotals::default);

/// The ways of a gateway, by address: those that its configuration names, and those that its logs told of.
pub fn upstreams<'a>(
    host: &'a HostState,
    name: &'a str,
    gateway: &'a GatewayState,
    addresses: &Addresses<'a>,
) -> impl Iterator<Item = Upstream<'a>> + use<'a> {
    let mut known: BTreeMap<&str, &UpstreamTotals> = BTreeMap::new();
    let pools = gateway.config.iter().flat_map(|config| &config.pools);
    known.extend(pools.flat_map(|pool| &pool.members).map(|member| (member.address.as_str(), &*UNTOLD)));
    known.extend(gateway.upstreams.iter().map(|(address, totals)| (address.as_str(), totals)));
    let known: Vec<_> =
        known.into_iter().map(|(address, totals)| (address, totals, addresses.place(address))).collect();
    known.into_iter().map(move |(address, totals, place)| Upstream {
        gateway_host: &host.name,
        gateway: name,
        address,
        place,
        totals,
    })
}

impl Upstream<'_> {
    /// Its document, at a moment.
    pub fn doc(&self, at_us: i64) -> UpstreamDoc {
        let Self { totals, place, .. } = self;
        let (service, host) = place.unzip();
        let minute = at_us / MINUTE_US;
        UpstreamDoc {
            gateway: self.gateway.to_owned(),
            gateway_host: self.gateway_host.to_owned(),
            upstream: self.address.to_owned(),
            service: service.map(str::to_owned),
            host: host.map(str::to_owned),
            answered: totals.answered,
            answered_5xx: totals.answered_5xx,
            failed: totals.failed,
            failed_10m: failed_between(totals, minute - 9, minute),
            last_answered: Some(totals.last_answered_us).filter(|at| *at != 0).map(stamp),
            last_failed: Some(totals.last_failed_us).filter(|at| *at != 0).map(stamp),
        }
    }
}

/// The gateways of a host.
pub fn gateway_docs<'a>(
    view: &'a View,
    host: &'a HostState,
    addresses: &'a Addresses<'a>,
) -> impl Iterator<Item = GatewayDoc> + 'a {
    host.gateways.iter().map(move |(name, gateway)| gateway_doc(view.at_us, host, name, gateway, addresses))
}

fn gateway_doc<'a>(
    at_us: i64,
    host: &'a HostState,
    name: &'a str,
    gateway: &'a GatewayState,
    addresses: &Addresses<'a>,
) -> GatewayDoc {
    let config = gateway.config.as_deref();
    // Kinds that have none to be read tell of no fault either.
    let read = config.filter(|config| config.readable || !config.faults.is_empty());
    GatewayDoc {
        host: host.name.clone(),
        name: name.to_owned(),
        kind: config.map(|config| config.kind.clone()).unwrap_or_default(),
        config_readable: read.map(|config| config.readable),
        config_faults: config.map(|config| config.faults.clone()).unwrap_or_default(),
        missing_log: config.map(|config| config.missing_log.clone()).unwrap_or_default(),
        unparsed: gateway.sources.values().fold(gateway.unparsed, |sum, source| sum.saturating_add(source.unparsed)),
        unparsed_sample: unparsed_sample(gateway),
        sources: gateway.sources.values().map(|source| source_doc(source)).collect(),
        upstreams: upstreams(host, name, gateway, addresses).map(|one| one.doc(at_us)).collect(),
    }
}

fn unparsed_sample(gateway: &GatewayState) -> String {
    let samples = gateway.sources.values().map(|source| &source.unparsed_sample);
    samples.chain([&gateway.unparsed_sample]).find(|sample| !sample.is_empty()).cloned().unwrap_or_default()
}

fn source_doc(source: &LogSource) -> SourceDoc {
    SourceDoc {
        source: source.source.clone(),
        lines: source.lines,
        failures: source.failures,
        unparsed: source.unparsed,
        unparsed_sample: source.unparsed_sample.clone(),
        cut_lines: source.cut_lines,
        lost_lines: source.lost_lines,
        lost_files: source.lost_files,
        cut_senders: source.cut_senders,
        fault: source.fault.clone(),
    }
}

fn failed_between(totals: &UpstreamTotals, from: i64, to: i64) -> u64 {
    totals.failed_by_minute.iter().filter(|(minute, _)| (from..=to).contains(minute)).map(|(_, count)| count).sum()
}

/// Failed attempts of all gateways in the minute of the view and the one before.
pub fn failed_by_minute(view: &View) -> (u64, u64) {
    let minute = view.at_us / MINUTE_US;
    let gateways = view.hosts.iter().flat_map(|host| host.gateways.values());
    gateways.flat_map(|gateway| gateway.upstreams.values()).fold((0, 0), |(this, last), totals| {
        let failed = |minute| failed_between(totals, minute, minute);
        (this + failed(minute), last + failed(minute - 1))
    })
}
