//! What each service listens on, from look to look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::Observer;
use crate::kernel::diag::Listener;
use crate::sampler::process::matching;

/// A search of all processes rests for so many times its own length: at most a twentieth of a CPU goes into it.
const REST: u32 = 20;

impl Observer {
    /// Looks at the listeners; tells those that came or went.
    pub(super) fn look_at_sockets(&mut self) {
        self.sockets.look();
        if !self.sockets.known() {
            return;
        }
        if self.sockets.has_unmapped() {
            self.search();
        }
        for service in 0..self.services.len() {
            self.compare(service);
        }
    }

    fn search(&mut self) {
        let everywhere = self.config.services.is_empty() || self.services.iter().any(|s| s.by_listener);
        if !everywhere {
            let pids: Vec<u32> = self.members.keys().copied().collect();
            let denied = self.sockets.search(pids);
            self.unreadable.extend(denied);
            return self.sockets.settle();
        }
        if self.searched.is_some_and(|(at, took)| at.elapsed() < took * REST) {
            return;
        }
        let began = Instant::now();
        // A process that listens may be younger than the last look at the table.
        self.find_new_members();
        let pids: Vec<u32> = self
            .table
            .entries()
            .values()
            .filter(|e| !e.inert && e.pid != self.me && !matching::is_init(e))
            .map(|e| e.pid)
            .collect();
        self.sockets.search(pids);
        self.sockets.settle();
        self.searched = Some((began, began.elapsed().max(Duration::from_millis(1))));
        self.gather_by_listeners();
    }

    /// Its listeners, each with the process that holds it.
    pub(super) fn listeners_of(&self, service: usize) -> Vec<(&Listener, u32)> {
        let Some(known) = self.services.get(service) else { return Vec::new() };
        let mine = |pid: u32| self.members.get(&pid).is_some_and(|m| m.service == service);
        let mut members = self.members.values().filter(|m| m.service == service);
        let unreadable = members.any(|m| self.unreadable.contains(&m.pid));
        self.sockets.of(&mine, &known.listen, unreadable)
    }

    fn compare(&mut self, service: usize) {
        let now: Vec<(&Listener, u32)> = self.listeners_of(service);
        let inodes: BTreeMap<String, u64> = now.iter().map(|(l, _)| (l.address.to_string(), l.inode)).collect();
        let waiting = now.iter().any(|(l, _)| l.queue > 0);
        let Some(known) = self.services.get_mut(service) else { return };
        known.waiting_since = if waiting { known.waiting_since.or_else(|| Some(Instant::now())) } else { None };
        let addresses: BTreeSet<String> = inodes.keys().cloned().collect();
        let before: BTreeSet<String> = std::mem::replace(&mut known.listening, inodes).into_keys().collect();
        if self.begun && before != addresses {
            self.tell_listening(service, &before, &addresses);
        }
    }

    fn tell_listening(&mut self, service: usize, before: &BTreeSet<String>, now: &BTreeSet<String>) {
        // Who listens has called exec: its start is told first.
        let of_service = |pid: &u32| self.members.get(pid).is_some_and(|m| m.service == service);
        let starting: Vec<u32> = self.announce_at.keys().copied().filter(of_service).collect();
        for pid in starting {
            self.announce_one(pid, false);
        }
        let gone = before.difference(now).map(|address| (address, false));
        for (address, listening) in gone.chain(now.difference(before).map(|address| (address, true))) {
            let changed =
                v1::ListenChanged { service: self.service_name(service), address: address.clone(), listening };
            self.tell(Kind::ListenChanged(changed));
        }
        self.sample_soon(service);
    }
}
