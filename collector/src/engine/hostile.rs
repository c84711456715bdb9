//! Records with extreme and mutilated content go through the whole fold and every question; nothing may panic, and the
//! build of the tests checks every arithmetic overflow.

use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::*;
use crate::view::{self, Document, Question};

const NOW_US: i64 = 1_800_000_000_000_000;

/// A report that has one of everything, each number as given.
fn full(n: u64, i: i64, f: f64) -> v1::Report {
    let kinds = vec![
        Kind::ProcessStarted(v1::ProcessStarted {
            service: "api".into(),
            started_unix_us: i,
            pid: n as u32,
            ..Default::default()
        }),
        Kind::ProcessExited(v1::ProcessExited {
            service: "api".into(),
            exit_code: Some(n as u32),
            signal: n.is_multiple_of(2).then_some(n as u32),
            started_unix_us: i,
            last_rss_bytes: n,
            remaining: n as u32,
            leader: true,
            ..Default::default()
        }),
        Kind::OomKill(v1::OomKill {
            service: "api".into(),
            rss_bytes: n,
            limit_bytes: n,
            kills: n as u32,
            ..Default::default()
        }),
        Kind::ListenChanged(v1::ListenChanged {
            service: "api".into(),
            address: "10.0.0.2:3000".into(),
            listening: false,
        }),
        Kind::Health(v1::HealthResult {
            service: "api".into(),
            status: n as u32,
            connect_us: Some(n),
            first_byte_us: Some(n),
            timeout_us: n,
            ..Default::default()
        }),
        Kind::LogMatch(v1::LogMatch {
            service: "api".into(),
            kind: "error".into(),
            repeats: n as u32,
            ..Default::default()
        }),
        Kind::Failure(failure(n, i, "connect_timeout")),
        Kind::Failure(failure(n, i, "read_timeout")),
        Kind::Failure(failure(n, i, "reset_before_headers")),
        Kind::Notice(v1::GatewayNotice {
            gateway: "edge".into(),
            upstream: "10.0.0.2:3000".into(),
            signal: "health_check_down".into(),
            check_us: Some(n),
            ..Default::default()
        }),
        Kind::Probe(probe(n)),
        Kind::LinkChanged(v1::LinkChanged { interface: "eth0".into(), up: false, what: "carrier".into() }),
        Kind::ClockStepped(v1::ClockStepped { by_us: i }),
        Kind::KernelNote(v1::KernelNote { kind: "segfault".into(), pid: n as u32, ..Default::default() }),
    ];
    let events = kinds.into_iter().map(|kind| v1::Event { at_unix_us: i, kind: Some(kind) }).collect();
    v1::Report {
        seq: n,
        at_unix_us: i,
        boottime_us: n,
        collector_offset_us: (!n.is_multiple_of(3)).then_some(i),
        host: Some(host(n, i, f)),
        instances: vec![instance(n, i, f)],
        upstreams: vec![upstream(n, i)],
        events,
        samplers: Vec::new(),
        gateways: vec![gateway(n, i)],
        sources: vec![source(n)],
    }
}

fn failure(n: u64, i: i64, signal: &str) -> v1::Failure {
    let attempt = v1::Attempt {
        upstream: "10.0.0.2:3000".into(),
        status: n as u32,
        signal: signal.into(),
        connect_us: Some(n),
        header_us: Some(n),
        response_us: Some(n),
        ..Default::default()
    };
    v1::Failure {
        gateway: "edge".into(),
        status: if n.is_multiple_of(2) { 502 } else { n as u32 },
        origin: v1::Origin::Gateway.into(),
        signal: signal.into(),
        attempts: vec![attempt],
        duration_us: Some(n),
        precision_us: n,
        read_unix_us: i,
        body_bytes: Some(n),
        repeats: n as u32,
        ..Default::default()
    }
}

