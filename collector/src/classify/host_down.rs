//! The cause host_down: its agent fell silent and nothing of the host answers.

use super::scene::{SAME_MOMENT_US, Scene};
use super::{LIKELY, POSSIBLE, Support};
use crate::case::Note;
use crate::fleet::{is_silent, silence_limit_us};
use crate::model::{Cause, ConnectTry, Evidence, ProbeResult, Signal};

/// Silence of an agent that proves more than a short trouble of its own, microseconds.
const LONG_SILENCE_US: i64 = 20_000_000;
/// Hosts that fall silent so close together share what they lost, microseconds.
const TOGETHER_US: i64 = 5_000_000;

pub(super) fn host_down(scene: &Scene) -> Option<Support> {
    const LOST: &[Signal] = &[
        Signal::ConnectTimeout,
        Signal::ConnectUnreachable,
        Signal::ReadTimeout,
        Signal::ConnectFailed,
        Signal::NoLiveUpstream,
        Signal::UpstreamErrorUnspecified,
        Signal::StatusOnly,
        Signal::SendTimeout,
    ];
    if scene.by_application() || scene.share(LOST) < 0.5 {
        return None;
    }
    // An agent that was stopped says nothing of its host, but an orderly shutdown begins so.
    let farewell = scene.farewell();
    let (last_us, until_us) = scene.silence().or(farewell)?;
    // The times of many a log are as coarse as a second: what failed when it came back may have met its kernel.
    let over_us = if until_us < scene.now_us { until_us - SAME_MOMENT_US } else { until_us };
    let lost_us = last_lost(scene, LOST, over_us).filter(|_| last_us <= scene.failures.last_us)?;
    let alive_us = last_sign_of_life(scene, lost_us).unwrap_or(last_us).max(last_us);
    let mut probes = scene.probes.iter().rev().filter(|(at_us, _)| *at_us > alive_us && *at_us < until_us);
    let dead_probe = probes.find(|(_, probe)| !probe.connects.is_empty() && !host_answers(probe));
    // Its kernel was heard well after its agent, and nobody has tried since.
    if dead_probe.is_none() && (farewell.is_some() || alive_us - last_us > SAME_MOMENT_US) {
        return None;
    }
    let weight = match (dead_probe, scene.silent_for_us() > LONG_SILENCE_US) {
        (Some((_, probe)), _) if farewell.is_some() => {
            if probe.neighbour == "failed" {
                LIKELY
            } else {
                POSSIBLE * 1.5
            }
        }
        (Some(_), _) => LIKELY * 1.5,
        // An agent may die alone: without a try from the gateway's host it is the failures that tell of the host.
        (None, true) if scene.share(&[Signal::ConnectTimeout, Signal::ConnectUnreachable]) > 0.5 => LIKELY,
        (None, _) => POSSIBLE,
    };
    let says = match farewell {
        Some(_) => format!("the agent on {} was stopped, as in a shutdown, and is not back", scene.host_name()),
        None => format!("nothing was heard of {} for {} s", scene.host_name(), scene.silent_for_us() / 1_000_000),
    };
    let silence = Evidence { at_us: last_us, host: scene.host_name().to_owned(), source: "collector", says };
    let support = Support::new(Cause::HostDown, weight, last_us).with([silence]).with(together(scene, last_us));
    let support = support.with(dead_probe.map(|(at_us, probe)| dead_evidence(scene, *at_us, probe)));
    Some(match dead_probe {
        Some(_) => support,
        None => support.lacking("a connect and an echo from the gateway's host to that host"),
    })
}

/// When the newest attempt before a time began that got no answer from the host's kernel. A request may have waited for a connection that
/// others began before it, as Envoy's do: what timed out had been tried for the whole of the gateway's limit.
fn last_lost(scene: &Scene, lost: &[Signal], before_us: i64) -> Option<i64> {
    let limits = scene.pool.and_then(|pool| pool.timeouts.as_ref());
    let limit_us = limits.and_then(|limits| limits.connect_us).and_then(|us| i64::try_from(us).ok());
    let tried_us = |note: &Note| match (note.signal, limit_us) {
        (Signal::ConnectTimeout, Some(limit_us)) => note.began_us.min(note.at_us.saturating_sub(limit_us)),
        _ => note.began_us,
    };
    let unanswered = |note: &&Note| lost.contains(&note.signal) && note.connect_us.is_none();
    scene.failures.notes.iter().filter(unanswered).map(tried_us).filter(|at_us| *at_us <= before_us).max()
}

/// When the gateway's side last heard the host's kernel before a lost attempt. What was met while it still went down, or
/// after it came back, says nothing of the time between: a later try that nothing answers counts for more.
fn last_sign_of_life(scene: &Scene, before_us: i64) -> Option<i64> {
    let shook_hands = scene
        .failures
        .notes
        .iter()
        .filter_map(|note| Some(note.began_us.saturating_add(i64::try_from(note.connect_us?).unwrap_or(i64::MAX))));
    let turned_down = scene.failures.notes.iter().filter(|note| note.signal == Signal::ConnectRefused);
    let probed = scene.probes.iter().filter(|(_, probe)| host_answers(probe)).map(|(at_us, probe)| at_us + took(probe));
    let signs = shook_hands.chain(turned_down.map(|note| note.at_us)).chain(probed);
    signs.chain(scene.last_answered(before_us)).filter(|at_us| *at_us <= before_us).max()
}

/// How long a probe took: what it heard may have come at its end only, from a host that came back meanwhile.
fn took(probe: &ProbeResult) -> i64 {
    let longest = probe.connects.iter().map(|tried| tried.took_us).max().unwrap_or(0);
    i64::try_from(longest).unwrap_or(0)
}

fn dead_evidence(scene: &Scene, at_us: i64, probe: &ProbeResult) -> Evidence {
    let neighbour =
        if probe.neighbour.is_empty() { String::new() } else { format!(", neighbour entry {}", probe.neighbour) };
    let says = format!("nothing of {} answers: no connect, no echo{neighbour}", scene.host_name());
    scene.from_gateway(at_us, "probe", says)
}

/// Other hosts that fell silent at the same time and still are.
fn together(scene: &Scene, last_us: i64) -> Option<Evidence> {
    let silent = scene.fleet.hosts().filter(|(name, entry)| {
        let state = &entry.state;
        let near_us = TOGETHER_US.max(silence_limit_us(state.interval_us));
        let same_time = (state.last_heard_us - last_us).abs() <= near_us;
        name.as_str() != scene.host_name() && !state.stopped && same_time && is_silent(state, scene.now_us)
    });
    let names: Vec<&str> = silent.map(|(name, _)| name.as_str()).take(5).collect();
    let says = format!("{} fell silent at the same time: look at what they share", names.join(", "));
    let host = scene.host_name().to_owned();
    (!names.is_empty()).then_some(Evidence { at_us: last_us, host, source: "collector", says })
}

/// Whether a probe shows that the kernel of the upstream's host is alive and in reach.
pub(super) fn host_answers(probe: &ProbeResult) -> bool {
    let alive = |tried: &ConnectTry| matches!(tried.outcome.as_str(), "connected" | "connect_refused");
    probe.connects.iter().any(alive)
        || probe.other_port.as_ref().is_some_and(alive)
        || probe.echo_answered == Some(true)
}
