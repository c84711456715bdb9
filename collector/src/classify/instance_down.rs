//! Family instance_down: the instance crashed, was killed, stopped, hangs, or does not listen.

use super::chain::{EndKind, signal_name};
use super::outage::{GONE, NOT_AGAIN_US, Outage};
use super::scene::{SAME_MOMENT_US, Scene};
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support, host_down, hung, unit};
use crate::model::{Address, Cause, EventKind, ExitSource, ProcessExited, SamplerState, Signal};

pub(super) const RULES: &[Rule] = &[
    process_crashed,
    process_killed,
    process_stopped,
    never_started,
    oom_killed,
    hung::process_hung,
    port_not_listening,
    worker_killed,
    host_down::host_down,
];

/// A process this young may still be starting, microseconds.
const YOUNG_US: i64 = 15_000_000;

/// The weight that an end gives its cause: less where only a later look saw it.
fn end_weight(outage: &Outage) -> f64 {
    if outage.first.exit.source == ExitSource::Inferred { LIKELY } else { PROVEN }
}

/// The instance ran, and no process of it does now or another one, and nobody saw it end: its agent was away then.
fn ended_unseen(scene: &Scene, cause: Cause) -> Option<Support> {
    let anew = scene.began_unseen();
    let host = scene.host.filter(|_| scene.chain.is_empty() && (anew.is_some() || scene.process_alive().no()))?;
    let ran_us = host.history.first_ran_us(scene.place.service.as_deref()?)?;
    if scene.by_application() || scene.share(GONE) < 0.2 || ran_us >= scene.failures.first_us {
        return None;
    }
    let at_us = anew.or(scene.samples.first().map(|sample| sample.at_us)).unwrap_or(scene.failures.first_us);
    let now = if anew.is_some() { "was started anew" } else { "does not run now" };
    let says = format!("{} ran before and {now}; its end was not seen", scene.service_name());
    let support = Support::new(cause, COMPATIBLE, scene.failures.first_us);
    let lacking = "how the instance ended: its agent did not look at that time";
    Some(support.with([scene.from_host(at_us, "process", says)]).lacking(lacking))
}

fn process_crashed(scene: &Scene) -> Option<Support> {
    let Some(outage) = Outage::of(scene) else { return ended_unseen(scene, Cause::ProcessCrashed) };
    if outage.first.kind != EndKind::Crash {
        return None;
    }
    // Several faults in a row are a crash loop, of which this is the first turn.
    let weight = match outage.failed_ends() {
        _ if outage.liveness_names_it(scene) => COMPATIBLE,
        0 | 1 if outage.ended_by_deployment(scene) => LIKELY,
        0 | 1 => end_weight(&outage),
        2 => LIKELY,
        _ => POSSIBLE,
    };
    let support = Support::new(Cause::ProcessCrashed, weight, outage.first.began_us);
    let support = support.with([outage.end_evidence(scene)]).with(unit::evidence_of_end(scene, outage.first.at_us));
    Some(support.with(outage.last_words(scene)).with(outage.restart_evidence(scene)))
}

fn process_killed(scene: &Scene) -> Option<Support> {
    let Some(outage) = Outage::of(scene) else { return ended_unseen(scene, Cause::ProcessKilled) };
    let weight = match outage.first.kind {
        _ if outage.liveness_names_it(scene) => COMPATIBLE,
        EndKind::Killed if outage.deployed() && !outage.stayed_away() && outage.restart.is_some() => POSSIBLE,
        EndKind::Killed if blind_to_oom(scene) || namesake_out_of_memory(scene, &outage) => LIKELY,
        EndKind::Killed => end_weight(&outage),
        EndKind::Terminated if outage.deployed() => POSSIBLE / 2.0,
        // Asked to end and started again at once, unchanged, is a restart; left alone it was killed by somebody.
        EndKind::Terminated if restarted_at_once(&outage) => POSSIBLE,
        EndKind::Terminated => weight_of_sigterm(scene, &outage, false),
        EndKind::Untold => POSSIBLE / 2.0,
        _ => return None,
    };
    let mut support = Support::new(Cause::ProcessKilled, weight, outage.first.at_us);
    if outage.first.kind == EndKind::Killed && blind_to_oom(scene) {
        support = support.lacking(BLIND);
    } else if outage.first.kind == EndKind::Killed && namesake_out_of_memory(scene, &outage) {
        support = support.lacking(NAMESAKE);
    }
    let support = support.with([outage.end_evidence(scene)]).with(unit::evidence_of_end(scene, outage.first.at_us));
    Some(support.with(outage.restart_evidence(scene)))
}

