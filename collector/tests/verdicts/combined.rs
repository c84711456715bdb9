//! Several things at once: two faults, red herrings, several gateways, late evidence, names instead of addresses.

use super::story::{SECOND, Story, UPSTREAM, failure, instance};
use why502::model::*;

/// A failure towards any upstream, on gateway `edge`.
fn towards(upstream: &str, signal: Signal, pool: &str) -> Failure {
    let EventKind::Failure(mut failed) = failure(signal, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = upstream.into();
    failed.pool = pool.into();
    failed
}

/// Adds a host with its agent and one service `api` that listens at an address.
fn add_host(story: &mut Story, name: &str, ip: &str) {
    let services =
        vec![ServiceConfig { name: "api".into(), listen: vec!["3000".into()], declared: true, ..Default::default() }];
    let hello = Hello {
        host: name.into(),
        boot_id: name.into(),
        epoch: 1,
        interval_us: 1_000_000,
        services,
        ..Default::default()
    };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
    report_host(story, name, ip, vec![]);
}

fn report_host(story: &mut Story, name: &str, ip: &str, events: Vec<EventKind>) {
    let eth0 = InterfaceSample { name: "eth0".into(), addresses: vec![ip.into()], ..Default::default() };
    let host_sample = Some(HostSample { at_us: story.now_us, interfaces: vec![eth0], ..Default::default() }.into());
    let mut sample = instance(100, story.now_us - 3600 * SECOND);
    sample.at_us = story.now_us;
    sample.listeners[0].address = "0.0.0.0:3000".into();
    let at_us = story.now_us;
    let events = events.into_iter().map(|kind| Event { at_us, kind }).collect();
    story.report(name, Report { host_sample, instances: vec![sample.into()], events, ..Default::default() });
}

fn causes(story: &Story) -> Vec<(String, Cause)> {
    let named = |incident: &Incident| (incident.upstream.clone().unwrap_or_default(), incident.verdict.cause);
    story.core.incidents().map(|incident| named(incident)).collect()
}

fn killed(signal: u32) -> EventKind {
    EventKind::ProcessExited(ProcessExited {
        service: "api".into(),
        pid: 100,
        signal: Some(signal),
        source: ExitSource::Pidfd,
        leader: true,
        served: true,
        still_listening: Some(false),
        ..Default::default()
    })
}

#[test]
fn two_instances_fail_at_once_for_two_reasons() {
    let mut story = Story::new();
    add_host(&mut story, "app-2", "10.0.0.3");
    story.exits(100, Some(11), None).fails(Signal::ConnectRefused, 502, 0, 4);
    report_host(&mut story, "app-2", "10.0.0.3", vec![killed(9)]);
    story.lb(EventKind::Failure(towards("10.0.0.3:3000", Signal::ClosedBeforeHeaders, ""))).pass(4);
    let mut causes = causes(&story);
    causes.sort();
    let expected =
        [("10.0.0.2:3000".to_owned(), Cause::ProcessCrashed), ("10.0.0.3:3000".to_owned(), Cause::ProcessKilled)];
    assert_eq!(causes, expected);
}

#[test]
fn two_gateways_towards_one_dead_instance_are_one_group() {
    let mut story = Story::new();
    let lb2 =
        Hello { host: "lb-2".into(), boot_id: "l2".into(), epoch: 1, interval_us: 1_000_000, ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(lb2) });
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 4);
    let at_us = story.now_us;
    story.pass(1);
    let events = vec![Event { at_us, kind: failure(Signal::ConnectRefused, 502, 0, "GET", "/") }];
    story.report("lb-2", Report { events, ..Default::default() });
    story.pass(3);
    let groups: Vec<_> = story.core.incidents().map(|incident| incident.group.clone()).collect();
    assert_eq!(groups.len(), 2);
    assert!(groups[0].is_some() && groups[0] == groups[1], "{groups:?}");
}

