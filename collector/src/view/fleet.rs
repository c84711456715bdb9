//! Hosts and instances as documents, and the fleet in a screenful.

use std::collections::{BTreeMap, VecDeque};

use super::document::*;
use super::gateways::failed_by_minute;
use super::rollout::rollout_doc;
use super::{Stats, View, incident_doc, incidents};
use crate::model::{HealthResult, HostSample, HostState, IncidentState, InstanceSample, InstanceState};

/// The collector's version.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");
/// Open incidents that `status` lists.
const STATUS_OPEN_MAX: usize = 50;

/// A host's document.
pub fn host_doc(host: &HostState) -> HostDoc {
    let sample = host.sample.as_deref();
    let impaired = host.impaired();
    HostDoc {
        host: host.name.clone(),
        state: host_state(host).to_owned(),
        last_heard: stamp(host.last_heard_us),
        agent_version: host.agent_version.clone(),
        boot_id: host.boot_id.clone(),
        clock_ahead_ms: host.clock_ahead_us / 1000,
        uptime_s: sample.map(|one| one.uptime_us / 1_000_000),
        cpu_ratio: sample.and_then(|one| one.cpu_busy_ratio),
        load1: sample.and_then(|one| one.load1),
        mem_ratio: sample.and_then(mem_ratio),
        services: service_names(host).cloned().collect(),
        gateways: host.gateways.keys().cloned().collect(),
        impaired: impaired
            .map(|status| SamplerDoc {
                name: status.name.clone(),
                state: status.state.id().to_owned(),
                why: status.why.clone(),
            })
            .collect(),
    }
}

/// Share of memory in use.
pub fn mem_ratio(sample: &HostSample) -> Option<f64> {
    let (total, free) = (sample.mem_total_bytes?, sample.mem_available_bytes?);
    (total > 0).then(|| 1.0 - free as f64 / total as f64)
}

/// CPU in use by an instance, in CPUs. Of no process there is nothing to add up: absent, not 0.
pub fn cpu_ratio(sample: &InstanceSample) -> Option<f64> {
    let running = Some(&sample.processes).filter(|processes| !processes.is_empty())?;
    running.iter().map(|process| process.cpu_ratio).sum()
}

/// Resident memory of an instance, bytes; absent as above.
pub fn rss_bytes(sample: &InstanceSample) -> Option<u64> {
    let running = Some(&sample.processes).filter(|processes| !processes.is_empty())?;
    Some(running.iter().fold(0, |sum, process| process.rss_bytes.saturating_add(sum)))
}

/// "up", "silent" or "stopped".
pub fn host_state(host: &HostState) -> &'static str {
    match (host.stopped, host.connected) {
        (true, _) => "stopped",
        (false, true) => "up",
        (false, false) => "silent",
    }
}

/// The services of a host in the order of their names: those that its agent was told of, and those that it saw.
fn service_names(host: &HostState) -> impl Iterator<Item = &String> {
    let (mut told, mut seen) = (host.services.keys().peekable(), host.instances.keys().peekable());
    std::iter::from_fn(move || match (told.peek(), seen.peek()) {
        (Some(one), Some(other)) if one == other => told.next().and(seen.next()),
        (Some(one), Some(other)) if one > other => seen.next(),
        (None, _) => seen.next(),
        _ => told.next(),
    })
}

/// A service on a host of which nothing has been read.
static UNREAD: InstanceState = InstanceState {
    sample: None,
    health: None,
    last_start_us: None,
    last_exit: None,
    role: None,
    health_times_us: VecDeque::new(),
    start_times_us: VecDeque::new(),
};

/// An instance, before it is written out: most questions pass over most of them.
pub struct Instance<'a> {
    host: &'a HostState,
    service: &'a str,
    /// Where gateways reach it, as configured.
    configured: &'a [String],
    state: &'a InstanceState,
}

/// The instances of a host.
pub fn instances(host: &HostState) -> impl Iterator<Item = Instance<'_>> {
    service_names(host).map(move |service| Instance {
        host,
        service,
        configured: host.services.get(service).map(|config| config.listen.as_slice()).unwrap_or_default(),
        state: host.instances.get(service).unwrap_or(&UNREAD),
    })
}

impl<'a> Instance<'a> {
    /// The service.
    pub fn service(&self) -> &'a str {
        self.service
    }

    /// Its newest readings.
    pub fn sample(&self) -> Option<&'a InstanceSample> {
        self.state.sample.as_deref()
    }

    /// Whether gateways reach it at an address: where it is configured, or else where it listens.
    pub fn is_at(&self, address: &str) -> bool {
        let listeners = self.state.sample.iter().flat_map(|one| &one.listeners);
        self.configured.iter().any(|one| one == address)
            || (self.configured.is_empty() && listeners.into_iter().any(|one| one.address == address))
    }

    /// The word for its state.
    pub fn state(&self) -> &'static str {
        instance_state(self.host, self.configured, self.state)
    }

    /// Its document.
    pub fn doc(&self) -> InstanceDoc {
        instance_doc(self)
    }
}

