//! Verdicts on stories told as records: each cause, and each pair of look-alikes held apart.
#![allow(clippy::panic, clippy::unwrap_used)] // a test that can not go on panics

mod adversary;
mod combined;
mod drawn;
mod ends;
mod gateways;
mod lasting;
mod lookalike;
mod narrow;
mod story;
mod taken_out;
mod unnamed;
mod ways;

use story::{SECOND, START, Story, UPSTREAM, failure};
use why502::model::*;

fn oom(service: &str) -> EventKind {
    EventKind::OomKill(OomKill {
        service: service.into(),
        pid: 100,
        name: "node".into(),
        limit_bytes: 512 << 20,
        ..Default::default()
    })
}

#[test]
fn healthy_traffic_opens_nothing() {
    let mut story = Story::new();
    story.pass(120);
    assert_eq!(story.core.incidents().count(), 0);
}

#[test]
fn killed_by_sigkill() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ClosedBeforeHeaders, 502, 1000, 1).pass(1);
    story.fails(Signal::ConnectRefused, 502, 0, 20).pass(2);
    let incident = story.is(Cause::ProcessKilled);
    assert!(incident.verdict.confidence > 0.9);
    assert_eq!((incident.count, incident.upstream.as_deref()), (21, Some(UPSTREAM)));
    assert_eq!((incident.host.as_deref(), incident.service.as_deref()), (Some("app-1"), Some("api")));
}

#[test]
fn killed_for_lack_of_memory() {
    let mut story = Story::new();
    story.app(oom("api")).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::OomKilled);
}

#[test]
fn another_services_oom_is_not_this_ones() {
    let mut story = Story::new();
    story.app(oom("batch")).app(oom("")).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn a_namesake_killed_for_lack_of_memory_leaves_a_doubt() {
    let mut story = Story::new();
    story.app(oom("")).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::ProcessKilled);
    assert!(incident.verdict.missing.iter().any(|line| line.contains("of the same name")), "{:#?}", incident.verdict);
    let mut story = Story::new();
    story.app(oom("batch")).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    assert!(story.is(Cause::ProcessKilled).verdict.missing.is_empty());
}

#[test]
fn crashed_by_segfault_and_by_code() {
    for (signal, code) in [(Some(11), None), (None, Some(1)), (None, Some(139)), (Some(6), None)] {
        let mut story = Story::new();
        story.exits(100, signal, code).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
        story.is(Cause::ProcessCrashed);
    }
}

#[test]
fn crash_followed_by_its_restart_stays_a_crash() {
    let mut story = Story::new();
    story.log("uncaught_exception", "TypeError: x is not a function").exits(100, None, Some(1));
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(2).comes_back(101, "v1").pass(5);
    let incident = story.is(Cause::ProcessCrashed);
    assert!(incident.verdict.evidence.iter().any(|evidence| evidence.says.contains("TypeError")));
}

#[test]
fn stopped_and_not_started_again() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::ProcessStopped);
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(10);
    assert!(story.is(Cause::ProcessStopped).verdict.confidence > 0.9);
}

#[test]
fn deployed_with_something_changed() {
    let mut story = Story::new();
    story.exits(100, Some(15), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(2);
    story.comes_back(101, "v2").pass(3);
    story.is(Cause::Deploying);
}

#[test]
fn deployed_under_a_mark() {
    let mut story = Story::new();
    let mark = Mark { kind: "deploy".into(), service: "api".into(), version: "42".into(), host: String::new() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Mark(mark) });
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::Deploying);
}

#[test]
fn a_crash_loop_is_more_than_a_crash_even_after_a_deploy() {
    let mut story = Story::new();
    story.exits(100, Some(15), None).fails(Signal::ConnectRefused, 502, 0, 3).pass(1);
    for pid in 101..105 {
        story.comes_back(pid, "v2");
        story.answered = 0;
        story.pass(1);
        story.exits(pid, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 5).pass(1);
    }
    story.is(Cause::CrashLooping);
}

#[test]
fn warming_up_after_an_unchanged_restart() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).pass(0);
    let now_us = story.now_us + SECOND / 2;
    story.started(101, now_us, "v1", false);
    for _ in 0..6 {
        story.fails(Signal::ConnectRefused, 502, 0, 5).pass(1);
    }
    story.listens(true).instance = Some(story::instance(101, now_us));
    story.pass(3);
    story.is(Cause::WarmingUp);
}

#[test]
fn never_started() {
    let mut story = Story::new();
    // A second service of app-1 that is expected and has never run.
    let api = ServiceConfig {
        name: "jobs".into(),
        listen: vec!["10.0.0.2:4000".into()],
        declared: true,
        ..Default::default()
    };
    let hello = Hello {
        host: "app-1".into(),
        boot_id: "b1".into(),
        epoch: 2,
        interval_us: 1_000_000,
        services: vec![api],
        ..Default::default()
    };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Hello(hello) });
    story.instance = Some(InstanceSample { service: "jobs".into(), listeners_known: true, ..Default::default() });
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/jobs") else {
        unreachable!()
    };
    failed.attempts[0].upstream = "10.0.0.2:4000".into();
    story.lb(EventKind::Failure(failed)).pass(4);
    story.is(Cause::NeverStarted);
}

