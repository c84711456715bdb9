//! Joins samplers and watchers: owns the table of watched services and their processes, looks once a second, samples at the
//! interval, reacts to what the watchers tell, and sends [`Observed`] values into a bounded channel. When the channel is full it
//! waits: the receiver's speed is the limit, and nothing is thrown away here. All reading of /proc happens on the calling thread
//! and is bounded; nothing here opens a port, writes a file or starts a program.
//!
//! Pace: exits, link changes and the kernel log at once; after an exit or a start the successor and its ports are looked for
//! every 25 ms for 2 s and every 100 ms up to 10 s; every second a cheap look (new processes by the id that the kernel gave out
//! last, listeners by one netlink dump, states by kept descriptors), which also sends a sample of each service that looks
//! abnormal; a listing of /proc every 15 s; everything at the interval, or more seldom where that would be felt (`pace`).

mod exits;
mod members;
mod memory;
mod pace;
mod samples;
mod service;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::yield_now;
use why502_proto::v1;

use crate::alarm::sleep_until;
use crate::budget::Budget;
use crate::clock::{Steps, unix_now_us};
use crate::config::Config;
use crate::kernel::cgroup::Hierarchy;
use crate::kernel::{Roots, mount};
use crate::sampler::cgroup::Groups;
use crate::sampler::host::HostSampler;
use crate::sampler::process::Member;
use crate::sampler::process::matching;
use crate::sampler::process::table::Table;
use crate::sampler::socket::Sockets;
use crate::sampler::{Observed, Status};
use crate::wakeful::{ready, wakeful};
use crate::watch::exit::ExitWatch;
use crate::watch::kernel_log::KernelLog;
use crate::watch::link::LinkWatch;
use crate::watch::oom::OomCounters;
use crate::watch::unit::Units;

use exits::{Ended, Ending};
use members::Home;
use memory::{Unclaimed, Untied};
use pace::Pace;
use service::Service;

/// Processes that are read in one go before the first look.
const READ_AHEAD: usize = 32;
/// The cheap look.
const GLANCE: Duration = Duration::from_secs(1);
/// Between two readings of [`look`], so that CPU use can be told.
const LOOK_STRETCH: Duration = Duration::from_millis(250);

/// One look at this host.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The host.
    pub host: v1::HostSample,
    /// Each service, configured or found, also where no process of it runs.
    pub instances: Vec<v1::InstanceSample>,
    /// What could and could not be seen.
    pub statuses: Vec<v1::SamplerStatus>,
}

/// Looks once, without a collector and without events. Takes about a quarter of a second, on the calling thread.
pub fn look(config: &Config) -> Look {
    let mut observer = Observer::new(Arc::new(config.clone()), Roots::default());
    observer.begin();
    observer.tick();
    std::thread::sleep(LOOK_STRETCH);
    observer.out.clear();
    observer.tick();
    let statuses = observer.statuses.iter().map(|(name, status)| status.message(name)).collect();
    let mut look = Look { host: v1::HostSample::default(), instances: Vec::new(), statuses };
    for observed in observer.out {
        match observed {
            Observed::Host(host) => look.host = *host,
            Observed::Instance(instance) => look.instances.push(*instance),
            _ => {}
        }
    }
    look
}

