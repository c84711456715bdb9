//! The fleet: a fold of records into the current and recent state of every host.
//! Keeps, for each host, the state that queries show and a bounded stretch of history that evidence is drawn from.
//! Pure: the same records give the same fleet. Evidence is asked for by host and time, so that a core which holds only a
//! part of the hosts works the same.

mod history;
mod locate;
mod whereabouts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use history::Readings;
pub use history::{FailedRequest, History, is_silent, silence_limit_us};
pub use locate::Place;

use whereabouts::Whereabouts;

use crate::model::{
    CONNECTION_LOST, EventKind, FELL_IDLE, Failure, GatewayState, Hello, HostSample, HostState, InstanceState, Mark,
    Record, RecordKind, Report, SamplerStatus, UpstreamSample, UpstreamTotals,
};

/// Marks kept.
const MARKS_MAX: usize = 256;
/// Services, of which one host may have so many; likewise its gateways and samplers below. One that names more keeps the first.
const INSTANCES_MAX: usize = 1_024;
/// Gateways kept per host.
const GATEWAYS_MAX: usize = 64;
/// Samplers kept per host.
const SAMPLERS_MAX: usize = 256;
/// Upstreams kept per host, of all its gateways; a host that names more keeps the first.
const UPSTREAMS_MAX: usize = 4_096;
/// Sources of lines kept per gateway.
const SOURCES_MAX: usize = 64;
/// Minutes with failures kept per upstream.
const MINUTES_MAX: usize = 10;

/// Times of good health answers kept per service.
const HEALTH_TIMES_MAX: usize = 64;
/// Times of starts that are kept for advice.
const START_TIMES_MAX: usize = 8;
/// A service that listens so long after its start was not starting all the while, microseconds.
const START_MOST_US: i64 = 10 * 60 * 1_000_000;

/// Every host's state and recent history.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Shared with frozen copies of the fleet; what changes is copied first.
    hosts: BTreeMap<String, Arc<HostEntry>>,
    marks: VecDeque<(i64, Mark)>,
    /// Follows from `hosts`; shared like them.
    whereabouts: Arc<Whereabouts>,
}

/// One host: what queries show and what evidence is drawn from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostEntry {
    /// What queries show.
    pub state: Arc<HostState>,
    /// What evidence is drawn from.
    pub history: History,
}

impl Fleet {
    /// A fleet of one host.
    pub fn of(state: Arc<HostState>) -> Self {
        let name = state.name.clone();
        let mut whereabouts = Whereabouts::default();
        whereabouts.moved(&name, &HostState::default(), &state);
        let entry = HostEntry { state, history: History::default() };
        let hosts = BTreeMap::from([(name, Arc::new(entry))]);
        Self { hosts, marks: VecDeque::new(), whereabouts: Arc::new(whereabouts) }
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &Record) {
        let now_us = record.received_us;
        match &record.kind {
            RecordKind::Hello(hello) => self.moving(&hello.host, |fleet| fleet.hello(hello, now_us)),
            RecordKind::Report(report) if self.has_new_addresses(report) => {
                self.moving(&report.host, |fleet| fleet.report(report, now_us));
            }
            RecordKind::Report(report) => self.report(report, now_us),
            RecordKind::StreamEnded { host, why } => {
                if let Some(entry) = self.hosts.get_mut(host) {
                    let state = Arc::make_mut(&mut Arc::make_mut(entry).state);
                    state.connected = false;
                    state.lost_us = if [CONNECTION_LOST, FELL_IDLE].contains(&why.as_str()) { now_us } else { 0 };
                }
            }
            RecordKind::Mark(mark) => {
                self.marks.push_back((now_us, mark.clone()));
                if self.marks.len() > MARKS_MAX {
                    self.marks.pop_front();
                }
            }
            RecordKind::Tick | RecordKind::Alert(_) | RecordKind::Silence(_) | RecordKind::SilenceExpired(_) => {}
        }
    }

    /// A host's entry.
    pub fn host(&self, name: &str) -> Option<&HostEntry> {
        self.hosts.get(name).map(Arc::as_ref)
    }

    /// All hosts in the order of their names.
    pub fn hosts(&self) -> impl Iterator<Item = (&String, &HostEntry)> {
        self.hosts.iter().map(|(name, entry)| (name, &**entry))
    }

    /// Deployment marks of a service on a host in a stretch of time, oldest first.
    pub fn marks(&self, service: &str, host: &str, from_us: i64, to_us: i64) -> impl Iterator<Item = &(i64, Mark)> {
        self.marks.iter().filter(move |(at_us, mark)| {
            (from_us..=to_us).contains(at_us)
                && mark.kind == "deploy"
                && mark.service == service
                && (mark.host.is_empty() || mark.host == host)
        })
    }

