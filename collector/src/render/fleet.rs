//! Status, hosts, instances, gateways.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::table::Table;
use super::{Style, Tone, incident, option, or_dash, percent, short_time, size};
use crate::view::*;

/// The fleet in a screenful.
pub fn status(doc: &StatusDoc, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "hosts      {}", counts(&doc.hosts));
    let _ = writeln!(out, "instances  {}", counts(&doc.instances));
    let _ = writeln!(out, "gateways   {}", doc.gateways);
    let (this, last) = doc.failed_by_minute;
    let _ = writeln!(out, "failures   {this} this minute, {last} the minute before");
    let open = doc.incidents.get("open").copied().unwrap_or(0);
    let tone = if open > 0 { Tone::Bad } else { Tone::Good };
    let _ = writeln!(out, "incidents  {}", style.paint(tone, &counts(&doc.incidents)));
    let collector = &doc.collector;
    let _ = writeln!(
        out,
        "collector  {} since {}, journal {} in {} records",
        or_dash(&collector.version),
        short_time(&collector.started, &doc.at),
        size(Some(collector.journal_bytes)),
        collector.journal_records,
    );
    if collector.disk_full {
        let _ = writeln!(out, "{}", style.paint(Tone::Bad, "the collector's disk is full: nothing is taken"));
    }
    let _ = write!(out, "{}", rollout(&doc.agents, &doc.doors, &doc.at, style));
    let _ = write!(out, "{}", doors(&doc.doors, &doc.at, style));
    if !doc.open.is_empty() {
        let _ = write!(out, "\n{}", incident::table(&doc.open, &doc.at, style));
    }
    out
}

/// Hosts that a line of the rollout names.
const NAMED: usize = 8;

/// Which agents run which version, how they come in, who is behind, and who is silent since when.
fn rollout(doc: &RolloutDoc, doors: &DoorsDoc, now: &str, style: Style) -> String {
    let mut out = String::new();
    if !doc.versions.is_empty() {
        let versions = doc.versions.iter().map(|(version, count)| format!("{count} of {}", clean(version)));
        let proved = if doors.ingest == "tls" { "; over TLS, each with a certificate of its own" } else { "" };
        let _ = writeln!(out, "agents     {}{proved}", versions.collect::<Vec<_>>().join(", "));
    }
    let behind = doc.behind.iter().map(|one| format!("{} ({})", clean(&one.host), clean(&one.version)));
    let silent = doc.silent.iter().map(|one| format!("{} since {}", clean(&one.host), short_time(&one.since, now)));
    for (word, count, tone, named) in [
        ("behind", doc.behind_count, Tone::Warn, behind.take(NAMED).collect::<Vec<_>>()),
        ("silent", doc.silent_count, Tone::Bad, silent.take(NAMED).collect()),
    ] {
        if count > 0 {
            let further = count.saturating_sub(named.len() as u64);
            let more = if further > 0 { format!(" and {further} more") } else { String::new() };
            let _ = writeln!(out, "{}", style.paint(tone, &format!("{word}     {}{more}", named.join(", "))));
        }
    }
    out
}

/// What is wrong with the front doors; nothing where nothing is.
fn doors(doc: &DoorsDoc, now: &str, style: Style) -> String {
    let mut out = String::new();
    for door in &doc.exposed {
        let told = format!("plain text: {} takes anybody's word, unencrypted", clean(door));
        let _ = writeln!(out, "{}", style.paint(Tone::Bad, &told));
    }
    let _ = write!(out, "{}", notices(&doc.notices, now, style));
    out
}

/// What there is to tell of hosts at the front doors, a line each.
fn notices(docs: &[NoticeDoc], now: &str, style: Style) -> String {
    let mut out = String::new();
    for notice in docs {
        let often = if notice.count > 1 { format!(", {} times", notice.count) } else { String::new() };
        let at = short_time(&notice.at, now);
        let told = format!("{at} host {}: {}{often}", or_dash(&notice.host), clean(&notice.says));
        let _ = writeln!(out, "{}", style.paint(Tone::Warn, &told));
    }
    out
}

fn counts(states: &BTreeMap<String, u64>) -> String {
    let told: Vec<String> = states
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {}", clean(state)))
        .collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ").replace('_', " ") }
}

/// Says that there is none of a kind.
fn nothing(kind: &str, kept_since: Option<&str>) -> String {
    match kept_since {
        Some(since) => format!("no {kind} is known of that time; what is kept begins at {}\n", clean(since)),
        None => format!("no {kind} has been reported yet\n"),
    }
}

/// Hosts.
pub fn hosts(doc: &HostsDoc, style: Style) -> String {
    let notices = notices(&doc.notices, &doc.at, style);
    if doc.hosts.is_empty() {
        return nothing("host", doc.kept_since.as_deref()) + &notices;
    }
    let mut table = Table::new(
        &["HOST", "STATE", "LAST HEARD", "CPU", "LOAD", "MEM", "SERVICES", "GATEWAYS", "BLIND IN"],
        &["LOAD", "MEM", "CPU", "GATEWAYS", "SERVICES"],
    );
    for host in &doc.hosts {
        let tone = match host.state.as_str() {
            "up" if host.impaired.is_empty() => Tone::Plain,
            "up" => Tone::Warn,
            "stopped" => Tone::Faint,
            _ => Tone::Bad,
        };
        let impaired: Vec<&str> = host.impaired.iter().map(|sampler| sampler.name.as_str()).collect();
        table.row(
            tone,
            vec![
                host.host.clone(),
                host.state.clone(),
                short_time(&host.last_heard, &doc.at),
                percent(host.cpu_ratio),
                host.load1.map_or_else(|| "-".to_owned(), |load| format!("{load:.2}")),
                percent(host.mem_ratio),
                or_dash(&host.services.join(" ")),
                or_dash(&host.gateways.join(" ")),
                or_dash(&impaired.join(" ")),
            ],
        );
    }
    let gap = if notices.is_empty() { "" } else { "\n" };
    table.render(style) + gap + &notices
}

