//! Which upstream a record speaks of, where it gives a name instead of an address or nothing at all: the gateway's own
//! configuration tells.

use super::{CaseKey, Cases, Made, Moment};
use crate::fleet::Fleet;
use crate::model::{Attempt, Failure, GatewayRef, GatewayState, Pool, canonical};

/// A gateway goes by a changed configuration only once it was reloaded; after so long it is taken to be, microseconds.
const RELOAD_US: i64 = 10_000_000;
/// What fails within so long of each other fails at the same time, microseconds.
const AT_THE_TIME_US: i64 = 2_000_000;

impl Cases {
    /// The upstream that a failed attempt was made at. Where the record names none, as of those before the last in Envoy's: the
    /// only one there is, or the only one that is known to fail.
    ///
    /// What a name stands for in a configuration that was just changed the gateway goes by only once it was reloaded: where the
    /// address before fails and the new one does not, it was that.
    pub(super) fn tried(
        &self,
        fleet: &Fleet,
        gateway: &GatewayRef,
        moment: Moment,
        failure: &Failure,
        attempt: &Attempt,
    ) -> Option<String> {
        let known_to_fail = |upstream: &Option<String>| upstream.as_ref().is_some_and(|one| self.fails(gateway, one));
        let at = |at_us| of_attempt(fleet, gateway, failure, attempt, at_us);
        let (before, now) = (at(moment.began_us - RELOAD_US), at(moment.began_us));
        if before != now && known_to_fail(&before) && !known_to_fail(&now) {
            return before;
        }
        now.or_else(|| {
            let members = members(fleet, gateway, &failure.pool, &failure.pool, moment.began_us);
            let mut failing = members.into_iter().filter(|member| self.fails(gateway, member));
            failing.next().filter(|_| failing.next().is_none())
        })
    }

    /// Where a case names no upstream: those of the same gateway that are known to fail and did not begin to only afterwards.
    pub fn failing_beside(&self, key: &CaseKey) -> Vec<String> {
        let Some(case) = self.open.get(key).filter(|case| case.key.upstream.is_none()) else { return Vec::new() };
        let until_us = case.current.last_us + AT_THE_TIME_US;
        let first = CaseKey { gateway: key.gateway.clone(), upstream: None, made: Made::ByGateway };
        let of_gateway = self.open.range(first..).take_while(|(other, _)| other.gateway == key.gateway);
        let then = of_gateway.filter(|(other, case)| other.made == Made::ByGateway && case.total.first_us <= until_us);
        then.filter_map(|(other, _)| other.upstream.clone()).collect()
    }

    /// Whether a member is known to fail.
    pub(super) fn fails(&self, gateway: &GatewayRef, member: &str) -> bool {
        let (gateway, upstream) = (gateway.clone(), Some(member.to_owned()));
        self.open.contains_key(&CaseKey { gateway, upstream, made: Made::ByGateway })
    }
}

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
