//! `bench limit`: a host beyond what an agent is made for (20,000 processes, 100,000 sockets), and then a gigabyte of log at
//! once. The agent must stay small and cheap all the same, and say that it looks more seldom.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use super::agent::Parts;
use super::host::{self, Host};
use super::{Options, meter, percent};
use crate::lab::{Doing, Done, enter};
use crate::programs;

/// Any stretch of this length counts.
const STRETCH: Duration = Duration::from_secs(10);
/// The first look at so many processes is not measured.
const WARM_UP: Duration = Duration::from_secs(20);
/// Stretches measured with and without the burst.
const STRETCHES: usize = 4;
/// Share of a core in any stretch, percent.
const MOST_PERCENT: f64 = 5.0;
/// Resident memory at the end of any stretch, bytes.
const MOST_BYTES: u64 = 32 << 20;
/// The burst, bytes.
const BURST_BYTES: usize = 1_000_000_000;

/// Makes the host in namespaces of its own.
pub fn run(arguments: &[String]) -> Done<ExitCode> {
    Options::parse(arguments, &[])?;
    let own = std::env::current_exe().doing("own path")?;
    let status = Command::new(own).args(["--enter", enter::STORY, "--limit-on"]).status().doing("start the host")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Is the process 1 of the host: builds it, measures, judges.
pub fn on_host() -> Done<ExitCode> {
    enter::settle()?;
    Command::new("ip").args(["link", "set", "lo", "up"]).status().doing("ip")?;
    let dir = tempfile::tempdir().doing("folder")?;
    let host = Host::build(host::L, dir.path())?;
    let mut parts = Parts::start(&host, dir.path(), 1)?;
    thread::sleep(WARM_UP);
    println!("host L: {} processes, {} sockets; interval 1 s", host::L.processes, host::L.sockets);
    let mut held = stretches(&parts, "at rest")?;
    burst(&host.log)?;
    held &= stretches(&parts, "1 GB of log at once")?;
    let said = told(&parts)?;
    println!("  why502 hosts: {said}");
    held &= said.contains("interval stretched");
    parts.still_runs()?;
    println!("{}", if held { "held" } else { "NOT HELD" });
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures some stretches, prints the worst, and says whether it holds.
fn stretches(parts: &Parts, name: &str) -> Done<bool> {
    let (mut most_percent, mut most_bytes) = (0.0_f64, 0);
    for _ in 0..STRETCHES {
        let before = meter::cpu(parts.agent_pid()).ok_or("the agent is gone")?;
        thread::sleep(STRETCH);
        let after = meter::cpu(parts.agent_pid()).ok_or("the agent is gone")?;
        most_percent = most_percent.max(percent(after.saturating_sub(before), STRETCH));
        most_bytes = most_bytes.max(meter::rss_bytes(parts.agent_pid()));
    }
    println!(
        "  {name}: at most {most_percent:.2} % of a core in any 10 s (limit {MOST_PERCENT} %), {:.1} MiB resident (limit {} MiB)",
        most_bytes as f64 / 1_048_576.0,
        MOST_BYTES >> 20
    );
    Ok(most_percent <= MOST_PERCENT && most_bytes <= MOST_BYTES)
}

fn burst(log: &Path) -> Done {
    let mut file = OpenOptions::new().append(true).open(log).doing("access log")?;
    let lines: String = (0..10_000).map(host::log_line).collect();
    for _ in 0..BURST_BYTES / lines.len() {
        file.write_all(lines.as_bytes()).doing("write the burst")?;
    }
    Ok(())
}

/// What the agent says of its pace, as the collector tells it.
fn told(parts: &Parts) -> Done<String> {
    let out = Command::new(programs::why502())
        .args(["hosts", "--json", "--collector", &format!("http://{}", parts.api)])
        .output()
        .doing("why502 hosts")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = text.split('"').find(|text| text.starts_with("interval stretched"));
    Ok(said.unwrap_or("nothing of its pace").to_owned())
}
