//! What stories drawn by chance taught of how instances end and start: stops, workers, deployments.

use super::story::{SECOND, Story, UPSTREAM, instance};
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

/// A rule rejects since before the process was started again, for nothing; then its agent was started again, too.
#[test]
fn a_process_that_was_seen_to_begin_is_not_taken_for_one_that_was_only_found() {
    let mut story = Story::new();
    story.answered = 0;
    let fails = |story: &mut Story| {
        for _ in 0..4 {
            story.fails(Signal::ConnectRefused, 503, 0, 8).probe(&["connect_refused"; 4], |_| {}).pass(1);
        }
        story.is(Cause::FirewallReject);
    };
    fails(&mut story);
    let began_us = story.now_us;
    story.instance = Some(instance(200, began_us));
    story.started(200, began_us, "v1", false);
    fails(&mut story);
    let api = ServiceConfig { name: "api".into(), listen: vec![UPSTREAM.into()], declared: true, ..Default::default() };
    story.greets("app-1", 2, vec![api], vec![]);
    story.started(200, began_us, "v1", true);
    fails(&mut story);
}
