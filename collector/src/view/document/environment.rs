//! What a target runs on, and how the gateways before it are set up.

use serde::{Deserialize, Serialize};

use super::{GatewayDoc, HostDoc, InstanceDoc};

document! {
    /// `environment`.
    EnvironmentDoc {
        /// What was asked for.
        target: String,
        /// Where nobody is called so: whose names are like it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        near: Vec<String>,
        /// The moment.
        at: String,
        /// Its hosts, and those of the gateways before it.
        hosts: Vec<HostEnvironmentDoc>,
        /// Its instances.
        instances: Vec<InstanceEnvironmentDoc>,
        /// The gateways before it.
        gateways: Vec<GatewayEnvironmentDoc>,
        /// Instances, ways to upstreams and pools beyond those that one answer tells of.
        left_out: u64,
    }
}

document! {
    /// A host and what it has.
    HostEnvironmentDoc {
        /// The host.
        host: HostDoc,
        /// The kernel's release. Empty where the agent does not tell, as below.
        kernel: String,
        /// The distribution as it names itself.
        system: String,
        /// Whether a hypervisor runs it. Absent where the processor does not tell.
        is_virtual: Option<bool>,
        /// The machine as its firmware calls it.
        model: String,
        /// What the agent is contained in.
        container: String,
        /// CPUs online.
        cpus: Option<u32>,
        /// Share of all CPUs that a hypervisor took.
        cpu_steal_ratio: Option<f64>,
        /// Memory, bytes.
        mem_total_bytes: Option<u64>,
        /// Memory that could be given to a program without swapping, bytes.
        mem_available_bytes: Option<u64>,
        /// Swap, bytes.
        swap_total_bytes: Option<u64>,
        /// Swap in use, bytes.
        swap_used_bytes: Option<u64>,
        /// Network interfaces but loopback.
        interfaces: Vec<InterfaceDoc>,
        /// Whether it has a default route.
        default_route: Option<bool>,
        /// Local ports that outgoing connections may use.
        local_ports: Option<u32>,
        /// Connections tracked.
        conntrack_count: Option<u64>,
        /// Most connections tracked.
        conntrack_max: Option<u64>,
        /// File systems that services write to, and the root.
        mounts: Vec<MountDoc>,
    }
}

document! {
    /// A network interface.
    InterfaceDoc {
        /// Its name.
        name: String,
        /// As the kernel calls its state: "up", "down", "unknown", ...
        state: String,
        /// Its addresses.
        addresses: Vec<String>,
        /// Packets in and out that were dropped or in error in the newest reading.
        bad_packets: u64,
    }
}

document! {
    /// A file system.
    MountDoc {
        /// Where it is mounted.
        path: String,
        /// Its size, bytes.
        total_bytes: u64,
        /// Free for unprivileged writers, bytes.
        available_bytes: u64,
        /// Inodes free. Absent where the file system does not count them.
        available_inodes: Option<u64>,
        /// Mounted read-only.
        read_only: bool,
    }
}

document! {
    /// An instance and what it may use.
    InstanceEnvironmentDoc {
        /// The instance.
        instance: InstanceDoc,
        /// What holds it, as its control group's name tells: "kubernetes", "docker", "podman", "lxc". Empty: it tells of none.
        container: String,
        /// Its control group.
        cgroup: String,
        /// CPUs that the group may use. Absent: no quota, or not read.
        cpu_quota: Option<f64>,
        /// Share of periods in which the group was throttled.
        throttled_periods_ratio: Option<f64>,
        /// Processes and threads in the group.
        pids: Option<u64>,
        /// Most it may have. Absent: no limit, or not read.
        pids_limit: Option<u64>,
        /// OOM kills counted in the group.
        oom_kills: Option<u64>,
        /// The most telling of its processes.
        processes: Vec<ProcessDoc>,
        /// The sockets that they listen on.
        listeners: Vec<ListenerDoc>,
    }
}

document! {
    /// A process.
    ProcessDoc {
        /// Its id.
        pid: u32,
        /// Its short name.
        name: String,
        /// One letter, as ps writes it.
        state: String,
        /// When it started.
        started: String,
        /// Resident memory, bytes.
        rss_bytes: u64,
        /// Threads.
        threads: u32,
        /// Open descriptors.
        fds: Option<u32>,
        /// Most it may have.
        fd_limit: Option<u64>,
    }
}

document! {
    /// A listening socket.
    ListenerDoc {
        /// Its address.
        address: String,
        /// Connections that wait to be accepted.
        queue: u32,
        /// Most that may wait.
        queue_limit: u32,
        /// Connections established.
        established: Option<u32>,
    }
}

document! {
    /// A gateway and how it is set up towards the target, as far as its configuration was understood.
    GatewayEnvironmentDoc {
        /// The gateway, with the target's upstreams.
        gateway: GatewayDoc,
        /// The pools that the target is in.
        pools: Vec<PoolDoc>,
    }
}

document! {
    /// A pool of upstreams. What is absent or 0 is not set, or not known.
    PoolDoc {
        /// Its name.
        name: String,
        /// Where it stands in the configuration, "file:line".
        source: String,
        /// How the gateway speaks to its members.
        scheme: String,
        /// Attempts in all.
        tries: u32,
        /// Time to connect, milliseconds.
        connect_ms: Option<u64>,
        /// Between two writes of a request, milliseconds.
        send_ms: Option<u64>,
        /// Between two reads of an answer, milliseconds.
        read_ms: Option<u64>,
        /// How long an idle connection is kept, milliseconds; 0: none is.
        keepalive_idle_ms: Option<u64>,
        /// The largest response header that fits, bytes.
        header_limit_bytes: u64,
        /// Its active health check.
        check: Option<CheckDoc>,
        /// TLS towards the members. Absent where plain.
        tls: Option<TlsDoc>,
        /// Its members.
        members: Vec<MemberDoc>,
    }
}

document! {
    /// A gateway's active health check.
    CheckDoc {
        /// "http", "tcp", "grpc" or another word of the gateway's.
        kind: String,
        /// The path that is asked for.
        path: String,
        /// The Host header that is sent.
        host: String,
        /// Statuses that are taken for healthy.
        expects: String,
        /// Time between checks, milliseconds.
        interval_ms: u64,
        /// Time that a check may take, milliseconds.
        timeout_ms: u64,
        /// Failures in a row that take a member out.
        fall: u32,
        /// Successes in a row that take it back.
        rise: u32,
    }
}

document! {
    /// TLS towards the members of a pool.
    TlsDoc {
        /// The certificate is verified.
        verify: bool,
        /// The CA's file.
        ca_file: String,
        /// The name that is sent and verified.
        server_name: String,
        /// Protocol versions.
        protocols: String,
    }
}

document! {
    /// A member of a pool.
    MemberDoc {
        /// Its name in the gateway.
        name: String,
        /// Its address as configured.
        address: String,
        /// Where the health check goes, if elsewhere.
        check_address: String,
        /// Taken only where no other is live.
        backup: bool,
        /// Switched off.
        down: bool,
        /// Failures after which it is left out.
        max_fails: Option<u32>,
        /// For how long, milliseconds.
        fail_timeout_ms: Option<u64>,
        /// Most connections at once.
        max_connections: u32,
    }
}