/// Instances.
pub fn instances(doc: &InstancesDoc, style: Style) -> String {
    if doc.instances.is_empty() {
        return nothing("service", doc.kept_since.as_deref());
    }
    let mut table = Table::new(
        &["SERVICE", "HOST", "STATE", "LISTEN", "PROCS", "CPU", "MEMORY", "QUEUE", "HEALTH", "ROLE", "LAST EXIT"],
        &["PROCS", "QUEUE", "CPU", "MEMORY", "LISTEN"],
    );
    for one in &doc.instances {
        let tone = match one.state.as_str() {
            "running" => Tone::Plain,
            "unknown" => Tone::Faint,
            "unhealthy" => Tone::Warn,
            _ => Tone::Bad,
        };
        let memory = match one.mem_limit_bytes {
            Some(limit) => format!("{} of {}", size(one.rss_bytes), size(Some(limit))),
            None => size(one.rss_bytes),
        };
        let exit = one.last_exit.as_ref().map(|exit| format!("{} at {}", exit.how, short_time(&exit.at, &doc.at)));
        table.row(
            tone,
            vec![
                one.service.clone(),
                one.host.clone(),
                one.state.replace('_', " "),
                or_dash(&one.listen.join(" ")),
                one.processes.map_or_else(|| "-".to_owned(), |count| count.to_string()),
                percent(one.cpu_ratio),
                memory,
                one.queue.map_or_else(|| "-".to_owned(), |(queue, limit)| format!("{queue}/{limit}")),
                one.health.as_ref().map_or_else(|| "-".to_owned(), health),
                one.role.as_ref().map_or_else(|| "-".to_owned(), |role| role_words(role, &doc.at)),
                option(exit.as_deref()),
            ],
        );
    }
    table.render(style)
}

fn role_words(role: &RoleDoc, now: &str) -> String {
    format!("{} since {}", if role.leader { "leader" } else { "follower" }, short_time(&role.since, now))
}

fn health(health: &HealthDoc) -> String {
    let took = health.first_byte_ms.map(|ms| format!(" in {ms} ms")).unwrap_or_default();
    match (health.ok, health.status) {
        (true, 0) => "connects".to_owned(),
        (_, 0) => clean(&health.error).into_owned(),
        (_, status) => format!("{status}{took}"),
    }
}

/// What was read of a source, and a line for each trouble with it.
fn source_lines(source: &SourceDoc, style: Style) -> String {
    let mut out = format!("  {}: {} lines, {} failures\n", clean(&source.source), source.lines, source.failures);
    if !source.fault.is_empty() {
        let _ = writeln!(out, "    {}", style.paint(Tone::Warn, &clean(&source.fault)));
    }
    if source.unparsed > 0 {
        out.push_str("  ");
        out.push_str(&unparsed(source.unparsed, &source.unparsed_sample, style));
    }
    let lost = [
        (source.cut_lines, "lines longer than 64 KiB were cut"),
        (source.lost_lines, "messages came faster than they could be read and were left out"),
        (source.lost_files, "rotated files were gone or packed before they were read to their ends"),
        (source.cut_senders, "connections were refused or cut"),
    ];
    for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(out, "    {}", style.paint(Tone::Warn, &format!("{count} {what}")));
    }
    out
}

fn unparsed(count: u64, sample: &str, style: Style) -> String {
    format!("  {}\n", style.paint(Tone::Warn, &format!("{count} log lines not understood, such as: {}", clean(sample))))
}

/// Gateways, each with its upstreams.
pub fn gateways(doc: &GatewaysDoc, style: Style) -> String {
    if doc.gateways.is_empty() {
        return nothing("gateway", doc.kept_since.as_deref());
    }
    let mut out = String::new();
    for (at, gateway) in doc.gateways.iter().enumerate() {
        let gap = if at > 0 { "\n" } else { "" };
        let kind = or_dash(&gateway.kind);
        let _ = writeln!(out, "{gap}{} on {} ({kind})", clean(&gateway.name), clean(&gateway.host));
        for fault in gateway.config_faults.iter().chain(Some(&gateway.missing_log).filter(|one| !one.is_empty())) {
            let _ = writeln!(out, "  {}", style.paint(Tone::Warn, &clean(fault)));
        }
        for source in &gateway.sources {
            out.push_str(&source_lines(source, style));
        }
        let told_by_sources: u64 = gateway.sources.iter().map(|source| source.unparsed).sum();
        if gateway.unparsed > told_by_sources {
            out.push_str(&unparsed(gateway.unparsed - told_by_sources, &gateway.unparsed_sample, style));
        }
        let mut table = Table::new(
            &["UPSTREAM", "SERVICE", "HOST", "ANSWERED", "5XX", "FAILED", "LAST 10M", "LAST FAILURE"],
            &["5XX", "HOST", "SERVICE"],
        );
        for one in &gateway.upstreams {
            table.row(
                if one.failed_10m > 0 { Tone::Bad } else { Tone::Plain },
                vec![
                    one.upstream.clone(),
                    option(one.service.as_deref()),
                    option(one.host.as_deref()),
                    one.answered.to_string(),
                    one.answered_5xx.to_string(),
                    one.failed.to_string(),
                    one.failed_10m.to_string(),
                    one.last_failed.as_deref().map_or_else(|| "-".to_owned(), |stamp| short_time(stamp, &doc.at)),
                ],
            );
        }
        table.render(style.within(2)).lines().for_each(|line| out.extend(["  ", line, "\n"]));
    }
    out
}
