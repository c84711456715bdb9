//! Family gateway: the fault lies on the gateway's own side.

use super::scene::{REACH_BACK_US, SAME_MOMENT_US, Scene};
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support};
use crate::fleet::HostEntry;
use crate::model::{Address, Cause, Evidence, ServiceConfig, Signal};

pub(super) const RULES: &[Rule] =
    &[no_live_upstream, wrong_upstream, ephemeral_ports_exhausted, upstream_socket_permission, gateway_resource];

fn no_live_upstream(scene: &Scene) -> Option<Support> {
    let share = scene.failures.share(&[Signal::NoLiveUpstream]);
    if share < 0.9 {
        return None;
    }
    // A health check's word or a host's tells why it was taken out; those rules weigh more. What was met before is the reason
    // itself, also where nobody can tell what was behind it.
    let told = !scene.notices.is_empty() || share < 1.0;
    let weight = match (share < 1.0, told) {
        (true, _) => COMPATIBLE,
        (false, true) => POSSIBLE,
        (false, false) => LIKELY,
    };
    let pool = if scene.case.pool.is_empty() { "the pool" } else { &scene.case.pool };
    let why = if told { "" } else { ", and no earlier record tells why" };
    let says = format!("no member of {pool} was live{why}");
    let at_us = scene.failures.first_us;
    Some(Support::new(Cause::NoLiveUpstream, weight, at_us).with([scene.from_gateway(at_us, "gateway_log", says)]))
}

fn wrong_upstream(scene: &Scene) -> Option<Support> {
    const NOBODY: &[Signal] = &[
        Signal::ConnectRefused,
        Signal::ConnectTimeout,
        Signal::ConnectUnreachable,
        Signal::ConnectFailed,
        Signal::SocketMissing,
        Signal::NoLiveUpstream,
        Signal::UpstreamErrorUnspecified,
    ];
    let named = scene.case.key.upstream.is_some();
    if !named || scene.by_application() || scene.ever_answered() || scene.place.service.is_some() {
        return None;
    }
    if scene.share(NOBODY) < 0.9 {
        return None;
    }
    let from_us = scene.failures.began_us;
    let connected =
        scene.probes.iter().any(|(_, probe)| probe.connects.iter().any(|tried| tried.outcome == "connected"));
    if connected {
        return None;
    }
    let probed = scene.probes.iter().any(|(_, probe)| !probe.connects.is_empty());
    let named_since = named_since(scene);
    let (weight, says) = match scene.host {
        // The host is watched, and nothing on it has ever listened there.
        Some(host) if scene.host_reports().yes() => {
            let there = told_listeners(host);
            let says = format!("nothing on {} has ever listened on {}{there}", scene.host_name(), scene.upstream());
            (weight_of_nothing(scene, host), scene.from_host(from_us, "socket", says))
        }
        Some(_) => return None,
        None => {
            let says =
                format!("no known host has the address {}, and it has never answered this gateway", scene.upstream());
            let unknown_host =
                Evidence { at_us: from_us, host: scene.case.key.gateway.host.clone(), source: "collector", says };
            // An instance that is down where no agent looks is as likely, but for what was only just written there.
            let weight = match (probed, named_since.is_some()) {
                (true, true) => POSSIBLE * 1.5,
                (true, false) => POSSIBLE / 2.0,
                (false, _) => COMPATIBLE,
            };
            (weight, unknown_host)
        }
    };
    let named_since = named_since.map(|at_us| {
        let says = format!("its configuration names {} only since then", scene.upstream());
        scene.from_gateway(at_us, "gateway_config", says)
    });
    let tried = scene.tries().evidence(scene);
    let source = scene.pool.map(|pool| {
        let says = format!("{} is configured at {}", scene.upstream(), pool.source);
        scene.from_gateway(from_us, "gateway_config", says)
    });
    let mut support = Support::new(Cause::WrongUpstream, weight, from_us).with([says]).with(named_since);
    support = support.with(tried).with(source);
    if scene.host.is_none() {
        support = support.lacking(format!("an agent on the host of {}", scene.upstream()));
    }
    Some(support)
}

/// When the gateway's configuration came to name the upstream, where that was shortly before it failed for the first time.
fn named_since(scene: &Scene) -> Option<i64> {
    let state = scene.gateway?.state.gateways.get(&scene.case.key.gateway.name)?;
    let (now, before) = (state.config.as_ref()?, state.config_before.as_ref()?);
    let mut members = before.pools.iter().flat_map(|pool| &pool.members).peekable();
    members.peek()?;
    let named_before = members.any(|member| Address::parse(&member.address) == scene.address);
    let lately = scene.failures.first_us - REACH_BACK_US..=scene.failures.first_us + SAME_MOMENT_US;
    (!named_before && scene.member.is_some() && lately.contains(&now.at_us)).then_some(now.at_us)
}

/// What listens on a host, for a sentence.
fn told_listeners(host: &HostEntry) -> String {
    let there = host.state.instances.iter().filter_map(|(name, instance)| {
        let sample = instance.sample.as_ref().filter(|sample| !sample.listeners.is_empty())?;
        let addresses: Vec<&str> = sample.listeners.iter().map(|listener| listener.address.as_str()).collect();
        Some(format!("{name} on {}", addresses.join(", ")))
    });
    let there: Vec<String> = there.take(5).collect();
    if there.is_empty() { String::new() } else { format!("; there is {}", there.join("; ")) }
}