    /// Folds something that may change where a host is.
    fn moving(&mut self, name: &str, fold: impl FnOnce(&mut Self)) {
        let state = |fleet: &Self| fleet.hosts.get(name).map(|entry| entry.state.clone()).unwrap_or_default();
        let before = state(self);
        fold(self);
        let now = state(self);
        Arc::make_mut(&mut self.whereabouts).moved(name, &before, &now);
    }

    fn has_new_addresses(&self, report: &Report) -> bool {
        let before = self.hosts.get(&report.host).and_then(|entry| entry.state.sample.as_deref());
        let now = report.host_sample.as_deref();
        now.is_some_and(|now| !before.into_iter().flat_map(HostSample::addresses).eq(now.addresses()))
    }

    fn hello(&mut self, hello: &Hello, now_us: i64) {
        let entry = Arc::make_mut(self.hosts.entry(hello.host.clone()).or_default());
        entry.history.heard(hello.interval_us, entry.state.lost_us, now_us);
        entry.history.agent_started(hello.epoch, now_us);
        let state = Arc::make_mut(&mut entry.state);
        if state.first_heard_us == 0 {
            state.name = hello.host.clone();
            state.first_heard_us = now_us;
        }
        if state.boot_id != hello.boot_id {
            entry.history.booted(&state.boot_id, now_us);
            state.boot_id.clone_from(&hello.boot_id);
            state.boot_heard_us = now_us;
        }
        state.agent_version.clone_from(&hello.agent_version);
        state.interval_us = hello.interval_us;
        state.clock_ahead_us = hello.clock_ahead_us;
        state.connected = true;
        state.lost_us = 0;
        state.stopped = false;
        state.last_heard_us = now_us;
        state.samplers = by_name(&hello.samplers);
        state.machine = hello.machine.clone().map(Arc::new);
        state.services = hello.services.iter().map(|service| (service.name.clone(), service.clone())).collect();
        state.instances.retain(|name, _| state.services.is_empty() || state.services.contains_key(name));
    }

    /// Thins a host's past, for no open case bears on it.
    pub fn calm(&mut self, host: &str, now_us: i64) {
        if let Some(entry) = self.hosts.get_mut(host) {
            Arc::make_mut(entry).history.calm(now_us);
        }
    }

    fn report(&mut self, report: &Report, now_us: i64) {
        let entry = Arc::make_mut(self.hosts.entry(report.host.clone()).or_default());
        entry.history.heard(entry.state.interval_us, entry.state.lost_us, now_us);
        let state = Arc::make_mut(&mut entry.state);
        if state.first_heard_us == 0 {
            state.name.clone_from(&report.host);
            state.first_heard_us = now_us;
        }
        state.last_heard_us = now_us;
        state.clock_ahead_us = report.clock_ahead_us;
        for status in &report.samplers {
            if let Some(known) = entry_within(&mut state.samplers, &status.name, SAMPLERS_MAX) {
                *known = status.clone();
            }
        }
        let mut readings = Readings::of(report);
        if let Some(sample) = &readings.host {
            state.sample = Some(sample.clone());
        }
        for sample in &readings.instances {
            if let Some(instance) = instance(state, &sample.service) {
                instance.sample = Some(sample.clone());
            }
        }
        for config in &report.gateways {
            if let Some(gateway) = gateway(state, &config.gateway) {
                gateway.take_config(config);
            }
        }
        for sample in &mut readings.upstreams {
            // What a log names by a server's name is told and asked for by its address.
            if let Some(gateway) = gateway(state, &sample.gateway) {
                sample.upstream = gateway.address_of("", &sample.upstream, sample.to_us);
            }
            count_answers(state, sample);
        }
        for source in &report.sources {
            let sources = gateway(state, &source.gateway).map(|gateway| &mut gateway.sources);
            if let Some(known) = sources.and_then(|known| entry_within(known, &source.source, SOURCES_MAX)) {
                *known = Arc::new(source.clone());
            }
        }
        for event in &report.events {
            fold_event(state, event.at_us, &event.kind);
        }
        entry.history.report(report, readings, now_us);
        let thinned = entry.history.thinned();
        if thinned > state.thinned.map_or(0, |(_, times)| times) {
            state.thinned = Some((now_us, thinned));
        }
    }
}

/// What is kept under a name. None: it would be one more than is kept.
fn entry_within<'a, T: Default>(kept: &'a mut BTreeMap<String, T>, name: &str, most: usize) -> Option<&'a mut T> {
    // Nearly always it is there: then its name is not copied.
    if !kept.contains_key(name) {
        if kept.len() >= most {
            return None;
        }
        kept.insert(name.to_owned(), T::default());
    }
    kept.get_mut(name)
}

fn instance<'a>(state: &'a mut HostState, service: &str) -> Option<&'a mut InstanceState> {
    entry_within(&mut state.instances, service, INSTANCES_MAX)
}

fn gateway<'a>(state: &'a mut HostState, name: &str) -> Option<&'a mut GatewayState> {
    entry_within(&mut state.gateways, name, GATEWAYS_MAX)
}

