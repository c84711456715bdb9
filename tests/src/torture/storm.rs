//! A whole fleet that comes back at once, over TLS, after a kill -9 of the collector.

use std::time::{Duration, Instant};

use super::{Outcome, Size};
use crate::fleet::{self, Collector, Fleet, Wanted};

/// All must be back within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Kills the collector and waits for the fleet.
pub fn run(size: Size) -> Outcome {
    fleet::more_descriptors()?;
    let hosts = size.pick(200, 10_000);
    let interval = Duration::from_secs(size.pick(1, 10));
    // Whoever is lost comes back at once: nobody holds them back.
    let wanted = Wanted { hosts, interval, lasting: LIMIT, failures_per_second: 0.0, opening: hosts };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let collector = Collector::start_guarded(dir.path(), None)?;
    let entrance = collector.entrance(dir.path())?;
    let began = Instant::now();
    let fleet = runtime.block_on(Fleet::connect(&wanted, &entrance))?;
    let first = began.elapsed();
    let ports = collector.ports();
    collector.kill();
    let lost = runtime.block_on(fleet.figures.wait_lost(LIMIT));
    lost.map_err(|connected| format!("{connected} hosts do not see that the collector is gone"))?;
    let collector = Collector::start(dir.path(), ports)?;
    let began = Instant::now();
    runtime.block_on(fleet.wait_connected(LIMIT))?;
    let back = began.elapsed();
    let tries = fleet.figures.reconnects() as f64 / hosts as f64;
    runtime.block_on(fleet.all_acknowledged(LIMIT))?;
    Ok(format!(
        "{hosts} hosts came in within {:.1} s, and after kill -9 all back {:.1} s after it served again, with {tries:.1} tries \
         each; all they had sent was acknowledged; collector {} MiB, {:.1} s of CPU",
        first.as_secs_f64(),
        back.as_secs_f64(),
        collector.resident_bytes() >> 20,
        collector.cpu_seconds()
    ))
}