/// Watches this host until the future is dropped or the receiver is gone. Needs a runtime with I/O and time, of one thread or many;
/// the future may be `!Send`-agnostic: it holds no lock and spawns nothing.
pub async fn run(config: Arc<Config>, out: mpsc::Sender<Observed>, budget: Budget, units: Units) {
    let mut observer = Observer::new(Arc::clone(&config), Roots::default());
    observer.units = units;
    let exits = observer.exits.as_ref().and_then(|exits| exits.readable().ok());
    let (exits, log, links) = (wakeful(exits), wakeful(observer.log.readable()), wakeful(observer.links.readable()));
    observer.read_ahead().await;
    observer.begin();
    let (mut ticks, mut glances) = (Pace::new("interval", config.interval), Pace::new("cheap looks", GLANCE));
    loop {
        for observed in observer.out.drain(..) {
            if out.send(observed).await.is_err() {
                return;
            }
        }
        let wake = observer.next_wake();
        tokio::select! {
            biased;
            () = ready(exits.as_ref()) => observer.on_exits(),
            () = ready(log.as_ref()) => observer.on_log(),
            () = ready(links.as_ref()) => observer.on_links(),
            () = until(wake) => observer.on_wake(),
            () = sleep_until(ticks.next()) => if ticks.look(&budget, || observer.tick()) {
                // A look at everything is a cheap look too.
                glances.put_off();
                let stretched = [&ticks, &glances].into_iter().map(Pace::status).find(|status| *status != Status::Active);
                observer.set_status("pace", stretched.unwrap_or(Status::Active));
            },
            () = sleep_until(glances.next()) => {
                glances.look(&budget, || observer.glance());
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Everything that is watched, and what waits to be sent.
struct Observer {
    config: Arc<Config>,
    roots: Roots,
    me: u32,
    in_first_pid_namespace: bool,
    table: Table,
    listed: Option<Instant>,
    /// Some processes found no room among the members.
    refused: bool,
    services: Vec<Service>,
    members: BTreeMap<u32, Member>,
    homes: HashMap<u32, Home>,
    hierarchies: Vec<Hierarchy>,
    /// Processes whose descriptors may not be read.
    unreadable: HashSet<u32>,
    /// Processes in another network namespace.
    elsewhere: HashSet<u32>,
    searched: Option<(Instant, Duration)>,
    sockets: Sockets,
    host: HostSampler,
    groups: Groups,
    exits: Option<ExitWatch>,
    oom: OomCounters,
    log: KernelLog,
    links: LinkWatch,
    clock_steps: Steps,
    /// The first look is over: what is found from now on began under the agent's eyes.
    begun: bool,
    announce_at: BTreeMap<u32, Instant>,
    /// Leaders whose make is taken once more, in the order of that time.
    settling: VecDeque<(Instant, u32)>,
    ending: Vec<Ending>,
    ended: VecDeque<Ended>,
    unclaimed: Vec<Unclaimed>,
    untied: Vec<Untied>,
    extra_at: BTreeMap<usize, Instant>,
    hunt: Option<Hunt>,
    statuses: BTreeMap<&'static str, Status>,
    /// Told which service lives in which unit.
    units: Units,
    out: Vec<Observed>,
}

/// A time of closer looks, after an exit or a start.
#[derive(Debug, Clone, Copy)]
struct Hunt {
    since: Instant,
    next: Instant,
}

impl Hunt {
    const LENGTH: Duration = Duration::from_secs(10);

    /// A hunt that begins now.
    fn new(now: Instant) -> Self {
        Self { since: now, next: now + Duration::from_millis(5) }
    }

    /// The same hunt after a look. None: it is over.
    fn after(self, now: Instant) -> Option<Self> {
        let age = now.duration_since(self.since);
        let pause = if age < Duration::from_secs(2) { Duration::from_millis(25) } else { Duration::from_millis(100) };
        (age < Self::LENGTH).then_some(Self { since: self.since, next: now + pause })
    }
}

impl Observer {
    fn new(config: Arc<Config>, roots: Roots) -> Self {
        let proc = roots.proc.clone();
        let unix_wanted =
            config.services.iter().any(|s| s.listen.iter().any(|l| matches!(l, crate::config::Listen::Unix(_))));
        let own_mounts = mount::of_process(&proc, std::process::id()).unwrap_or_default();
        // The first pid namespace has a fixed inode (PROC_PID_INIT_INO in include/linux/proc_ns.h).
        let namespace = std::fs::read_link(proc.join("self/ns/pid")).unwrap_or_default();
        Self {
            me: std::process::id(),
            in_first_pid_namespace: namespace.as_os_str() == "pid:[4026531836]",
            table: Table::new(&proc, matching::needs(&config.services)),
            listed: None,
            refused: false,
            services: config.services.iter().map(Service::declared).collect(),
            members: BTreeMap::new(),
            homes: HashMap::new(),
            hierarchies: crate::kernel::cgroup::hierarchies(&own_mounts),
            unreadable: HashSet::new(),
            elsewhere: HashSet::new(),
            searched: None,
            sockets: Sockets::new(&proc, unix_wanted),
            host: HostSampler::new(&proc),
            groups: Groups::default(),
            exits: ExitWatch::new(&proc).ok(),
            oom: OomCounters::default(),
            log: KernelLog::open(&roots.kmsg),
            links: LinkWatch::open(),
            clock_steps: Steps::default(),
            begun: false,
            announce_at: BTreeMap::new(),
            settling: VecDeque::new(),
            ending: Vec::new(),
            ended: VecDeque::new(),
            unclaimed: Vec::new(),
            untied: Vec::new(),
            extra_at: BTreeMap::new(),
            hunt: None,
            statuses: BTreeMap::new(),
            units: Units::default(),
            out: Vec::new(),
            config,
            roots,
        }
    }

    /// Reads the process table for the first look, a few at a time, so that the rest of the agent is not kept waiting.
    async fn read_ahead(&mut self) {
        for pids in self.table.unread().chunks(READ_AHEAD) {
            self.table.read_ahead(pids);
            yield_now().await;
        }
    }

    /// The first look: what runs already is told as such.
    fn begin(&mut self) {
        self.find_members();
        self.look_at_sockets();
        self.announce(true);
        self.tell_statuses();
        self.set_status("cgroup", self.cgroup_status());
        self.begun = true;
    }

    /// The cheap look, each second.
    fn glance(&mut self) {
        self.look_around();
        self.sample_abnormal();
        self.tell_statuses();
    }

    /// Everything, at the interval.
    fn tick(&mut self) {
        self.look_around();
        self.sample_all();
        self.tell_statuses();
        self.set_status("cgroup", self.cgroup_status());
    }

    fn look_around(&mut self) {
        if let Some(by_us) = self.clock_steps.look() {
            self.tell(v1::event::Kind::ClockStepped(v1::ClockStepped { by_us }));
        }
        // A look at all links costs with their number (hosts of containers have many); between listings what is told will do.
        let changes = if self.listing_due() { self.links.look() } else { self.links.read() };
        for change in changes {
            self.tell(v1::event::Kind::LinkChanged(change));
        }
        self.find_members();
        self.read_members();
        self.look_at_sockets();
        self.look_at_counters();
        self.look_at_settled();
        self.on_wake();
    }

    fn on_links(&mut self) {
        for change in self.links.read() {
            self.tell(v1::event::Kind::LinkChanged(change));
        }
    }

    /// When something is due before the next glance.
    fn next_wake(&self) -> Option<Instant> {
        let ending = self.ending.iter().map(Ending::next);
        let announcing = self.announce_at.values().copied();
        let extra = self.extra_at.values().copied();
        let untied = self.untied.iter().map(Untied::due);
        let unclaimed = self.unclaimed.iter().map(Unclaimed::due);
        ending
            .chain(announcing)
            .chain(extra)
            .chain(untied)
            .chain(unclaimed)
            .chain(self.hunt.map(|hunt| hunt.next))
            .min()
    }

    fn on_wake(&mut self) {
        let now = Instant::now();
        self.settle_endings();
        if let Some(hunt) = self.hunt.filter(|hunt| hunt.next <= now) {
            self.find_new_members();
            self.look_at_sockets();
            // A start or a further end found just now has begun another hunt.
            if self.hunt.is_some_and(|h| h.since == hunt.since) {
                self.hunt = hunt.after(Instant::now());
            }
        }
        self.announce(false);
        self.settle_memory();
        let due: BTreeSet<usize> =
            self.extra_at.iter().filter(|(_, at)| **at <= now).map(|(service, _)| *service).collect();
        for service in due {
            self.extra_at.remove(&service);
            self.sample_now(service);
        }
    }

    fn begin_hunt(&mut self) {
        self.hunt = Some(Hunt::new(Instant::now()));
    }

    /// A sample of a service, soon, once what changes together has changed.
    fn sample_soon(&mut self, service: usize) {
        self.extra_at.entry(service).or_insert_with(|| Instant::now() + Duration::from_millis(60));
    }

    fn tell(&mut self, kind: v1::event::Kind) {
        self.out.push(Observed::event(unix_now_us(), kind));
    }

    fn service_name(&self, service: usize) -> String {
        self.services.get(service).map(|s| s.name.clone()).unwrap_or_default()
    }

    fn set_status(&mut self, name: &'static str, status: Status) {
        if self.statuses.get(name) != Some(&status) {
            self.out.push(Observed::Status(status.message(name)));
            self.statuses.insert(name, status);
        }
    }
}

#[cfg(test)]
mod tests;
