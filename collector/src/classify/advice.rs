//! What to do: the setting to change, in the words of the user's own gateway, with a value from what was measured.

mod gateway;
mod health;
mod instance;
mod network;

use super::Support;
use super::outage::Outage;
use super::scene::Scene;
use crate::model::Cause;

/// Advice for a verdict, most useful first.
pub fn advise(scene: &Scene, cause: Cause, supports: &[Support]) -> Vec<String> {
    if cause == Cause::Unknown {
        return unknown(scene, supports);
    }
    let mut advice = particular(scene, cause);
    if advice.is_empty() {
        advice.extend(general(scene, cause));
    }
    advice
}

/// What was measured and configured makes sharper than the catalogue's fix.
#[rustfmt::skip]
fn particular(scene: &Scene, cause: Cause) -> Vec<String> {
    match cause {
        Cause::OomKilled => instance::out_of_memory(scene),
        Cause::MemoryPressure => instance::memory_pressure(scene),
        Cause::ProcessHung => instance::hung(scene),
        Cause::PortNotListening => instance::not_listening(scene),
        Cause::WorkerKilled => instance::worker_killed(scene),
        Cause::CpuThrottled => instance::throttled(scene),
        Cause::CpuSaturated => instance::saturated(scene),
        Cause::AcceptQueueOverflow => instance::accept_queue(scene),
        Cause::WorkerPoolExhausted => instance::worker_pool(scene),
        Cause::FdExhausted => instance::descriptors(scene),
        Cause::DiskFull => instance::disk_full(scene),
        Cause::WarmingUp => instance::warming_up(scene),
        Cause::Deploying => instance::deploying(scene),
        Cause::HealthCheckRestart => health::liveness(scene),
        Cause::HealthEndpointSlow | Cause::HealthCheckTooStrict => health::timeout(scene),
        Cause::HealthCheckWrongTarget => health::target(scene),
        Cause::HealthEndpointFailing => health::failing(scene),
        Cause::FirewallReject | Cause::FirewallDrop => network::firewall(scene, cause),
        Cause::ConntrackFull => network::conntrack(scene),
        Cause::NoRoute => network::route(scene),
        Cause::PacketLoss => network::loss(scene),
        Cause::DnsFailure => network::name(scene),
        Cause::EphemeralPortsExhausted => network::local_ports(scene),
        Cause::KeepaliveRace => gateway::keepalive(scene),
        Cause::HeaderTooBig => gateway::header_too_big(scene),
        Cause::GatewayTimeout => gateway::timeout(scene),
        Cause::ClientClosed => gateway::client_closed(scene),
        Cause::TlsHandshakeFailed => gateway::tls(scene),
        Cause::WrongProtocol => gateway::protocol(scene),
        Cause::WrongUpstream => gateway::wrong_upstream(scene),
        Cause::GatewayResource => gateway::resource(scene),
        Cause::AppNotLeader => gateway::leader(scene),
        Cause::InnerGateway => gateway::inner(scene),
        _ => Vec::new(),
    }
}

fn kind<'a>(scene: &'a Scene) -> &'a str {
    &scene.case.key.gateway.kind
}

/// Where the upstream's pool stands in the gateway's configuration, in brackets.
fn source(scene: &Scene) -> String {
    let source = scene.pool.map(|pool| pool.source.as_str()).filter(|source| !source.is_empty());
    source.map_or_else(String::new, |source| format!(" ({source})"))
}

/// The catalogue's fix, where nothing was measured that would make it sharper.
fn general(scene: &Scene, cause: Cause) -> Vec<String> {
    let (service, place) = (scene.service_name(), host_or_upstream(scene));
    let is_back = Outage::of(scene).is_some_and(|outage| outage.restart.is_some());
    if cause == Cause::ProcessStopped && is_back {
        return vec![format!(
            "{service} on {place}: where it is stopped on purpose, take it out of the gateway first, and put it back once it \
             has started"
        )];
    }
    let mut advice = vec![format!("{service} on {place}: {}", cause.entry().fix)];
    let ended =
        matches!(cause, Cause::ProcessCrashed | Cause::ProcessKilled | Cause::ProcessStopped | Cause::NeverStarted);
    if ended && !is_back {
        advice.push(supervise(scene));
    }
    advice
}

/// How what ended comes back by itself.
fn supervise(scene: &Scene) -> String {
    let unit = scene.before().map(|sample| sample.unit.as_str()).filter(|unit| !unit.is_empty());
    match unit {
        Some(unit) => {
            format!("see `systemctl status {unit}` and its log; let it come back by itself with Restart=on-failure")
        }
        None => format!(
            "let a supervisor start {} again when it ends (a systemd unit with Restart=on-failure)",
            scene.service_name()
        ),
    }
}

fn host_or_upstream<'a>(scene: &'a Scene) -> &'a str {
    if scene.host_name().is_empty() { scene.upstream() } else { scene.host_name() }
}

fn unknown(scene: &Scene, supports: &[Support]) -> Vec<String> {
    let mut advice = Vec::new();
    if scene.place.host.is_none() && scene.case.key.upstream.is_some() {
        advice.push(format!(
            "install the agent on the host of {}: it would tell whether the process lives and listens",
            scene.upstream()
        ));
    }
    if scene.host_reports().no() {
        advice.push(format!(
            "see why the agent on {0} is silent: `systemctl status why502-agent` there; or is {0} itself away?",
            scene.host_name()
        ));
    }
    if let Some(config) = scene.config.filter(|config| !config.missing_log.is_empty()) {
        advice.push(config.missing_log.clone());
    }
    if let Some(first) = supports.first() {
        advice.push(format!("look first for {}: {}", first.cause.id(), first.cause.entry().proof));
    }
    if advice.is_empty() {
        advice.push("nothing that was watched tells why; see what is missing".to_owned());
    }
    advice
}
