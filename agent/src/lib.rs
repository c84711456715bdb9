//! Sees one host for why502: samplers hand what they observe, and those that follow logs what they read in a round, over
//! bounded channels to the gatherer, which closes reports; the uplink keeps and delivers them. All of it runs on one thread.

pub mod alarm;
pub mod backoff;
pub mod beat;
pub mod budget;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dial;
pub mod gateway;
pub mod gateway_watch;
pub mod glob;
pub mod identity;
pub mod journald;
pub mod kernel;
pub mod listen;
pub mod log_watch;
pub mod mask;
pub mod observe;
pub mod pattern;
pub mod read;
pub mod report;
pub mod resolve;
pub mod sampler;
pub mod spool;
pub mod tail;
pub mod unit_watch;
pub mod uplink;
pub mod wakeful;
pub mod watch;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::watch as flag;
use tokio::task::{JoinSet, LocalSet};
use why502_proto::v1;

use budget::Budget;
use clock::unix_now_us;
use config::{Config, Listen};
use identity::Watched;
use listen::Inbox;
use report::{Clocks, Gatherer, Sealed};
use sampler::Observed;
use sampler::probe::{ProbeRequest, Prober};
use spool::Spool;
use tail::Positions;
use uplink::{Ended, Settings};
use watch::unit::Units;

/// Observations on their way to the gatherer; who has more to tell waits.
const OBSERVED: usize = 1_024;
/// Rounds of reading logs on their way there, each whole.
const ROUNDS: usize = 1;
/// Closed reports on their way to the uplink, which takes them at once, those closed together as one.
const REPORTS: usize = 2;
/// Probes asked for and not begun.
const PROBES: usize = 64;
/// How long those that follow logs may take to tell what they hold at the end.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// Runs the agent until SIGTERM or SIGINT.
pub fn run_until_signal(config: Config) -> io::Result<Ended> {
    tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        Ok(run(config, shutdown).await)
    });
    // A call that blocks in the kernel must not keep the agent from ending.
    runtime.shutdown_background();
    ended
}

/// Runs the agent until `shutdown` gives the reason to end; needs a `LocalSet`. Says how it ended.
pub async fn run(config: Config, shutdown: impl Future<Output = &'static str>) -> Ended {
    let (mut positions, fault) = Positions::load(&config.state_dir);
    if let Some(fault) = fault {
        tracing::warn!("logs are read from their ends: {fault}");
    }
    let hello = hello(&config);
    let spool = open_spool(&config, &hello, &mut positions);
    say_what_is_watched(&config);
    let config = Arc::new(config);
    let (observed, inbox) = mpsc::channel(OBSERVED);
    let (rounds, read) = mpsc::channel(ROUNDS);
    let (stop, stopped) = flag::channel(false);
    let (reports, outbox) = mpsc::channel(REPORTS);
    let (changed, changes) = flag::channel(());
    let settings = Settings {
        collectors: config.collectors.clone(),
        hello,
        identity: Watched { identity: config.identity.clone(), changes },
    };
    // First of all, so that the collector hears of this host while the first look at it is still under way.
    let uplink = tokio::task::spawn_local(uplink::run(settings, spool, outbox, positions.clone()));
    let keeper = identity::keep(config.identity.clone(), config.collectors.clone(), config.host.clone(), changed);
    let keeper = tokio::task::spawn_local(keeper);
    let mut gatherer = tokio::task::spawn_local(gather(inbox, read, reports, config.interval * 2));
    // The channel is empty yet.
    let _ = observed.try_send(Observed::Status(sampler::privilege::status(Path::new("/proc")).message("privilege")));
    let (watchers, samplers) = spawn(&config, &positions, &observed, rounds, &stopped);

    let why = shutdown.await;
    tracing::info!("{why}: telling the collector and ending");
    // Whoever follows logs says first what it holds; the samplers have nothing to add.
    drop(samplers);
    let _ = stop.send(true);
    let _ = tokio::time::timeout(STOP_LIMIT, watchers.join_all()).await;
    let stopping = v1::event::Kind::AgentStopping(v1::AgentStopping { why: why.to_owned() });
    // A full spool may take nothing more: what is not gathered then stays in the logs.
    let _ = tokio::time::timeout(STOP_LIMIT, observed.send(Observed::event(unix_now_us(), stopping))).await;
    drop(observed);
    if tokio::time::timeout(STOP_LIMIT, &mut gatherer).await.is_err() {
        gatherer.abort();
    }
    keeper.abort();
    let ended = uplink.await.unwrap_or(Ended { undelivered_reports: 0, given_up: spool::Counts::default() });
    match ended.undelivered_reports {
        0 => tracing::info!("ended, everything delivered"),
        reports => tracing::warn!("ended, {reports} reports not delivered: they wait in state_dir for the next start"),
    }
    ended
}

/// Opens the spool; how far logs were read for what waits in it is newer than what was kept apart.
fn open_spool(config: &Config, hello: &v1::Hello, positions: &mut Positions) -> Spool {
    let own = spool::Numbering { boot_id: hello.boot_id.clone(), epoch: hello.epoch };
    let (spool, marks) = Spool::open(&config.state_dir, own, config.spool_bytes);
    marks.into_iter().for_each(|mark| positions.set(mark));
    if !spool.is_empty() {
        tracing::info!("{} reports wait in the spool", spool.len());
    }
    spool
}

