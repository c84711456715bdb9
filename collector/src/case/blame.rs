//! Which upstream a record speaks of, where it gives a name instead of an address or nothing at all: the gateway's own
//! configuration tells.

use crate::fleet::Fleet;
use crate::model::{Attempt, Failure, GatewayRef, GatewayState, Pool, canonical};

/// The address of an upstream as a record names it.
pub fn resolve(fleet: &Fleet, gateway: &GatewayRef, pool: &str, named: &str) -> String {
    match state(fleet, gateway) {
        Some(known) => known.address_of(pool, named),
        None => canonical(named),
    }
}

/// The upstream of an attempt, where its record names one or there is only one.
pub fn of_attempt(fleet: &Fleet, gateway: &GatewayRef, failure: &Failure, attempt: &Attempt) -> Option<String> {
    match attempt.upstream.as_str() {
        "" => only_member(fleet, gateway, &failure.pool),
        named => Some(resolve(fleet, gateway, &failure.pool, named)),
    }
}

/// The members' addresses of the pool that a record names, or of the only pool.
pub fn members(fleet: &Fleet, gateway: &GatewayRef, pool: &str, named: &str) -> Vec<String> {
    let pools = pools(fleet, gateway);
    let found = pools.iter().find(|known| known.name == named || known.name == pool);
    let chosen = found.or(if pools.len() == 1 { pools.first() } else { None });
    chosen.map(|pool| pool.members.iter().map(|member| canonical(&member.address)).collect()).unwrap_or_default()
}

/// Every member of a gateway.
pub fn all_members(fleet: &Fleet, gateway: &GatewayRef) -> Vec<String> {
    let members = pools(fleet, gateway).iter().flat_map(|pool| &pool.members);
    members.map(|member| canonical(&member.address)).collect()
}

/// The one upstream that a gateway or the named pool has; None where there are several.
pub fn only_member(fleet: &Fleet, gateway: &GatewayRef, pool: &str) -> Option<String> {
    let mut members = members(fleet, gateway, pool, pool);
    members.dedup();
    if members.len() == 1 { members.pop() } else { None }
}

fn state<'a>(fleet: &'a Fleet, gateway: &GatewayRef) -> Option<&'a GatewayState> {
    fleet.host(&gateway.host).and_then(|entry| entry.state.gateways.get(&gateway.name))
}

fn pools<'a>(fleet: &'a Fleet, gateway: &GatewayRef) -> &'a [Pool] {
    state(fleet, gateway).and_then(|known| known.config.as_deref()).map_or(&[], |config| &config.pools)
}
