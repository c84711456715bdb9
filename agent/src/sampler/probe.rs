//! Tries a failing upstream from the gateway's host, as the gateway would: name, route, several connects, another port
//! or an echo where nothing answers, TLS, one request; and once, how long an idle connection is kept. Only what the
//! caller found in configuration or access records is a target, and addresses that hosts keep for themselves never are.
//! The rate is bounded (`plan`); what was left out for that is counted and told as this sampler's status.

mod attempt;
mod echo;
mod forbidden;
mod idle;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use why502_proto::v1::event::Kind;

use super::{Observed, Status};
use crate::clock::unix_now_us;
use crate::gateway::{Signal, Tls};
use plan::{Decision, Plan};

/// The sampler's name in its status.
const NAME: &str = "probe";
/// Least time between two statuses that tell of probes left out.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// What to try, and what failed there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProbeRequest {
    /// The gateway's name.
    pub gateway: String,
    /// The upstream as failures name it; results bear the same.
    pub upstream: String,
    /// Where it is reached: "ip:port", "host:port" or "unix:/path".
    pub address: String,
    /// The name that the gateway's configuration has for it, where that is a host's name: it is resolved, too.
    pub name: Option<String>,
    /// How the gateway speaks to it: "http", "https"; of any other word only the connects are tried.
    pub scheme: String,
    /// The gateway's TLS settings.
    pub tls: Option<Tls>,
    /// The Host header to send. None: the address.
    pub host: Option<String>,
    /// The path of its health check.
    pub health_path: Option<String>,
    /// The path of a failing GET without query.
    pub get_path: Option<String>,
    /// The path of a GET without query that this upstream answered lately.
    pub served_path: Option<String>,
    /// The gateway's own limit to connect: later probes wait as long, up to 5 s.
    pub connect_limit: Option<Duration>,
    /// Other ports that this host is known to serve.
    pub other_ports: Vec<u16>,
    /// What the failure's record says.
    pub signal: Signal,
}

impl ProbeRequest {
    /// The failure looks like that of a kept connection that the instance had closed.
    fn may_be_keepalive(&self) -> bool {
        matches!(
            self.signal,
            Signal::ResetBeforeHeaders
                | Signal::ClosedBeforeHeaders
                | Signal::NoResponseHeaders
                | Signal::UpstreamErrorUnspecified
        )
    }

    /// The path that is asked for. A slow request is not repeated where the health check's path will do, and what the check
    /// took out is asked what the check asked.
    fn path(&self) -> Option<&str> {
        let (health, get) = (self.health_path.as_deref(), self.get_path.as_deref());
        let served = self.served_path.as_deref();
        match self.signal {
            Signal::ReadTimeout | Signal::BodyTimeout | Signal::SendTimeout | Signal::NoLiveUpstream => {
                health.or(served).or(get)
            }
            _ => get.or(health).or(served),
        }
        .filter(|path| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
    }
}

/// Carries out requests at a bounded rate.
#[derive(Debug, Default)]
pub struct Prober {
    plan: Plan,
    running: JoinSet<Done>,
    told_left_out: u64,
    told_at: Option<Instant>,
}

/// What ended.
#[derive(Debug)]
enum Done {
    /// A probe, and the path to measure idle connections with where that is worth it.
    Probe(Arc<ProbeRequest>, Option<idle::Way>),
    /// An idle measurement.
    Idle,
}

impl Prober {
    /// Serves requests until their sender or the receiver of results is gone.
    pub async fn run(mut self, mut requests: mpsc::Receiver<ProbeRequest>, out: mpsc::Sender<Observed>) {
        if out.send(Observed::Status(Status::Active.message(NAME))).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.take(request, &out),
                    None => return,
                },
                Some(done) = self.running.join_next() => self.ended(done, &out),
                () = out.closed() => return,
            }
            self.tell(&out);
        }
    }

    fn take(&mut self, request: ProbeRequest, out: &mpsc::Sender<Observed>) {
        let Decision::Probe(depth) = self.plan.decide(&request.gateway, &request.upstream, Instant::now()) else {
            return;
        };
        let (request, out) = (Arc::new(request), out.clone());
        self.running.spawn(async move {
            let at_unix_us = unix_now_us();
            let (result, way) = attempt::run(&request, depth).await;
            // A receiver that is gone ends the whole run.
            let _ = out.send(Observed::event(at_unix_us, Kind::Probe(result))).await;
            Done::Probe(request, way)
        });
    }

    fn ended(&mut self, done: Result<Done, tokio::task::JoinError>, out: &mpsc::Sender<Observed>) {
        match done {
            Ok(Done::Probe(request, way)) => {
                self.plan.ended();
                let Some(way) = way.filter(|_| request.may_be_keepalive()) else { return };
                if self.plan.may_measure(&request.gateway, &request.upstream, Instant::now()) {
                    let out = out.clone();
                    self.running.spawn(async move {
                        idle::measure(&request, way, &out).await;
                        Done::Idle
                    });
                }
            }
            Ok(Done::Idle) => self.plan.measured(),
            // A probe that broke has its place freed all the same.
            Err(_) => self.plan.ended(),
        }
    }

    /// Tells of probes left out, not more often than each 10 s and never waiting for room.
    fn tell(&mut self, out: &mpsc::Sender<Observed>) {
        let left_out = self.plan.left_out();
        let due = self.told_at.is_none_or(|at| at.elapsed() >= TELL_INTERVAL);
        if left_out == self.told_left_out || !due {
            return;
        }
        let why = format!("{left_out} probes left out so far: at most 4 at once and 20 in 10 s");
        if out.try_send(Observed::Status(Status::Degraded(why).message(NAME))).is_ok() {
            (self.told_left_out, self.told_at) = (left_out, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests;
