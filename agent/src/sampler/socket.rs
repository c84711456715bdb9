//! Listening sockets of the watched services: where, how many wait in the accept queue, how many may, how many connections are
//! established, and which process holds them. A look at the listeners costs about 0.05 ms whatever the number of connections;
//! counting the established ones costs a walk of the kernel's table (some 10 ms for 100,000), so that is done every 15 s
//! at most, or every 2 s while packets are sent again, more seldom where it is dear, and each second while something is wrong.
//! Holders are found by the links in /proc/PID/fd of the processes given, searched only when a listener is new or lost its holder.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use why502_proto::v1;

use super::Status;
use crate::config::Listen;
use crate::kernel::diag::{Address, Connections, Diag, Listener};
use crate::kernel::{Error, clock, process};

/// Most listeners of one service that are told.
pub const LISTENER_LIMIT: usize = 64;

/// The established ones are counted again after so long: the walk costs the same however few there are.
const ESTABLISHED_AGE: Duration = Duration::from_millis(14_500);
/// The same while packets are sent again: connections on which nothing arrives live for as long as somebody waits.
const RESENT_AGE: Duration = Duration::from_millis(1_500);
/// And after so many times what the last count cost, so that they take a thousandth of a CPU,
const ESTABLISHED_SHARE: u32 = 1_000;
/// but after so long in any case.
const ESTABLISHED_MOST_AGE: Duration = Duration::from_secs(29);

/// The sockets of this network namespace.
#[derive(Debug)]
pub struct Sockets {
    proc: PathBuf,
    diag: Option<Diag>,
    unix_wanted: bool,
    unix_failed: Option<String>,
    failed: Option<Error>,
    listeners: Vec<Listener>,
    holders: BTreeMap<u64, BTreeSet<u32>>,
    foreign: HashSet<u64>,
    connections: Option<HashMap<SocketAddr, Connections>>,
    counted: Option<Counted>,
}

/// A count of established connections.
#[derive(Debug)]
struct Counted {
    at: Instant,
    /// Local ports of which they were counted.
    ports: BTreeSet<u16>,
    cost: Duration,
}

/// How soon a count is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Nothing is the matter.
    None,
    /// Packets are sent again.
    Some,
    /// Now.
    Most,
}

impl Counted {
    /// It will do yet for these ports.
    fn is_fresh(&self, ports: &BTreeSet<u16>, haste: Haste) -> bool {
        let least = match haste {
            Haste::None => ESTABLISHED_AGE,
            Haste::Some => RESENT_AGE,
            Haste::Most => return false,
        };
        let age = (self.cost * ESTABLISHED_SHARE).clamp(least, ESTABLISHED_MOST_AGE);
        self.at.elapsed() < age && self.ports == *ports
    }
}

