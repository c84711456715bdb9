//! Asks each service for its health from its own host, each interval: the configured path by GET, and where none is
//! configured a TCP connect to its address, for only what answers proves that something listens. A path is never
//! invented and no redirect is followed. After a failure it asks each second for a while, so that what is known of a
//! failing service is fresh. One result is one event; each service is asked by itself, so that a slow one delays none.

mod check;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use why502_proto::v1::event::Kind;
use why502_proto::v1::{HealthResult, LogMatch};

use super::{Observed, Status};
use crate::alarm::sleep_until;
use crate::beat;
use crate::clock::unix_now_us;
use crate::config::{Config, Health, Service};
use crate::watch::app_log::body_kind;
use crate::watch::role::{self, Role};
use check::Check;

/// The sampler's name in its status.
const NAME: &str = "health";
/// Time allowed to a connect where no health is configured.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time between connects where no health is configured.
const CONNECT_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two checks after a failure.
const QUICK_INTERVAL: Duration = Duration::from_secs(1);
/// Failures in a row after which the ordinary interval holds again.
const QUICK_CHECKS: u32 = 30;
/// Between what is asked at one beat and at the next.
const SPREAD: Duration = Duration::from_millis(500);
/// From a beat to what is asked at it: sockets are looked at on the beat, and a check's own connection that waits to be accepted
/// just then would be taken for a client's.
const AFTER_LOOKS: Duration = Duration::from_millis(50);
/// Beats over which checks are spread.
const SPREAD_OVER: usize = 10;
/// Most addresses of one service that are asked.
const MOST_ADDRESSES: usize = 8;

/// Asks until the receiver is gone.
pub async fn run(config: Arc<Config>, out: mpsc::Sender<Observed>) {
    let unasked: Vec<&str> = config
        .services
        .iter()
        .filter(|service| service.health.is_some() && check::target(service).is_none())
        .map(|service| service.name.as_str())
        .collect();
    let status = match unasked.as_slice() {
        [] => Status::Active,
        names => Status::Degraded(format!("no address to ask {} at: give listen, or port in health", names.join(", "))),
    };
    if out.send(Observed::Status(status.message(NAME))).await.is_err() {
        return;
    }
    let mut tasks = JoinSet::new();
    for (number, (check, interval)) in config.services.iter().flat_map(checks).enumerate() {
        // Spread over beats, so that many services are not asked at one moment.
        let offset = SPREAD * (number % SPREAD_OVER) as u32 + AFTER_LOOKS;
        tasks.spawn(repeat(check, offset, interval, out.clone()));
    }
    for service in &config.services {
        if let Some((check, field)) = role_check(service) {
            let interval = service.health.as_ref().map_or(CONNECT_INTERVAL, |health| health.interval);
            let role = Role::new(&service.name);
            tasks.spawn(ask_role(check, field, role, interval, out.clone()));
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// What is asked where an answer tells whether the service leads, and the field that does.
fn role_check(service: &Service) -> Option<(Check, String)> {
    let (path, field) = service.role.as_ref()?.asked.clone()?;
    let (timeout, scheme) =
        service.health.as_ref().map_or((CONNECT_LIMIT, None), |health| (health.timeout, health.scheme));
    let asked = Health { path, port: None, timeout, interval: CONNECT_INTERVAL, scheme };
    Some((Check::http(&service.name, &asked, check::target(service)?), field))
}

async fn ask_role(mut check: Check, field: String, mut role: Role, interval: Duration, out: mpsc::Sender<Observed>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let at_unix_us = unix_now_us();
        let told = check.body().await.and_then(|body| role::of_json(&body, &field));
        let words = |leader: bool| format!("{field} of {} says {leader}", check.url_path());
        if let Some(change) = told.and_then(|leader| role.says(leader, words(leader), at_unix_us))
            && out.send(change).await.is_err()
        {
            return;
        }
    }
}

/// Asks a service once for all that is asked of it.
pub async fn once(service: &Service) -> Vec<HealthResult> {
    let mut results = Vec::new();
    for (mut check, _) in checks(service) {
        results.push(check.ask().await);
    }
    results
}

/// What is asked of a service: its health, and its other addresses whether they take connections.
fn checks(service: &Service) -> Vec<(Check, Duration)> {
    let limits = |health: &Health| (health.timeout, health.interval);
    let (limit, interval) = service.health.as_ref().map_or((CONNECT_LIMIT, CONNECT_INTERVAL), limits);
    let asked = service.health.as_ref().and_then(|health| Some((health, check::target(service)?)));
    let mut checks = Vec::new();
    if let Some((health, target)) = &asked {
        checks.push((Check::http(&service.name, health, target.clone()), interval));
    }
    for target in service.listen.iter().map(check::address).take(MOST_ADDRESSES) {
        if asked.as_ref().is_none_or(|(_, asked)| *asked != target) {
            checks.push((Check::connect(&service.name, target, limit), interval));
        }
    }
    checks
}

async fn repeat(mut check: Check, offset: Duration, interval: Duration, out: mpsc::Sender<Observed>) {
    // The first one within the first second, whatever the interval; the later ones keep to its beats.
    let mut next = Instant::now() + offset / 5;
    let mut failures = 0;
    loop {
        sleep_until(next).await;
        let began = Instant::now();
        let at_unix_us = unix_now_us();
        let result = check.ask().await;
        failures = if healthy(&result) { 0 } else { failures + 1 };
        if let Some(told) = said(&result)
            && out.send(Observed::event(at_unix_us, Kind::LogMatch(told))).await.is_err()
        {
            return;
        }
        if out.send(Observed::event(at_unix_us, Kind::Health(result))).await.is_err() {
            return;
        }
        next = next_check(began, pause(failures, interval), offset).max(Instant::now());
    }
}

/// Why a service says that it can't serve, where the body of its 503 tells that: as good as a line of its log.
fn said(result: &HealthResult) -> Option<LogMatch> {
    // The patterns of the words are large: a host whose services are well need not have them.
    let kind = (result.status == 503).then(|| body_kind(result.body.as_bytes()))??;
    Some(LogMatch {
        service: result.service.clone(),
        file: result.url.clone(),
        kind: kind.id().to_owned(),
        line: result.body.clone(),
        repeats: 0,
    })
}

/// Whether a result speaks for the service.
fn healthy(result: &HealthResult) -> bool {
    result.signal.is_empty() && (result.connect_only || (1..400).contains(&result.status))
}

/// From the beginning of one check to that of the next.
fn pause(failures: u32, interval: Duration) -> Duration {
    if (1..=QUICK_CHECKS).contains(&failures) { interval.min(QUICK_INTERVAL) } else { interval }
}

/// When the next check is due after one that began then: at a beat of its own, with its offset.
fn next_check(began: Instant, pause: Duration, offset: Duration) -> Instant {
    let whole = offset.as_nanos().checked_rem(pause.as_nanos()).and_then(|nanos| u64::try_from(nanos).ok());
    let offset = Duration::from_nanos(whole.unwrap_or(0));
    beat::nearest(began + pause - offset, pause) + offset
}

#[cfg(test)]
mod tests;
