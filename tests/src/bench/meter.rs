//! What a program costs: CPU time of it and its descendants by the kernel's own clocks, and memory with shared pages divided.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Looks at a program and everything it started.
pub struct Meter {
    pid: u32,
    began: Instant,
    at_first: BTreeMap<u32, Duration>,
}

/// What was seen over a stretch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// CPU time.
    pub cpu: Duration,
    /// The stretch.
    pub over: Duration,
    /// Proportional set size at the end, bytes.
    pub pss_bytes: u64,
    /// Resident set size at the end, bytes.
    pub rss_bytes: u64,
}

impl Meter {
    /// Begins to look.
    pub fn start(pid: u32) -> Self {
        Self { pid, began: Instant::now(), at_first: clocks(pid) }
    }

    /// What it cost since the beginning. Of a descendant that ended meanwhile nothing is counted.
    pub fn cost(&self) -> Cost {
        let used =
            |(pid, now): (&u32, &Duration)| now.saturating_sub(self.at_first.get(pid).copied().unwrap_or_default());
        let now = clocks(self.pid);
        Cost {
            cpu: now.iter().map(used).sum(),
            over: self.began.elapsed(),
            pss_bytes: now.keys().map(|pid| memory_bytes(*pid, "smaps_rollup", "Pss:")).sum(),
            rss_bytes: now.keys().map(|pid| memory_bytes(*pid, "status", "VmRSS:")).sum(),
        }
    }
}

/// The CPU time that each process of a tree has used.
fn clocks(root: u32) -> BTreeMap<u32, Duration> {
    let parents: BTreeMap<u32, u32> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let belongs = |pid: u32| {
        let mut at = pid;
        while at != root {
            match parents.get(&at) {
                Some(above) => at = *above,
                None => return false,
            }
        }
        true
    };
    parents.keys().copied().filter(|pid| belongs(*pid)).filter_map(|pid| Some((pid, clock(pid)?))).collect()
}

/// The CPU time that one process has used. None: it is gone.
pub fn cpu(pid: u32) -> Option<Duration> {
    clock(pid)
}

/// Its resident set size, bytes.
pub fn rss_bytes(pid: u32) -> u64 {
    memory_bytes(pid, "status", "VmRSS:")
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn clock(pid: u32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

fn memory_bytes(pid: u32, file: &str, item: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(item)).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
