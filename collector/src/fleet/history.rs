//! The recent history of one host, bounded in age and number: what evidence is drawn from.

mod calm;
mod fit;
mod track;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use track::{Reading, Track};

use crate::model::{
    Event, EventKind, Failure, HostSample, HostState, InstanceSample, Origin, ProcessExited, Report, Signal,
    UpstreamSample,
};

/// How far back history reaches, microseconds.
const AGE_MAX_US: i64 = 20 * 60 * 1_000_000;
/// Events of a kind that others can't crowd out: starts, ends, listeners, OOM kills, links.
const EVENTS_MAX: usize = 2_048;
/// Error answers kept whose records tell the request's id.
const REQUESTS_MAX: usize = 1_024;
/// Changes of leadership kept per service.
const ROLES_MAX: usize = 64;
/// Services of which anything is kept, as of the host's state.
const SERVICES_MAX: usize = 1_024;
/// Pairs of gateway and upstream of which anything is kept.
const UPSTREAMS_MAX: usize = 4_096;
/// Samples kept per subject.
const SAMPLES_MAX: usize = 720;

/// What happened lately on a host, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Starts, ends, listeners, OOM kills, links, clock steps, kernel notes.
    lives: VecDeque<Event>,
    /// Health results and log matches.
    chatter: VecDeque<Event>,
    /// What gateways said of upstreams, and probes.
    views: VecDeque<Event>,
    /// The host's readings.
    host_samples: Track<HostSample>,
    /// Services' readings.
    instance_samples: BTreeMap<String, Track<InstanceSample>>,
    /// Gateways' answers by gateway and upstream.
    upstream_samples: BTreeMap<(String, String), VecDeque<UpstreamSample>>,
    /// The newest end that took a service down, however long ago.
    last_ends: BTreeMap<String, (i64, ProcessExited)>,
    /// Boots that replaced another while the collector watched: when heard.
    reboots: VecDeque<i64>,
    /// Services that had a process at some time.
    ever_ran: BTreeMap<String, i64>,
    /// Addresses on which some service listened at some time, with the service.
    ever_listened: BTreeMap<String, String>,
    /// Stretches in which nothing was heard for longer than a late report explains: from the last word to the next.
    silences: VecDeque<(i64, i64)>,
    /// Leadership gained and lost by service, oldest first.
    roles: BTreeMap<String, VecDeque<(i64, bool)>>,
    /// Error answers of its gateways whose records tell the request's id, so that those of nested gateways can be joined.
    failed_requests: VecDeque<FailedRequest>,
    heard_us: i64,
    agent_epoch: u64,
    agent_started_us: i64,
    /// What came since it was weighed, bytes.
    added_bytes: usize,
    thinned: u64,
    /// The minute in which it was thinned for being calm.
    calmed: i64,
}

/// An error answer of a gateway of this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedRequest {
    /// When.
    pub at_us: i64,
    /// The request's id.
    pub request_id: String,
    /// The gateway.
    pub gateway: String,
    /// The status it gave.
    pub status: u32,
    /// Whether it only passed on what its own upstream had answered.
    pub passed_on: bool,
    /// What its record says.
    pub signal: Signal,
    /// The upstream it tried last, empty where it chose none.
    pub upstream: String,
}

impl FailedRequest {
    fn of(at_us: i64, failure: &Failure) -> Self {
        Self {
            at_us,
            request_id: failure.request_id.clone(),
            gateway: failure.gateway.clone(),
            status: failure.status,
            passed_on: matches!(failure.origin, Origin::App | Origin::InnerGateway),
            signal: failure.signal,
            upstream: failure.attempts.last().map(|attempt| attempt.upstream.clone()).unwrap_or_default(),
        }
    }
}

/// A report's readings, shared by a host's state and its history.
pub struct Readings {
    /// The host's.
    pub host: Option<Arc<HostSample>>,
    /// Its services'.
    pub instances: Vec<Arc<InstanceSample>>,
    /// Its gateways' counts of answers.
    pub upstreams: Vec<UpstreamSample>,
}

impl Readings {
    /// Those of a report.
    pub fn of(report: &Report) -> Self {
        let (host, instances) = (report.host_sample.clone(), report.instances.clone());
        Self { host, instances, upstreams: report.upstreams.clone() }
    }
}

impl Reading for HostSample {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

impl Reading for InstanceSample {
    fn at_us(&self) -> i64 {
        self.at_us
    }
}

/// Silence that is more than a late report of an agent with this interval, microseconds.
pub fn silence_limit_us(interval_us: u64) -> i64 {
    (i64::try_from(interval_us).unwrap_or(i64::MAX / 8).min(i64::MAX / 8) * 5 / 2).max(3_000_000)
}

/// An agent whose stream broke and that is there is back sooner, microseconds.
const LOST_LIMIT_US: i64 = 5_000_000;

/// Whether a host is silent: nothing came for longer than a late report explains, or its stream broke and it is not back.
pub fn is_silent(state: &HostState, now_us: i64) -> bool {
    is_silence(state.interval_us, state.last_heard_us, state.lost_us, now_us)
}

fn is_silence(interval_us: u64, heard_us: i64, lost_us: i64, now_us: i64) -> bool {
    let lost = lost_us > 0 && now_us - lost_us > LOST_LIMIT_US;
    now_us - heard_us > silence_limit_us(interval_us) || lost
}

impl History {
    /// Notes that an agent with this epoch said hello.
    pub fn agent_started(&mut self, epoch: u64, now_us: i64) {
        if self.agent_epoch != epoch {
            self.agent_epoch = epoch;
            self.agent_started_us = now_us;
        }
    }

