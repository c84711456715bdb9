//! What a host of the fleet says: the size and shape of a small real host's reports, numbers that move a little.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use why502_proto::v1;

use super::POOL;

const SERVICE: &str = "api";
const GATEWAY: &str = "edge";

/// One host of the fleet.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its number: the first of each pool is the gateway's host.
    pub number: usize,
    /// Its name.
    pub name: String,
}

/// Now, unix microseconds.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// Where the application of a host is reached.
pub fn upstream(number: usize) -> String {
    format!("{}:3000", ip(number))
}

fn ip(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

impl Host {
    /// The host of a number.
    pub fn new(number: usize) -> Self {
        let kind = if number.is_multiple_of(POOL) { "lb" } else { "app" };
        Self { number, name: format!("{kind}-{number:05}") }
    }

    /// Whether a gateway runs on it.
    pub fn is_gateway(&self) -> bool {
        self.number.is_multiple_of(POOL)
    }

    /// How it greets.
    pub fn hello(&self, epoch: u64, next_seq: u64, interval: Duration) -> v1::Hello {
        let service = v1::ServiceConfig {
            name: SERVICE.to_owned(),
            listen: vec![upstream(self.number)],
            declared: true,
            health_path: "/health".to_owned(),
        };
        v1::Hello {
            host: self.name.clone(),
            boot_id: format!("5f0c3a52-0000-4000-8000-{:012}", self.number),
            epoch,
            agent_version: "0.1.0".to_owned(),
            next_seq,
            at_unix_us: now_us(),
            interval_us: u64::try_from(interval.as_micros()).unwrap_or(u64::MAX),
            samplers: ["process", "socket", "exit", "oom", "kernel_log", "host", "health"].map(sampler).to_vec(),
            services: if self.is_gateway() { Vec::new() } else { vec![service] },
            machine: Some(machine()),
        }
    }

    /// The configuration of its gateway.
    pub fn configuration(&self, hosts: usize) -> v1::GatewayConfig {
        let last = (self.number + POOL).min(hosts);
        let member = |number| v1::PoolMember { address: upstream(number), ..Default::default() };
        let pool = v1::Pool {
            name: "api".to_owned(),
            members: (self.number + 1..last).map(member).collect(),
            scheme: "http".to_owned(),
            keepalive_idle_us: Some(0),
            source: "nginx.conf:12".to_owned(),
            ..Default::default()
        };
        v1::GatewayConfig {
            gateway: GATEWAY.to_owned(),
            kind: "nginx".to_owned(),
            pools: vec![pool],
            readable: true,
            at_unix_us: now_us(),
            log_has_upstream: true,
            ..Default::default()
        }
    }

    /// What one interval's report says; `pid` is the application's main process, 0 where it is down.
    pub fn sample(&self, tick: u64, interval: Duration, pid: u32) -> v1::Report {
        let mut report = v1::Report { at_unix_us: now_us(), host: Some(self.host_sample(tick)), ..Default::default() };
        if self.is_gateway() {
            return report;
        }
        report.instances.push(self.instance(tick, pid));
        if tick.is_multiple_of((10_000 / interval.as_millis().max(1)).max(1) as u64) {
            report.events.push(event(v1::event::Kind::Health(self.health(pid > 0))));
        }
        report
    }

    fn host_sample(&self, tick: u64) -> v1::HostSample {
        let wave = self.wave(tick);
        let mount = |path: &str| v1::MountSample {
            path: path.to_owned(),
            total_bytes: 100 << 30,
            available_bytes: (60 << 30) - tick * 4096,
            total_inodes: 6_000_000,
            available_inodes: 5_000_000 - tick,
            ..Default::default()
        };
        let interface = v1::InterfaceSample {
            name: "eth0".to_owned(),
            carrier: Some(true),
            operstate: "up".to_owned(),
            addresses: vec![ip(self.number), format!("fe80::{:x}", self.number)],
            admin_up: true,
            ..Default::default()
        };
        v1::HostSample {
            at_unix_us: now_us(),
            stretch_us: 1_000_000,
            cpu_busy_ratio: Some(0.1 + wave / 10.0),
            cpu_steal_ratio: Some(0.0),
            cpus: 4,
            load1: Some(0.4 + wave),
            mem_total_bytes: Some(16 << 30),
            mem_available_bytes: Some((9 << 30) - (wave * 1e8) as u64),
            swap_total_bytes: Some(0),
            swap_used_bytes: Some(0),
            pressure: Some(v1::Pressure {
                cpu_some_ratio: Some(wave / 50.0),
                memory_some_ratio: Some(0.0),
                io_some_ratio: Some(wave / 100.0),
                ..Default::default()
            }),
            uptime_us: 86_400_000_000 + tick * 1_000_000,
            mounts: vec![mount("/"), mount("/var")],
            interfaces: vec![interface],
            net: Some(v1::NetCounters { segments_out: 900 + tick % 100, ..Default::default() }),
            conntrack_count: Some(200 + tick % 50),
            conntrack_max: Some(262_144),
            conntrack_dropped: None,
            time_wait: Some(20 + tick % 7),
            local_ports: 28_232,
            default_route: Some(true),
        }
    }

    fn instance(&self, tick: u64, pid: u32) -> v1::InstanceSample {
        let mut sample = v1::InstanceSample {
            service: SERVICE.to_owned(),
            at_unix_us: now_us(),
            listeners_known: true,
            unit: "api.service".to_owned(),
            ..Default::default()
        };
        if pid == 0 {
            return sample;
        }
        sample.process_count = 5;
        sample.processes = (0..5).map(|child| self.process(tick, pid, child)).collect();
        sample.listeners = vec![v1::ListenerSample {
            address: upstream(self.number),
            queue: 0,
            queue_limit: 511,
            established: Some(12 + (tick % 5) as u32),
            unacknowledged: 0,
            pid,
        }];
        sample.cgroup = Some(v1::CgroupSample {
            path: "/system.slice/api.service".to_owned(),
            mem_bytes: Some((300 << 20) + (tick % 64) * 65_536),
            mem_limit_bytes: Some(1 << 30),
            oom_kills: Some(0),
            throttled_periods_ratio: Some(0.0),
            throttled_ratio: Some(0.0),
            cpu_quota: Some(2.0),
            pids: Some(37),
            ..Default::default()
        });
        sample
    }

    fn process(&self, tick: u64, pid: u32, child: u32) -> v1::ProcessSample {
        v1::ProcessSample {
            pid: pid + child,
            parent_pid: if child == 0 { 1 } else { pid },
            started_unix_us: 1_700_000_000_000_000,
            name: "node".to_owned(),
            state: "S".to_owned(),
            cpu_ratio: Some(0.02 + self.wave(tick + u64::from(child)) / 20.0),
            run_delay_ratio: Some(0.001),
            rss_bytes: (60 << 20) + tick % 32 * 4096,
            threads: 11,
            fds: Some(40 + (tick % 9) as u32),
            fd_limit: Some(65_536),
            leader: child == 0,
            ..Default::default()
        }
    }

    fn health(&self, up: bool) -> v1::HealthResult {
        v1::HealthResult {
            service: SERVICE.to_owned(),
            url: format!("http://{}/health", upstream(self.number)),
            status: if up { 200 } else { 0 },
            connect_us: up.then_some(90),
            first_byte_us: up.then_some(1800),
            signal: if up { String::new() } else { "connect_refused".to_owned() },
            timeout_us: 5_000_000,
            ..Default::default()
        }
    }

    fn wave(&self, tick: u64) -> f64 {
        ((tick + self.number as u64 * 7) % 60) as f64 / 60.0
    }
}

/// The machine that each of them is.
fn machine() -> v1::Machine {
    v1::Machine {
        kernel: "6.1.0-28-amd64".to_owned(),
        system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        is_virtual: Some(true),
        model: "QEMU Standard PC (Q35 + ICH9, 2009)".to_owned(),
        container: String::new(),
    }
}

fn sampler(name: &str) -> v1::SamplerStatus {
    v1::SamplerStatus { name: name.to_owned(), state: v1::sampler_status::State::Active.into(), why: String::new() }
}

/// Something that happens now.
pub fn event(kind: v1::event::Kind) -> v1::Event {
    v1::Event { at_unix_us: now_us(), kind: Some(kind) }
}

/// The application's main process ends.
pub fn exited(pid: u32, exit_code: Option<u32>, signal: Option<u32>) -> v1::Event {
    event(v1::event::Kind::ProcessExited(v1::ProcessExited {
        service: SERVICE.to_owned(),
        pid,
        started_unix_us: 1_700_000_000_000_000,
        name: "node".to_owned(),
        exit_code,
        signal,
        source: v1::process_exited::Source::Pidfd.into(),
        leader: true,
        still_listening: Some(false),
        served: true,
        ..Default::default()
    }))
}

/// The kernel killed it for lack of memory.
pub fn out_of_memory(pid: u32) -> v1::Event {
    event(v1::event::Kind::OomKill(v1::OomKill {
        service: SERVICE.to_owned(),
        pid,
        name: "node".to_owned(),
        cgroup: "/system.slice/api.service".to_owned(),
        rss_bytes: 1 << 30,
        limit_bytes: 1 << 30,
        kills: 1,
        ..Default::default()
    }))
}

/// Its socket came or went.
pub fn listens(number: usize, listening: bool) -> v1::Event {
    let (service, address) = (SERVICE.to_owned(), upstream(number));
    event(v1::event::Kind::ListenChanged(v1::ListenChanged { service, address, listening }))
}

/// It began again.
pub fn started(pid: u32) -> v1::Event {
    event(v1::event::Kind::ProcessStarted(v1::ProcessStarted {
        service: SERVICE.to_owned(),
        pid,
        started_unix_us: now_us(),
        name: "node".to_owned(),
        fingerprint: "v1".to_owned(),
        leader: true,
        ..Default::default()
    }))
}

/// A request that its gateway could not hand to it.
pub fn refused(number: usize) -> v1::Event {
    let attempt = v1::Attempt {
        upstream: upstream(number),
        status: 502,
        signal: "connect_refused".to_owned(),
        ..Default::default()
    };
    event(v1::event::Kind::Failure(v1::Failure {
        gateway: GATEWAY.to_owned(),
        status: 502,
        origin: v1::Origin::Gateway.into(),
        signal: "connect_refused".to_owned(),
        attempts: vec![attempt],
        method: "GET".to_owned(),
        path: "/".to_owned(),
        line: format!("connect() failed (111: Connection refused), upstream: \"http://{}/\"", upstream(number)),
        pool: "api".to_owned(),
        read_unix_us: now_us(),
        ..Default::default()
    }))
}

/// What its gateway handed to it and had answered lately.
pub fn answered(number: usize) -> v1::UpstreamSample {
    let now_us = now_us();
    v1::UpstreamSample {
        gateway: GATEWAY.to_owned(),
        upstream: upstream(number),
        from_unix_us: now_us - 1_000_000,
        to_unix_us: now_us,
        answered: 20,
        last_answered_unix_us: now_us - 1000,
        response_sum_us: 40_000,
        response_max_us: 9_000,
        first_answered_unix_us: now_us - 900_000,
        ..Default::default()
    }
}
