//! Which processes belong to which service, found anew as processes come; each that begins is told with its fingerprint, a little
//! after it was found, so that it has called exec by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::Observer;
use super::exits::Ending;
use super::service::{FOUND_LIMIT, Found, Service};
use crate::clock::{boot_unix_us, unix_now_us};
use crate::kernel::cgroup::{self, Group};
use crate::kernel::diag::Address;
use crate::kernel::process;
use crate::sampler::process::fingerprint::{self, Fingerprint};
use crate::sampler::process::{Member, matching};
use crate::sampler::socket::is_at;
use crate::sampler::{Observed, Status};

/// All of /proc is listed so often.
const LISTING: Duration = Duration::from_secs(15);
/// A process younger than this is told a little later.
const SETTLE: Duration = Duration::from_millis(100);
/// By then a program has gone to the folder that it works in: gunicorn does so when its interpreter has loaded it, daemons when
/// they have read their configuration.
const SETTLED: Duration = Duration::from_secs(2);
/// Most processes of one host that are watched.
const MEMBER_LIMIT: usize = 4096;
/// Most whose stat file is held open.
const KEPT_LIMIT: usize = 256;

/// Where a process lives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Home {
    /// Its control groups.
    pub group: Group,
    /// Its unit, empty where none.
    pub unit: String,
}

impl Observer {
    /// All of /proc is to be listed again.
    pub(super) fn listing_due(&self) -> bool {
        self.listed.is_none_or(|at| at.elapsed() >= LISTING)
    }

    /// Finds what began, by a listing where one is due.
    pub(super) fn find_members(&mut self) {
        if !self.listing_due() {
            return self.find_new_members();
        }
        self.listed = Some(Instant::now());
        match self.table.enumerate() {
            Ok(changed) => {
                // Those that there was no room for are tried again.
                let all = std::mem::take(&mut self.refused);
                let pids = if all { self.table.entries().keys().copied().collect() } else { changed };
                self.gather(&pids);
                self.set_status("process", self.process_status());
            }
            Err(error) => {
                self.set_status("process", Status::Failed(format!("the process table can't be read: {error}")));
            }
        }
    }

    /// Finds what began, by the ids given out since the last look.
    pub(super) fn find_new_members(&mut self) {
        let changed = self.table.advance();
        self.gather(&changed);
    }

    fn process_status(&self) -> Status {
        if process::stat(&self.roots.proc, 1).is_err() {
            let why = "only this user's processes are visible: /proc is mounted with hidepid; give the agent CAP_SYS_PTRACE or the gid of that mount";
            return Status::Degraded(why.to_owned());
        }
        if !self.unreadable.is_empty() {
            let n = self.unreadable.len();
            let why = format!(
                "descriptors and sockets of {n} processes of other users can't be read; run as root or give CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
            );
            return Status::Degraded(why);
        }
        if self.members.len() >= MEMBER_LIMIT {
            return Status::Degraded(format!("only {MEMBER_LIMIT} processes are watched; narrow the rules of match"));
        }
        Status::Active
    }

    /// Tests processes that are new or changed against the rules of the services; and those that a pidfile names, which may
    /// have been written since.
    fn gather(&mut self, pids: &[u32]) {
        let pidfiles: Vec<Option<u32>> =
            self.config.services.iter().map(|s| s.matcher.pidfile.as_deref().and_then(matching::pidfile)).collect();
        let named = pidfiles.iter().flatten().filter(|pid| !self.members.contains_key(pid));
        let tested: Vec<u32> = pids.iter().chain(named).copied().collect();
        if tested.is_empty() {
            return;
        }
        let mut owners: HashMap<u32, usize> = self.members.values().map(|m| (m.pid, m.service)).collect();
        for entry in tested.iter().filter_map(|pid| self.table.get(*pid)) {
            if entry.pid == self.me || owners.contains_key(&entry.pid) {
                continue;
            }
            let rules = self.config.services.iter().zip(&pidfiles);
            if let Some(service) = rules
                .enumerate()
                .find(|(_, (s, leader))| matching::matches(&s.matcher, **leader, entry))
                .map(|(i, _)| i)
            {
                owners.insert(entry.pid, service);
            }
        }
        self.find_successors(&tested, &mut owners);
        self.adopt(owners);
    }

