//! Cases: the failures of one upstream on one gateway in one stretch of time, folded from failure events.
//! A failure whose record names no upstream is counted to those whose going down caused it, where records tell.
//! Keeps a bounded number of failures in full and exact counts of all.

mod aborts;
mod blame;
mod course;
mod news;
mod stretch;
mod turn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use aborts::Aborts;
use news::News;
pub use stretch::{Note, Stretch};
use turn::Turn;

use crate::fleet::Fleet;
use crate::model::{Attempt, Failure, GatewayNotice, GatewayRef, Origin, Signal, UpstreamSample};

/// Most cases open at once; failures of further ones are counted and passed over.
const CASES_MAX: usize = 20_000;
/// Of these, of one host's gateways: one that names upstreams without end must not take the others' places.
const CASES_MAX_PER_HOST: usize = 1_024;
/// More members than this are not tried one by one.
const CANDIDATES_MAX: usize = 32;
/// Answers after the last failure that make the next failure a new stretch.
const RECOVERED_ANSWERS: u64 = 3;
/// Quiet after which the next failure may begin a new stretch, microseconds.
const RECOVERED_GAP_US: i64 = 5_000_000;

/// Who made the statuses of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Made {
    /// The gateway, because of its upstream.
    ByGateway,
    /// The application, or a gateway behind this one.
    ByApplication,
    /// Nobody: the clients went away first, much more often than usual.
    ByClients,
}

/// What makes failures one case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaseKey {
    /// The gateway.
    pub gateway: GatewayRef,
    /// The upstream's address. None where no record tells.
    pub upstream: Option<String>,
    /// Who made the statuses.
    pub made: Made,
}

/// A case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// What makes it one.
    pub key: CaseKey,
    /// The pool its failures named, empty where none did.
    pub pool: String,
    /// All its failures.
    pub total: Stretch,
    /// Those since the upstream last served again.
    pub current: Stretch,
    /// Failures before `current`, until it is decided whether both have one cause.
    pub before: Option<Stretch>,
    /// The instance's host, as found when it was last judged.
    pub host: Option<String>,
    /// Where no record names the upstream: the only member whose trouble explains the failures.
    pub singled_out: Option<String>,
    /// Answers since the last failure.
    pub answers_since: u64,
    /// Something that bears on its verdict came in since it was last judged: it waits for its turn.
    pub waits: bool,
}

/// All open cases.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cases {
    open: BTreeMap<CaseKey, Case>,
    /// How many there are, by the gateway's host.
    by_host: BTreeMap<String, usize>,
    /// Whose turn it is to be judged, by the gateway's host.
    turns: BTreeMap<String, Turn>,
    news: News,
    /// Upstreams that a gateway took out, with since when.
    down: BTreeMap<(GatewayRef, String), i64>,
    /// Failures passed over because too many cases were open.
    pub passed_over: u64,
}

/// When a failure was, when its request began, and when the collector learned of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub at_us: i64,
    pub began_us: i64,
    pub received_us: i64,
}

impl Cases {
    /// Takes a failure that a gateway's host reported.
    pub fn failure(&mut self, fleet: &Fleet, host: &str, at_us: i64, failure: &Failure, received_us: i64) {
        let gateway = gateway_ref(fleet, host, &failure.gateway);
        let moment = Moment { at_us: failure.sharpened_us(at_us), began_us: failure.began_us(at_us), received_us };
        let mut counted = false;
        for attempt in failure.attempts.iter().filter(|attempt| attempt.signal.is_failure()) {
            counted = true;
            if attempt.signal == Signal::NoLiveUpstream {
                self.no_live(fleet, &gateway, moment, failure, &attempt.upstream);
                continue;
            }
            let upstream = self.tried(fleet, &gateway, moment, failure, attempt);
            self.add(&gateway, upstream, Made::ByGateway, moment, failure, Some(attempt));
        }
        let by_application = matches!(failure.origin, Origin::App | Origin::InnerGateway) && failure.status >= 500;
        if by_application {
            if let Some(attempt) = failure.attempts.last() {
                let upstream = blame::of_attempt(fleet, &gateway, failure, attempt, moment.began_us);
                self.add(&gateway, upstream, Made::ByApplication, moment, failure, Some(attempt));
            }
        } else if !counted {
            self.without_attempt(fleet, &gateway, moment, failure);
        }
    }

