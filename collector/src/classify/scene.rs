//! Everything that is known about one case, gathered once so that each rule stays a few lines: whose instance it is, what
//! its host saw, what the gateway's host found, what was answered meanwhile.
//! A fact is three-valued: yes, no, or not known. Missing is not zero, and silent is not down.

mod answers;
mod leader;
mod listening;
mod shares;

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;

pub use listening::LONGEST_START_US;

use super::chain::{self, End};
use super::tries::Tries;
use crate::case::{Case, Made, Stretch, upstream_address};
use crate::fleet::{Fleet, HostEntry, Place, is_silent};
use crate::model::{
    Address, CgroupSample, EventKind, Evidence, GatewayConfig, GatewayNotice, HealthResult, InstanceSample, LogMatch,
    Pool, PoolMember, ProbeResult, ProcessStarted,
};

/// How far before the first failure a cause may begin, microseconds.
pub const REACH_BACK_US: i64 = 120_000_000;
/// Times of two hosts, and of a log that tells whole seconds, may differ so much and still be the same moment.
pub const SAME_MOMENT_US: i64 = 1_500_000;
/// Evidence this long after the newest failure still speaks of it.
const REACH_ON_US: i64 = 15_000_000;

/// A three-valued fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tri {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// Nothing tells.
    Unknown,
}

impl Tri {
    /// It is so.
    pub fn yes(self) -> bool {
        self == Self::Yes
    }

    /// It is not so.
    pub fn no(self) -> bool {
        self == Self::No
    }

    fn of(fact: bool) -> Self {
        if fact { Self::Yes } else { Self::No }
    }
}

