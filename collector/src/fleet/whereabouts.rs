//! Which hosts an address may lead to, so that finding an upstream's instance does not look at every host. It follows
//! from the hosts' states alone and names too many rather than too few: whoever asks looks at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Address, HostState};

/// Hosts by address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Whereabouts {
    /// By the addresses of their interfaces.
    interfaces: BTreeMap<IpAddr, BTreeSet<String>>,
    /// By where their agents were told that a service is reached: the ip, none for any, and the port.
    declared: BTreeMap<(Option<IpAddr>, u16), BTreeSet<String>>,
}

impl Whereabouts {
    /// Hosts that an address may lead to from elsewhere, in the order of their names.
    pub fn of(&self, address: &Address) -> BTreeSet<&String> {
        let (Some(ip), Some(port)) = (address.ip(), address.port()) else { return BTreeSet::new() };
        let declared = [Some(ip), None].into_iter().filter_map(|ip| self.declared.get(&(ip, port)));
        self.interfaces.get(&ip).into_iter().chain(declared).flatten().collect()
    }

    /// A host's state has changed.
    pub fn moved(&mut self, name: &str, before: &HostState, now: &HostState) {
        exchange(&mut self.interfaces, name, &ips(before), &ips(now));
        exchange(&mut self.declared, name, &listens(before), &listens(now));
    }
}

fn ips(host: &HostState) -> BTreeSet<IpAddr> {
    let addresses = host.sample.iter().flat_map(|sample| sample.addresses());
    addresses.filter_map(|address| address.parse().ok()).collect()
}

fn listens(host: &HostState) -> BTreeSet<(Option<IpAddr>, u16)> {
    let told = host.services.values().flat_map(|service| &service.listen);
    told.filter_map(|listen| match Address::parse(listen) {
        Address::Ip(address) if address.ip().is_unspecified() => Some((None, address.port())),
        Address::Ip(address) => Some((Some(address.ip()), address.port())),
        // Any local address: the interfaces tell which those are.
        _ => None,
    })
    .collect()
}

fn exchange<K: Ord + Clone>(
    known: &mut BTreeMap<K, BTreeSet<String>>,
    name: &str,
    before: &BTreeSet<K>,
    now: &BTreeSet<K>,
) {
    for gone in before.difference(now) {
        if let Some(hosts) = known.get_mut(gone) {
            hosts.remove(name);
            if hosts.is_empty() {
                known.remove(gone);
            }
        }
    }
    for new in now.difference(before) {
        known.entry(new.clone()).or_default().insert(name.to_owned());
    }
}
