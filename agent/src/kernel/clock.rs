//! The three clocks that matter: real time (may be stepped), time since boot (with suspend), and the kernel's tick in which
//! /proc counts. Sources: clock_gettime(2), sysconf(3), proc_pid_stat(5).

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

/// CLOCK_BOOTTIME, microseconds since boot. 0 where the kernel has none (before 2.6.39).
pub fn boottime_us() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| micros(t.tv_sec(), t.tv_nsec()))
}

/// The kernel's boot id, a new one at each boot. Empty where it can't be read.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// CLOCK_REALTIME, microseconds since 1970.
pub fn realtime_us() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(0, |t| i64::try_from(micros(t.tv_sec(), t.tv_nsec())).unwrap_or(i64::MAX))
}

/// CPU time that this program has used (CLOCK_PROCESS_CPUTIME_ID).
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn micros(seconds: i64, nanos: i64) -> u64 {
    u64::try_from(seconds)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
        .saturating_add(u64::try_from(nanos).unwrap_or(0) / 1000)
}

/// Real time less time since boot, microseconds: when this host booted, by its present clock. It changes when the clock is
/// stepped; slewing bends both alike.
pub fn boot_unix_us() -> i64 {
    realtime_us() - i64::try_from(boottime_us()).unwrap_or(0)
}

/// Ticks a second in /proc/PID/stat (_SC_CLK_TCK).
pub fn ticks_per_second() -> u64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(100)
}

/// Bytes in a page (_SC_PAGESIZE).
pub fn page_bytes() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_agree_with_uptime() {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime_s: f64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!((boottime_us() as f64 / 1e6 - uptime_s).abs() < 5.0);
        assert!(boot_unix_us() > 0);
        assert!(ticks_per_second() >= 100);
    }
}
