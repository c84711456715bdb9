//! Each pair of look-alikes held apart, and scenes made to mislead: what is not proven is not said with confidence.

use super::story::{SECOND, Story, UPSTREAM, failure, instance};
use why502::model::*;

fn api() -> ServiceConfig {
    ServiceConfig { name: "api".into(), listen: vec![UPSTREAM.into()], declared: true, ..Default::default() }
}

fn status(name: &str, state: SamplerState) -> SamplerStatus {
    SamplerStatus { name: name.into(), state, why: "not readable".into() }
}

fn answered(story: &mut Story) {
    let http = HttpTry { request: "GET /".into(), status: 200, signal: "ok".into(), ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(http));
}

/// An instance whose requests all wait.
fn silent() -> Story {
    let mut story = Story::new();
    story.answered = 0;
    story
}

// process_killed / oom_killed / health_check_restart

#[test]
fn a_supervisors_liveness_kill_is_not_somebody_elses() {
    let mut story = Story::new();
    story.log("liveness_kill", "Container api failed liveness probe, will be restarted");
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(1).comes_back(101, "v1").pass(3);
    let incident = story.is(Cause::HealthCheckRestart);
    assert!(incident.verdict.confidence > 0.8 && incident.verdict.advice[0].contains("liveness"), "{incident:#?}");
}

#[test]
fn a_watchdogs_sigabrt_is_no_crash() {
    let mut story = Story::new();
    story.log("liveness_kill", "api.service: Watchdog timeout (limit 10s)!");
    story.exits(100, Some(6), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(1).comes_back(101, "v1").pass(3);
    story.is(Cause::HealthCheckRestart);
}

#[test]
fn a_liveness_kill_that_came_after_the_failures_is_a_reaction() {
    let mut story = silent();
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "T".into();
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 5).pass(5);
    story.log("liveness_kill", "Liveness probe failed, will be restarted");
    story.exits(100, Some(9), None).fails(Signal::ClosedBeforeHeaders, 502, 1_000_000, 3).pass(1);
    story.comes_back(101, "v1").pass(3);
    story.is(Cause::ProcessHung);
}

#[test]
fn a_sigkill_is_not_surely_from_outside_where_out_of_memory_can_not_be_seen() {
    let mut story = Story::new();
    story.greets("app-1", 1, vec![api()], vec![status("oom", SamplerState::Unavailable)]);
    story.pass(1).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is_not_surely(Cause::ProcessKilled);
    assert!(incident.verdict.alternatives.iter().any(|(cause, _)| *cause == Cause::OomKilled), "{incident:#?}");
}

#[test]
fn a_group_at_its_limit_makes_an_unseen_oom_kill_the_likelier() {
    let mut story = Story::new();
    story.greets("app-1", 1, vec![api()], vec![status("oom", SamplerState::Unavailable)]);
    if let Some(sample) = &mut story.instance {
        let (mem_bytes, mem_limit_bytes) = (Some(510 << 20), Some(512 << 20));
        sample.cgroup = Some(CgroupSample { mem_bytes, mem_limit_bytes, ..Default::default() });
    }
    story.pass(3).exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::OomKilled);
    assert!(incident.verdict.confidence < 0.9, "{incident:#?}");
}

// process_crashed / crash_looping / deploying

#[test]
fn what_was_started_to_mend_a_kill_was_not_deployed() {
    let mut story = Story::new();
    story.exits(100, Some(9), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(20);
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(20).comes_back(101, "v2").pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn a_deployment_marked_long_after_the_stop_mends_it() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).fails(Signal::ConnectRefused, 502, 0, 5).pass(40);
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(1);
    let mark = Mark { kind: "deploy".into(), service: "api".into(), ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Mark(mark) });
    story.pass(5);
    story.is_not_surely(Cause::Deploying);
    story.comes_back(101, "v2").pass(3);
    story.is(Cause::ProcessStopped);
}