#[test]
fn no_live_upstream_counts_to_the_members_that_went_down() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 2).pass(1);
    for _ in 0..10 {
        story.lb(EventKind::Failure(towards("api", Signal::NoLiveUpstream, "")));
    }
    story.pass(3);
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!((story.core.incidents().count(), incident.count, incident.upstream.as_deref()), (1, 12, Some(UPSTREAM)));
}

#[test]
fn an_unrelated_oom_kill_while_a_firewall_drops() {
    let mut story = Story::new();
    story.answered = 0;
    let oom = OomKill { name: "batch".into(), pid: 7, kills: 1, ..Default::default() };
    story.app(EventKind::OomKill(oom)).fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| {
        probe.other_port = Some(ConnectTry { outcome: "connect_refused".into(), ..Default::default() });
    });
    story.pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn a_full_disk_explains_the_crash_and_the_500() {
    let full = |story: &mut Story| {
        let mount = MountSample {
            path: "/var/lib/api".into(),
            total_bytes: 1 << 26,
            services: vec!["api".into()],
            ..Default::default()
        };
        story.host.mounts = vec![mount];
        story.log("disk_full", "write failed: ENOSPC: no space left on device");
    };
    let mut story = Story::new();
    full(&mut story);
    story.pass(1).exits(100, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::DiskFull);
    let mut story = Story::new();
    full(&mut story);
    story.pass(1).fails(Signal::AppStatus, 500, 1_000, 5).pass(3);
    story.is(Cause::DiskFull);
}

#[test]
fn evidence_that_comes_late_revises_the_verdict() {
    let mut story = Story::new();
    let at_us = story.now_us;
    let sample = story.instance.take();
    story.answered = 0;
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(10);
    assert_ne!(story.incident().verdict.cause, Cause::ProcessCrashed);
    let exit = Event { at_us, kind: killed(11) };
    story.report("app-1", Report { events: vec![exit], ..Default::default() });
    drop(sample);
    story.is(Cause::ProcessCrashed);
}

#[test]
fn a_deployment_of_another_service_is_not_this_ones() {
    let mut story = Story::new();
    let mark = Mark { kind: "deploy".into(), service: "web".into(), ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Mark(mark) });
    story.exits(100, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::ProcessCrashed);
}

#[test]
fn hung_for_requests_though_health_answers() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].queue = 8;
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 8).pass(3);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_server_named_in_haproxy_is_found_by_its_configuration() {
    let pool = Pool {
        name: "be_api".into(),
        members: vec![PoolMember { name: "app1".into(), address: UPSTREAM.into(), ..Default::default() }],
        ..Default::default()
    };
    let mut story = Story::with_pool(pool);
    story.exits(100, Some(9), None);
    story.lb(EventKind::Failure(towards("be_api/app1", Signal::ConnectFailed, "be_api"))).pass(3);
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!(incident.upstream.as_deref(), Some(UPSTREAM));
}

#[test]
fn what_a_server_answered_counts_under_its_address_where_the_log_knows_its_name_only() {
    let member = PoolMember { name: "app1".into(), address: UPSTREAM.into(), ..Default::default() };
    let mut story = Story::with_pool(Pool { name: "be_api".into(), members: vec![member], ..Default::default() });
    let answered = |story: &Story| story.core.host("lb-1").unwrap().gateways["edge"].upstreams[UPSTREAM].answered;
    let before = answered(&story);
    story.logged_as = "be_api/app1";
    story.pass(3);
    assert_eq!(answered(&story), before + 3 * story.answered);
    let known: Vec<String> = story.core.host("lb-1").unwrap().gateways["edge"].upstreams.keys().cloned().collect();
    assert_eq!(known, [UPSTREAM]);
}

