//! Incidents that go on for longer than readings are kept: what was proven at the beginning is told at the end as well.

use super::story::{SECOND, Story};
use why502::model::*;

/// Longer than the 20 minutes of readings that are kept of a host.
const LONG_S: u64 = 1_260;

/// Goes on failing for long, probed now and then, and asserts that the cause is told all the while.
fn goes_on(story: &mut Story, cause: Cause, fails: impl Fn(&mut Story), probed: impl Fn(&mut Story)) {
    for second in 0..LONG_S {
        fails(story);
        if second % 10 == 0 {
            probed(story);
        }
        story.pass(1);
        if second >= 10 && second % 100 == 0 {
            let incident = story.is(cause);
            assert!(incident.verdict.confidence > 0.5, "after {second} s: {:#?}", incident.verdict);
        }
    }
    let open = story.core.incidents().filter(|incident| incident.state == IncidentState::Open).count();
    assert_eq!((open, story.core.incidents().count()), (1, 1), "it is one incident");
}

/// Nothing listens any more.
fn refuses(story: &mut Story, cause: Cause) {
    let fails = |story: &mut Story| {
        story.fails(Signal::ConnectRefused, 502, 0, 2);
    };
    goes_on(story, cause, fails, |story| {
        story.probe(&["connect_refused"; 4], |_| {});
    });
}

#[test]
fn a_process_that_was_killed_and_stays_away() {
    let mut story = Story::new();
    story.exits(100, Some(9), None);
    refuses(&mut story, Cause::ProcessKilled);
}

#[test]
fn a_process_that_was_stopped_and_stays_away() {
    let mut story = Story::new();
    story.exits(100, None, Some(0));
    refuses(&mut story, Cause::ProcessStopped);
}

#[test]
fn a_process_that_hangs() {
    let mut story = Story::new();
    story.answered = 0;
    story.health.signal = "read_timeout".into();
    (story.health.status, story.health.first_byte_us) = (0, None);
    let fails = |story: &mut Story| {
        story.fails(Signal::ReadTimeout, 504, 4 * SECOND as u64, 2);
    };
    goes_on(&mut story, Cause::ProcessHung, fails, |story| {
        story.probe(&["connected"; 4], |probe| {
            let http = HttpTry { request: "GET /".into(), signal: "read_timeout".into(), ..Default::default() };
            probe.http = Some(http);
        });
    });
}

fn unanswered(story: &mut Story) {
    story.fails(Signal::ConnectTimeout, 504, 2 * SECOND as u64, 2);
}

#[test]
fn a_firewall_that_drops() {
    let mut story = Story::new();
    story.answered = 0;
    story.pass(2);
    goes_on(&mut story, Cause::FirewallDrop, unanswered, |story| {
        story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(true));
    });
}

#[test]
fn a_host_that_is_down() {
    let mut story = Story::new();
    story.instance = None;
    story.answered = 0;
    story.pass(2);
    goes_on(&mut story, Cause::HostDown, unanswered, |story| {
        story.probe(&["connect_timeout"; 4], |probe| probe.echo_answered = Some(false));
    });
}
