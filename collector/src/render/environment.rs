//! What a target runs on and how its gateways are set up: a paragraph for each host, instance and gateway.

use std::fmt::Write;

use super::words::span;
use super::{Style, Tone, nobody, or_dash, percent, short_time, size};
use crate::view::*;

/// All of it.
pub fn environment(doc: &EnvironmentDoc, style: Style) -> String {
    if doc.hosts.is_empty() {
        return nobody(&doc.target, &doc.near);
    }
    let mut out = String::new();
    doc.hosts.iter().for_each(|one| host(&mut out, one));
    doc.instances.iter().for_each(|one| instance(&mut out, one, &doc.at));
    doc.gateways.iter().for_each(|one| gateway(&mut out, one, &doc.at, style));
    if doc.left_out > 0 {
        let told = format!("{} instances, ways to upstreams and pools of it are left out: name one", doc.left_out);
        let _ = writeln!(out, "{}", style.paint(Tone::Faint, &told));
    }
    out
}

/// A line of facts, those that are known, with blanks before it.
fn line(out: &mut String, indent: usize, title: &str, facts: &[Option<String>]) {
    let facts: Vec<String> = facts.iter().flatten().map(|fact| clean(fact).into_owned()).collect();
    let colon = if facts.is_empty() { "" } else { ": " };
    let _ = writeln!(out, "{:indent$}{}{colon}{}", "", clean(title), facts.join(", "));
}

/// A text with words around it, where it is not empty.
fn named(before: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| format!("{before}{text}"))
}

fn host(out: &mut String, doc: &HostEnvironmentDoc) {
    let of = &doc.host;
    let facts = [
        Some(of.state.clone()),
        doc.cpus.map(|cpus| format!("{cpus} CPUs")),
        of.cpu_ratio.map(|ratio| format!("{} busy", percent(Some(ratio)))),
        doc.cpu_steal_ratio
            .filter(|ratio| *ratio >= 0.005)
            .map(|ratio| format!("{} taken by a hypervisor", percent(Some(ratio)))),
        doc.mem_total_bytes.map(|bytes| format!("{} of memory", size(Some(bytes)))),
        doc.mem_available_bytes.map(|bytes| format!("{} free", size(Some(bytes)))),
        doc.swap_total_bytes
            .filter(|bytes| *bytes > 0)
            .map(|bytes| format!("{} of swap, {} in use", size(Some(bytes)), size(doc.swap_used_bytes))),
        of.uptime_s.map(|seconds| format!("up for {}", span(seconds))),
        Some(format!("agent {}", of.agent_version)),
        (of.clock_ahead_ms != 0).then(|| format!("clock {} ms ahead", of.clock_ahead_ms)),
    ];
    line(out, 0, &format!("host {}", of.host), &facts);
    let facts = [
        named("kernel ", &doc.kernel),
        named("", &doc.system),
        doc.is_virtual.map(|is| if is { "a virtual machine" } else { "no virtual machine" }.to_owned()),
        named("", &doc.model),
        named("the agent is in ", &doc.container),
    ];
    line(out, 2, "machine", &facts);
    let facts = [
        doc.default_route.map(|there| if there { "a default route" } else { "no default route" }.to_owned()),
        doc.local_ports.map(|ports| format!("{ports} local ports")),
        doc.conntrack_count.map(|count| format!("{count} connections tracked")),
        doc.conntrack_max.map(|most| format!("{most} at most")),
    ];
    line(out, 2, "network", &facts);
    for one in &doc.interfaces {
        let bad = (one.bad_packets > 0).then(|| format!("{} packets dropped or in error", one.bad_packets));
        line(out, 2, &one.name, &[Some(one.state.clone()), named("", &one.addresses.join(" ")), bad]);
    }
    for one in &doc.mounts {
        let facts = [
            Some(format!("{} free of {}", size(Some(one.available_bytes)), size(Some(one.total_bytes)))),
            one.available_inodes.map(|inodes| format!("{inodes} inodes free")),
            one.read_only.then(|| "read-only".to_owned()),
        ];
        line(out, 2, &one.path, &facts);
    }
    for one in &of.impaired {
        line(out, 2, &format!("blind in {}", one.name), &[Some(one.state.clone()), named("", &one.why)]);
    }
}