    /// Notes a new boot; the first one ever heard of is no reboot.
    pub fn booted(&mut self, before: &str, now_us: i64) {
        if !before.is_empty() {
            self.reboots.push_back(now_us);
            if self.reboots.len() > 16 {
                self.reboots.pop_front();
            }
        }
    }

    /// Notes that something was heard of the host.
    pub fn heard(&mut self, interval_us: u64, lost_us: i64, now_us: i64) {
        if self.heard_us > 0 && is_silence(interval_us, self.heard_us, lost_us, now_us) {
            push(&mut self.silences, (self.heard_us, now_us), 64);
        }
        self.heard_us = now_us;
    }

    /// The newest silence, over by now, that touches a stretch of time and that no reading which came later fills.
    pub fn silence(&self, from_us: i64, to_us: i64) -> Option<(i64, i64)> {
        let touching = |(began_us, ended_us): &&(i64, i64)| *began_us <= to_us && *ended_us >= from_us;
        let (began_us, ended_us) = *self.silences.iter().rev().find(touching)?;
        let inside = (began_us + 2_500_000)..(ended_us - 2_500_000).max(began_us + 2_500_001);
        let filled = self.host_samples.within(inside.start, inside.end - 1).next().is_some();
        (!filled).then_some((began_us, ended_us))
    }

