//! Readings of the host as a whole, with differences over the stretch since the reading before. What can't be read is absent,
//! never zero. File systems across a network are left out: asking a dead server for its room never returns.

mod mounts;

use std::collections::BTreeMap;
use std::path::Path;

use why502_proto::v1;

use super::Status;
use crate::clock::unix_now_us;
use crate::kernel::host::{self, CpuTimes};
use crate::kernel::kept::Kept;
use crate::kernel::link::{Link, Links};
use crate::kernel::net::{self, Counters};
use crate::kernel::pressure::{self, Stall};
use crate::kernel::{Error, clock};
use mounts::Mounts;

/// Most interfaces that are told.
const INTERFACE_LIMIT: usize = 64;

/// Keeps the readings before, for differences.
#[derive(Debug)]
pub struct HostSampler {
    stat: Kept,
    meminfo: Kept,
    loadavg: Kept,
    pressure: [Kept; 3],
    net: net::Files,
    mounts: Mounts,
    links: Option<Links>,
    before: Option<Before>,
    resent: bool,
    faults: Vec<String>,
}

#[derive(Debug, Default)]
struct Before {
    at_us: u64,
    cpu: Option<CpuTimes>,
    stalls: [Option<Stall>; 3],
    net: Option<Counters>,
    links: BTreeMap<u32, (u64, u64)>,
}

impl HostSampler {
    /// Nothing is read yet.
    pub fn new(proc: &Path) -> Self {
        let at = |name: &str| Kept::new(proc.join(name));
        Self {
            stat: at("stat"),
            meminfo: at("meminfo"),
            loadavg: at("loadavg"),
            pressure: [at("pressure/cpu"), at("pressure/memory"), at("pressure/io")],
            net: net::Files::new(proc),
            mounts: Mounts::new(proc),
            links: Links::open().ok(),
            before: None,
            resent: false,
            faults: Vec::new(),
        }
    }

    /// Whether something was sent again before the last reading, as nobody had acknowledged it in time.
    pub fn resent(&self) -> bool {
        self.resent
    }

    /// How well the last reading saw.
    pub fn status(&self) -> Status {
        match self.faults.as_slice() {
            [] => Status::Active,
            faults => Status::Degraded(format!("could not read {}", faults.join("; "))),
        }
    }

    /// Reads the host. `writers` are the watched services, each with a process of it whose mounts count.
    pub fn sample(&mut self, writers: &[(String, u32)]) -> v1::HostSample {
        self.faults.clear();
        let now_us = clock::boottime_us();
        let before = self.before.take();
        let stretch_us = before.as_ref().map_or(0, |b| now_us.saturating_sub(b.at_us));
        let (stat, memory) = (self.stat.read_with(host::parse_stat), self.meminfo.read_with(host::parse_meminfo));
        let (load, counters) = (self.loadavg.read_with(host::parse_loadavg), self.net.counters());
        let (stat, memory, load, counters) = (self.ok(stat), self.ok(memory), self.ok(load), self.ok(counters));
        let stalls = self.pressure.each_mut().map(|file| file.read_with(pressure::parse).ok());
        let links = self.links();
        let cpu = stat.map(|s| s.cpu);
        let cpu_share = cpu.zip(before.as_ref().and_then(|b| b.cpu)).and_then(|(now, before)| cpu_shares(now, before));
        let conntrack = self.net.conntrack();
        // Nothing is dropped for want of room before the table is nearly full.
        let nearly_full = conntrack.is_some_and(|(count, max)| count.saturating_mul(10) >= max.saturating_mul(9));
        let sample = v1::HostSample {
            at_unix_us: unix_now_us(),
            stretch_us,
            cpu_busy_ratio: cpu_share.map(|(busy, _)| busy),
            cpu_steal_ratio: cpu_share.map(|(_, steal)| steal),
            cpus: stat.map_or(0, |s| s.cpus),
            load1: load.map(|l| l.one),
            mem_total_bytes: memory.map(|m| m.total_bytes),
            mem_available_bytes: memory.map(|m| m.available_bytes),
            swap_total_bytes: memory.map(|m| m.swap_total_bytes),
            swap_used_bytes: memory.map(|m| m.swap_used_bytes),
            pressure: before.as_ref().and_then(|b| host_pressure(&stalls, &b.stalls, stretch_us)),
            uptime_us: now_us,
            mounts: self.mounts.sample(writers),
            interfaces: interfaces(&links, before.as_ref().map(|b| &b.links)),
            net: counters.zip(before.as_ref().and_then(|b| b.net)).map(|(now, before)| net_differences(&now, &before)),
            conntrack_count: conntrack.map(|(count, _)| count),
            conntrack_max: conntrack.map(|(_, max)| max),
            conntrack_dropped: if nearly_full { self.net.conntrack_dropped().ok() } else { None },
            time_wait: self.net.time_wait().ok(),
            local_ports: self.net.local_ports().unwrap_or(0),
            default_route: self.net.default_route(),
        };
        let links = links.iter().map(|l| (l.index, (l.rx_bad, l.tx_bad))).collect();
        self.resent = sample.net.as_ref().is_some_and(|net| net.timeouts > 0);
        self.before = Some(Before { at_us: now_us, cpu, stalls, net: counters, links });
        sample
    }