#[test]
fn hung_by_sigstop() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
        sample.listeners[0].queue = 40;
    }
    story.health.status = 0;
    story.health.signal = "read_timeout".into();
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 4).pass(2);
    story.is(Cause::ProcessHung);
}

/// Hangs for four seconds, which its clients see fail.
fn hangs() -> Story {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].queue = 14;
    }
    story.pass(2).fails(Signal::ReadTimeout, 504, 2_000_000, 16).pass(2);
    story.fails(Signal::ReadTimeout, 504, 2_000_000, 16).pass(2);
    story
}

#[test]
fn hung_until_somebody_killed_it() {
    let mut story = hangs();
    // A reading may find nothing before the end itself is told.
    story.instance = Some(InstanceSample { service: "api".into(), listeners_known: true, ..Default::default() });
    story.pass(1).exits(100, Some(9), None);
    story.fails(Signal::ResetBeforeHeaders, 502, 1_000_000, 30).pass(2).comes_back(101, "v1").pass(5);
    story.is(Cause::ProcessHung);
}

#[test]
fn refusals_after_the_end_of_what_hung_are_no_firewalls() {
    let mut story = hangs();
    story.probe(&["connected"; 4], |_| {}).pass(1).exits(100, Some(9), None);
    story.fails(Signal::ConnectRefused, 502, 0, 60).probe(&["connect_refused"; 4], |_| {}).pass(2);
    // Its own host connects again when the gateway's last failures have just come.
    story.comes_back(101, "v1").fails(Signal::ConnectRefused, 502, 0, 30).pass(5);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_slow_path_is_a_gateway_timeout() {
    let mut story = Story::new();
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 2).pass(2);
    story.is(Cause::GatewayTimeout);
}

#[test]
fn listens_on_loopback_only() {
    let mut story = Story::new();
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].address = "127.0.0.1:3000".into();
    }
    story.listens(false).refuses().fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::PortNotListening);
    assert!(incident.verdict.advice[0].contains("127.0.0.1:3000"));
    assert_eq!(incident.verdict.advice.len(), 1, "no gateway elsewhere reaches a loopback address");
}

#[test]
fn rejected_at_a_limited_rate_until_the_rule_was_gone() {
    let mut story = Story::new();
    story.answered = 0;
    story.fails(Signal::ConnectRefused, 502, 0, 6).probe(&["connect_timeout"; 4], |_| {}).pass(2);
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 32).pass(1);
    story.answered = 20;
    story.probe(&["connected"; 4], |_| {}).pass(3);
    story.is(Cause::FirewallReject);
}

#[test]
fn rejected_and_dropped_by_a_firewall() {
    let mut story = Story::new();
    story.fails(Signal::ConnectRefused, 502, 0, 5).probe(&["connect_refused"; 4], |_| {}).pass(3);
    story.answered = 0;
    story.is(Cause::FirewallReject);

    let mut story = Story::new();
    story.answered = 0;
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn dropped_with_nothing_in_reach_is_the_path() {
    let mut story = Story::new();
    story.answered = 0;
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| {
        probe.echo_answered = Some(false);
        probe.other_port = Some(ConnectTry { outcome: "connect_timeout".into(), ..Default::default() });
    });
    story.pass(3);
    story.is(Cause::PathUnreachable);
}

#[test]
fn lost_packets_are_no_firewall() {
    let mut story = Story::new();
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connected", "connect_timeout", "connected", "connect_timeout"], |_| {}).pass(3);
    story.is(Cause::PacketLoss);
}

#[test]
fn host_down_only_after_silence_and_a_dead_probe() {
    let mut story = Story::new();
    story.instance = None;
    story.answered = 0;
    story.pass(1).fails(Signal::ConnectTimeout, 504, 2_000_000, 3).pass(1);
    assert!(story.core.incidents().all(|incident| incident.verdict.cause != Cause::HostDown));
    story.probe(&["connect_unreachable"; 4], |probe| probe.neighbour = "failed".into());
    story.fails(Signal::ConnectUnreachable, 502, 3_000_000, 5).pass(8);
    story.is(Cause::HostDown);
}