#[test]
fn a_crash_mended_by_a_deployment_stays_a_crash() {
    let mut story = Story::new();
    story.exits(100, Some(11), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(10);
    let mark = Mark { kind: "deploy".into(), service: "api".into(), ..Default::default() };
    story.core.apply(&Record { received_us: story.now_us, kind: RecordKind::Mark(mark) });
    story.comes_back(101, "v2").pass(3);
    story.is(Cause::ProcessCrashed);
}

#[test]
fn a_slow_crash_loop_is_one() {
    let mut story = Story::new();
    for pid in 100..104 {
        story.exits(pid, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 3).pass(10);
        story.fails(Signal::ConnectRefused, 502, 0, 3).comes_back(pid + 1, "v1").pass(12);
    }
    story.exits(104, None, Some(1)).fails(Signal::ConnectRefused, 502, 0, 3).pass(3);
    story.is(Cause::CrashLooping);
}

// port_not_listening / firewall_reject / warming_up

#[test]
fn a_full_queue_that_resets_is_no_firewall() {
    let mut story = silent();
    story.answered = 4;
    if let Some(sample) = &mut story.instance {
        (sample.listeners[0].queue, sample.listeners[0].queue_limit) = (6, 5);
    }
    story.host.net = Some(NetCounters { listen_overflows: 30, listen_drops: 30, ..Default::default() });
    story.pass(3).fails(Signal::ConnectRefused, 502, 0, 10).probe(&["connect_refused"; 4], |_| {}).pass(3);
    story.is(Cause::AcceptQueueOverflow);
}

#[test]
fn refused_only_by_the_gateways_host_is_a_firewall_and_by_both_is_not() {
    let mut story = Story::new();
    story.answered = 0;
    story.health.connect_us = None;
    story.health.signal = "connect_refused".into();
    story.pass(2).fails(Signal::ConnectRefused, 502, 0, 5).probe(&["connect_refused"; 4], |_| {}).pass(3);
    story.is_not_surely(Cause::FirewallReject);
}

#[test]
fn a_start_that_never_comes_to_listen_is_not_warming_up_for_ever() {
    let mut story = Story::new();
    story.exits(100, None, Some(0)).pass(1);
    let now_us = story.now_us;
    story.started(101, now_us, "v1", false);
    let mut deaf = instance(101, now_us);
    deaf.listeners.clear();
    story.instance = Some(deaf);
    for _ in 0..9 {
        story.fails(Signal::ConnectRefused, 502, 0, 5).pass(10);
    }
    story.is(Cause::PortNotListening);
}

// firewall_drop / host_down / link_down / packet_loss / accept_queue_overflow

#[test]
fn an_agent_that_died_while_its_service_hangs_is_no_host_down() {
    let mut story = silent();
    story.pass(3);
    story.instance = None;
    story.pass(5);
    let mut event = failure(Signal::ReadTimeout, 504, 3_000_000, "GET", "/");
    if let EventKind::Failure(failure) = &mut event {
        failure.attempts[0].connect_us = Some(400);
    }
    for _ in 0..5 {
        story.lb(event.clone()).pass(5);
    }
    let incident = story.incident();
    assert_ne!(incident.verdict.cause, Cause::HostDown, "{incident:#?}");
}

#[test]
fn a_silent_host_that_answers_nobody_may_be_cut_off_as_well() {
    let mut story = silent();
    story.instance = None;
    story.pass(4).fails(Signal::ConnectTimeout, 504, 2_000_000, 3);
    story.probe(&["connect_timeout"; 4], |probe| {
        probe.echo_answered = Some(false);
        probe.neighbour = "failed".into();
    });
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 3).pass(25);
    story.is(Cause::HostDown);
    let incident = story.incident();
    assert!(incident.verdict.confidence <= 0.9, "{incident:#?}");
    assert!(incident.verdict.alternatives.iter().any(|(cause, _)| *cause == Cause::LinkDown), "{incident:#?}");
}

#[test]
fn a_link_that_flapped_long_before_explains_nothing() {
    let mut story = silent();
    let link = |up| EventKind::LinkChanged(LinkChanged { interface: "eth0".into(), up, what: "carrier".into() });
    story.app(link(false)).pass(5).app(link(true)).pass(30);
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn another_interfaces_carrier_is_not_the_upstreams() {
    let mut story = silent();
    let link = LinkChanged { interface: "wlan0".into(), up: false, what: "carrier".into() };
    story.app(EventKind::LinkChanged(link)).pass(2).fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(3);
    story.is(Cause::FirewallDrop);
}

#[test]
fn dropped_for_a_while_and_mended_is_no_packet_loss() {
    let mut story = silent();
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(8);
    story.fails(Signal::ConnectTimeout, 504, 2_000_000, 5).probe(&["connected"; 4], |_| {}).pass(2);
    let incident = story.incident();
    assert_ne!(incident.verdict.cause, Cause::PacketLoss, "{incident:#?}");
}

// process_hung / cpu_saturated / worker_pool_exhausted / io_stalled

#[test]
fn waiting_for_a_device_is_no_hang() {
    let mut story = silent();
    if let Some(sample) = &mut story.instance {
        sample.processes[0].state = "D".into();
        sample.listeners[0].queue = 12;
    }
    story.host.pressure = Some(Pressure { io_full_ratio: Some(0.6), io_some_ratio: Some(0.9), ..Default::default() });
    story.health.signal = "read_timeout".into();
    story.health.status = 0;
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 8).pass(3);
    story.is(Cause::IoStalled);
}

