//! Large answers that get lost on the way: nobody on the instance's host sees it, and a probe is answered by small packets only.

use super::story::{SECOND, Story, failure};
use why502::model::*;

/// On a host that no agent is known of.
const UNSEEN: &str = "10.0.0.9:3000";

/// A gateway that gets answers no more.
fn unseen() -> Story {
    let mut story = Story::new();
    (story.logged_as, story.answered) = (UNSEEN, 0);
    story.pass(2);
    story
}

fn asked(signal: &str, status: u32, received_bytes: u64) -> Option<HttpTry> {
    Some(HttpTry { request: "GET /".into(), signal: signal.into(), status, received_bytes, ..Default::default() })
}

fn fails(story: &mut Story, signal: Signal) {
    for _ in 0..6 {
        let mut event = failure(signal, 504, 4 * SECOND as u64, "GET", "/");
        if let EventKind::Failure(failure) = &mut event {
            failure.attempts[0].upstream = UNSEEN.into();
            failure.attempts[0].answered_meanwhile = Some(story.answered as u32);
        }
        story.lb(event);
    }
}

/// What failed and what a probe then met, one after another.
fn meets(story: &mut Story, signal: Signal, probes: &[fn(&mut ProbeResult)]) {
    for edit in probes {
        fails(story, signal);
        story.probe(&["connected"; 4], |probe| {
            probe.upstream = UNSEEN.into();
            edit(probe);
        });
        story.pass(2);
    }
}

fn silent(probe: &mut ProbeResult) {
    probe.http = asked("read_timeout", 0, 0);
    probe.small_packets = asked("read_timeout", 0, 0);
}

fn lost(probe: &mut ProbeResult) {
    probe.http = asked("read_timeout", 0, 0);
    probe.small_packets = asked("ok", 200, 4_300);
}

#[test]
fn what_answers_by_small_packets_only_does_not_hang() {
    let mut story = unseen();
    meets(&mut story, Signal::ReadTimeout, &[lost]);
    story.pass(2);
    let verdict = story.is(Cause::PacketLoss).verdict;
    assert!(verdict.confidence < 0.8, "one probe: {verdict:#?}");
    assert!(verdict.alternatives.iter().all(|(cause, _)| *cause != Cause::ProcessHung), "{verdict:#?}");
    assert!(verdict.missing.iter().any(|missing| missing.contains("second probe")), "{verdict:#?}");
    meets(&mut story, Signal::ReadTimeout, &[lost, lost]);
    let verdict = story.is(Cause::PacketLoss).verdict;
    assert!(verdict.confidence > 0.9, "{verdict:#?}");
    assert!(verdict.evidence.iter().any(|evidence| evidence.says.contains("(3 probes)")), "{verdict:#?}");
    assert!(verdict.advice.iter().any(|advice| advice.contains("ping -M do")), "{verdict:#?}");
}

/// The header goes out by itself and arrives; the same behind a handshake whose certificate does not.
#[test]
fn a_body_or_a_certificate_that_comes_by_small_packets_only_is_lost_on_the_way() {
    let body: fn(&mut ProbeResult) = |probe| {
        probe.http = asked("body_timeout", 200, 180);
        probe.small_packets = asked("ok", 200, 4_300);
    };
    let mut story = unseen();
    meets(&mut story, Signal::BodyTimeout, &[body; 2]);
    assert!(story.is(Cause::PacketLoss).verdict.confidence > 0.9);
    let certificate: fn(&mut ProbeResult) = |probe| {
        probe.tls = Some(TlsTry { error: "no answer within 1.5s".into(), ..Default::default() });
        probe.small_packets = asked("ok", 200, 180);
    };
    let mut story = unseen();
    meets(&mut story, Signal::TlsHandshake, &[certificate; 2]);
    assert!(story.is(Cause::PacketLoss).verdict.confidence > 0.9);
}

/// Slow to make its answer, or stuck: by small packets it does not come either.
#[test]
fn what_does_not_answer_by_small_packets_either_is_not_lost() {
    let body: fn(&mut ProbeResult) = |probe| {
        probe.http = asked("body_timeout", 200, 180);
        probe.small_packets = asked("body_timeout", 200, 180);
    };
    let mut story = unseen();
    meets(&mut story, Signal::ReadTimeout, &[silent, silent, silent]);
    story.is(Cause::ProcessHung);
    let mut story = unseen();
    meets(&mut story, Signal::BodyTimeout, &[body; 3]);
    let verdict = story.incident().verdict;
    assert!(verdict.cause != Cause::PacketLoss && verdict.confidence < 0.8, "{verdict:#?}");
}

/// Some of its workers hang, and which one a request meets is chance; and what fits into one small packet is sent the same both times.
#[test]
fn what_large_packets_do_not_explain_is_not_lost() {
    let answered: fn(&mut ProbeResult) = |probe| probe.http = asked("ok", 200, 4_300);
    let short: fn(&mut ProbeResult) = |probe| {
        probe.http = asked("read_timeout", 0, 0);
        probe.small_packets = asked("ok", 200, 300);
    };
    for probes in [[lost, answered, lost], [lost, silent, lost], [lost, lost, answered], [short; 3]] {
        let mut story = unseen();
        story.answered = 4;
        meets(&mut story, Signal::ReadTimeout, &probes);
        // What still fails was begun after the last of them.
        story.pass(4);
        fails(&mut story, Signal::ReadTimeout);
        story.pass(2);
        let verdict = story.incident().verdict;
        assert!(!matches!(verdict.cause, Cause::PacketLoss | Cause::ProcessHung), "{verdict:#?}");
        assert!(verdict.confidence <= 0.8, "{verdict:#?}");
    }
}

/// Smaller answers of other paths come through as they always do, and once all is mended large ones as well.
#[test]
fn what_is_small_passes_all_the_while_and_what_is_large_once_it_is_mended() {
    let small: fn(&mut ProbeResult) = |probe| probe.http = asked("ok", 200, 190);
    let mended: fn(&mut ProbeResult) = |probe| probe.http = asked("ok", 200, 4_300);
    // Asked before, and answered once it was.
    let mended_meanwhile: fn(&mut ProbeResult) = |probe| {
        lost(probe);
        probe.http = asked("ok", 200, 4_300).map(|http| HttpTry { first_byte_us: Some(4_000_000), ..http });
    };
    let mut story = unseen();
    meets(&mut story, Signal::ReadTimeout, &[lost, small, lost, lost, mended_meanwhile, small]);
    story.answered = 20;
    story.probe(&["connected"; 4], |probe| {
        probe.upstream = UNSEEN.into();
        mended(probe);
    });
    story.pass(2);
    assert!(story.is(Cause::PacketLoss).verdict.confidence > 0.9);
}