fn say_what_is_watched(config: &Config) {
    tracing::info!(host = %config.host, version = env!("CARGO_PKG_VERSION"), "sampling each {:?}", config.interval);
    for service in &config.services {
        let listen: Vec<String> = service.listen.iter().map(listen_text).collect();
        tracing::info!(
            "service {}: {}",
            service.name,
            if listen.is_empty() { "by its processes".into() } else { listen.join(", ") }
        );
    }
    if config.services.is_empty() {
        tracing::info!("no service configured: every process that listens on TCP is one");
    }
    for gateway in &config.gateways {
        let files = gateway.access_log.iter().chain(&gateway.error_log).map(|log| log.display().to_string());
        let sent =
            gateway.listen.iter().map(ToString::to_string).chain(gateway.journald.iter().map(|_| "journald".into()));
        let logs: Vec<String> = files.chain(sent).collect();
        tracing::info!("gateway {} ({}): {}", gateway.name, gateway.kind.id(), logs.join(", "));
    }
    tracing::info!("reporting to {}", config.collectors.join(", "));
}

/// Starts everything that observes: those that follow logs apart, since they end by themselves.
fn spawn(
    config: &Arc<Config>,
    positions: &Positions,
    observed: &mpsc::Sender<Observed>,
    rounds: mpsc::Sender<Vec<Observed>>,
    stopped: &flag::Receiver<bool>,
) -> (JoinSet<()>, JoinSet<()>) {
    let (mut watchers, mut samplers) = (JoinSet::new(), JoinSet::new());
    let budget = Budget::default();
    let (probes, asked) = mpsc::channel::<ProbeRequest>(PROBES);
    samplers.spawn_local(Prober::default().run(asked, observed.clone()));
    let units = Units::default();
    for service in &config.services {
        service.matcher.unit.iter().for_each(|unit| units.note(&config::whole_unit(unit), &service.name));
    }
    samplers.spawn_local(observe::run(config.clone(), observed.clone(), budget.clone(), units.clone()));
    let unit_watch = unit_watch::UnitWatch::new(units, positions);
    watchers.spawn_local(unit_watch::run(unit_watch, rounds.clone(), stopped.clone(), budget.clone()));
    samplers.spawn_local(sampler::health::run(config.clone(), observed.clone()));
    for gateway in &config.gateways {
        let inbox = gateway.listen.as_ref().map(|listen| {
            let inbox = Inbox::default();
            samplers.spawn_local(listen::run(listen.clone(), inbox.clone()));
            inbox
        });
        let watch = gateway_watch::Watch::new(gateway.clone(), config.interval, positions, inbox, Instant::now());
        watchers.spawn_local(gateway_watch::run(
            watch,
            rounds.clone(),
            probes.clone(),
            stopped.clone(),
            budget.clone(),
        ));
    }
    for service in config.services.iter().filter(|service| !service.logs.is_empty()) {
        let follow = |log: &PathBuf| log_watch::LogWatch::new(service, log, positions, Instant::now());
        let logs = service.logs.iter().map(follow).collect();
        watchers.spawn_local(log_watch::run(logs, rounds.clone(), stopped.clone(), budget.clone()));
    }
    (watchers, samplers)
}

/// Gathers what is observed and read into reports until nobody does any longer.
async fn gather(
    mut inbox: mpsc::Receiver<Observed>,
    mut rounds: mpsc::Receiver<Vec<Observed>>,
    reports: mpsc::Sender<Vec<Sealed>>,
    idle: Duration,
) {
    let mut gatherer = Gatherer::new(Instant::now(), idle);
    let (mut observes, mut reads) = (true, true);
    while observes || reads {
        tokio::select! {
            // In this order, so that the last word of an agent that ends is the last.
            biased;
            round = rounds.recv(), if reads => match round {
                Some(round) => round.into_iter().for_each(|observed| gatherer.add(observed, Instant::now())),
                None => reads = false,
            },
            observed = inbox.recv(), if observes => match observed {
                Some(observed) => gatherer.add(observed, Instant::now()),
                None => observes = false,
            },
            () = alarm::sleep_until(gatherer.due()) => {}
        }
        let ended = !observes && !reads;
        if !ended && Instant::now() < gatherer.due() {
            continue;
        }
        let clocks = Clocks { unix_us: unix_now_us(), boottime_us: kernel::clock::boottime_us() };
        if reports.send(gatherer.close(Instant::now(), clocks)).await.is_err() {
            return;
        }
    }
}

/// Who this agent is; the uplink adds what changes with time.
fn hello(config: &Config) -> v1::Hello {
    let services = config.services.iter().map(|service| v1::ServiceConfig {
        name: service.name.clone(),
        listen: service.listen.iter().map(listen_text).collect(),
        declared: true,
        health_path: service.health.as_ref().map_or_else(String::new, |health| health.path.clone()),
    });
    v1::Hello {
        host: config.host.clone(),
        boot_id: kernel::clock::boot_id(),
        epoch: u64::try_from(unix_now_us()).unwrap_or(0),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        interval_us: u64::try_from(config.interval.as_micros()).unwrap_or(u64::MAX),
        services: services.collect(),
        machine: Some(machine()),
        ..Default::default()
    }
}

fn machine() -> v1::Machine {
    let kernel::machine::Machine { kernel, system, is_virtual, model, container } =
        kernel::machine::read(Path::new("/"));
    v1::Machine { kernel, system, is_virtual, model, container }
}

fn listen_text(listen: &Listen) -> String {
    match listen {
        Listen::Port(port) => port.to_string(),
        Listen::Address(address) => address.to_string(),
        Listen::Unix(path) => path.display().to_string(),
    }
}
