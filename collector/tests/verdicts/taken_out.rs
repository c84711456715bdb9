//! What stories drawn by chance taught of upstreams that a gateway takes out, and of the checks that it does so by.

use super::story::{SECOND, Story, UPSTREAM, instance};
use why502::model::*;

/// The gateway's check failed for what it met.
fn check(met: &str) -> GatewayNotice {
    GatewayNotice {
        gateway: "edge".into(),
        upstream: UPSTREAM.into(),
        signal: Signal::HealthCheckDown,
        check_signal: met.into(),
        ..Default::default()
    }
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
        story.lb(EventKind::Notice(check("connect_unreachable"))).fails(Signal::NoLiveUpstream, 503, 0, 5);
        story.probe(&["connect_unreachable"; 4], |probe| {
            let error = "EHOSTUNREACH".into();
            probe.route = Some(RouteLookup { found: false, error, ..Default::default() });
        });
        story.pass(1);
    }
    story.is(Cause::NoRoute);
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
    let notice = GatewayNotice { check_us: Some(1_000_000), ..check("read_timeout") };
    story.lb(EventKind::Notice(notice)).pass(1).fails(Signal::NoLiveUpstream, 503, 0, 80).pass(8);
    story.is(Cause::ProcessHung);
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

/// What members met before they were taken out is why they were, though nobody could see what was behind it.
#[test]
fn members_that_failed_before_they_were_taken_out_were_not_just_taken_out() {
    let mut story = Story::behind("haproxy", Story::pool());
    story.instance = None;
    story.fails(Signal::ConnectFailed, 503, 0, 4).fails(Signal::NoLiveUpstream, 503, 0, 58).pass(10);
    let incident = story.incident();
    assert_ne!(incident.verdict.cause, Cause::NoLiveUpstream, "{:#?}", incident.verdict);
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

/// Two requests met the moment of a restart, forty found nobody live after the check had met a handshake that fails, and at the
/// end the check met the restart that mended it.
#[test]
fn what_keeps_an_upstream_out_weighs_as_much_as_what_fails_for_it() {
    let mut story = Story::behind("haproxy", Pool { scheme: "https".into(), ..Story::pool() });
    let check = |met| EventKind::Notice(check(met));
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
    // It is mended; what was seen before stays true.
    if let Some(sample) = &mut story.instance {
        sample.listeners[0].unacknowledged = 0;
    }
    story.answered = 20;
    story.pass(20).is(Cause::PacketLoss);
}
