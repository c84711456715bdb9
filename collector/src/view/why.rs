//! What is wrong with a target, and a verdict as a sentence.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::document::{IncidentsDoc, NowDoc, stamp};
use super::fleet::{host_doc, instances};
use super::gateways::{Addresses, Upstream, upstreams};
use super::near::near;
use super::question::{BadQuestion, parse_time};
use super::{View, incident_doc, incidents};
use crate::model::{Address, Cause, HostState, Incident, Pool};

/// The incidents of a target, newest first, and what is known of it now.
pub fn document(view: &View, target: &str, at: Option<&str>, since_us: i64) -> Result<IncidentsDoc, BadQuestion> {
    let at_us = at.map(|at| parse_time(at, view.at_us)).transpose()?;
    let from_us = at_us.unwrap_or(view.at_us).saturating_sub(since_us);
    // A failure's time comes from its host's clock and may lie a little after the newest record's.
    let to_us = at_us.unwrap_or(i64::MAX);
    let active =
        |incident: &Incident| incident.first_seen_us <= to_us && incident.resolved_us.unwrap_or(i64::MAX) >= from_us;
    let named = |incident: &Incident| incident.id == target || incident.group.as_deref() == Some(target);
    let wanted = Target::new(target);
    let chosen =
        incidents::select(view, |incident| named(incident) || (is_about(incident, &wanted) && active(incident)));
    let now = now(view, target);
    let known = !chosen.is_empty() || now.is_known();
    Ok(IncidentsDoc {
        incidents: chosen.into_iter().map(incident_doc).collect(),
        target: target.to_owned(),
        near: if known { Vec::new() } else { near(view, target) },
        now: Some(now),
        replay: None,
    })
}

