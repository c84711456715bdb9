//! Advice on the instance itself: its limits, its workers, its start.

use super::{kind, source};
use crate::classify::restarting::listened_after;
use crate::classify::scene::Scene;
use crate::model::{Address, CgroupSample, ListenerSample, MountSample, Setting, Signal};

const MINUTE_US: i64 = 60_000_000;

pub(super) fn out_of_memory(scene: &Scene) -> Vec<String> {
    let limit = scene.group().and_then(|group| group.mem_limit_bytes);
    let peak = scene.group().and_then(|group| group.mem_bytes);
    let service = scene.service_name();
    let first = match limit {
        Some(limit) => {
            let wanted = limit.max(peak.unwrap_or(0)) * 3 / 2;
            format!(
                "raise the memory limit of {service} from {} MiB to {} MiB (MemoryMax= of the unit, limits.memory of the container), or find the leak",
                limit >> 20,
                wanted >> 20
            )
        }
        None => format!("the whole host ran out of memory: give {service} a limit, or the host more memory"),
    };
    vec![first, growth(scene)]
}

/// How its memory grew before the end: steadily, which is a leak, or at once, which is a load.
fn growth(scene: &Scene) -> String {
    let unseen = || "see whether its memory grew steadily (a leak) or at once (a spike) before the kill".to_owned();
    let (Some(host), Some(service)) = (scene.host, scene.place.service.as_deref()) else { return unseen() };
    let used = |group: &CgroupSample| group.mem_bytes;
    let samples = host.history.instance_samples(service, i64::MIN, scene.failures.first_us);
    let uses: Vec<(i64, u64)> =
        samples.filter_map(|one| Some((one.at_us, one.cgroup.as_ref().and_then(used)?))).collect();
    let (Some((from_us, from)), Some((to_us, to))) = (uses.first(), uses.last()) else { return unseen() };
    let minutes = (to_us - from_us) / MINUTE_US;
    let middle = uses.get(uses.len() / 2).map_or(*to, |(_, middle)| *middle);
    if minutes < 2 || to <= from {
        return unseen();
    }
    // Half of the way in half of the time is a straight line, roughly.
    let half = (middle.saturating_sub(*from)) as f64 / (to - from) as f64;
    let how = if half > 0.25 { "steadily: a leak is likely" } else { "at the end: a spike of load is likely" };
    format!("its memory grew from {} to {} MiB in {minutes} minutes, {how}", from >> 20, to >> 20)
}

pub(super) fn memory_pressure(scene: &Scene) -> Vec<String> {
    let group = scene.group();
    let limit = group.and_then(|group| group.mem_limit_bytes);
    let used = group.and_then(|group| group.mem_bytes).unwrap_or(0);
    let service = scene.service_name();
    let host = scene.host.and_then(|host| host.state.sample.as_ref());
    let host_has_room = host.and_then(|host| Some(host.mem_available_bytes? > host.mem_total_bytes? / 10));
    vec![match limit {
        Some(limit) if used >= limit / 10 * 9 => format!(
            "raise the memory limit of {service} from {} MiB to {} MiB (MemoryMax=, limits.memory), or mend the leak",
            limit >> 20,
            (limit * 3 / 2) >> 20
        ),
        // A group that waits for memory while it may have more and the host has it is slowed down on purpose.
        _ if used > 0 && host_has_room == Some(true) => format!(
            "raise the use from which the kernel slows {service} down (MemoryHigh= of the unit, memory.high), or mend the leak: it has {} MiB",
            used >> 20
        ),
        _ => format!("give the host of {service} more memory, or what else runs there less"),
    }]
}

pub(super) fn hung(scene: &Scene) -> Vec<String> {
    let stopped = scene.samples.iter().flat_map(|sample| &sample.processes).find(|process| process.state == "T");
    let mut advice = Vec::new();
    match stopped {
        Some(process) => advice.push(format!(
            "process {} was stopped by SIGSTOP: `kill -CONT {}`, and find who sent it",
            process.pid, process.pid
        )),
        None => {
            let pid = scene.samples.last().and_then(|sample| sample.processes.first()).map_or(0, |process| process.pid);
            advice.push(format!(
                "see what it waits for before you restart it: its threads' stacks (process {pid}), its last log lines"
            ));
        }
    }
    let read = Setting::ReadTimeout.called(kind(scene));
    advice.push(format!("a liveness check that restarts it, and {read} short enough to fail over to another member"));
    advice
}