    /// Where the service of a socket has no process left, one that was started just like its last is its next, though it does not
    /// listen yet, or listens elsewhere.
    fn find_successors(&self, tested: &[u32], owners: &mut HashMap<u32, usize>) {
        let told = || self.services.iter().enumerate().filter(|(_, service)| service.is_told_by_sockets());
        let ended = |i: usize| !owners.values().any(|owner| *owner == i);
        let awaited: Vec<_> =
            told().filter(|(i, _)| ended(*i)).filter_map(|(i, one)| Some((i, one.command.as_ref()?))).collect();
        if awaited.is_empty() {
            return;
        }
        let unowned = tested.iter().filter(|pid| **pid != self.me && !owners.contains_key(pid));
        let found: Vec<(u32, usize)> = unowned
            .filter_map(|pid| {
                let command = fingerprint::command(&self.roots.proc, *pid)?;
                // What two services have in common tells neither.
                let shared = told().filter(|(_, one)| one.command.as_ref() == Some(&command)).count() > 1;
                let (service, _) = awaited.iter().find(|(_, wanted)| **wanted == command)?;
                (!shared).then_some((*pid, *service))
            })
            .collect();
        owners.extend(found);
    }

    /// Adds descendants, and begins to watch what is not watched yet.
    fn adopt(&mut self, mut owners: HashMap<u32, usize>) {
        matching::inherit(self.table.entries(), &mut owners, self.me);
        let new: BTreeMap<u32, usize> = owners.into_iter().filter(|(pid, _)| !self.members.contains_key(pid)).collect();
        if new.is_empty() {
            return;
        }
        for (pid, service) in &new {
            self.join(*pid, *service);
        }
        self.sort_leaders();
        if self.begun {
            self.begin_hunt();
        }
    }

    fn join(&mut self, pid: u32, service: usize) {
        let proc = &self.roots.proc;
        let Some(entry) = self.table.get(pid) else { return };
        let Ok(stat) = process::stat(proc, pid) else { return };
        if stat.start_ticks != entry.start_ticks || matches!(stat.state, 'Z' | 'X') {
            return;
        }
        if self.members.len() >= MEMBER_LIMIT {
            self.refused = true;
            return;
        }
        let keep = self.members.len() < KEPT_LIMIT;
        let member = Member::new(proc, service, &stat, boot_unix_us(), keep);
        let age_us = unix_now_us() - member.started_unix_us;
        let now = Instant::now();
        let young = self.begun && age_us < i64::try_from(SETTLE.as_micros()).unwrap_or(0);
        self.announce_at.insert(pid, if young { now + SETTLE } else { now });
        if let Some(service) = self.services.get_mut(service) {
            service.seen = now;
        }
        self.members.insert(pid, member);
        self.find_home(pid);
        if let Some(exits) = &mut self.exits {
            exits.watch(pid);
        }
        if self.lives_elsewhere(pid) {
            self.elsewhere.insert(pid);
        }
        let denied = self.sockets.search([pid]);
        self.unreadable.extend(denied);
    }

    /// In another network namespace, whose sockets are not seen from here.
    fn lives_elsewhere(&self, pid: u32) -> bool {
        let theirs = process::link(&self.roots.proc, pid, "ns/net");
        theirs.is_ok_and(|theirs| {
            std::fs::read_link(self.roots.proc.join("self/ns/net")).is_ok_and(|ours| ours != theirs)
        })
    }