/// What is missing where an out-of-memory kill would go unseen.
const BLIND: &str = "neither the kernel log nor the cgroup's counters are readable on this host: an out-of-memory kill can't be told from another SIGKILL";

/// What is missing where the kernel's log does not say whose process it killed.
const NAMESAKE: &str = "the kernel killed a process of the same name for lack of memory at that moment, and nothing tells for sure that it was another";

/// Whether the kernel's log told at that moment of an out-of-memory kill of the same name that no service could be found for.
fn namesake_out_of_memory(scene: &Scene, outage: &Outage) -> bool {
    let (from_us, to_us) = (outage.first.at_us - SAME_MOMENT_US, outage.first.at_us + SAME_MOMENT_US);
    let namesake = |event: &EventKind| matches!(event, EventKind::OomKill(oom) if oom.service.is_empty() && oom.name == outage.first.exit.name);
    scene.host.is_some_and(|host| host.history.lives(from_us, to_us).any(|event| namesake(&event.kind)))
}

/// What an end by SIGTERM says for a stop on purpose, or else for a kill. A unit's stop and somebody's `kill` look the same from
/// outside, unless systemd told which it was; what has no unit is not stopped by its unit.
fn weight_of_sigterm(scene: &Scene, outage: &Outage, stopped: bool) -> f64 {
    if let Some(asked) = unit::asked_to_stop(scene, outage.first.at_us) {
        return if asked == stopped { end_weight(outage) } else { POSSIBLE / 2.0 };
    }
    let in_unit = scene.before().is_some_and(|sample| !sample.unit.is_empty());
    match (in_unit, stopped) {
        (true, true) | (false, false) => LIKELY,
        (true, false) => POSSIBLE * 1.5,
        (false, true) => POSSIBLE,
    }
}

/// Whether an out-of-memory kill of the instance would have gone unseen.
fn blind_to_oom(scene: &Scene) -> bool {
    let status = scene.host.and_then(|host| host.state.samplers.get("oom"));
    status.is_some_and(|status| status.state != SamplerState::Active)
}

fn restarted_at_once(outage: &Outage) -> bool {
    outage.restart.is_some_and(|(at_us, _)| at_us - outage.first.at_us < 5_000_000)
}

fn process_stopped(scene: &Scene) -> Option<Support> {
    let Some(outage) = Outage::of(scene) else { return ended_unseen(scene, Cause::ProcessStopped) };
    let waited_us = scene.now_us - outage.first.at_us;
    let weight = match (&outage.first.kind, outage.restart) {
        (EndKind::Clean, None) if waited_us > NOT_AGAIN_US => end_weight(&outage),
        (EndKind::Clean, None) => LIKELY,
        (EndKind::Clean, Some(_)) if outage.deployed() => POSSIBLE / 2.0,
        (EndKind::Clean, Some(_)) if outage.stayed_away() => end_weight(&outage),
        // Most failures came while it was away, not while it started.
        (EndKind::Clean, Some((start_us, _))) if share_before(scene, start_us) > 0.5 => LIKELY,
        // Hardly any came before it listened again: what came after has another reason.
        (EndKind::Clean, Some((start_us, _))) if share_while_away(scene, start_us) < 0.2 => return None,
        (EndKind::Clean, Some(_)) => POSSIBLE,
        (EndKind::Terminated, None) => weight_of_sigterm(scene, &outage, true),
        (EndKind::Terminated, Some(_)) if outage.stayed_away() => weight_of_sigterm(scene, &outage, true),
        (EndKind::Untold, None) => POSSIBLE / 2.0,
        _ => return None,
    };
    let support = Support::new(Cause::ProcessStopped, weight, outage.first.began_us);
    let support = support.with([outage.end_evidence(scene)]).with(unit::evidence_of_end(scene, outage.first.at_us));
    Some(support.with(outage.restart_evidence(scene)))
}

/// Share of the failures that came before a time.
fn share_before(scene: &Scene, at_us: i64) -> f64 {
    scene.failures.course.share(i64::MIN, at_us - 300_000)
}

