//! What stories drawn by chance taught: hosts that are heard of seldom, full disks, answers and headers, waiting workers.

use super::story::{SECOND, Story, UPSTREAM, failure};
use why502::model::*;

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

/// HAProxy and Envoy say of an answer that it is no good, not why.
#[test]
fn a_header_that_a_probe_can_not_read_either_is_malformed() {
    let fails = |signal: &str| {
        let mut story = Story::new();
        story.answered = 0;
        story.fails(Signal::ResponseInvalid, 502, 2_000, 9);
        let http = HttpTry {
            request: "GET /".into(),
            signal: signal.into(),
            error: "invalid HTTP header parsed".into(),
            ..Default::default()
        };
        story.probe(&["connected"; 4], |probe| probe.http = Some(http)).pass(3);
        story
    };
    assert!(fails("header_invalid").is(Cause::HeaderInvalid).verdict.confidence > 0.8);
    fails("read_timeout").is_not_surely(Cause::HeaderInvalid);
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

/// It was started again and speaks plain text now: what is refused until it listens is not all that happens to it. The gateway's
/// check takes it out before a second request meets it.
#[test]
fn what_fails_by_tls_once_it_listens_is_not_warming_up() {
    let mut story = Story::with_pool(Pool { scheme: "https".into(), ..Story::pool() });
    story.exits(100, None, Some(0)).pass(0);
    let started_us = story.now_us + SECOND / 2;
    story.started(101, started_us, "v1", false);
    story.fails(Signal::ConnectRefused, 503, 0, 3).pass(1);
    story.listens(true).instance = Some(super::story::instance(101, started_us));
    let mut tls = failure(Signal::TlsHandshake, 503, 0, "GET", "/");
    if let EventKind::Failure(failure) = &mut tls {
        failure.reason = "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER".into();
    }
    story.lb(tls).pass(4);
    story.is(Cause::WrongProtocol);
}

/// Nobody knows the host of the address. It was written into the configuration a moment before it failed, or stood there all along.
#[test]
fn an_address_that_was_only_just_written_down_is_likelier_wrong() {
    let wrong = "10.0.0.9:3000";
    let fails = |only_just: bool| {
        let member = |address: &str| PoolMember { address: address.into(), ..Default::default() };
        let both = Pool { members: vec![member(UPSTREAM), member(wrong)], ..Story::pool() };
        let mut story = Story::with_pool(if only_just { Story::pool() } else { both.clone() });
        let (at_us, gateway, kind) = (story.now_us, "edge".into(), "nginx".into());
        let config = GatewayConfig { gateway, kind, pools: vec![both], readable: true, at_us, ..Default::default() };
        story.report("lb-1", Report { gateways: vec![config], ..Default::default() });
        story.pass(1);
        for _ in 0..3 {
            let mut failed = failure(Signal::ConnectTimeout, 504, 0, "GET", "/");
            if let EventKind::Failure(failure) = &mut failed {
                failure.attempts[0].upstream = wrong.into();
            }
            story.lb(failed);
        }
        story.probe(&["connect_timeout"; 4], |probe| probe.upstream = wrong.into()).pass(4);
        story.incident().verdict
    };
    let (only_just, all_along) = (fails(true), fails(false));
    assert_eq!(only_just.cause, Cause::WrongUpstream, "{only_just:#?}");
    assert!((0.6..0.8).contains(&only_just.confidence), "{only_just:#?}");
    assert!(all_along.cause == Cause::Unknown || all_along.confidence < 0.6, "{all_along:#?}");
}
