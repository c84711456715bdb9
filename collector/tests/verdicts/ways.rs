//! What stories drawn by chance taught of ways between gateway and instance: packets lost, connects rejected, and ways that were mended.

use super::story::{SECOND, Story, UPSTREAM, failure};
use why502::model::*;

/// The kernel shakes hands for what is merely slow; where two of five connects find nobody, something else is wrong. No agent sees
/// the instance's host, so that a full queue can't be told from a way that loses packets.
#[test]
fn where_many_connects_fail_as_well_the_instance_is_not_merely_slow() {
    let mut story = Story::new();
    (story.instance, story.answered) = (None, 6);
    story.pass(70);
    for _ in 0..4 {
        story.fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 5).fails(
            Signal::ConnectTimeout,
            504,
            SECOND as u64,
            4,
        );
        story.probe(&["connected", "connect_timeout", "connect_timeout", "connect_timeout"], |_| {}).pass(2);
    }
    story.is_not_surely(Cause::GatewayTimeout);
}

/// A quarter of the connects comes through, by chance none of a probe's four; behind a gateway that keeps no connections.
#[test]
fn four_connects_that_got_lost_by_chance_are_no_rule() {
    let mut story = Story::new();
    lose_some(&mut story);
    story.is(Cause::PacketLoss);
}

/// What is answered may have been so on connections from before the rule.
#[test]
fn a_rule_is_not_sure_where_kept_connections_are_answered() {
    let mut story = Story::with_pool(Pool { keepalive_idle_us: Some(60_000_000), ..Story::pool() });
    lose_some(&mut story);
    story.is(Cause::FirewallDrop);
    story.is_not_surely(Cause::FirewallDrop);
}

fn lose_some(story: &mut Story) {
    for _ in 0..6 {
        story.fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 3).pass(1);
    }
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(2);
}

/// An answer before the rule, and after it was taken out again, says nothing of the time between; nor does one failure of long ago.
#[test]
fn what_was_answered_before_and_after_a_rule_does_not_refute_it() {
    let mut story = Story::new();
    story.fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 1).pass(4);
    story.answered = 0;
    story.pass(2);
    for _ in 0..3 {
        story.pass(1).fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 3);
    }
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(1);
    story.answered = 20;
    story.pass(3);
    story.is(Cause::FirewallDrop);
}

/// The host goes down: its kernel refuses for a moment, and the newest word of it is from just before.
#[test]
fn a_kernel_that_goes_down_is_no_firewall() {
    let mut story = Story::new();
    (story.instance, story.answered) = (None, 0);
    story.fails(Signal::ConnectRefused, 502, 0, 5).probe(&["connect_refused"; 4], |_| {}).pass(3);
    story.is_not_surely(Cause::FirewallReject);
}

/// A rule that rejected was taken out; what connects afterwards was not let through in between.
#[test]
fn what_connects_when_all_is_mended_is_no_sign_of_loss() {
    let mut story = Story::new();
    story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 30, ..Default::default() });
    story.fails(Signal::ConnectUnreachable, 503, 0, 16).fails(Signal::ConnectTimeout, 503, SECOND as u64, 9);
    story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(2);
    story.probe(&["connected"; 4], |probe| probe.echo_answered = Some(true)).pass(40);
    story.is_not_surely(Cause::PacketLoss);
}

/// HAProxy waits on in spite of an ICMP message, and then says for long that nobody is live.
#[test]
fn a_rejection_that_only_a_probe_meets_is_one() {
    let mut story = Story::new();
    story.fails(Signal::ConnectTimeout, 503, SECOND as u64, 16).fails(Signal::NoLiveUpstream, 503, 0, 200);
    story.probe(&["connect_refused", "connect_timeout", "connect_timeout", "connect_timeout"], |_| {}).pass(3);
    story.is(Cause::FirewallReject);
}