#[test]
fn a_host_that_still_refused_while_it_went_down_is_down() {
    let mut story = Story::new();
    story.instance = None;
    story.answered = 0;
    story.fails(Signal::ConnectRefused, 502, 1_000, 3).probe(&["connect_refused"; 4], |_| {}).pass(2);
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 8).pass(6);
    assert!(story.core.incidents().all(|incident| incident.verdict.cause != Cause::HostDown), "it answered so far");
    story.probe(&["connect_timeout"; 4], |_| {}).fails(Signal::ConnectTimeout, 504, 2_000_000, 8).pass(3);
    story.is(Cause::HostDown);
}

#[test]
fn a_host_that_was_shut_down_in_good_order_is_down_once_nothing_of_it_answers() {
    let mut story = Story::new();
    story.app(EventKind::AgentStopping(AgentStopping::default())).pass(1);
    story.instance = None;
    story.answered = 0;
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5).pass(4);
    assert!(story.core.incidents().all(|incident| incident.verdict.cause != Cause::HostDown), "nobody has tried it");
    story.probe(&["connect_unreachable"; 4], |probe| probe.neighbour = "failed".into());
    story.fails(Signal::ConnectUnreachable, 502, 3_000_000, 5).pass(2);
    let verdict = story.is(Cause::HostDown).verdict;
    assert!(verdict.evidence.iter().any(|evidence| evidence.says.contains("was stopped")), "{:#?}", verdict.evidence);
}

/// A probe began while the host was down and was answered by what came back; the newest attempts had begun before that.
#[test]
fn a_host_that_is_back_before_the_last_attempts_time_out_was_down() {
    let mut story = Story::new();
    let sample = story.instance.take();
    story.answered = 0;
    story.pass(2).fails(Signal::ConnectTimeout, 504, 2_000_000, 5).probe(&["connect_timeout"; 4], |_| {}).pass(3);
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connected"; 4], |probe| probe.connects.iter_mut().for_each(|tried| tried.took_us = 3_200_000));
    story.pass(3).fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.instance = sample;
    story.answered = 20;
    story.pass(40);
    story.is(Cause::HostDown);
}

#[test]
fn link_down_told_late_revises_host_down() {
    let mut story = Story::new();
    let down_us = story.now_us;
    let sample = story.instance.take();
    story.answered = 0;
    story.pass(2).fails(Signal::ConnectUnreachable, 502, 3_000_000, 5).pass(8);
    story.instance = sample;
    let link = EventKind::LinkChanged(LinkChanged { interface: "eth0".into(), up: false, what: "carrier".into() });
    story.report("app-1", Report { events: vec![Event { at_us: down_us, kind: link }], ..Default::default() });
    story.pass(2);
    story.is(Cause::LinkDown);
}

#[test]
fn accept_queue_full_while_some_are_answered() {
    let mut story = Story::new();
    story.answered = 3;
    if let Some(sample) = &mut story.instance {
        (sample.listeners[0].queue, sample.listeners[0].queue_limit) = (6, 5);
    }
    story.host.net = Some(NetCounters { listen_overflows: 30, listen_drops: 30, ..Default::default() });
    story.pass(3).fails(Signal::ConnectTimeout, 504, 2_000_000, 10).pass(3);
    story.is(Cause::AcceptQueueOverflow);
}

#[test]
fn workers_all_busy() {
    let mut story = Story::new();
    story.answered = 2;
    if let Some(sample) = &mut story.instance {
        (sample.listeners[0].queue, sample.listeners[0].queue_limit) = (12, 2048);
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 10).pass(3);
    story.is(Cause::WorkerPoolExhausted);
}

#[test]
fn throttled_by_its_quota() {
    let mut story = Story::new();
    story.answered = 2;
    if let Some(sample) = &mut story.instance {
        sample.cgroup =
            Some(CgroupSample { throttled_periods_ratio: Some(0.95), cpu_quota: Some(0.1), ..Default::default() });
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 10).pass(3);
    let incident = story.is(Cause::CpuThrottled);
    assert!(incident.verdict.advice[0].contains("0.10"));
}

#[test]
fn out_of_descriptors() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        (sample.processes[0].fds, sample.processes[0].fd_limit) = (Some(64), Some(64));
        sample.listeners[0].queue = 9;
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 10).pass(3);
    story.is(Cause::FdExhausted);
}

#[test]
fn a_worker_killed_while_its_master_lives() {
    let mut story = Story::new();
    let exit = ProcessExited {
        service: "api".into(),
        pid: 101,
        name: "gunicorn".into(),
        signal: Some(9),
        source: ExitSource::Pidfd,
        remaining: 2,
        still_listening: Some(true),
        ..Default::default()
    };
    story.log("worker_timeout", "[CRITICAL] WORKER TIMEOUT (pid:101)").app(EventKind::ProcessExited(exit));
    story.fails(Signal::ClosedBeforeHeaders, 502, 5_000_000, 1).pass(3);
    story.is(Cause::WorkerKilled);
}

fn keepalive_pool() -> Pool {
    Pool {
        name: "api".into(),
        members: vec![PoolMember { address: UPSTREAM.into(), ..Default::default() }],
        keepalive_idle_us: Some(60_000_000),
        ..Default::default()
    }
}

