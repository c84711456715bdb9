//! Follows the logs of one gateway: each line becomes a count, a failure with its reason, or a notice.
//!
//! In each round the access log is read first, then the error log to its end, so that the reason of an error answer is at
//! hand when its access record is judged. What leaves the host is in proportion to errors: answered attempts are counts,
//! each interval, and each second while something fails, so that the collector sees soon whether the others are answered.
//! What rounds tell leaves together with the place in the log that it was read up to, so that a kill loses no failure and
//! none is told twice. Of answered attempts up to one interval is lost then, and a reason from the error log of the last
//! 1.5 s may come once more, unconfirmed.

mod advice;
mod answers;
mod count;
mod failure;
mod files;
mod flood;
mod setting;
mod source;
mod target;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use why502_proto::v1;

use crate::beat;
use crate::budget::{self, Budget};
use crate::clock::{Steps, unix_now_us};
use crate::config::Gateway;
use crate::gateway::{Joiner, Kind, Line, Log, Record, Signal, Zone};
use crate::listen::Inbox;
use crate::sampler::probe::ProbeRequest;
use crate::sampler::{Mark, Observed};
use crate::tail::{self, Group, Positions};
use count::Counts;
use flood::Flood;
use setting::Setting;
use source::{Source, Told, reader};
use target::Targets;

/// Between two rounds while something fails or failed lately.
const ROUND_INTERVAL: Duration = Duration::from_millis(100);
/// Between two rounds while all is well: each wakes the agent, and that is most of what it costs on a quiet host.
const QUIET_INTERVAL: Duration = Duration::from_millis(500);
/// For so long rounds follow each other before others have their turn.
const TURN: Duration = Duration::from_millis(2);
/// Buffers of the error log read for one of the access log.
const ERROR_BUFFERS: usize = 16;
/// Observations held for the rest of a flood; beyond these it goes out at once.
const MOST_HELD: usize = 2_000;
/// A round that begins so much before its beat is of it.
const EARLINESS: Duration = Duration::from_millis(10);
/// Between two samples of an upstream while something fails.
const HOT_INTERVAL: Duration = Duration::from_secs(1);
/// For how long after the last failure something is said to fail.
const HOT: Duration = Duration::from_secs(15);
/// How long the joiner may hold an error record before it is told.
const ERROR_HELD: Duration = Duration::from_millis(1_500);

/// Follows a gateway's logs until told to stop, then tells what it still holds.
pub async fn run(
    mut watch: Watch,
    out: mpsc::Sender<Vec<Observed>>,
    probes: mpsc::Sender<ProbeRequest>,
    mut stop: watch::Receiver<bool>,
    budget: Budget,
) {
    let mut told = Vec::new();
    let mut turn = Instant::now();
    loop {
        let stopping = *stop.borrow();
        let (more, rest) = budget.spend(|| watch.round(Instant::now(), stopping, &mut told));
        watch.rest(more, rest);
        let sends = !told.is_empty() && !watch.flood.holds_back();
        if sends && out.send(std::mem::take(&mut told)).await.is_err() {
            return;
        }
        for request in watch.probes.drain(..) {
            // A prober that is busy has enough to do.
            let _ = probes.try_send(request);
        }
        if more && (stopping || rest.is_zero()) {
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            continue;
        }
        if stopping {
            return;
        }
        if !budget::rest(rest, (!more).then(|| watch.pause()), &mut stop).await {
            return;
        }
        turn = Instant::now();
    }
}

/// A gateway that is watched.
pub struct Watch {
    gateway: Gateway,
    interval: Duration,
    zone: Zone,
    clock_steps: Steps,
    setting: Setting,
    /// What it says of requests: files, a socket, systemd's journal, or several of them.
    access: Vec<Source>,
    error: Option<Source>,
    joiner: Joiner,
    counts: Counts,
    flood: Flood,
    targets: Targets,
    /// Probes to ask for after this round.
    probes: Vec<ProbeRequest>,
    buffer: Vec<u8>,
    began: Instant,
    flushed: Instant,
    failed: Option<Instant>,
    /// When there was last more to read than the budget allowed.
    slow: Option<Instant>,
    /// The places in the error log at a time, which are told once the joiner holds nothing from before it.
    error_marks: Option<(Instant, Vec<Mark>)>,
    configuration_told: bool,
}

/// Records of one round, before they are judged.
#[derive(Default)]
struct Read {
    failing: Vec<(Record, Vec<u8>)>,
    errors: Vec<Record>,
    notices: Vec<v1::Event>,
}

