//! Scenarios in which the obvious verdict would be wrong: red herrings, two faults, a view that is missing.

use super::story::{SECOND, Story, UPSTREAM, failure};
use why502::model::*;

fn cut(path: &str) -> EventKind {
    failure(Signal::ClosedBeforeHeaders, 502, 3_000, "POST", path)
}

fn keepalive_pool() -> Pool {
    Pool { keepalive_idle_us: Some(60_000_000), ..Story::pool() }
}

fn answered(probe: &mut ProbeResult) {
    probe.http =
        Some(HttpTry { request: "GET /health".into(), status: 200, signal: "ok".into(), ..Default::default() });
}

#[test]
fn a_handshake_that_nothing_answers_is_a_hang() {
    let mut story = Story::with_pool(Pool { scheme: "https".into(), ..Story::pool() });
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
        sample.listeners[0].queue = 12;
    }
    (story.health.status, story.health.signal) = (0, "tls_handshake".into());
    story.pass(3).fails(Signal::TlsHandshake, 504, 5_000_000, 4);
    story.probe(&["connected"; 4], |probe| {
        probe.tls = Some(TlsTry { error: "no handshake within 2s".into(), ..Default::default() });
    });
    story.pass(2);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_full_disk_kills_nobody_from_outside() {
    let mut story = Story::new();
    story.log("disk_full", "ENOSPC: no space left on device, write access.log").pass(10);
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 20).pass(4);
    story.is(Cause::ProcessKilled);
}

#[test]
fn descriptors_that_run_out_kill_nobody_from_outside() {
    let mut story = Story::new();
    story.log("too_many_open_files", "accept: too many open files").pass(10);
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 20).pass(4);
    story.is(Cause::ProcessKilled);
}

#[test]
fn a_handler_that_drops_each_post_is_not_surely_a_race() {
    let mut story = Story::with_pool(keepalive_pool());
    for _ in 0..6 {
        story.lb(cut("/upload")).pass(1);
    }
    story.probe(&["connected"; 4], answered).pass(1);
    story.probe(&[], |probe| probe.idle_close_us = Some(5_000_000)).pass(2);
    story.is(Cause::PrematureClose);
}

#[test]
fn a_header_cut_where_no_agent_looks_is_not_surely_the_applications() {
    let mut story = Story::behind("caddy", Story::pool());
    let mut failed = failure(Signal::HeaderInvalid, 502, 3_000, "GET", "/");
    if let EventKind::Failure(failed) = &mut failed {
        failed.attempts[0].upstream = "10.0.0.77:3000".into();
    }
    story.lb(failed).pass(4);
    story.is_not_surely(Cause::HeaderInvalid);
}

#[test]
fn one_of_two_instances_of_a_service_on_one_host_is_killed() {
    let mut story = Story::new();
    let two = "10.0.0.2:3001";
    if let Some(sample) = &mut story.instance {
        sample.process_count = 2;
        let other = ProcessSample { pid: 200, ..sample.processes[0].clone() };
        sample.processes.push(other);
        sample.listeners.push(ListenerSample { address: two.into(), queue_limit: 511, ..Default::default() });
    }
    story.pass(5);
    let exit = ProcessExited {
        service: "api".into(),
        pid: 200,
        name: "node".into(),
        signal: Some(9),
        source: ExitSource::Pidfd,
        leader: true,
        remaining: 1,
        still_listening: Some(true),
        served: true,
        ..Default::default()
    };
    story.app(EventKind::ProcessExited(exit));
    story.app(EventKind::ListenChanged(ListenChanged { service: "api".into(), address: two.into(), listening: false }));
    if let Some(sample) = &mut story.instance {
        sample.process_count = 1;
        sample.processes.pop();
        sample.listeners.pop();
    }
    for _ in 0..4 {
        let mut failed = failure(Signal::ConnectRefused, 502, 0, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = two.into();
        }
        story.lb(failed).pass(1);
    }
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!(incident.upstream.as_deref(), Some(two));
}