    fn ok<T>(&mut self, reading: Result<T, Error>) -> Option<T> {
        reading.map_err(|error| self.faults.push(error.to_string())).ok()
    }

    fn links(&mut self) -> Vec<Link> {
        let Some(links) = &mut self.links else {
            self.faults.push("rtnetlink: no socket; allow AF_NETLINK to the agent".to_owned());
            return Vec::new();
        };
        let dumped = links.dump();
        self.ok(dumped).unwrap_or_default()
    }
}

/// Shares of busy and stolen time.
fn cpu_shares(now: CpuTimes, before: CpuTimes) -> Option<(f64, f64)> {
    // Idle time may run backwards a little on some kernels; a stretch without time tells nothing.
    let total = now.total.checked_sub(before.total).filter(|total| *total > 0)? as f64;
    let share = |now: u64, before: u64| (now.saturating_sub(before) as f64 / total).min(1.0);
    Some((share(now.busy, before.busy), share(now.steal, before.steal)))
}

fn host_pressure(now: &[Option<Stall>; 3], before: &[Option<Stall>; 3], stretch_us: u64) -> Option<v1::Pressure> {
    if stretch_us == 0 || now.iter().all(Option::is_none) {
        return None;
    }
    let share = |now: u64, before: u64| (now.saturating_sub(before) as f64 / stretch_us as f64).min(1.0);
    let some = |i: usize| Some(share(now[i]?.some_us, before[i]?.some_us));
    let full = |i: usize| Some(share(now[i]?.full_us?, before[i]?.full_us?));
    Some(v1::Pressure {
        cpu_some_ratio: some(0),
        memory_some_ratio: some(1),
        memory_full_ratio: full(1),
        io_some_ratio: some(2),
        io_full_ratio: full(2),
    })
}

fn net_differences(now: &Counters, before: &Counters) -> v1::NetCounters {
    let difference = |of: fn(&Counters) -> u64| of(now).saturating_sub(of(before));
    v1::NetCounters {
        listen_overflows: difference(|c| c.listen_overflows),
        listen_drops: difference(|c| c.listen_drops),
        syn_retransmits: difference(|c| c.syn_retransmits),
        retransmits: difference(|c| c.retransmits),
        segments_out: difference(|c| c.segments_out),
        established_resets: difference(|c| c.established_resets),
        resets_out: difference(|c| c.resets_out),
        timeouts: difference(|c| c.timeouts),
        abort_on_close: difference(|c| c.abort_on_close),
        attempt_fails: difference(|c| c.attempt_fails),
        unreachables_out: difference(|c| c.unreachables_out),
        unreachables_in: difference(|c| c.unreachables_in),
    }
}

fn interfaces(links: &[Link], before: Option<&BTreeMap<u32, (u64, u64)>>) -> Vec<v1::InterfaceSample> {
    let rise = |link: &Link, now: u64, which: fn(&(u64, u64)) -> u64| {
        before.and_then(|b| b.get(&link.index)).map_or(0, |old| now.saturating_sub(which(old)))
    };
    let wanted = links.iter().filter(|link| !link.loopback).take(INTERFACE_LIMIT);
    let sample = |link: &Link| v1::InterfaceSample {
        name: link.name.clone(),
        carrier: link.carrier,
        operstate: link.operstate.clone(),
        addresses: link.addresses.clone(),
        rx_bad: rise(link, link.rx_bad, |old| old.0),
        tx_bad: rise(link, link.tx_bad, |old| old.1),
        admin_up: link.admin_up,
    };
    wanted.map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_host_twice() {
        let mut sampler = HostSampler::new(Path::new("/proc"));
        let writers = [("api".to_owned(), std::process::id())];
        let first = sampler.sample(&writers);
        assert!(first.stretch_us == 0 && first.net.is_none() && first.cpu_busy_ratio.is_none());
        assert!(first.mem_total_bytes > Some(0) && first.cpus > 0 && first.uptime_us > 0);
        let root = first.mounts.iter().find(|m| m.path == "/").expect("the root");
        assert_eq!(root.services, if root.read_only { vec![] } else { vec!["api".to_owned()] });
        // Waits until the kernel has counted a tick.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let second = loop {
            let sample = sampler.sample(&writers);
            if sample.cpu_busy_ratio.is_some() || std::time::Instant::now() > deadline {
                break sample;
            }
        };
        assert!(second.stretch_us > 0 && second.net.is_some());
        assert!(second.cpu_busy_ratio.is_some_and(|busy| (0.0..=1.0).contains(&busy)));
        assert_eq!(sampler.status(), Status::Active);
    }

    #[test]
    fn shares_are_of_the_stretch() {
        let at = |busy, steal, total| CpuTimes { busy, steal, total };
        assert_eq!(cpu_shares(at(150, 20, 300), at(100, 10, 200)), Some((0.5, 0.1)));
        assert_eq!(cpu_shares(at(1, 1, 5), at(1, 1, 5)), None);
    }
}
