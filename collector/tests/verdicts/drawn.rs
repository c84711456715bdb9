//! What stories drawn by chance taught: stops that take their time, hosts that are heard of seldom, ways that were mended.

use super::story::{SECOND, Story, UPSTREAM, failure, instance};
use why502::model::*;

/// The instance gives its listener up and goes on with what it has.
fn gives_up_its_listener(story: &mut Story) {
    story.listens(false).refuses();
    if let Some(sample) = &mut story.instance {
        sample.listeners.clear();
    }
}

#[test]
fn a_stop_that_takes_its_time_is_a_stop_though_it_ends_by_sigkill() {
    let mut story = Story::new();
    gives_up_its_listener(&mut story);
    for _ in 0..5 {
        story.fails(Signal::ConnectRefused, 502, 0, 20).pass(1);
    }
    story.is_not_surely(Cause::PortNotListening);
    let now_us = story.now_us;
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 20).pass(10);
    let incident = story.is(Cause::ProcessStopped);
    let says: String = incident.verdict.evidence.iter().map(|evidence| evidence.says.as_str()).collect();
    assert!(says.contains("5.0 s after it gave its listener up"), "{says} at {now_us}");
}

#[test]
fn what_goes_on_for_long_without_its_listener_does_not_listen() {
    let mut story = Story::new();
    gives_up_its_listener(&mut story);
    for _ in 0..45 {
        story.fails(Signal::ConnectRefused, 502, 0, 2).pass(1);
    }
    story.is(Cause::PortNotListening);
}

#[test]
fn how_several_processes_ended_their_leader_tells() {
    let mut story = Story::new();
    let worker = |leader: bool, remaining, signal, exit_code| {
        EventKind::ProcessExited(ProcessExited {
            service: "api".into(),
            pid: if leader { 100 } else { 104 },
            name: "gunicorn".into(),
            signal,
            exit_code,
            source: ExitSource::Pidfd,
            leader,
            remaining,
            still_listening: Some(remaining > 0),
            served: true,
            ..Default::default()
        })
    };
    story.app(worker(true, 1, None, Some(0))).app(worker(false, 0, Some(15), None)).listens(false).refuses();
    story.instance = Some(InstanceSample { service: "api".into(), listeners_known: true, ..Default::default() });
    story.fails(Signal::ConnectRefused, 502, 0, 20).pass(10);
    story.is(Cause::ProcessStopped);
}

/// gunicorn was asked to stop, and killed before it had.
#[test]
fn what_is_killed_while_its_workers_wind_up_was_being_stopped() {
    let killed = |worker: &str, gives_up: bool, replaced: bool| {
        let mut story = Story::new();
        let ends = |pid, leader, exit_code, signal| {
            EventKind::ProcessExited(ProcessExited {
                service: "api".into(),
                pid,
                parent_pid: if leader { 1 } else { 100 },
                name: if leader { "gunicorn" } else { worker }.into(),
                started_us: 1,
                exit_code,
                signal,
                source: ExitSource::Pidfd,
                leader,
                remaining: u32::from(!leader),
                still_listening: leader.then_some(false),
                served: true,
                ..Default::default()
            })
        };
        story.app(ends(104, false, Some(0), None));
        if gives_up {
            story.listens(false);
        }
        story.pass(1);
        if replaced {
            let (now_us, service) = (story.now_us, "api".to_owned());
            let start = ProcessStarted { service, pid: 105, parent_pid: 100, started_us: now_us, ..Default::default() };
            story.app(EventKind::ProcessStarted(start));
        }
        story.app(ends(100, true, None, Some(9))).listens(false).refuses();
        story.instance = Some(InstanceSample { service: "api".into(), listeners_known: true, ..Default::default() });
        story.fails(Signal::ConnectRefused, 502, 0, 20).pass(10);
        story
    };
    killed("gunicorn", true, false).is(Cause::ProcessStopped);
    killed("gunicorn", true, true).is(Cause::ProcessKilled);
    killed("gunicorn", false, false).is(Cause::ProcessKilled);
    killed("sh", true, false).is(Cause::ProcessKilled);
}

