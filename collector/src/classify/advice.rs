//! What to do: the setting to change, in the words of the user's own gateway, with a value from what was measured.

use super::Support;
use super::restarting::listened_after;
use super::scene::Scene;
use crate::model::Cause;

/// Advice for a verdict, most useful first.
pub fn advise(scene: &Scene, cause: Cause, supports: &[Support]) -> Vec<String> {
    let mut advice = match cause {
        Cause::Unknown => return unknown(scene, supports),
        Cause::OomKilled => oom_killed(scene),
        Cause::ProcessHung => process_hung(scene),
        Cause::PortNotListening => port_not_listening(scene),
        Cause::WorkerKilled => worker_killed(scene),
        Cause::FirewallReject | Cause::FirewallDrop => firewall(scene, cause),
        Cause::CpuThrottled => cpu_throttled(scene),
        Cause::AcceptQueueOverflow => accept_queue(scene),
        Cause::FdExhausted => descriptors(scene),
        Cause::WarmingUp => warming_up(scene),
        Cause::KeepaliveRace => keepalive(scene),
        Cause::HeaderTooBig => header_too_big(scene),
        Cause::GatewayTimeout => gateway_timeout(scene),
        Cause::HealthEndpointSlow | Cause::HealthCheckTooStrict => health_timeout(scene),
        Cause::WrongUpstream => wrong_upstream(scene),
        Cause::AppNotLeader => vec![format!(
            "route such requests to the leader, the instance that holds the lock, or let the gateway retry 503 on another member ({})",
            retry_setting(scene)
        )],
        Cause::Deploying => deploying(scene),
        _ => Vec::new(),
    };
    if advice.is_empty() {
        advice.extend(general(scene, cause));
    }
    advice
}

fn kind<'a>(scene: &'a Scene) -> &'a str {
    &scene.case.key.gateway.kind
}