#[test]
fn an_exit_code_while_a_deployment_is_marked_is_not_surely_a_crash() {
    let mut story = Story::new();
    let mark = Mark { kind: "deploy".into(), service: "api".into(), version: "42".into(), host: String::new() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Mark(mark) });
    story.pass(2).exits(100, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 5).pass(2);
    story.comes_back(101, "v2").pass(4);
    story.is_not_surely(Cause::ProcessCrashed);
}

#[test]
fn an_address_dead_since_before_the_agent_came_is_not_surely_wrong() {
    let mut story = Story::new();
    story.host.uptime_us = 86_400_000_000;
    story.pass(1).greets("app-1", 2, vec![], vec![]);
    let mut failed = failure(Signal::ConnectRefused, 502, 0, "GET", "/");
    if let EventKind::Failure(failed) = &mut failed {
        failed.attempts[0].upstream = "10.0.0.2:3999".into();
    }
    story.lb(failed).pass(4);
    story.is_not_surely(Cause::WrongUpstream);
}

#[test]
fn a_full_connection_table_elsewhere_does_not_silence_what_is_connected() {
    let mut story = Story::new();
    story.host.conntrack_count = Some(1000);
    story.host.conntrack_max = Some(1000);
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    (story.health.status, story.health.signal) = (0, "read_timeout".into());
    story.app(EventKind::KernelNote(KernelNote {
        kind: "conntrack_full".into(),
        line: "nf_conntrack: table full, dropping packet".into(),
        ..Default::default()
    }));
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 4).pass(2);
    story.is(Cause::ProcessHung);
}

/// A table that is full is full for ever where its entries live long; what counts is whether it turns anybody away. The agent's unit
/// hides the kernel's log, so its counter has to tell.
#[test]
fn a_full_connection_table_is_the_cause_once_it_drops() {
    let fails = |drops: u64| {
        let mut story = Story::new();
        story.answered = 0;
        (story.host.conntrack_count, story.host.conntrack_max) = (Some(1000), Some(1000));
        for second in 0..6 {
            story.host.conntrack_dropped = Some(7 + second * drops);
            story.fails(Signal::ConnectTimeout, 504, 2_000_000, 2).pass(1);
        }
        story.probe(&["timeout"; 4], |_| {}).pass(2);
        story
    };
    assert!(fails(4).is(Cause::ConntrackFull).verdict.confidence > 0.8);
    fails(0).is_not_surely(Cause::ConntrackFull);
}

/// Everything it does waits until the kernel has taken memory back from its group.
#[test]
fn waiting_for_memory_is_no_hang_and_no_overload_of_the_cpu() {
    let fails = |share: f64| {
        let mut story = Story::new();
        story.answered = 1;
        if let Some(sample) = &mut story.instance {
            let pressure = Pressure { memory_full_ratio: Some(share), ..Default::default() };
            sample.cgroup = Some(CgroupSample { pressure: Some(pressure), ..Default::default() });
        }
        story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 6).pass(3);
        story
    };
    fails(0.6).is(Cause::MemoryPressure);
    fails(0.02).is_not_surely(Cause::MemoryPressure);
}

#[test]
fn a_check_that_is_slow_with_everything_else_is_the_overload() {
    let check =
        HealthCheck { kind: "http".into(), path: "/health".into(), timeout_us: 1_000_000, ..Default::default() };
    let mut pool = Story::pool();
    (pool.check, pool.members[0].name) = (Some(check), "app1".into());
    let mut story = Story::behind("haproxy", pool);
    story.pass(10);
    story.health.first_byte_us = Some(4_000_000);
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].queue = 40;
    }
    story.answered = 3;
    story.log("pool_exhausted", "server reached pm.max_children setting (5)").pass(2);
    story.fails(Signal::ReadTimeout, 504, 3_000_000, 4).pass(2);
    let notice = GatewayNotice {
        gateway: "edge".into(),
        upstream: "api/app1".into(),
        signal: Signal::HealthCheckDown,
        check_signal: "read_timeout".into(),
        says: "Server api/app1 is DOWN, reason: Layer7 timeout".into(),
        ..Default::default()
    };
    story.lb(EventKind::Notice(notice)).pass(1);
    let mut failed = failure(Signal::NoLiveUpstream, 503, 0, "GET", "/");
    if let EventKind::Failure(failed) = &mut failed {
        failed.attempts.clear();
        failed.pool = "api".into();
    }
    for _ in 0..10 {
        story.lb(failed.clone());
    }
    story.pass(3);
    story.is(Cause::WorkerPoolExhausted);
}