pub(super) fn not_listening(scene: &Scene) -> Vec<String> {
    // What it listens on once it is mended tells nothing.
    let deaf = scene.samples.iter().rev().find(|sample| !scene.listens(sample)).copied();
    let sample = deaf.or_else(|| scene.before());
    let listeners = sample.iter().flat_map(|sample| &sample.listeners);
    let places: Vec<&str> = listeners.map(|listener| listener.address.as_str()).collect();
    let (service, upstream) = (scene.service_name(), scene.upstream());
    if scene.share(&[Signal::SocketMissing]) >= 0.5 && scene.listening().yes() {
        return vec![
            format!("restart {service}, so that it makes its socket anew"),
            format!(
                "find what removed {upstream}: a cleaner of temporary folders, a second start, a unit's RuntimeDirectory"
            ),
        ];
    }
    if places.is_empty() {
        return vec![format!("{service} runs but has not opened {upstream}: see its log for a failed bind")];
    }
    let mut advice = vec![format!("bind {service} to {upstream} (it listens on {})", places.join(", "))];
    let reached = places.iter().find_map(|place| from_gateway(scene, place));
    advice.extend(reached.map(|there| format!("or point the gateway at {there}{}", source(scene))));
    advice
}

/// How the gateway reaches what listens at a place; None where it can't.
fn from_gateway(scene: &Scene, place: &str) -> Option<String> {
    let same_host = scene.host_name() == scene.case.key.gateway.host;
    match Address::parse(place) {
        Address::Ip(at) if at.ip().is_unspecified() => {
            let family = if at.is_ipv4() { "IPv4" } else { "IP" };
            Some(format!("an {family} address of {}, port {}", scene.host_name(), at.port()))
        }
        Address::Ip(at) if !at.ip().is_loopback() => Some(place.to_owned()),
        _ => same_host.then(|| place.to_owned()),
    }
}

pub(super) fn worker_killed(scene: &Scene) -> Vec<String> {
    let setting = Setting::ReadTimeout.called(kind(scene));
    let read_s = scene.pool.and_then(|pool| pool.timeouts.as_ref()?.read_us).map(|us| us / 1_000_000);
    let against =
        read_s.map_or_else(|| format!("the gateway's {setting}"), |s| format!("the gateway's {setting} {s}s"));
    vec![
        format!(
            "compare the worker's time limit (gunicorn --timeout, request_terminate_timeout, harakiri) with {against}; find what was slow"
        ),
        "see the worker's log for the request it was at".to_owned(),
    ]
}

pub(super) fn throttled(scene: &Scene) -> Vec<String> {
    let quota = scene.samples.iter().find_map(|sample| sample.cgroup.as_ref()?.cpu_quota);
    let used = quota
        .map_or_else(String::new, |quota| format!(" from {quota:.2} to at least {:.2} CPUs", (quota * 2.0).max(0.5)));
    vec![format!(
        "raise the CPU quota of {}{used} (CPUQuota= of the unit, limits.cpu of the container), or limit its concurrency",
        scene.service_name()
    )]
}

pub(super) fn saturated(scene: &Scene) -> Vec<String> {
    vec![format!("add instances of {} or CPUs to {}", scene.service_name(), scene.host_name()), at_once(scene)]
}

pub(super) fn worker_pool(scene: &Scene) -> Vec<String> {
    vec![
        format!("more workers or threads for {}, and a time limit on what they wait for", scene.service_name()),
        at_once(scene),
    ]
}