/// The catalogue's fix, where nothing was measured that would make it sharper.
fn general(scene: &Scene, cause: Cause) -> Vec<String> {
    let service = scene.service_name();
    let mut advice = vec![format!("{service} on {}: {}", host_or_upstream(scene), cause.entry().fix)];
    if matches!(cause, Cause::ProcessCrashed | Cause::ProcessKilled | Cause::ProcessStopped | Cause::NeverStarted) {
        let unit = scene.before().map(|sample| sample.unit.as_str()).filter(|unit| !unit.is_empty());
        advice.push(match unit {
            Some(unit) => {
                format!("see `systemctl status {unit}` and its log; let it come back by itself with Restart=on-failure")
            }
            None => {
                format!("let a supervisor start {service} again when it ends (a systemd unit with Restart=on-failure)")
            }
        });
    }
    advice
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

fn oom_killed(scene: &Scene) -> Vec<String> {
    let limit = scene.group().and_then(|group| group.mem_limit_bytes);
    let peak = scene.group().and_then(|group| group.mem_bytes);
    let mut advice = Vec::new();
    if let Some(limit) = limit {
        let wanted = limit.max(peak.unwrap_or(0)) * 3 / 2;
        advice.push(format!(
            "raise the memory limit of {} from {} MiB to {} MiB (MemoryMax= of the unit, limits.memory of the container), or find the leak",
            scene.service_name(),
            limit >> 20,
            wanted >> 20
        ));
    } else {
        advice.push(format!(
            "the whole host ran out of memory: give {} a limit, or the host more memory",
            scene.service_name()
        ));
    }
    advice.push("see whether its memory grew steadily (a leak) or at once (a spike) before the kill".to_owned());
    advice
}

fn process_hung(scene: &Scene) -> Vec<String> {
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
    advice.push("a liveness check that restarts it, and a read timeout that fails over to another member".to_owned());
    advice
}

fn port_not_listening(scene: &Scene) -> Vec<String> {
    let sample = scene.samples.last().copied().or_else(|| scene.before());
    let places: Vec<String> =
        sample.iter().flat_map(|sample| &sample.listeners).map(|listener| listener.address.clone()).collect();
    let mut advice = Vec::new();
    if places.is_empty() {
        advice.push(format!(
            "{} runs but has not opened {}: see its log for a failed bind",
            scene.service_name(),
            scene.upstream()
        ));
    } else {
        advice.push(format!(
            "bind {} to {} (it listens on {})",
            scene.service_name(),
            scene.upstream(),
            places.join(", ")
        ));
        let source = scene.pool.map_or_else(String::new, |pool| format!(" ({})", pool.source));
        advice.push(format!("or point the gateway at {}{source}", places[0]));
    }
    advice
}

fn worker_killed(scene: &Scene) -> Vec<String> {
    let read_s = scene.pool.and_then(|pool| pool.timeouts.as_ref()?.read_us).map(|us| us / 1_000_000);
    let against = read_s.map_or_else(
        || "the gateway's read timeout".to_owned(),
        |s| format!("the gateway's {} {s}s", read_setting(kind(scene))),
    );
    vec![
        format!(
            "compare the worker's time limit (gunicorn --timeout, request_terminate_timeout, harakiri) with {against}; find what was slow"
        ),
        "see the worker's log for the request it was at".to_owned(),
    ]
}

fn firewall(scene: &Scene, cause: Cause) -> Vec<String> {
    let verb = if cause == Cause::FirewallReject { "rejects" } else { "drops" };
    vec![
        format!(
            "find the rule that {verb} {} -> {} on {} or in between: `nft list ruleset` / `iptables -nvL`, security groups",
            scene.case.key.gateway.host,
            scene.upstream(),
            scene.host_name()
        ),
        format!("allow TCP from the gateway's host to {}", scene.upstream()),
    ]
}

fn cpu_throttled(scene: &Scene) -> Vec<String> {
    let quota = scene.samples.iter().find_map(|sample| sample.cgroup.as_ref()?.cpu_quota);
    let used = quota
        .map_or_else(String::new, |quota| format!(" from {quota:.2} to at least {:.2} CPUs", (quota * 2.0).max(0.5)));
    vec![format!(
        "raise the CPU quota of {}{used} (CPUQuota= of the unit, limits.cpu of the container), or limit its concurrency",
        scene.service_name()
    )]
}

fn accept_queue(scene: &Scene) -> Vec<String> {
    let limit = scene.samples.iter().flat_map(|sample| &sample.listeners).map(|listener| listener.queue_limit).max();
    let from = limit.map_or_else(String::new, |limit| format!(" from {limit} to {}", (u64::from(limit) * 4).max(511)));
    vec![
        format!("raise the listen backlog of {}{from}, and net.core.somaxconn to no less", scene.service_name()),
        "more workers, so that connections are accepted sooner".to_owned(),
    ]
}

fn descriptors(scene: &Scene) -> Vec<String> {
    let limit = scene.samples.iter().flat_map(|sample| &sample.processes).filter_map(|process| process.fd_limit).min();
    let from = limit.map_or_else(String::new, |limit| format!(" from {limit} to {}", (limit * 4).max(65_536)));
    vec![
        format!("raise the descriptor limit of {}{from} (LimitNOFILE= of its unit, ulimit -n)", scene.service_name()),
        "see whether descriptors are leaked: sockets or files that are never closed".to_owned(),
    ]
}

fn warming_up(scene: &Scene) -> Vec<String> {
    let start = scene.starts.iter().rev().find(|(_, start)| start.leader && !start.already_running);
    let took_s = start.and_then(|(at_us, _)| Some((listened_after(scene, *at_us)? - at_us) as f64 / 1e6));
    let wait = took_s
        .map_or_else(String::new, |s| format!(" of at least {:.0} s (it took {s:.1} s to listen)", (s * 1.5).ceil()));
    let setting = match kind(scene) {
        "nginx" => "slow_start / a pre-start drain of the upstream",
        "haproxy" => "slowstart and `option httpchk` with rise 2",
        "envoy" | "istio" => "slow_start_config and a readiness probe",
        "aws_alb" => "slow_start.duration_seconds and the health check's threshold",
        _ => "a readiness check",
    };
    vec![format!("give {} an initial delay{wait}: {setting}", scene.service_name())]
}

fn deploying(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" => "mark the server `down` and reload before stopping it, or set proxy_next_upstream to error timeout",
        "haproxy" => "`set server STATE drain` before stopping it",
        "envoy" | "istio" => "fail its health check and wait for drain before stopping it",
        "aws_alb" => "deregister the target and wait for deregistration_delay.timeout_seconds",
        _ => "take it out of the gateway before stopping it",
    };
    vec![
        format!("drain first: {setting}"),
        "start the new instance before the old one stops (surge), and wait for its readiness; a pre-stop delay of 5 s or more".to_owned(),
    ]
}