/// The agent of app-1 reports once a minute.
fn reports_seldom(story: &mut Story) {
    let (host, boot_id) = ("app-1".into(), "b1".into());
    let hello = Hello { host, boot_id, epoch: 1, interval_us: 60_000_000, ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
}

/// Nothing of the host answers, and its agent would not be late for a while yet.
#[test]
fn a_host_that_was_heard_only_before_it_went_down_is_no_unreachable_one() {
    let mut story = Story::new();
    reports_seldom(&mut story);
    story.instance = None;
    story.answered = 0;
    story.pass(1).fails(Signal::ConnectTimeout, 504, 1_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(false)).pass(5);
    story.is_not_surely(Cause::PathUnreachable);
}

#[test]
fn a_stream_that_breaks_and_does_not_come_back_is_silence() {
    let mut story = Story::new();
    let hello =
        Hello { host: "app-1".into(), boot_id: "b1".into(), epoch: 1, interval_us: 60_000_000, ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
    let ended = RecordKind::StreamEnded { host: "app-1".into(), why: CONNECTION_LOST.into() };
    story.core.apply(&Record { received_us: story.now_us, kind: ended });
    story.instance = None;
    story.answered = 0;
    for _ in 0..8 {
        story.fails(Signal::ConnectTimeout, 504, 1_000_000, 5);
        story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(false)).pass(1);
    }
    story.is(Cause::HostDown);
}

fn full(path: &str) -> MountSample {
    MountSample { path: path.into(), total_bytes: 1 << 20, services: vec!["api".into()], ..Default::default() }
}

#[test]
fn a_disk_that_filled_up_explains_what_the_application_answers() {
    let mut story = Story::new();
    story.pass(40);
    story.host.mounts = vec![full("/srv")];
    story.fails(Signal::AppStatus, 500, 2_000, 20).pass(3);
    story.is(Cause::DiskFull);
}

#[test]
fn a_disk_that_was_full_all_along_does_not() {
    let mut story = Story::new();
    story.host.mounts = vec![full("/srv")];
    story.pass(40).fails(Signal::AppStatus, 500, 2_000, 20).pass(3);
    story.is(Cause::AppError);
}

/// Most failures came while it was away, however many came while it started: every one counts, not only those kept in full.
#[test]
fn a_stop_that_is_mended_is_told_by_all_failures() {
    let mut story = Story::new();
    story.exits(100, None, Some(0));
    for _ in 0..6 {
        story.fails(Signal::ConnectRefused, 502, 0, 60).pass(1);
    }
    let now_us = story.now_us;
    story.started(101, now_us, "v1", false);
    for _ in 0..2 {
        story.fails(Signal::ConnectRefused, 502, 0, 60).pass(1);
    }
    story.comes_back(101, "v1").pass(40);
    let incident = story.is(Cause::ProcessStopped);
    assert_eq!(incident.upstream.as_deref(), Some(UPSTREAM));
}

/// A server that stops ends its workers by a signal and then itself.
#[test]
fn workers_that_their_leader_took_along_were_not_killed() {
    let mut story = Story::new();
    let worker = ProcessExited {
        service: "api".into(),
        pid: 104,
        name: "uwsgi".into(),
        signal: Some(2),
        source: ExitSource::Pidfd,
        remaining: 1,
        still_listening: Some(true),
        served: true,
        ..Default::default()
    };
    story.app(EventKind::ProcessExited(worker));
    story.fails(Signal::ClosedBeforeHeaders, 502, 3_000, 5).pass(1);
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 10).pass(2);
    story.comes_back(101, "v1").pass(3);
    story.is_not_surely(Cause::WorkerKilled);
}

/// A disk fills up between two reports of its host: until the next one nobody knows what the 500 are made of.
#[test]
fn what_the_application_answers_is_its_own_for_sure_once_its_host_was_looked_at() {
    let mut story = Story::new();
    let reported = story.instance.take();
    story.pass(1).fails(Signal::AppStatus, 500, 2_000, 20).pass(3);
    story.is_not_surely(Cause::AppError);
    story.instance = reported;
    story.fails(Signal::AppStatus, 500, 2_000, 20).pass(3);
    assert!(story.is(Cause::AppError).verdict.confidence > 0.8);
}

#[test]
fn nobody_is_live_for_the_reason_that_was_met_before() {
    let mut story = Story::new();
    story.instance = None;
    story.fails(Signal::ConnectTimeout, 503, SECOND as u64, 10).fails(Signal::NoLiveUpstream, 503, 0, 200).pass(3);
    story.is_not_surely(Cause::NoLiveUpstream);
}