fn instance_doc(instance: &Instance<'_>) -> InstanceDoc {
    let Instance { host, service, configured, state } = *instance;
    let sample = state.sample.as_deref();
    let listeners = sample.map(|one| one.listeners.as_slice()).unwrap_or_default();
    let fullest = listeners.iter().max_by_key(|one| one.queue).map(|one| (one.queue, one.queue_limit));
    let actual = || listeners.iter().map(|one| one.address.clone()).collect();
    InstanceDoc {
        service: service.to_owned(),
        host: host.name.clone(),
        state: instance.state().to_owned(),
        listen: if configured.is_empty() { actual() } else { configured.to_vec() },
        processes: sample.map(|one| one.process_count),
        cpu_ratio: sample.and_then(cpu_ratio),
        rss_bytes: sample.and_then(rss_bytes),
        mem_limit_bytes: sample.and_then(|one| one.cgroup.as_ref()?.mem_limit_bytes),
        queue: fullest,
        health: state.health.as_ref().map(|(at_us, health)| HealthDoc {
            at: stamp(*at_us),
            ok: is_healthy(health),
            status: health.status,
            first_byte_ms: health.first_byte_us.map(|us| us / 1000),
            error: if health.error.is_empty() { health.signal.clone() } else { health.error.clone() },
        }),
        role: state.role.map(|(leader, since_us)| RoleDoc { leader, since: stamp(since_us) }),
        last_start: state.last_start_us.map(stamp),
        last_exit: state.last_exit.as_ref().map(|(at_us, how)| ExitDoc { at: stamp(*at_us), how: how.clone() }),
        unit: sample.map(|one| one.unit.clone()).unwrap_or_default(),
    }
}

/// Whether a health result is a good one.
pub fn is_healthy(health: &HealthResult) -> bool {
    health.signal.is_empty() && (health.connect_only || (200..400).contains(&health.status))
}

/// What an address ends with.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

fn instance_state(host: &HostState, configured: &[String], state: &InstanceState) -> &'static str {
    let Some(sample) = state.sample.as_deref().filter(|_| host.connected) else { return "unknown" };
    let missing = |wanted: &String| !sample.listeners.iter().any(|one| port(&one.address) == port(wanted));
    if sample.process_count == 0 {
        "not_running"
    } else if sample.is_frozen() || sample.stopped_process().is_some() {
        "paused"
    } else if sample.listeners_known && configured.iter().any(missing) {
        "not_listening"
    } else if state.health.as_ref().is_some_and(|(_, health)| !is_healthy(health)) {
        "unhealthy"
    } else {
        "running"
    }
}

/// The line of `watch` that tells how many attempts fail, and the counts that it tells: the same counts need no new line.
pub fn rate_doc(view: &View) -> (WatchDoc, (u64, u64)) {
    let (this_minute, last_minute) = failed_by_minute(view);
    (WatchDoc::Rate(RateDoc { at: stamp(view.at_us), this_minute, last_minute }), (this_minute, last_minute))
}

/// The fleet in a screenful.
pub fn status_doc(view: &View) -> StatusDoc {
    let mut doc = StatusDoc {
        at: stamp(view.at_us),
        hosts: counts(["up", "silent", "stopped"], view.hosts.iter().map(|host| host_state(host))),
        instances: counts([], view.hosts.iter().flat_map(|host| instances(host)).map(|one| one.state())),
        gateways: view.hosts.iter().map(|host| host.gateways.len() as u64).sum(),
        incidents: counts(["open", "resolved"], view.incidents.iter().map(|one| one.state.id())),
        failed_by_minute: failed_by_minute(view),
        agents: rollout_doc(view, OWN_VERSION),
        collector: collector_doc(&view.stats),
        ..StatusDoc::default()
    };
    let open = incidents::select(view, |incident| incident.state == IncidentState::Open);
    doc.open = open.into_iter().take(STATUS_OPEN_MAX).map(incident_doc).collect();
    doc
}

/// How often each word comes up; of `told` also those that never do.
fn counts<const N: usize>(told: [&'static str; N], words: impl Iterator<Item = &'static str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::from(told.map(|word| (word, 0)));
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect()
}

fn collector_doc(stats: &Stats) -> CollectorDoc {
    CollectorDoc {
        version: OWN_VERSION.to_owned(),
        started: stamp(stats.started_us),
        journal_records: stats.journal_records,
        journal_bytes: stats.journal_bytes,
        journal_faults: stats.journal_faults,
        disk_full: stats.disk_full,
        reports: stats.reports,
        duplicates: stats.duplicates,
        gaps: stats.gaps,
        cut: stats.texts_cut + stats.entries_cut + stats.times_cut,
        unknown: stats.unknown_records,
    }
}
