//! Processes of watched services that end: how, what is left, whether its ports are still listened on; and whether lack of memory
//! was why, by the counter of its group, which the kernel raises before it kills.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use why502_proto::v1;
use why502_proto::v1::event::Kind;
use why502_proto::v1::process_exited::Source;

use super::Observer;
use crate::clock::unix_now_us;
use crate::kernel::cgroup::Group;
use crate::kernel::pidfd::End;
use crate::sampler::Observed;
use crate::sampler::process::Member;
use crate::watch::exit::Known;

/// A parent is given so long to reap, where only then the status can be read.
const PATIENCE: Duration = Duration::from_millis(300);
/// The status is asked for again after this.
const RETRY: Duration = Duration::from_millis(5);
/// Ended processes are remembered so long.
const REMEMBER: Duration = Duration::from_secs(5);
/// Most ended processes that are remembered.
const ENDED_LIMIT: usize = 256;

/// A process that ended and whose status is still asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    pid: u32,
    at_unix_us: i64,
    since: Instant,
    next: Instant,
}

impl Ending {
    /// It ended just now.
    pub fn new(pid: u32) -> Self {
        let now = Instant::now();
        Self { pid, at_unix_us: unix_now_us(), since: now, next: now }
    }

    /// When it is asked for next.
    pub fn next(&self) -> Instant {
        self.next
    }
}

/// A process that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its service.
    pub service: usize,
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its groups.
    pub group: Group,
    /// The signal that ended it.
    pub signal: Option<u32>,
    /// Its resident memory when last seen, bytes.
    pub rss_bytes: u64,
    /// When.
    pub at: Instant,
    /// A kill for lack of memory was tied to it by the counter.
    pub claimed: bool,
    /// A record of the kernel log was tied to it.
    pub tied: bool,
}

impl Ended {
    /// It ended a moment ago.
    pub fn recent(&self) -> bool {
        self.at.elapsed() < REMEMBER
    }
}

/// What was known before the end.
struct Finished {
    member: Member,
    end: Option<End>,
    at_unix_us: i64,
    served: bool,
}

impl Observer {
    pub(super) fn on_exits(&mut self) {
        let ended = self.exits.as_mut().map(|exits| exits.ended()).unwrap_or_default();
        self.ending.extend(ended.into_iter().map(Ending::new));
        self.settle_endings();
    }

    /// Tells of the ends whose status is known or will never be.
    pub(super) fn settle_endings(&mut self) {
        let now = Instant::now();
        let mut finished = Vec::new();
        for mut ending in std::mem::take(&mut self.ending) {
            if ending.next > now {
                self.ending.push(ending);
                continue;
            }
            let known = self.exits.as_ref().map_or(Known::Never, |exits| exits.how(ending.pid));
            let end = match known {
                Known::NotYet if now.duration_since(ending.since) < PATIENCE => {
                    ending.next = now + RETRY;
                    self.ending.push(ending);
                    continue;
                }
                Known::Ended(end) => Some(end),
                Known::NotYet | Known::Never => None,
            };
            self.announce_one(ending.pid, false);
            finished.extend(self.leave(ending, end));
        }
        if !finished.is_empty() {
            self.finish(finished);
        }
    }

    /// Takes a process out of all tables.
    fn leave(&mut self, ending: Ending, end: Option<End>) -> Option<Finished> {
        if let Some(exits) = &mut self.exits {
            exits.forget(ending.pid);
        }
        let member = self.members.remove(&ending.pid)?;
        let served = self.sockets.holds(member.pid) || self.sockets.holds(member.parent_pid);
        self.table.remove(member.pid);
        self.unreadable.remove(&member.pid);
        self.elsewhere.remove(&member.pid);
        Some(Finished { member, end, at_unix_us: ending.at_unix_us, served })
    }

    fn finish(&mut self, finished: Vec<Finished>) {
        for one in &finished {
            self.sockets.forget(one.member.pid);
        }
        self.sockets.look();
        self.sort_leaders();
        let touched: BTreeSet<usize> = finished.iter().map(|f| f.member.service).collect();
        for one in finished {
            self.remember(&one);
            let exited = self.exited(&one);
            self.out.push(Observed::event(one.at_unix_us, Kind::ProcessExited(exited)));
        }
        self.look_at_counters();
        self.settle_memory();
        self.look_at_sockets();
        for service in touched {
            self.sample_soon(service);
        }
        self.begin_hunt();
    }

    fn remember(&mut self, one: &Finished) {
        let now = Instant::now();
        self.ended.retain(Ended::recent);
        if self.ended.len() >= ENDED_LIMIT {
            self.ended.pop_front();
        }
        let group = self.homes.remove(&one.member.pid).map(|home| home.group).unwrap_or_default();
        let signal = match one.end {
            Some(End::Signal { number, .. }) => Some(number),
            _ => None,
        };
        self.ended.push_back(Ended {
            service: one.member.service,
            pid: one.member.pid,
            name: one.member.name.clone(),
            group,
            signal,
            rss_bytes: one.member.rss_bytes,
            at: now,
            claimed: false,
            tied: false,
        });
    }

    fn exited(&self, one: &Finished) -> v1::ProcessExited {
        let Finished { member, end, served, .. } = one;
        let (exit_code, signal, core_dumped) = match end {
            Some(End::Code(code)) => (Some(*code), None, false),
            Some(End::Signal { number, core }) => (None, Some(*number), *core),
            None => (None, None, false),
        };
        v1::ProcessExited {
            service: self.service_name(member.service),
            pid: member.pid,
            started_unix_us: member.started_unix_us,
            name: member.name.clone(),
            exit_code,
            signal,
            core_dumped,
            source: if end.is_some() { Source::Pidfd } else { Source::Inferred }.into(),
            leader: member.leader,
            remaining: u32::try_from(self.members.values().filter(|m| m.service == member.service).count())
                .unwrap_or(u32::MAX),
            still_listening: self.still_listening(member.service),
            last_rss_bytes: member.rss_bytes,
            parent_pid: member.parent_pid,
            parent_name: member.parent_name.clone(),
            served: *served,
            fingerprint: member.make.clone(),
            first_fingerprint: member.first_make.clone(),
        }
    }

    /// Whether all the sockets of the look before are still listened on. A successor's sockets are others, even at the same
    /// addresses. None: it listened on none, or nobody knows.
    fn still_listening(&self, service: usize) -> Option<bool> {
        let before = &self.services.get(service)?.listening;
        if before.is_empty() || !self.sockets.known() {
            return None;
        }
        let now: BTreeSet<u64> = self.sockets.held().map(|(listener, _)| listener.inode).collect();
        Some(before.values().all(|inode| now.contains(inode)))
    }
}