/// One request was under way when the gateway took the upstream out; the checks say since then what keeps it out.
#[test]
fn checks_that_fail_are_attempts_as_well() {
    let mut story = Story::new();
    story.answered = 0;
    story.fails(Signal::ClosedBeforeHeaders, 502, 4 * SECOND as u64, 1);
    for _ in 0..8 {
        let notice = GatewayNotice {
            gateway: "edge".into(),
            upstream: UPSTREAM.into(),
            signal: Signal::HealthCheckDown,
            check_signal: "connect_unreachable".into(),
            ..Default::default()
        };
        story.lb(EventKind::Notice(notice)).fails(Signal::NoLiveUpstream, 503, 0, 5);
        story.probe(&["connect_unreachable"; 4], |probe| {
            let error = "EHOSTUNREACH".into();
            probe.route = Some(RouteLookup { found: false, error, ..Default::default() });
        });
        story.pass(1);
    }
    story.is(Cause::NoRoute);
}

/// An access log of nginx tells no closed connection from a header that it would not take.
#[test]
fn a_header_that_a_probe_finds_too_big_is_no_closed_connection() {
    let pool = Pool { header_limit_bytes: 4096, ..Story::pool() };
    let fails = |header_bytes: Option<u64>| {
        let mut story = Story::with_pool(pool.clone());
        story.answered = 0;
        story.fails(Signal::NoResponseHeaders, 502, 2_000, 9);
        if let Some(header_bytes) = header_bytes {
            let http = HttpTry {
                request: "GET /".into(),
                status: 200,
                signal: "ok".into(),
                header_bytes,
                ..Default::default()
            };
            story.probe(&["connected"; 4], |probe| probe.http = Some(http));
        }
        story.pass(3);
        story
    };
    fails(Some(20_000)).is(Cause::HeaderTooBig);
    fails(Some(300)).is_not_surely(Cause::HeaderTooBig);
    fails(None).is_not_surely(Cause::HeaderTooBig);
}

/// The check's endpoint hangs because all does.
#[test]
fn what_answers_nothing_has_no_slow_health_endpoint() {
    let mut story = Story::new();
    story.pass(20);
    story.answered = 0;
    story.fails(Signal::ReadTimeout, 504, 2 * SECOND as u64, 12).pass(2);
    let health = HealthResult { status: 0, first_byte_us: None, timeout_us: 2_000_000, ..story.health.clone() };
    story.health = HealthResult { signal: "read_timeout".into(), ..health };
    let notice = GatewayNotice {
        gateway: "edge".into(),
        upstream: UPSTREAM.into(),
        signal: Signal::HealthCheckDown,
        check_signal: "read_timeout".into(),
        check_us: Some(1_000_000),
        ..Default::default()
    };
    story.lb(EventKind::Notice(notice)).pass(1).fails(Signal::NoLiveUpstream, 503, 0, 80).pass(8);
    story.is(Cause::ProcessHung);
}

/// Envoy's record of a request that was tried again names the last upstream alone.
#[test]
fn a_member_that_probes_tell_from_the_others_is_singled_out_for_attempts_without_a_name() {
    let other = PoolMember { address: "10.0.0.3:3000".into(), ..Default::default() };
    let mut pool = Pool { header_limit_bytes: 4096, ..Story::pool() };
    pool.members.push(other.clone());
    let retried = |header_bytes| {
        let mut story = Story::behind("envoy", pool.clone());
        story.answered = 0;
        for _ in 0..8 {
            let mut event = failure(Signal::UpstreamErrorUnspecified, 200, 3_000, "GET", "/");
            if let EventKind::Failure(failure) = &mut event {
                (failure.origin, failure.signal, failure.pool) = (Origin::App, Signal::RetriedOk, "api".into());
                failure.attempts[0].upstream = String::new();
                failure.attempts.push(Attempt { upstream: other.address.clone(), status: 200, ..Default::default() });
            }
            story.lb(event).pass(1);
        }
        let request = "GET /".into();
        let http = HttpTry { request, status: 200, signal: "ok".into(), header_bytes, ..Default::default() };
        story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(2);
        story.incident()
    };
    let told = retried(20_000);
    assert_eq!((told.upstream.as_deref(), told.verdict.cause), (Some(UPSTREAM), Cause::HeaderTooBig), "{told:#?}");
    let untold = retried(300);
    assert_eq!((untold.upstream, untold.verdict.cause), (None, Cause::Unknown));
    let alternatives: Vec<Cause> = untold.verdict.alternatives.iter().map(|(cause, _)| *cause).collect();
    assert_eq!(alternatives, [], "nothing is known of an upstream without a name");
}