/// Limits the gateway to what the instance serves at once, where that was seen.
fn at_once(scene: &Scene) -> String {
    let setting = match kind(scene) {
        "nginx" => "max_conns of its server line",
        "haproxy" => "maxconn of its server line",
        "envoy" => "circuit_breakers.thresholds.max_requests",
        "istio" => "connectionPool.http.http2MaxRequests",
        "traefik" => "inFlightReq.amount",
        "varnish" => ".max_connections",
        "apache" => "max of its BalancerMember",
        "caddy" => "max_conns_per_host of the transport",
        _ => "a concurrency limit on the gateway",
    };
    let served = |listener: &ListenerSample| Some(listener.established?.saturating_sub(listener.queue));
    let listeners = scene.samples.iter().flat_map(|sample| &sample.listeners);
    let most = listeners.filter_map(served).max().filter(|served| *served > 0);
    let value = most.map_or_else(String::new, |most| format!(" to {most}, what it had in work at once"));
    format!("limit what the gateway sends it at once: {setting}{value}, so that others get the rest")
}

pub(super) fn accept_queue(scene: &Scene) -> Vec<String> {
    let limit = scene.samples.iter().flat_map(|sample| &sample.listeners).map(|listener| listener.queue_limit).max();
    let from = limit.map_or_else(String::new, |limit| format!(" from {limit} to {}", (u64::from(limit) * 4).max(511)));
    vec![
        format!("raise the listen backlog of {}{from}, and net.core.somaxconn to no less", scene.service_name()),
        "more workers, so that connections are accepted sooner".to_owned(),
    ]
}

pub(super) fn descriptors(scene: &Scene) -> Vec<String> {
    let limit = scene.samples.iter().flat_map(|sample| &sample.processes).filter_map(|process| process.fd_limit).min();
    let from = limit.map_or_else(String::new, |limit| format!(" from {limit} to {}", (limit * 4).max(65_536)));
    vec![
        format!("raise the descriptor limit of {}{from} (LimitNOFILE= of its unit, ulimit -n)", scene.service_name()),
        "see whether descriptors are leaked: sockets or files that are never closed".to_owned(),
    ]
}

pub(super) fn disk_full(scene: &Scene) -> Vec<String> {
    let own = |mount: &&MountSample| mount.services.iter().any(|name| name == scene.service_name());
    let mounts = scene.host.and_then(|host| host.state.sample.as_ref()).map(|sample| sample.mounts.as_slice());
    let fullest = mounts.unwrap_or_default().iter().filter(own).min_by_key(|mount| mount.available_bytes);
    let place = fullest.map_or_else(|| "what it writes to".to_owned(), |mount| mount.path.clone());
    vec![
        format!("free space on {place} of {} (`du -x {place}`, deleted files that are still open)", scene.host_name()),
        "rotate logs by size, and watch the free space and inodes".to_owned(),
    ]
}

pub(super) fn warming_up(scene: &Scene) -> Vec<String> {
    let start = scene.starts.iter().rev().find(|(_, start)| start.leader && !start.already_running);
    let took_s = start.and_then(|(at_us, _)| Some((listened_after(scene, *at_us)? - at_us) as f64 / 1e6));
    let wait = took_s
        .map_or_else(String::new, |s| format!(" of at least {:.0} s (it took {s:.1} s to listen)", (s * 1.5).ceil()));
    let slow = Setting::SlowStart.name(kind(scene));
    let setting = slow.map_or_else(
        || {
            "a readiness check before it is put into the gateway (initialDelaySeconds where an orchestrator does)"
                .to_owned()
        },
        |name| format!("{name} and a readiness check ({})", Setting::CheckRise.called(kind(scene))),
    );
    vec![format!("give {} an initial delay{wait}: {setting}", scene.service_name())]
}

pub(super) fn deploying(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" => "mark the server `down` and reload before stopping it, or set proxy_next_upstream to error timeout",
        "haproxy" => "`set server STATE drain` before stopping it",
        "envoy" | "istio" => "fail its health check and wait for drain before stopping it",
        "aws_alb" => "deregister the target and wait for deregistration_delay.timeout_seconds",
        "apache" => "set its BalancerMember to drain (status=+N) before stopping it",
        "caddy" | "traefik" | "varnish" => {
            "let its health check fail and wait until it is taken out before stopping it"
        }
        _ => "take it out of the gateway before stopping it",
    };
    vec![
        format!("drain first: {setting}"),
        "start the new instance before the old one stops (surge), and wait for its readiness; a pre-stop delay of 5 s or more".to_owned(),
    ]
}
