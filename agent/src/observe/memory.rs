//! Kills for lack of memory, tied to their victims. A counter of a control group that rose waits a moment for a process of that
//! group that ended by SIGKILL; a record of the kernel log waits for one of the same name, in a group of the same path. Process
//! ids of the log count only in the first pid namespace. What finds no victim is told without a service.

use std::time::{Duration, Instant};

use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::Observer;
use super::exits::Ended;
use crate::kernel::cgroup::Group;
use crate::watch::kernel_log::Told;
use crate::watch::oom::OomCounters;

/// SIGKILL.
const SIGKILL: u32 = 9;
/// Signals that a fault ends a process by: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const FAULTS: [u32; 6] = [4, 5, 6, 7, 8, 11];
/// A victim with much memory takes its time to end.
const COUNTER_PATIENCE: Duration = Duration::from_secs(2);
/// The log's line comes before the signal.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
/// Bursts of records that are read at once; in a flood the next record wakes the reader again.
const BURSTS: u32 = 16;
/// Most records that wait.
const WAITING_LIMIT: usize = 256;

/// Kills that a counter told of and that no ended process has claimed yet.
#[derive(Debug, Clone)]
pub struct Unclaimed {
    group: Group,
    kills: u32,
    due: Instant,
}

impl Unclaimed {
    /// When it is told without a victim.
    pub fn due(&self) -> Instant {
        self.due
    }
}

/// A record of the kernel log that no process has been found for yet.
#[derive(Debug, Clone)]
pub struct Untied {
    told: Told,
    due: Instant,
}

impl Untied {
    /// When it is told without a service.
    pub fn due(&self) -> Instant {
        self.due
    }
}

impl Observer {
    /// Reads the counters of all groups in which watched processes live or lived a moment ago.
    pub(super) fn look_at_counters(&mut self) {
        for (group, kills) in self.oom.rises() {
            self.claim(&group, kills);
        }
    }

    /// A counter rose.
    pub(super) fn claim(&mut self, group: &Group, kills: u32) {
        if kills > 0 && self.unclaimed.len() < WAITING_LIMIT {
            self.unclaimed.push(Unclaimed { group: group.clone(), kills, due: Instant::now() + COUNTER_PATIENCE });
        }
    }

    pub(super) fn on_log(&mut self) {
        for _ in 0..BURSTS {
            let (told, more) = self.log.read();
            let due = Instant::now() + LOG_PATIENCE;
            let room = WAITING_LIMIT.saturating_sub(self.untied.len());
            // A firewall may write a record for each packet; counters are looked at each second anyway.
            if !told.is_empty() {
                self.look_at_counters();
            }
            self.untied.extend(told.into_iter().take(room).map(|told| Untied { told, due }));
            self.settle_memory();
            if !more {
                return;
            }
        }
    }

    /// Ties what can be tied and tells what has waited long enough.
    pub(super) fn settle_memory(&mut self) {
        let now = Instant::now();
        for mut one in std::mem::take(&mut self.unclaimed) {
            self.tell_victims(&mut one);
            if one.kills > 0 && one.due > now {
                self.unclaimed.push(one);
            } else if one.kills > 0 {
                self.tell_unclaimed(&one);
            }
        }
        for one in std::mem::take(&mut self.untied) {
            let service = self.tie(&one.told);
            if service.is_none() && one.due > now && self.worth_waiting(&one.told) {
                self.untied.push(one);
            } else {
                self.tell_log(one.told, service);
            }
        }
    }

    fn tell_victims(&mut self, one: &mut Unclaimed) {
        while one.kills > 0 {
            let fits = |e: &&mut Ended| {
                !e.claimed && e.recent() && e.signal == Some(SIGKILL) && e.group.shares_memory_with(&one.group)
            };
            let Some(victim) = self.ended.iter_mut().find(fits) else { return };
            victim.claimed = true;
            one.kills -= 1;
            let kill = v1::OomKill {
                service: self.services.get(victim.service).map(|s| s.name.clone()).unwrap_or_default(),
                pid: victim.pid,
                name: victim.name.clone(),
                cgroup: one.group.path.clone(),
                rss_bytes: victim.rss_bytes,
                limit_bytes: one.group.mem_limit_bytes().unwrap_or(0),
                from_counter: true,
                kills: 1,
            };
            self.tell(Kind::OomKill(kill));
        }
    }

    /// The victim was none that is watched. Where all processes of the group are of one service, it was that service's.
    fn tell_unclaimed(&mut self, one: &Unclaimed) {
        let services: Vec<Option<usize>> =
            one.group.procs().iter().map(|pid| self.members.get(pid).map(|m| m.service)).collect();
        let service = match services.split_first() {
            Some((Some(first), rest)) if rest.iter().all(|s| *s == Some(*first)) => self.service_name(*first),
            _ => String::new(),
        };
        let kill = v1::OomKill {
            service,
            pid: 0,
            name: String::new(),
            cgroup: one.group.path.clone(),
            rss_bytes: 0,
            limit_bytes: one.group.mem_limit_bytes().unwrap_or(0),
            from_counter: true,
            kills: one.kills,
        };
        self.tell(Kind::OomKill(kill));
    }

