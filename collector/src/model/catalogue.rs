//! The catalogue: families and causes, what proves each, what refutes it, what fixes it.
//! Ids are stable: other programs match on them.

use serde::{Deserialize, Serialize};

/// A family of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the ids are documented in the catalogue below
pub enum Family {
    InstanceDown,
    HealthCheck,
    Network,
    Overload,
    Restarting,
    Protocol,
    Gateway,
    Not502,
    Unknown,
}

impl Family {
    /// The stable id.
    pub fn id(self) -> &'static str {
        match self {
            Self::InstanceDown => "instance_down",
            Self::HealthCheck => "health_check",
            Self::Network => "network",
            Self::Overload => "overload",
            Self::Restarting => "restarting",
            Self::Protocol => "protocol",
            Self::Gateway => "gateway",
            Self::Not502 => "not_502",
            Self::Unknown => "unknown",
        }
    }
}

/// A cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // each is documented by its entry
pub enum Cause {
    ProcessCrashed,
    ProcessKilled,
    ProcessStopped,
    NeverStarted,
    OomKilled,
    ProcessHung,
    PortNotListening,
    WorkerKilled,
    HostDown,
    HealthEndpointFailing,
    HealthEndpointSlow,
    HealthCheckWrongTarget,
    HealthCheckTooStrict,
    FirewallReject,
    FirewallDrop,
    LinkDown,
    NoRoute,
    PacketLoss,
    DnsFailure,
    ConntrackFull,
    PathUnreachable,
    CpuSaturated,
    CpuThrottled,
    MemoryPressure,
    AcceptQueueOverflow,
    FdExhausted,
    WorkerPoolExhausted,
    DiskFull,
    IoStalled,
    Deploying,
    CrashLooping,
    WarmingUp,
    HostRebooted,
    HealthCheckRestart,
    KeepaliveRace,
    PrematureClose,
    HeaderTooBig,
    HeaderInvalid,
    TlsHandshakeFailed,
    WrongProtocol,
    NoLiveUpstream,
    WrongUpstream,
    EphemeralPortsExhausted,
    UpstreamSocketPermission,
    GatewayResource,
    AppNotLeader,
    AppTaskTimeout,
    AppCacheFailure,
    AppUnavailable,
    AppError,
    InnerGateway,
    GatewayTimeout,
    ClientClosed,
    Unknown,
}

impl Cause {
    /// Its entry.
    pub fn entry(self) -> &'static CauseEntry {
        &CATALOGUE[self as usize]
    }

    /// The stable id.
    pub fn id(self) -> &'static str {
        self.entry().id
    }

    /// Its family.
    pub fn family(self) -> Family {
        self.entry().family
    }

    /// The cause of an id.
    pub fn from_id(id: &str) -> Option<Self> {
        CATALOGUE.iter().find(|entry| entry.id == id).map(|entry| entry.cause)
    }
}

/// What is known of a cause in general.
#[derive(Debug)]
pub struct CauseEntry {
    /// The cause.
    pub cause: Cause,
    /// Its stable id.
    pub id: &'static str,
    /// Its family.
    pub family: Family,
    /// What proves it.
    pub proof: &'static str,
    /// What refutes it.
    pub refuted_by: &'static str,
    /// What mends it: what to do, so that it can stand as advice.
    pub fix: &'static str,
}

const fn entry(
    cause: Cause,
    id: &'static str,
    family: Family,
    proof: &'static str,
    refuted_by: &'static str,
    fix: &'static str,
) -> CauseEntry {
    CauseEntry { cause, id, family, proof, refuted_by, fix }
}