fn instance(out: &mut String, doc: &InstanceEnvironmentDoc, now: &str) {
    let of = &doc.instance;
    let health = of.health.as_ref().map(|health| match health.ok {
        true => format!("healthy ({}) at {}", health.status, short_time(&health.at, now)),
        false => format!("unhealthy ({} {}) at {}", health.status, health.error, short_time(&health.at, now)),
    });
    let facts = [
        Some(of.state.replace('_', " ")),
        named("listens on ", &of.listen.join(" ")),
        health,
        of.last_start.as_ref().map(|at| format!("started {}", short_time(at, now))),
        of.last_exit.as_ref().map(|exit| format!("last end {} at {}", exit.how, short_time(&exit.at, now))),
        named("unit ", &of.unit),
    ];
    line(out, 0, &format!("instance {} on {}", of.service, of.host), &facts);
    let facts = [
        named("in ", &doc.container),
        doc.cpu_quota.map(|cpus| format!("{cpus:.2} CPUs at most")),
        doc.throttled_periods_ratio.map(|ratio| format!("throttled in {} of periods", percent(Some(ratio)))),
        of.rss_bytes.map(|bytes| format!("{} resident", size(Some(bytes)))),
        of.mem_limit_bytes.map(|bytes| format!("{} at most", size(Some(bytes)))),
        doc.pids.map(|pids| format!("{pids} processes and threads")),
        doc.pids_limit.map(|most| format!("{most} at most")),
        doc.oom_kills.filter(|kills| *kills > 0).map(|kills| format!("{kills} OOM kills")),
    ];
    if !doc.cgroup.is_empty() {
        line(out, 2, &format!("control group {}", doc.cgroup), &facts);
    }
    for one in &doc.processes {
        let limit = one.fd_limit.map(|most| format!(" of {most}")).unwrap_or_default();
        let facts = [
            Some(process_state(&one.state).to_owned()),
            Some(format!("since {}", short_time(&one.started, now))),
            Some(size(Some(one.rss_bytes))),
            Some(format!("{} threads", one.threads)),
            one.fds.map(|fds| format!("{fds}{limit} descriptors")),
        ];
        line(out, 2, &format!("process {} {}", one.pid, one.name), &facts);
    }
    for one in &doc.listeners {
        let connected = one.established.map(|count| format!("{count} connected"));
        let facts = [Some(format!("{} of {} wait", one.queue, one.queue_limit)), connected];
        line(out, 2, &format!("socket {}", one.address), &facts);
    }
}

/// What the kernel's letter for the state of a process means.
fn process_state(letter: &str) -> &str {
    match letter {
        "R" => "running",
        "S" | "I" => "sleeping",
        "D" => "waiting for a device",
        "T" | "t" => "stopped by a signal",
        "Z" => "ended, not yet waited for",
        other => other,
    }
}

fn gateway(out: &mut String, doc: &GatewayEnvironmentDoc, now: &str, style: Style) {
    let of = &doc.gateway;
    let readable = of.config_readable.map(|is| if is { "configuration read" } else { "configuration not readable" });
    line(out, 0, &format!("gateway {} on {}", of.name, of.host), &[named("", &of.kind), readable.map(str::to_owned)]);
    for one in &of.sources {
        let facts = [
            Some(format!("{} lines", one.lines)),
            Some(format!("{} failures", one.failures)),
            Some(format!("{} not understood", one.unparsed)),
            named("", &one.fault),
        ];
        line(out, 2, &one.source, &facts);
    }
    for fault in of.config_faults.iter().chain(Some(&of.missing_log).filter(|says| !says.is_empty())) {
        let _ = writeln!(out, "  {}", style.paint(Tone::Warn, &clean(fault)));
    }
    doc.pools.iter().for_each(|one| pool(out, one));
    for one in &of.upstreams {
        let facts = [
            Some(format!("{} answered", one.answered)),
            Some(format!("{} failed", one.failed)),
            Some(format!("{} of these in the last ten minutes", one.failed_10m)),
            one.last_failed.as_ref().map(|at| format!("last at {}", short_time(at, now))),
        ];
        line(out, 2, &format!("upstream {}", one.upstream), &facts);
    }
}

/// A time that was set, in the unit that it was most likely set in.
fn time(ms: u64) -> String {
    if ms > 0 && ms.is_multiple_of(1000) { format!("{} s", ms / 1000) } else { format!("{ms} ms") }
}

fn pool(out: &mut String, doc: &PoolDoc) {
    let limit = |what: &str, ms: Option<u64>| ms.map(|ms| format!("{what} {}", time(ms)));
    let facts = [
        named("", &doc.scheme),
        (doc.tries > 0).then(|| if doc.tries == 1 { "one try".to_owned() } else { format!("{} tries", doc.tries) }),
        limit("connect", doc.connect_ms),
        limit("send", doc.send_ms),
        limit("read", doc.read_ms),
        doc.keepalive_idle_ms.map(|ms| match ms {
            0 => "keeps no idle connections".to_owned(),
            ms => format!("keeps idle connections {}", time(ms)),
        }),
        (doc.header_limit_bytes > 0).then(|| format!("headers of {} B at most", doc.header_limit_bytes)),
        doc.tls.as_ref().map(|tls| format!("TLS {}", if tls.verify { "verified" } else { "not verified" })),
    ];
    line(out, 2, &format!("pool {} ({})", doc.name, or_dash(&doc.source)), &facts);
    if let Some(check) = &doc.check {
        let facts = [
            named("", &check.path),
            named("host ", &check.host),
            named("expects ", &check.expects),
            Some(format!("every {} within {}", time(check.interval_ms), time(check.timeout_ms))),
            Some(format!("out after {}, back after {}", check.fall, check.rise)),
        ];
        line(out, 4, &format!("{} check", check.kind), &facts);
    }
    for one in &doc.members {
        let within = one.fail_timeout_ms.map(|ms| format!(" in {}", time(ms))).unwrap_or_default();
        let facts = [
            named("", &one.name),
            named("checked at ", &one.check_address),
            one.max_fails.map(|fails| match fails {
                0 => "failures never take it out".to_owned(),
                fails => format!("out after {fails} failures{within}"),
            }),
            (one.max_connections > 0).then(|| format!("{} connections at most", one.max_connections)),
            one.backup.then(|| "backup".to_owned()),
            one.down.then(|| "switched off".to_owned()),
        ];
        line(out, 4, &format!("member {}", one.address), &facts);
    }
}
