//! What happened, in words: events of the scope's instances, hosts and gateways, marks, and incidents. A health result is
//! told only where it turned, and what happens over and over is told once a column with how often.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::super::document::{HappeningDoc, stamp};
use super::super::fleet::is_healthy;
use super::super::scope::Scope;
use super::super::why::sentence;
use super::track::Columns;
use crate::model::{
    Event, EventKind, GatewayNotice, HealthResult, Incident, OomKill, ProbeResult, ProcessStarted, Record, RecordKind,
};

/// Most that are kept; the oldest go first.
const KEPT_MAX: usize = 300;
/// Longest text, characters.
const SAYS_MAX: usize = 240;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    at_us: i64,
    kind: &'static str,
    host: String,
    subject: String,
    says: String,
    count: u64,
}

impl From<Happening> for HappeningDoc {
    fn from(one: Happening) -> Self {
        let Happening { at_us, kind, host, subject, says, count } = one;
        Self { at: stamp(at_us), kind: kind.to_owned(), host, subject, says, count }
    }
}

/// What happened in a timeline's columns.
pub struct Happenings {
    columns: Columns,
    /// By column; those of one column in the order in which they were told.
    kept: BTreeMap<usize, VecDeque<Happening>>,
    count: usize,
    left_out: u64,
    /// Whether the newest health result of a host's service was good.
    healthy: HashMap<(String, String), bool>,
    boots: HashMap<String, String>,
}

impl Happenings {
    /// None yet.
    pub fn new(columns: Columns) -> Self {
        Self { columns, kept: BTreeMap::new(), count: 0, left_out: 0, healthy: HashMap::new(), boots: HashMap::new() }
    }

    /// All, oldest first, and how many were left out.
    pub fn docs(self) -> (Vec<Happening>, u64) {
        let mut all: Vec<Happening> = self.kept.into_values().flatten().collect();
        all.sort_by_key(|one| one.at_us);
        (all, self.left_out)
    }

    /// When an incident began and when it was over.
    pub fn incident(&mut self, incident: &Incident) {
        let (host, verdict) = (incident.host.as_deref().unwrap_or_default(), &incident.verdict);
        let sure = verdict.confidence * 100.0;
        let says = format!("opened: {} ({}, {sure:.0}%) {}", sentence(incident), verdict.cause.id(), incident.id);
        let subject = incident.upstream.as_deref().unwrap_or_default();
        self.tell(incident.first_seen_us, "incident", host, subject, says);
        if let Some(at_us) = incident.resolved_us {
            self.tell(at_us, "incident", host, subject, format!("resolved: {}", incident.id));
        }
    }

    /// What a record tells of.
    pub fn record(&mut self, scope: &Scope, record: &Record) {
        let at_us = record.received_us;
        match &record.kind {
            RecordKind::Hello(hello) => {
                let before = self.boots.insert(hello.host.clone(), hello.boot_id.clone());
                match before.is_some_and(|before| before != hello.boot_id) {
                    true => self.tell(at_us, "boot", &hello.host, "", "the host has booted".to_owned()),
                    false => self.tell(at_us, "agent", &hello.host, "", "the agent connected".to_owned()),
                }
            }
            RecordKind::StreamEnded { host, why } => {
                self.tell(at_us, "agent", host, "", format!("the agent's stream ended: {why}"));
            }
            RecordKind::Mark(mark) if scope.instances.iter().any(|(service, _)| *service == mark.service) => {
                let version = if mark.version.is_empty() { "" } else { " of " };
                let says = format!("{} begins{version}{}", mark.kind, mark.version);
                self.tell(at_us, "deploy", &mark.host, &mark.service, says);
            }
            RecordKind::Report(report) => {
                report.events.iter().for_each(|event| self.event(scope, &report.host, event));
            }
            _ => {}
        }
    }