/// A pool with an active check, its member taken out by the check with these words.
fn taken_out(signal: &str, status: u32, edit: impl FnOnce(&mut Story)) -> Story {
    let mut story = checked(HealthCheck {
        kind: "http".into(),
        path: "/health".into(),
        timeout_us: 1_000_000,
        ..Default::default()
    });
    story.pass(10);
    edit(&mut story);
    story.pass(4);
    let notice = GatewayNotice {
        gateway: "edge".into(),
        upstream: "api/app1".into(),
        signal: Signal::HealthCheckDown,
        check_signal: signal.into(),
        check_status: status,
        says: "Server api/app1 is DOWN".into(),
        ..Default::default()
    };
    story.answered = 0;
    story.lb(EventKind::Notice(notice)).pass(1).lb(none_live()).pass(4);
    story
}

/// A pool with this active check and one member.
fn checked(check: HealthCheck) -> Story {
    let member = PoolMember { name: "app1".into(), address: UPSTREAM.into(), ..Default::default() };
    Story::with_pool(Pool { name: "api".into(), members: vec![member], check: Some(check), ..Default::default() })
}

/// A check was not answered in time.
fn check_down() -> EventKind {
    EventKind::Notice(GatewayNotice {
        gateway: "edge".into(),
        upstream: UPSTREAM.into(),
        signal: Signal::HealthCheckDown,
        check_signal: "read_timeout".into(),
        ..Default::default()
    })
}

/// A request for which no member is left.
fn none_live() -> EventKind {
    let mut failed = towards("", Signal::NoLiveUpstream, "api");
    failed.attempts.clear();
    EventKind::Failure(failed)
}

#[test]
fn health_checks_that_fail_for_four_reasons() {
    let failing = taken_out("app_status", 503, |story| story.health.status = 503);
    assert_eq!(failing.is(Cause::HealthEndpointFailing).upstream.as_deref(), Some(UPSTREAM));
    let slow = taken_out("read_timeout", 0, |story| story.health.first_byte_us = Some(3_000_000));
    slow.is(Cause::HealthEndpointSlow);
    let missing = taken_out("app_status", 404, |_| {});
    missing.is(Cause::HealthCheckWrongTarget);
    let mut strict = checked(HealthCheck { timeout_us: 1_000_000, ..Default::default() });
    strict.health.first_byte_us = Some(1_500_000);
    strict.pass(20).lb(check_down()).pass(1).lb(none_live()).pass(4);
    strict.is(Cause::HealthCheckTooStrict);
}

/// Some gateways tell of each check that fails: by the newest of them the endpoint has been slow for a while.
#[test]
fn what_became_slow_amid_the_checks_is_not_what_it_always_took() {
    let fails = |fast: u64| {
        let check = HealthCheck { timeout_us: 1_000_000, interval_us: 1_000_000, fall: 1, ..Default::default() };
        let mut story = checked(check);
        story.pass(fast);
        story.health.first_byte_us = Some(1_600_000);
        story.answered = 0;
        for _ in 0..10 {
            story.pass(1).lb(check_down()).lb(none_live());
        }
        story.pass(3);
        story
    };
    fails(2).is(Cause::HealthEndpointSlow);
    // Nobody knows what it took before.
    fails(0).is_not_surely(Cause::HealthCheckTooStrict);
}

#[test]
fn the_same_records_give_the_same_incidents() {
    let run = || {
        let mut story = Story::new();
        story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(2);
        story.comes_back(101, "v1").pass(50);
        story.core.incidents().map(|incident| (**incident).clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn an_end_that_was_mended_explains_nothing_later_even_without_traffic() {
    let mut story = Story::new();
    story.exits(100, Some(15), None).pass(2).comes_back(101, "v1");
    story.answered = 0;
    story.pass(20).fails(Signal::HeaderTooBig, 502, 2_000, 2).pass(3);
    story.is(Cause::HeaderTooBig);
    story.fails(Signal::ClosedBeforeHeaders, 502, 2_000, 20).pass(3);
    assert_ne!(story.incident().verdict.cause, Cause::ProcessKilled);
}