/// Two members fail, each for its own reason; an attempt that was made again names neither.
#[test]
fn attempts_without_a_name_are_no_incident_beside_those_of_known_upstreams() {
    let others =
        ["10.0.0.3:3000", "10.0.0.4:3000"].map(|address| PoolMember { address: address.into(), ..Default::default() });
    let pool = Pool { members: Story::pool().members.into_iter().chain(others).collect(), ..Story::pool() };
    let retried = |named: &[&str]| {
        let mut story = Story::behind("envoy", pool.clone());
        for second in 0..8 {
            for upstream in named.iter().filter(|_| second == 0) {
                let mut event = failure(Signal::ConnectTimeout, 503, 1_000_000, "POST", "/");
                if let EventKind::Failure(failure) = &mut event {
                    failure.attempts[0].upstream = (*upstream).into();
                }
                story.lb(event).pass(3);
            }
            let mut event = failure(Signal::UpstreamErrorUnspecified, 200, 3_000, "GET", "/");
            if let EventKind::Failure(failure) = &mut event {
                (failure.origin, failure.signal, failure.pool) = (Origin::App, Signal::RetriedOk, "api".into());
                failure.attempts[0].upstream = String::new();
                failure.attempts.push(Attempt { upstream: "10.0.0.4:3000".into(), status: 200, ..Default::default() });
            }
            story.lb(event).pass(1);
        }
        story.core.incidents().filter(|incident| incident.upstream.is_none()).count()
    };
    assert_eq!(retried(&[]), 1, "nothing else tells of them");
    assert_eq!(retried(&[UPSTREAM, "10.0.0.3:3000"]), 0);
}

/// A member that probes tell from the others is told for what it does to requests that fail, not once more for attempts without
/// a name.
#[test]
fn attempts_without_a_name_are_no_incident_of_a_member_that_is_known_to_fail() {
    let other = PoolMember { address: "10.0.0.3:3000".into(), ..Default::default() };
    let mut pool = Pool { header_limit_bytes: 4096, ..Story::pool() };
    pool.members.push(other.clone());
    let mut story = Story::behind("envoy", pool);
    story.answered = 0;
    for second in 0..10 {
        for upstream in [UPSTREAM, "10.0.0.3:3000"].into_iter().filter(|_| second == 0) {
            let mut event = failure(Signal::ConnectTimeout, 503, 1_000_000, "POST", "/");
            if let EventKind::Failure(failure) = &mut event {
                failure.attempts[0].upstream = upstream.into();
            }
            story.lb(event);
        }
        let mut event = failure(Signal::UpstreamErrorUnspecified, 200, 3_000, "GET", "/");
        if let EventKind::Failure(failure) = &mut event {
            (failure.origin, failure.signal, failure.pool) = (Origin::App, Signal::RetriedOk, "api".into());
            failure.attempts[0].upstream = String::new();
            failure.attempts.push(Attempt { upstream: other.address.clone(), status: 200, ..Default::default() });
        }
        story.lb(event).pass(1);
    }
    let request = "GET /".into();
    let http = HttpTry { request, status: 200, signal: "ok".into(), header_bytes: 20_000, ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(4);
    let mut upstreams: Vec<_> = story.core.incidents().map(|incident| incident.upstream.clone()).collect();
    upstreams.sort();
    assert_eq!(upstreams, [Some(UPSTREAM.to_owned()), Some(other.address)]);
}

/// A gateway that checks has taken it out before many requests failed, long before the host is back.
#[test]
fn a_host_that_comes_back_with_another_boot_id_was_rebooted_though_nothing_failed_any_more() {
    let mut story = Story::behind("haproxy", Story::pool());
    story.instance = None;
    story.answered = 0;
    story.pass(1).fails(Signal::ConnectTimeout, 503, SECOND as u64, 4);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(false)).pass(10);
    story.is(Cause::HostDown);
    let (host, boot_id) = ("app-1".into(), "b2".into());
    let hello = Hello { host, boot_id, epoch: 2, interval_us: 1_000_000, ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
    story.instance = Some(instance(100, story.now_us));
    story.host.uptime_us = SECOND as u64;
    story.pass(1).is(Cause::HostRebooted);
}

/// A service that nobody asks for its health was started anew with TLS; its gateway went on in plain text.
#[test]
fn what_closes_on_plain_requests_and_takes_a_handshake_speaks_tls() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 2).comes_back(101, "v1");
    for _ in 0..5 {
        story.fails(Signal::ClosedBeforeHeaders, 502, 1_000, 10);
        story.probe(&["connected"; 4], |probe| {
            probe.http =
                Some(HttpTry { request: "GET /".into(), signal: "closed_before_headers".into(), ..Default::default() });
            probe.tls = Some(TlsTry { ok: true, ..Default::default() });
        });
        story.pass(2);
    }
    story.is(Cause::WrongProtocol);
}

