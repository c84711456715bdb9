//! Whom a target means: the instances, the ways to them through gateways, and the hosts of both. Bounded, so that the
//! name of a large service costs no more than a small one; what is left out is counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::gateways::{Addresses, upstreams};
use super::near::near;
use super::{View, why};
use crate::model::Incident;

/// Instances that one answer tells of.
const INSTANCES_MAX: usize = 8;
/// Ways to upstreams that one answer tells of.
const UPSTREAMS_MAX: usize = 16;

/// What is told of an incident begins so long before it, microseconds.
const BEFORE_US: i64 = 2 * 60 * 1_000_000;

/// Whom a target means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Services with their hosts.
    pub instances: Vec<(String, String)>,
    /// Gateways that have an upstream.
    pub upstreams: Vec<Way>,
    /// The hosts of all these, and the target itself where it is one.
    pub hosts: Vec<String>,
    /// The incident that was named.
    pub incident: Option<Arc<Incident>>,
    /// Instances and ways beyond the bounds.
    pub left_out: usize,
    /// Where it means nobody: whose names are like it.
    pub near: Vec<String>,
}

/// The ways from a host that runs gateways; what a gateway says of no upstream in particular is one of them.
fn ways_from(view: &View, host: &str) -> Vec<Way> {
    let Some(host) = view.hosts.iter().find(|known| known.name == host) else { return Vec::new() };
    let addresses = Addresses::of(view);
    let ways = host.gateways.iter().flat_map(|(name, gateway)| {
        let all = upstreams(host, name, gateway, &addresses).map(|one| one.address.to_owned()).chain([String::new()]);
        all.map(|upstream| Way { host: host.name.clone(), gateway: name.clone(), upstream }).collect::<Vec<_>>()
    });
    ways.collect()
}

/// A way to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The gateway's host.
    pub host: String,
    /// The gateway.
    pub gateway: String,
    /// The address.
    pub upstream: String,
}

impl Scope {
    /// Whom `target` means now: an upstream address, a service, a host, a gateway, or an incident's id.
    pub fn of(view: &View, target: &str) -> Self {
        let incident = view.incidents.iter().find(|one| one.id == target).cloned();
        let (mut instances, mut upstreams, mut hosts) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        if let Some(incident) = &incident {
            let (gateway, upstream) = (&incident.gateway, incident.upstream.clone().unwrap_or_default());
            hosts.extend([Some(gateway.host.clone()), incident.host.clone()].into_iter().flatten());
            upstreams.insert(Way { host: gateway.host.clone(), gateway: gateway.name.clone(), upstream });
            instances.extend(incident.service.clone().zip(incident.host.clone()));
        }
        let named = incident.as_ref().map_or(Some(target), |incident| incident.upstream.as_deref());
        if let Some(named) = named {
            let known = why::now(view, named);
            hosts.extend(known.hosts.into_iter().map(|one| one.host));
            instances.extend(known.instances.into_iter().map(|one| (one.service, one.host)));
            for one in known.upstreams {
                instances.extend(one.service.zip(one.host));
                upstreams.insert(Way { host: one.gateway_host, gateway: one.gateway, upstream: one.upstream });
            }
            upstreams.extend(ways_from(view, named));
        }
        let left_out = instances.len().saturating_sub(INSTANCES_MAX) + upstreams.len().saturating_sub(UPSTREAMS_MAX);
        let instances: Vec<_> = instances.into_iter().take(INSTANCES_MAX).collect();
        let upstreams: Vec<_> = upstreams.into_iter().take(UPSTREAMS_MAX).collect();
        hosts.extend(instances.iter().map(|(_, host)| host.clone()));
        hosts.extend(upstreams.iter().map(|way| way.host.clone()));
        let near = if hosts.is_empty() { near(view, target) } else { Vec::new() };
        Self { instances, upstreams, hosts: hosts.into_iter().collect(), incident, left_out, near }
    }

    /// From when to when an answer tells of it: back from `at_us`, or from now, so far as asked for; of an incident, where
    /// nothing is asked for, all of it and a little before.
    pub fn stretch(&self, view: &View, at_us: Option<i64>, since_us: Option<i64>, default_us: i64) -> (i64, i64) {
        let incident = self.incident.as_deref();
        let to_us = at_us.or(incident.and_then(|one| one.resolved_us)).unwrap_or(view.at_us);
        let from_us = to_us.saturating_sub(since_us.unwrap_or(default_us));
        match incident.filter(|_| since_us.is_none() && at_us.is_none()) {
            Some(incident) => (from_us.min(incident.first_seen_us.saturating_sub(BEFORE_US)), to_us),
            None => (from_us, to_us),
        }
    }

    /// Whether it means nobody.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether it tells of a service on a host.
    pub fn has_instance(&self, service: &str, host: &str) -> bool {
        self.instances.iter().any(|(own, place)| own == service && place == host)
    }

    /// Whether it tells of a gateway on a host, and of its way to `upstream`; an empty one is the gateway itself.
    pub fn has_way(&self, host: &str, gateway: &str, upstream: &str) -> bool {
        let mut ways = self.upstreams.iter().filter(|way| way.host == host && way.gateway == gateway);
        if upstream.is_empty() { ways.next().is_some() } else { ways.any(|way| way.upstream == upstream) }
    }
}
