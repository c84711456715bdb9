//! Other gateways than nginx, several gateways, and records that name little: the same causes by other ways.

use super::story::{SECOND, Story, UPSTREAM, failure};
use why502::model::*;

fn pool_of(scheme: &str) -> Pool {
    let mut pool = Story::pool();
    pool.members[0].name = "app1".into();
    pool.scheme = scheme.into();
    pool
}

/// An access line that names a status and nothing else.
fn status_only(status: u32) -> EventKind {
    let EventKind::Failure(mut failed) = failure(Signal::StatusOnly, status, 0, "GET", "/") else { unreachable!() };
    failed.attempts.clear();
    EventKind::Failure(failed)
}

/// An answer of the application's, with the request's id.
fn passed_on(status: u32, request_id: &str) -> EventKind {
    let EventKind::Failure(mut failed) = failure(Signal::AppStatus, status, 2_000, "GET", "/") else { unreachable!() };
    failed.request_id = request_id.into();
    EventKind::Failure(failed)
}

#[test]
fn a_crash_behind_gateways_that_tell_little() {
    for (kind, signal, status) in [
        ("haproxy", Signal::ConnectFailed, 503),
        ("haproxy", Signal::NoResponseHeaders, 502),
        ("envoy", Signal::UpstreamErrorUnspecified, 503),
        ("aws_alb", Signal::UpstreamErrorUnspecified, 502),
        ("varnish", Signal::StatusOnly, 503),
    ] {
        let mut story = Story::behind(kind, pool_of("http"));
        story.exits(100, Some(11), None).fails(signal, status, 100_000, 4).pass(3);
        let incident = story.is(Cause::ProcessCrashed);
        assert_eq!(incident.upstream.as_deref(), Some(UPSTREAM), "{kind}");
    }
    let mut story = Story::behind("apache", pool_of("http"));
    story.exits(100, Some(11), None).lb(status_only(503)).pass(3);
    assert_eq!(story.is(Cause::ProcessCrashed).upstream.as_deref(), Some(UPSTREAM));
}