/// It was down for a moment; what fails ever since then fails for another reason.
#[test]
fn a_stop_explains_nothing_that_failed_when_it_listened_again() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 2).comes_back(101, "v1").pass(3);
    for _ in 0..8 {
        story.fails(Signal::ClosedBeforeHeaders, 502, 1_000, 10).pass(1);
    }
    let incident = story.incident();
    assert_ne!(incident.verdict.cause, Cause::ProcessStopped, "{:#?}", incident.verdict);
}

/// HAProxy closes a kept connection without a word when it fails a request on it, so that whoever asked asks again.
#[test]
fn what_a_gateway_behind_cuts_when_it_fails_itself_is_of_its_making() {
    let mut story = Story::new();
    if let Some(sample) = &mut story.instance {
        sample.processes[0].name = "haproxy".into();
    }
    let fails_behind = |story: &mut Story| {
        let mut kind = failure(Signal::ConnectRefused, 503, 1_000, "GET", "/");
        if let EventKind::Failure(failure) = &mut kind {
            failure.gateway = "inner".into();
            failure.attempts[0].upstream = "10.0.0.9:3000".into();
        }
        let config = GatewayConfig { gateway: "inner".into(), kind: "haproxy".into(), ..Default::default() };
        let events = vec![Event { at_us: story.now_us, kind }];
        story.report("app-1", Report { gateways: vec![config], events, ..Default::default() });
    };
    for _ in 0..4 {
        fails_behind(&mut story);
        story.fails(Signal::NoResponseHeaders, 503, 2_000, 7).pass(1);
    }
    story.is_not_surely(Cause::PrematureClose);
    story.is(Cause::InnerGateway);
}

/// Who waits for a CPU uses little of it, and has connections wait as well.
#[test]
fn workers_that_wait_for_a_cpu_are_not_too_few() {
    let mut story = Story::new();
    story.host.cpu_busy_ratio = Some(1.0);
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].queue = 20;
        sample.processes[0].run_delay_ratio = Some(1.0);
        sample.processes[0].cpu_ratio = Some(0.3);
    }
    story.pass(4);
    for _ in 0..5 {
        story.fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 4).pass(2);
    }
    story.is(Cause::CpuSaturated);
}

/// What members met before they were taken out is why they were, though nobody could see what was behind it.
#[test]
fn members_that_failed_before_they_were_taken_out_were_not_just_taken_out() {
    let mut story = Story::behind("haproxy", Story::pool());
    story.instance = None;
    story.fails(Signal::ConnectFailed, 503, 0, 4).fails(Signal::NoLiveUpstream, 503, 0, 58).pass(10);
    let incident = story.incident();
    assert_ne!(incident.verdict.cause, Cause::NoLiveUpstream, "{:#?}", incident.verdict);
}

/// A gateway that tries a member again only after a while meets the first start of a release that never comes up.
#[test]
fn a_release_that_ends_at_each_start_loops_though_nobody_asks_it_any_more() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 7);
    for pid in 101..105 {
        let now_us = story.now_us;
        story.started(pid, now_us, "v2", false).pass(1);
        let exit = ProcessExited {
            service: "api".into(),
            pid,
            started_us: now_us,
            name: "node".into(),
            exit_code: Some(1),
            source: ExitSource::Pidfd,
            leader: true,
            still_listening: Some(false),
            served: true,
            ..Default::default()
        };
        story.app(EventKind::ProcessExited(exit)).pass(2);
    }
    story.is_not_surely(Cause::Deploying);
    story.is(Cause::CrashLooping);
}