    fn without_attempt(&mut self, fleet: &Fleet, gateway: &GatewayRef, moment: Moment, failure: &Failure) {
        match failure.signal {
            Signal::NoLiveUpstream => self.no_live(fleet, gateway, moment, failure, ""),
            signal if signal.is_failure() || (signal == Signal::StatusOnly && failure.status >= 500) => {
                let upstream = blame::only_member(fleet, gateway, &failure.pool, moment.began_us);
                self.add(gateway, upstream, Made::ByGateway, moment, failure, None);
            }
            _ => {}
        }
    }

    /// Counts a "no upstream was live" answer to the upstreams whose going down caused it.
    fn no_live(&mut self, fleet: &Fleet, gateway: &GatewayRef, moment: Moment, failure: &Failure, named: &str) {
        let members = blame::members(fleet, gateway, &failure.pool, named, moment.began_us);
        let mut blamed: Vec<String> = Vec::new();
        for member in &members {
            if self.fails(gateway, member) || self.down.contains_key(&(gateway.clone(), member.clone())) {
                blamed.push(member.clone());
            }
        }
        if members.is_empty() {
            let failing = self.open.keys().filter(|key| key.gateway == *gateway && key.made == Made::ByGateway);
            blamed.extend(failing.filter_map(|key| key.upstream.clone()));
        }
        if blamed.is_empty() && members.len() == 1 {
            blamed.clone_from(&members);
        }
        if blamed.is_empty() {
            return self.add(gateway, None, Made::ByGateway, moment, failure, None);
        }
        for upstream in blamed {
            self.add(gateway, Some(upstream), Made::ByGateway, moment, failure, None);
        }
    }

    fn add(
        &mut self,
        gateway: &GatewayRef,
        upstream: Option<String>,
        made: Made,
        moment: Moment,
        failure: &Failure,
        attempt: Option<&Attempt>,
    ) {
        let key = CaseKey { gateway: gateway.clone(), upstream, made };
        if !self.open.contains_key(&key) && !self.makes_room(&gateway.host) {
            self.passed_over += 1;
            return;
        }
        let news = &mut self.news;
        let case = self.open.entry(key.clone()).or_insert_with(|| {
            let case = Case::new(key);
            news.opened(&case);
            case
        });
        if case.pool.is_empty() {
            case.pool.clone_from(&failure.pool);
        }
        case.add(Note::new(moment, failure, attempt), failure);
        news.stir(case);
    }

    /// Whether a case of a host's gateways may be opened; it counts as open then.
    fn makes_room(&mut self, host: &str) -> bool {
        if self.open.len() >= CASES_MAX {
            return false;
        }
        let of_host = self.by_host.entry(host.to_owned()).or_default();
        let room = *of_host < CASES_MAX_PER_HOST;
        *of_host += usize::from(room);
        room
    }

    /// Takes what a gateway said of an upstream.
    pub fn notice(&mut self, fleet: &Fleet, host: &str, at_us: i64, notice: &GatewayNotice) {
        if notice.upstream.is_empty() {
            return;
        }
        let gateway = gateway_ref(fleet, host, &notice.gateway);
        let upstream = blame::resolve(fleet, &gateway, &notice.pool, &notice.upstream, at_us);
        match notice.signal {
            Signal::HealthCheckDown | Signal::UpstreamDisabled | Signal::ServerMaint => {
                self.down.entry((gateway, upstream)).or_insert(at_us);
            }
            Signal::HealthCheckUp => {
                self.down.remove(&(gateway, upstream));
            }
            _ => {}
        }
        while self.down.len() > CASES_MAX {
            self.down.pop_first();
        }
    }

    /// Takes what a gateway's logs told of an upstream's answers.
    pub fn answers(&mut self, fleet: &Fleet, host: &str, sample: &UpstreamSample, received_us: i64) {
        let gateway = gateway_ref(fleet, host, &sample.gateway);
        let upstream = blame::resolve(fleet, &gateway, "", &sample.upstream, sample.to_us);
        self.aborts(fleet, &gateway, &upstream, sample, received_us);
        for made in [Made::ByGateway, Made::ByApplication, Made::ByClients] {
            let key = CaseKey { gateway: gateway.clone(), upstream: Some(upstream.clone()), made };
            let Some(case) = self.open.get_mut(&key) else { continue };
            let served = match made {
                Made::ByGateway => sample.answered,
                Made::ByApplication => sample.answered - sample.answered_5xx.min(sample.answered),
                Made::ByClients => sample.answered,
            };
            if sample.last_answered_us > case.total.last_us && served > 0 {
                case.answers_since += served;
                self.news.stir(case);
            }
        }
    }