fn probe(n: u64) -> v1::ProbeResult {
    let connect =
        v1::ConnectTry { outcome: "connect_timeout".into(), took_us: n, errno: n as i32, ..Default::default() };
    let http = v1::HttpTry {
        status: n as u32,
        first_byte_us: Some(n),
        header_bytes: n,
        received_bytes: n,
        ..Default::default()
    };
    v1::ProbeResult {
        gateway: "edge".into(),
        upstream: "10.0.0.2:3000".into(),
        connects: vec![connect.clone(), connect],
        idle_close_us: Some(n),
        idle_kept_us: Some(n),
        http: Some(http.clone()),
        small_packets: Some(http),
        tls: Some(v1::TlsTry { not_after_unix_s: n as i64, ..Default::default() }),
        ..Default::default()
    }
}

fn host(n: u64, i: i64, f: f64) -> v1::HostSample {
    let mount = v1::MountSample {
        path: "/".into(),
        total_bytes: n,
        available_bytes: n,
        services: vec!["api".into()],
        ..Default::default()
    };
    v1::HostSample {
        at_unix_us: i,
        stretch_us: n,
        cpu_busy_ratio: Some(f),
        load1: Some(f),
        cpus: n as u32,
        mem_total_bytes: Some(n),
        mem_available_bytes: Some(u64::MAX),
        uptime_us: n,
        mounts: vec![mount],
        net: Some(v1::NetCounters {
            listen_overflows: n,
            listen_drops: n,
            syn_retransmits: n,
            retransmits: n,
            segments_out: n,
            ..Default::default()
        }),
        conntrack_count: Some(n),
        conntrack_max: Some(n / 2),
        time_wait: Some(n),
        local_ports: n as u32,
        ..Default::default()
    }
}

fn instance(n: u64, i: i64, f: f64) -> v1::InstanceSample {
    let process = v1::ProcessSample {
        pid: n as u32,
        started_unix_us: i,
        state: "T".into(),
        cpu_ratio: Some(f),
        run_delay_ratio: Some(f),
        rss_bytes: n,
        threads: n as u32,
        fds: Some(n as u32),
        fd_limit: Some(n),
        leader: true,
        ..Default::default()
    };
    let listener = v1::ListenerSample {
        address: "10.0.0.2:3000".into(),
        queue: n as u32,
        queue_limit: n as u32,
        established: Some(0),
        ..Default::default()
    };
    let cgroup = v1::CgroupSample {
        mem_bytes: Some(n),
        mem_limit_bytes: Some(n),
        oom_kills: Some(n),
        throttled_ratio: Some(f),
        throttled_periods_ratio: Some(f),
        cpu_quota: Some(f),
        ..Default::default()
    };
    v1::InstanceSample {
        service: "api".into(),
        at_unix_us: i,
        process_count: n as u32,
        processes: vec![process.clone(), process],
        listeners: vec![listener],
        cgroup: Some(cgroup),
        listeners_known: true,
        ..Default::default()
    }
}

fn upstream(n: u64, i: i64) -> v1::UpstreamSample {
    v1::UpstreamSample {
        gateway: "edge".into(),
        upstream: "10.0.0.2:3000".into(),
        from_unix_us: i,
        to_unix_us: i,
        answered: n,
        answered_5xx: n,
        failed: n,
        last_answered_unix_us: i,
        response_sum_us: n,
        response_max_us: n,
        client_aborts: n,
        first_answered_unix_us: i,
        ..Default::default()
    }
}

fn source(n: u64) -> v1::LogSource {
    v1::LogSource {
        gateway: "edge".into(),
        source: "/var/log/a.log".into(),
        lines: n,
        failures: n,
        unparsed: n,
        ..Default::default()
    }
}

