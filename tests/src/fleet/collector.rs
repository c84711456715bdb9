//! A collector of one's own to measure: started, weighed, asked, killed and started again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

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
        let (config, began) = (Self::configure(dir, ports)?, Instant::now());
        let mut program = Command::new(programs::why502());
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

    /// The ports of its addresses.
    pub fn ports(&self) -> (u16, u16) {
        let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        (port(&self.ingest), port(&self.api))
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:").unwrap_or(0) * 1024
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
        let told = |error: std::io::Error| format!("GET {path}: {error}");
        let began = Instant::now();
        let mut stream = TcpStream::connect(self.api.trim_start_matches("http://")).map_err(told)?;
        stream.set_read_timeout(Some(ANSWER)).map_err(told)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: why502\r\nconnection: close\r\n\r\n").map_err(told)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(told)?;
        match answer.starts_with(b"HTTP/1.1 200") {
            true => Ok((began.elapsed(), answer.len())),
            false => Err(format!(
                "GET {path}: {}",
                String::from_utf8_lossy(answer.get(..200.min(answer.len())).unwrap_or_default())
            )),
        }
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
