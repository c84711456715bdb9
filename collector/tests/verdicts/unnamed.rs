//! What stories drawn by chance taught of attempts whose records name no upstream.

use super::story::{Story, UPSTREAM, failure};
use why502::model::*;

/// A request that was tried again where its first attempt has no name, and served by another member.
fn made_again(served_by: &str) -> EventKind {
    let mut event = failure(Signal::UpstreamErrorUnspecified, 200, 3_000, "GET", "/");
    if let EventKind::Failure(failure) = &mut event {
        (failure.origin, failure.signal, failure.pool) = (Origin::App, Signal::RetriedOk, "api".into());
        failure.attempts[0].upstream = String::new();
        failure.attempts.push(Attempt { upstream: served_by.into(), status: 200, ..Default::default() });
    }
    event
}

/// A request that failed towards a member.
fn fails_at(upstream: &str) -> EventKind {
    let mut event = failure(Signal::ConnectTimeout, 503, 1_000_000, "POST", "/");
    if let EventKind::Failure(failure) = &mut event {
        failure.attempts[0].upstream = upstream.into();
    }
    event
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
            story.lb(made_again(&other.address)).pass(1);
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
                story.lb(fails_at(upstream)).pass(3);
            }
            story.lb(made_again("10.0.0.4:3000")).pass(1);
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
            story.lb(fails_at(upstream));
        }
        story.lb(made_again(&other.address)).pass(1);
    }
    let request = "GET /".into();
    let http = HttpTry { request, status: 200, signal: "ok".into(), header_bytes: 20_000, ..Default::default() };
    story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(4);
    let mut upstreams: Vec<_> = story.core.incidents().map(|incident| incident.upstream.clone()).collect();
    upstreams.sort();
    assert_eq!(upstreams, [Some(UPSTREAM.to_owned()), Some(other.address)]);
}

/// nginx' ordinary log names no upstream; its error log does, for each request that it could not get answered. An application's own
/// 502 has no line there.
#[test]
fn answers_without_a_reason_are_not_blamed_on_the_member_that_reasons_are_told_of() {
    let other = PoolMember { address: "10.0.0.3:3000".into(), ..Default::default() };
    let mut pool = Story::pool();
    pool.members.push(other);
    let told = |with_reasons: bool| {
        let mut story = Story::behind("nginx", pool.clone());
        story.pass(2).exits(100, Some(9), None).listens(false);
        story.answered = 0;
        for _ in 0..8 {
            if with_reasons {
                story.fails(Signal::ConnectRefused, 502, 100, 2);
            }
            let mut event = failure(Signal::StatusOnly, 502, 2_000, "GET", "/");
            if let EventKind::Failure(failure) = &mut event {
                (failure.origin, failure.attempts) = (Origin::Unknown, Vec::new());
            }
            story.lb(event).pass(1);
        }
        let mut told: Vec<_> =
            story.core.incidents().map(|incident| (incident.upstream.clone(), incident.verdict.cause)).collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        told
    };
    let killed = (Some(UPSTREAM.to_owned()), Cause::ProcessKilled);
    assert_eq!(told(true), [(None, Cause::Unknown), killed.clone()]);
    assert_eq!(told(false), [killed], "without an error log there are no reasons for any");
}