#[test]
fn keepalive_race_is_proved_by_the_measured_idle_time() {
    let mut story = Story::with_pool(keepalive_pool());
    story.lb(failure(Signal::ResetBeforeHeaders, 502, 500, "POST", "/orders"));
    let answered = HttpTry { request: "GET /health".into(), status: 200, signal: "ok".into(), ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(answered.clone())).pass(5);
    assert!(story.incident().verdict.confidence < 0.8);
    story.probe(&[], |probe| probe.idle_close_us = Some(5_000_000)).pass(2);
    let incident = story.is(Cause::KeepaliveRace);
    assert!(incident.verdict.confidence > 0.9);
    assert!(incident.verdict.advice[0].contains("60 s") && incident.verdict.advice[0].contains("65 s"));
}

#[test]
fn closing_fresh_connections_is_no_race() {
    let mut story = Story::with_pool(keepalive_pool());
    for _ in 0..3 {
        story.lb(failure(Signal::ClosedBeforeHeaders, 502, 3_000, "GET", "/export")).pass(2);
    }
    story.is(Cause::PrematureClose);
}

#[test]
fn header_too_big() {
    let mut story = Story::new();
    story.fails(Signal::HeaderTooBig, 502, 2_000, 2).pass(3);
    assert!(story.is(Cause::HeaderTooBig).verdict.advice[0].contains("proxy_buffer_size"));
}

#[test]
fn an_address_where_nothing_has_ever_been() {
    let mut story = Story::new();
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = "10.0.0.2:3999".into();
    story.lb(EventKind::Failure(failed)).pass(4);
    story.is(Cause::WrongUpstream);
}

#[test]
fn the_applications_own_answers() {
    for (kind, cause) in [
        (Some("not_leader"), Cause::AppNotLeader),
        (Some("task_timeout"), Cause::AppTaskTimeout),
        (Some("cache_failure"), Cause::AppCacheFailure),
        (None, Cause::AppUnavailable),
    ] {
        let mut story = Story::new();
        if let Some(kind) = kind {
            story.log(kind, "the reason");
        }
        story.fails(Signal::AppStatus, 503, 2_000, 3).pass(4);
        story.is(cause);
    }
    let mut story = Story::new();
    story.fails(Signal::AppStatus, 500, 2_000, 3).pass(4);
    story.is(Cause::AppError);
}

#[test]
fn without_an_agent_there_it_says_so() {
    let mut story = Story::new();
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = "10.0.0.9:3000".into();
    story.lb(EventKind::Failure(failed)).pass(4);
    let incident = story.is(Cause::Unknown);
    assert!(incident.verdict.missing.iter().any(|missing| missing.contains("no agent")), "{:#?}", incident.verdict);
}

#[test]
fn an_error_log_alone_opens_nothing_while_the_instance_is_well() {
    let mut story = Story::new();
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 0, 0, "GET", "/") else { unreachable!() };
    failed.unconfirmed = true;
    story.lb(EventKind::Failure(failed)).pass(10);
    assert_eq!(story.core.incidents().count(), 0);
}

#[test]
fn a_restart_after_the_failures_began_explains_nothing() {
    let mut story = Story::new();
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    story.pass(4).fails(Signal::ReadTimeout, 504, 3_000_000, 5).pass(4);
    story.exits(100, Some(9), None).fails(Signal::ClosedBeforeHeaders, 502, 1_000_000, 5).pass(1);
    story.comes_back(101, "v1").pass(4);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_second_fault_after_recovery_is_an_incident_of_its_own() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(2);
    story.comes_back(101, "v1").pass(10);
    story.fails(Signal::HeaderTooBig, 502, 2_000, 3).pass(5);
    let causes: Vec<Cause> = story.core.incidents().map(|incident| incident.verdict.cause).collect();
    assert_eq!(causes, [Cause::ProcessKilled, Cause::HeaderTooBig]);
}

#[test]
fn a_case_resolves_after_quiet() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(2);
    story.comes_back(101, "v1").pass(20);
    assert_eq!(story.incident().state, IncidentState::Open);
    story.pass(15);
    let incident = story.is(Cause::ProcessKilled);
    assert_eq!((incident.state, incident.count), (IncidentState::Resolved, 5));
}

#[test]
fn probabilities_sum_to_at_most_one_and_evidence_is_in_order() {
    let mut story = Story::new();
    story.exits(100, Some(15), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let verdict = story.incident().verdict;
    let sum: f64 = verdict.confidence + verdict.alternatives.iter().map(|(_, p)| p).sum::<f64>();
    assert!(sum <= 1.0, "{sum}");
    assert!(verdict.evidence.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    assert!(START > 0 && !verdict.evidence.is_empty());
}
