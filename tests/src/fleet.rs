//! A fleet that is not there: many hosts with one real gRPC connection each, which report as agents do, and of which
//! some break in ways with known causes. It measures what the collector makes of it.

mod agent;
mod ailment;
mod collector;
mod entrance;
mod figures;
mod messages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::Semaphore;

pub use ailment::Ailment;
pub use collector::Collector;
pub use entrance::{Entrance, Io, Way};
pub use figures::Figures;
pub use messages::{Host, now_us};

use agent::Agent;
use ailment::Sickness;

/// Hosts behind one gateway, the gateway's own host counted.
pub const POOL: usize = 50;
/// Connections that are being opened at once, unless a storm is wanted.
pub const OPENING: usize = 128;

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
    /// Connections that are being opened at once.
    pub opening: usize,
}

/// A fleet whose hosts report until it is dropped.
pub struct Fleet {
    agents: Arc<Vec<Agent>>,
    /// What is counted and timed.
    pub figures: Arc<Figures>,
}

impl Fleet {
    /// Lets a fleet report, and waits until every host is connected.
    pub async fn connect(wanted: &Wanted, entrance: &Entrance) -> Result<Self, String> {
        let figures = Arc::new(Figures::default());
        let opening = Arc::new(Semaphore::new(wanted.opening));
        let mut agents = Vec::with_capacity(wanted.hosts);
        for number in 0..wanted.hosts {
            let host = Host::new(number);
            let way = entrance.way(&host.name, number)?;
            agents.push(Agent::spawn(host, wanted, way, opening.clone(), figures.clone()));
        }
        let fleet = Self { agents: Arc::new(agents), figures };
        fleet.wait_connected(Duration::from_secs(300)).await?;
        fleet.figures.begin();
        Ok(fleet)
    }

    /// Waits until every host has a stream.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), String> {
        let hosts = self.agents.len();
        let connected = self.figures.wait_connected(hosts, limit).await;
        connected.map_err(|connected| format!("only {connected} of {hosts} hosts got connected"))
    }

    /// Waits until all that was sent by now is acknowledged.
    pub async fn all_acknowledged(&self, limit: Duration) -> Result<(), String> {
        let (sent, end) = (self.figures.acknowledgements() + self.figures.waiting(), Instant::now() + limit);
        while self.figures.acknowledgements() < sent {
            if Instant::now() > end {
                return Err(format!("{} reports are not acknowledged", self.figures.waiting()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Breaks some of it as it is wanted, and asks `api` what became of what broke.
    pub async fn live(&self, wanted: &Wanted, api: &str) {
        let sickness = Sickness::new(self.agents.clone(), self.figures.clone());
        let watching = tokio::spawn(ailment::watch(api.to_owned(), self.figures.clone()));
        sickness.spread(wanted.failures_per_second, wanted.lasting).await;
        watching.abort();
    }
}

/// Lets a fleet report in plain text to `ingest` and asks `api` what became of what broke; it goes on reporting then.
pub async fn run(wanted: &Wanted, ingest: &str, api: &str) -> Result<Fleet, String> {
    let began = Instant::now();
    let fleet = Fleet::connect(wanted, &Entrance::plain(ingest)?).await?;
    println!("fleet: {} hosts connected in {:.1} s", wanted.hosts, began.elapsed().as_secs_f64());
    fleet.live(wanted, api).await;
    Ok(fleet)
}

/// As many descriptors as may be had: each host is a connection.
pub fn more_descriptors() -> Result<(), String> {
    let told = |error: nix::errno::Errno| format!("descriptors: {error}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(told)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(told)
}
