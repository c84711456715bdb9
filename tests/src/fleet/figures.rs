//! What is counted and timed while a fleet reports.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Ailment;

/// Counts of a run.
#[derive(Default)]
pub struct Figures {
    connected: AtomicI64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    reconnects: AtomicU64,
    latencies_us: Mutex<Vec<u32>>,
    patients: Mutex<HashMap<String, Patient>>,
}

/// An instance that was broken.
struct Patient {
    ailment: Ailment,
    broke: Instant,
    /// What was said last, and how long after it broke the right cause was first named.
    said: String,
    right_after: Option<Duration>,
}

impl Figures {
    /// A host's stream began or ended.
    pub fn connected(&self, more: i64) {
        self.connected.fetch_add(more, Relaxed);
    }

    /// A host's stream was lost or could not be had.
    pub fn reconnecting(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    /// A report was sent for the first time.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// A report was acknowledged so long after it was first sent.
    pub fn acknowledged(&self, after: Duration) {
        self.acknowledged.fetch_add(1, Relaxed);
        let us = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(us);
    }

    /// An instance was broken.
    pub fn broke(&self, upstream: String, ailment: Ailment) {
        let patient = Patient { ailment, broke: Instant::now(), said: String::new(), right_after: None };
        self.patients.lock().unwrap_or_else(PoisonError::into_inner).insert(upstream, patient);
    }

    /// The collector says why an upstream fails.
    pub fn judged(&self, upstream: &str, cause: &str) {
        let mut patients = self.patients.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(patient) = patients.get_mut(upstream) else { return };
        cause.clone_into(&mut patient.said);
        if cause == patient.ailment.cause() {
            patient.right_after.get_or_insert(patient.broke.elapsed());
        }
    }

    /// Waits until so many hosts are connected, or tells how many are when time is up.
    pub async fn wait_connected(&self, hosts: usize, limit: Duration) -> Result<(), i64> {
        self.wait(limit, |connected| usize::try_from(connected).is_ok_and(|connected| connected >= hosts)).await
    }

    /// Waits until no host is connected, or tells how many are when time is up.
    pub async fn wait_lost(&self, limit: Duration) -> Result<(), i64> {
        self.wait(limit, |connected| connected == 0).await
    }

    async fn wait(&self, limit: Duration, enough: impl Fn(i64) -> bool) -> Result<(), i64> {
        let end = Instant::now() + limit;
        loop {
            let connected = self.connected.load(Relaxed);
            if enough(connected) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(connected);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reports that were sent and are not acknowledged.
    pub fn waiting(&self) -> u64 {
        self.sent.load(Relaxed) - self.acknowledged.load(Relaxed)
    }

    /// Reports that were acknowledged.
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Streams that were lost or could not be had.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// How soon 99 of 100 reports were acknowledged since this was asked for last.
    pub fn p99(&self) -> Duration {
        let timed = std::mem::take(&mut *self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner));
        let [_, _, p99, _] = spread(&mut timed.into_iter().map(u64::from).collect::<Vec<_>>());
        Duration::from_micros(p99)
    }

    /// Forgets what was timed so far: from now on it counts.
    pub fn begin(&self) {
        self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.reconnects.store(0, Relaxed);
    }

    /// Share of the broken instances whose cause the collector named right at last, 0 to 1.
    pub fn right_share(&self) -> f64 {
        let patients = self.patients.lock().unwrap_or_else(PoisonError::into_inner);
        let right = patients.values().filter(|one| one.said == one.ailment.cause()).count();
        if patients.is_empty() { 1.0 } else { right as f64 / patients.len() as f64 }
    }
}

/// The values at 50, 95, 99 and 100 per cent.
fn spread(values: &mut [u64]) -> [u64; 4] {
    values.sort_unstable();
    let at = |share: usize| values.get((values.len().saturating_sub(1)) * share / 100).copied().unwrap_or(0);
    [at(50), at(95), at(99), at(100)]
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, acknowledged) = (self.sent.load(Relaxed), self.acknowledged.load(Relaxed));
        let mut latencies: Vec<u64> = {
            let latencies = self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.iter().map(|us| u64::from(*us)).collect()
        };
        let [p50, p95, p99, most] = spread(&mut latencies).map(|us| us as f64 / 1000.0);
        writeln!(
            out,
            "reports: {sent} sent, {acknowledged} acknowledged; {} reconnects",
            self.reconnects.load(Relaxed)
        )?;
        writeln!(out, "acknowledged after: p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, at most {most:.1} ms")?;
        let patients = self.patients.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after: Vec<u64> =
            patients.values().filter_map(|one| one.right_after).map(|after| after.as_millis() as u64).collect();
        let named = after.len();
        let [p50, _, p99, most] = spread(&mut after);
        writeln!(
            out,
            "failures: {} made, {named} named right; after p50 {p50} ms, p99 {p99} ms, at most {most} ms",
            patients.len()
        )?;
        for (upstream, one) in patients.iter().filter(|(_, one)| one.said != one.ailment.cause()).take(5) {
            let said = if one.said.is_empty() { "nothing" } else { &one.said };
            writeln!(out, "  {upstream}: {}, but it said {said}", one.ailment.cause())?;
        }
        Ok(())
    }
}