/// What was answered in the moment in which all of it stopped, and fast.
fn last_answers(story: &mut Story) {
    let from_us = story.now_us + 3 * SECOND;
    let sample = UpstreamSample {
        gateway: "edge".into(),
        upstream: UPSTREAM.into(),
        from_us,
        to_us: from_us + SECOND,
        answered: 3,
        first_answered_us: from_us + 1_000,
        last_answered_us: from_us + 60_000,
        response_sum_us: 9_000,
        ..Default::default()
    };
    story.report("lb-1", Report { upstreams: vec![sample], ..Default::default() });
}

/// A server of files is gone: what waits for it shows in no pressure, and a device that is only busy lets go now and then.
#[test]
fn waiting_where_no_signal_reaches_is_no_hang_once_it_lasts() {
    let told = |seconds_in_d: u64, seconds_out: u64, cpu_ratio: f64| {
        let mut story = silent();
        story.health.signal = "read_timeout".into();
        story.health.status = 0;
        if let Some(sample) = &mut story.instance {
            sample.listeners[0].queue = 12;
        }
        let state = |story: &mut Story, state: &str| {
            if let Some(sample) = &mut story.instance {
                sample.processes[0].state = state.into();
                sample.processes[0].waits_in = "rpc_wait_bit_killable".into();
                sample.processes[0].cpu_ratio = Some(cpu_ratio);
            }
        };
        for _ in 0..3 {
            state(&mut story, "D");
            last_answers(&mut story);
            story.pass(seconds_in_d).fails(Signal::ReadTimeout, 504, 3_000_000, 4);
            state(&mut story, "S");
            story.pass(seconds_out);
        }
        story
    };
    assert!(told(4, 0, 0.0).is(Cause::IoStalled).verdict.confidence > 0.5);
    told(1, 2, 0.0).is(Cause::ProcessHung);
    // It was found so each time, and worked on between.
    told(4, 0, 0.1).is_not_surely(Cause::IoStalled);
}

#[test]
fn one_connection_on_its_way_in_is_no_full_pool() {
    let waits = |queue: u32| {
        let mut story = Story::new();
        if let Some(sample) = &mut story.instance {
            sample.listeners[0].queue = queue;
        }
        // The log tells no times, so nobody knows how long the others took.
        story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 4).pass(3);
        story
    };
    waits(1).is_not_surely(Cause::WorkerPoolExhausted);
    assert!(waits(9).is(Cause::WorkerPoolExhausted).verdict.confidence > 0.8);
}

#[test]
fn a_spinning_thread_is_a_hang_and_waiting_for_the_cpu_is_not() {
    let mut spins = silent();
    if let Some(sample) = &mut spins.instance {
        sample.processes[0].cpu_ratio = Some(1.0);
        sample.listeners[0].queue = 12;
    }
    spins.health.signal = "read_timeout".into();
    spins.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 8).pass(3);
    spins.is(Cause::ProcessHung);

    let mut starves = Story::new();
    starves.answered = 3;
    starves.host.cpu_busy_ratio = Some(1.0);
    if let Some(sample) = &mut starves.instance {
        (sample.processes[0].cpu_ratio, sample.processes[0].run_delay_ratio) = (Some(0.3), Some(0.9));
    }
    starves.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 8).pass(3);
    starves.is(Cause::CpuSaturated);
}

#[test]
fn a_busy_host_does_not_slow_what_does_not_wait_for_it() {
    let mut story = Story::new();
    story.host.cpu_busy_ratio = Some(1.0);
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 2).pass(3);
    story.is(Cause::GatewayTimeout);
}

// keepalive_race / premature_close / process_crashed

