//! Readings of one subject at one time. An absent field was not read: missing is not zero.

use serde::{Deserialize, Serialize};

/// The host as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostSample {
    /// The agent's clock at the reading, unix microseconds.
    pub at_us: i64,
    /// The stretch that rates and differences below speak of, microseconds. 0 in the first sample: they are absent then.
    pub stretch_us: u64,
    /// Share of all CPUs that was busy, 0 to 1.
    pub cpu_busy_ratio: Option<f64>,
    /// Share of all CPUs that the hypervisor took, 0 to 1.
    pub cpu_steal_ratio: Option<f64>,
    /// CPUs online.
    pub cpus: u32,
    /// Load average of one minute.
    pub load1: Option<f64>,
    /// Memory, bytes.
    pub mem_total_bytes: Option<u64>,
    /// What could be given to a program without swapping (MemAvailable), bytes.
    pub mem_available_bytes: Option<u64>,
    /// Swap, bytes; 0 where there is none.
    pub swap_total_bytes: Option<u64>,
    /// Swap in use, bytes.
    pub swap_used_bytes: Option<u64>,
    /// Pressure stall shares. Absent where the kernel has no PSI.
    pub pressure: Option<Pressure>,
    /// Seconds since boot of this host, microseconds.
    pub uptime_us: u64,
    /// Mounts that watched services write to, and the root.
    pub mounts: Vec<MountSample>,
    /// Network interfaces but loopback.
    pub interfaces: Vec<InterfaceSample>,
    /// Kernel network counters, differences over the stretch. Absent in the first sample.
    pub net: Option<NetCounters>,
    /// Connections tracked (nf_conntrack_count). Absent where conntrack is not loaded.
    pub conntrack_count: Option<u64>,
    /// Most connections tracked (nf_conntrack_max).
    pub conntrack_max: Option<u64>,
    /// Packets that were not let through since the host's start because their connection could not be tracked. Absent where
    /// not read, as while the table has room.
    pub conntrack_dropped: Option<u64>,
    /// Sockets in TIME_WAIT. Absent where not read.
    pub time_wait: Option<u64>,
    /// Local ports that outgoing connections may use. 0: not read.
    pub local_ports: u32,
    /// Whether this host has a default route, by IPv4 or IPv6. Absent where not read.
    pub default_route: Option<bool>,
}

impl HostSample {
    /// The addresses of all its interfaces.
    pub fn addresses(&self) -> impl Iterator<Item = &String> {
        self.interfaces.iter().flat_map(|interface| &interface.addresses)
    }
}

/// Pressure stall information: share of the stretch in which tasks waited, 0 to 1 (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited for CPU.
    pub cpu_some_ratio: Option<f64>,
    /// Some task waited for memory.
    pub memory_some_ratio: Option<f64>,
    /// All tasks waited for memory.
    pub memory_full_ratio: Option<f64>,
    /// Some task waited for a device.
    pub io_some_ratio: Option<f64>,
    /// All tasks waited for a device.
    pub io_full_ratio: Option<f64>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MountSample {
    /// Where it is mounted.
    pub path: String,
    /// Its size, bytes.
    pub total_bytes: u64,
    /// Free for unprivileged writers, bytes.
    pub available_bytes: u64,
    /// Inodes in all; 0 where the file system does not count them.
    pub total_inodes: u64,
    /// Inodes free.
    pub available_inodes: u64,
    /// Services that can write to it.
    pub services: Vec<String>,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InterfaceSample {
    /// Its name.
    pub name: String,
    /// Physical link present. Absent where the kernel does not tell (interface down).
    pub carrier: Option<bool>,
    /// Operational state as the kernel writes it: "up", "down", "unknown", "lowerlayerdown" ...
    pub operstate: String,
    /// Its addresses, without prefix length.
    pub addresses: Vec<String>,
    /// Received packets dropped or in error over the stretch.
    pub rx_bad: u64,
    /// Sent packets dropped or in error over the stretch.
    pub tx_bad: u64,
    /// Administratively up (IFF_UP).
    pub admin_up: bool,
}

/// Kernel TCP counters, differences over the stretch (/proc/net/netstat and /proc/net/snmp).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NetCounters {
    /// Connections that found the accept queue full.
    pub listen_overflows: u64,
    /// Connections dropped at a listener for any reason.
    pub listen_drops: u64,
    /// SYNs sent again.
    pub syn_retransmits: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Segments sent.
    pub segments_out: u64,
    /// Established connections that were reset.
    pub established_resets: u64,
    /// Resets sent.
    pub resets_out: u64,
    /// Retransmission timers that ran out.
    pub timeouts: u64,
    /// Connections closed with data unread.
    pub abort_on_close: u64,
    /// Connection attempts that failed.
    pub attempt_fails: u64,
    /// ICMP messages "destination unreachable" sent (IPv4).
    pub unreachables_out: u64,
    /// ICMP messages "destination unreachable" received (IPv4).
    pub unreachables_in: u64,
}

