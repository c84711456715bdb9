//! A fleet that is not there: many hosts with one real gRPC connection each, which report as agents do, and of which
//! some break in ways with known causes. It measures what the collector makes of it.

mod agent;
mod ailment;
mod collector;
mod figures;
mod messages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use ailment::Ailment;
pub use collector::Collector;
pub use figures::Figures;
pub use messages::now_us;

use agent::Agent;
use ailment::Sickness;
use messages::Host;

/// Hosts behind one gateway, the gateway's own host counted.
pub const POOL: usize = 50;
/// Connections that are being opened at once.
const OPENING: usize = 128;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Hosts.
    pub hosts: usize,
    /// How often each reports.
    pub interval: Duration,
    /// How long it goes on once every host is connected.
    pub lasting: Duration,
    /// Instances that break, a second.
    pub failures_per_second: f64,
}

/// Lets a fleet report to `ingest` and asks `api` what became of what broke.
pub async fn run(wanted: &Wanted, ingest: &str, api: &str) -> Result<Arc<Figures>, String> {
    let figures = Arc::new(Figures::default());
    let opening = Arc::new(Semaphore::new(OPENING));
    let began = Instant::now();
    let agents: Vec<Agent> = (0..wanted.hosts)
        .map(|number| Agent::spawn(Host::new(number), wanted, ingest, opening.clone(), figures.clone()))
        .collect();
    let connected = figures.wait_connected(wanted.hosts, Duration::from_secs(300)).await;
    connected.map_err(|connected| format!("only {connected} of {} hosts got connected", wanted.hosts))?;
    println!("fleet: {} hosts connected in {:.1} s", wanted.hosts, began.elapsed().as_secs_f64());
    figures.begin();
    let sickness = Sickness::new(agents, figures.clone());
    let watching = tokio::spawn(ailment::watch(api.to_owned(), figures.clone()));
    sickness.spread(wanted.failures_per_second, wanted.lasting).await;
    watching.abort();
    Ok(figures)
}
