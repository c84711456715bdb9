//! The readings in a VictoriaMetrics of one's own, by InfluxDB's line protocol, one request for each moment.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lines::Lines;
use super::{Cost, Load, folder_bytes};
use crate::bench::meter;
use crate::lab::{Doing, Done};

/// How long it may take to start, to answer and to end.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts one, hands it everything and lets it write all to the disk. None: it is not installed.
pub fn keep(load: &Load) -> Done<Option<Cost>> {
    let dir = tempfile::tempdir().doing("folder")?;
    let Some(mut server) = Server::start(dir.path())? else { return Ok(None) };
    let idle = server.cpu()?;
    for number in 1..=load.reports {
        let lines: String = load.hosts.iter().map(|host| Lines::of(host, &load.report(host, number)).text).collect();
        server.ask("POST", "/write?precision=ms", &lines)?;
    }
    server.ask("GET", "/internal/force_flush", "")?;
    server.ask("GET", "/internal/force_merge", "")?;
    server.wait_merged()?;
    let cpu = server.cpu()?.saturating_sub(idle);
    server.end()?;
    Ok(Some(Cost { cpu, bytes: folder_bytes(dir.path()) }))
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> Done<Option<Self>> {
        // It can't tell which port it was given, so a free one is looked for.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).doing("free port")?;
        let address = free.to_string();
        let spawned = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", dir.display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-retentionPeriod=1", "-loggerLevel=ERROR"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("start victoria-metrics: {error}")),
        };
        let server = Self { child, address };
        let began = Instant::now();
        while server.ask("GET", "/health", "").is_err() {
            if began.elapsed() > LIMIT {
                return Err("victoria-metrics does not answer".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(server))
    }

    /// The text of its answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> Done<String> {
        let mut stream = TcpStream::connect(&self.address).doing("connect to victoria-metrics")?;
        stream.set_read_timeout(Some(LIMIT)).doing("victoria-metrics")?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).doing("ask victoria-metrics")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).doing("victoria-metrics")?;
        if answer.starts_with("HTTP/1.1 2") {
            Ok(answer)
        } else {
            Err(format!("victoria-metrics {path}: {}", answer.lines().next().unwrap_or("no answer")))
        }
    }

    /// Waits until nothing is merged any more.
    fn wait_merged(&self) -> Done {
        let began = Instant::now();
        let is_merging = |metrics: &str| {
            let active =
                |line: &&str| line.starts_with("vm_active_merges") || line.starts_with("vm_active_force_merges");
            metrics.lines().filter(active).any(|line| !line.ends_with(" 0"))
        };
        // It begins a moment after it was asked to.
        thread::sleep(Duration::from_secs(1));
        while is_merging(&self.ask("GET", "/metrics", "")?) {
            if began.elapsed() > LIMIT {
                return Err("victoria-metrics merges without end".to_owned());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn cpu(&self) -> Done<Duration> {
        Ok(meter::cpu(self.child.id()).ok_or("victoria-metrics is gone")?)
    }

    /// Has it write everything and end.
    fn end(&mut self) -> Done {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).doing("pid")?);
        kill(pid, Signal::SIGTERM).doing("end victoria-metrics")?;
        self.child.wait().map(drop).doing("end victoria-metrics")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = (self.child.kill(), self.child.wait());
    }
}