    /// Folds a report, whose readings these are.
    pub fn report(&mut self, report: &Report, readings: Readings, now_us: i64) {
        for event in &report.events {
            self.event(event);
        }
        if let Some(sample) = readings.host {
            self.host_samples.push(sample, SAMPLES_MAX);
        }
        for sample in readings.instances {
            if sample.process_count > 0 {
                within(&mut self.ever_ran, &sample.service, SERVICES_MAX, || sample.at_us);
            }
            for listener in &sample.listeners {
                self.listened(&listener.address, &sample.service);
            }
            let samples = within(&mut self.instance_samples, &sample.service, SERVICES_MAX, Track::default);
            if let Some(samples) = samples {
                samples.push(sample, SAMPLES_MAX);
            }
        }
        for sample in readings.upstreams.into_iter().filter(|sample| !sample.upstream.is_empty()) {
            let key = (sample.gateway.clone(), sample.upstream.clone());
            if let Some(samples) = within(&mut self.upstream_samples, &key, UPSTREAMS_MAX, VecDeque::new) {
                push(samples, sample, SAMPLES_MAX);
            }
        }
        self.forget(now_us - AGE_MAX_US);
        self.fit(report);
    }

    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Failure(failure) => {
                if !failure.request_id.is_empty() {
                    push(&mut self.failed_requests, FailedRequest::of(event.at_us, failure), REQUESTS_MAX);
                }
                return;
            }
            EventKind::Health(_) | EventKind::LogMatch(_) => push(&mut self.chatter, event.clone(), EVENTS_MAX),
            EventKind::Notice(_) | EventKind::Probe(_) => push(&mut self.views, event.clone(), EVENTS_MAX),
            _ => push(&mut self.lives, event.clone(), EVENTS_MAX),
        }
        match &event.kind {
            EventKind::ProcessExited(exit) if exit.took_down() => {
                // What is gone leads nobody.
                if let Some(roles) = self.roles.get_mut(&exit.service) {
                    push(roles, (event.at_us, false), ROLES_MAX);
                }
                let end = (event.at_us, exit.clone());
                if let Some(last) = within(&mut self.last_ends, &exit.service, SERVICES_MAX, || end.clone()) {
                    *last = end;
                }
            }
            EventKind::RoleChanged(change) => {
                if let Some(roles) = within(&mut self.roles, &change.service, SERVICES_MAX, VecDeque::new) {
                    push(roles, (event.at_us, change.leader), ROLES_MAX);
                }
            }
            EventKind::ProcessStarted(start) => {
                within(&mut self.ever_ran, &start.service, SERVICES_MAX, || start.started_us);
            }
            EventKind::ListenChanged(change) if change.listening => {
                self.listened(&change.address, &change.service);
            }
            _ => {}
        }
    }

    fn listened(&mut self, address: &str, service: &str) {
        // Every report says it again.
        if self.ever_listened.get(address).is_none_or(|known| known != service) {
            self.ever_listened.insert(address.to_owned(), service.to_owned());
        }
    }

    fn forget(&mut self, before_us: i64) {
        for events in [&mut self.lives, &mut self.chatter, &mut self.views] {
            drop_while(events, |event| event.at_us < before_us);
        }
        drop_while(&mut self.failed_requests, |request| request.at_us < before_us);
        self.host_samples.forget(before_us);
        self.instance_samples.retain(|_, samples| {
            samples.forget(before_us);
            !samples.is_empty()
        });
        self.upstream_samples.retain(|_, samples| {
            drop_while(samples, |sample| sample.to_us < before_us);
            !samples.is_empty()
        });
        while self.ever_listened.len() > EVENTS_MAX {
            self.ever_listened.pop_first();
        }
    }

    /// Starts, ends, listeners, OOM kills, links, clock steps and kernel notes of a stretch of time.
    pub fn lives(&self, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = &Event> {
        self.lives.iter().filter(move |event| (from_us..=to_us).contains(&event.at_us))
    }

    /// Health results and log matches of a stretch of time.
    pub fn chatter(&self, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = &Event> {
        self.chatter.iter().filter(move |event| (from_us..=to_us).contains(&event.at_us))
    }

    /// Notices and probes of a stretch of time.
    pub fn views(&self, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = &Event> {
        self.views.iter().filter(move |event| (from_us..=to_us).contains(&event.at_us))
    }

    /// The host's readings of a stretch of time.
    pub fn host_samples(&self, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = &Arc<HostSample>> {
        self.host_samples.within(from_us, to_us)
    }

    /// A service's readings of a stretch of time.
    pub fn instance_samples(
        &self,
        service: &str,
        from_us: i64,
        to_us: i64,
    ) -> impl DoubleEndedIterator<Item = &Arc<InstanceSample>> {
        let samples = self.instance_samples.get(service).into_iter();
        samples.flat_map(move |samples| samples.within(from_us, to_us))
    }

    /// What a gateway's logs told of an upstream, by stretches that touch a stretch of time.
    pub fn upstream_samples(
        &self,
        gateway: &str,
        upstream: &str,
        from_us: i64,
        to_us: i64,
    ) -> impl DoubleEndedIterator<Item = &UpstreamSample> {
        let samples = self.upstream_samples.get(&(gateway.to_owned(), upstream.to_owned())).into_iter().flatten();
        samples.filter(move |sample| sample.to_us >= from_us && sample.from_us <= to_us)
    }

    /// Leadership of a service gained and lost here, oldest first.
    pub fn roles(&self, service: &str) -> impl DoubleEndedIterator<Item = (i64, bool)> {
        self.roles.get(service).into_iter().flatten().copied()
    }

    /// Whether the service here held its leadership at a time, and since when it did or did not; None: it never told.
    pub fn role_at(&self, service: &str, at_us: i64) -> Option<(bool, i64)> {
        self.roles(service)
            .rfind(|(changed_us, _)| *changed_us <= at_us)
            .map(|(changed_us, leader)| (leader, changed_us))
    }

    /// Error answers of this host's gateways to a request.
    pub fn failed_requests(&self, request_id: &str) -> impl Iterator<Item = &FailedRequest> {
        self.failed_requests.iter().filter(move |request| request.request_id == request_id)
    }

    /// The newest end that took a service down.
    pub fn last_end(&self, service: &str) -> Option<&(i64, ProcessExited)> {
        self.last_ends.get(service)
    }

    /// When a service was first known to run; None: it never was.
    pub fn first_ran_us(&self, service: &str) -> Option<i64> {
        self.ever_ran.get(service).copied()
    }

    /// Addresses on which some service listened at some time, with the service.
    pub fn ever_listened(&self) -> impl Iterator<Item = (&String, &String)> {
        self.ever_listened.iter()
    }

    /// Boots that replaced another while the collector watched.
    pub fn reboots(&self) -> impl DoubleEndedIterator<Item = i64> {
        self.reboots.iter().copied()
    }

    /// When the agent that speaks now was first heard.
    pub fn agent_started_us(&self) -> i64 {
        self.agent_started_us
    }
}

/// What is kept under a key, begun where there was none. None: it would be one more than is kept.
fn within<'a, K: Ord + Clone, T>(
    kept: &'a mut BTreeMap<K, T>,
    key: &K,
    most: usize,
    begin: impl FnOnce() -> T,
) -> Option<&'a mut T> {
    // Nearly always it is there: then its key is not copied.
    if !kept.contains_key(key) {
        if kept.len() >= most {
            return None;
        }
        kept.insert(key.clone(), begin());
    }
    kept.get_mut(key)
}

fn push<T>(items: &mut VecDeque<T>, item: T, most: usize) {
    items.push_back(item);
    if items.len() > most {
        items.pop_front();
    }
}

fn drop_while<T>(items: &mut VecDeque<T>, old: impl Fn(&T) -> bool) {
    while items.front().is_some_and(&old) {
        items.pop_front();
    }
}
