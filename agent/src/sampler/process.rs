//! The processes of the watched services: which they are (`matching` over the `table`), what they are made of (`fingerprint`),
//! and their readings through kept descriptors. Never opens anything that stalls or betrays a process: no smaps, no environ.

pub mod fingerprint;
pub mod matching;
pub mod table;

use std::path::Path;

use why502_proto::v1;

use crate::kernel::process::{self, KeptStat, Stat};
use crate::kernel::{Result, clock};

/// Differences are made over at least this stretch: the kernel counts CPU time in ticks of 10 ms.
const STRETCH_US: u64 = 400_000;

/// A limit of descriptors is seldom changed while a process runs: it is read again after so long.
const FD_LIMIT_US: u64 = 10_000_000;

/// A process of a watched service.
#[derive(Debug)]
pub struct Member {
    /// The service, by its place in the list of watched services.
    pub service: usize,
    /// Its id.
    pub pid: u32,
    /// When it started, ticks since boot.
    pub start_ticks: u64,
    /// When it started, unix microseconds, by the clock as it was when the process was found.
    pub started_unix_us: i64,
    /// Its parent's id when last seen.
    pub parent_pid: u32,
    /// Its parent's short name when last seen.
    pub parent_name: String,
    /// Its short name when last seen.
    pub name: String,
    /// Its state when last seen.
    pub state: char,
    /// Its resident memory when last seen, bytes.
    pub rss_bytes: u64,
    /// Its parent is no process of the same instance.
    pub leader: bool,
    /// The digest of its make once it has settled. Empty before, and where it leads nobody.
    pub make: String,
    /// The digest of its make as it started. Empty where it was running already.
    pub first_make: String,
    /// Its descriptors could be read when last tried. None: not tried yet.
    fds_readable: Option<bool>,
    fd_limit: Option<(u64, Option<u64>)>,
    threads: u32,
    stat: Option<KeptStat>,
    base: Option<Base>,
    cpu_ratio: Option<f64>,
    run_delay_ratio: Option<f64>,
}

/// What differences are made against.
#[derive(Debug, Clone, Copy)]
struct Base {
    at_us: u64,
    cpu_ticks: u64,
    run_delay_ns: Option<u64>,
}

/// How closely a process is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// State, CPU, memory, descriptors.
    Usual,
    /// Its threads too, and where it waits.
    Threads,
}

impl Member {
    /// Begins to watch a process. `keep` tells whether its stat file may be held open.
    pub fn new(proc: &Path, service: usize, stat: &Stat, boot_unix_us: i64, keep: bool) -> Self {
        let since_boot_us = stat.start_ticks.saturating_mul(1_000_000) / clock::ticks_per_second();
        let mut member = Self {
            service,
            pid: stat.pid,
            start_ticks: stat.start_ticks,
            started_unix_us: boot_unix_us.saturating_add(i64::try_from(since_boot_us).unwrap_or(i64::MAX)),
            parent_pid: 0,
            parent_name: String::new(),
            name: String::new(),
            state: '?',
            rss_bytes: 0,
            leader: false,
            make: String::new(),
            first_make: String::new(),
            fds_readable: None,
            fd_limit: None,
            threads: 0,
            stat: if keep { KeptStat::open(proc, stat.pid).ok() } else { None },
            base: None,
            cpu_ratio: None,
            run_delay_ratio: None,
        };
        member.take(proc, stat);
        member
    }

    /// Reads its state, CPU and memory again. An error that is `gone` means that it ended.
    pub fn read(&mut self, proc: &Path) -> Result<()> {
        let stat = match &self.stat {
            Some(kept) => kept.read()?,
            None => process::stat(proc, self.pid)?,
        };
        self.take(proc, &stat);
        self.difference(proc, &stat);
        Ok(())
    }

    fn take(&mut self, proc: &Path, stat: &Stat) {
        if stat.parent_pid != self.parent_pid {
            self.parent_pid = stat.parent_pid;
            self.parent_name = process::stat(proc, stat.parent_pid).map(|parent| parent.comm).unwrap_or_default();
        }
        self.name.clone_from(&stat.comm);
        self.state = stat.state;
        self.threads = stat.threads;
        // An ended process holds nothing any more; what it held last is what matters.
        if stat.rss_pages > 0 {
            self.rss_bytes = stat.rss_pages.saturating_mul(clock::page_bytes());
        }
    }