    fn event(&mut self, scope: &Scope, host: &str, event: &Event) {
        let at_us = event.at_us;
        let has = |service: &str| scope.has_instance(service, host);
        let mut tell = |kind, subject: &str, says| self.tell(at_us, kind, host, subject, says);
        match &event.kind {
            EventKind::ProcessStarted(start) if has(&start.service) && !start.already_running => {
                tell("start", &start.service, started(start));
            }
            EventKind::ProcessExited(exit) if has(&exit.service) => {
                tell("exit", &exit.service, format!("{} (pid {}) ended: {}", exit.name, exit.pid, exit.how()));
            }
            EventKind::OomKill(kill) if kill.service.is_empty() || has(&kill.service) => {
                tell("oom_kill", &kill.service, killed(kill));
            }
            EventKind::ListenChanged(change) if has(&change.service) => {
                let what = if change.listening { "listens on" } else { "no longer listens on" };
                tell("listen", &change.service, format!("{what} {}", change.address));
            }
            EventKind::RoleChanged(change) if has(&change.service) => {
                let what = if change.leader { "leads" } else { "leads no longer" };
                tell("role", &change.service, format!("{what}: {}", change.says));
            }
            EventKind::UnitChanged(change) if has(&change.service) => tell("unit", &change.service, change.says()),
            EventKind::LogMatch(found) if has(&found.service) => {
                let often = if found.repeats > 0 { format!(" (and {} like it)", found.repeats) } else { String::new() };
                tell("log", &found.service, format!("{}: {}{often}", found.kind, found.line));
            }
            EventKind::LinkChanged(change) => {
                let to = if change.up { "up" } else { "down" };
                tell("link", "", format!("{} went {to} ({})", change.interface, change.what));
            }
            EventKind::ClockStepped(step) => {
                tell("clock", "", format!("the clock was stepped by {} ms", step.by_us / 1000));
            }
            EventKind::KernelNote(note) if note.service.is_empty() || has(&note.service) => {
                tell("kernel", &note.service, format!("{}: {}", note.kind, note.line));
            }
            EventKind::AgentStopping(stop) => tell("agent", "", format!("the agent stops: {}", stop.why)),
            EventKind::Health(health) if has(&health.service) => self.health(host, at_us, health),
            EventKind::Notice(notice) if scope.has_way(host, &notice.gateway, &notice.upstream) => {
                tell("gateway", &notice.gateway, noticed(notice));
            }
            EventKind::Probe(probe) if scope.has_way(host, &probe.gateway, &probe.upstream) => {
                tell("probe", &probe.upstream, probed(probe));
            }
            _ => {}
        }
    }

    fn health(&mut self, host: &str, at_us: i64, health: &HealthResult) {
        let now = is_healthy(health);
        let before = self.healthy.insert((host.to_owned(), health.service.clone()), now);
        if before == Some(now) || (before.is_none() && now) {
            return;
        }
        let says = match (now, health.status) {
            (true, _) => "healthy again".to_owned(),
            (false, 0) => format!("unhealthy: {} {}", health.signal, health.error),
            (false, status) => format!("unhealthy: status {status}"),
        };
        self.tell(at_us, "health", host, &health.service, says);
    }

    fn tell(&mut self, at_us: i64, kind: &'static str, host: &str, subject: &str, says: String) {
        let Some(column) = self.columns.of(at_us) else { return };
        let says: String = says.chars().take(SAYS_MAX).collect();
        let told = self.kept.entry(column).or_default();
        let same =
            |one: &&mut Happening| one.kind == kind && one.host == host && one.subject == subject && one.says == says;
        if let Some(same) = told.iter_mut().find(same) {
            same.count += 1;
            return;
        }
        let (host, subject) = (host.to_owned(), subject.to_owned());
        told.push_back(Happening { at_us, kind, host, subject, says, count: 1 });
        self.count += 1;
        if self.count > KEPT_MAX {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some(mut oldest) = self.kept.first_entry() else { return };
        oldest.get_mut().pop_front();
        if oldest.get().is_empty() {
            oldest.remove();
        }
        self.count -= 1;
        self.left_out += 1;
    }
}

fn started(start: &ProcessStarted) -> String {
    let of = if start.version_hint.is_empty() { "" } else { ", " };
    format!("{} (pid {}) started{of}{}", start.name, start.pid, start.version_hint)
}

fn killed(kill: &OomKill) -> String {
    let name = if kill.name.is_empty() { "a process" } else { &kill.name };
    let place = if kill.cgroup.is_empty() { "the host ran out of memory" } else { &kill.cgroup };
    format!("the kernel killed {name} for lack of memory: {place}")
}

fn noticed(notice: &GatewayNotice) -> String {
    let about = if notice.upstream.is_empty() { String::new() } else { format!(" {}", notice.upstream) };
    format!("{}{about}: {}", notice.signal.id(), notice.says)
}

fn probed(probe: &ProbeResult) -> String {
    let connects: Vec<&str> = probe.connects.iter().map(|one| one.outcome.as_str()).collect();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for outcome in connects {
        match counts.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome, 1)),
        }
    }
    let connects: Vec<String> = counts.iter().map(|(outcome, count)| format!("{count} x {outcome}")).collect();
    let http = probe.http.as_ref().map(|http| format!("; {}: {} {}", http.request, http.signal, http.status));
    let small = probe.small_packets.as_ref();
    let small = small.map(|http| format!("; once more by small packets: {} {}", http.signal, http.status));
    let said = [http, small].into_iter().flatten().collect::<String>();
    format!("tried from {}: {}{said}", probe.gateway, connects.join(", "))
}