/// A service on this host: all processes that match it, taken together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InstanceSample {
    /// The service's name.
    pub service: String,
    /// The agent's clock at the reading, unix microseconds.
    pub at_us: i64,
    /// Processes that match. 0: none runs.
    pub process_count: u32,
    /// The most telling of them, at most 16: leaders first, then the busiest.
    pub processes: Vec<ProcessSample>,
    /// Sockets that its processes listen on.
    pub listeners: Vec<ListenerSample>,
    /// The control group of its first leader. Absent where not read.
    pub cgroup: Option<CgroupSample>,
    /// Whether its sockets could be read; false: an empty list of listeners means nothing.
    pub listeners_known: bool,
    /// The systemd unit of its leader, empty where none.
    pub unit: String,
}

impl InstanceSample {
    /// Its control group is frozen.
    pub fn is_frozen(&self) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.frozen == Some(true))
    }

    /// Where none of its living processes may run because a signal or a debugger stopped them: the first of these.
    pub fn stopped_process(&self) -> Option<&ProcessSample> {
        let stopped = |process: &ProcessSample| matches!(process.state.as_str(), "T" | "t");
        let mut living = self.processes.iter().filter(|process| process.state != "Z").peekable();
        let first = living.peek().copied();
        first.filter(|_| living.all(stopped))
    }
}

/// One process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessSample {
    /// Its id in the agent's pid namespace.
    pub pid: u32,
    /// Its parent's id.
    pub parent_pid: u32,
    /// When it started, unix microseconds.
    pub started_us: i64,
    /// Its short name (comm).
    pub name: String,
    /// One letter as in proc_pid_stat(5): R S D T t Z X I.
    pub state: String,
    /// CPU used over the stretch, in CPUs (1.0: one CPU all the time). Absent in its first sample.
    pub cpu_ratio: Option<f64>,
    /// Time spent waiting for a CPU over the stretch, in waiting threads (/proc/PID/schedstat of the main thread). Absent where not read.
    pub run_delay_ratio: Option<f64>,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Threads by state, read only where the process looks stuck: such as "S:11 D:1". Empty where not read.
    pub thread_states: String,
    /// Open descriptors. Absent where they can't be read.
    pub fds: Option<u32>,
    /// Soft limit of open descriptors. Absent where it can't be read.
    pub fd_limit: Option<u64>,
    /// True where its parent is not a process of the same instance.
    pub leader: bool,
    /// Where it waits in the kernel (wchan), empty where not told.
    pub waits_in: String,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ListenerSample {
    /// "ip:port", "[ip6]:port" or "unix:/path".
    pub address: String,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// Most that may wait. More than this are dropped.
    pub queue_limit: u32,
    /// Connections established to this port, those in the queue included. Absent where not read.
    pub established: Option<u32>,
    /// The process that holds it, the lowest id where several do. 0: not known.
    pub pid: u32,
    /// Of these connections and of those being closed: what was sent over them was sent again, and the other side's kernel has
    /// acknowledged nothing of it since.
    pub unacknowledged: u32,
}