    /// Where a process lives may change until it has called exec.
    pub(super) fn find_home(&mut self, pid: u32) {
        let Ok(memberships) = cgroup::memberships(&self.roots.proc, pid) else { return };
        let group = cgroup::locate(&memberships, &self.hierarchies);
        let unit = cgroup::unit(&memberships).unwrap_or_default();
        let home = Home { group, unit };
        if self.homes.get(&pid) == Some(&home) {
            return;
        }
        // Asked after the memberships were read: one that ends shows no home any more, but it had one.
        let exiting = process::stat(&self.roots.proc, pid).is_ok_and(|stat| stat.exiting);
        if exiting && !cgroup::shown_while_exiting(&memberships) {
            return;
        }
        // The counter as it is now is what later rises are told against.
        let rise = self.oom.rise(&home.group);
        self.claim(&home.group, rise);
        self.homes.insert(pid, home);
    }

    /// A process leads where its parent is not of the same instance.
    pub(super) fn sort_leaders(&mut self) {
        let services: HashMap<u32, usize> = self.members.values().map(|m| (m.pid, m.service)).collect();
        for member in self.members.values_mut() {
            member.leader = services.get(&member.parent_pid) != Some(&member.service);
        }
    }

    /// Tells of processes that began.
    pub(super) fn announce(&mut self, already_running: bool) {
        let now = Instant::now();
        let due: Vec<u32> = self.announce_at.iter().filter(|(_, at)| **at <= now).map(|(pid, _)| *pid).collect();
        for pid in due {
            self.announce_one(pid, already_running);
        }
    }

    /// Tells of one, if it was not told yet.
    pub(super) fn announce_one(&mut self, pid: u32, already_running: bool) {
        if self.announce_at.remove(&pid).is_none() {
            return;
        }
        self.find_home(pid);
        let Some(member) = self.members.get_mut(&pid) else { return };
        // Its name and parent as they are after exec; one that ended already is told as it was.
        let _ended = member.read(&self.roots.proc);
        let made = fingerprint::take(&self.roots.proc, pid);
        let (service, leader) = (member.service, member.leader);
        let settled = unix_now_us() - member.started_unix_us >= i64::try_from(SETTLED.as_micros()).unwrap_or(0);
        if !already_running {
            member.first_make.clone_from(&made.digest);
        }
        if settled {
            member.make.clone_from(&made.digest);
        } else if leader && self.settling.len() < MEMBER_LIMIT {
            self.settling.push_back((Instant::now() + SETTLED, pid));
        }
        if let Some(service) = self.services.get_mut(service).filter(|one| leader && one.is_told_by_sockets()) {
            service.command = Some((made.exe.clone(), made.cmdline.clone()));
        }
        self.tell_start(pid, made, already_running, settled);
        if !already_running {
            self.sample_soon(service);
        }
    }

    fn tell_start(&mut self, pid: u32, made: Fingerprint, already_running: bool, settled: bool) {
        let Some(member) = self.members.get(&pid) else { return };
        let started = v1::ProcessStarted {
            service: self.service_name(member.service),
            pid,
            parent_pid: member.parent_pid,
            started_unix_us: member.started_unix_us,
            name: member.name.clone(),
            exe: made.exe,
            fingerprint: made.digest,
            cmdline: made.cmdline,
            leader: member.leader,
            already_running,
            version_hint: made.hint,
            settled,
        };
        let at_unix_us = if already_running { unix_now_us() } else { started.started_unix_us };
        self.out.push(Observed::event(at_unix_us, Kind::ProcessStarted(started)));
    }

    /// Tells of leaders once more that have settled, with what they are made of by then.
    pub(super) fn look_at_settled(&mut self) {
        let now = Instant::now();
        while let Some((_, pid)) = self.settling.pop_front_if(|(at, _)| *at <= now) {
            let made = fingerprint::take(&self.roots.proc, pid);
            let Some(member) = self.members.get_mut(&pid) else { continue };
            // What has ended meanwhile shows nothing of itself.
            if !made.exe.is_empty() {
                member.make.clone_from(&made.digest);
                self.tell_start(pid, made, true, true);
            }
        }
    }