/// What is known about a case.
pub struct Scene<'a> {
    /// The collector's time now.
    pub now_us: i64,
    /// The case.
    pub case: &'a Case,
    /// Its present stretch of failures.
    pub failures: &'a Stretch,
    /// All hosts, to look elsewhere.
    pub fleet: &'a Fleet,
    /// The instance behind the upstream.
    pub place: Place,
    /// The upstream's address.
    pub address: Address,
    /// The instance's host.
    pub host: Option<&'a HostEntry>,
    /// The gateway's host.
    pub gateway: Option<&'a HostEntry>,
    /// The gateway's configuration.
    pub config: Option<&'a Arc<GatewayConfig>>,
    /// The pool that the upstream is a member of.
    pub pool: Option<&'a Pool>,
    /// The upstream as configured.
    pub member: Option<&'a PoolMember>,
    /// Ends of the instance that explain the failures, oldest first.
    pub chain: Vec<End<'a>>,
    /// When the instance ended without having caused the failures by it: what comes after is somebody's reaction or a
    /// consequence, and tells nothing of the cause.
    pub aftermath_us: i64,
    /// Starts of the instance, oldest first, with those that its agent only found.
    pub starts: Vec<(i64, &'a ProcessStarted)>,
    /// The instance's readings while it failed, oldest first.
    pub samples: Vec<&'a InstanceSample>,
    /// Its health as its own host found it while it failed.
    pub health: Vec<(i64, &'a HealthResult)>,
    /// Trouble in its logs while it failed and shortly before.
    pub logs: Vec<(i64, &'a LogMatch)>,
    /// What the gateway's host found when it tried the upstream.
    pub probes: Vec<(i64, &'a ProbeResult)>,
    /// What the gateway itself said of the upstream, oldest first.
    pub notices: Vec<(i64, &'a GatewayNotice)>,
    /// What the gateway said of itself, oldest first.
    pub own_notices: Vec<(i64, &'a GatewayNotice)>,
    tries: OnceCell<Tries>,
}

impl<'a> Scene<'a> {
    /// How the gateway's host fared when it connected to the upstream itself.
    pub(super) fn tries(&self) -> &Tries {
        self.tries.get_or_init(|| Tries::of(self))
    }

    /// Gathers what is known about a case.
    pub fn new(fleet: &'a Fleet, case: &'a Case, now_us: i64) -> Self {
        let failures = &case.current;
        let named = case.key.upstream.as_deref().unwrap_or("");
        let written = Address::parse(named);
        let gateway = fleet.host(&case.key.gateway.host);
        let address = gateway.and_then(|entry| looked_up(entry, &written)).unwrap_or_else(|| written.clone());
        let place = fleet.locate(&case.key.gateway.host, &address);
        let host = place.host.as_deref().and_then(|name| fleet.host(name));
        let state = gateway.and_then(|entry| entry.state.gateways.get(&case.key.gateway.name));
        // What it goes by now may be what mended it, and it went by what was set before for some of the failures.
        let middle_us = failures.course.left_at(0.5).unwrap_or(failures.last_us);
        let config = state.and_then(|state| state.config_at(middle_us));
        let (pool, member) = member_of(config, &written, &case.pool);
        let mut scene = Self {
            now_us,
            case,
            failures,
            fleet,
            place,
            address,
            host,
            gateway,
            config,
            pool,
            member,
            chain: Vec::new(),
            aftermath_us: i64::MAX,
            starts: Vec::new(),
            samples: Vec::new(),
            health: Vec::new(),
            logs: Vec::new(),
            probes: Vec::new(),
            notices: Vec::new(),
            own_notices: Vec::new(),
            tries: OnceCell::new(),
        };
        scene.gather_instance();
        scene.gather_views(named);
        scene
    }

    fn gather_instance(&mut self) {
        let (Some(host), Some(service)) = (self.host, self.place.service.clone()) else { return };
        let from_us = self.failures.began_us - REACH_BACK_US;
        let to_us = self.failures.last_us + REACH_ON_US;
        let history = &host.history;
        for event in history.lives(from_us - REACH_BACK_US, to_us + REACH_BACK_US) {
            match &event.kind {
                EventKind::ProcessStarted(start) if start.service == service => {
                    self.starts.push((start.started_us, start));
                }
                _ => {}
            }
        }
        for event in history.chatter(from_us, to_us) {
            match &event.kind {
                EventKind::Health(health) if health.service == service => self.health.push((event.at_us, health)),
                EventKind::LogMatch(found) if found.service == service => self.logs.push((event.at_us, found)),
                _ => {}
            }
        }
        self.chain = chain::explaining(self, &service);
        if self.chain.is_empty() {
            self.aftermath_us = chain::first_end_after(self, &service).unwrap_or(i64::MAX);
        }
        let interval_us = i64::try_from(host.state.interval_us).unwrap_or(0);
        let samples = history.instance_samples(&service, self.failures.began_us - 500_000, to_us.max(interval_us));
        let samples = samples.filter(|sample| sample.at_us < self.aftermath_us);
        self.samples = samples
            .filter(|sample| sample.at_us <= self.failures.last_us + interval_us + 2_000_000)
            .map(|sample| &**sample)
            .collect();
    }

    fn gather_views(&mut self, named: &str) {
        let Some(entry) = self.gateway else { return };
        let gateway = &self.case.key.gateway;
        let at_the_gateway = self.gateway_host().is_some();
        let from_us = self.failures.first_us - REACH_BACK_US;
        for event in entry.history.views(from_us, self.failures.last_us + REACH_BACK_US) {
            match &event.kind {
                EventKind::Probe(probe)
                    if at_the_gateway
                        && probe.gateway == gateway.name
                        && event.at_us >= self.failures.first_us - 10_000_000
                        && upstream_address(self.fleet, gateway, "", &probe.upstream, event.at_us) == named =>
                {
                    self.probes.push((event.at_us, probe));
                }
                EventKind::Notice(notice) if notice.gateway == gateway.name && notice.upstream.is_empty() => {
                    self.own_notices.push((event.at_us, notice));
                }
                EventKind::Notice(notice)
                    if notice.gateway == gateway.name
                        && upstream_address(self.fleet, gateway, &notice.pool, &notice.upstream, event.at_us)
                            == named =>
                {
                    self.notices.push((event.at_us, notice));
                }
                _ => {}
            }
        }
    }

    /// The gateway's own host, as far as its agent is there: a cloud's balancer is elsewhere, only its log is here.
    pub fn gateway_host(&self) -> Option<&'a HostEntry> {
        const ELSEWHERE: &[&str] = &["aws_alb", "aws_clb", "gcp_lb", "azure_appgw", "cloudflare", "heroku"];
        self.gateway.filter(|_| !ELSEWHERE.contains(&self.case.key.gateway.kind.as_str()))
    }

    /// Whether the application made the statuses.
    pub fn by_application(&self) -> bool {
        self.case.key.made == Made::ByApplication
    }

    /// Whether the instance's host reports: yes, no (it is silent), or no agent is known there.
    pub fn host_reports(&self) -> Tri {
        let Some(host) = self.host else { return Tri::Unknown };
        if host.state.stopped {
            return Tri::Unknown;
        }
        Tri::of(self.silence().is_none())
    }

    /// The silence of the instance's host that lies over the failures: since when, and until when it lasted or now.
    pub fn silence(&self) -> Option<(i64, i64)> {
        let host = self.host.filter(|host| !host.state.stopped)?;
        if is_silent(&host.state, self.now_us) {
            return Some((host.state.last_heard_us, self.now_us));
        }
        host.history.silence(self.failures.first_us, self.failures.last_us)
    }

    /// The time since the agent of the instance's host was stopped in good order, where it is still away.
    pub fn farewell(&self) -> Option<(i64, i64)> {
        let host = self.host.filter(|host| host.state.stopped)?;
        Some((host.state.last_heard_us, self.now_us))
    }

    /// How long that silence lasted.
    pub fn silent_for_us(&self) -> i64 {
        self.silence().map_or(0, |(from_us, to_us)| to_us - from_us)
    }

    /// Whether the instance had a process when the failures began, whatever became of it: what hangs gets killed.
    pub fn alive_at_first(&self) -> Tri {
        match self.samples.first() {
            Some(sample) if self.began_unseen().is_none() => Tri::of(sample.process_count > 0),
            _ => self.process_alive(),
        }
    }

    /// Whether the instance had a process while the failures went on.
    pub fn process_alive(&self) -> Tri {
        // What only forwards lives on when that which it forwards to has ended.
        let forwards = self.samples.last().copied().or_else(|| self.before()).is_some_and(only_forwards);
        if forwards || self.began_unseen().is_some() {
            return Tri::Unknown;
        }
        if let Some(sample) = self.samples.first() {
            return Tri::of(self.samples.iter().all(|sample| sample.process_count > 0) && sample.process_count > 0);
        }
        match self.before() {
            Some(sample) if self.host_reports().yes() && self.chain.is_empty() => Tri::of(sample.process_count > 0),
            _ => Tri::Unknown,
        }
    }

    /// Its readings since it was taken out for the failures, up to so long as its connections are looked at once, or until something
    /// was answered again: they tell of the same trouble.
    pub fn unanswered_since(&self) -> impl Iterator<Item = &'a InstanceSample> {
        const CONNECTIONS_SEEN_US: i64 = 20_000_000;
        let from_us = self.samples.last().map_or(self.failures.last_us, |sample| sample.at_us) + 1;
        let served_us = self.first_answer_after(self.failures.last_us).unwrap_or(i64::MAX);
        let until_us = (self.failures.last_us + CONNECTIONS_SEEN_US).min(self.aftermath_us).min(served_us);
        let found = self.host.zip(self.place.service.as_deref());
        let readings = found.map(|(host, service)| host.history.instance_samples(service, from_us, until_us));
        readings.into_iter().flatten().map(|sample| &**sample)
    }

    /// The instance's newest reading from before the failures.
    pub fn before(&self) -> Option<&'a InstanceSample> {
        let (host, service) = (self.host?, self.place.service.as_deref()?);
        let from_us = self.failures.began_us - REACH_BACK_US;
        host.history.instance_samples(service, from_us, self.failures.began_us).next_back().map(|sample| &**sample)
    }

    /// The newest reading of its control group up to the failures' end: a reading from after its end has none.
    pub fn group(&self) -> Option<&'a CgroupSample> {
        let (host, service) = (self.host?, self.place.service.as_deref()?);
        let from_us = self.failures.began_us - REACH_BACK_US;
        let mut samples = host.history.instance_samples(service, from_us, self.failures.last_us);
        samples.rfind(|sample| sample.cgroup.is_some()).and_then(|sample| sample.cgroup.as_ref())
    }

    /// The newest log line of one of these kinds between two times.
    pub fn log_of(&self, kinds: &[&str], from_us: i64, to_us: i64) -> Option<(i64, &'a LogMatch)> {
        let fits = |(at_us, found): &&(i64, &LogMatch)| {
            (from_us..=to_us).contains(at_us) && kinds.contains(&found.kind.as_str())
        };
        self.logs.iter().rev().find(fits).copied()
    }

    /// The name of the instance's host, for sentences.
    pub fn host_name(&self) -> &str {
        self.place.host.as_deref().unwrap_or("")
    }

    /// The service's name, for sentences.
    pub fn service_name(&self) -> &str {
        self.place.service.as_deref().unwrap_or("the service")
    }

    /// The upstream as the gateway names it.
    pub fn upstream(&self) -> &str {
        self.case.key.upstream.as_deref().unwrap_or("(no upstream named)")
    }

    /// Evidence from the instance's host.
    pub fn from_host(&self, at_us: i64, source: &'static str, says: String) -> Evidence {
        Evidence { at_us, host: self.host_name().to_owned(), source, says }
    }

    /// Evidence from the gateway's host.
    pub fn from_gateway(&self, at_us: i64, source: &'static str, says: String) -> Evidence {
        Evidence { at_us, host: self.case.key.gateway.host.clone(), source, says }
    }
}

/// Whether all that runs there hands connections on to something else: a container's published port, a socket's proxy.
fn only_forwards(sample: &InstanceSample) -> bool {
    const FORWARDERS: &[&str] =
        &["docker-proxy", "rootlesskit", "rootlessport", "slirp4netns", "pasta", "systemd-socket-", "socat"];
    let forwards = |name: &str| FORWARDERS.contains(&name);
    !sample.processes.is_empty() && sample.processes.iter().all(|process| forwards(&process.name))
}

/// The one address that the gateway's host found for the name by which the gateway knows the upstream.
fn looked_up(gateway: &HostEntry, written: &Address) -> Option<Address> {
    let Address::Name(name, Some(port)) = written else { return None };
    let lookup = gateway.history.views(i64::MIN, i64::MAX).rev().find_map(|event| match &event.kind {
        EventKind::Probe(probe) => {
            probe.lookup.as_ref().filter(|lookup| lookup.name == *name && lookup.error.is_empty())
        }
        _ => None,
    })?;
    let [one] = lookup.addresses.as_slice() else { return None };
    Some(Address::Ip(SocketAddr::new(one.parse().ok()?, *port)))
}

fn member_of<'a>(
    config: Option<&'a Arc<GatewayConfig>>,
    address: &Address,
    pool: &str,
) -> (Option<&'a Pool>, Option<&'a PoolMember>) {
    let Some(config) = config else { return (None, None) };
    let named = config.pools.iter().filter(|known| pool.is_empty() || known.name == pool);
    for known in named.chain(&config.pools) {
        if let Some(member) = known.members.iter().find(|member| Address::parse(&member.address) == *address) {
            return (Some(known), Some(member));
        }
    }
    (config.pools.iter().find(|known| known.name == pool && !pool.is_empty()), None)
}
