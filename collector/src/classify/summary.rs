//! What every verdict says besides its cause: the gateway's own record, what was checked, what could not be seen.

use super::scene::{Scene, Tri};
use crate::model::{Cause, Evidence, Family, SamplerState};

/// The gateway's record of the failures as evidence.
pub fn gateway_said(scene: &Scene) -> Evidence {
    let failures = scene.failures;
    let mut signals: Vec<_> = failures.signals.iter().collect();
    signals.sort_by(|one, other| other.1.cmp(one.1));
    let counted: Vec<String> =
        signals.iter().take(3).map(|(signal, count)| format!("{count} x {}", signal.id())).collect();
    let first = failures.notes.front();
    let words = first.map_or("", |note| if note.reason.is_empty() { note.line.as_str() } else { note.reason.as_str() });
    let says = if words.is_empty() {
        format!("{} towards {}", counted.join(", "), scene.upstream())
    } else {
        format!("{} towards {}, the first: {words}", counted.join(", "), scene.upstream())
    };
    scene.from_gateway(failures.first_us, "gateway_log", says)
}

/// What was looked at and found, for a verdict that names no cause.
pub fn checks(scene: &Scene) -> Vec<Evidence> {
    let mut found = Vec::new();
    let at_us = scene.failures.first_us;
    let mut add = |says: String| found.push(scene.from_host(at_us, "checks", says));
    match (scene.host_reports(), scene.process_alive()) {
        (Tri::Unknown, _) => {}
        (Tri::No, _) => add(format!("its host has been silent for {} s", scene.silent_for_us() / 1_000_000)),
        (_, Tri::Yes) => add("its process lived all the while".to_owned()),
        (_, Tri::No) => add("no process of it ran".to_owned()),
        _ => {}
    }
    match scene.listening() {
        Tri::Yes => add(format!("it listened on {} all the while", scene.upstream())),
        Tri::No => add(format!("it did not listen on {}", scene.upstream())),
        Tri::Unknown => {}
    }
    if scene.local_connect().yes() {
        add("its own host could connect to it".to_owned());
    }
    found
}

/// What could not be seen and would have told more.
pub fn missing(scene: &Scene, cause: Cause) -> Vec<String> {
    let mut missing = Vec::new();
    let unknown = cause == Cause::Unknown;
    match (&scene.place.host, &scene.place.service) {
        (None, _) if scene.case.key.upstream.is_none() => {
            missing.push("which upstream failed: the gateway's record names none".to_owned());
        }
        (None, _) if cause != Cause::WrongUpstream => {
            missing.push(format!("no agent reports from the host of {}", scene.upstream()));
        }
        (Some(host), None) if unknown => {
            missing.push(format!("no service on {host} is known to listen on {}", scene.upstream()));
        }
        _ => {}
    }
    if scene.host_reports().no() && cause != Cause::HostDown {
        missing.push(format!(
            "the agent on {} has been silent for {} s",
            scene.host_name(),
            scene.silent_for_us() / 1_000_000
        ));
    }
    if let Some(host) = scene.host {
        let blind = host
            .state
            .samplers
            .values()
            .filter(|status| matches!(status.state, SamplerState::Unavailable | SamplerState::Failed));
        let bears = |name: &str| match cause.family() {
            Family::Unknown => true,
            Family::InstanceDown | Family::Restarting => matches!(name, "exit" | "oom" | "kernel_log"),
            _ => false,
        };
        missing.extend(
            blind
                .filter(|status| bears(&status.name))
                .map(|status| format!("{} on {}: {}", status.name, host.state.name, status.why)),
        );
    }
    if unknown {
        missing.extend(gateway_gaps(scene));
    }
    missing
}

/// What the gateway's logs leave out.
fn gateway_gaps(scene: &Scene) -> Vec<String> {
    let mut gaps = Vec::new();
    match scene.config {
        Some(config) if !config.missing_log.is_empty() => gaps.push(config.missing_log.clone()),
        Some(_) => {}
        None => gaps.push(format!("the configuration of gateway {} was not read", scene.case.key.gateway.name)),
    }
    if scene.probes.is_empty() && scene.case.key.upstream.is_some() {
        gaps.push("no probe from the gateway's host has come back yet".to_owned());
    }
    if scene.failures.is_unconfirmed() {
        gaps.push("an access record beside the error log's word".to_owned());
    }
    gaps
}