    /// Clients that went away make a case only where they do so much more often than usual, and where no failure of the
    /// upstream is what they ran from.
    fn aborts(
        &mut self,
        fleet: &Fleet,
        gateway: &GatewayRef,
        upstream: &str,
        sample: &UpstreamSample,
        received_us: i64,
    ) {
        let rises = sample.client_aborts > 0 && Aborts::of(fleet, gateway, &sample.upstream, sample.to_us).is_surge();
        let key = |made| CaseKey { gateway: gateway.clone(), upstream: Some(upstream.to_owned()), made };
        if !rises || self.open.contains_key(&key(Made::ByGateway)) {
            return;
        }
        let moment = Moment { at_us: sample.to_us, began_us: sample.to_us, received_us };
        let failure = aborts::as_failure(gateway, sample);
        self.add(gateway, Some(upstream.to_owned()), Made::ByClients, moment, &failure, failure.attempts.first());
    }

    /// A case by its key.
    pub fn get_mut(&mut self, key: &CaseKey) -> Option<&mut Case> {
        self.open.get_mut(key)
    }

    /// All open cases.
    pub fn iter(&self) -> impl Iterator<Item = &Case> {
        self.open.values()
    }

    /// Ends a case.
    pub fn close(&mut self, key: &CaseKey) {
        let host = &key.gateway.host;
        let Some(case) = self.open.remove(key) else { return };
        self.news.closed(&case);
        if let Some(of_host) = self.by_host.get_mut(host) {
            *of_host -= 1;
            if *of_host == 0 {
                self.by_host.remove(host);
            }
        }
    }
}

impl Case {
    fn new(key: CaseKey) -> Self {
        Self {
            key,
            pool: String::new(),
            total: Stretch::default(),
            current: Stretch::default(),
            before: None,
            host: None,
            singled_out: None,
            answers_since: 0,
            waits: false,
        }
    }

    fn add(&mut self, note: Note, failure: &Failure) {
        let gap_us = note.at_us - self.total.last_us;
        if self.total.last_us > 0 && self.answers_since >= RECOVERED_ANSWERS && gap_us >= RECOVERED_GAP_US {
            if self.before.is_none() {
                self.before = Some(self.total.clone());
            }
            self.current = Stretch::default();
        }
        if note.at_us >= self.total.last_us {
            self.answers_since = 0;
        }
        self.total.add(&note, failure);
        self.current.add(&note, failure);
    }

    /// The same failures, taken for those of one upstream.
    pub fn supposing(&self, upstream: String) -> Self {
        Self { key: CaseKey { upstream: Some(upstream), ..self.key.clone() }, ..self.clone() }
    }

    /// The stretch before and the present one have one cause.
    pub fn join_stretches(&mut self) {
        self.before = None;
    }

    /// The present stretch has a cause of its own: what was before is given back, and the case is the present stretch.
    pub fn split(&mut self) -> Option<Stretch> {
        let before = self.before.take()?;
        self.total = self.current.clone();
        Some(before)
    }
}

/// The members that failures without an upstream may be of.
pub fn candidates(fleet: &Fleet, case: &Case) -> Vec<String> {
    let at_us = case.current.last_began_us;
    let mut members = blame::members(fleet, &case.key.gateway, &case.pool, &case.pool, at_us);
    if members.is_empty() {
        members = blame::all_members(fleet, &case.key.gateway, at_us);
    }
    members.sort();
    members.dedup();
    if members.len() > CANDIDATES_MAX { Vec::new() } else { members }
}

/// The address of an upstream as a gateway's record or notice of a time names it.
pub fn upstream_address(fleet: &Fleet, gateway: &GatewayRef, pool: &str, named: &str, at_us: i64) -> String {
    blame::resolve(fleet, gateway, pool, named, at_us)
}

/// The gateway's name with its kind, where its configuration or a failure told it.
fn gateway_ref(fleet: &Fleet, host: &str, name: &str) -> GatewayRef {
    let state = fleet.host(host).and_then(|entry| entry.state.gateways.get(name));
    let kind = state.and_then(|state| state.config.as_ref()).map(|config| config.kind.clone()).unwrap_or_default();
    GatewayRef { host: host.to_owned(), name: name.to_owned(), kind }
}
