//! The cause host_down: its agent fell silent and nothing of the host answers.

use super::scene::Scene;
use super::{LIKELY, POSSIBLE, Support};
use crate::fleet::silence_limit_us;
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
    let (last_us, until_us) = scene.silence()?;
    if last_us > scene.failures.last_us || answers_since(scene, last_us, until_us) {
        return None;
    }
    let dead_probe = scene.probes.iter().rev().find(|(_, probe)| !probe.connects.is_empty());
    let weight = match (dead_probe, scene.silent_for_us() > LONG_SILENCE_US) {
        (Some(_), _) => LIKELY * 1.5,
        // An agent may die alone: without a try from the gateway's host it is the failures that tell of the host.
        (None, true) if scene.share(&[Signal::ConnectTimeout, Signal::ConnectUnreachable]) > 0.5 => LIKELY,
        (None, _) => POSSIBLE,
    };
    let says = format!("nothing was heard of {} for {} s", scene.host_name(), scene.silent_for_us() / 1_000_000);
    let silence = Evidence { at_us: last_us, host: scene.host_name().to_owned(), source: "collector", says };
    let support = Support::new(Cause::HostDown, weight, last_us).with([silence]).with(together(scene, last_us));
    let support = support.with(dead_probe.map(|(at_us, probe)| dead_evidence(scene, *at_us, probe)));
    Some(match dead_probe {
        Some(_) => support,
        None => support.lacking("a connect and an echo from the gateway's host to that host"),
    })
}

/// Whether the host's kernel was heard by the gateway's side after its agent fell silent.
fn answers_since(scene: &Scene, last_us: i64, until_us: i64) -> bool {
    let connected = scene.failures.notes.iter().any(|note| {
        let shook_hands_us = note.began_us + note.connect_us.map_or(0, |us| i64::try_from(us).unwrap_or(0));
        note.connect_us.is_some() && shook_hands_us > last_us + 1_000_000
    });
    let probed = scene.probes.iter().any(|(at_us, probe)| *at_us < until_us && host_answers(probe));
    connected || probed || scene.answered(last_us + 1_000_000, until_us) > 0
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
        let limit_us = silence_limit_us(state.interval_us);
        let same_time = (state.last_heard_us - last_us).abs() <= TOGETHER_US.max(limit_us);
        name.as_str() != scene.host_name()
            && !state.stopped
            && same_time
            && scene.now_us - state.last_heard_us > limit_us
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
