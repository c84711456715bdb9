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
        let mut best: Option<(Option<Claim>, &str, Option<String>)> = None;
        for (name, entry) in &self.hosts {
            let candidate = if local { name == gateway_host } else { entry.has_address(upstream) };
            let claim = entry.claim(upstream);
            let declared = !local && matches!(&claim, Some((Claim::Declared, _)));
            if !candidate && !declared {
                continue;
            }
            let (strength, service) = claim.map_or((None, None), |(claim, service)| (Some(claim), Some(service)));
            if best.as_ref().is_none_or(|(other, ..)| strength > *other) {
                best = Some((strength, name, service));
            }
        }
        best.map_or_else(Place::default, |(_, host, service)| Place { host: Some(host.to_owned()), service })
    }
}

impl HostEntry {
    /// Whether an interface of the host has the upstream's address.
    fn has_address(&self, upstream: &Address) -> bool {
        let Some(ip) = upstream.ip() else { return false };
        let interfaces = self.state.sample.iter().flat_map(|sample| &sample.interfaces);
        interfaces.flat_map(|interface| &interface.addresses).any(|address| address.parse() == Ok(ip))
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
