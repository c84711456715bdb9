//! Builds the records that agents on two hosts would send, a second at a time, so that a test reads as a story.

use why502::core::Core;
use why502::model::*;

pub const SECOND: i64 = 1_000_000;
pub const START: i64 = 1_795_000_000 * SECOND;
pub const UPSTREAM: &str = "10.0.0.2:3000";

/// A gateway `edge` on lb-1 with one upstream, the service `api` on app-1.
pub struct Story {
    pub core: Core,
    pub now_us: i64,
    seq: u64,
    /// What app-1's next samples show; None: its agent is silent.
    pub instance: Option<InstanceSample>,
    pub host: HostSample,
    /// What lb-1's next samples show of it.
    pub gateway_host: HostSample,
    /// Requests answered each second.
    pub answered: u64,
    /// How the gateway's log names the upstream.
    pub logged_as: &'static str,
    /// Whether the health check of app-1's agent succeeds.
    pub health: HealthResult,
    pub app_events: Vec<Event>,
    lb_events: Vec<Event>,
}

impl Story {
    pub fn new() -> Self {
        Self::with_pool(Self::pool())
    }

    /// The pool `api` whose only member is the upstream.
    pub fn pool() -> Pool {
        Pool {
            name: "api".into(),
            members: vec![PoolMember { address: UPSTREAM.into(), ..Default::default() }],
            scheme: "http".into(),
            keepalive_idle_us: Some(0),
            source: "nginx.conf:9".into(),
            ..Default::default()
        }
    }

    pub fn with_pool(pool: Pool) -> Self {
        Self::behind("nginx", pool)
    }

    /// Behind a gateway of another kind.
    pub fn behind(kind: &str, pool: Pool) -> Self {
        let mut story = Self {
            core: Core::new(),
            now_us: START,
            seq: 0,
            instance: Some(instance(100, START - 3600 * SECOND)),
            host: HostSample {
                cpus: 2,
                cpu_busy_ratio: Some(0.1),
                net: Some(NetCounters::default()),
                interfaces: vec![InterfaceSample {
                    name: "eth0".into(),
                    addresses: vec!["10.0.0.2".into()],
                    ..Default::default()
                }],
                ..Default::default()
            },
            gateway_host: HostSample::default(),
            answered: 20,
            logged_as: UPSTREAM,
            health: HealthResult {
                service: "api".into(),
                url: format!("http://{UPSTREAM}/health"),
                status: 200,
                connect_us: Some(100),
                first_byte_us: Some(2_000),
                timeout_us: 5_000_000,
                ..Default::default()
            },
            app_events: Vec::new(),
            lb_events: Vec::new(),
        };
        let api =
            ServiceConfig { name: "api".into(), listen: vec![UPSTREAM.into()], declared: true, ..Default::default() };
        story.hello("app-1", vec![api]);
        story.hello("lb-1", vec![]);
        let config = GatewayConfig {
            gateway: "edge".into(),
            kind: kind.into(),
            pools: vec![pool],
            readable: true,
            ..Default::default()
        };
        story.report("lb-1", Report { gateways: vec![config], ..Default::default() });
        story.started(100, START - 3600 * SECOND, "v1", true);
        story.pass(5);
        story
    }

    fn hello(&mut self, host: &str, services: Vec<ServiceConfig>) {
        self.greets(host, 1, services, vec![]);
    }

    /// An agent says hello.
    pub fn greets(&mut self, host: &str, epoch: u64, services: Vec<ServiceConfig>, samplers: Vec<SamplerStatus>) {
        let hello = Hello {
            host: host.into(),
            boot_id: "b1".into(),
            epoch,
            interval_us: 1_000_000,
            services,
            samplers,
            ..Default::default()
        };
        self.core.apply(&Record { received_us: self.now_us, kind: RecordKind::Hello(hello) });
    }

    pub fn report(&mut self, host: &str, report: Report) {
        self.seq += 1;
        let report =
            Report { host: host.into(), boot_id: "b1".into(), epoch: 1, seq: self.seq, at_us: self.now_us, ..report };
        self.core.apply(&Record { received_us: self.now_us, kind: RecordKind::Report(Box::new(report)) });
    }

    /// Lets seconds pass, with samples of both hosts each.
    pub fn pass(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds {
            self.now_us += SECOND;
            let app_events = std::mem::take(&mut self.app_events);
            if let Some(mut sample) = self.instance.clone() {
                sample.at_us = self.now_us;
                let health = Event { at_us: self.now_us, kind: EventKind::Health(self.health.clone()) };
                let host_sample = Some(HostSample { at_us: self.now_us, ..self.host.clone() }.into());
                let events = app_events.into_iter().chain([health]).collect();
                self.report(
                    "app-1",
                    Report { host_sample, instances: vec![sample.into()], events, ..Default::default() },
                );
            }
            let sample = UpstreamSample {
                gateway: "edge".into(),
                upstream: self.logged_as.into(),
                from_us: self.now_us - SECOND,
                to_us: self.now_us,
                answered: self.answered,
                first_answered_us: if self.answered > 0 { self.now_us - SECOND + 1000 } else { 0 },
                last_answered_us: if self.answered > 0 { self.now_us - 1000 } else { 0 },
                ..Default::default()
            };
            let events = std::mem::take(&mut self.lb_events);
            let host_sample = Some(HostSample { at_us: self.now_us, ..self.gateway_host.clone() }.into());
            self.report("lb-1", Report { host_sample, upstreams: vec![sample], events, ..Default::default() });
            self.core.apply(&Record { received_us: self.now_us, kind: RecordKind::Tick });
        }
        self
    }