/// Limits and use of a control group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CgroupSample {
    /// Its path below the hierarchy's root.
    pub path: String,
    /// Memory in use, bytes.
    pub mem_bytes: Option<u64>,
    /// The smallest memory limit on the way to the root. Absent: none.
    pub mem_limit_bytes: Option<u64>,
    /// OOM kills counted here since the group was made.
    pub oom_kills: Option<u64>,
    /// Share of the stretch's periods in which it was throttled, 0 to 1.
    pub throttled_periods_ratio: Option<f64>,
    /// Throttled time over the stretch, in CPUs.
    pub throttled_ratio: Option<f64>,
    /// CPUs it may use (quota over period). Absent: no quota.
    pub cpu_quota: Option<f64>,
    /// Processes and threads in it.
    pub pids: Option<u64>,
    /// Most it may have. Absent: no limit.
    pub pids_limit: Option<u64>,
    /// Pressure inside the group. Absent on v1.
    pub pressure: Option<Pressure>,
    /// Frozen by the freezer. Absent where not read.
    pub frozen: Option<bool>,
}

/// What a gateway's logs told of one upstream over a stretch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UpstreamSample {
    /// The gateway's name.
    pub gateway: String,
    /// The address as in failures.
    pub upstream: String,
    /// When the stretch began, the agent's clock, unix microseconds.
    pub from_us: i64,
    /// When it ended.
    pub to_us: i64,
    /// Attempts that the upstream answered, whatever the status.
    pub answered: u64,
    /// Of these, with status 500 and above.
    pub answered_5xx: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// End of the newest attempt that was answered, unix microseconds. 0: none.
    pub last_answered_us: i64,
    /// Sum of the answered attempts' response times, microseconds. 0: the log does not tell.
    pub response_sum_us: u64,
    /// The longest of them, microseconds.
    pub response_max_us: u64,
    /// Clients that went away first (499 and the like).
    pub client_aborts: u64,
    /// Lines that could not be parsed in the stretch, told once for each gateway with an empty upstream.
    pub unparsed: u64,
    /// One such line, masked and cut to 512 bytes.
    pub unparsed_sample: String,
    /// Start of the earliest-started attempt that was answered in this stretch, unix microseconds. 0: the log does not tell.
    pub first_answered_us: i64,
}

impl UpstreamSample {
    /// Takes in the stretch that came after it.
    pub fn join(&mut self, next: &Self) {
        self.to_us = self.to_us.max(next.to_us);
        self.answered = self.answered.saturating_add(next.answered);
        self.answered_5xx = self.answered_5xx.saturating_add(next.answered_5xx);
        self.failed = self.failed.saturating_add(next.failed);
        self.client_aborts = self.client_aborts.saturating_add(next.client_aborts);
        self.unparsed = self.unparsed.saturating_add(next.unparsed);
        self.response_sum_us = self.response_sum_us.saturating_add(next.response_sum_us);
        self.response_max_us = self.response_max_us.max(next.response_max_us);
        self.last_answered_us = self.last_answered_us.max(next.last_answered_us);
        self.first_answered_us = match (self.first_answered_us, next.first_answered_us) {
            (0, told) | (told, 0) => told,
            (first, next) => first.min(next),
        };
    }
}

/// What was read of one source of a gateway's lines since its agent began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogSource {
    /// The gateway's name.
    pub gateway: String,
    /// The path or pattern, or the address that is listened on.
    pub source: String,
    /// Lines read.
    pub lines: u64,
    /// Of these, lines that told of a failure.
    pub failures: u64,
    /// Of these, lines that could not be parsed.
    pub unparsed: u64,
    /// One of them.
    pub unparsed_sample: String,
    /// Lines of which the beginning was read.
    pub cut_lines: u64,
    /// Messages that were left out.
    pub lost_lines: u64,
    /// Files that were gone before they were read to their ends.
    pub lost_files: u64,
    /// Connections that were refused or cut.
    pub cut_senders: u64,
    /// Why it is not read as it should be, and what to do. Empty: it is.
    pub fault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(states: &[&str]) -> InstanceSample {
        let process = |state: &&str| ProcessSample { state: (*state).to_owned(), ..Default::default() };
        InstanceSample { processes: states.iter().map(process).collect(), ..Default::default() }
    }

    #[test]
    fn stopped_is_what_no_living_process_of_can_run() {
        assert!(sample(&["T", "t", "Z"]).stopped_process().is_some_and(|process| process.state == "T"));
        for not in [&["T", "S"][..], &["S"], &["Z"], &[]] {
            assert_eq!(sample(not).stopped_process(), None, "{not:?}");
        }
    }
}