fn gateway(n: u64, i: i64) -> v1::GatewayConfig {
    let member = v1::PoolMember {
        address: "10.0.0.2:3000".into(),
        fail_timeout_us: Some(n),
        max_fails: Some(n as u32),
        ..Default::default()
    };
    let check = v1::HealthCheck { interval_us: n, timeout_us: n, fall: n as u32, rise: n as u32, ..Default::default() };
    let timeouts = v1::Timeouts { connect_us: Some(n), send_us: Some(n), read_us: Some(n) };
    let pool = v1::Pool {
        members: vec![member],
        check: Some(check),
        timeouts: Some(timeouts),
        keepalive_idle_us: Some(n),
        header_limit_bytes: n,
        ..Default::default()
    };
    v1::GatewayConfig {
        gateway: "edge".into(),
        kind: "nginx".into(),
        pools: vec![pool],
        at_unix_us: i,
        ..Default::default()
    }
}

/// A collector's state that folds what it is given, the time going on by itself.
struct Story {
    fold: Fold,
    at_us: i64,
    seq: u64,
}

impl Story {
    fn begin() -> Self {
        let mut story = Self { fold: Fold::default(), at_us: NOW_US, seq: 0 };
        let api = v1::ServiceConfig {
            name: "api".into(),
            listen: vec!["10.0.0.2:3000".into()],
            declared: true,
            ..Default::default()
        };
        for host in ["app-1", "lb-1"] {
            let hello =
                v1::Hello { host: host.into(), services: vec![api.clone()], at_unix_us: NOW_US, ..Default::default() };
            story.fold(wire::hello(hello).unwrap());
        }
        story
    }

    fn fold(&mut self, mut incoming: Incoming) {
        self.at_us += 100_000;
        incoming.stamp(self.at_us);
        let mut bytes = Vec::new();
        incoming.encode(&mut bytes);
        self.fold.fold_bytes(&bytes);
    }

    fn report(&mut self, report: v1::Report) {
        self.seq += 1;
        for host in ["app-1", "lb-1"] {
            let numbering = Numbering { host: host.into(), ..Numbering::default() };
            self.fold(wire::report(&numbering, v1::Report { seq: self.seq, ..report.clone() }).unwrap());
        }
        self.fold(wire::tick());
    }

    /// Every document can be made.
    fn ask(&self) {
        let view = picture(&self.fold.core, self.at_us, Stats::default());
        for name in ["status", "hosts", "instances", "gateways", "incidents", "why"] {
            let target = [("target".to_owned(), "api".to_owned())];
            let filters = if name == "why" { target.into() } else { [].into() };
            let question = Question::parse(Document::parse(name).unwrap(), filters).unwrap();
            let answer = view::answer(&view, &question).unwrap();
            crate::render::document(name, &answer.json, crate::render::Style::default()).unwrap();
        }
    }
}

#[test]
fn extreme_numbers_break_nothing() {
    let mut story = Story::begin();
    let times = [0, 1, -1, i64::MIN, i64::MAX, NOW_US];
    let ratios = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
    let mut ratios = ratios.iter().cycle();
    for n in [0, 1, 2, 3, u64::from(u32::MAX), u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        for i in times {
            story.report(full(n, i, *ratios.next().unwrap()));
        }
    }
    story.ask();
    story.at_us += 3_600_000_000;
    for _ in 0..10 {
        story.fold(wire::tick());
    }
    story.ask();
}

#[test]
fn mutilated_records_break_nothing() {
    let numbering = Numbering { host: "app-1".into(), ..Numbering::default() };
    let mut seed = Vec::new();
    wire::report(&numbering, full(1 << 40, NOW_US, 0.5)).unwrap().encode(&mut seed);
    let mut story = Story::begin();
    let mut state = 502_u64;
    let mut dice = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut understood = 0;
    for _ in 0..3000 {
        let mut bytes = seed.clone();
        for _ in 0..=dice(4) {
            let at = dice(bytes.len());
            bytes[at] = [0, 0x7f, 0x80, 0xff, dice(256) as u8][dice(5)];
        }
        bytes.truncate(bytes.len() - if dice(4) == 0 { dice(bytes.len()) } else { 0 });
        if let Some(incoming) = Incoming::decode(&bytes) {
            understood += 1;
            story.fold(incoming);
        }
    }
    assert!(understood > 200, "only {understood} mutations were read at all");
    story.ask();
}
