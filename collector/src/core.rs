//! The pure core: the fold of journal records into fleet, cases, incidents and what was told of them.
//! Owns no clock, no file, no thread: the same records give the same incidents, here and in a replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::book::Book;
use crate::case::{Case, CaseKey, Cases, candidates};
use crate::classify::{Scene, classify};
use crate::fleet::{Fleet, Place};
use crate::incident::{Incidents, Outcome};
use crate::model::{Cause, EventKind, Family, HostState, Incident, Record, RecordKind, Report, Signal, Verdict};

/// A case that gets no further failures is judged anew for so long, since evidence may come late, microseconds.
const JUDGED_FOR_US: i64 = 90_000_000;

/// A member is singled out for failures that name none by a verdict this sure.
const SINGLED_OUT_FROM: f64 = 0.8;

/// The fold's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Core {
    fleet: Fleet,
    cases: Cases,
    incidents: Incidents,
    book: Arc<Book>,
    now_us: i64,
}

impl Core {
    /// An empty core.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &Record) {
        self.now_us = self.now_us.max(record.received_us);
        self.fleet.apply(record);
        match &record.kind {
            RecordKind::Report(report) => {
                self.take(report);
                self.cases.stir_concerned(&report.host);
                if !self.cases.bear_on(&report.host) {
                    self.fleet.calm(&report.host, self.now_us);
                }
            }
            RecordKind::Tick => self.tick(),
            RecordKind::Mark(_) => self.cases.stir_all(),
            RecordKind::Hello(hello) => self.cases.stir_concerned(&hello.host),
            RecordKind::StreamEnded { host, .. } => self.cases.stir_concerned(host),
            RecordKind::Alert(alert) => Arc::make_mut(&mut self.book).alert(alert, self.now_us),
            RecordKind::Silence(silence) => Arc::make_mut(&mut self.book).silence(silence, self.now_us),
            RecordKind::SilenceExpired(id) => Arc::make_mut(&mut self.book).expire(id, self.now_us),
        }
        self.judge();
    }

    /// Every host in the order of its name.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<HostState>> {
        self.fleet.hosts().map(|(_, entry)| &entry.state)
    }

    /// A host as it is now.
    pub fn host(&self, name: &str) -> Option<&Arc<HostState>> {
        self.fleet.host(name).map(|entry| &entry.state)
    }

    /// Open incidents and the resolved ones that are kept, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Arc<Incident>> {
        self.incidents.iter()
    }

    /// Who was told of what.
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// Rises whenever an incident is opened or changed.
    pub fn incidents_revision(&self) -> u64 {
        self.incidents.revision()
    }

    fn take(&mut self, report: &Report) {
        for event in &report.events {
            match &event.kind {
                EventKind::Failure(failure) => {
                    self.cases.failure(&self.fleet, &report.host, event.at_us, failure, self.now_us);
                }
                EventKind::Notice(notice) => self.cases.notice(&self.fleet, &report.host, event.at_us, notice),
                _ => {}
            }
        }
        for sample in &report.upstreams {
            self.cases.answers(&self.fleet, &report.host, sample, self.now_us);
        }
    }

    fn tick(&mut self) {
        let now_us = self.now_us;
        let over: Vec<CaseKey> =
            self.cases.iter().filter(|case| self.incidents.ends(case, now_us)).map(|case| case.key.clone()).collect();
        for key in over {
            self.cases.close(&key);
        }
        self.cases.stir_recent(now_us - JUDGED_FOR_US);
    }

    fn judge(&mut self) {
        let now_us = self.now_us;
        for key in self.cases.due(now_us) {
            let failing = self.cases.failing_beside(&key);
            // It may have been closed while it waited.
            let Some(case) = self.cases.get_mut(&key) else { continue };
            case.waits = false;
            let before = case.host.clone();
            if judge_one(&self.fleet, &mut self.incidents, case, &failing, now_us) == Outcome::Splits
                && let Some(before) = case.split()
            {
                self.incidents.split_off(&case.key, &before, now_us);
                judge_one(&self.fleet, &mut self.incidents, case, &failing, now_us);
            }
            self.cases.placed(&key, before.as_deref());
        }
    }
}

fn judge_one(fleet: &Fleet, incidents: &mut Incidents, case: &mut Case, failing: &[String], now_us: i64) -> Outcome {
    let (verdict, place) = match single_out(fleet, case, failing, now_us) {
        Some((upstream, verdict, place)) => {
            case.singled_out = Some(upstream);
            (verdict, place)
        }
        None => {
            case.singled_out = None;
            let scene = Scene::new(fleet, case, now_us);
            (classify(&scene), scene.place.clone())
        }
    };
    case.host.clone_from(&place.host);
    incidents.judged(case, &place, verdict, failing, now_us)
}

/// Where no record names the upstream, the only member whose host or probe shows what explains the failures. Where the gateway
/// tells of others which upstream failed, what it gives no reason for is not its failing to reach one of them.
fn single_out(fleet: &Fleet, case: &Case, failing: &[String], now_us: i64) -> Option<(String, Verdict, Place)> {
    let untold = case.current.signals.keys().all(|signal| *signal == Signal::StatusOnly);
    if case.key.upstream.is_some() || untold && !failing.is_empty() {
        return None;
    }
    let explained = candidates(fleet, case).into_iter().filter_map(|member| {
        let supposed = case.supposing(member.clone());
        let scene = Scene::new(fleet, &supposed, now_us);
        let verdict = classify(&scene);
        let seen_there = matches!(
            verdict.cause.family(),
            Family::InstanceDown | Family::Network | Family::Overload | Family::Restarting
        ) || matches!(verdict.cause, Cause::HeaderTooBig | Cause::TlsHandshakeFailed);
        (seen_there && verdict.confidence >= SINGLED_OUT_FROM).then(|| (member, verdict, scene.place.clone()))
    });
    let mut explained = explained.take(2);
    let only = explained.next()?;
    explained.next().is_none().then_some(only)
}