/// One of four connects comes through, to a SYN sent again, and later ones are lost: a rule would have let none or all.
#[test]
fn what_lets_one_of_several_through_loses_packets() {
    let mut story = Story::new();
    story.fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 4);
    let outcomes = ["connected", "connect_timeout", "connect_timeout", "connect_timeout"];
    story.probe(&outcomes, |probe| take(probe, &[1_030_000, 1_500_000, 1_500_000, 1_500_000])).pass(3);
    story.is_not_surely(Cause::FirewallDrop);
}

/// A rule that is taken out lets through all that wait, when their SYN is sent again; for some that is too late.
#[test]
fn what_lets_all_through_from_some_moment_on_was_mended() {
    for (outcomes, took_us) in [
        (["connected"; 4], [1_030_000; 4]),
        (
            ["connect_timeout", "connect_timeout", "connected", "connected"],
            [1_500_000, 1_500_000, 1_010_000, 1_010_000],
        ),
    ] {
        let mut story = Story::new();
        story.fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 4);
        story.probe(&outcomes, |probe| take(probe, &took_us)).pass(3);
        story.is_not_surely(Cause::PacketLoss);
    }
}

fn take(probe: &mut ProbeResult, took_us: &[u64]) {
    probe.connects.iter_mut().zip(took_us).for_each(|(tried, took_us)| tried.took_us = *took_us);
    probe.echo_answered = Some(true);
}

/// A probe that began before the rule was taken out connects after it; what the gateway began in between still failed.
#[test]
fn what_a_probe_met_counts_from_when_it_was_answered() {
    let mut story = Story::new();
    story.fails(Signal::ConnectTimeout, 504, SECOND as u64, 8);
    story.probe(&["connect_timeout"; 4], |probe| take(probe, &[1_500_000; 4])).pass(2);
    story.probe(&["connected"; 4], |probe| take(probe, &[1_030_000; 4])).pass(1);
    story.fails(Signal::ConnectTimeout, 504, SECOND as u64 / 2, 2).pass(3);
    story.is_not_surely(Cause::PacketLoss);
}

#[test]
fn what_turns_connects_down_loses_none() {
    let mut story = Story::new();
    story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 30, ..Default::default() });
    story.fails(Signal::ConnectUnreachable, 502, 0, 6).fails(Signal::ConnectTimeout, 502, SECOND as u64, 7);
    let outcomes = ["connect_unreachable", "connect_unreachable", "connect_unreachable", "connect_timeout"];
    story.probe(&outcomes, |probe| take(probe, &[100_000, 50_000, 1_020_000, 1_500_000])).pass(3);
    story.probe(&["connected"; 4], |_| {}).pass(3);
    story.is(Cause::FirewallReject);
}

/// An instance that is too slow takes connections all the same; where these find no answer now and then, it is the way.
#[test]
fn what_is_lost_on_the_way_is_no_slow_instance() {
    let mut story = Story::new();
    story.fails(Signal::BodyTimeout, 504, 3 * SECOND as u64, 2).fails(Signal::ReadTimeout, 504, 3 * SECOND as u64, 1);
    story.fails(Signal::ConnectTimeout, 504, SECOND as u64, 1);
    let outcomes = ["connected", "connected", "connect_timeout", "connected"];
    story.probe(&outcomes, |probe| take(probe, &[300, 300, 1_500_000, 300])).pass(3);
    story.is_not_surely(Cause::GatewayTimeout);
}

/// A REJECT answers with ICMP messages, at most one a second for each peer: the few connects of a probe may meet none of them.
#[test]
fn a_rejection_is_told_by_what_both_hosts_count_though_no_connect_meets_it() {
    let unreachables =
        |out: u64, back: u64| Some(NetCounters { unreachables_out: out, unreachables_in: back, ..Default::default() });
    let times_out = |sent: u64, got: u64| {
        let mut story = Story::new();
        // Something on the instance's host talks to a closed port of the same host all the while.
        (story.host.net, story.gateway_host.net) = (unreachables(5, 5), unreachables(0, 0));
        story.pass(10);
        (story.host.net, story.gateway_host.net) = (unreachables(5 + sent, 5), unreachables(0, got));
        story.answered = 0;
        story.pass(1);
        for _ in 0..8 {
            story.fails(Signal::ConnectTimeout, 503, SECOND as u64, 3);
            story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true)).pass(1);
        }
        story
    };
    times_out(1, 1).is(Cause::FirewallReject);
    times_out(0, 0).is(Cause::FirewallDrop);
    times_out(0, 1).is(Cause::FirewallDrop);
}

