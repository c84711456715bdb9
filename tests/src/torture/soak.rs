//! A fleet that breaks all the time, for long: what grows then grows for ever.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Outcome, Size};
use crate::fleet::{self, Collector, Fleet, Wanted};

/// Share of the broken instances whose cause must be named right.
const RIGHT: f64 = 0.97;
/// Descriptors and threads may move by so many: files are changed, threads of a pool come and go.
const MOVE: u64 = 16;

/// What the collector has at one moment.
struct Weight {
    after: Duration,
    resident: u64,
    descriptors: u64,
    threads: u64,
}

impl Weight {
    fn of(collector: &Collector, began: Instant) -> Self {
        Self {
            after: began.elapsed(),
            resident: collector.resident_bytes(),
            descriptors: collector.descriptors() as u64,
            threads: collector.threads(),
        }
    }
}

/// Lets a fleet live, and weighs the collector all the while.
pub fn run(size: Size) -> Outcome {
    fleet::more_descriptors()?;
    let wanted = Wanted {
        hosts: size.pick(200, 500),
        interval: Duration::from_secs(1),
        lasting: size.pick(Duration::from_secs(45), Duration::from_secs(3600)),
        failures_per_second: 1.0,
        opening: fleet::OPENING,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let collector = Collector::start_guarded(dir.path(), None)?;
    let entrance = collector.entrance(dir.path())?;
    let fleet = runtime.block_on(Fleet::connect(&wanted, &entrance))?;
    let over = AtomicBool::new(false);
    let weights = std::thread::scope(|scope| {
        let weighing = scope.spawn(|| weigh(&collector, wanted.lasting / 60, &over));
        runtime.block_on(fleet.live(&wanted, &collector.api));
        over.store(true, Relaxed);
        weighing.join()
    })
    .map_err(|_| "the weighing died")?;
    let figures = &fleet.figures;
    // The first half fills what is bounded.
    let half = &weights[weights.len() / 2..];
    let (descriptors, threads) = (span(half, |one| one.descriptors), span(half, |one| one.threads));
    let told = format!(
        "{} hosts for {} s: {} MiB, {:+.2} MiB a minute over the second half; {} to {} descriptors, {} to {} threads; {figures}",
        wanted.hosts,
        wanted.lasting.as_secs(),
        half.last().map_or(0, |one| one.resident) >> 20,
        slope(half) * 60.0 / 1_048_576.0,
        descriptors.0,
        descriptors.1,
        threads.0,
        threads.1
    );
    let told = told.trim_end().replace('\n', "; ");
    let steady = descriptors.1 - descriptors.0 <= MOVE && threads.1 - threads.0 <= MOVE;
    let well = figures.right_share() >= RIGHT && figures.reconnects() == 0;
    if steady && well { Ok(told) } else { Err(told) }
}

fn weigh(collector: &Collector, every: Duration, over: &AtomicBool) -> Vec<Weight> {
    let began = Instant::now();
    let mut weights = Vec::new();
    while !over.load(Relaxed) {
        weights.push(Weight::of(collector, began));
        std::thread::sleep(every);
    }
    weights
}

/// The least and the most.
fn span(weights: &[Weight], of: impl Fn(&Weight) -> u64) -> (u64, u64) {
    let all = || weights.iter().map(&of);
    (all().min().unwrap_or(0), all().max().unwrap_or(0))
}

/// By how much the resident memory grows, bytes a second: the line that fits best.
fn slope(weights: &[Weight]) -> f64 {
    let points = || weights.iter().map(|one| (one.after.as_secs_f64(), one.resident as f64));
    let count = weights.len().max(1) as f64;
    let (x_mean, y_mean) =
        (points().map(|(x, _)| x).sum::<f64>() / count, points().map(|(_, y)| y).sum::<f64>() / count);
    let spread: f64 = points().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let together: f64 = points().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if spread > 0.0 { together / spread } else { 0.0 }
}
