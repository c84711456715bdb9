//! Readings put together as the schema wants them: one of the host and one of each service, at the interval, and of a service
//! alone when something happened to it or it looks abnormal.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use why502_proto::v1;

use super::Observer;
use super::exits::Ended;
use crate::clock::unix_now_us;
use crate::kernel::diag::Address;
use crate::sampler::process::Closeness;
use crate::sampler::socket::Haste;
use crate::sampler::{Observed, Status};

/// Most processes of one sample.
const PROCESS_LIMIT: usize = 16;

impl Observer {
    pub(super) fn sample_all(&mut self) {
        self.count_established(if self.host.resent() { Haste::Some } else { Haste::None });
        let mut writers = Vec::new();
        let now = Instant::now();
        for service in 0..self.services.len() {
            if self.services[service].retired(now) {
                continue;
            }
            let sample = self.sample(service);
            if let Some(leader) = sample.processes.first() {
                writers.push((sample.service.clone(), leader.pid));
            }
            self.out.push(Observed::Instance(Box::new(sample)));
        }
        let host = self.host.sample(&writers);
        self.out.push(Observed::Host(Box::new(host)));
        self.forget_groups();
    }

    /// Services in trouble are looked at each second, whatever the interval.
    pub(super) fn sample_abnormal(&mut self) {
        let mut abnormal: BTreeSet<usize> =
            self.members.values().filter(|m| m.looks_stuck()).map(|m| m.service).collect();
        for service in 0..self.services.len() {
            let full = self.listeners_of(service).iter().any(|(l, _)| l.queue > 0 && l.queue >= l.queue_limit);
            if full || self.services[service].keeps_waiting() {
                abnormal.insert(service);
            }
        }
        if !abnormal.is_empty() {
            self.count_established(Haste::Most);
        }
        for service in abnormal {
            self.sample_now(service);
        }
    }

    pub(super) fn sample_now(&mut self, service: usize) {
        for member in self.members.values_mut().filter(|m| m.service == service) {
            // What ended meanwhile is told by its watcher.
            let _ended = member.read(&self.roots.proc);
        }
        let sample = self.sample(service);
        self.out.push(Observed::Instance(Box::new(sample)));
    }

    fn count_established(&mut self, haste: Haste) {
        let mut ports = BTreeSet::new();
        for service in 0..self.services.len() {
            let found = self.listeners_of(service);
            ports.extend(
                found.iter().filter_map(|(l, _)| if let Address::Tcp(at) = l.address { Some(at.port()) } else { None }),
            );
        }
        self.sockets.count_established(ports, haste);
    }

    fn sample(&mut self, service: usize) -> v1::InstanceSample {
        let listeners: Vec<v1::ListenerSample> =
            self.listeners_of(service).into_iter().map(|(listener, pid)| self.sockets.sample(listener, pid)).collect();
        let mut members: Vec<(bool, f64, u32)> = self
            .members
            .values()
            .filter(|m| m.service == service && !m.ended())
            .map(|m| (m.leader, m.cpu_ratio(), m.pid))
            .collect();
        // Leaders first, then the busiest; the lower id where all else is equal.
        members.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        let known = self.services.get(service);
        let closeness = if known.is_some_and(|s| s.keeps_waiting()) { Closeness::Threads } else { Closeness::Usual };
        let name = known.map(|s| s.name.clone()).unwrap_or_default();
        let shown: Vec<u32> = members.iter().take(PROCESS_LIMIT).map(|(_, _, pid)| *pid).collect();
        if let Some(first) = shown.first() {
            self.find_home(*first);
        }
        let proc = &self.roots.proc;
        let processes: Vec<v1::ProcessSample> =
            shown.iter().filter_map(|pid| Some(self.members.get_mut(pid)?.sample(proc, closeness))).collect();
        let home = shown.first().and_then(|pid| self.homes.get(pid));
        self.units.note(home.map_or("", |home| &home.unit), &name);
        let hidden = |pid: &u32| self.unreadable.contains(pid) || self.elsewhere.contains(pid);
        let unreadable = self.members.values().any(|m| m.service == service && hidden(&m.pid));
        v1::InstanceSample {
            service: name,
            at_unix_us: unix_now_us(),
            process_count: u32::try_from(members.len()).unwrap_or(u32::MAX),
            processes,
            // Where descriptors can't be read, only a configured address tells which listener is whose; sockets of another network
            // namespace are not seen at all.
            listeners_known: self.sockets.known() && (!unreadable || !listeners.is_empty()),
            listeners,
            cgroup: home.map(|home| self.groups.sample(&home.group)),
            unit: home.map(|home| home.unit.clone()).unwrap_or_default(),
        }
    }

    /// Groups that neither live nor just ended processes are in need not be read any more.
    fn forget_groups(&mut self) {
        self.ended.retain(Ended::recent);
        let homes = &self.homes;
        let ended = &self.ended;
        let lived_in = || homes.values().map(|home| &home.group).chain(ended.iter().map(|e| &e.group));
        self.oom.keep(|group| lived_in().any(|g| g.shares_memory_with(group)));
        self.groups.keep(|group| lived_in().any(|g| g == group));
    }

    /// Those that a cheap look may tell; whether control groups are visible costs more to see and changes less.
    pub(super) fn tell_statuses(&mut self) {
        self.set_status("host", self.host.status());
        self.set_status("socket", self.socket_status());
        let exits = self
            .exits
            .as_ref()
            .map_or_else(|| Status::Unavailable("no epoll set: out of descriptors".to_owned()), |e| e.status());
        self.set_status("exit", exits);
        self.set_status("kernel_log", self.log.status());
        self.set_status("link", self.links.status());
        self.set_status("oom", self.oom.status(self.log.readable_at_all()));
    }

    fn socket_status(&self) -> Status {
        match (self.sockets.status(), self.elsewhere.len()) {
            (Status::Active, n @ 1..) => Status::Degraded(format!(
                "{n} watched processes are in another network namespace, whose sockets are not seen; run an agent inside it"
            )),
            (status, _) => status,
        }
    }

    pub(super) fn cgroup_status(&self) -> Status {
        if self.hierarchies.is_empty() {
            return Status::Unavailable(
                "no control group hierarchy is mounted where the agent sees it; mount /sys/fs/cgroup into it"
                    .to_owned(),
            );
        }
        let mut paths = HashSet::new();
        let mut groups = self.homes.values().map(|home| &home.group).filter(|group| paths.insert(group.path.as_str()));
        match groups.find(|group| group.memory.as_ref().is_none_or(|place| !place.dir.is_dir())) {
            Some(group) => Status::Degraded(format!(
                "control group {} of a watched process is not visible here: share the host's cgroup namespace and mounts",
                group.path
            )),
            None => Status::Active,
        }
    }
}