    /// Reads the state of all members; those found gone without a word end here.
    pub(super) fn read_members(&mut self) {
        let mut gone = Vec::new();
        for member in self.members.values_mut() {
            let error = member.read(&self.roots.proc).err();
            let watched = self.exits.as_ref().is_some_and(|exits| exits.watches(member.pid));
            if !watched && (member.ended() || error.is_some_and(|e| e.gone())) {
                gone.push(member.pid);
            }
        }
        self.ending.extend(gone.into_iter().map(Ending::new));
        self.settle_endings();
        self.sort_leaders();
        let now = Instant::now();
        let alive: BTreeSet<usize> = self.members.values().map(|m| m.service).collect();
        for service in alive {
            if let Some(service) = self.services.get_mut(service) {
                service.seen = now;
            }
        }
    }

    /// Services that are told by their sockets: those without a rule, and, where none is configured, all that listen.
    pub(super) fn gather_by_listeners(&mut self) {
        let mut owners: HashMap<u32, usize> = self.members.values().map(|m| (m.pid, m.service)).collect();
        let known = owners.len();
        for (i, service) in self.services.iter().enumerate().filter(|(_, s)| s.by_listener) {
            let held =
                self.sockets.held().filter(|(l, _)| service.listen.iter().any(|wanted| is_at(wanted, &l.address)));
            for pid in held.filter_map(|(_, holders)| holders).flatten().filter(|pid| **pid != self.me) {
                owners.entry(*pid).or_insert(i);
            }
        }
        if self.config.services.is_empty() {
            self.discover(&mut owners);
        }
        if owners.len() > known {
            self.adopt(owners);
        }
    }

    fn discover(&mut self, owners: &mut HashMap<u32, usize>) {
        let mut groups: BTreeMap<u32, (u16, BTreeSet<u32>)> = BTreeMap::new();
        for (listener, holders) in self.sockets.held() {
            let (Address::Tcp(address), Some(holders)) = (&listener.address, holders) else { continue };
            let unowned: BTreeSet<u32> =
                holders.iter().copied().filter(|pid| *pid != self.me && !owners.contains_key(pid)).collect();
            let Some(leader) = unowned.first().map(|pid| self.topmost(*pid, holders)) else { continue };
            let group = groups.entry(leader).or_insert((address.port(), BTreeSet::new()));
            group.0 = group.0.min(address.port());
            group.1.extend(unowned);
        }
        for (leader, (port, pids)) in groups {
            let Some(entry) = self.table.get(leader) else { continue };
            let found = entry.unit.clone().map_or_else(|| Found::Command(entry.comm.clone(), port), Found::Unit);
            let Some(service) = self.service_for(found) else { continue };
            owners.extend(pids.into_iter().map(|pid| (pid, service)));
        }
    }

    /// The highest of a process's ancestors that holds the same socket.
    fn topmost(&self, pid: u32, holders: &BTreeSet<u32>) -> u32 {
        let mut top = pid;
        while let Some(entry) = self.table.get(top).filter(|e| holders.contains(&e.parent_pid) && e.parent_pid != e.pid)
        {
            top = entry.parent_pid;
        }
        top
    }

    fn service_for(&mut self, found: Found) -> Option<usize> {
        if let Some(known) = self.services.iter().position(|s| s.found.as_ref() == Some(&found)) {
            return Some(known);
        }
        let service = Service::found(found, &self.services);
        if self.services.len() < FOUND_LIMIT {
            self.services.push(service);
            return Some(self.services.len() - 1);
        }
        let now = Instant::now();
        let free = self.services.iter().position(|s| s.retired(now))?;
        self.services[free] = service;
        Some(free)
    }
}