/// A rule was taken out after eight seconds; a host that is short of its CPU fails a few more requests for that.
#[test]
fn a_few_that_fail_after_the_way_was_mended_are_no_loss() {
    let failing_on = |answered, seconds: usize, times| {
        let mut story = Story::new();
        story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 200, ..Default::default() });
        story.answered = answered;
        story.pass(1);
        for _ in 0..8 {
            story.fails(Signal::ConnectTimeout, 502, SECOND as u64, 20);
            story.probe(&["connect_timeout"; 4], |probe| take(probe, &[1_500_000; 4])).pass(1);
        }
        story.answered = 15;
        for _ in 0..seconds {
            story.probe(&["connected"; 4], |probe| take(probe, &[200; 4]));
            story.fails(Signal::ConnectTimeout, 502, SECOND as u64, times).pass(1);
        }
        story
    };
    failing_on(0, 5, 1).is_not_surely(Cause::PacketLoss);
    failing_on(15, 20, 10).is(Cause::PacketLoss);
}

#[test]
fn the_order_of_connects_is_not_told_by_an_agent_that_did_not_run() {
    let mut story = Story::new();
    story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 200, ..Default::default() });
    story.answered = 0;
    for _ in 0..8 {
        story.fails(Signal::ConnectTimeout, 502, SECOND as u64, 20);
        story.probe(&["connect_timeout"; 4], |probe| take(probe, &[1_500_000; 4])).pass(1);
    }
    story.probe(&["connected"; 4], |probe| take(probe, &[18_170_000, 200_000, 290_000, 280_000])).pass(2);
    story.is_not_surely(Cause::PacketLoss);
}

/// The kernel counts the SYNs that found no answer, however late an agent learns of the connection.
#[test]
fn a_connect_that_is_told_late_lost_nothing_where_its_first_syn_was_answered() {
    let told = |syns_resent: u32| {
        let mut story = Story::new();
        story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 100, ..Default::default() });
        story.fails(Signal::ReadTimeout, 504, 2 * SECOND as u64, 20);
        story.probe(&["connected"; 4], |probe| {
            take(probe, &[300, 2_630_000, 2_634_000, 2_634_000]);
            probe.connects.iter_mut().for_each(|tried| tried.syns_resent = Some(0));
            probe.connects[3].syns_resent = Some(syns_resent);
        });
        story.pass(3);
        story
    };
    told(0).is_not_surely(Cause::PacketLoss);
    told(2).is(Cause::PacketLoss);
}

/// Large packets get lost: the instance's answers among them, and connects and requests do not.
#[test]
fn what_has_answered_and_was_not_heard_does_not_hang() {
    let asked = |unacknowledged: u32, waiting: u32| {
        let mut story = Story::new();
        story.answered = 0;
        if let Some(sample) = &mut story.instance {
            (sample.listeners[0].established, sample.listeners[0].unacknowledged) = (Some(6 + waiting), unacknowledged);
            sample.listeners[0].queue = waiting;
        }
        for _ in 0..5 {
            story.fails(Signal::ReadTimeout, 504, 4 * SECOND as u64, 6);
            story.probe(&["connected"; 4], |probe| {
                let http = HttpTry { request: "GET /".into(), signal: "read_timeout".into(), ..Default::default() };
                probe.http = Some(http);
            });
            story.pass(2);
        }
        story
    };
    asked(0, 0).is(Cause::ProcessHung);
    asked(5, 0).is(Cause::PacketLoss);
    // Its workers wait until the gateway gives up, so that others wait for those.
    asked(5, 39).is(Cause::PacketLoss);
}

