//! Delivers reports to a collector, at least once and in order: connects, says hello, sends what the spool holds, forgets
//! what is acknowledged, and keeps the positions of the logs behind it.
//!
//! Collectors are tried in turn with a growing, jittered wait; after a reconnect everything unacknowledged is sent again. A
//! collector that is away costs the spool's bounded room on disk and nothing else. What an earlier run of the agent left goes
//! first, on a connection whose hello names that run. The task ends when its source of reports does, after it tried for a
//! stated time to deliver the rest; what it could not deliver waits for the next run.

mod clock;
mod link;
pub mod pack;
mod upkeep;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use why502_proto::v1;

use crate::alarm::sleep_until;
use crate::backoff;
use crate::clock::unix_now_us;
use crate::identity::Watched;
use crate::report::Sealed;
use crate::spool::{self, Spool};
use crate::tail::Positions;
use clock::Offset;
use link::{Change, Link};
use upkeep::Upkeep;

/// For so long a last delivery is tried when the agent ends.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// A collector that has reports of ours and acknowledges none for so long is left for another connection.
const ACK_LIMIT: Duration = Duration::from_secs(15);
/// The longest pause that a collector can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Who reports, and to whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Collectors, tried in turn.
    pub collectors: Vec<String>,
    /// Says who reports: all of the hello but what changes with time.
    pub hello: v1::Hello,
    /// Who this host is to its collectors.
    pub identity: Watched,
}

/// How the uplink ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Reports that no collector acknowledged; those on disk wait for the next run.
    pub undelivered_reports: usize,
    /// What was given up for want of room before.
    pub given_up: spool::Counts,
}

type Opening = Pin<Box<dyn Future<Output = Result<Link, String>>>>;

enum Connection {
    Waiting {
        until: Instant,
    },
    Connecting(Opening),
    /// The successor takes over once it is open: it is under way where the host's identity has changed.
    Connected {
        link: Box<Link>,
        last_heard: Instant,
        successor: Option<Opening>,
    },
}

enum Step {
    Retry,
    Opened(Result<Box<Link>, String>),
    Succeeded(Result<Box<Link>, String>),
    Link(Change),
}

impl Connection {
    /// The one next thing that happens to it.
    async fn next(&mut self, wants_room: bool) -> Step {
        match self {
            Self::Waiting { until } => {
                sleep_until((*until).into()).await;
                Step::Retry
            }
            Self::Connecting(opening) => Step::Opened(opening.await.map(Box::new)),
            Self::Connected { link, successor, .. } => tokio::select! {
                change = link.next(wants_room) => Step::Link(change),
                opened = opened(successor) => Step::Succeeded(opened.map(Box::new)),
            },
        }
    }
}

