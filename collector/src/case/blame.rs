//! Which upstream a record speaks of, where it gives a name instead of an address or nothing at all: the gateway's own
//! configuration tells.

use crate::fleet::Fleet;
use crate::model::{Attempt, Failure, GatewayRef, GatewayState, Pool, canonical};

/// The address of an upstream as a record of a time names it.
pub fn resolve(fleet: &Fleet, gateway: &GatewayRef, pool: &str, named: &str, at_us: i64) -> String {
    match state(fleet, gateway) {
        Some(known) => known.address_of(pool, named, at_us),
        None => canonical(named),
    }
}

/// The upstream of an attempt of a request that began at a time, where its record names one or there is only one.
pub fn of_attempt(
    fleet: &Fleet,
    gateway: &GatewayRef,
    failure: &Failure,
    attempt: &Attempt,
    began_us: i64,
) -> Option<String> {
    match attempt.upstream.as_str() {
        "" => only_member(fleet, gateway, &failure.pool, began_us),
        named => Some(resolve(fleet, gateway, &failure.pool, named, began_us)),
    }
}

/// The members' addresses of the pool that a record of a time names, or of the only pool.
pub fn members(fleet: &Fleet, gateway: &GatewayRef, pool: &str, named: &str, at_us: i64) -> Vec<String> {
    let pools = pools(fleet, gateway, at_us);
    let found = pools.iter().find(|known| known.name == named || known.name == pool);
    let chosen = found.or(if pools.len() == 1 { pools.first() } else { None });
    chosen.map(|pool| pool.members.iter().map(|member| canonical(&member.address)).collect()).unwrap_or_default()
}

/// Every member that a gateway had at a time.
pub fn all_members(fleet: &Fleet, gateway: &GatewayRef, at_us: i64) -> Vec<String> {
    let members = pools(fleet, gateway, at_us).iter().flat_map(|pool| &pool.members);
    members.map(|member| canonical(&member.address)).collect()
}

/// The one upstream that a gateway or the named pool had at a time; None where there were several.
pub fn only_member(fleet: &Fleet, gateway: &GatewayRef, pool: &str, at_us: i64) -> Option<String> {
    let mut members = members(fleet, gateway, pool, pool, at_us);
    members.dedup();
    if members.len() == 1 { members.pop() } else { None }
}

fn state<'a>(fleet: &'a Fleet, gateway: &GatewayRef) -> Option<&'a GatewayState> {
    fleet.host(&gateway.host).and_then(|entry| entry.state.gateways.get(&gateway.name))
}

fn pools<'a>(fleet: &'a Fleet, gateway: &GatewayRef, at_us: i64) -> &'a [Pool] {
    state(fleet, gateway).and_then(|known| known.config_at(at_us)).map_or(&[], |config| &config.pools)
}
