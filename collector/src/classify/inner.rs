//! The cause inner_gateway: the status was made by another gateway behind this one.

use super::application::{LOG_REACH_US, status_share};
use super::scene::Scene;
use super::{LIKELY, POSSIBLE, PROVEN, Support};
use crate::fleet::FailedRequest;
use crate::model::{Cause, Evidence, Origin, Signal};

/// Programs that are gateways, by their processes' names.
const PROGRAMS: &[&str] = &[
    "nginx",
    "openresty",
    "haproxy",
    "envoy",
    "caddy",
    "traefik",
    "varnishd",
    "cache-main",
    "linkerd2-proxy",
    "squid",
];

pub(super) fn inner_gateway(scene: &Scene) -> Option<Support> {
    if !scene.by_application() {
        return cut(scene);
    }
    if status_share(scene, |status| matches!(status, 502..=504 | 520..=526)) < 0.5 {
        return None;
    }
    let (weight, evidence) = joined(scene)
        .or_else(|| told_by_record(scene))
        .or_else(|| failing_beside(scene))
        .or_else(|| gateway_program(scene))?;
    let support = Support::new(Cause::InnerGateway, weight, scene.failures.first_us).with([evidence]);
    if weight >= PROVEN {
        return Some(support);
    }
    Some(support.lacking("a request id in the records of both gateways, which would join them"))
}

/// What the gateway behind this one cuts when it fails itself: HAProxy closes a kept connection without a word then, so that
/// whoever asked asks again.
fn cut(scene: &Scene) -> Option<Support> {
    let evidence = cuts_as_it_fails(scene)?;
    let support = Support::new(Cause::InnerGateway, PROVEN, scene.failures.first_us).with([evidence]);
    Some(support.lacking("a request id in the records of both gateways, which would join them"))
}

/// Connections are cut by a gateway that fails towards its own upstream at that time.
pub(super) fn cuts_as_it_fails(scene: &Scene) -> Option<Evidence> {
    const CUT: &[Signal] =
        &[Signal::NoResponseHeaders, Signal::ClosedBeforeHeaders, Signal::ResetBeforeHeaders, Signal::BodyTruncated];
    gateway_program(scene).filter(|_| scene.share(CUT) >= 0.5)?;
    failing_beside(scene).map(|(_, evidence)| evidence)
}

/// Whether a gateway answers at the upstream's address: what it answers may be of its own making.
pub(super) fn leads_to_gateway(scene: &Scene) -> bool {
    joined(scene).is_some() || told_by_record(scene).is_some() || gateway_program(scene).is_some()
}

/// Whom to ask about next: the upstream that the inner gateway failed towards, or that gateway.
pub(super) fn to_ask_about(scene: &Scene) -> Option<String> {
    match same_request(scene) {
        Some((_, found)) if !found.upstream.is_empty() => Some(found.upstream.clone()),
        Some((_, found)) => Some(found.gateway.clone()),
        None => scene.place.host.clone(),
    }
}

/// The same request in another gateway's record, which made the status.
fn joined(scene: &Scene) -> Option<(f64, Evidence)> {
    let (host, found) = same_request(scene)?;
    let towards = if found.upstream.is_empty() { String::new() } else { format!(" towards {}", found.upstream) };
    let says = format!(
        "gateway {} on {host} answered the same request {} with {}: {}{towards}",
        found.gateway,
        found.request_id,
        found.status,
        found.signal.id()
    );
    Some((PROVEN * 1.5, Evidence { at_us: found.at_us, host: host.to_owned(), source: "gateway_log", says }))
}

/// One of the newest requests in the record of the gateway that made its status.
fn same_request<'a>(scene: &Scene<'a>) -> Option<(&'a str, &'a FailedRequest)> {
    let ids = scene.failures.notes.iter().rev().map(|note| note.request_id.as_str()).filter(|id| !id.is_empty());
    ids.take(8).find_map(|id| made_elsewhere(scene, id))
}

/// The record of the innermost gateway that made the status of a request.
fn made_elsewhere<'a>(scene: &Scene<'a>, request_id: &str) -> Option<(&'a str, &'a FailedRequest)> {
    let this = &scene.case.key.gateway;
    scene.fleet.hosts().find_map(|(name, entry)| {
        let mut others = entry.history.failed_requests(request_id);
        let made = others.find(|found| (*name != this.host || found.gateway != this.name) && !found.passed_on)?;
        Some((name.as_str(), made))
    })
}

/// The gateway's own record says that another one made it.
fn told_by_record(scene: &Scene) -> Option<(f64, Evidence)> {
    let told = scene.failures.notes.iter().filter(|note| note.origin == Origin::InnerGateway);
    let first = told.clone().next().filter(|_| told.count() * 2 > scene.failures.notes.len())?;
    let says = format!("the record tells that a gateway behind this one made the status: {}", first.line);
    Some((PROVEN, scene.from_gateway(first.at_us, "gateway_log", says)))
}

/// A gateway on the upstream's host failed towards its own upstream at that time.
fn failing_beside(scene: &Scene) -> Option<(f64, Evidence)> {
    let during = scene.failures.began_us - LOG_REACH_US..=scene.failures.last_us + LOG_REACH_US;
    let this = &scene.case.key.gateway;
    let (name, _) = scene.host?.state.gateways.iter().find(|(name, gateway)| {
        let is_this = **name == this.name && scene.host_name() == this.host;
        !is_this && gateway.upstreams.values().any(|totals| during.contains(&totals.last_failed_us))
    })?;
    let weight = if gateway_program(scene).is_some() { PROVEN } else { POSSIBLE };
    let says = format!("gateway {name} on {} failed towards its own upstream at that time", scene.host_name());
    Some((weight, scene.from_host(scene.failures.first_us, "gateway_log", says)))
}

/// What answers at the upstream's address is a gateway by its program.
fn gateway_program(scene: &Scene) -> Option<(f64, Evidence)> {
    let sample = scene.samples.last().copied().or_else(|| scene.before())?;
    let program = sample.processes.iter().find(|process| PROGRAMS.contains(&process.name.as_str()))?;
    let says = format!("what answers at {} is {}, a gateway itself", scene.upstream(), program.name);
    Some((LIKELY * 2.0, scene.from_host(sample.at_us, "process", says)))
}