fn upstream<'a>(state: &'a mut HostState, of: &str, address: &str) -> Option<&'a mut UpstreamTotals> {
    let kept: usize = state.gateways.values().map(|gateway| gateway.upstreams.len()).sum();
    let gateway = gateway(state, of)?;
    let most = UPSTREAMS_MAX.saturating_sub(kept - gateway.upstreams.len());
    entry_within(&mut gateway.upstreams, address, most)
}

fn by_name(samplers: &[SamplerStatus]) -> BTreeMap<String, SamplerStatus> {
    samplers.iter().map(|status| (status.name.clone(), status.clone())).collect()
}

fn count_answers(state: &mut HostState, sample: &UpstreamSample) {
    if sample.upstream.is_empty() {
        let Some(gateway) = gateway(state, &sample.gateway) else { return };
        gateway.unparsed += sample.unparsed;
        if !sample.unparsed_sample.is_empty() {
            gateway.unparsed_sample.clone_from(&sample.unparsed_sample);
        }
        return;
    }
    let Some(totals) = upstream(state, &sample.gateway, &sample.upstream) else { return };
    totals.answered += sample.answered;
    totals.answered_5xx += sample.answered_5xx;
    totals.slowest_us.note(sample.to_us, sample.response_max_us);
    totals.last_answered_us = totals.last_answered_us.max(sample.last_answered_us);
}

fn fold_event(state: &mut HostState, at_us: i64, kind: &EventKind) {
    match kind {
        EventKind::ProcessStarted(start) => {
            let Some(instance) = instance(state, &start.service) else { return };
            instance.last_start_us = instance.last_start_us.max(Some(start.started_us));
        }
        EventKind::ProcessExited(exit) => {
            let Some(instance) = instance(state, &exit.service) else { return };
            instance.last_exit = Some((at_us, exit.how()));
            if exit.took_down() && instance.role.is_some() {
                instance.role = Some((false, at_us));
            }
        }
        EventKind::Health(health) => {
            let Some(instance) = instance(state, &health.service) else { return };
            instance.health = Some((at_us, health.clone()));
            if let Some(took_us) = health.first_byte_us.filter(|_| (200..400).contains(&health.status)) {
                instance.health_times_us.push_back(took_us);
                if instance.health_times_us.len() > HEALTH_TIMES_MAX {
                    instance.health_times_us.pop_front();
                }
            }
        }
        EventKind::ListenChanged(change) if change.listening => {
            let Some(instance) = instance(state, &change.service) else { return };
            let took_us = instance.last_start_us.map(|start_us| at_us - start_us);
            let took_us = took_us.filter(|us| (0..START_MOST_US).contains(us)).map(i64::unsigned_abs);
            instance.start_times_us.extend(took_us);
            if instance.start_times_us.len() > START_TIMES_MAX {
                instance.start_times_us.pop_front();
            }
        }
        EventKind::RoleChanged(change) => {
            let Some(instance) = instance(state, &change.service) else { return };
            instance.role = Some((change.leader, at_us));
        }
        EventKind::Probe(probe) => {
            let Some(gateway) = gateway(state, &probe.gateway) else { return };
            let upstream = gateway.address_of("", &probe.upstream, at_us);
            let Some(totals) = gateway.upstreams.get_mut(&upstream) else { return };
            totals.idle_close_us = probe.idle_close_us.or(totals.idle_close_us);
            let header_bytes = probe.http.as_ref().map_or(0, |http| http.header_bytes);
            totals.header_bytes.note(at_us, header_bytes);
        }
        EventKind::Failure(failure) => count_failures(state, at_us, failure),
        EventKind::AgentStopping(_) => state.stopped = true,
        _ => {}
    }
}

fn count_failures(state: &mut HostState, at_us: i64, failure: &Failure) {
    if failure.unconfirmed {
        return;
    }
    // It is known from its first failure on, also where that names no upstream.
    gateway(state, &failure.gateway);
    for attempt in failure.attempts.iter().filter(|attempt| attempt.signal.is_failure()) {
        let named =
            |gateway: &GatewayState| gateway.address_of(&failure.pool, &attempt.upstream, failure.began_us(at_us));
        let address = state.gateways.get(&failure.gateway).map(named).unwrap_or_default();
        let Some(totals) = upstream(state, &failure.gateway, &address) else { continue };
        let failed = 1 + u64::from(failure.repeats);
        totals.failed += failed;
        totals.last_failed_us = totals.last_failed_us.max(at_us);
        let minute = at_us.div_euclid(60_000_000);
        match totals.failed_by_minute.back_mut() {
            Some((last, count)) if *last == minute => *count += failed,
            _ => totals.failed_by_minute.push_back((minute, failed)),
        }
        if totals.failed_by_minute.len() > MINUTES_MAX {
            totals.failed_by_minute.pop_front();
        }
    }
}
