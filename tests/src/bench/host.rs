//! The reference hosts: A as most hosts are, B as the largest are, and L beyond what an agent is made for.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use crate::lab::{Doing, Done};

/// The first listener's port; the others follow.
const PORT: u16 = 2_000;
/// The log's format: combined, with what the agent can use.
pub const LOG_FORMAT: &str = "$remote_addr - $remote_user [$time_local] \\\"$request\\\" $status $body_bytes_sent \\\"$http_referer\\\" \\\"$http_user_agent\\\" $upstream_addr $upstream_status $upstream_response_time";

/// What stands on a reference host.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// "A", "B" or "L".
    pub name: &'static str,
    /// Processes in all.
    pub processes: usize,
    /// TCP sockets in all, listeners among them.
    pub sockets: usize,
    /// Listeners.
    pub listeners: usize,
    /// Services that are watched, each with one listener.
    pub services: usize,
    /// Processes of each of these.
    pub processes_each: usize,
    /// Lines a second in the gateway's log.
    pub lines_per_s: usize,
}

/// 300 processes, 2,000 sockets, one watched service.
pub const A: Kind =
    Kind { name: "A", processes: 300, sockets: 2_000, listeners: 50, services: 1, processes_each: 1, lines_per_s: 200 };
/// 2,000 processes, 60,000 sockets, 200 watched processes.
pub const B: Kind = Kind {
    name: "B",
    processes: 2_000,
    sockets: 60_000,
    listeners: 50,
    services: 20,
    processes_each: 10,
    lines_per_s: 200,
};
/// 20,000 processes, 100,000 sockets.
pub const L: Kind = Kind {
    name: "L",
    processes: 20_000,
    sockets: 100_000,
    listeners: 100,
    services: 20,
    processes_each: 10,
    lines_per_s: 200,
};

/// Threads of a process, on average.
const THREADS: usize = 4;

/// A reference host that stands.
pub struct Host {
    /// What stands on it.
    pub kind: Kind,
    /// The gateway's log.
    pub log: PathBuf,
    crowds: Vec<Child>,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Host {
    /// Makes it in the namespaces that this process is in.
    pub fn build(kind: Kind, dir: &Path) -> Done<Self> {
        let connections = (kind.sockets - kind.listeners) / 2 / kind.listeners;
        let threads = if kind.processes > B.processes { 1 } else { THREADS };
        let mut crowds = Vec::new();
        for service in 0..kind.services {
            let crowd = Crowd {
                name: service_name(service),
                processes: kind.processes_each,
                // One of its threads answers.
                threads: threads.max(2),
                ports: vec![port(service)],
                connections,
            };
            crowds.push(crowd.start()?);
        }
        // Those that are not watched: half of the processes hold the other listeners' connections, the rest nothing.
        let others = kind.listeners - kind.services;
        let rest = kind.processes - kind.services * kind.processes_each;
        for other in 0..others {
            let processes = rest / others + usize::from(other < rest % others);
            let ports = vec![port(kind.services + other)];
            crowds.push(Crowd { name: "other".to_owned(), processes, threads, ports, connections }.start()?);
        }
        let log = dir.join("access.log");
        let stop = Arc::new(AtomicBool::new(false));
        let writer = write_log(&log, kind.lines_per_s, stop.clone())?;
        Ok(Self { kind, log, crowds, stop, writer: Some(writer) })
    }

    /// The services' part of agent.toml, and the gateway's.
    pub fn agent_toml(&self) -> String {
        let services = (0..self.kind.services).map(|service| {
            let (name, port) = (service_name(service), port(service));
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = [\"127.0.0.1:{port}\"]\nmatch = {{ cmdline = \"--crowd {name} \" }}\n\
                 health = {{ path = \"/health\" }}\n"
            )
        });
        let log = self.log.display();
        let gateway = format!(
            "[[gateway]]\nname = \"edge\"\nkind = \"nginx\"\naccess_log = \"{log}\"\nformat = \"{LOG_FORMAT}\"\n"
        );
        services.collect::<String>() + &gateway
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.writer.take().map(JoinHandle::join);
        // Their descendants end with the namespace.
        for crowd in &mut self.crowds {
            let _ = (crowd.kill(), crowd.wait());
        }
    }
}

/// Where a service listens.
pub fn port(service: usize) -> u16 {
    PORT + u16::try_from(service).unwrap_or(0)
}

fn service_name(service: usize) -> String {
    format!("api-{service:02}")
}

/// One line of the gateway's log, of an attempt that the first service answered.
pub fn log_line(number: usize) -> String {
    format!(
        "10.9.{}.{} - - [{}] \"GET /items/{number}?page=2 HTTP/1.1\" 200 {} \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\" 127.0.0.1:{PORT} 200 0.0{:02}\n",
        number % 250,
        number / 250 % 250,
        stamp(),
        300 + number % 9_000,
        number % 90,
    )
}

/// Now, as nginx writes it.
fn stamp() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = nix::libc::time_t::try_from(since.as_secs()).unwrap_or(0);
    let days = now / 86_400;
    // Days to civil date (Howard Hinnant's algorithm), for days since 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 2 } else { shifted - 10 };
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = usize::try_from(month).ok().and_then(|month| names.get(month)).unwrap_or(&"Jan");
    let second = now % 86_400;
    format!("{day:02}/{name}/{year}:{:02}:{:02}:{:02} +0000", second / 3_600, second / 60 % 60, second % 60)
}

/// Writes the log in the background, twenty times a second.
fn write_log(path: &Path, lines_per_s: usize, stop: Arc<AtomicBool>) -> Done<JoinHandle<()>> {
    const TURN: Duration = Duration::from_millis(50);
    let mut file = File::create(path).doing("access log")?;
    let began = Instant::now();
    Ok(thread::spawn(move || {
        let mut written = 0;
        while !stop.load(Ordering::Relaxed) {
            let wanted = (began.elapsed().as_secs_f64() * lines_per_s as f64) as usize;
            let lines: String = (written..wanted).map(log_line).collect();
            written = wanted;
            // A full disk shows in the agent's own figures.
            let _ = file.write_all(lines.as_bytes());
            thread::sleep(TURN);
        }
    }))
}
