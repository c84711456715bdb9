//! Causes link_down and no_route: the way between the two hosts ends at one of them.

use super::host_down::{host_answers, host_down};
use super::network::NO_WAY;
use super::scene::{SAME_MOMENT_US, Scene};
use super::{LIKELY, POSSIBLE, PROVEN, Support};
use crate::fleet::HostEntry;
use crate::model::{Address, Cause, EventKind, Evidence, InterfaceSample, ProbeResult};

pub(super) fn link_down(scene: &Scene) -> Option<Support> {
    if scene.by_application() || scene.share(NO_WAY) < 0.3 {
        return None;
    }
    let Some((at_us, evidence, known_way)) = link_on_the_way(scene) else {
        // A host that nobody hears may be cut off as well as dead: its agent tells which when it is back.
        let silent = host_down(scene)?;
        return Some(Support::new(Cause::LinkDown, POSSIBLE, silent.began_us));
    };
    let weight = if known_way { PROVEN * 1.5 } else { POSSIBLE };
    Some(Support::new(Cause::LinkDown, weight, at_us).with([evidence]))
}

/// An interface on the way between the two hosts that was down when requests failed.
pub(super) fn link_lost(scene: &Scene) -> Option<(i64, Evidence)> {
    link_on_the_way(scene).filter(|(.., known_way)| *known_way).map(|(at_us, evidence, _)| (at_us, evidence))
}

/// An interface of the two hosts that was down when requests failed, and whether it is known to lie on the way between them:
/// hosts have interfaces for other things, and those of containers come and go.
fn link_on_the_way(scene: &Scene) -> Option<(i64, Evidence, bool)> {
    let own = scene.host.map(|host| (host, scene.host_name(), holder(scene, host), false));
    let route = scene.probes.iter().find_map(|(_, probe)| route_interface(probe));
    let gateway = scene.gateway_host().map(|host| (host, scene.case.key.gateway.host.as_str(), route, true));
    own.into_iter().chain(gateway).find_map(|(entry, name, on_the_way, at_the_gateway)| {
        let (at_us, says) = lost(scene, entry, on_the_way.as_deref())?;
        // A route that went with it shows as much.
        let known_way = on_the_way.is_some() || (at_the_gateway && no_route_found(scene));
        Some((at_us, Evidence { at_us, host: name.to_owned(), source: "link", says }, known_way))
    })
}

/// The interface that holds the upstream's address on its own host.
fn holder(scene: &Scene, host: &HostEntry) -> Option<String> {
    let Address::Ip(wanted) = &scene.address else { return None };
    let holds =
        |interface: &&InterfaceSample| interface.addresses.iter().any(|address| address.parse() == Ok(wanted.ip()));
    let samples = host.history.host_samples(i64::MIN, i64::MAX).rev();
    samples.flat_map(|sample| sample.interfaces.iter().find(holds)).next().map(|interface| interface.name.clone())
}

fn route_interface(probe: &ProbeResult) -> Option<String> {
    let route = probe.route.as_ref().filter(|route| route.found && !route.interface.is_empty())?;
    Some(route.interface.clone())
}

/// An interface of a host that went down before the failures and did not come back before them; where the one on the way is
/// known, that one.
fn lost(scene: &Scene, entry: &HostEntry, on_the_way: Option<&str>) -> Option<(i64, String)> {
    let first_us = scene.failures.first_us;
    let mut lost: Option<(i64, &str, &str)> = None;
    for event in entry.history.lives(i64::MIN, scene.failures.last_us) {
        let EventKind::LinkChanged(link) = &event.kind else { continue };
        if on_the_way.is_some_and(|interface| interface != link.interface) {
            continue;
        }
        match (link.up, lost) {
            (false, None) if event.at_us <= first_us + SAME_MOMENT_US => {
                lost = Some((event.at_us, &link.interface, &link.what));
            }
            (true, Some((_, interface, _)))
                if link.interface == interface && event.at_us < first_us - SAME_MOMENT_US =>
            {
                lost = None;
            }
            _ => {}
        }
    }
    let (at_us, interface, what) = lost?;
    let how = if what == "admin" { "was taken down" } else { "lost its carrier" };
    Some((at_us, format!("interface {interface} {how}")))
}

/// Whether a probe found no route at all.
pub(super) fn no_route_found(scene: &Scene) -> bool {
    scene.probes.iter().any(|(_, probe)| probe.route.as_ref().is_some_and(|route| !route.found))
}

pub(super) fn no_route(scene: &Scene) -> Option<Support> {
    if scene.by_application() || scene.share(NO_WAY) < 0.3 {
        return None;
    }
    let (weight, evidence) = route_missing(scene).or_else(|| told_unreachable(scene)).or_else(|| no_way_back(scene))?;
    Some(Support::new(Cause::NoRoute, weight, scene.failures.began_us).with([evidence]))
}

fn route_missing(scene: &Scene) -> Option<(f64, Evidence)> {
    let (at_us, route) = scene.probes.iter().find_map(|(at_us, probe)| {
        let route = probe.route.as_ref().filter(|route| !route.found)?;
        Some((*at_us, route))
    })?;
    let says = format!("the kernel here has no route to {} ({})", scene.upstream(), route.error);
    Some((PROVEN, scene.from_gateway(at_us, "probe", says)))
}

/// The gateway's own word, where it gives the error: ENETUNREACH comes from its own kernel's table or from a router.
fn told_unreachable(scene: &Scene) -> Option<(f64, Evidence)> {
    let says_so = |reason: &str| {
        let reason = reason.to_ascii_lowercase();
        reason.contains("(101:") || reason.contains("(101)") || reason.contains("network is unreachable")
    };
    let note = scene.failures.notes.iter().find(|note| says_so(&note.reason))?;
    let says = format!("the gateway was told ENETUNREACH: {}", note.reason);
    let routes = || scene.probes.iter().filter_map(|(_, probe)| probe.route.as_ref());
    // With a route of its own it was a rule or a router on the way that said so.
    let weight = if routes().any(|route| route.found) { POSSIBLE } else { LIKELY / 2.0 };
    Some((weight, scene.from_gateway(note.at_us, "gateway_log", says)))
}

/// The instance's host has lost its default route: its answers find no way back.
fn no_way_back(scene: &Scene) -> Option<(f64, Evidence)> {
    let history = &scene.host?.history;
    let failed = scene.failures.began_us - 30_000_000..=scene.failures.last_us + 15_000_000;
    let lacks = history.host_samples(*failed.start(), *failed.end()).find(|one| one.default_route == Some(false))?;
    let had = history.host_samples(i64::MIN, lacks.at_us).any(|sample| sample.default_route == Some(true));
    let unreached = !scene.probes.is_empty() && !scene.probes.iter().any(|(_, probe)| host_answers(probe));
    let says = format!("{} has no default route any more: its answers find no way back", scene.host_name());
    (had && unreached).then(|| (LIKELY * 2.0, scene.from_host(lacks.at_us, "route", says)))
}