async fn opened(successor: &mut Option<Opening>) -> Result<Link, String> {
    match successor {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

struct Uplink {
    settings: Settings,
    spool: Spool,
    positions: Positions,
    connection: Connection,
    /// Failed tries since the last acknowledgement.
    failures: u32,
    collector: usize,
    paused_until: Instant,
    offset: Offset,
    statuses: BTreeMap<String, v1::SamplerStatus>,
    /// As they were told last: a collector that missed it is told again.
    gateways: BTreeMap<String, v1::GatewayConfig>,
    told_given_up: spool::Counts,
    upkeep: Upkeep,
    told_trouble: Option<String>,
    /// Whose reports the newest hello names.
    greeted: Arc<spool::Numbering>,
}

/// Delivers reports until their source ends and the rest is delivered, or the time for that is over.
pub async fn run(settings: Settings, spool: Spool, mut reports: Receiver<Vec<Sealed>>, positions: Positions) -> Ended {
    let mut uplink = Uplink::new(settings, spool, positions);
    let mut identity = uplink.settings.identity.changes.clone();
    let mut drain_until: Option<Instant> = None;
    uplink.tell_trouble();
    while drain_until.is_none() || !uplink.spool.is_empty() {
        let wake = uplink.wake(drain_until);
        // Without room reports wait where they come from; at the end those that have come are taken all the same.
        let takes = drain_until.is_none() && (uplink.spool.has_room() || reports.is_closed());
        let may_send = drain_until.is_some() || uplink.paused_until <= Instant::now();
        let wants_room = may_send && uplink.is_connected() && uplink.spool.has_next();
        tokio::select! {
            sealed = reports.recv(), if takes => match sealed {
                Some(closed) => uplink.take(closed),
                None => drain_until = Some(Instant::now() + DRAIN_LIMIT),
            },
            step = uplink.connection.next(wants_room) => uplink.step(step),
            () = uplink.upkeep.finish(&mut uplink.spool) => uplink.after_upkeep(),
            // Whoever keeps the identity lives as long as this; where nobody does it never changes.
            Ok(()) = identity.changed() => uplink.succeed(),
            () = sleep_until(wake.into()) => {
                if drain_until.is_some_and(|until| until <= Instant::now()) {
                    break;
                }
                uplink.check_silence();
                uplink.upkeep.look(&mut uplink.spool);
                uplink.after_upkeep();
            }
        }
    }
    // A disk that hangs must not keep the agent from ending.
    let _ = tokio::time::timeout(DRAIN_LIMIT, uplink.upkeep.close(&mut uplink.spool, &uplink.positions)).await;
    Ended { undelivered_reports: uplink.spool.len(), given_up: uplink.spool.counts() }
}

impl Uplink {
    fn new(settings: Settings, mut spool: Spool, positions: Positions) -> Self {
        let now = Instant::now();
        let (greeted, _) = spool.first();
        Self {
            spool,
            greeted,
            settings,
            positions,
            connection: Connection::Waiting { until: now },
            failures: 0,
            collector: 0,
            paused_until: now,
            offset: Offset::default(),
            statuses: BTreeMap::new(),
            gateways: BTreeMap::new(),
            told_given_up: spool::Counts::default(),
            upkeep: Upkeep::default(),
            told_trouble: None,
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Connected { .. })
    }

    /// When to look at the clock at the latest.
    fn wake(&self, drain_until: Option<Instant>) -> Instant {
        let now = Instant::now();
        let mut wake = self.upkeep.wake().unwrap_or(now + ACK_LIMIT).min(now + ACK_LIMIT);
        if let Connection::Connected { last_heard, .. } = &self.connection
            && self.spool.sent() > 0
        {
            wake = wake.min(*last_heard + ACK_LIMIT).max(now + Duration::from_millis(10));
        }
        if self.paused_until > now {
            wake = wake.min(self.paused_until);
        }
        drain_until.map_or(wake, |until| wake.min(until))
    }

    /// Takes in what was closed together.
    fn take(&mut self, mut closed: Vec<Sealed>) {
        let has_events = closed.iter().any(|sealed| !sealed.report.events.is_empty());
        for sealed in &mut closed {
            for status in &sealed.report.samplers {
                self.statuses.insert(status.name.clone(), status.clone());
            }
            for gateway in &sealed.report.gateways {
                self.gateways.insert(gateway.gateway.clone(), gateway.clone());
            }
            sealed.report.collector_offset_us = self.offset.get();
        }
        self.spool.push(closed);
        self.upkeep.waits(has_events, self.spool.is_off_disk());
        self.change_numbering();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Retry => self.connect(),
            Step::Opened(Ok(link)) | Step::Succeeded(Ok(link)) => {
                tracing::info!(collector = %self.collector_url(), "connected");
                self.spool.rewind(self.greeted.clone());
                self.connection = Connection::Connected { link, last_heard: Instant::now(), successor: None };
                self.tell_given_up();
                self.change_numbering();
            }
            Step::Succeeded(Err(why)) => {
                tracing::warn!(collector = %self.collector_url(), "the present connection goes on: {why}");
                if let Connection::Connected { successor, .. } = &mut self.connection {
                    *successor = None;
                }
            }
            Step::Opened(Err(why)) => self.lost("can't reach collector", &why),
            Step::Link(Change::Room) => self.send(),
            Step::Link(Change::Ack(ack)) => self.acknowledged(&ack),
            Step::Link(Change::Lost(why)) => self.lost("lost collector", &why),
        }
    }

    fn collector_url(&self) -> String {
        let collectors = &self.settings.collectors;
        collectors.get(self.collector % collectors.len().max(1)).cloned().unwrap_or_default()
    }

    fn connect(&mut self) {
        self.connection = Connection::Connecting(self.opening());
    }

    /// The host's identity has changed: a connection as the new one takes over without a pause.
    fn succeed(&mut self) {
        if !self.is_connected() {
            return;
        }
        let opening = self.opening();
        if let Connection::Connected { successor, .. } = &mut self.connection {
            *successor = Some(opening);
        }
    }

    fn opening(&mut self) -> Opening {
        let now_us = unix_now_us();
        let (numbering, next_seq) = self.spool.first();
        self.greeted = numbering;
        let hello = v1::Hello {
            boot_id: self.greeted.boot_id.clone(),
            epoch: self.greeted.epoch,
            next_seq,
            at_unix_us: now_us,
            samplers: self.statuses.values().cloned().collect(),
            ..self.settings.hello.clone()
        };
        self.offset.disconnected();
        self.offset.sent(now_us, now_us);
        Box::pin(Link::open(self.collector_url(), self.settings.identity.identity.clone(), hello))
    }

    fn lost(&mut self, what: &str, why: &str) {
        // The collector ends a stream once it has let in the one that takes over.
        if let Connection::Connected { successor, .. } = &mut self.connection
            && let Some(opening) = successor.take()
        {
            self.connection = Connection::Connecting(opening);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            // Ever rarer: a collector that is away for a day needs no line for each try.
            tracing::warn!(collector = %self.collector_url(), "{what} (try {}): {why}", self.failures);
        }
        self.collector = self.collector.wrapping_add(1);
        let wait = backoff::delay(self.failures, RandomState::new().hash_one(self.failures));
        self.connection = Connection::Waiting { until: Instant::now() + wait };
    }

    fn send(&mut self) {
        let Connection::Connected { link, last_heard, .. } = &mut self.connection else { return };
        // Silence counts from when there is something to acknowledge.
        if self.spool.sent() == 0 {
            *last_heard = Instant::now();
        }
        let Some(report) = self.spool.next_report() else { return };
        self.offset.sent(report.at_unix_us, unix_now_us());
        if !link.send(report) {
            self.lost("lost collector", "the connection broke");
        }
    }

    fn acknowledged(&mut self, ack: &v1::Ack) {
        self.failures = 0;
        self.offset.answered(ack.echo_unix_us, ack.at_unix_us, unix_now_us());
        if let Connection::Connected { last_heard, .. } = &mut self.connection {
            *last_heard = Instant::now();
        }
        self.paused_until = Instant::now() + Duration::from_micros(ack.pause_us).min(MAX_PAUSE);
        let marks = self.spool.acknowledge(ack.up_to_seq);
        marks.into_iter().for_each(|mark| self.positions.set(mark));
        self.upkeep.clear(&mut self.spool, &self.positions);
        self.change_numbering();
        if ack.missed_some && !self.gateways.is_empty() {
            let gateways = self.gateways.values().cloned().collect();
            self.take_own(v1::Report { at_unix_us: unix_now_us(), gateways, ..Default::default() });
        }
    }

    /// A connection takes the reports of one run, without a hole in their numbers; the next ones need another.
    fn change_numbering(&mut self) {
        if self.is_connected() && self.spool.wants_another_connection() {
            self.connection = Connection::Waiting { until: Instant::now() };
        }
    }

    fn after_upkeep(&mut self) {
        self.tell_trouble();
        self.upkeep.clear(&mut self.spool, &self.positions);
        self.change_numbering();
    }

    /// Says how the disk fares, where that changed.
    fn tell_trouble(&mut self) {
        let trouble = self.spool.trouble().or(self.upkeep.fault()).map(str::to_owned);
        if trouble != self.told_trouble {
            self.told_trouble.clone_from(&trouble);
            self.tell("spool", trouble.unwrap_or_default());
        }
    }

    /// A collector that takes reports and never acknowledges them is as good as gone.
    fn check_silence(&mut self) {
        if let Connection::Connected { last_heard, .. } = &self.connection
            && self.spool.sent() > 0
            && last_heard.elapsed() >= ACK_LIMIT
        {
            self.lost("lost collector", "it acknowledges nothing");
        }
    }

    /// Says what was given up while no collector was reached.
    fn tell_given_up(&mut self) {
        let given_up = self.spool.counts();
        if given_up == self.told_given_up {
            return;
        }
        self.told_given_up = given_up;
        let (reports, events) = (given_up.thinned_reports, given_up.dropped_events);
        let why =
            format!("no room while the collector was away: {events} events and the samples of {reports} reports lost");
        self.tell("report", why);
    }

    /// Tells how one of the uplink's own parts fares; nothing to say means well.
    fn tell(&mut self, name: &str, why: String) {
        use v1::sampler_status::State::{Active, Degraded};
        let state = if why.is_empty() { Active } else { Degraded };
        tracing::warn!("{name}: {}", if why.is_empty() { "well again" } else { &why });
        let status = v1::SamplerStatus { name: name.to_owned(), state: state.into(), why };
        self.take_own(v1::Report { at_unix_us: unix_now_us(), samplers: vec![status], ..Default::default() });
    }

    /// Takes in a report of its own.
    fn take_own(&mut self, report: v1::Report) {
        self.take(vec![Sealed { report, marks: Vec::new() }]);
    }
}

#[cfg(test)]
mod tests;
