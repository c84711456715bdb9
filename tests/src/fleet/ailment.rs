//! Breaking instances of the fleet, each in a way whose cause is known, and hearing what the collector says of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::transport::Endpoint;
use why502_proto::v1;
use why502_proto::v1::query_client::QueryClient;

use super::POOL;
use super::agent::{Agent, Happening, gateway_of};
use super::figures::Figures;
use super::messages::{answered, exited, listens, out_of_memory, refused, started, upstream};

/// How long an instance stays broken.
const BROKEN: Duration = Duration::from_secs(8);
/// How long an instance is left alone after that: its incident must be over before it breaks again.
const ALONE: Duration = Duration::from_secs(90);

/// A way to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// SIGKILL from outside.
    Killed,
    /// SIGSEGV.
    Crashed,
    /// Killed by the kernel for lack of memory.
    OutOfMemory,
    /// Ended by itself with code 0.
    Stopped,
}

impl Ailment {
    const ALL: [Self; 4] = [Self::Killed, Self::Crashed, Self::OutOfMemory, Self::Stopped];

    /// The cause that must be named.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Killed => "process_killed",
            Self::Crashed => "process_crashed",
            Self::OutOfMemory => "oom_killed",
            Self::Stopped => "process_stopped",
        }
    }

    fn events(self, number: usize, pid: u32) -> Vec<v1::Event> {
        let gone = listens(number, false);
        match self {
            Self::Killed => vec![exited(pid, None, Some(9)), gone],
            Self::Crashed => vec![exited(pid, None, Some(11)), gone],
            Self::OutOfMemory => vec![out_of_memory(pid), exited(pid, None, Some(9)), gone],
            Self::Stopped => vec![exited(pid, Some(0), None), gone],
        }
    }
}

/// Breaks instances.
pub struct Sickness {
    agents: Arc<Vec<Agent>>,
    figures: Arc<Figures>,
}

impl Sickness {
    /// Over a fleet.
    pub fn new(agents: Arc<Vec<Agent>>, figures: Arc<Figures>) -> Self {
        Self { agents, figures }
    }

    /// Breaks so many instances a second for a time, then waits until the last had time to be judged.
    pub async fn spread(self, per_second: f64, lasting: Duration) {
        let end = Instant::now() + lasting;
        if per_second <= 0.0 {
            tokio::time::sleep(lasting).await;
            return;
        }
        let mut last_broken: Vec<Option<Instant>> = vec![None; self.agents.len()];
        let mut timer = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
        let mut number = 0;
        let mut count = 0;
        while Instant::now() + BROKEN < end {
            timer.tick().await;
            // A stride that has no factor in common with the pools' size goes through all of them.
            number = (number + 7 * POOL + 1) % self.agents.len();
            let rested = last_broken[number].is_none_or(|at| at.elapsed() > BROKEN + ALONE);
            if self.agents[number].host.is_gateway() || !rested {
                continue;
            }
            last_broken[number] = Some(Instant::now());
            let ailment = Ailment::ALL[count % Ailment::ALL.len()];
            count += 1;
            tokio::spawn(break_one(self.agents.clone(), self.figures.clone(), number, ailment));
        }
        tokio::time::sleep(end.saturating_duration_since(Instant::now()) + Duration::from_secs(1)).await;
    }
}

async fn break_one(agents: Arc<Vec<Agent>>, figures: Arc<Figures>, number: usize, ailment: Ailment) {
    let (host, gateway) = (&agents[number], &agents[gateway_of(number)]);
    let pid = 4000;
    let _ = host.happenings.send(Happening::Events(ailment.events(number, pid), 0)).await;
    figures.broke(upstream(number), ailment);
    for _ in 0..4 {
        let log = Happening::Log(vec![refused(number), refused(number)], Vec::new());
        let _ = gateway.happenings.send(log).await;
        tokio::time::sleep(BROKEN / 4).await;
    }
    let back = vec![started(pid), listens(number, true)];
    let _ = host.happenings.send(Happening::Events(back, pid)).await;
    let _ = gateway.happenings.send(Happening::Log(Vec::new(), vec![answered(number)])).await;
}

/// Notes what the collector says of each incident as it says it.
pub async fn watch(api: String, figures: Arc<Figures>) {
    let Ok(endpoint) = Endpoint::from_shared(api) else { return };
    let Ok(channel) = endpoint.connect().await else { return };
    let watched = QueryClient::new(channel).max_decoding_message_size(64 << 20).watch(v1::WatchRequest {}).await;
    let Ok(mut lines) = watched.map(tonic::Response::into_inner) else { return };
    while let Ok(Some(line)) = lines.message().await {
        let Ok(line) = serde_json::from_str::<Value>(&line.json) else { continue };
        let incident = &line["incident"];
        if let (Some(upstream), Some(cause)) = (incident["upstream"].as_str(), incident["cause"].as_str()) {
            figures.judged(upstream, cause);
        }
    }
}