/// Share of the failures that came before what was started at a time listened.
fn share_while_away(scene: &Scene, start_us: i64) -> f64 {
    let listened_us = super::restarting::listened_after(scene, start_us);
    listened_us.map_or(1.0, |at_us| scene.failures.course.share(i64::MIN, at_us + SAME_MOMENT_US))
}

fn never_started(scene: &Scene) -> Option<Support> {
    let (host, service) = (scene.host?, scene.place.service.as_deref()?);
    let newest = host.state.instances.get(service).and_then(|instance| instance.sample.as_deref());
    let none_runs = scene.process_alive().no() || newest.is_some_and(|sample| sample.process_count == 0);
    let ended = host.history.last_end(service).is_some_and(|(at_us, _)| *at_us < scene.failures.first_us);
    let expected = host.state.services.get(service).is_some_and(|service| service.declared);
    let absent = match host.history.first_ran_us(service) {
        // It was started at last, when most of the requests had failed for want of it.
        Some(at_us) => share_before(scene, at_us) > 0.5,
        None => none_runs,
    };
    if scene.by_application() || !expected || !absent || ended || scene.share(GONE) < 0.2 {
        return None;
    }
    let since_us = host.history.agent_started_us();
    // The gateway got answers earlier: something did run there before this agent looked.
    let answered_before = scene.answered(since_us - 600_000_000, scene.failures.began_us - SAME_MOMENT_US) > 0;
    // An agent that began to look long after the boot can't tell "never" from "no longer".
    let weight = match (answered_before, host.watched_from_boot()) {
        (true, _) => POSSIBLE,
        (false, true) => PROVEN,
        (false, false) => LIKELY / 2.0,
    };
    let says = format!("no process of {service} has run since the agent began to look");
    let support = Support::new(Cause::NeverStarted, weight, since_us);
    let failure = unit::last_failure(scene, scene.failures.last_us);
    Some(support.with([scene.from_host(since_us, "process", says)]).with(failure))
}

/// Memory in use against its limit from which a SIGKILL out of the blue is most likely the kernel's.
const AT_LIMIT: f64 = 0.95;

fn oom_killed(scene: &Scene) -> Option<Support> {
    let Some((end_us, exit, oom_us, oom)) = oom_end(scene) else { return oom_unseen(scene) };
    let rss = if oom.rss_bytes > 0 { oom.rss_bytes } else { exit.map_or(0, |exit| exit.last_rss_bytes) };
    let mut says = if oom.from_counter {
        format!("oom-kill: {} counted by the cgroup", oom.kills.max(1))
    } else {
        format!("oom-kill: process {} ({})", oom.pid, oom.name)
    };
    if rss > 0 {
        says += &format!(", {} MiB resident", rss >> 20);
    }
    let group = scene.group();
    let limit = Some(oom.limit_bytes).filter(|limit| *limit > 0).or(group.and_then(|group| group.mem_limit_bytes));
    if let Some(limit) = limit {
        says += &format!(", limit {} MiB", limit >> 20);
    }
    if !oom.cgroup.is_empty() {
        says += &format!(", memory cgroup {}", oom.cgroup);
    }
    let source = if oom.from_counter { "cgroup" } else { "kernel_log" };
    let mut support = Support::new(Cause::OomKilled, PROVEN, oom_us.min(end_us));
    support = support.with([scene.from_host(oom_us, source, says)]);
    if let Some(exit) = exit {
        let how =
            exit.signal.map_or_else(|| "ended".to_owned(), |signal| format!("was ended by {}", signal_name(signal)));
        let says = format!("process {} ({}) of {} {how}", exit.pid, exit.name, exit.service);
        support = support.with([scene.from_host(end_us, "process", says)]);
    }
    Some(support)
}