/// What ran for days was told of too long ago: what it was made of comes with its end.
#[test]
fn a_release_in_place_of_what_ran_for_days_is_a_deployment() {
    let replaced = |before: &str, since: &str, settled: Option<&str>| {
        let mut story = Story::new();
        story.pass(400);
        story.exits(100, None, Some(0));
        let exit = story.app_events.iter_mut().rev().find_map(|event| match &mut event.kind {
            EventKind::ProcessExited(exit) => Some(exit),
            _ => None,
        });
        exit.unwrap().fingerprint = before.into();
        story.fails(Signal::ConnectRefused, 502, 0, 20).pass(1);
        story.fails(Signal::ConnectRefused, 502, 0, 20).comes_back(101, since);
        let started_us = story.now_us;
        story.pass(2);
        if let Some(make) = settled {
            story.started(101, started_us, make, true);
            if let Some(EventKind::ProcessStarted(start)) = story.app_events.last_mut().map(|event| &mut event.kind) {
                start.settled = true;
            }
        }
        story.pass(3);
        story
    };
    replaced("a-srv", "b-srv", Some("b-srv")).is(Cause::Deploying);
    replaced("a-srv1", "b-srv2", Some("b-srv2")).is(Cause::Deploying);
    // gunicorn goes to its application's folder when Python has loaded it.
    replaced("a-srv", "x-root", None).is_not_surely(Cause::Deploying);
    replaced("a-srv", "x-root", Some("a-srv")).is_not_surely(Cause::Deploying);
}

/// What hung was ended at last; most requests had come when the gateway's check had taken it out already.
#[test]
fn a_hang_is_told_by_those_that_waited_though_most_found_it_taken_out() {
    let mut story = Story::behind("haproxy", Story::pool());
    story.answered = 0;
    story.health.signal = "read_timeout".into();
    (story.health.status, story.health.first_byte_us) = (0, None);
    for _ in 0..4 {
        story.fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 4).fails(Signal::NoLiveUpstream, 503, 0, 15).pass(1);
    }
    story.exits(100, Some(9), None).pass(1).fails(Signal::ConnectRefused, 503, 0, 2).pass(4);
    let incident = story.core.incidents().next().unwrap();
    assert_eq!(incident.verdict.cause, Cause::ProcessHung, "{:#?}", incident.verdict);
}

#[test]
fn varnish_says_the_same_of_a_header_that_is_too_long_and_of_a_malformed_one() {
    let told = |header_bytes: u64| {
        let mut story = Story::behind("varnish", Story::pool());
        for _ in 0..5 {
            story.fails(Signal::HeaderInvalid, 503, 1_000, 6);
            story.probe(&["connected"; 4], |probe| {
                let http = HttpTry { request: "GET /".into(), status: 200, header_bytes, ..Default::default() };
                probe.http = Some(http);
            });
            story.pass(2);
        }
        story
    };
    told(300).is(Cause::HeaderInvalid);
    told(30_000).is(Cause::HeaderTooBig);
}

/// The other gateway's first answer after the process was let go on has the stamp of the second before; here the last of those
/// that had waited failed a moment later.
#[test]
fn what_another_gateway_gets_when_all_is_mended_was_not_answered_meanwhile() {
    let stopped_until = |answered_after_us: i64| {
        let mut story = Story::new();
        story.answered = 0;
        if let Some(sample) = &mut story.instance {
            (sample.processes[0].state, sample.listeners[0].queue) = ("T".into(), 6);
        }
        let began_us = story.now_us;
        story.pass(3);
        for _ in 0..3 {
            story.fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 4).pass(1);
        }
        let at_us = began_us + answered_after_us;
        let other = UpstreamSample {
            gateway: "other".into(),
            upstream: UPSTREAM.into(),
            from_us: at_us - SECOND,
            to_us: at_us,
            answered: 4,
            last_answered_us: at_us,
            ..Default::default()
        };
        story.report("lb-2", Report { upstreams: vec![other], ..Default::default() });
        story.pass(2);
        story.incident().verdict.cause
    };
    assert_eq!(stopped_until(5 * SECOND), Cause::ProcessHung);
    assert_ne!(stopped_until(SECOND / 2), Cause::ProcessHung);
}