#[test]
fn a_race_is_not_said_with_confidence_where_no_agent_could_see_a_crash() {
    let mut pool = Story::pool();
    pool.members[0].address = "10.0.0.9:3000".into();
    pool.keepalive_idle_us = Some(60_000_000);
    let mut story = Story::with_pool(pool);
    let EventKind::Failure(mut cut) = failure(Signal::ResetBeforeHeaders, 502, 500, "POST", "/") else {
        unreachable!()
    };
    cut.attempts[0].upstream = "10.0.0.9:3000".into();
    let mut probe = ProbeResult { gateway: "edge".into(), upstream: "10.0.0.9:3000".into(), ..Default::default() };
    probe.idle_close_us = Some(5_000_000);
    probe.http = Some(HttpTry { request: "GET /".into(), status: 200, signal: "ok".into(), ..Default::default() });
    story.lb(EventKind::Failure(cut)).lb(EventKind::Probe(Box::new(probe))).pass(4);
    let incident = story.is_not_surely(Cause::KeepaliveRace);
    assert_eq!(incident.verdict.cause, Cause::KeepaliveRace, "{incident:#?}");
}

#[test]
fn a_crash_that_cuts_a_kept_connection_is_no_race() {
    let mut pool = Story::pool();
    pool.keepalive_idle_us = Some(60_000_000);
    let mut story = Story::with_pool(pool);
    story.exits(100, Some(11), None);
    story.lb(failure(Signal::ResetBeforeHeaders, 502, 500, "POST", "/")).comes_back(101, "v1");
    story.probe(&[], |probe| probe.idle_close_us = Some(5_000_000)).pass(3);
    story.is(Cause::ProcessCrashed);
}

// health_endpoint_slow / health_check_too_strict stand in combined.rs
// never_started / process_stopped / wrong_upstream

#[test]
fn an_agent_that_has_just_begun_to_look_can_not_tell_never_from_no_longer() {
    let mut story = Story::new();
    let jobs = ServiceConfig {
        name: "jobs".into(),
        listen: vec!["10.0.0.2:4000".into()],
        declared: true,
        ..Default::default()
    };
    story.pass(60);
    story.host.uptime_us = 90 * 24 * 3600 * SECOND as u64;
    story.greets("app-1", 2, vec![jobs], vec![]);
    story.instance = Some(InstanceSample { service: "jobs".into(), listeners_known: true, ..Default::default() });
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = "10.0.0.2:4000".into();
    story.lb(EventKind::Failure(failed)).pass(3);
    let incident = story.is_not_surely(Cause::NeverStarted);
    assert_eq!(incident.verdict.cause, Cause::NeverStarted, "{incident:#?}");
}

#[test]
fn a_service_that_the_agent_was_not_told_of_is_not_surely_nothing() {
    let mut story = Story::new();
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = "10.0.0.2:9000".into();
    failed.pool = "other".into();
    story.lb(EventKind::Failure(failed)).probe(&[], |_| {}).pass(4);
    story.is_not_surely(Cause::WrongUpstream);
}

// gateway_timeout / process_hung

#[test]
fn one_slow_request_without_others_is_not_surely_anything() {
    let mut story = silent();
    story.pass(20).fails(Signal::ReadTimeout, 504, 3_000_000, 1).pass(4);
    story.is_not_surely(Cause::ProcessHung);
    story.is_not_surely(Cause::GatewayTimeout);
}

// app_* / a gateway's own 503

#[test]
fn a_gateways_own_503_is_not_the_applications() {
    let mut pool = Story::pool();
    pool.members[0].name = "app1".into();
    let mut story = Story::behind("haproxy", pool);
    story.log("not_leader", "not the leader").exits(100, Some(11), None);
    story.fails(Signal::ConnectFailed, 503, 3_000_000, 4).pass(3);
    story.is(Cause::ProcessCrashed);
}

#[test]
fn a_fresh_answer_shows_that_only_kept_connections_fail() {
    let mut pool = Story::pool();
    pool.keepalive_idle_us = Some(60_000_000);
    let mut story = Story::with_pool(pool);
    story.lb(failure(Signal::ClosedBeforeHeaders, 502, 900, "POST", "/pay"));
    answered(&mut story);
    story.pass(3).probe(&[], |probe| probe.idle_kept_us = Some(70_000_000)).pass(3);
    story.is(Cause::PrematureClose);
}

#[test]
fn asked_to_end_in_a_unit_is_not_surely_killed() {
    let mut story = Story::new();
    if let Some(sample) = &mut story.instance {
        sample.unit = "api.service".into();
    }
    story.pass(2).exits(100, Some(15), None).fails(Signal::ConnectRefused, 502, 0, 5).pass(12);
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::ProcessStopped);
    assert!(incident.verdict.alternatives.iter().any(|(cause, _)| *cause == Cause::ProcessKilled), "{incident:#?}");
}

/// systemd says something of the instance's unit.
fn unit_says(story: &mut Story, what: &str, result: &str) {
    let (service, unit) = ("api".into(), "api.service".into());
    let (what, result) = (what.into(), result.into());
    story.app(EventKind::UnitChanged(UnitChanged { service, unit, what, result, ..Default::default() }));
}