#[test]
fn a_process_that_ended_while_its_agent_was_away_is_not_surely_anything() {
    let mut story = Story::new();
    story.pass(5);
    // The agent is restarted, and finds nothing running.
    let api = ServiceConfig { name: "api".into(), listen: vec![UPSTREAM.into()], declared: true, ..Default::default() };
    story.instance = None;
    story.refuses().fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.greets("app-1", 2, vec![api], vec![]);
    story.instance = Some(InstanceSample { service: "api".into(), listeners_known: true, ..Default::default() });
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::Unknown);
    let told: Vec<Cause> = incident.verdict.alternatives.iter().map(|(cause, _)| *cause).collect();
    assert!(told.contains(&Cause::ProcessCrashed) && told.contains(&Cause::ProcessKilled), "{told:?}");
}

#[test]
fn a_socket_by_path_whose_process_was_killed() {
    let mut story = Story::new();
    let path = "unix:/run/app.sock";
    let app = ServiceConfig {
        name: "php".into(),
        listen: vec!["/run/app.sock".into()],
        declared: true,
        ..Default::default()
    };
    story.greets("lb-1", 2, vec![app], vec![]);
    let running = InstanceSample {
        service: "php".into(),
        listeners: vec![ListenerSample { address: "/run/app.sock".into(), queue_limit: 511, ..Default::default() }],
        ..super::story::instance(300, story.now_us - 3600 * SECOND)
    };
    let at_us = story.now_us;
    story.report("lb-1", Report { instances: vec![InstanceSample { at_us, ..running }.into()], ..Default::default() });
    story.pass(2);
    let exit = ProcessExited {
        service: "php".into(),
        pid: 300,
        name: "php-fpm8.2".into(),
        signal: Some(9),
        source: ExitSource::Pidfd,
        leader: true,
        still_listening: Some(false),
        served: true,
        ..Default::default()
    };
    story.lb(EventKind::ProcessExited(exit));
    for _ in 0..3 {
        let mut failed = failure(Signal::ConnectRefused, 502, 0, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = path.into();
        }
        story.lb(failed).pass(1);
    }
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!((incident.upstream.as_deref(), incident.host.as_deref()), (Some(path), Some("lb-1")));
}

#[test]
fn a_host_that_went_silent_with_segments_unacknowledged_is_down_not_lossy() {
    let mut story = Story::behind("apache", Story::pool());
    story.pass(5);
    story.instance = None;
    story.answered = 0;
    story.probe(&["connected"; 4], answered);
    story.pass(1);
    for second in 0..25 {
        let net = NetCounters { retransmits: 40, segments_out: 100, ..Default::default() };
        let host_sample = Some(HostSample { at_us: story.now_us, net: Some(net), ..Default::default() }.into());
        story.report("lb-1", Report { host_sample, ..Default::default() });
        if second % 10 == 3 {
            story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(false));
        }
        story.fails(Signal::ReadTimeout, 502, 3_000_000, 2).fails(Signal::ConnectTimeout, 503, 2_000_000, 2).pass(1);
    }
    story.is(Cause::HostDown);
}