/// The hosts that an answer about a target speaks of, as far as is known now.
pub fn concerned(view: &View, target: &str) -> Vec<String> {
    let now = now(view, target);
    let mut hosts: Vec<String> = now.hosts.into_iter().map(|one| one.host).collect();
    hosts.extend(now.instances.into_iter().map(|one| one.host));
    hosts.extend(now.upstreams.into_iter().flat_map(|one| [Some(one.gateway_host), one.host]).flatten());
    let wanted = Target::new(target);
    for incident in view.incidents.iter().filter(|one| is_about(one, &wanted) || one.id == target) {
        hosts.extend([Some(incident.gateway.host.clone()), incident.host.clone()].into_iter().flatten());
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The hosts that an incident's verdict may rest on, those that tell most of it first.
pub fn involved(view: &View, incident: &Incident) -> Vec<String> {
    let mut hosts = vec![incident.gateway.host.clone()];
    hosts.extend(incident.host.clone());
    hosts.extend(incident.verdict.evidence.iter().map(|one| one.host.clone()));
    if let Some(service) = &incident.service {
        let runs = |host: &HostState| host.services.contains_key(service) || host.instances.contains_key(service);
        hosts.extend(view.hosts.iter().filter(|host| runs(host)).map(|host| host.name.clone()));
    }
    hosts.extend(beside(view, incident));
    let group = |one: &Incident| one.group.is_some() && one.group == incident.group;
    for other in view.incidents.iter().filter(|one| group(one)) {
        hosts.extend([Some(other.gateway.host.clone()), other.host.clone()].into_iter().flatten());
    }
    let mut untold: BTreeSet<&str> = view.hosts.iter().map(|known| known.name.as_str()).collect();
    hosts.retain(|host| untold.remove(host.as_str()));
    hosts
}

/// The hosts behind the members of the pools that the upstream of an incident is in; of all where none is named.
fn beside(view: &View, incident: &Incident) -> Vec<String> {
    let gateway = view.hosts.iter().find(|host| host.name == incident.gateway.host);
    let config = gateway.and_then(|host| host.gateways.get(&incident.gateway.name)?.config.as_ref());
    let addresses = Addresses::of(view);
    let has = |pool: &&Pool| {
        let upstream = incident.upstream.as_ref();
        upstream.is_none_or(|upstream| pool.members.iter().any(|member| member.address == *upstream))
    };
    let members = config.iter().flat_map(|config| &config.pools).filter(has).flat_map(|pool| &pool.members);
    members.filter_map(|member| Some(addresses.place(&member.address)?.1.to_owned())).collect()
}

fn is_about(incident: &Incident, target: &Target<'_>) -> bool {
    let is = |field: &Option<String>| field.as_deref() == Some(target.text);
    is(&incident.service)
        || is(&incident.host)
        || incident.upstream.as_deref().is_some_and(|upstream| target.is_at(upstream))
        || incident.gateway.name == target.text
        || incident.gateway.host == target.text
}

/// What somebody asks for, read once.
struct Target<'a> {
    text: &'a str,
    address: Address,
    /// An IP address alone.
    ip: Option<IpAddr>,
}

impl<'a> Target<'a> {
    fn new(text: &'a str) -> Self {
        let ip = text.trim_matches(['[', ']']).parse().ok();
        Self { text, address: Address::parse(text), ip: ip.map(|ip: IpAddr| ip.to_canonical()) }
    }

    /// An upstream is named by its whole address or by its ip or name alone, however an IPv6 address is written.
    fn is_at(&self, upstream: &str) -> bool {
        if upstream == self.text {
            return true;
        }
        match Address::parse(upstream) {
            Address::Ip(at) => self.address == Address::Ip(at) || self.ip == Some(at.ip()),
            Address::Name(name, Some(_)) => name == self.text,
            _ => false,
        }
    }

    fn means(&self, upstream: &Upstream<'_>) -> bool {
        let (service, host) = upstream.place.unzip();
        let is = |name: Option<&str>| name == Some(self.text);
        self.is_at(upstream.address) || is(service) || is(host) || upstream.gateway == self.text
    }
}

/// What is known of a target now.
pub fn now(view: &View, target: &str) -> NowDoc {
    let target = Target::new(target);
    let addresses = Addresses::of(view);
    let gateways = view.hosts.iter().flat_map(|host| host.gateways.iter().map(move |(name, one)| (host, name, one)));
    let ways = gateways.flat_map(|(host, name, gateway)| upstreams(host, name, gateway, &addresses));
    let ways: Vec<Upstream<'_>> = ways.filter(|way| target.means(way)).collect();
    let behind: BTreeSet<(&str, &str)> =
        ways.iter().filter(|way| target.is_at(way.address)).filter_map(|way| way.place).collect();
    let concerned = |host: &HostState| {
        let chosen = instances(host).filter(|one| {
            one.service() == target.text
                || host.name == target.text
                || one.is_at(target.text)
                || behind.contains(&(one.service(), host.name.as_str()))
        });
        chosen.map(|one| one.doc()).collect::<Vec<_>>()
    };
    let instances = view.hosts.iter().flat_map(|host| concerned(host)).collect();
    let hosts = view.hosts.iter().filter(|host| host.name == target.text).map(|host| host_doc(host)).collect();
    let upstreams = ways.iter().map(|way| way.doc(view.at_us)).collect();
    NowDoc { at: stamp(view.at_us), hosts, instances, upstreams }
}

/// The verdict in one sentence: which instance, and what became of it.
pub fn sentence(incident: &Incident) -> String {
    let upstream = incident.upstream.as_deref();
    let subject = match (incident.service.as_deref(), incident.host.as_deref(), upstream) {
        (Some(service), Some(host), Some(upstream)) => format!("{service} on {host} ({upstream})"),
        (Some(service), Some(host), None) => format!("{service} on {host}"),
        (Some(service), None, Some(upstream)) => format!("{service} at {upstream}"),
        (Some(service), None, None) => service.to_owned(),
        (None, Some(host), Some(upstream)) => format!("{upstream} on {host}"),
        (None, Some(host), None) => format!("an instance on {host}"),
        (None, None, Some(upstream)) => format!("the instance at {upstream}"),
        (None, None, None) => format!("an upstream of gateway {}", incident.gateway.name),
    };
    format!("{subject} {}", predicate(incident.verdict.cause))
}

#[rustfmt::skip]
fn predicate(cause: Cause) -> &'static str {
    match cause {
        Cause::ProcessCrashed => "crashed",
        Cause::ProcessKilled => "was killed from outside",
        Cause::ProcessStopped => "was stopped",
        Cause::NeverStarted => "never started",
        Cause::OomKilled => "was killed by the kernel because its memory ran out",
        Cause::ProcessHung => "hangs: it accepts connections and answers nothing",
        Cause::PortNotListening => "runs but does not listen where the gateway asks",
        Cause::WorkerKilled => "lost a worker process while its master lived on",
        Cause::HostDown => "is gone with its whole host",
        Cause::HealthEndpointFailing => "fails its health check although it works",
        Cause::HealthEndpointSlow => "answers its health check too slowly",
        Cause::HealthCheckWrongTarget => "is checked at a path or port that it does not serve",
        Cause::HealthCheckTooStrict => "is checked more strictly than it can answer",
        Cause::FirewallReject => "works, but a firewall rejects the gateway's connections",
        Cause::FirewallDrop => "works, but a firewall drops the gateway's packets",
        Cause::LinkDown => "is cut off: a network link is down",
        Cause::NoRoute => "can't be reached: a route is missing",
        Cause::PacketLoss => "is hard to reach: packets get lost on the way",
        Cause::DnsFailure => "could not be found: its name did not resolve",
        Cause::ConntrackFull => "could not be reached: a connection table is full",
        Cause::PathUnreachable => "works, but nothing gets through between the gateway and its host",
        Cause::CpuSaturated => "starves for CPU",
        Cause::CpuThrottled => "is throttled by its CPU quota",
        Cause::MemoryPressure => "is slowed down by memory pressure",
        Cause::AcceptQueueOverflow => "drops connections: its accept queue is full",
        Cause::FdExhausted => "has no file descriptors left",
        Cause::WorkerPoolExhausted => "has no free worker: requests wait",
        Cause::DiskFull => "has no disk space left to write to",
        Cause::IoStalled => "waits for a stalled disk",
        Cause::Deploying => "was away during a deployment",
        Cause::CrashLooping => "crashes again and again",
        Cause::WarmingUp => "was still starting up",
        Cause::HostRebooted => "was away while its host rebooted",
        Cause::HealthCheckRestart => "was restarted by its liveness check",
        Cause::KeepaliveRace => "closes idle connections just as the gateway reuses them",
        Cause::PrematureClose => "closes connections before it has answered",
        Cause::HeaderTooBig => "answers with a header larger than the gateway takes",
        Cause::HeaderInvalid => "answers with a header that the gateway refuses",
        Cause::TlsHandshakeFailed => "fails the TLS handshake with the gateway",
        Cause::WrongProtocol => "speaks another protocol than the gateway",
        Cause::NoLiveUpstream => "was marked down by the gateway, and no record tells why",
        Cause::WrongUpstream => "is no instance: the gateway is pointed at an address where nothing has ever been",
        Cause::EphemeralPortsExhausted => "could not be reached: the gateway has no local ports left",
        Cause::UpstreamSocketPermission => "could not be reached: the gateway may not open its socket",
        Cause::GatewayResource => "could not be served: the gateway itself is short of something",
        Cause::AppNotLeader => "answered by itself that it is not the leader",
        Cause::AppTaskTimeout => "answered by itself that a task timed out",
        Cause::AppCacheFailure => "answered by itself that its cache or lock service failed",
        Cause::AppUnavailable => "answered by itself that it is unavailable",
        Cause::AppError => "answered with an error of its own",
        Cause::InnerGateway => "passed on the error of a gateway behind it",
        Cause::GatewayTimeout => "works, but was slower than the gateway's timeout on some requests",
        Cause::ClientClosed => "was left by its clients before it had answered",
        Cause::Unknown => "failed, and nothing that was seen tells why",
    }
}