#[test]
fn systemd_tells_a_stop_of_the_unit_from_somebodys_kill() {
    let cited = |incident: &Incident, words: &str| incident.verdict.evidence.iter().any(|one| one.says.contains(words));
    let mut story = Story::new();
    story.pass(2);
    unit_says(&mut story, "stopping", "");
    story.exits(100, Some(15), None);
    unit_says(&mut story, "stopped", "");
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(12).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::ProcessStopped);
    assert!(incident.verdict.confidence > 0.9 && cited(&incident, "systemd stops api.service"), "{incident:#?}");

    let mut story = Story::new();
    story.pass(2).exits(100, Some(15), None);
    unit_says(&mut story, "succeeded", "");
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(12).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    let incident = story.is(Cause::ProcessKilled);
    assert!(incident.verdict.confidence > 0.9 && cited(&incident, "ended with success"), "{incident:#?}");
}

#[test]
fn a_stop_that_a_start_followed_explains_no_later_end() {
    let mut story = Story::new();
    unit_says(&mut story, "stopping", "");
    story.pass(5);
    unit_says(&mut story, "started", "");
    story.pass(5).exits(100, Some(15), None);
    unit_says(&mut story, "succeeded", "");
    story.fails(Signal::ConnectRefused, 502, 0, 5).pass(12).fails(Signal::ConnectRefused, 502, 0, 5).pass(3);
    story.is(Cause::ProcessKilled);
}

#[test]
fn refused_where_no_agent_looks_is_unknown() {
    let mut story = Story::new();
    let EventKind::Failure(mut failed) = failure(Signal::ConnectRefused, 502, 0, "GET", "/") else { unreachable!() };
    failed.attempts[0].upstream = "10.0.0.9:3000".into();
    let tried = ConnectTry { outcome: "connect_refused".into(), ..Default::default() };
    let probe = ProbeResult {
        gateway: "edge".into(),
        upstream: "10.0.0.9:3000".into(),
        connects: vec![tried; 4],
        ..Default::default()
    };
    story.lb(EventKind::Failure(failed)).lb(EventKind::Probe(Box::new(probe))).pass(4);
    story.is(Cause::Unknown);
}

#[test]
fn one_busy_thread_is_an_overload_though_the_host_has_cpus_to_spare() {
    let mut story = Story::new();
    story.answered = 3;
    if let Some(sample) = &mut story.instance {
        sample.processes[0].cpu_ratio = Some(1.0);
        sample.listeners[0].queue = 40;
    }
    story.pass(3).fails(Signal::ReadTimeout, 504, 3_000_000, 8).pass(3);
    let incident = story.is(Cause::CpuSaturated);
    assert!(incident.verdict.confidence <= 0.8, "{incident:#?}");
}

#[test]
fn a_failed_dependency_is_named_with_what_is_known_of_it() {
    let mut story = Story::new();
    let listen = vec!["10.0.0.5:6379".into()];
    let redis = ServiceConfig { name: "redis".into(), listen, declared: true, ..Default::default() };
    story.greets("db-1", 1, vec![redis], vec![]);
    let at_us = story.now_us;
    let stopped = InstanceSample { service: "redis".into(), at_us, listeners_known: true, ..Default::default() };
    story.report("db-1", Report { instances: vec![stopped.into()], ..Default::default() });
    story.log("cache_failure", "cache failed: connect ECONNREFUSED 10.0.0.5:6379");
    story.fails(Signal::AppStatus, 503, 2_000, 3).pass(4);
    let evidence = story.is(Cause::AppCacheFailure).verdict.evidence;
    let says = |words: &str| evidence.iter().any(|one| one.says.contains(words));
    assert!(says("speaks of: 10.0.0.5:6379") && says("is redis on db-1, which does not run"), "{evidence:#?}");
}

#[test]
fn a_pool_without_a_live_member_and_without_a_reason_says_so() {
    let mut pool = Story::pool();
    pool.members.push(PoolMember { address: "10.0.0.8:3000".into(), ..Default::default() });
    let mut story = Story::behind("haproxy", pool);
    let EventKind::Failure(mut failed) = failure(Signal::NoLiveUpstream, 503, 0, "GET", "/") else { unreachable!() };
    failed.attempts.clear();
    failed.pool = "api".into();
    story.lb(EventKind::Failure(failed)).pass(4);
    story.is(Cause::NoLiveUpstream);
}
