//! How often clients went away before their answer, of late and usually.

use crate::fleet::Fleet;
use crate::model::{Attempt, Failure, GatewayRef, Origin, Signal, UpstreamSample};

/// What "of late" means, microseconds.
const LATE_US: i64 = 30_000_000;
/// How far back "usually" looks before that, microseconds.
const USUAL_US: i64 = 20 * 60_000_000;
/// Fewer clients that went away of late are no surge.
const LEAST: u64 = 10;
/// Fewer requests before tell nothing of what is usual.
const LEAST_USUAL: u64 = 50;
/// A surge is at least this share of the requests, ...
const LEAST_SHARE: f64 = 0.1;
/// ... and so many times the usual share, and this much more.
const TIMES: f64 = 3.0;
const MORE: f64 = 0.05;

/// Requests of one upstream on one gateway in a stretch of time.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    aborts: u64,
    answered: u64,
    failed: u64,
    took_us: u64,
}

impl Sum {
    fn add(mut self, sample: &UpstreamSample) -> Self {
        self.aborts += sample.client_aborts;
        self.answered += sample.answered;
        self.failed += sample.failed;
        self.took_us += sample.response_sum_us;
        self
    }

    fn all(&self) -> u64 {
        self.aborts + self.answered + self.failed
    }

    fn share(&self) -> f64 {
        self.aborts as f64 / self.all().max(1) as f64
    }

    fn mean_us(&self) -> Option<u64> {
        self.took_us.checked_div(self.answered).filter(|us| *us > 0)
    }
}

/// How often clients went away of late, and usually.
#[derive(Debug, Clone, Copy)]
pub struct Aborts {
    late: Sum,
    usual: Sum,
}

impl Aborts {
    /// As they stood at a time; the upstream as the gateway's records name it.
    pub fn of(fleet: &Fleet, gateway: &GatewayRef, upstream: &str, at_us: i64) -> Self {
        let Some(host) = fleet.host(&gateway.host) else { return Self { late: Sum::default(), usual: Sum::default() } };
        let since_us = at_us - LATE_US;
        let sum = |from_us: i64, to_us: i64| {
            let samples = host.history.upstream_samples(&gateway.name, upstream, from_us, to_us);
            samples.filter(|sample| sample.to_us > from_us && sample.to_us <= to_us).fold(Sum::default(), Sum::add)
        };
        Self { late: sum(since_us, at_us), usual: sum(since_us - USUAL_US, since_us) }
    }

    /// Whether they rose well above what is usual.
    pub fn is_surge(&self) -> bool {
        let share = self.late.share();
        self.late.aborts >= LEAST
            && self.usual.all() >= LEAST_USUAL
            && share >= LEAST_SHARE
            && share >= self.usual.share() * TIMES + MORE
    }

    /// In words.
    pub fn says(&self) -> String {
        let share = |sum: &Sum| format!("{:.0} %", sum.share() * 100.0);
        let seconds = LATE_US / 1_000_000;
        format!(
            "clients gave up {} of {} requests in {seconds} s ({}), usually {}",
            self.late.aborts,
            self.late.all(),
            share(&self.late),
            share(&self.usual)
        )
    }

    /// The mean time of an answer of late, and usually, microseconds. None: the log does not tell.
    pub fn mean_us(&self) -> (Option<u64>, Option<u64>) {
        (self.late.mean_us(), self.usual.mean_us())
    }
}

/// The clients that went away in a stretch as one record.
pub(super) fn as_failure(gateway: &GatewayRef, sample: &UpstreamSample) -> Failure {
    // These log a status of their own for it; others log none that a client ever saw.
    let status = if matches!(gateway.kind.as_str(), "nginx" | "ingress_nginx" | "caddy" | "traefik") { 499 } else { 0 };
    let attempt =
        Attempt { upstream: sample.upstream.clone(), status, signal: Signal::ClientAbort, ..Default::default() };
    Failure {
        gateway: sample.gateway.clone(),
        status,
        origin: Origin::Client,
        signal: Signal::ClientAbort,
        attempts: vec![attempt],
        repeats: u32::try_from(sample.client_aborts.saturating_sub(1)).unwrap_or(u32::MAX),
        ..Default::default()
    }
}
