//! The cause process_hung: alive and listening, and nothing is answered.

use super::scene::Scene;
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Support, narrow, network, overload};
use crate::case::Note;
use crate::model::{Cause, Evidence, Signal};

/// Signals of something that accepts and does not answer.
const SILENT: &[Signal] =
    &[Signal::ReadTimeout, Signal::SendTimeout, Signal::ConnectTimeout, Signal::BodyTimeout, Signal::SocketBacklogFull];
/// Signals of a record that does not tell how the attempt failed.
const UNTOLD: &[Signal] = &[Signal::StatusOnly, Signal::UpstreamErrorUnspecified];

pub(super) fn process_hung(scene: &Scene) -> Option<Support> {
    let untold = scene.share(UNTOLD) > 0.5;
    let unshaken = unshaken(scene);
    if scene.by_application()
        || (scene.share_before_end(SILENT) + unshaken < 0.3 && !untold)
        || scene.alive_at_first().no()
        || scene.listening().no()
    {
        return None;
    }
    let answers = scene.answered_meanwhile() > 0 || narrow::answers_small_packets(scene);
    if answers || scene.answered_elsewhere().is_some() {
        return None;
    }
    let stuck = stuck_state(scene);
    let silent_locally = scene
        .health
        .iter()
        .find(|(at_us, health)| *at_us >= scene.failures.began_us && health.signal == "read_timeout");
    let silent_probe =
        scene.probes.iter().find(|(_, probe)| probe.http.as_ref().is_some_and(|http| http.signal == "read_timeout"));
    let queue = scene.samples.iter().rev().find_map(|sample| {
        sample.listeners.iter().find(|listener| listener.queue > 0).map(|listener| (sample.at_us, listener))
    });
    let silence_seen = stuck.is_some() || silent_locally.is_some() || silent_probe.is_some();
    let waited = scene.share_before_end(&[Signal::ReadTimeout, Signal::SendTimeout, Signal::BodyTimeout]);
    let connected = waited + unshaken > 0.3 || (untold && silence_seen);
    // Something it is short of explains why it does not answer; a process that is stopped needs no such reason.
    let explained = stuck.is_none() && overload::short_of_something(scene);
    let spins = spinning(scene);
    let weight = match (&stuck, silent_locally.is_some() || silent_probe.is_some(), queue.is_some()) {
        (Some(_), _, _) => PROVEN,
        (None, true, true) => PROVEN,
        (None, true, false) if connected => LIKELY * 2.0,
        (None, false, _) if connected && spins.is_some() => LIKELY,
        (None, false, true) if connected => LIKELY,
        _ if connected => POSSIBLE,
        _ => return None,
    };
    // Where the gateway's check alone waited, the check's endpoint may be all that does not answer.
    let checks_alone = stuck.is_none() && scene.met_by_checks_alone();
    let weight = if explained || checks_alone { weight.min(POSSIBLE) } else { weight };
    // What loses packets keeps workers waiting for requests that never arrive whole, and answers from being heard.
    let weight = if stuck.is_none() && network::loses_packets(scene) { weight.min(COMPATIBLE) } else { weight };
    // Where nobody sees the process, a hang is told from an overload by nothing.
    let weight = match (scene.alive_at_first().yes(), silent_probe.is_some()) {
        (true, _) => weight,
        (false, true) => weight.min(LIKELY / 2.0),
        (false, false) => weight.min(COMPATIBLE),
    };
    let mut support = Support::new(Cause::ProcessHung, weight, scene.failures.began_us).with(stuck).with(spins);
    if let Some((at_us, health)) = silent_locally {
        let says =
            format!("{} did not answer within {} ms, asked from its own host", health.url, health.timeout_us / 1000);
        support = support.with([scene.from_host(*at_us, "health", says)]);
    }
    if let Some((at_us, probe)) = silent_probe {
        let request = probe.http.as_ref().map_or("", |http| http.request.as_str());
        support =
            support.with([scene.from_gateway(*at_us, "probe", format!("connected, and {request} was not answered"))]);
    }
    if let Some((at_us, listener)) = queue {
        let says = format!("{} connections wait to be accepted on {}", listener.queue, listener.address);
        support = support.with([scene.from_host(at_us, "socket", says)]);
    }
    let since = "no request was answered by it since then".to_owned();
    Some(support.with([scene.from_gateway(scene.failures.began_us, "gateway_log", since)]))
}

/// Whether requests waited for it in vain and nobody got an answer meanwhile, no probe of another path either.
pub(super) fn kept_all_waiting(scene: &Scene) -> bool {
    let probed = scene.probes.iter().any(|(_, probe)| probe.http.as_ref().is_some_and(|http| http.status > 0));
    let probed = probed || narrow::answers_small_packets(scene);
    scene.failures.has(&[Signal::ReadTimeout, Signal::BodyTimeout]) && !probed && scene.answered_meanwhile() == 0
}

/// A TLS handshake that fails fails at once; one that lasted longer was not answered, microseconds.
const UNSHAKEN_US: u64 = 1_000_000;

/// Share of the failures that are TLS handshakes which nobody answered.
pub(super) fn unshaken(scene: &Scene) -> f64 {
    let notes = &scene.failures.notes;
    let waited = |note: &&Note| {
        note.signal == Signal::TlsHandshake && note.response_us.is_some_and(|took_us| took_us >= UNSHAKEN_US)
    };
    notes.iter().filter(waited).count() as f64 / notes.len().max(1) as f64
}

/// One of its processes uses a whole CPU while nothing is answered.
fn spinning(scene: &Scene) -> Option<Evidence> {
    let (at_us, process) = scene.samples.iter().find_map(|sample| {
        // Where others want the CPU too, it waits for its turn between.
        let busy = |process: &&crate::model::ProcessSample| {
            let (used, waited) = (process.cpu_ratio.unwrap_or(0.0), process.run_delay_ratio.unwrap_or(0.0));
            used > 0.3 && used + waited > 0.9
        };
        sample.processes.iter().find(busy).map(|process| (sample.at_us, process))
    })?;
    let says = format!("process {} ({}) spins on a CPU and answers nothing", process.pid, process.name);
    Some(scene.from_host(at_us, "process", says))
}

/// A state of its processes in which nothing can be answered.
pub(super) fn stuck_state(scene: &Scene) -> Option<Evidence> {
    scene.samples.iter().find_map(|sample| {
        if sample.is_frozen() {
            return Some(scene.from_host(sample.at_us, "cgroup", "its cgroup is frozen".to_owned()));
        }
        let process = sample.stopped_process()?;
        let by = if process.state == "t" { "by a debugger" } else { "by SIGSTOP" };
        let says = format!("process {} ({}) is stopped {by} (state {})", process.pid, process.name, process.state);
        Some(scene.from_host(sample.at_us, "process", says))
    })
}
