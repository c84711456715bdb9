//! `bench agent`: the agent beside its peers on the reference hosts, at each interval, all of them at the same time.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::host::{self, Host, Kind};
use super::meter::{Cost, Meter};
use super::peers::{self, Peer};
use super::wire::Wire;
use super::{Options, percent};
use crate::lab::{Doing, Done, enter, wait_for};
use crate::programs;

/// After its start a program is left alone for so long.
const WARM_UP: Duration = Duration::from_secs(8);

/// Runs each host at each interval, in namespaces of its own.
pub fn run(arguments: &[String]) -> Done<ExitCode> {
    let options = Options::parse(arguments, &["host", "interval", "seconds", "peers"])?;
    let hosts = options.get("host").map_or(vec!["A", "B"], |name| vec![name]);
    let intervals = options.get("interval").map_or(vec!["1", "5"], |seconds| vec![seconds]);
    let own = std::env::current_exe().doing("own path")?;
    for host in &hosts {
        for interval in &intervals {
            let seconds = options.number("seconds", 30)?.to_string();
            let peers = options.get("peers").unwrap_or("yes");
            let status = Command::new(&own)
                .args(["--enter", enter::STORY, "--agent-on", host, interval, &seconds, peers])
                .status()
                .doing("start the host")?;
            if !status.success() {
                return Err(format!("host {host} at {interval} s: {status}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Is the process 1 of a reference host: builds it, measures, prints.
pub fn on_host(arguments: &[String]) -> Done<ExitCode> {
    let [name, interval, seconds, peers] = arguments else { return Err("--agent-on: four values".into()) };
    enter::settle()?;
    Command::new("ip").args(["link", "set", "lo", "up"]).status().doing("ip")?;
    let kind = [host::A, host::B, host::L].into_iter().find(|kind| kind.name == name).ok_or("no such host")?;
    let interval_s: u64 = interval.parse().doing("--interval")?;
    let over = Duration::from_secs(seconds.parse().doing("--seconds")?);
    let dir = tempfile::tempdir().doing("folder")?;
    let host = Host::build(kind, dir.path())?;
    let mut parts = Parts::start(&host, dir.path(), interval_s)?;
    let (peers, missing) = if peers == "yes" { peers::start(dir.path(), interval_s)? } else { Default::default() };
    let costs = measure(&mut parts, &peers, Duration::from_secs(interval_s), over)?;
    print_table(&kind, interval_s, &parts, &costs);
    for name in missing {
        println!("  {name}: not installed");
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent and its collector.
pub struct Parts {
    /// What went between them.
    pub wire: Arc<Wire>,
    /// The collector's query address.
    pub api: SocketAddr,
    agent: Child,
    collector: Child,
    binary: PathBuf,
    first_ack: Option<Duration>,
    log: PathBuf,
}

impl Parts {
    /// Starts both, the agent last, and waits until its first report is acknowledged.
    pub fn start(host: &Host, dir: &Path, interval_s: u64) -> Done<Self> {
        let (ingest, api) = (free_address()?, free_address()?);
        let place = dir.display();
        let collector =
            format!("[ingest]\nlisten = \"{ingest}\"\n[api]\nlisten = \"{api}\"\n[store]\ndir = \"{place}/store\"\n");
        let collector = start_with(&programs::why502(), "serve", dir, "collector", &collector)?;
        wait_for("the collector listens", Duration::from_secs(10), || std::net::TcpStream::connect(api).ok())?;
        let (hop, wire) = Wire::to(ingest)?;
        let agent = format!(
            "collector = [\"http://{hop}\"]\nhost = \"bench\"\ninterval = \"{interval_s}s\"\nstate_dir = \"{place}/state\"\n{}",
            host.agent_toml()
        );
        let began = Instant::now();
        let binary = programs::agent();
        let agent = start_with(&binary, "run", dir, "agent", &agent)?;
        let mut parts = Self { wire, api, agent, collector, binary, first_ack: None, log: dir.join("agent.log") };
        let acknowledged =
            wait_for("the first acknowledgement", Duration::from_secs(20), || parts.wire.first_ack.get().copied());
        let acknowledged = acknowledged.map_err(|fault| format!("{fault}\n{}", parts.agent_log()))?;
        parts.first_ack = Some(acknowledged.duration_since(began));
        Ok(parts)
    }

    /// The agent's process.
    pub fn agent_pid(&self) -> u32 {
        self.agent.id()
    }

    /// Refuses where the agent ended, with what it said.
    pub fn still_runs(&mut self) -> Done {
        match self.agent.try_wait().doing("the agent")? {
            Some(status) => Err(format!("the agent ended: {status}\n{}", self.agent_log())),
            None => Ok(()),
        }
    }

    /// What the agent said.
    pub fn agent_log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for program in [&mut self.agent, &mut self.collector] {
            let _ = (program.kill(), program.wait());
        }
    }
}

fn start_with(program: &Path, verb: &str, dir: &Path, name: &str, config: &str) -> Done<Child> {
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, config).doing("configuration")?;
    let log = fs::File::create(dir.join(format!("{name}.log"))).doing("log")?;
    let mut command = Command::new(program);
    command.arg(verb).arg("--config").arg(path).stdin(Stdio::null());
    command.stdout(log.try_clone().doing("log")?).stderr(log).spawn().doing(&program.display().to_string())
}

/// An address on loopback that nobody listens on.
fn free_address() -> Done<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).doing("a free port")
}

/// One line of the table.
struct Line {
    name: String,
    cost: Cost,
    wire_bytes: Option<(u64, u64)>,
    binary_bytes: u64,
}

/// Lets all of them work for the time; those that are asked are asked at each interval.
fn measure(parts: &mut Parts, peers: &[Peer], interval: Duration, over: Duration) -> Done<Vec<Line>> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for peer in peers {
            scope.spawn(|| ask_until(&ended, peer, interval));
        }
        let lines = watch(parts, peers, over);
        ended.store(true, Ordering::Relaxed);
        lines
    })
}

/// One that is slow to answer keeps no other waiting, nor is it asked again before it has answered.
fn ask_until(ended: &AtomicBool, peer: &Peer, interval: Duration) {
    while !ended.load(Ordering::Relaxed) {
        let next = Instant::now() + interval;
        peer.ask();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn watch(parts: &mut Parts, peers: &[Peer], over: Duration) -> Done<Vec<Line>> {
    thread::sleep(WARM_UP);
    let meters: Vec<Meter> = peers.iter().map(|peer| Meter::start(peer.pid())).collect();
    let agent = Meter::start(parts.agent_pid());
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (up, down) = (read(&parts.wire.up_bytes), read(&parts.wire.down_bytes));
    thread::sleep(over);
    let mut lines = vec![Line {
        name: "why502-agent".to_owned(),
        cost: agent.cost(),
        wire_bytes: Some((read(&parts.wire.up_bytes) - up, read(&parts.wire.down_bytes) - down)),
        binary_bytes: fs::metadata(&parts.binary).map_or(0, |meta| meta.len()),
    }];
    for (peer, meter) in peers.iter().zip(&meters) {
        let (name, binary_bytes) = (peer.name.to_owned(), peer.binary_bytes());
        lines.push(Line { name, cost: meter.cost(), wire_bytes: None, binary_bytes });
    }
    parts.still_runs().map(|()| lines)
}

fn print_table(kind: &Kind, interval_s: u64, parts: &Parts, lines: &[Line]) {
    println!(
        "host {}: {} processes, {} sockets, {} watched processes, {} log lines/s; interval {interval_s} s",
        kind.name,
        kind.processes,
        kind.sockets,
        kind.services * kind.processes_each,
        kind.lines_per_s
    );
    println!("  {:<18}{:>12}{:>10}{:>8}{:>10}{:>12}", "", "ms/interval", "% core", "times", "PSS MiB", "program MB");
    let mine = lines.first().map_or(0.0, |line| line.cost.cpu.as_secs_f64());
    for line in lines {
        let Cost { cpu, over, pss_bytes, .. } = line.cost;
        println!(
            "  {:<18}{:>12.2}{:>10.3}{:>8.1}{:>10.1}{:>12.1}",
            line.name,
            cpu.as_secs_f64() * 1e3 * interval_s as f64 / over.as_secs_f64(),
            percent(cpu, over),
            cpu.as_secs_f64() / mine.max(f64::MIN_POSITIVE),
            pss_bytes as f64 / 1_048_576.0,
            line.binary_bytes as f64 / 1e6,
        );
        if let Some((up, down)) = line.wire_bytes {
            let per_s = |bytes: u64| bytes as f64 / over.as_secs_f64();
            let first_ack = parts.first_ack.unwrap_or_default().as_secs_f64() * 1e3;
            println!(
                "  wire {:.0} B/s up, {:.0} B/s down; first report acknowledged {first_ack:.0} ms after the start; program {} bytes",
                per_s(up),
                per_s(down),
                line.binary_bytes
            );
        }
    }
}
