//! What the kernels of both hosts count of ICMP's "destination unreachable" (icmp(7), OutDestUnreachs and InDestUnreachs in
//! /proc/net/snmp): by such a message a connect is rejected.

use super::scene::Scene;
use crate::fleet::HostEntry;
use crate::model::{Evidence, Signal};

/// So many messages are no chance where it is not known how many come at other times.
const SURELY_NEW: u64 = 3;

/// "Destination unreachable" that the instance's host has sent to others, and the gateway's host has got from others, since
/// requests failed and not before: rejections, whose rate the kernel limits so much that a few connects may meet none of them
/// (icmp_ratelimit, icmp(7)).
pub(super) fn turned_back(scene: &Scene) -> Option<Evidence> {
    // What a host tells itself counts as sent and as received: the difference is what went to others, or came from them.
    let surplus = |entry: &HostEntry, from_us, to_us, sent: bool| {
        let counted = counted(entry, from_us, to_us);
        counted.map(|(out, back)| if sent { out.saturating_sub(back) } else { back.saturating_sub(out) })
    };
    let began_us = scene.failures.began_us;
    let rose = |entry: &HostEntry, sent| {
        // Of a host that is known since a moment ago nobody knows how many are usual there.
        let usual = surplus(entry, began_us - 60_000_000, began_us, sent);
        let least = if usual.is_some() { 1 } else { SURELY_NEW };
        surplus(entry, began_us, until_us(scene, entry), sent).filter(|now| *now >= least && usual.unwrap_or(0) == 0)
    };
    let sent = rose(scene.host?, true)?;
    rose(scene.gateway_host()?, false)?;
    let says = format!("{} has sent \"destination unreachable\" {sent} times since, and not before", scene.host_name());
    Some(scene.from_host(began_us, "kernel", says))
}

/// "Destination unreachable" as a host counted it from one time to another: sent, received. None: it did not tell.
fn counted(entry: &HostEntry, from_us: i64, to_us: i64) -> Option<(u64, u64)> {
    let samples = entry.history.host_samples(from_us, to_us).filter_map(|sample| sample.net.as_ref());
    let counts = samples.map(|net| (net.unreachables_out, net.unreachables_in));
    counts.reduce(|all, one| (all.0.saturating_add(one.0), all.1.saturating_add(one.1)))
}

/// Until when readings tell of what happened while requests failed: a reading tells of the interval before it.
fn until_us(scene: &Scene, entry: &HostEntry) -> i64 {
    let interval_us = i64::try_from(entry.state.interval_us).unwrap_or(0);
    scene.failures.last_us + interval_us + 5_000_000
}

/// Whether the gateway's host got as many such messages as connects were unreachable, and all of them from its own kernel, as
/// where nobody answers for an address: then nothing on the way rejected them.
pub(super) fn all_by_itself(scene: &Scene) -> bool {
    let counted = scene.gateway_host().and_then(|entry| {
        let began_us = scene.failures.began_us;
        counted(entry, began_us, until_us(scene, entry))
    });
    let unreachable = scene.failures.signals.get(&Signal::ConnectUnreachable).copied().unwrap_or(0);
    counted.is_some_and(|(sent, received)| unreachable > 0 && received >= unreachable && sent >= received)
}