/// How much it says that a watched host has nothing at the address.
fn weight_of_nothing(scene: &Scene, host: &HostEntry) -> f64 {
    let services = || host.state.services.values();
    if dead_since_before(scene, host) {
        return POSSIBLE * 1.5;
    }
    // An agent that finds services by itself sees every listener; one that was told of some sees those.
    if services().all(|service| !service.declared) {
        return PROVEN;
    }
    let runs = |name: &str| {
        let sample = host.state.instances.get(name).and_then(|instance| instance.sample.as_ref());
        sample.is_some_and(|sample| sample.process_count > 0)
    };
    let all_run = services().all(|service| runs(&service.name));
    if all_run && services().any(|service| in_no_pool(scene, service)) {
        return PROVEN;
    }
    if all_run { POSSIBLE * 1.5 } else { POSSIBLE }
}

/// Whether the failures began soon after the agent came, which was long after the boot: what was there may have ended before.
fn dead_since_before(scene: &Scene, host: &HostEntry) -> bool {
    const SOON_US: i64 = 60_000_000;
    let since_us = host.history.agent_started_us();
    scene.failures.first_us - since_us < SOON_US && !host.watched_from_boot()
}

/// Whether a service of the upstream's host stands in no pool of the gateway: then it is likely the one that was meant.
fn in_no_pool(scene: &Scene, service: &ServiceConfig) -> bool {
    let Some(config) = scene.config.filter(|config| config.readable) else { return false };
    let members = || config.pools.iter().flat_map(|pool| &pool.members).map(|member| Address::parse(&member.address));
    let listens = service.listen.iter().map(|listen| Address::parse(listen));
    let same_host = |member: &Address| member.ip().is_none_or(|ip| Some(ip) == scene.address.ip());
    listens.clone().count() > 0
        && !listens
            .into_iter()
            .any(|listen| members().filter(same_host).any(|member| listen.covers(&member) || listen == member))
}

fn ephemeral_ports_exhausted(scene: &Scene) -> Option<Support> {
    let at_us = scene.failures.first_us;
    let told = scene.share(&[Signal::LocalPortExhausted]) >= 0.3
        || scene
            .own_notices
            .iter()
            .any(|(at_us, notice)| notice.signal == Signal::LocalPortExhausted && near(scene, *at_us));
    let tried = scene
        .probes
        .iter()
        .find(|(_, probe)| probe.connects.iter().any(|tried| tried.outcome == Signal::LocalPortExhausted.id()));
    let held = ports_held(scene);
    let failed = scene.share(&[Signal::ConnectFailed, Signal::UpstreamErrorUnspecified, Signal::StatusOnly]) > 0.5;
    let weight = match (told || tried.is_some(), &held) {
        (true, _) => PROVEN,
        (false, Some(_)) if failed => LIKELY,
        _ => return None,
    };
    let tried = tried.map(|(at_us, _)| {
        let says = "connecting from here fails: no local port is free (EADDRNOTAVAIL)".to_owned();
        scene.from_gateway(*at_us, "probe", says)
    });
    Some(Support::new(Cause::EphemeralPortsExhausted, weight, at_us).with(tried).with(held))
}

/// Whether a moment lies in the failures or just beside them.
fn near(scene: &Scene, at_us: i64) -> bool {
    (scene.failures.first_us - 5_000_000..=scene.failures.last_us + 5_000_000).contains(&at_us)
}

/// The gateway's host holds nearly as many closed connections as it has local ports.
fn ports_held(scene: &Scene) -> Option<Evidence> {
    let history = &scene.gateway_host()?.history;
    let held = history
        .host_samples(scene.failures.began_us - 10_000_000, scene.failures.last_us + 10_000_000)
        .find_map(|sample| {
            let waiting = sample.time_wait?;
            let near = sample.local_ports > 0 && waiting * 10 >= u64::from(sample.local_ports) * 9;
            near.then(|| (sample.at_us, waiting, sample.local_ports))
        });
    let (at_us, waiting, ports) = held?;
    Some(scene.from_gateway(at_us, "kernel", format!("{waiting} sockets in TIME_WAIT, {ports} local ports")))
}

fn upstream_socket_permission(scene: &Scene) -> Option<Support> {
    (scene.share(&[Signal::SocketPermission]) >= 0.3)
        .then(|| Support::new(Cause::UpstreamSocketPermission, PROVEN, scene.failures.first_us))
}

fn gateway_resource(scene: &Scene) -> Option<Support> {
    const SHORT: &[Signal] = &[Signal::GatewayResource, Signal::GatewayCrash];
    /// What clients get while the gateway is short of something, where its access record tells no reason.
    const UNTOLD: &[Signal] =
        &[Signal::StatusOnly, Signal::UpstreamErrorUnspecified, Signal::ConnectFailed, Signal::NoResponseHeaders];
    let said = scene.own_notices.iter().find(|(at_us, notice)| SHORT.contains(&notice.signal) && near(scene, *at_us));
    let weight = match (scene.share(SHORT) >= 0.3, said) {
        (true, _) => PROVEN,
        (false, Some(_)) if scene.share(UNTOLD) > 0.5 => LIKELY,
        _ => return None,
    };
    let said = said.map(|(at_us, notice)| scene.from_gateway(*at_us, "gateway_log", notice.says.clone()));
    Some(Support::new(Cause::GatewayResource, weight, scene.failures.first_us).with(said))
}
