//! Which instance stands behind an upstream address.

use super::{Fleet, HostEntry};
use crate::model::Address;

/// Where an upstream leads, as far as the fleet knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The host that has the address.
    pub host: Option<String>,
    /// The service that is reached there.
    pub service: Option<String>,
}

/// How surely a service is the one behind an address; the greatest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It listens on that port, but not on that address.
    SamePort,
    /// It listened there at some time.
    Listened,
    /// It listens there now.
    Listens,
    /// Its agent was told so.
    Declared,
}

impl Fleet {
    /// Finds the instance behind an upstream that a gateway on `gateway_host` names.
    pub fn locate(&self, gateway_host: &str, upstream: &Address) -> Place {
        let local = match upstream {
            Address::Unix(_) => true,
            Address::Ip(address) => address.ip().is_loopback(),
            _ => return Place::default(),
        };
        let gateway_host = self.hosts.get_key_value(gateway_host);
        // What a host sends to an address of its own never leaves it, whoever else has that address (a bridge's, a NAT's).
        let local = local || gateway_host.is_some_and(|(_, entry)| entry.has_address(upstream));
        let candidates: Vec<&String> = match local {
            true => gateway_host.into_iter().map(|(name, _)| name).collect(),
            false => self.whereabouts.of(upstream).into_iter().collect(),
        };
        let mut best: Option<(Option<Claim>, &str, Option<String>)> = None;
        let mut tied = false;
        for name in candidates {
            let Some(entry) = self.hosts.get(name) else { continue };
            let candidate = local || entry.has_address(upstream);
            let claim = entry.claim(upstream);
            let declared = !local && matches!(&claim, Some((Claim::Declared, _)));
            if !candidate && !declared {
                continue;
            }
            let (strength, service) = claim.map_or((None, None), |(claim, service)| (Some(claim), Some(service)));
            tied |= best.as_ref().is_some_and(|(other, ..)| strength == *other);
            if best.as_ref().is_none_or(|(other, ..)| strength > *other) {
                tied = false;
                best = Some((strength, name, service));
            }
        }
        // Two that claim it alike: nothing tells which is meant.
        let best = best.filter(|_| !tied);
        best.map_or_else(Place::default, |(_, host, service)| Place { host: Some(host.to_owned()), service })
    }
}

/// An agent that began so soon after the boot saw whether a service was ever started, microseconds.
const WATCHED_FROM_BOOT_US: i64 = 300_000_000;

impl HostEntry {
    /// Whether its agent has looked since soon after the boot.
    pub fn watched_from_boot(&self) -> bool {
        let Some(sample) = self.state.sample.as_ref() else { return false };
        let booted_us = sample.at_us.saturating_sub(i64::try_from(sample.uptime_us).unwrap_or(i64::MAX));
        self.history.agent_started_us().saturating_sub(booted_us) < WATCHED_FROM_BOOT_US
    }

    /// Whether an interface of the host has the upstream's address.
    fn has_address(&self, upstream: &Address) -> bool {
        let Some(ip) = upstream.ip() else { return false };
        let mut addresses = self.state.sample.iter().flat_map(|sample| sample.addresses());
        addresses.any(|address| address.parse() == Ok(ip))
    }

    /// The service that claims an address most surely.
    fn claim(&self, upstream: &Address) -> Option<(Claim, String)> {
        let declared = self.state.services.values().filter(|service| {
            service.listen.iter().map(|listen| Address::parse(listen)).any(|listen| match listen {
                Address::Port(_) => listen.covers(upstream) && self.has_address_or_local(upstream),
                exact => exact.covers(upstream),
            })
        });
        let listens = self.state.instances.iter().flat_map(|(service, instance)| {
            let listeners = instance.sample.iter().flat_map(|sample| &sample.listeners);
            listeners.filter_map(move |listener| {
                let bound = Address::parse(&listener.address);
                if bound.covers(upstream) {
                    Some((Claim::Listens, service.clone()))
                } else {
                    (bound.port().is_some() && bound.port() == upstream.port())
                        .then(|| (Claim::SamePort, service.clone()))
                }
            })
        });
        let listened = self.history.ever_listened().filter(|(address, _)| Address::parse(address).covers(upstream));
        declared
            .map(|service| (Claim::Declared, service.name.clone()))
            .chain(listens)
            .chain(listened.map(|(_, service)| (Claim::Listened, service.clone())))
            .max_by_key(|(claim, _)| *claim)
    }

    fn has_address_or_local(&self, upstream: &Address) -> bool {
        upstream.ip().is_some_and(|ip| ip.is_loopback()) || self.has_address(upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hello, HostSample, InterfaceSample, Record, RecordKind, Report, ServiceConfig};

    fn hello(host: &str, listen: &str) -> RecordKind {
        let service = ServiceConfig { name: "api".into(), listen: vec![listen.into()], ..Default::default() };
        RecordKind::Hello(Hello { host: host.into(), services: vec![service], ..Default::default() })
    }

    fn addressed(host: &str, ip: &str) -> RecordKind {
        let interfaces = vec![InterfaceSample { addresses: vec![ip.into()], ..Default::default() }];
        let host_sample = Some(HostSample { interfaces, ..Default::default() }.into());
        RecordKind::Report(Box::new(Report { host: host.into(), host_sample, ..Default::default() }))
    }

    fn found(fleet: &Fleet, upstream: &str) -> Option<String> {
        fleet.locate("lb-1", &Address::parse(upstream)).host
    }

    #[test]
    fn an_address_that_several_hosts_have_is_the_gateways_own_or_nobodys() {
        let mut fleet = Fleet::default();
        let mut fold = |kind| fleet.apply(&Record { received_us: 1, kind });
        for host in ["app-1", "app-2"] {
            fold(addressed(host, "172.17.0.1"));
        }
        assert_eq!(found(&fleet, "172.17.0.1:3000"), None);
        let mut fold = |kind| fleet.apply(&Record { received_us: 2, kind });
        fold(addressed("lb-1", "172.17.0.1"));
        assert_eq!(found(&fleet, "172.17.0.1:3000").as_deref(), Some("lb-1"));
    }

    #[test]
    fn an_address_is_found_where_it_is_now() {
        let mut fleet = Fleet::default();
        let mut fold = |kind| fleet.apply(&Record { received_us: 1, kind });
        fold(hello("app-1", "3000"));
        fold(addressed("app-1", "10.0.0.1"));
        fold(addressed("app-2", "10.0.0.2"));
        fold(hello("app-3", "10.0.0.9:3000"));
        assert_eq!(found(&fleet, "10.0.0.1:3000").as_deref(), Some("app-1"));
        assert_eq!(found(&fleet, "10.0.0.9:3000").as_deref(), Some("app-3"), "declared, though no interface has it");
        let mut fold = |kind| fleet.apply(&Record { received_us: 2, kind });
        fold(addressed("app-1", "10.0.0.5"));
        fold(addressed("app-2", "10.0.0.1"));
        fold(hello("app-3", "10.0.0.8:3000"));
        assert_eq!(found(&fleet, "10.0.0.1:3000").as_deref(), Some("app-2"));
        assert_eq!(found(&fleet, "10.0.0.5:3000").as_deref(), Some("app-1"));
        assert_eq!(found(&fleet, "10.0.0.9:3000"), None);
        assert_eq!(found(&fleet, "127.0.0.1:3000"), None, "lb-1 itself is not known");
    }
}