impl Sockets {
    /// Opens the netlink socket; unix sockets are looked at only where a service listens on one.
    pub fn new(proc: &Path, unix_wanted: bool) -> Self {
        let (diag, failed) = match Diag::open() {
            Ok(diag) => (Some(diag), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            proc: proc.to_owned(),
            diag,
            unix_wanted,
            unix_failed: None,
            failed,
            listeners: Vec::new(),
            holders: BTreeMap::new(),
            foreign: HashSet::new(),
            connections: None,
            counted: None,
        }
    }

    /// Whether the last look told what listens.
    pub fn known(&self) -> bool {
        self.failed.is_none()
    }

    /// How well it sees.
    pub fn status(&self) -> Status {
        match (&self.failed, &self.unix_failed) {
            (Some(error), _) if self.diag.is_none() || error.denied() => Status::Unavailable(format!(
                "listening sockets can't be read: {error}; allow AF_NETLINK sockets to the agent"
            )),
            (Some(error), _) => {
                Status::Failed(format!("listening sockets can't be read: {error}; load the kernel's tcp_diag module"))
            }
            (None, Some(why)) => {
                Status::Degraded(format!("unix sockets can't be read: {why}; load the kernel's unix_diag module"))
            }
            (None, None) => Status::Active,
        }
    }

    /// Looks at what listens now.
    pub fn look(&mut self) {
        let Some(diag) = &mut self.diag else { return };
        match diag.tcp_listeners() {
            Ok(listeners) => (self.listeners, self.failed) = (listeners, None),
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        }
        if self.unix_wanted {
            match diag.unix_listeners() {
                Ok(found) => {
                    self.listeners.extend(found);
                    self.unix_failed = None;
                }
                Err(error) => self.unix_failed = Some(error.to_string()),
            }
        }
        let there: HashSet<u64> = self.listeners.iter().map(|l| l.inode).collect();
        self.holders.retain(|inode, _| there.contains(inode));
        self.foreign.retain(|inode| there.contains(inode));
    }

    /// Some listener's holder was never searched for, or ended.
    pub fn has_unmapped(&self) -> bool {
        self.listeners.iter().any(|l| !self.holders.contains_key(&l.inode) && !self.foreign.contains(&l.inode))
    }

    /// Searches processes for the listeners that they hold. Returns those whose descriptors may not be read.
    pub fn search(&mut self, pids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let listening: HashSet<u64> = self.listeners.iter().map(|l| l.inode).collect();
        let mut denied = Vec::new();
        for pid in pids {
            match process::socket_inodes(&self.proc, pid) {
                Ok(inodes) => {
                    for inode in inodes.into_iter().filter(|inode| listening.contains(inode)) {
                        self.foreign.remove(&inode);
                        self.holders.entry(inode).or_default().insert(pid);
                    }
                }
                Err(error) if error.denied() => denied.push(pid),
                Err(_) => {}
            }
        }
        denied
    }

    /// What was searched for and not found belongs to others; it is not searched for again.
    pub fn settle(&mut self) {
        let holders = &self.holders;
        self.foreign.extend(self.listeners.iter().map(|l| l.inode).filter(|inode| !holders.contains_key(inode)));
    }

    /// What belongs to others is searched for again: it may have been handed on.
    pub fn unsettle(&mut self) {
        self.foreign.clear();
    }

    /// A process ended.
    pub fn forget(&mut self, pid: u32) {
        for holders in self.holders.values_mut() {
            holders.remove(&pid);
        }
        self.holders.retain(|_, holders| !holders.is_empty());
    }

    /// Whether a process is known to hold a listener.
    pub fn holds(&self, pid: u32) -> bool {
        self.holders.values().any(|holders| holders.contains(&pid))
    }

    /// Listeners with the processes that are known to hold them.
    pub fn held(&self) -> impl Iterator<Item = (&Listener, Option<&BTreeSet<u32>>)> {
        self.listeners.iter().map(|listener| (listener, self.holders.get(&listener.inode)))
    }

    /// Listeners of a service. `mine` tells its processes; `unreadable` that descriptors of some of them may not be read: then a
    /// listener without a known holder is the service's where it is configured to listen there.
    pub fn of(&self, mine: &dyn Fn(u32) -> bool, listen: &[Listen], unreadable: bool) -> Vec<(&Listener, u32)> {
        let owner = |holders: Option<&BTreeSet<u32>>, address: &Address| match holders {
            Some(holders) => holders.iter().copied().find(|pid| mine(*pid)),
            None => (unreadable && listen.iter().any(|l| is_at(l, address))).then_some(0),
        };
        let found = self.held().filter_map(|(listener, holders)| Some((listener, owner(holders, &listener.address)?)));
        found.take(LISTENER_LIMIT).collect()
    }

    /// Counts the connections established to some local ports, where the last count is of other ports or too old for the haste.
    pub fn count_established(&mut self, ports: BTreeSet<u16>, haste: Haste) {
        if self.counted.as_ref().is_some_and(|counted| counted.is_fresh(&ports, haste)) {
            return;
        }
        let list: Vec<u16> = ports.iter().copied().collect();
        let before = clock::cpu_time();
        self.connections = self.diag.as_mut().and_then(|diag| diag.connections(&list).ok());
        let cost = clock::cpu_time().saturating_sub(before);
        self.counted = Some(Counted { at: Instant::now(), ports, cost });
    }

    /// A listener's readings.
    pub fn sample(&self, listener: &Listener, pid: u32) -> v1::ListenerSample {
        let connections = self.connections_to(&listener.address);
        v1::ListenerSample {
            address: listener.address.to_string(),
            queue: listener.queue,
            queue_limit: listener.queue_limit,
            established: connections.map(|count| count.established),
            pid,
            unacknowledged: connections.map_or(0, |count| count.unacknowledged),
        }
    }

    /// At a wildcard address: all connections to the port but those to addresses with a listener of their own.
    fn connections_to(&self, address: &Address) -> Option<Connections> {
        let (counts, Address::Tcp(address)) = (self.connections.as_ref()?, address) else { return None };
        if !address.ip().is_unspecified() {
            return Some(counts.get(address).copied().unwrap_or_default());
        }
        let own = |at: &SocketAddr| self.listeners.iter().any(|l| l.address == Address::Tcp(*at));
        let fits = counts.iter().filter(|(at, _)| at.port() == address.port() && !own(at));
        Some(fits.fold(Connections::default(), |sum, (_, count)| Connections {
            established: sum.established + count.established,
            unacknowledged: sum.unacknowledged + count.unacknowledged,
        }))
    }
}

/// Whether a configured address means a listener's.
pub fn is_at(listen: &Listen, address: &Address) -> bool {
    match (listen, address) {
        (Listen::Port(port), Address::Tcp(at)) => at.port() == *port,
        // Who listens on all addresses listens on this one; all of IPv4 is no IPv6.
        (Listen::Address(wanted), Address::Tcp(at)) => {
            let takes_any = at.ip().is_unspecified() && (at.is_ipv6() || wanted.is_ipv4());
            wanted.port() == at.port() && (at.ip() == wanted.ip() || takes_any)
        }
        (Listen::Unix(path), Address::Unix(at)) => path.as_os_str() == at.as_str(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn knows_the_holder_the_queue_and_the_connections() {
        let me = std::process::id();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut sockets = Sockets::new(Path::new("/proc"), false);
        sockets.look();
        assert!(sockets.known() && sockets.has_unmapped());
        assert!(sockets.search([me]).is_empty());
        sockets.settle();
        assert!(!sockets.has_unmapped() && sockets.holds(me));
        sockets.count_established(BTreeSet::from([port]), Haste::None);
        let mine = |pid| pid == me;
        let ours = |sockets: &Sockets| {
            let found = sockets.of(&mine, &[], false);
            found.into_iter().map(|(l, pid)| sockets.sample(l, pid)).find(|s| s.address == format!("0.0.0.0:{port}"))
        };
        let sample = ours(&sockets).expect("our listener");
        assert_eq!((sample.queue, sample.established, sample.pid), (1, Some(1), me));
        drop((client, listener));
        sockets.look();
        assert!(ours(&sockets).is_none());
    }

    #[test]
    fn connections_are_counted_again_sooner_while_packets_are_sent_again() {
        let ports = BTreeSet::from([80]);
        let fresh = |age_ms: u64, cost_us: u64, haste| {
            let at = Instant::now().checked_sub(Duration::from_millis(age_ms)).unwrap();
            Counted { at, ports: ports.clone(), cost: Duration::from_micros(cost_us) }.is_fresh(&ports, haste)
        };
        assert!(fresh(10_000, 500, Haste::None) && !fresh(15_000, 500, Haste::None));
        assert!(fresh(1_000, 500, Haste::Some) && !fresh(2_000, 500, Haste::Some));
        // A host with 100,000 connections gives no more of its time for that than else.
        assert!(fresh(9_000, 10_000, Haste::Some) && !fresh(11_000, 10_000, Haste::Some));
        assert!(!fresh(0, 10_000, Haste::Most));
    }

    #[test]
    fn a_configured_address_stands_in_for_an_unknown_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = [Listen::Port(listener.local_addr().unwrap().port())];
        let mut sockets = Sockets::new(Path::new("/proc"), false);
        sockets.look();
        let mine = |_| true;
        assert_eq!(sockets.of(&mine, &listen, true).iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), [0]);
        assert!(sockets.of(&mine, &listen, false).is_empty());
    }

    #[test]
    fn who_listens_on_all_addresses_listens_on_each_of_its_family() {
        let at = |listen: &str, bound: &str| {
            is_at(&Listen::Address(listen.parse().unwrap()), &Address::Tcp(bound.parse().unwrap()))
        };
        assert!(at("10.0.0.2:80", "0.0.0.0:80") && at("10.0.0.2:80", "[::]:80") && at("[fd00::2]:80", "[::]:80"));
        assert!(!at("10.0.0.2:80", "127.0.0.1:80") && !at("[fd00::2]:80", "0.0.0.0:80"));
    }
}
