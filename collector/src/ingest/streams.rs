//! The open streams, one a host. A machine that reports under a host's name and finds itself replaced comes back: where it
//! takes the place of another machine that had taken its own, two machines use one name, and with it one key.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use super::share::{Share, Shares};
use crate::doors::Notices;
use crate::wire::Numbering;

/// Hosts whose replaced machines are remembered; the longest remembered go first.
const REPLACED_MAX: usize = 1_024;

/// What is told of a host that sends more than its share.
const SLOWED: &str = "sends more than 128 KiB a second without end: it is read no faster, and its reports come late";

/// What follows where two report under one name.
const TWICE: &str = ", and what is told of it mixes both: give each a host of its own in its agent.toml and enrol it; \
                     why502 hosts revoke shuts out who only has its key";

/// The open streams.
pub struct Streams {
    open: Mutex<Open>,
    notices: Arc<Notices>,
}

#[derive(Default)]
struct Open {
    by_host: HashMap<String, Stream>,
    newest: u64,
    /// Who was replaced while its stream was open.
    replaced: VecDeque<Numbering>,
    shares: Shares,
}

/// A stream's place on the list.
pub struct Entered {
    /// Its number there.
    pub id: u64,
    /// Fires when another stream takes its place.
    pub replaced: oneshot::Receiver<()>,
    /// What its host may send.
    pub share: Share,
}

struct Stream {
    id: u64,
    /// The machine and the run of its agent.
    machine: Numbering,
    peer: String,
    replace: oneshot::Sender<()>,
}

impl Streams {
    /// None yet.
    pub fn new(notices: Arc<Notices>) -> Self {
        Self { open: Mutex::default(), notices }
    }

    /// Enters a stream and tells the one before it that it is replaced.
    pub fn enter(&self, machine: &Numbering, peer: &str) -> Entered {
        let (replace, replaced) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest += 1;
        let id = open.newest;
        let stream = Stream { id, machine: machine.clone(), peer: peer.to_owned(), replace };
        if let Some(old) = open.by_host.insert(machine.host.clone(), stream) {
            // The receiver is gone where that stream has just ended by itself.
            let _ = old.replace.send(());
            if old.machine != *machine {
                if open.is_back(machine) {
                    self.tell_twice((machine, peer), (&old.machine, &old.peer));
                }
                open.remember(old.machine);
            }
        }
        Entered { id, replaced, share: open.shares.of(&machine.host, Instant::now()) }
    }

    fn tell_twice(&self, (one, one_peer): (&Numbering, &str), (other, other_peer): (&Numbering, &str)) {
        let ip = |peer: &str| peer.rsplit_once(':').map_or(peer, |(ip, _)| ip).to_owned();
        let mut places = vec![ip(one_peer), ip(other_peer)];
        places.sort();
        places.dedup();
        let who = if one.boot_id == other.boot_id { "two agents of one machine" } else { "two machines" };
        let says = format!("{who} report under this name in turn, from {}{TWICE}", places.join(" and "));
        warn!("host {:?}: {says}", one.host);
        self.notices.tell(&one.host, says);
    }

    /// Takes a stream off the list. False: another one has its place.
    pub fn leave(&self, host: &str, id: u64) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.by_host.get(host).is_some_and(|present| present.id == id);
        if own {
            open.by_host.remove(host);
            let streams = open.by_host.len();
            open.shares.left(host, streams, Instant::now());
        }
        own
    }

    /// Tells that a stream of a host was cut off for what it sent.
    pub fn cut_off(&self, host: &str, peer: &str, why: &str) {
        self.notices.tell(host, format!("was cut off: {why}"));
        warn!("agent of {host:?} at {peer} is cut off: {why}");
    }

    /// Tells that a host has sent more than its share.
    pub fn slowed(&self, host: &str, peer: &str) {
        self.notices.tell(host, SLOWED.to_owned());
        warn!("agent of {host:?} at {peer} {SLOWED}");
    }

    /// Tells that a stream of a host was not let in, and gives the status that says so.
    pub fn turn_away(&self, host: &str, peer: &str, why: String) -> Status {
        self.notices.tell(host, format!("is not let in: {why}"));
        warn!("agent at {peer} that says it is {host:?} is not let in: {why}");
        Status::permission_denied(why)
    }
}

impl Open {
    fn is_back(&self, machine: &Numbering) -> bool {
        self.replaced.contains(machine)
    }

    fn remember(&mut self, machine: Numbering) {
        if self.is_back(&machine) {
            return;
        }
        if self.replaced.len() >= REPLACED_MAX {
            self.replaced.pop_front();
        }
        self.replaced.push_back(machine);
    }
}
