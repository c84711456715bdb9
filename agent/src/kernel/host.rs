//! The machine as a whole: CPU time, load, memory. Sources: proc_stat(5), proc_loadavg(5), proc_meminfo(5).

/// CPU time of all CPUs since boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// Running something: user, nice, system, interrupts.
    pub busy: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
    /// All of it, idle and waiting for devices included.
    pub total: u64,
}

/// /proc/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// All CPUs together.
    pub cpu: CpuTimes,
    /// CPUs online.
    pub cpus: u32,
}

/// Parses /proc/stat.
pub fn parse_stat(text: &str) -> Result<Stat, String> {
    let all = text.lines().find_map(|line| line.strip_prefix("cpu ")).ok_or("no line \"cpu\"")?;
    let times: Vec<u64> = all.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    // Guest time (fields 9 and 10) is already in user and nice.
    let [user, nice, system, idle, rest @ ..] = times.as_slice() else {
        return Err("line \"cpu\" has too few numbers".into());
    };
    let at = |i: usize| rest.get(i).copied().unwrap_or(0);
    let (iowait, irq, softirq, steal) = (at(0), at(1), at(2), at(3));
    let busy = user + nice + system + irq + softirq;
    let cpus = text
        .lines()
        .filter(|line| line.strip_prefix("cpu").is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit())));
    Ok(Stat {
        cpu: CpuTimes { busy, steal, total: busy + steal + idle + iowait },
        cpus: u32::try_from(cpus.count()).unwrap_or(u32::MAX),
    })
}

/// /proc/loadavg.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Over one minute.
    pub one: f64,
    /// The process (or thread) id given out last in this pid namespace.
    pub last_pid: u32,
}

/// Parses /proc/loadavg.
pub fn parse_loadavg(text: &str) -> Result<Load, String> {
    let mut words = text.split_ascii_whitespace();
    let one = words.next().and_then(|w| w.parse().ok()).ok_or("no load average")?;
    let last_pid = words.last().and_then(|w| w.parse().ok()).ok_or("no last process id")?;
    Ok(Load { one, last_pid })
}

/// /proc/meminfo, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// MemTotal.
    pub total_bytes: u64,
    /// MemAvailable; MemFree on kernels before 3.14.
    pub available_bytes: u64,
    /// SwapTotal.
    pub swap_total_bytes: u64,
    /// SwapTotal less SwapFree.
    pub swap_used_bytes: u64,
}

/// Parses /proc/meminfo.
pub fn parse_meminfo(text: &str) -> Result<Memory, String> {
    let item = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        kib.checked_mul(1024)
    };
    let swap_total_bytes = item("SwapTotal").unwrap_or(0);
    Ok(Memory {
        total_bytes: item("MemTotal").ok_or("no MemTotal")?,
        available_bytes: item("MemAvailable").or_else(|| item("MemFree")).ok_or("no MemAvailable")?,
        swap_total_bytes,
        swap_used_bytes: swap_total_bytes.saturating_sub(item("SwapFree").unwrap_or(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_machine() {
        let stat = parse_stat(include_str!("../../fixtures/kernel/6.18/stat")).unwrap();
        assert_eq!(stat.cpus, 2);
        assert!(stat.cpu.total > stat.cpu.busy && stat.cpu.busy > 0);
        assert_eq!(
            parse_stat("cpu  10 1 5 100 20 2 3 4 9 9\ncpu0 1 1 1 1\nintr 5\n"),
            Ok(Stat { cpu: CpuTimes { busy: 21, steal: 4, total: 145 }, cpus: 1 })
        );
        assert!(parse_stat("cpu  1 2\n").is_err());
        assert_eq!(parse_loadavg("0.50 0.31 0.27 1/92 15049\n"), Ok(Load { one: 0.5, last_pid: 15049 }));
        let memory =
            parse_meminfo("MemTotal: 100 kB\nMemFree: 5 kB\nMemAvailable: 50 kB\nSwapTotal: 8 kB\nSwapFree: 6 kB\n");
        let expected =
            Memory { total_bytes: 102_400, available_bytes: 51_200, swap_total_bytes: 8192, swap_used_bytes: 2048 };
        assert_eq!(memory, Ok(expected));
    }
}