impl Watch {
    /// Reads the gateway's configuration and takes up its logs where they were left. The inbox is what comes in where the
    /// gateway is listened for.
    pub fn new(
        gateway: Gateway,
        interval: Duration,
        positions: &Positions,
        inbox: Option<Inbox>,
        now: Instant,
    ) -> Self {
        let zone = crate::read::host_zone();
        let setting = Setting::read(&gateway, now);
        let files = |path: &Path, log: Log| {
            let (reader, fault) = reader(&gateway, &setting, log, &zone);
            Source::files(Group::new(path.to_owned(), positions, now), reader, fault)
        };
        let mut access: Vec<Source> =
            gateway.access_log.iter().map(|path| files(path, access_kind(&gateway))).collect();
        if let (Some(listen), Some(inbox)) = (&gateway.listen, inbox) {
            let (reader, fault) = reader(&gateway, &setting, Log::All, &zone);
            access.push(Source::socket(listen, gateway.program.clone(), inbox, reader, fault));
        }
        if let Some(journald) = &gateway.journald {
            let (reader, fault) = reader(&gateway, &setting, Log::All, &zone);
            access.push(Source::journal(journald, positions, reader, fault));
        }
        let error_log = gateway.error_log.as_deref().filter(|path| gateway.access_log.as_deref() != Some(path));
        let error = error_log.map(|path| files(path, Log::Error));
        Self {
            counts: Counts::new(&gateway.name, unix_now_us()),
            joiner: Joiner::new(gateway.kind),
            gateway,
            interval,
            zone,
            clock_steps: Steps::default(),
            setting,
            access,
            error,
            flood: Flood::new(now),
            targets: Targets::default(),
            probes: Vec::new(),
            buffer: vec![0; tail::BUFFER_BYTES],
            began: now,
            flushed: beat::nearest(now, interval),
            failed: None,
            slow: None,
            error_marks: None,
            configuration_told: false,
        }
    }

    /// How long nothing is looked for after a round that read everything.
    fn pause(&self) -> Duration {
        // What comes by a socket has little room to wait in.
        let is_pressed = self.is_hot(Instant::now()) || self.access.iter().any(Source::is_socket);
        if is_pressed { ROUND_INTERVAL } else { QUIET_INTERVAL }
    }

    /// Something failed lately.
    fn is_hot(&self, now: Instant) -> bool {
        self.failed.is_some_and(|failed| now.duration_since(failed) < HOT)
    }

    /// A round is followed by a rest; `more` tells that there is something to read.
    fn rest(&mut self, more: bool, rest: Duration) {
        if more && !rest.is_zero() {
            self.slow = Some(Instant::now());
        }
    }

    /// Reads what is new and tells of it. True: there is more to read at once.
    fn round(&mut self, now: Instant, stopping: bool, out: &mut Vec<Observed>) -> bool {
        let now_us = unix_now_us();
        if self.gateway.is_here() {
            let _by = self.clock_steps.look();
        }
        self.refresh(now, now_us, out);
        let mut read = Read::default();
        let more = self.read(now, now_us, &mut read);
        if read.failing.iter().any(|(record, _)| self.setting.is_doubted(record, now)) {
            self.refresh(now, now_us, out);
        }
        self.judge(read, now, now_us, out);
        let mut told = self.flush(now, now_us, stopping || out.len() >= MOST_HELD, out);
        told |= out.iter().any(|observed| matches!(observed, Observed::Event(_)));
        self.mark(now, told, stopping, out);
        let slow = self.slow.is_some_and(|at| now.saturating_duration_since(at) < budget::TOLD);
        let sources = self.access.iter_mut().chain(&mut self.error);
        out.extend(sources.filter_map(|source| source.status(slow)).map(Observed::Status));
        more
    }

    fn refresh(&mut self, now: Instant, now_us: i64, out: &mut Vec<Observed>) {
        if self.setting.refresh(&self.gateway, now) {
            self.configuration_told = false;
            for access in &mut self.access {
                let log = if access.is_mixed() { Log::All } else { access_kind(&self.gateway) };
                let (reader, fault) = reader(&self.gateway, &self.setting, log, &self.zone);
                access.set_reader(reader, fault);
            }
        }
        if !std::mem::replace(&mut self.configuration_told, true) {
            let mut message = self.setting.message(&self.gateway, now_us);
            if message.changed_unix_us > 0 {
                message.changed_unix_us = self.clock_steps.steady(message.changed_unix_us, now_us);
            }
            if !message.missing_log.is_empty() {
                tracing::warn!(gateway = %self.gateway.name, "its log keeps no reasons: {}", message.missing_log);
            }
            out.push(Observed::Gateway(Box::new(message)));
        }
    }