/// A SIGKILL where neither the kernel's log nor a counter would have told of its want of memory.
fn oom_unseen(scene: &Scene) -> Option<Support> {
    let outage = Outage::of(scene)?;
    if outage.first.kind != EndKind::Killed || !blind_to_oom(scene) || outage.liveness_names_it(scene) {
        return None;
    }
    let use_of_limit = scene.group().and_then(|group| Some((group.mem_bytes?, group.mem_limit_bytes?)));
    let full = use_of_limit.filter(|(used, limit)| *used as f64 >= *limit as f64 * AT_LIMIT);
    let weight = if full.is_some() { LIKELY * 2.0 } else { POSSIBLE };
    let evidence = full.map(|(used, limit)| {
        let says = format!("its memory was at {} of {} MiB before the end", used >> 20, limit >> 20);
        scene.from_host(outage.first.at_us, "cgroup", says)
    });
    let support = Support::new(Cause::OomKilled, weight, outage.first.at_us).with(evidence);
    Some(support.with([outage.end_evidence(scene)]).lacking(BLIND))
}

/// An end of the instance or of one of its workers that the kernel brought about for lack of memory.
fn oom_end<'a>(scene: &Scene<'a>) -> Option<(i64, Option<&'a ProcessExited>, i64, &'a crate::model::OomKill)> {
    if scene.by_application() {
        return None;
    }
    if let Some(outage) = Outage::of(scene)
        && let EndKind::OutOfMemory(oom_us, oom) = outage.first.kind
    {
        return Some((outage.first.at_us, Some(outage.first.exit), oom_us, oom));
    }
    let (host, service) = (scene.host?, scene.place.service.as_deref()?);
    let (from_us, to_us) = (scene.failures.first_us - SAME_MOMENT_US, scene.failures.last_us + SAME_MOMENT_US);
    let cut = scene.share(CUT) > 0.2;
    let mut kills = host.history.lives(from_us, to_us).filter_map(|event| match &event.kind {
        EventKind::OomKill(oom) if oom.service == service => Some((event.at_us, oom)),
        _ => None,
    });
    kills.next().filter(|_| cut).map(|(at_us, oom)| {
        let worker = worker_ends(scene).find(|(end_us, _)| (end_us - at_us).abs() < 5_000_000);
        (worker.map_or(at_us, |(end_us, _)| end_us), worker.map(|(_, exit)| exit), at_us, oom)
    })
}

/// Signals of a connection that was cut before a complete answer.
const CUT: &[Signal] = &[
    Signal::ResetBeforeHeaders,
    Signal::ClosedBeforeHeaders,
    Signal::NoResponseHeaders,
    Signal::BodyTruncated,
    Signal::UpstreamErrorUnspecified,
    Signal::HeaderInvalid,
    Signal::ResponseInvalid,
];

/// Ends of processes that left the instance serving. A leader that has a successor by then was no worker.
fn worker_ends<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (i64, &'a ProcessExited)> {
    let (from_us, to_us) = (scene.failures.first_us - SAME_MOMENT_US, scene.failures.last_us + SAME_MOMENT_US);
    let service = scene.place.service.clone().unwrap_or_default();
    scene.host.into_iter().flat_map(move |host| host.history.lives(from_us, to_us)).filter_map(
        move |event| match &event.kind {
            EventKind::ProcessExited(exit) if exit.service == service && !exit.leader && !exit.took_down() => {
                Some((event.at_us, exit))
            }
            _ => None,
        },
    )
}

/// Whether a worker was asked to end by a leader that itself ended then: that is how a server of several processes stops.
fn leader_stops(scene: &Scene, at_us: i64, exit: &ProcessExited) -> bool {
    const ASKED: [u32; 3] = [2, 3, 15];
    const STOP_US: i64 = 10_000_000;
    let asked = exit.signal.is_none_or(|signal| ASKED.contains(&signal));
    let leads = |event: &EventKind| matches!(event, EventKind::ProcessExited(other) if other.service == exit.service && other.leader);
    asked && scene.host.is_some_and(|host| host.history.lives(at_us, at_us + STOP_US).any(|event| leads(&event.kind)))
}