#[test]
fn a_hang_behind_an_access_line_that_tells_only_a_status() {
    let mut story = Story::behind("apache", pool_of("http"));
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    story.health.signal = "read_timeout".into();
    story.pass(3).lb(status_only(502)).pass(3);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_hang_that_a_check_met_is_no_slow_health_endpoint() {
    let mut pool = pool_of("http");
    pool.check =
        Some(HealthCheck { kind: "http".into(), path: "/health".into(), timeout_us: 1_000_000, ..Default::default() });
    let mut story = Story::behind("haproxy", pool);
    story.pass(10).answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    (story.health.status, story.health.first_byte_us) = (0, None);
    story.health.signal = "read_timeout".into();
    story.pass(6);
    let notice = GatewayNotice {
        gateway: "edge".into(),
        upstream: "api/app1".into(),
        signal: Signal::HealthCheckDown,
        check_signal: "read_timeout".into(),
        says: "Server api/app1 is DOWN, reason: Layer7 timeout".into(),
        ..Default::default()
    };
    story.lb(EventKind::Notice(notice)).pass(1);
    let EventKind::Failure(mut failed) = failure(Signal::NoLiveUpstream, 503, 0, "GET", "/") else { unreachable!() };
    failed.attempts.clear();
    failed.pool = "api".into();
    for _ in 0..20 {
        story.lb(EventKind::Failure(failed.clone()));
    }
    story.pass(3);
    story.is(Cause::ProcessHung);
}

#[test]
fn what_a_cloud_balancers_log_reader_meets_is_not_what_the_balancer_meets() {
    let mut story = Story::behind("aws_alb", pool_of("http"));
    story.answered = 0;
    story.fails(Signal::UpstreamErrorUnspecified, 502, 1_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is_not_surely(Cause::FirewallDrop);
}

#[test]
fn a_handshake_that_fails_behind_a_gateway_that_says_only_no_connection() {
    let mut story = Story::behind("haproxy", pool_of("https"));
    story.health.url = format!("https://{UPSTREAM}/health");
    story.pass(3).fails(Signal::ConnectFailed, 503, 3_000, 4);
    story.probe(&["connected"; 4], |probe| {
        probe.tls = Some(TlsTry { error: "certificate expired".into(), ..Default::default() });
    });
    story.pass(3);
    story.is(Cause::TlsHandshakeFailed);
    let mut story = Story::behind("haproxy", pool_of("https"));
    story.fails(Signal::ConnectFailed, 503, 3_000, 4);
    story.probe(&["connected"; 4], |probe| {
        probe.tls = Some(TlsTry { error: "no TLS".into(), plain_answer: true, ..Default::default() });
    });
    story.pass(3);
    story.is(Cause::WrongProtocol);
}

#[test]
fn a_header_over_the_limit_that_only_a_repeated_request_shows() {
    let mut pool = pool_of("http");
    pool.header_limit_bytes = 16_384;
    let mut story = Story::behind("haproxy", pool);
    story.fails(Signal::ResponseInvalid, 502, 3_000, 4).probe(&["connected"; 4], |probe| {
        let http = HttpTry { request: "GET /".into(), status: 200, header_bytes: 20_000, ..Default::default() };
        probe.http = Some(http);
    });
    story.pass(3);
    assert!(story.is(Cause::HeaderTooBig).verdict.advice[0].contains("tune.bufsize"));
}

#[test]
fn answered_by_another_gateway_meanwhile_it_does_not_hang() {
    let mut story = Story::new();
    story.answered = 0;
    story.greets("lb-2", 1, vec![], vec![]);
    for _ in 0..6 {
        story.fails(Signal::ReadTimeout, 504, 3_000_000, 2).pass(1);
        let (to_us, from_us) = (story.now_us, story.now_us - SECOND);
        let sample = UpstreamSample {
            gateway: "edge-2".into(),
            upstream: UPSTREAM.into(),
            from_us,
            to_us,
            answered: 9,
            last_answered_us: to_us - 1000,
            ..Default::default()
        };
        let config = GatewayConfig { gateway: "edge-2".into(), kind: "nginx".into(), ..Default::default() };
        story.report("lb-2", Report { upstreams: vec![sample], gateways: vec![config], ..Default::default() });
    }
    story.pass(2);
    story.is_not_surely(Cause::ProcessHung);
}

#[test]
fn the_same_request_in_an_inner_gateways_record() {
    let mut story = Story::new();
    story.greets("mesh-1", 1, vec![], vec![]);
    let EventKind::Failure(mut inner) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    inner.gateway = "sidecar".into();
    inner.request_id = "4f1c".into();
    inner.attempts[0].upstream = "127.0.0.1:9000".into();
    let event = Event { at_us: story.now_us, kind: EventKind::Failure(inner) };
    story.report("mesh-1", Report { events: vec![event], ..Default::default() });
    story.lb(passed_on(502, "4f1c")).pass(3);
    let incident = story.core.incidents().find(|one| one.gateway.name == "edge").unwrap();
    assert_eq!(incident.verdict.cause, Cause::InnerGateway, "{incident:#?}");
    assert!(incident.verdict.evidence.iter().any(|one| one.says.contains("connect_refused towards 127.0.0.1:9000")));
}

#[test]
fn a_gateway_by_its_program_makes_502s_of_its_own() {
    let mut story = Story::new();
    if let Some(sample) = &mut story.instance {
        sample.processes[0].name = "envoy".into();
    }
    story.pass(2).lb(passed_on(503, "")).pass(3);
    story.is(Cause::InnerGateway);
}

#[test]
fn a_gateway_beside_the_application_is_not_surely_its_inner_one() {
    let mut story = Story::new();
    let EventKind::Failure(mut other) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    other.gateway = "local".into();
    other.attempts[0].upstream = "10.0.0.7:1".into();
    story.app(EventKind::Failure(other)).pass(1).lb(passed_on(503, "")).pass(3);
    let edge = story.core.incidents().find(|one| one.gateway.name == "edge").unwrap();
    assert!(edge.verdict.cause != Cause::InnerGateway || edge.verdict.confidence <= 0.8, "{edge:#?}");
}

#[test]
fn local_ports_run_out() {
    let mut story = Story::new();
    story.fails(Signal::LocalPortExhausted, 502, 0, 5).pass(3);
    story.is(Cause::EphemeralPortsExhausted);
}

#[test]
fn a_gateway_short_of_connections_says_so_of_itself() {
    let mut story = Story::new();
    let notice = GatewayNotice {
        gateway: "edge".into(),
        signal: Signal::GatewayResource,
        says: "768 worker_connections are not enough".into(),
        ..Default::default()
    };
    story.lb(EventKind::Notice(notice)).lb(status_only(500)).pass(3);
    story.is(Cause::GatewayResource);
}

/// Seconds in which some of a hundred clients give up.
fn clients_give_up(story: &mut Story, seconds: u64, aborts: u64) {
    for _ in 0..seconds {
        story.pass(1);
        let (to_us, from_us) = (story.now_us, story.now_us - SECOND);
        let sample = UpstreamSample {
            gateway: "edge".into(),
            upstream: UPSTREAM.into(),
            from_us,
            to_us,
            client_aborts: aborts,
            response_sum_us: 1_000_000,
            ..Default::default()
        };
        story.report("lb-1", Report { upstreams: vec![sample], ..Default::default() });
    }
}

#[test]
fn clients_that_give_up_much_more_often_than_usual() {
    let mut story = Story::new();
    clients_give_up(&mut story, 120, 1);
    assert_eq!(story.core.incidents().count(), 0, "one in twenty is usual here");
    clients_give_up(&mut story, 20, 15);
    let incident = story.is(Cause::ClientClosed);
    assert!(incident.statuses.contains_key(&499) && incident.count >= 15, "{incident:#?}");
    assert_eq!(incident.verdict.cause.family(), Family::Not502);
}

#[test]
fn a_red_herring_on_the_host_does_not_outweigh_what_ended_it() {
    let mut story = Story::new();
    story.host.mounts = vec![MountSample {
        path: "/var/cache".into(),
        total_bytes: 1 << 30,
        services: vec!["api".into()],
        ..Default::default()
    }];
    story.host.net = Some(NetCounters { listen_overflows: 50, ..Default::default() });
    story.host.cpu_busy_ratio = Some(1.0);
    story.pass(3).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 10).pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn throttled_beside_a_firewall_is_the_firewall() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        let cgroup = CgroupSample { throttled_periods_ratio: Some(0.9), cpu_quota: Some(0.1), ..Default::default() };
        sample.cgroup = Some(cgroup);
    }
    story.pass(2).fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn overflows_of_another_listener_hide_no_firewall() {
    let mut story = Story::new();
    story.answered = 0;
    story.host.net = Some(NetCounters { listen_overflows: 50, listen_drops: 50, ..Default::default() });
    story.pass(2).fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn one_gateway_dropped_while_another_is_answered() {
    let mut story = Story::new();
    story.answered = 0;
    story.greets("lb-2", 1, vec![], vec![]);
    let config = GatewayConfig { gateway: "edge-2".into(), kind: "nginx".into(), ..Default::default() };
    story.report("lb-2", Report { gateways: vec![config], ..Default::default() });
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 3).pass(3);
    let (to_us, from_us) = (story.now_us - SECOND, story.now_us - 3 * SECOND);
    let sample = UpstreamSample {
        gateway: "edge-2".into(),
        upstream: UPSTREAM.into(),
        from_us,
        to_us,
        answered: 20,
        last_answered_us: to_us - SECOND,
        ..Default::default()
    };
    story.report("lb-2", Report { upstreams: vec![sample], ..Default::default() });
    story.pass(2).fails(Signal::ConnectTimeout, 504, 2_000_000, 3);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    let incident = story.is(Cause::FirewallDrop);
    assert!(incident.verdict.evidence.iter().any(|one| one.says.contains("lb-2 got")), "{incident:#?}");
}

/// A pool of two, the second on another host, behind a gateway whose line names no upstream when it waits in vain.
fn pool_of_two() -> Pool {
    let mut pool = pool_of("http");
    pool.members.push(PoolMember { address: "10.0.0.3:3000".into(), ..Default::default() });
    pool
}

fn names_no_upstream() -> EventKind {
    let EventKind::Failure(mut failed) = failure(Signal::ReadTimeout, 504, 3_000_000, "GET", "/") else {
        unreachable!()
    };
    failed.attempts.clear();
    EventKind::Failure(failed)
}

#[test]
fn where_the_line_names_no_upstream_the_one_whose_host_shows_trouble_is_meant() {
    let mut story = Story::behind("caddy", pool_of_two());
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    story.pass(4).lb(names_no_upstream()).lb(names_no_upstream()).pass(3);
    assert_eq!(story.is(Cause::ProcessHung).upstream.as_deref(), Some(UPSTREAM));
}

#[test]
fn where_nobodys_host_shows_trouble_none_is_singled_out() {
    let mut story = Story::behind("caddy", pool_of_two());
    story.pass(4).lb(names_no_upstream()).pass(3);
    let incident = story.is(Cause::Unknown);
    assert_eq!(incident.upstream, None);
}

/// Envoy's record of a request that another member served in the end: of the attempts before it tells nothing but their number.
fn served_by_the_other() -> EventKind {
    let EventKind::Failure(mut failed) = failure(Signal::RetriedOk, 200, 2_000_000, "GET", "/") else { unreachable!() };
    failed.origin = Origin::App;
    let attempt = |upstream: &str, signal| Attempt { upstream: upstream.into(), signal, ..failed.attempts[0].clone() };
    failed.attempts = vec![attempt("", Signal::UpstreamErrorUnspecified), attempt("10.0.0.3:3000", Signal::Ok)];
    EventKind::Failure(failed)
}

#[test]
fn an_attempt_without_a_name_is_of_the_member_that_is_known_to_fail() {
    let mut story = Story::behind("envoy", pool_of_two());
    story.fails(Signal::ConnectTimeout, 503, 2 * SECOND as u64, 3);
    story.lb(served_by_the_other()).lb(served_by_the_other()).pass(3);
    assert_eq!((story.core.incidents().count(), story.incident().count), (1, 5));
    let mut nobody = Story::behind("envoy", pool_of_two());
    nobody.lb(served_by_the_other()).pass(3);
    assert_eq!(nobody.incident().upstream, None);
}

/// A host says whether its service leads.
fn role(story: &mut Story, host: &str, at_us: i64, leader: bool) {
    let change = RoleChanged { service: "api".into(), leader, says: "GET /health: leader".into() };
    let events = vec![Event { at_us, kind: EventKind::RoleChanged(change) }];
    story.report(host, Report { events, ..Default::default() });
}

#[test]
fn who_leads_while_another_says_that_it_does_not() {
    let mut story = Story::new();
    let now_us = story.now_us;
    role(&mut story, "app-1", now_us, false);
    role(&mut story, "app-2", now_us, true);
    story.pass(30).log("not_leader", "not the leader").fails(Signal::AppStatus, 503, 2_000, 3).pass(4);
    let incident = story.is(Cause::AppNotLeader);
    let says = |words: &str| incident.verdict.evidence.iter().any(|one| one.says.contains(words));
    assert!(says("app-2 (for 30 s) held the leadership"), "{incident:#?}");
    assert!(incident.verdict.advice[0].contains("api on app-2"), "{incident:#?}");
}

#[test]
fn a_gap_without_a_leader_and_two_that_claim_it() {
    let mut gap = Story::new();
    let now_us = gap.now_us;
    role(&mut gap, "app-1", now_us, false);
    gap.pass(5).log("not_leader", "not the leader").fails(Signal::AppStatus, 503, 2_000, 3).pass(4);
    let evidence = gap.is(Cause::AppNotLeader).verdict.evidence;
    assert!(evidence.iter().any(|one| one.says.contains("nobody held the leadership")), "{evidence:#?}");
    let mut both = Story::new();
    let now_us = both.now_us;
    role(&mut both, "app-2", now_us, true);
    role(&mut both, "app-3", now_us, true);
    both.pass(5).log("not_leader", "not the leader").fails(Signal::AppStatus, 503, 2_000, 3).pass(4);
    let evidence = both.is(Cause::AppNotLeader).verdict.evidence;
    assert!(evidence.iter().any(|one| one.says.contains("several claimed")), "{evidence:#?}");
}