    /// The service of the process that a record speaks of, where that is sure.
    fn tie(&mut self, told: &Told) -> Option<usize> {
        let first = self.in_first_pid_namespace;
        let (pid, name, cgroup, signals): (u32, &str, Option<&str>, &[u32]) = match told {
            Told::Killed { pid, name, task_cgroup, .. } => (*pid, name, Some(task_cgroup), &[SIGKILL]),
            Told::Note { kind: "segfault", pid, name, .. } => (*pid, name, None, &FAULTS),
            Told::Note { .. } => return None,
        };
        if first && let Some(member) = self.members.get(&pid) {
            return Some(member.service);
        }
        let fits = |e: &&mut Ended| {
            let same = if first && cgroup.is_some() { e.pid == pid } else { e.name == name };
            same && !e.tied
                && e.recent()
                && e.signal.is_some_and(|s| signals.contains(&s))
                && cgroup
                    .is_none_or(|path| same_group(path, &e.group.path) && (first || !denied_by_counter(&self.oom, e)))
        };
        let ended = self.ended.iter_mut().find(fits)?;
        ended.tied = true;
        Some(ended.service)
    }

    /// Only a process that is watched may yet end; where its id can be told, another's record need not wait.
    fn worth_waiting(&self, told: &Told) -> bool {
        match told {
            Told::Killed { name, .. } => !self.in_first_pid_namespace && self.members.values().any(|m| m.name == *name),
            Told::Note { kind, .. } => *kind == "segfault",
        }
    }

    fn tell_log(&mut self, told: Told, service: Option<usize>) {
        let service_name = service.map(|s| self.service_name(s)).unwrap_or_default();
        match told {
            Told::Killed { pid, name, rss_bytes, oom_cgroup, .. } => {
                let home = self
                    .homes
                    .values()
                    .find(|home| !oom_cgroup.is_empty() && same_group(&oom_cgroup, &home.group.path));
                let limit_bytes = home.and_then(|home| home.group.mem_limit_bytes()).unwrap_or(0);
                let kill = v1::OomKill {
                    service: service_name,
                    pid,
                    name,
                    cgroup: oom_cgroup,
                    rss_bytes,
                    limit_bytes,
                    from_counter: false,
                    kills: 1,
                };
                self.tell(Kind::OomKill(kill));
            }
            Told::Note { kind, line, pid, .. } => {
                let note = v1::KernelNote { kind: kind.to_owned(), line, pid, service: service_name };
                self.tell(Kind::KernelNote(note));
            }
        }
    }
}

/// Whether the counter of its own group was read while it lived, can be read now, and has no kill for this end: then a record of
/// the same name, in a group whose path ends alike, is another container's.
fn denied_by_counter(counters: &OomCounters, ended: &Ended) -> bool {
    !ended.claimed && counters.counts(&ended.group) && ended.group.oom_kills().is_some()
}

/// Whether a path of the log, from the machine's root, and one that may begin at a namespace's root mean the same group.
fn same_group(log: &str, own: &str) -> bool {
    let ends = |long: &str, short: &str| long.strip_suffix(short).is_some() && short.starts_with('/');
    log.is_empty() || log == own || own == "/" || ends(log, own) || (log != "/" && ends(own, log))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::{SIGKILL, denied_by_counter, same_group};
    use crate::kernel::cgroup::{Group, Place};
    use crate::observe::exits::Ended;
    use crate::watch::oom::OomCounters;

    #[test]
    fn a_counter_that_did_not_rise_denies_what_the_log_tells_of_another_container() {
        let top = tempfile::tempdir().unwrap();
        let place = Place { dir: top.path().into(), top: top.path().into(), unified: true };
        let group = Group { path: "/shop".into(), memory: Some(place), ..Group::default() };
        let mut ended = Ended {
            service: 0,
            pid: 7,
            name: "node".into(),
            group,
            signal: Some(SIGKILL),
            rss_bytes: 0,
            at: Instant::now(),
            claimed: false,
            tied: false,
        };
        let mut counters = OomCounters::default();
        counters.rise(&ended.group);
        assert!(!denied_by_counter(&counters, &ended), "nobody counts");
        fs::write(top.path().join("memory.events"), "oom 0\noom_kill 0\n").unwrap();
        assert!(!denied_by_counter(&counters, &ended), "it was not read while the process lived");
        counters.rise(&ended.group);
        assert!(denied_by_counter(&counters, &ended));
        ended.claimed = true;
        assert!(!denied_by_counter(&counters, &ended), "the counter rose for it");
    }

    #[test]
    fn groups_are_the_same_by_their_ends() {
        assert!(same_group("/docker/ab/app", "/app") && same_group("/app", "/docker/ab/app") && same_group("/a", "/a"));
        assert!(same_group("/docker/ab", "/"), "the root of a namespace may be any group");
        assert!(!same_group("/docker/ab", "/cd") && !same_group("/", "/cd") && !same_group("/xapp", "app"));
    }
}