fn keepalive(scene: &Scene) -> Vec<String> {
    let instance_s = scene.probes.iter().rev().find_map(|(_, probe)| probe.idle_close_us).map(|us| us as f64 / 1e6);
    let gateway_s = scene.pool.and_then(|pool| pool.keepalive_idle_us).map(|us| us as f64 / 1e6);
    let setting = match kind(scene) {
        "nginx" | "ingress_nginx" => "upstream keepalive_timeout",
        "haproxy" => "timeout http-keep-alive / pool-purge-delay",
        "envoy" | "istio" => "common_http_protocol_options.idle_timeout",
        "aws_alb" => "idle_timeout.timeout_seconds",
        "caddy" => "keepalive of the transport",
        _ => "idle timeout towards upstreams",
    };
    let (gateway, above) = gateway_s.map_or_else(
        || (setting.to_owned(), "that".to_owned()),
        |s| (format!("{setting}, {s:.0} s"), format!("{:.0} s", s + 5.0)),
    );
    let instance = instance_s.map_or_else(String::new, |s| format!(" (it closes idle connections after {s:.1} s)"));
    let mut advice = vec![format!(
        "set the keep-alive timeout of {} above the gateway's ({gateway}): to {above}{instance}",
        scene.service_name()
    )];
    if let Some(s) = instance_s {
        advice.push(format!("or set the gateway's {setting} below it: {:.0} s", (s - 1.0).max(1.0)));
    }
    advice
}

fn header_too_big(scene: &Scene) -> Vec<String> {
    let limit = scene.pool.map_or(0, |pool| pool.header_limit_bytes);
    let now = if limit > 0 { format!(" (now {limit} bytes)") } else { String::new() };
    let setting = match kind(scene) {
        "nginx" | "ingress_nginx" => "proxy_buffer_size 16k; proxy_buffers 4 16k",
        "haproxy" => "tune.bufsize 32768",
        "apache" => "ProxyPass ... responsefieldsize=16384",
        "envoy" | "istio" => "common_http_protocol_options.max_headers_count / max_response_headers_kb",
        "caddy" => "transport max_response_header",
        _ => "the gateway's response header buffer",
    };
    vec![
        format!("raise it on the gateway: {setting}{now}"),
        "see what grows in the header, most often cookies".to_owned(),
    ]
}

fn read_setting(kind: &str) -> &'static str {
    match kind {
        "nginx" | "ingress_nginx" => "proxy_read_timeout",
        "haproxy" => "timeout server",
        "envoy" | "istio" => "route timeout",
        "apache" => "ProxyTimeout",
        "aws_alb" => "idle_timeout.timeout_seconds",
        _ => "read timeout",
    }
}

fn gateway_timeout(scene: &Scene) -> Vec<String> {
    let slow = scene.failures.notes.front();
    let request = slow.map_or("", |note| note.request.as_str());
    let read_s = scene.pool.and_then(|pool| pool.timeouts.as_ref()?.read_us).map(|us| us as f64 / 1e6);
    let now = read_s.map_or_else(String::new, |s| format!(" (now {s:.0} s)"));
    vec![
        format!("find why {request} takes longer than the gateway waits, and make it faster or asynchronous"),
        format!(
            "or raise {}{now} for that path; keep the order client > gateway > application",
            read_setting(kind(scene))
        ),
    ]
}

fn health_timeout(scene: &Scene) -> Vec<String> {
    let mut times: Vec<u64> = scene.health.iter().filter_map(|(_, health)| health.first_byte_us).collect();
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).map_or(5_000, |us| us / 1000);
    let setting = match kind(scene) {
        "haproxy" => "timeout check",
        "envoy" | "istio" => "health_checks.timeout",
        "caddy" => "health_timeout",
        _ => "the health check's timeout",
    };
    vec![
        format!(
            "set {setting} to at least {} ms (its measured p99 is {p99} ms, twice that leaves room)",
            (p99 * 2).max(1000)
        ),
        "make the health endpoint lighter: it should not wait for dependencies".to_owned(),
    ]
}

fn wrong_upstream(scene: &Scene) -> Vec<String> {
    let source = scene.pool.map_or_else(String::new, |pool| format!(" at {}", pool.source));
    vec![format!("correct the address {} in the gateway's configuration{source}", scene.upstream())]
}

fn retry_setting(scene: &Scene) -> &'static str {
    match kind(scene) {
        "nginx" | "ingress_nginx" => "proxy_next_upstream error timeout http_503",
        "haproxy" => "retry-on 503",
        "envoy" | "istio" => "retry_on: retriable-status-codes, 503",
        _ => "retry on 503",
    }
}