/// Every cause, in the order of [`Cause`].
#[rustfmt::skip]
pub static CATALOGUE: &[CauseEntry] = &[
    entry(Cause::ProcessCrashed, "process_crashed", Family::InstanceDown,
        "the process ended by SIGSEGV, SIGABRT, SIGBUS, SIGILL or a non-zero exit code before the first failure",
        "an OOM kill, a SIGKILL or SIGTERM from outside, or repeated crashes explain it better",
        "read its last log lines, the fatal one first; let its supervisor restart it (Restart=on-failure of a unit); keep core dumps"),
    entry(Cause::ProcessKilled, "process_killed", Family::InstanceDown,
        "the process ended by SIGKILL, or by SIGTERM without a stop of its unit",
        "the OOM counter rose, or a supervisor's own record says why",
        "find who killed it: a person, a deployment, a supervisor whose stop timeout ran out; start it again"),
    entry(Cause::ProcessStopped, "process_stopped", Family::InstanceDown,
        "a clean exit or a stopped unit, and no start after it",
        "a start follows or a deployment was marked",
        "start it; next time take it out of the gateway before stopping it"),
    entry(Cause::NeverStarted, "never_started", Family::InstanceDown,
        "an expected service has had no process since boot or since its agent began",
        "it ran before",
        "see in its unit's or container's status and log why it failed, mend that and enable it"),
    entry(Cause::OomKilled, "oom_killed", Family::InstanceDown,
        "the cgroup's OOM counter or the kernel log names the victim",
        "the victim is another process or another cgroup's",
        "raise the memory limit above its use or mend the leak"),
    entry(Cause::ProcessHung, "process_hung", Family::InstanceDown,
        "alive and listening, but no request was answered since the timeouts began",
        "other requests are still answered, or its threads wait for a device",
        "see what it waits for (its threads' stacks, a SIGSTOP), then restart it; a liveness check does so by itself"),
    entry(Cause::PortNotListening, "port_not_listening", Family::InstanceDown,
        "the process is alive and nothing listens on the upstream's address and port",
        "it started moments ago, or it does listen there",
        "bind it to the address the gateway uses, or point the gateway at the one it listens on"),
    entry(Cause::WorkerKilled, "worker_killed", Family::InstanceDown,
        "a child process ended while the master and its listening socket lived on",
        "the master ended too",
        "compare the worker's time limit with the gateway's read timeout; find what was slow"),
    entry(Cause::HostDown, "host_down", Family::InstanceDown,
        "its agent fell silent and nothing of the host answers the gateway's host",
        "the agent still reports",
        "look at the host from outside (console, power, hypervisor) and start it, or take its instances out of the gateway"),
    entry(Cause::HealthEndpointFailing, "health_endpoint_failing", Family::HealthCheck,
        "the gateway's check or the health endpoint fails by status while other paths work",
        "the whole instance is down",
        "look at the dependency that the endpoint checks"),
    entry(Cause::HealthEndpointSlow, "health_endpoint_slow", Family::HealthCheck,
        "the health endpoint's time to answer rose above the check's timeout while other paths are faster",
        "everything is slow, or the timeout lies below its ordinary time",
        "make the endpoint lighter; set the timeout from its measured p99"),
    entry(Cause::HealthCheckWrongTarget, "health_check_wrong_target", Family::HealthCheck,
        "the gateway's check asks a path or port that the instance does not serve, while the service port works",
        "the endpoint used to answer",
        "point the check at a path and port that the instance serves"),
    entry(Cause::HealthCheckTooStrict, "health_check_too_strict", Family::HealthCheck,
        "the check's timeout or threshold lies below what the instance ordinarily needs",
        "the endpoint got slower",
        "set the check's interval, timeout, fall and rise from the measured latency"),
    entry(Cause::FirewallReject, "firewall_reject", Family::Network,
        "the gateway's host is refused at an address where the instance's host shows a listener that works locally",
        "nothing listens there",
        "find and change the rule that rejects the gateway's host at that port"),
    entry(Cause::FirewallDrop, "firewall_drop", Family::Network,
        "connects time out from the gateway's host although the instance listens, its queue is empty and its host answers otherwise",
        "the accept queue overflows, some connects succeed, the host is silent",
        "find and change the rule that drops what the gateway's host sends to that port"),
    entry(Cause::LinkDown, "link_down", Family::Network,
        "an interface lost its carrier or was taken down at that time",
        "the host died",
        "bring the interface up again (`ip link`); look at its cable, its bond and its switch's port"),
    entry(Cause::NoRoute, "no_route", Family::Network,
        "the kernel of one of the hosts has no route to the other",
        "the link is down",
        "put the missing route back: `ip route get ADDRESS` on both hosts shows which"),
    entry(Cause::PacketLoss, "packet_loss", Family::Network,
        "some connects succeed, late, and both hosts retransmit",
        "none succeeds",
        "find what loses packets between the two hosts: errors of network cards (`ip -s link`), the MTU, a link at its limit"),
    entry(Cause::DnsFailure, "dns_failure", Family::Network,
        "the gateway could not resolve the upstream's name",
        "the address is configured directly",
        "mend the record or the resolver, then let the gateway resolve the name anew"),
    entry(Cause::ConntrackFull, "conntrack_full", Family::Network,
        "a host's connection table is at its limit and drops",
        "the table has room",
        "raise nf_conntrack_max, and see which connections fill the table"),
    entry(Cause::PathUnreachable, "path_unreachable", Family::Network,
        "nothing of that host answers the gateway's host although the host reports and is fine, and no rule, link or route at either end explains it",
        "a port of it answers",
        "look at what lies between the two hosts: routers, security groups, tunnels"),
    entry(Cause::CpuSaturated, "cpu_saturated", Family::Overload,
        "the process waits for CPU, the host's CPUs are busy and answers got slow",
        "one thread spins and nothing is answered",
        "add instances or CPUs, or limit concurrency"),
    entry(Cause::CpuThrottled, "cpu_throttled", Family::Overload,
        "its cgroup was throttled for a large share of the time",
        "the host itself is short of CPU",
        "raise the CPU quota"),
    entry(Cause::MemoryPressure, "memory_pressure", Family::Overload,
        "tasks stalled for memory, swap or reclaim",
        "the process was killed for it",
        "raise the memory limit, or mend the leak"),
    entry(Cause::AcceptQueueOverflow, "accept_queue_overflow", Family::Overload,
        "its accept queue is at its limit and the kernel counts overflows",
        "the queue is empty, or it accepts nothing at all",
        "raise the listen backlog and net.core.somaxconn, or add workers"),
    entry(Cause::FdExhausted, "fd_exhausted", Family::Overload,
        "its descriptors are at their limit, or its log says so",
        "descriptors are free",
        "raise LimitNOFILE, or mend the leak of descriptors"),
    entry(Cause::WorkerPoolExhausted, "worker_pool_exhausted", Family::Overload,
        "some requests are answered, slowly, connections wait, and the CPU is idle",
        "nothing is answered at all, or the queue is at its limit",
        "add workers, shorten the time limits on what they wait for, limit concurrency at the gateway"),
    entry(Cause::DiskFull, "disk_full", Family::Overload,
        "no space or inodes on a file system that it writes to",
        "space is free",
        "free space, and rotate logs"),
    entry(Cause::IoStalled, "io_stalled", Family::Overload,
        "threads are in state D, and tasks stall for a device or it lasts for seconds",
        "threads sleep or run",
        "look at the device (`iostat -x`, the kernel's log) and at the I/O limits of its control group"),
    entry(Cause::Deploying, "deploying", Family::Restarting,
        "a clean stop and a start with something changed, or a deployment mark, and failures inside the gap",
        "nothing changed, or its starts fail",
        "drain it first, start the new instance before the old one stops, wait for its readiness, add a pre-stop delay"),
    entry(Cause::CrashLooping, "crash_looping", Family::Restarting,
        "it ended with failures and was started again several times in a short while",
        "it ended once",
        "mend what its last log lines before each end tell; let the supervisor restart it with a growing backoff"),
    entry(Cause::WarmingUp, "warming_up", Family::Restarting,
        "failures between the process's start and its listening, nothing changed",
        "it never listens",
        "give it an initial delay or a slow start above its measured start-up time"),
    entry(Cause::HostRebooted, "host_rebooted", Family::Restarting,
        "the host has a new boot id and an uptime shorter than the case",
        "it is not back",
        "take its instances out of the gateway before a host reboots; if nobody rebooted it, see how the boot before ended (`journalctl -b -1 -e`)"),
    entry(Cause::HealthCheckRestart, "health_check_restart", Family::Restarting,
        "a supervisor's or orchestrator's own record of a liveness kill",
        "somebody else killed it",
        "raise the liveness check's timeout and threshold above the measured latency"),
    entry(Cause::KeepaliveRace, "keepalive_race", Family::Protocol,
        "the instance closes idle connections sooner than the gateway does, and reused connections fail while fresh ones work",
        "a crash at that time, or fresh connections fail too",
        "set the application's keep-alive timeout above the gateway's idle timeout"),
    entry(Cause::PrematureClose, "premature_close", Family::Protocol,
        "it closes fresh connections before a complete answer while its process lives",
        "a crash, or a worker killed at its time limit",
        "look at the request's handler, and at time limits of workers that end before its answer is complete"),
    entry(Cause::HeaderTooBig, "header_too_big", Family::Protocol,
        "the gateway says that the answer's header exceeds its limit",
        "the header is malformed",
        "raise the gateway's header buffers, or shrink what grows (most often cookies)"),
    entry(Cause::HeaderInvalid, "header_invalid", Family::Protocol,
        "the gateway says that the answer's header is malformed",
        "it is only too big",
        "mend the header that the gateway's log names: `curl -sv` from the gateway's host shows it"),
    entry(Cause::TlsHandshakeFailed, "tls_handshake_failed", Family::Protocol,
        "the TLS handshake or the certificate's verification fails",
        "one side speaks plain text",
        "renew or replace the certificate, or correct the gateway's settings of CA, name and protocol"),
    entry(Cause::WrongProtocol, "wrong_protocol", Family::Protocol,
        "one side speaks plain text, TLS or HTTP/2 where the other does not",
        "both speak the same",
        "correct the scheme (http, https, HTTP/2) in the gateway's upstream setting"),
    entry(Cause::NoLiveUpstream, "no_live_upstream", Family::Gateway,
        "the gateway had no live upstream and no earlier record tells why",
        "earlier records name the cause",
        "see why its checks failed; raise the thresholds that take members out, or keep a backup member"),
    entry(Cause::WrongUpstream, "wrong_upstream", Family::Gateway,
        "the gateway names an address where no instance has ever been and nothing answers",
        "an instance was there",
        "correct the address in the gateway's configuration"),
    entry(Cause::EphemeralPortsExhausted, "ephemeral_ports_exhausted", Family::Gateway,
        "the gateway's host ran out of local ports",
        "ports are free",
        "keep connections to upstreams open (keep-alive), and widen net.ipv4.ip_local_port_range"),
    entry(Cause::UpstreamSocketPermission, "upstream_socket_permission", Family::Gateway,
        "the gateway may not open the upstream's unix socket",
        "the socket is missing",
        "let the gateway's user open the socket: its mode and owner, those of its folders, and SELinux where it is on"),
    entry(Cause::GatewayResource, "gateway_resource", Family::Gateway,
        "the gateway itself ran out of descriptors, memory or workers",
        "the upstream failed",
        "raise the limit that the gateway's log names: worker_rlimit_nofile, worker_connections, maxconn"),
    entry(Cause::AppNotLeader, "app_not_leader", Family::Not502,
        "the application answered 503 because it does not hold the lock",
        "the gateway made the 503",
        "route to the leader, or let the gateway retry on another member"),
    entry(Cause::AppTaskTimeout, "app_task_timeout", Family::Not502,
        "the application answered 503 because a task of its own timed out",
        "the gateway made the 503",
        "look at what the task waited for, and at its time limit"),
    entry(Cause::AppCacheFailure, "app_cache_failure", Family::Not502,
        "the application answered 503 because its cache or lock service failed",
        "the gateway made the 503",
        "mend the cache or lock service that its log names"),
    entry(Cause::AppUnavailable, "app_unavailable", Family::Not502,
        "the application answered 503 of its own accord",
        "the gateway made the 503",
        "see what its log says at that time"),
    entry(Cause::AppError, "app_error", Family::Not502,
        "the application answered 500 or another 5xx itself and its host is well",
        "a fault of its host explains it",
        "see the handler's error in its log at that time"),
    entry(Cause::InnerGateway, "inner_gateway", Family::Not502,
        "another gateway behind this one made the status",
        "the application made it",
        "ask about the inner gateway: why502 why GATEWAY"),
    entry(Cause::GatewayTimeout, "gateway_timeout", Family::Not502,
        "a request was slower than the gateway's read timeout while the same upstream answered others",
        "nothing is answered",
        "make the slow path faster; keep time limits in order: client > gateway > application"),
    entry(Cause::ClientClosed, "client_closed", Family::Not502,
        "clients went away before the answer, much more often than usual",
        "the upstream failed",
        "compare the time of its answers with how long clients wait, and make what is slow faster"),
    entry(Cause::Unknown, "unknown", Family::Unknown,
        "nothing above is supported by what was seen",
        "a cause is supported",
        "switch on what was missing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_causes() {
        for (index, entry) in CATALOGUE.iter().enumerate() {
            assert_eq!(entry.cause as usize, index, "{}", entry.id);
            assert_eq!(Cause::from_id(entry.id), Some(entry.cause));
        }
    }
}
