//! A collector of one's own to measure: started, weighed, asked, killed and started again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use why502::identity::authority::Authority;

use super::entrance::Entrance;
use crate::programs;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Where a collector with its store below `dir` keeps its CA.
fn identity_dir(dir: &Path) -> PathBuf {
    dir.join("store/identity")
}

/// A running collector.
pub struct Collector {
    child: Child,
    /// Where agents connect.
    pub ingest: String,
    /// Where questions come in.
    pub api: String,
    /// From its start until it served.
    pub started_in: Duration,
}

impl Collector {
    /// Starts one with its store in `dir` and waits until it serves; `ports` are free ones, or those of the one before.
    pub fn start(dir: &Path, ports: (u16, u16)) -> Result<Self, String> {
        Self::start_by(programs::mortal(programs::why502()), dir, ports)
    }

    /// Starts one that agents reach over TLS, with a CA of its own, and with so many descriptors at the most.
    pub fn start_guarded(dir: &Path, descriptors: Option<u64>) -> Result<Self, String> {
        Self::give_authority(dir)?;
        let mut program = programs::mortal(programs::why502());
        if let Some(descriptors) = descriptors {
            program = programs::mortal("prlimit");
            program.arg(format!("--nofile={descriptors}:{descriptors}")).arg(programs::why502());
        }
        Self::start_by(program, dir, (0, 0))
    }

    fn give_authority(dir: &Path) -> Result<(), String> {
        let identity = identity_dir(dir);
        fs::create_dir_all(&identity).map_err(|error| format!("{}: {error}", identity.display()))?;
        Authority::create(&identity)
    }

    fn start_by(mut program: Command, dir: &Path, ports: (u16, u16)) -> Result<Self, String> {
        let (config, began) = (Self::configure(dir, ports)?, Instant::now());
        program.arg("serve").arg("--config").arg(config).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = program.spawn().map_err(|error| format!("start {}: {error}", programs::why502().display()))?;
        let Some(stderr) = child.stderr.take() else { return Err("it has no standard error".to_owned()) };
        let mut lines = BufReader::new(stderr).lines();
        let mut said = |what: &str| loop {
            let line =
                lines.next().ok_or("the collector ended before it served")?.map_err(|error| error.to_string())?;
            if let Some((_, address)) = line.split_once(what) {
                return Ok::<String, String>(address.trim().to_owned());
            }
        };
        let (ingest, api) = (said("ingest listening on ")?, said("api listening on ")?);
        // On its own machine questions are answered in plain text beside TLS.
        let api = api.replacen("https://", "http://", 1);
        let started_in = began.elapsed();
        let log = dir.join("collector.log");
        // Its later lines must go somewhere, or it would stop at a full pipe.
        std::thread::spawn(move || {
            let Ok(mut log) = fs::File::options().create(true).append(true).open(log) else { return };
            lines.map_while(Result::ok).for_each(|line| drop(writeln!(log, "{line}")));
        });
        Ok(Self { child, ingest, api, started_in })
    }

    fn configure(dir: &Path, (ingest, api): (u16, u16)) -> Result<PathBuf, String> {
        let path = dir.join("collector.toml");
        let store = dir.join("store");
        let text = format!(
            "[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n[store]\ndir = {store:?}\n"
        );
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How agents come in, its store being in `dir`.
    pub fn entrance(&self, dir: &Path) -> Result<Entrance, String> {
        Entrance::at(&self.ingest, &identity_dir(dir))
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// Its threads.
    pub fn threads(&self) -> u64 {
        self.status("Threads:").unwrap_or(0)
    }

    /// The ports of its addresses.
    pub fn ports(&self) -> (u16, u16) {
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        (port(&self.ingest), port(&self.api))
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:").unwrap_or(0) * 1024
    }

    /// The most that was resident since it was forgotten, bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:").unwrap_or(0) * 1024
    }

    /// Forgets how much was resident at the most.
    pub fn forget_peak(&self) -> Result<(), String> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").map_err(|error| format!("{path}: {error}"))
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// CPU used since its start, seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|one| one.parse::<u64>().ok()).sum();
        // The kernel's USER_HZ is 100 on every architecture that it runs on.
        ticks as f64 / 100.0
    }

    /// Asks for a document over HTTP; gives how long the answer took and how large it was, bytes.
    pub fn ask(&self, path: &str) -> Result<(Duration, usize), String> {
        let began = Instant::now();
        let answer = self.get(path)?;
        Ok((began.elapsed(), answer.len()))
    }

    /// A document, as it is told over HTTP.
    pub fn document(&self, path: &str) -> Result<Value, String> {
        let answer = self.get(path)?;
        let body = answer.windows(4).position(|four| four == b"\r\n\r\n").and_then(|at| answer.get(at + 4..));
        serde_json::from_slice(body.unwrap_or_default()).map_err(|error| format!("GET {path}: {error}"))
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, String> {
        let told = |error: std::io::Error| format!("GET {path}: {error}");
        let mut stream = TcpStream::connect(self.api.trim_start_matches("http://")).map_err(told)?;
        stream.set_read_timeout(Some(ANSWER)).map_err(told)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: why502\r\nconnection: close\r\n\r\n").map_err(told)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(told)?;
        match answer.starts_with(b"HTTP/1.1 200") {
            true => Ok(answer),
            false => Err(format!(
                "GET {path}: {}",
                String::from_utf8_lossy(answer.get(..200.min(answer.len())).unwrap_or_default())
            )),
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<(), String> {
        let pid = i32::try_from(self.child.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| format!("end the collector: {error}"))?;
        self.child.wait().map(drop).map_err(|error| format!("end the collector: {error}"))
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end();
    }
}