    pub fn app(&mut self, kind: EventKind) -> &mut Self {
        self.app_events.push(Event { at_us: self.now_us, kind });
        self
    }

    pub fn lb(&mut self, kind: EventKind) -> &mut Self {
        self.lb_events.push(Event { at_us: self.now_us, kind });
        self
    }

    pub fn started(&mut self, pid: u32, at_us: i64, fingerprint: &str, already_running: bool) -> &mut Self {
        self.app(EventKind::ProcessStarted(ProcessStarted {
            service: "api".into(),
            pid,
            started_us: at_us,
            fingerprint: fingerprint.into(),
            leader: true,
            already_running,
            ..Default::default()
        }))
    }

    /// The instance's only process ends.
    pub fn exits(&mut self, pid: u32, signal: Option<u32>, code: Option<u32>) -> &mut Self {
        let started_us =
            self.instance.as_ref().and_then(|sample| sample.processes.first()).map_or(0, |process| process.started_us);
        let exit = ProcessExited {
            service: "api".into(),
            pid,
            started_us,
            name: "node".into(),
            signal,
            exit_code: code,
            source: ExitSource::Pidfd,
            leader: true,
            still_listening: Some(false),
            served: true,
            ..Default::default()
        };
        self.app(EventKind::ProcessExited(exit)).listens(false);
        self.instance = Some(InstanceSample { service: "api".into(), listeners_known: true, ..Default::default() });
        self.refuses();
        self
    }

    pub fn listens(&mut self, listening: bool) -> &mut Self {
        self.app(EventKind::ListenChanged(ListenChanged { service: "api".into(), address: UPSTREAM.into(), listening }))
    }

    /// It starts again and listens at once.
    pub fn comes_back(&mut self, pid: u32, fingerprint: &str) -> &mut Self {
        let now_us = self.now_us;
        self.started(pid, now_us, fingerprint, false).listens(true);
        self.instance = Some(instance(pid, now_us));
        self.answered = 20;
        self.health.status = 200;
        self.health.connect_us = Some(100);
        self.health.signal = String::new();
        self
    }

    pub fn refuses(&mut self) -> &mut Self {
        self.answered = 0;
        self.health.status = 0;
        self.health.connect_us = None;
        self.health.signal = "connect_refused".into();
        self
    }

    /// Requests fail with a signal, now.
    pub fn fails(&mut self, signal: Signal, status: u32, took_us: u64, times: usize) -> &mut Self {
        let answered = (took_us >= SECOND as u64).then_some(u32::try_from(self.answered).unwrap_or(0));
        for _ in 0..times {
            let mut event = failure(signal, status, took_us, "GET", "/");
            if let EventKind::Failure(failure) = &mut event {
                failure.attempts[0].answered_meanwhile = answered;
            }
            self.lb(event);
        }
        self
    }

    pub fn probe(&mut self, outcomes: &[&str], edit: impl FnOnce(&mut ProbeResult)) -> &mut Self {
        let connects = outcomes.iter().map(|outcome| ConnectTry {
            address: UPSTREAM.into(),
            outcome: (*outcome).into(),
            ..Default::default()
        });
        let mut probe = ProbeResult {
            gateway: "edge".into(),
            upstream: UPSTREAM.into(),
            connects: connects.collect(),
            ..Default::default()
        };
        edit(&mut probe);
        self.lb(EventKind::Probe(Box::new(probe)))
    }

    pub fn log(&mut self, kind: &str, line: &str) -> &mut Self {
        self.app(EventKind::LogMatch(LogMatch {
            service: "api".into(),
            kind: kind.into(),
            line: line.into(),
            ..Default::default()
        }))
    }

    /// The newest incident.
    pub fn incident(&self) -> Incident {
        let newest = self.core.incidents().last();
        newest.map_or_else(|| panic!("no incident"), |newest| (**newest).clone())
    }

    /// Asserts that the newest incident does not say a cause with confidence.
    #[track_caller]
    pub fn is_not_surely(&self, cause: Cause) -> Incident {
        let incident = self.incident();
        let sure = incident.verdict.cause == cause && incident.verdict.confidence > 0.8;
        assert!(!sure, "{:#?}", incident.verdict);
        incident
    }

    /// Asserts the newest incident's cause.
    #[track_caller]
    pub fn is(&self, cause: Cause) -> Incident {
        let incident = self.incident();
        assert_eq!(incident.verdict.cause, cause, "{:#?}", incident.verdict);
        incident
    }
}

pub fn failure(signal: Signal, status: u32, took_us: u64, method: &str, path: &str) -> EventKind {
    let by_app = signal == Signal::AppStatus;
    EventKind::Failure(Failure {
        gateway: "edge".into(),
        status,
        origin: if by_app { Origin::App } else { Origin::Gateway },
        signal,
        attempts: vec![Attempt {
            upstream: UPSTREAM.into(),
            status,
            signal,
            response_us: Some(took_us),
            ..Default::default()
        }],
        duration_us: Some(took_us),
        method: method.into(),
        path: path.into(),
        ..Default::default()
    })
}

pub fn instance(pid: u32, started_us: i64) -> InstanceSample {
    InstanceSample {
        service: "api".into(),
        process_count: 1,
        processes: vec![ProcessSample {
            pid,
            started_us,
            name: "node".into(),
            state: "S".into(),
            cpu_ratio: Some(0.05),
            run_delay_ratio: Some(0.0),
            fds: Some(30),
            fd_limit: Some(1024),
            leader: true,
            ..Default::default()
        }],
        listeners: vec![ListenerSample { address: UPSTREAM.into(), queue_limit: 511, ..Default::default() }],
        listeners_known: true,
        ..Default::default()
    }
}