    /// Reads one buffer of the access log, then the error log to its end.
    fn read(&mut self, now: Instant, now_us: i64, read: &mut Read) -> bool {
        let Self { gateway, clock_steps, access, error, counts, buffer, targets, joiner, .. } = self;
        let mut sort = |told: Told<'_>, text: &[u8]| match told.steady(clock_steps, now_us) {
            Told::Served(served) => {
                counts.add_served(&served, now_us);
                targets.glanced(&served, now);
            }
            Told::Line(Line::Record(record)) if record.from_error_log => read.errors.push(*record),
            Told::Line(Line::Record(record)) if failure::is_failure(&record) => {
                read.failing.push((*record, text.to_vec()));
            }
            Told::Line(Line::Record(record)) => {
                counts.add(&record, now_us);
                targets.served(&record, now);
                joiner.served(&record);
            }
            Told::Line(Line::Notice(notice)) if failure::is_telling(&notice) => {
                read.notices.push(failure::notice(&gateway.name, &notice, now_us));
            }
            Told::Line(Line::Notice(_) | Line::Unparsed(_)) => {}
        };
        let mut more = false;
        for source in access {
            more |= source.poll(now, buffer, &mut sort);
        }
        if let Some(log) = error {
            let mut buffers = 0;
            while buffers < ERROR_BUFFERS && log.poll(now, buffer, &mut sort) {
                buffers += 1;
            }
            more |= buffers == ERROR_BUFFERS;
        }
        more
    }

    /// Joins the records of a round and tells the failures.
    fn judge(&mut self, read: Read, now: Instant, now_us: i64, out: &mut Vec<Observed>) {
        // The joiner's clock must not be stepped.
        let clock_us = i64::try_from(now.duration_since(self.began).as_micros()).unwrap_or(i64::MAX);
        out.extend(read.notices.into_iter().map(Observed::Event));
        for record in read.errors {
            // Its access record is looked for soon.
            self.failed = Some(now);
            self.joiner.error(record, clock_us);
        }
        for (record, line) in read.failing {
            let record = self.joiner.access(record, clock_us);
            self.counts.add(&record, now_us);
            self.failed = Some(now);
            if record.signal == Signal::StatusOnly && self.setting.saw_bare_failure(&self.gateway) {
                self.configuration_told = false;
            }
            self.ask_probes(&record, now);
            self.tell(&record, &line, false, now_us, out);
        }
        for record in self.joiner.retried() {
            self.failed = Some(now);
            self.ask_probes(&record, now);
            let line = record.reason.clone().unwrap_or_default();
            self.tell(&record, line.as_bytes(), false, now_us, out);
        }
        for record in self.joiner.expire(clock_us) {
            self.failed = Some(now);
            let line = record.reason.clone().unwrap_or_default();
            self.tell(&record, line.as_bytes(), true, now_us, out);
        }
    }

    /// Has the upstreams tried that failed.
    fn ask_probes(&mut self, record: &Record, now: Instant) {
        if self.gateway.is_here() {
            self.probes.extend(self.targets.requests(&self.gateway.name, record, self.setting.pools(), now));
        }
    }

    fn tell(&mut self, record: &Record, line: &[u8], unconfirmed: bool, now_us: i64, out: &mut Vec<Observed>) {
        let name = &self.gateway.name;
        let counts = &self.counts;
        let event = self.flood.add(record, unconfirmed, || {
            let mut event = failure::failure(name, record, line, unconfirmed, now_us);
            let last = record.attempts.last().filter(|_| !unconfirmed);
            failure::add_answers(&mut event, last.and_then(|last| counts.answered_meanwhile(record, last, now_us)));
            event
        });
        out.extend(event.map(Observed::Event));
    }

    /// Tells counts and the rest of a flood where they are due. True: nothing counted is held any longer.
    fn flush(&mut self, now: Instant, now_us: i64, at_once: bool, out: &mut Vec<Observed>) -> bool {
        let rest = if at_once { self.flood.take_all(now) } else { self.flood.take(now) };
        out.extend(rest.into_iter().map(Observed::Event));
        let interval = if self.is_hot(now) { HOT_INTERVAL.min(self.interval) } else { self.interval };
        if !at_once && now + EARLINESS < beat::nearest(self.flushed + interval, interval) {
            return false;
        }
        self.flushed = now;
        out.extend(self.counts.take(now_us).into_iter().map(|sample| Observed::Upstream(Box::new(sample))));
        let sources = self.access.iter_mut().chain(&mut self.error);
        out.extend(sources.filter_map(|source| source.news(&self.gateway.name)).map(Observed::Source));
        true
    }

    /// Hands on how far the logs are told.
    fn mark(&mut self, now: Instant, told: bool, stopping: bool, out: &mut Vec<Observed>) {
        let told = told || stopping || self.access.iter().any(Source::has_unmarked);
        if told && !self.flood.holds_back() {
            for access in &mut self.access {
                let places = access.positions();
                out.extend(access.mark(places).into_iter().map(Observed::Mark));
            }
        }
        let Some(error) = &mut self.error else { return };
        if told && !self.flood.holds_back() && !self.joiner.waits() {
            self.error_marks = None;
            out.extend(error.mark(error.positions()).into_iter().map(Observed::Mark));
            return;
        }
        let due = |(at, _): &mut (Instant, Vec<Mark>)| now.duration_since(*at) >= ERROR_HELD;
        if let Some((_, places)) = self.error_marks.take_if(due) {
            out.extend(error.mark(places).into_iter().map(Observed::Mark));
        }
        self.error_marks.get_or_insert_with(|| (now, error.positions()));
    }
}

/// Gateways that write every kind of line into one log.
fn access_kind(gateway: &Gateway) -> Log {
    match gateway.kind {
        Kind::Nginx | Kind::IngressNginx | Kind::NginxStream | Kind::Apache
            if gateway.error_log.is_none() || gateway.error_log != gateway.access_log =>
        {
            Log::Access
        }
        _ => Log::All,
    }
}

#[cfg(test)]
mod tests;