fn worker_killed(scene: &Scene) -> Option<Support> {
    if scene.by_application() || scene.share(CUT) < 0.2 {
        return None;
    }
    let timeout_log = scene.log_of(
        &["worker_timeout"],
        scene.failures.began_us - SAME_MOMENT_US,
        scene.failures.last_us + SAME_MOMENT_US,
    );
    let ends: Vec<_> = worker_ends(scene)
        .filter(|(at_us, _)| scene.failures.notes.iter().any(|note| (note.at_us - at_us).abs() <= SAME_MOMENT_US))
        .collect();
    let (end_us, exit) =
        ends.into_iter().find(|(at_us, exit)| timeout_log.is_some() || !leader_stops(scene, *at_us, exit))?;
    let failed = exit.signal.is_some() || exit.exit_code.is_some_and(|code| code != 0);
    let weight = match (&timeout_log, failed) {
        (Some(_), _) | (None, true) => PROVEN,
        // A worker that leaves in good order does so between requests; the cut may be of another making.
        (None, false) => POSSIBLE,
    };
    let how = match (exit.signal, exit.exit_code) {
        (Some(signal), _) => format!("was ended by {}", signal_name(signal)),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    };
    let says = format!(
        "worker process {} ({}) of {} {how}; its parent {} ({}) and {} others live on",
        exit.pid,
        exit.name,
        exit.service,
        exit.parent_pid,
        exit.parent_name,
        exit.remaining.saturating_sub(1)
    );
    let log = timeout_log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone()));
    Some(Support::new(Cause::WorkerKilled, weight, end_us).with([scene.from_host(end_us, "process", says)]).with(log))
}

/// A socket's file is gone and the instance still listens: the kernel goes on telling the name that the socket was bound to,
/// whatever became of the file. Its end would explain the same.
fn socket_without_file(scene: &Scene) -> Option<Support> {
    let missing = scene.share(&[Signal::SocketMissing]) >= 0.5 && matches!(scene.address, Address::Unix(_));
    if !missing || !scene.chain.is_empty() || !scene.listening().yes() {
        return None;
    }
    let sample = scene.samples.last()?;
    let says = format!(
        "{} runs and listens on a socket that was bound to {}, and the gateway finds no file of that name: it was removed or \
         replaced since, or lies on another file system there",
        sample.service,
        scene.upstream()
    );
    let evidence = scene.from_host(sample.at_us, "socket", says);
    Some(Support::new(Cause::PortNotListening, PROVEN, scene.failures.began_us).with([evidence]))
}

fn port_not_listening(scene: &Scene) -> Option<Support> {
    if let Some(support) = socket_without_file(scene) {
        return Some(support);
    }
    const REFUSED: &[Signal] = &[
        Signal::ConnectRefused,
        Signal::ConnectFailed,
        Signal::SocketMissing,
        Signal::NoLiveUpstream,
        Signal::UpstreamErrorUnspecified,
        Signal::StatusOnly,
    ];
    let settled = scene.up_elsewhere();
    if scene.by_application() || scene.share(REFUSED) < 0.5 || !(scene.chain.is_empty() || settled.is_some()) {
        return None;
    }
    let deaf = |sample: &&crate::model::InstanceSample| {
        sample.listeners_known && sample.process_count > 0 && !scene.listens(sample)
    };
    let sample =
        settled.or_else(|| scene.samples.iter().copied().find(deaf)).or_else(|| scene.before().filter(deaf))?;
    let started_us = sample.processes.iter().map(|process| process.started_us).min().unwrap_or(0);
    let started_late = started_us > scene.failures.first_us + SAME_MOMENT_US && settled.is_none();
    if started_late || !scene.listening().no() {
        return None;
    }
    let elsewhere: Vec<&str> = sample.listeners.iter().map(|listener| listener.address.as_str()).collect();
    let young = scene.failures.last_us - started_us < YOUNG_US;
    let stopping = scene.may_be_stopping(sample);
    let weight = match (settled.is_some(), elsewhere.is_empty() || young) {
        (true, _) => PROVEN * 1.5,
        _ if stopping => POSSIBLE,
        (false, true) if young => POSSIBLE,
        (false, _) => PROVEN,
    };
    let place = if elsewhere.is_empty() { "on nothing".to_owned() } else { format!("on {}", elsewhere.join(", ")) };
    let says = format!(
        "{} runs ({} processes) and does not listen on {}; it listens {place}",
        sample.service,
        sample.process_count,
        scene.upstream()
    );
    let began_us = started_us.max(scene.failures.began_us - super::scene::REACH_BACK_US);
    let support = Support::new(Cause::PortNotListening, weight, began_us);
    let support = support.with([scene.from_host(sample.at_us, "socket", says)]);
    let lacking = "whether it is being stopped: it listened there until a moment ago and has not ended yet";
    Some(if stopping { support.lacking(lacking) } else { support })
}
