//! A target over a stretch of time: states and readings in columns of equal length, and what happened, of its instances,
//! their hosts and the gateways before them. Records that came late stand where they belong by their own time.

mod happening;
mod track;

use super::chronicle::{Chronicle, Stretch, moment};
use super::document::{HappeningDoc, TimelineDoc, stamp};
use super::fleet::{self, host_state};
use super::question::BadQuestion;
use super::scope::Scope;
use super::{Answer, View};
use crate::model::{EventKind, Failure, HostSample, HostState, Incident, InstanceSample, Record, RecordKind};
use happening::Happenings;
use track::{Columns, Track};

/// Most columns. A terminal has fewer; whoever draws joins some.
const COLUMNS_MAX: i64 = 240;
/// Lengths that a column may have, seconds.
const STEPS_S: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 21_600];
/// How far back it goes if not told, microseconds.
const SINCE_US: i64 = 15 * 60 * 1_000_000;
/// How far back at the most.
const SINCE_MAX_US: i64 = COLUMNS_MAX * 21_600 * 1_000_000;
/// Records from so long before tell what the state was at the beginning.
const LEAD_US: i64 = 5 * 60 * 1_000_000;
/// Records that came so long after may tell of the stretch.
const LATE_US: i64 = 2 * 60 * 1_000_000;

/// The words of an instance's state, best first: of several in one column the last of these is told.
const INSTANCE_STATES: &[&str] = &["running", "unknown", "unhealthy", "paused", "not_listening", "not_running"];
/// The same for hosts.
const HOST_STATES: &[&str] = &["up", "stopped", "silent"];

/// A timeline that is being made.
pub struct Timeline {
    target: String,
    scope: Scope,
    kept_since: Option<String>,
    columns: Columns,
    instances: Vec<Track>,
    hosts: Vec<Track>,
    upstreams: Vec<Track>,
    happenings: Happenings,
    unreadable: Vec<String>,
}

impl Timeline {
    /// An empty timeline of `target` up to `at` (now, or the end of the incident that is the target).
    pub fn new(
        view: &View,
        kept_since_us: Option<i64>,
        target: &str,
        at: Option<&str>,
        since_us: Option<i64>,
    ) -> Result<Self, BadQuestion> {
        let scope = Scope::of(view, target);
        let since_us = since_us.map(|us| us.clamp(1_000_000, SINCE_MAX_US));
        let (from_us, to_us) = scope.stretch(view, moment(view, at)?, since_us, SINCE_US);
        let from_us = from_us.max(to_us.saturating_sub(SINCE_MAX_US));
        let interval_us = view.hosts.iter().filter(|host| scope.hosts.contains(&host.name)).map(|one| one.interval_us);
        let columns = columns(from_us, to_us, interval_us.max().unwrap_or(0));
        let track = |kind, name: &str, host: &str| Track::new(kind, name, host, columns);
        let instances = scope.instances.iter().map(|(service, host)| {
            let track = track("instance", service, host).states(INSTANCE_STATES);
            track.most("cpu", "cpus").most("memory", "bytes").most("health", "ms").most("queue", "connections")
        });
        let hosts = scope
            .hosts
            .iter()
            .map(|host| track("host", host, host).states(HOST_STATES).most("cpu", "ratio").most("memory", "ratio"));
        let named = scope.upstreams.iter().filter(|way| !way.upstream.is_empty());
        let upstreams = named.map(|way| {
            let track = track("upstream", &way.upstream, &way.host).behind(&way.gateway);
            track.sum("failures", "attempts").sum("answered", "attempts")
        });
        let mut happenings = Happenings::new(columns);
        let concerned = |one: &Incident| {
            let place = one.service.as_deref().zip(one.host.as_deref());
            place.is_some_and(|(service, host)| scope.has_instance(service, host))
                || one.upstream.as_deref().is_some_and(|way| scope.has_way(&one.gateway.host, &one.gateway.name, way))
        };
        view.incidents.iter().filter(|one| concerned(one)).for_each(|one| happenings.incident(one));
        Ok(Self {
            target: target.to_owned(),
            columns,
            instances: instances.collect(),
            hosts: hosts.collect(),
            upstreams: upstreams.collect(),
            happenings,
            kept_since: kept_since_us.map(stamp),
            unreadable: Vec::new(),
            scope,
        })
    }

    fn states(&mut self, at_us: i64, host: &HostState) {
        for track in self.hosts.iter_mut().filter(|track| track.host == host.name) {
            track.state(at_us, host_state(host));
        }
        for instance in fleet::instances(host) {
            let own = |track: &&mut Track| track.host == host.name && track.name == instance.service();
            self.instances.iter_mut().filter(own).for_each(|track| track.state(at_us, instance.state()));
        }
    }

    fn host_sample(&mut self, host: &str, sample: &HostSample) {
        for track in self.hosts.iter_mut().filter(|track| track.host == host) {
            track.read("cpu", sample.at_us, sample.cpu_busy_ratio);
            track.read("memory", sample.at_us, fleet::mem_ratio(sample));
        }
    }