/// The log's sums of one second hold the last answers before a quota was set and the first requests that waited under it.
#[test]
fn what_was_answered_just_before_the_trouble_speaks_for_no_hang() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        let cgroup = CgroupSample { throttled_periods_ratio: Some(1.0), cpu_quota: Some(0.02), ..Default::default() };
        (sample.cgroup, sample.listeners[0].queue) = (Some(cgroup), 200);
    }
    story.pass(1);
    let (from_us, to_us) = (story.now_us - SECOND, story.now_us);
    let sample = UpstreamSample {
        gateway: "edge".into(),
        upstream: UPSTREAM.into(),
        from_us,
        to_us,
        answered: 20,
        response_sum_us: 40_000,
        first_answered_us: from_us + 1_000,
        last_answered_us: to_us - SECOND / 2,
        ..Default::default()
    };
    story.report("lb-1", Report { upstreams: vec![sample], ..Default::default() });
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_400_000, 10);
    let http = HttpTry { request: "GET /".into(), signal: "read_timeout".into(), ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(3);
    story.is(Cause::CpuThrottled);
}

/// Two requests met the moment of a restart, forty found nobody live after the check had met a handshake that fails, and at the
/// end the check met the restart that mended it.
#[test]
fn what_keeps_an_upstream_out_weighs_as_much_as_what_fails_for_it() {
    let mut story = Story::behind("haproxy", Pool { scheme: "https".into(), ..Story::pool() });
    let check = |check_signal: &str| {
        EventKind::Notice(GatewayNotice {
            gateway: "edge".into(),
            upstream: UPSTREAM.into(),
            signal: Signal::HealthCheckDown,
            check_signal: check_signal.into(),
            ..Default::default()
        })
    };
    story.answered = 0;
    story.health.url = format!("https://{UPSTREAM}/health");
    story.pass(1).fails(Signal::ConnectFailed, 503, 0, 2).lb(check("connect_refused")).pass(1);
    story.lb(check("tls_handshake")).pass(1);
    for _ in 0..8 {
        story.fails(Signal::NoLiveUpstream, 503, 0, 5).pass(1);
    }
    story.lb(check("connect_refused")).fails(Signal::NoLiveUpstream, 503, 0, 2).pass(1);
    story.is(Cause::TlsHandshakeFailed);
}

/// Its agent was stopped, it ended again and again, and the agent came back once it ran: what listens then says nothing of before.
#[test]
fn a_process_that_is_only_found_after_the_failures_did_not_listen_all_the_while() {
    let mut story = Story::new();
    let (instance_before, probe) = (story.instance.take(), ["connect_refused"; 4]);
    assert!(instance_before.is_some());
    story.answered = 0;
    for _ in 0..4 {
        story.fails(Signal::ConnectRefused, 503, 0, 8).pass(1);
    }
    story.probe(&probe, |_| {}).pass(1);
    let began_us = story.now_us - SECOND / 2;
    let api = ServiceConfig { name: "api".into(), listen: vec![UPSTREAM.into()], declared: true, ..Default::default() };
    story.greets("app-1", 2, vec![api], vec![]);
    story.instance = Some(instance(200, began_us));
    story.answered = 20;
    story.started(200, began_us, "v1", true).pass(5);
    let incident = story.is_not_surely(Cause::FirewallReject);
    let says = |evidence: &Evidence| evidence.says.contains("was started anew; its end was not seen");
    assert!(incident.verdict.evidence.iter().any(says), "{:#?}", incident.verdict);
}

/// From the gateway alone a lack of workers looks like some requests that take too long.
#[test]
fn that_some_requests_are_late_is_no_sure_cause_where_nobody_sees_the_instance() {
    let late = |seen: bool| {
        let mut story = Story::new();
        if !seen {
            story.instance = None;
            story.pass(70);
        }
        (0..6).for_each(|_| {
            story.fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 2).pass(2);
        });
        story
    };
    late(false).is_not_surely(Cause::GatewayTimeout);
    assert!(late(true).is(Cause::GatewayTimeout).verdict.confidence > 0.9);
}

/// The gateway had taken it out before its host counted the connections again, of which one, the check's, hears nothing.
#[test]
fn what_is_counted_after_it_was_taken_out_tells_of_the_same_trouble() {
    let mut story = Story::behind("haproxy", Story::pool());
    story.answered = 0;
    story.pass(2).fails(Signal::ReadTimeout, 504, 2 * SECOND as u64, 30);
    let http = HttpTry { request: "GET /".into(), signal: "read_timeout".into(), ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(8);
    if let Some(sample) = &mut story.instance {
        (sample.listeners[0].established, sample.listeners[0].unacknowledged) = (Some(1), 1);
    }
    story.pass(2).is(Cause::PacketLoss);
}