#[test]
fn the_upstream_named_by_a_hosts_name_is_found_by_what_the_probe_looked_up() {
    let mut pool = Story::pool();
    pool.members[0].address = "app.internal:3000".into();
    let mut story = Story::behind("apache", pool);
    story.exits(100, Some(9), None);
    for _ in 0..3 {
        let mut failed = failure(Signal::ConnectRefused, 503, 0, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = "app.internal:3000".into();
        }
        story.lb(failed);
    }
    story.probe(&["connect_refused"; 4], |probe| {
        probe.upstream = "app.internal:3000".into();
        let addresses = vec!["10.0.0.2".into()];
        probe.lookup = Some(NameLookup { name: "app.internal".into(), addresses, ..Default::default() });
    });
    story.pass(4);
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!(incident.host.as_deref(), Some("app-1"));
}

#[test]
fn a_forwarder_that_lives_tells_nothing_of_what_it_forwards_to() {
    let mut story = Story::new();
    if let Some(sample) = &mut story.instance {
        sample.processes[0].name = "docker-proxy".into();
    }
    story.pass(3).answered = 0;
    for _ in 0..4 {
        story.lb(failure(Signal::ResetBeforeHeaders, 502, 1_000, "GET", "/")).pass(1);
    }
    story.probe(&["connected"; 4], |probe| {
        probe.http = Some(HttpTry { signal: "reset_before_headers".into(), ..Default::default() });
    });
    story.pass(2);
    story.is_not_surely(Cause::PrematureClose);
}

#[test]
fn a_503_of_what_no_agent_sees_is_not_surely_the_applications() {
    let mut story = Story::new();
    for _ in 0..4 {
        let mut failed = failure(Signal::AppStatus, 503, 2_000, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = "10.0.0.77:8080".into();
        }
        story.lb(failed);
    }
    story.pass(3);
    story.is_not_surely(Cause::AppUnavailable);
}

#[test]
fn a_containers_interface_that_goes_is_not_surely_the_link_on_the_way() {
    let mut story = Story::new();
    story.host.interfaces.clear();
    story.pass(1).answered = 0;
    story.app(EventKind::LinkChanged(LinkChanged {
        interface: "veth1a2b3c".into(),
        up: false,
        what: "carrier".into(),
    }));
    story.pass(1).fails(Signal::ReadTimeout, 504, 3_000_000, 4).pass(3);
    story.is_not_surely(Cause::LinkDown);
}

#[test]
fn unreachable_though_there_is_a_route_is_not_surely_a_missing_one() {
    let mut story = Story::new();
    let mut failed = failure(Signal::ConnectUnreachable, 502, 100, "GET", "/");
    if let EventKind::Failure(failed) = &mut failed {
        failed.attempts[0].upstream = "10.0.0.77:3000".into();
        failed.reason = "connect() to 10.0.0.77:3000 failed (101: Network is unreachable)".into();
    }
    story.lb(failed);
    story.probe(&["connect_unreachable"; 4], |probe| {
        probe.upstream = "10.0.0.77:3000".into();
        probe.route = Some(RouteLookup { found: true, interface: "eth0".into(), ..Default::default() });
    });
    story.pass(3);
    story.is_not_surely(Cause::NoRoute);
}

#[test]
fn a_reboot_after_which_it_served_explains_no_later_crash() {
    let mut story = Story::new();
    let listen = vec![UPSTREAM.into()];
    let api = ServiceConfig { name: "api".into(), listen, declared: true, ..Default::default() };
    let hello = Hello {
        host: "app-1".into(),
        boot_id: "b2".into(),
        epoch: 2,
        interval_us: 1_000_000,
        services: vec![api],
        ..Default::default()
    };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
    for second in 0..60 {
        story.host.uptime_us = (10 + second) * 1_000_000;
        story.pass(1);
    }
    story.exits(100, Some(11), None).fails(Signal::ConnectRefused, 502, 0, 10).pass(3);
    story.is(Cause::ProcessCrashed);
}