    fn difference(&mut self, proc: &Path, stat: &Stat) {
        let now_us = clock::boottime_us();
        let run_delay_ns = || match &self.stat {
            Some(kept) => kept.run_delay_ns(),
            None => process::run_delay_ns(proc, self.pid),
        };
        let Some(base) = self.base else {
            let run_delay_ns = run_delay_ns();
            self.base = Some(Base { at_us: now_us, cpu_ticks: stat.cpu_ticks, run_delay_ns });
            return;
        };
        let stretch_us = now_us.saturating_sub(base.at_us);
        if stretch_us < STRETCH_US && self.cpu_ratio.is_some() || stretch_us < STRETCH_US / 4 {
            return;
        }
        let run_delay_ns = run_delay_ns();
        let cpu_us =
            stat.cpu_ticks.saturating_sub(base.cpu_ticks).saturating_mul(1_000_000) / clock::ticks_per_second();
        self.cpu_ratio = Some(cpu_us as f64 / stretch_us as f64);
        self.run_delay_ratio = match (run_delay_ns, base.run_delay_ns) {
            (Some(now), Some(before)) => Some(now.saturating_sub(before) as f64 / 1000.0 / stretch_us as f64),
            _ => None,
        };
        self.base = Some(Base { at_us: now_us, cpu_ticks: stat.cpu_ticks, run_delay_ns });
    }

    /// Ended, though its parent has not taken note.
    pub fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Stopped by a signal or a debugger, or waiting without a way to wake it.
    pub fn looks_stuck(&self) -> bool {
        matches!(self.state, 'T' | 't' | 'D')
    }

    /// CPU used over the last stretch, in CPUs.
    pub fn cpu_ratio(&self) -> f64 {
        self.cpu_ratio.unwrap_or(0.0)
    }

    fn fd_limit(&mut self, proc: &Path) -> Option<u64> {
        let now_us = clock::boottime_us();
        if let Some((read_us, limit)) = self.fd_limit
            && now_us.saturating_sub(read_us) < FD_LIMIT_US
        {
            return limit;
        }
        // Unlimited counts as the largest number, so that "could not be read" stays apart.
        let limit = process::fd_limit(proc, self.pid).ok().map(|limit| limit.unwrap_or(u64::MAX));
        self.fd_limit = Some((now_us, limit));
        limit
    }

    /// Its readings as last taken, with its descriptors, and its threads where asked for.
    pub fn sample(&mut self, proc: &Path, closeness: Closeness) -> v1::ProcessSample {
        let fds = process::fd_count(proc, self.pid, self.fds_readable == Some(true));
        match &fds {
            Ok(_) => self.fds_readable = Some(true),
            Err(error) if !error.gone() => self.fds_readable = Some(!error.denied()),
            Err(_) => {}
        }
        let close = closeness == Closeness::Threads || self.looks_stuck();
        v1::ProcessSample {
            pid: self.pid,
            parent_pid: self.parent_pid,
            started_unix_us: self.started_unix_us,
            name: self.name.clone(),
            state: self.state.to_string(),
            cpu_ratio: self.cpu_ratio,
            run_delay_ratio: self.run_delay_ratio,
            rss_bytes: self.rss_bytes,
            threads: self.threads,
            thread_states: if close {
                process::thread_states(proc, self.pid).unwrap_or_default()
            } else {
                String::new()
            },
            fds: fds.ok(),
            fd_limit: self.fd_limit(proc),
            leader: self.leader,
            waits_in: if close { process::wchan(proc, self.pid) } else { String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    const PROC: &str = "/proc";

    fn until(member: &mut Member, what: impl Fn(&Member) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what(member) {
            assert!(Instant::now() < deadline, "{member:?}");
            member.read(Path::new(PROC)).unwrap();
            std::thread::yield_now();
        }
    }

    #[test]
    fn sees_a_process_spin_stop_and_end() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let stat = process::stat(Path::new(PROC), child.id()).unwrap();
        let mut member = Member::new(Path::new(PROC), 0, &stat, clock::boot_unix_us(), true);
        assert!((member.started_unix_us - clock::realtime_us()).abs() < 10_000_000);
        until(&mut member, |m| m.cpu_ratio.is_some_and(|cpu| cpu > 0.05));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGSTOP).unwrap();
        until(&mut member, |m| m.state == 'T');
        let sample = member.sample(Path::new(PROC), Closeness::Usual);
        assert_eq!((sample.state.as_str(), sample.thread_states.as_str(), sample.pid), ("T", "T:1", child.id()));
        assert!(sample.fds.is_some_and(|fds| fds >= 3) && sample.fd_limit.is_some());
        child.kill().unwrap();
        until(&mut member, Member::ended);
        assert!(member.rss_bytes > 0, "what it held last is kept");
        child.wait().unwrap();
        assert!(member.read(Path::new(PROC)).unwrap_err().gone());
    }
}