/// Workers wait for requests that never arrive whole, and the kernel answers the connects that arrive.
#[test]
fn workers_that_all_wait_for_what_is_lost_do_not_hang() {
    let mut story = Story::new();
    story.host.net = Some(NetCounters { segments_out: 1_000, retransmits: 100, ..Default::default() });
    story.answered = 0;
    if let Some(sample) = &mut story.instance {
        (sample.listeners[0].queue, sample.listeners[0].queue_limit) = (38, 2_048);
    }
    story.health.signal = "read_timeout".into();
    (story.health.status, story.health.first_byte_us) = (0, None);
    for _ in 0..6 {
        story.fails(Signal::ReadTimeout, 502, 2 * SECOND as u64, 6).fails(
            Signal::ConnectTimeout,
            502,
            SECOND as u64,
            4,
        );
        let outcomes = ["connected", "connect_timeout", "connected", "connected"];
        story.probe(&outcomes, |probe| take(probe, &[300, 1_500_000, 300, 1_030_000])).pass(2);
    }
    story.is(Cause::PacketLoss);
}

/// A name was given another address back after nothing had answered at the one that it was given by mistake; the gateway compiles
/// its configuration for a while, and fails on until it goes by it.
#[test]
fn what_fails_by_a_name_until_the_gateway_is_reloaded_is_of_the_address_before() {
    let config = |at_us, address: &str| {
        let member = PoolMember { name: "app0".into(), address: address.into(), ..Default::default() };
        let pools = vec![Pool { members: vec![member], ..Story::pool() }];
        GatewayConfig {
            gateway: "edge".into(),
            kind: "varnish".into(),
            pools,
            readable: true,
            at_us,
            ..Default::default()
        }
    };
    let wrong = "10.0.0.94:3000";
    let mut story = Story::behind("varnish", Story::pool());
    let fails = |story: &mut Story, times| {
        for _ in 0..times {
            let mut event = failure(Signal::ConnectUnreachable, 503, 0, "GET", "/");
            if let EventKind::Failure(failure) = &mut event {
                failure.attempts[0].upstream = "app0".into();
            }
            story.lb(event);
        }
    };
    for (address, times) in [(wrong, 9), (UPSTREAM, 3)] {
        let gateways = vec![config(story.now_us, address)];
        story.report("lb-1", Report { gateways, ..Default::default() });
        story.answered = 0;
        for _ in 0..2 {
            fails(&mut story, times);
            story.pass(1);
        }
    }
    let upstreams: Vec<_> = story.core.incidents().map(|incident| incident.upstream.clone()).collect();
    assert_eq!(upstreams, [Some(wrong.to_owned())]);
    // Once it must go by the new one, what fails is of that.
    story.answered = 20;
    story.pass(20);
    story.answered = 0;
    fails(&mut story, 9);
    story.pass(1);
    assert_eq!(story.incident().upstream.as_deref(), Some(UPSTREAM));
}

/// The gateway's own kernel says so where nobody answers for an address; a rule's message comes from elsewhere.
#[test]
fn connects_that_only_the_own_kernel_calls_unreachable_are_not_rejected() {
    let unreachables =
        |out: u64, back: u64| Some(NetCounters { unreachables_out: out, unreachables_in: back, ..Default::default() });
    let unreachable = |sent, received| {
        let mut story = Story::new();
        story.gateway_host.net = unreachables(0, 0);
        story.pass(5);
        story.gateway_host.net = unreachables(sent, received);
        story.answered = 0;
        story.fails(Signal::ConnectUnreachable, 503, 0, 4).pass(40);
        story
    };
    unreachable(4, 4).is_not_surely(Cause::FirewallReject);
    unreachable(0, 4).is(Cause::FirewallReject);
}