#[test]
fn a_tight_quota_closes_no_connections_at_once() {
    let mut story = Story::behind("aws_alb", Story::pool());
    if let Some(sample) = &mut story.instance {
        sample.cgroup = Some(CgroupSample { throttled_periods_ratio: Some(0.7), ..Default::default() });
    }
    story.pass(3);
    for _ in 0..5 {
        story.lb(failure(Signal::UpstreamErrorUnspecified, 502, 2_000, "GET", "/")).pass(1);
    }
    story.is_not_surely(Cause::CpuThrottled);
}

#[test]
fn lost_handshakes_of_what_no_agent_sees_may_be_a_full_queue() {
    let mut story = Story::new();
    let upstream = "10.0.0.77:3000";
    for _ in 0..6 {
        let mut failed = failure(Signal::ConnectTimeout, 504, 2_000_000, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = upstream.into();
        }
        story.lb(failed);
        story.probe(&["connected", "connect_timeout", "connected", "connect_timeout"], |probe| {
            probe.upstream = upstream.into();
        });
        let net = NetCounters { retransmits: 40, segments_out: 400, ..Default::default() };
        let host_sample = Some(HostSample { at_us: story.now_us, net: Some(net), ..Default::default() }.into());
        story.report("lb-1", Report { host_sample, ..Default::default() });
        story.pass(1);
    }
    story.is_not_surely(Cause::PacketLoss);
}

#[test]
fn killed_while_a_firewall_drops_names_what_came_first() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 10).pass(2);
    story.answered = 0;
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn a_killed_instance_behind_an_ipv6_address() {
    let mut story = Story::new();
    let six = "[fd00::2]:3000";
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].address = "[::]:3000".into();
    }
    story.host.interfaces[0].addresses.push("fd00::2".into());
    story.pass(3);
    story.exits(100, Some(9), None);
    for _ in 0..4 {
        let mut failed = failure(Signal::ConnectRefused, 502, 0, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = six.into();
        }
        story.lb(failed);
    }
    story.pass(3);
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!((incident.upstream.as_deref(), incident.host.as_deref()), (Some(six), Some("app-1")));
}

#[test]
fn a_slow_start_after_a_kill_stays_the_kill() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 3).pass(1);
    let now_us = story.now_us;
    story.started(101, now_us, "v1", false);
    for _ in 0..20 {
        story.fails(Signal::ConnectRefused, 502, 0, 5).pass(1);
    }
    story.comes_back(101, "v1").pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn a_java_heap_that_ran_out_is_a_crash_with_its_reason() {
    let mut story = Story::new();
    story.log("out_of_memory", "java.lang.OutOfMemoryError: Java heap space");
    story.exits(100, None, Some(3)).fails(Signal::ConnectRefused, 503, 0, 10).pass(4);
    let incident = story.is(Cause::ProcessCrashed);
    assert!(incident.verdict.evidence.iter().any(|evidence| evidence.says.contains("heap space")));
}

#[test]
fn a_stopped_process_behind_a_unix_socket_fills_its_queue() {
    let mut story = Story::new();
    let app = ServiceConfig {
        name: "php".into(),
        listen: vec!["/run/app.sock".into()],
        declared: true,
        ..Default::default()
    };
    story.greets("lb-1", 2, vec![app], vec![]);
    let mut stopped = InstanceSample {
        service: "php".into(),
        listeners: vec![ListenerSample {
            address: "/run/app.sock".into(),
            queue: 6,
            queue_limit: 5,
            ..Default::default()
        }],
        ..super::story::instance(300, story.now_us - 3600 * SECOND)
    };
    stopped.processes[0].state = "T".into();
    for _ in 0..5 {
        stopped.at_us = story.now_us;
        story.report("lb-1", Report { instances: vec![stopped.clone().into()], ..Default::default() });
        let mut failed = failure(Signal::SocketBacklogFull, 502, 0, "GET", "/");
        if let EventKind::Failure(failed) = &mut failed {
            failed.attempts[0].upstream = "unix:/run/app.sock".into();
        }
        story.lb(failed).pass(1);
    }
    story.is(Cause::ProcessHung);
}