    fn instance_sample(&mut self, host: &str, sample: &InstanceSample) {
        let own = |track: &&mut Track| track.host == host && track.name == sample.service;
        for track in self.instances.iter_mut().filter(own) {
            track.read("cpu", sample.at_us, fleet::cpu_ratio(sample));
            track.read("memory", sample.at_us, fleet::rss_bytes(sample).map(|bytes| bytes as f64));
            let queue = sample.listeners.iter().map(|one| one.queue).max();
            track.read("queue", sample.at_us, queue.map(f64::from));
        }
    }

    fn failure(&mut self, host: &HostState, at_us: i64, failure: &Failure) {
        for attempt in failure.attempts.iter().filter(|one| one.signal.is_failure() && !failure.unconfirmed) {
            let failed = 1.0 + f64::from(failure.repeats);
            let began_us = failure.began_us(at_us);
            let upstream = address_of(host, &failure.gateway, &failure.pool, &attempt.upstream, began_us);
            self.way(&host.name, &failure.gateway, &upstream, "failures", at_us, failed);
        }
    }

    fn way(&mut self, host: &str, gateway: &str, upstream: &str, reading: &str, at_us: i64, count: f64) {
        let own = |track: &&mut Track| track.host == host && track.gateway == gateway && track.name == upstream;
        self.upstreams.iter_mut().filter(own).for_each(|track| track.read(reading, at_us, Some(count)));
    }
}

/// The address of an upstream as a gateway's record of a time names it.
fn address_of(host: &HostState, gateway: &str, pool: &str, named: &str, at_us: i64) -> String {
    host.gateways.get(gateway).map_or_else(|| named.to_owned(), |known| known.address_of(pool, named, at_us))
}

impl Chronicle for Timeline {
    fn stretch(&self) -> Stretch {
        let Columns { from_us, to_us, .. } = self.columns;
        let hosts = self.scope.hosts.clone();
        Stretch { hosts, from_us: from_us.saturating_sub(LEAD_US), to_us: to_us.saturating_add(LATE_US) }
    }

    fn take(&mut self, record: &Record, host: &HostState) {
        self.states(record.received_us, host);
        self.happenings.record(&self.scope, record);
        let RecordKind::Report(report) = &record.kind else { return };
        report.host_sample.iter().for_each(|sample| self.host_sample(&host.name, sample));
        report.instances.iter().for_each(|sample| self.instance_sample(&host.name, sample));
        for sample in report.upstreams.iter().filter(|sample| sample.answered > 0) {
            let answered = sample.answered as f64;
            let upstream = address_of(host, &sample.gateway, "", &sample.upstream, sample.to_us);
            self.way(&host.name, &sample.gateway, &upstream, "answered", sample.to_us, answered);
        }
        for event in &report.events {
            match &event.kind {
                EventKind::Failure(failure) => self.failure(host, event.at_us, failure),
                EventKind::Health(health) => {
                    let took_ms = health.first_byte_us.map(|us| us as f64 / 1000.0);
                    let own = |track: &&mut Track| track.host == host.name && track.name == health.service;
                    self.instances.iter_mut().filter(own).for_each(|one| one.read("health", event.at_us, took_ms));
                }
                _ => {}
            }
        }
    }

    fn take_shared(&mut self, record: &Record) {
        self.happenings.record(&self.scope, record);
    }

    fn unreadable(&mut self, why: String) {
        self.unreadable.push(why);
    }

    fn answer(self: Box<Self>) -> Answer {
        let Columns { from_us, to_us, step_us } = self.columns;
        let (happenings, happenings_left_out) = self.happenings.docs();
        let tracks = self.instances.into_iter().chain(self.hosts).chain(self.upstreams);
        let found = !self.scope.is_empty();
        let document = TimelineDoc {
            target: self.target,
            near: self.scope.near,
            from: stamp(from_us),
            to: stamp(to_us),
            step_ms: step_us / 1000,
            kept_since: self.kept_since,
            tracks: tracks.map(Track::doc).collect(),
            happenings: happenings.into_iter().map(HappeningDoc::from).collect(),
            happenings_left_out,
            tracks_left_out: self.scope.left_out as u64,
            unreadable: self.unreadable,
        };
        Answer::new(&document, found)
    }
}

/// Columns of a length that reads well and in which every host was read at least once.
fn columns(from_us: i64, to_us: i64, interval_us: u64) -> Columns {
    let least_us = i64::try_from(interval_us).unwrap_or(i64::MAX).max((to_us - from_us) / COLUMNS_MAX);
    let step_s = STEPS_S.into_iter().find(|step_s| step_s * 1_000_000 >= least_us);
    let step_us = step_s.unwrap_or(STEPS_S[STEPS_S.len() - 1]) * 1_000_000;
    Columns { from_us: from_us - from_us.rem_euclid(step_us), to_us, step_us }
}
