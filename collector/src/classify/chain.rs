//! The chain of an instance's ends that explains why it did not answer: which end began it, and how each came about.
//! An end whose effect is over (the instance served again) explains nothing that came later.

use super::outage::NOT_AGAIN_US;
use super::restarting::listened_after;
use super::scene::{REACH_BACK_US, SAME_MOMENT_US, Scene};
use crate::model::{Address, EventKind, ExitSource, OomKill, ProcessExited, Signal};

/// A successor that lives shorter than this did not come up, microseconds.
const SHORT_LIFE_US: i64 = 30_000_000;

/// A supervisor kills what does not stop within so long, seldom later, microseconds.
const WINDING_UP_US: i64 = 10_000_000;
/// What the agent sees within so long before an end may be that end's doing, microseconds: it looks several times a second.
const GAVE_UP_BEFORE_US: i64 = 300_000;

/// One end of an instance.
#[derive(Debug, Clone)]
pub struct End<'a> {
    /// When.
    pub at_us: i64,
    /// When it began: what stops in good order gives its listener up first and then finishes what it has.
    pub began_us: i64,
    /// As seen.
    pub exit: &'a ProcessExited,
    /// How it came about.
    pub kind: EndKind<'a>,
}

/// How an end came about.
#[derive(Debug, Clone, PartialEq)]
pub enum EndKind<'a> {
    /// The kernel killed it for lack of memory.
    OutOfMemory(i64, &'a OomKill),
    /// It died by its own fault: a signal such as SIGSEGV, or a failure code.
    Crash,
    /// SIGKILL from outside.
    Killed,
    /// SIGTERM, SIGINT or SIGHUP that it did not handle.
    Terminated,
    /// It exited by itself with success.
    Clean,
    /// It was gone; nothing tells how.
    Untold,
}

impl End<'_> {
    /// Whether it ended by a fault, not on purpose.
    pub fn failed(&self) -> bool {
        matches!(self.kind, EndKind::Crash | EndKind::OutOfMemory(..))
    }

    /// The end in words.
    pub fn says(&self) -> String {
        let exit = self.exit;
        let how = match (exit.signal, exit.exit_code) {
            (Some(signal), _) => format!("was ended by {}", signal_name(signal)),
            (None, Some(code)) => format!("exited with code {code}"),
            (None, None) => "is gone, how it ended is not known".to_owned(),
        };
        let core = if exit.core_dumped { ", core dumped" } else { "" };
        let seen = if exit.source == ExitSource::Inferred { " (seen at a later look)" } else { "" };
        let gave_up = match (self.at_us - self.began_us) / 100_000 {
            0 => String::new(),
            tenths => format!(" {:.1} s after it gave its listener up", tenths as f64 / 10.0),
        };
        format!("process {} ({}) of {} {how}{core}{seen}{gave_up}", exit.pid, exit.name, exit.service)
    }
}

/// The signal that an end amounts to: also where a shell passed it on as code 128 + signal.
fn ending_signal(exit: &ProcessExited) -> Option<u32> {
    exit.signal.or_else(|| exit.exit_code.filter(|code| (129..=159).contains(code)).map(|code| code - 128))
}

/// A signal's name (signal(7)).
pub fn signal_name(signal: u32) -> String {
    let known = [(1, "SIGHUP"), (2, "SIGINT"), (3, "SIGQUIT"), (4, "SIGILL"), (5, "SIGTRAP"), (6, "SIGABRT")];
    let more = [(7, "SIGBUS"), (8, "SIGFPE"), (9, "SIGKILL"), (11, "SIGSEGV"), (13, "SIGPIPE"), (15, "SIGTERM")];
    let name = known.iter().chain(&more).find(|(number, _)| *number == signal);
    name.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

/// How an end came about.
fn kind_of<'a>(scene: &Scene<'a>, at_us: i64, exit: &'a ProcessExited) -> EndKind<'a> {
    let signal = ending_signal(exit);
    if let Some((oom_us, oom)) = oom_of(scene, at_us, exit, signal) {
        return EndKind::OutOfMemory(oom_us, oom);
    }
    match (signal, exit.exit_code) {
        (Some(9), _) => EndKind::Killed,
        (Some(1 | 2 | 15), _) => EndKind::Terminated,
        (Some(_), _) => EndKind::Crash,
        (None, Some(0)) => EndKind::Clean,
        (None, Some(_)) => EndKind::Crash,
        (None, None) => EndKind::Untold,
    }
}

/// The kernel's out-of-memory kill that is this end. A kill in another group or of another service is not.
fn oom_of<'a>(scene: &Scene<'a>, at_us: i64, exit: &ProcessExited, signal: Option<u32>) -> Option<(i64, &'a OomKill)> {
    if !matches!(signal, Some(9) | None) || exit.exit_code == Some(0) {
        return None;
    }
    let history = &scene.host?.history;
    history.lives(at_us - 5_000_000, at_us + 5_000_000).find_map(|event| match &event.kind {
        EventKind::OomKill(oom) if oom.service == exit.service => Some((event.at_us, oom)),
        _ => None,
    })
}

/// The end of an instance that the exit of its last process tells.
fn end_of<'a>(scene: &Scene<'a>, at_us: i64, last: &'a ProcessExited) -> End<'a> {
    // How it ended its leader tells, whoever was left for the last.
    let exit = if last.leader { last } else { leaders_exit(scene, at_us, last).unwrap_or(last) };
    let gave_up_us = scene.gave_up_us(exit.started_us, at_us - SAME_MOMENT_US);
    let kind = match kind_of(scene, at_us, exit) {
        // Who closes its own listener was asked to stop, however impatient they became.
        EndKind::Killed | EndKind::Terminated | EndKind::Untold if gave_up_us.is_some() => EndKind::Clean,
        EndKind::Killed | EndKind::Untold if was_winding_up(scene, at_us, exit) => EndKind::Clean,
        kind => kind,
    };
    End { at_us, began_us: gave_up_us.unwrap_or(at_us), exit, kind }
}

/// Whether a leader had given its listener up, be it a moment before it ended, and workers of its had gone in good order shortly
/// before, which it had not replaced: it was being stopped. Helpers that an application starts for a moment go so too.
fn was_winding_up(scene: &Scene, at_us: i64, leader: &ProcessExited) -> bool {
    let Some(host) = scene.host else { return false };
    if scene.gave_up_us(leader.started_us, at_us - GAVE_UP_BEFORE_US).is_none() {
        return false;
    }
    let is_worker = |exit: &ProcessExited| {
        (&exit.service, &exit.name, exit.parent_pid) == (&leader.service, &leader.name, leader.pid)
    };
    let mut gone_us = None;
    for event in host.history.lives(at_us - WINDING_UP_US, at_us) {
        match &event.kind {
            EventKind::ProcessExited(exit) if is_worker(exit) => {
                let in_order = exit.exit_code == Some(0) || matches!(ending_signal(exit), Some(1 | 2 | 15));
                gone_us = in_order.then_some(event.at_us).or(gone_us);
            }
            EventKind::ProcessStarted(start) if start.service == leader.service && start.parent_pid == leader.pid => {
                gone_us = None;
            }
            _ => {}
        }
    }
    gone_us.is_some()
}

/// The exit of the leader that the last process to end was left by.
fn leaders_exit<'a>(scene: &Scene<'a>, at_us: i64, last: &ProcessExited) -> Option<&'a ProcessExited> {
    let events = scene.host?.history.lives(at_us - SHORT_LIFE_US, at_us + SAME_MOMENT_US);
    let mut exits = events.filter_map(|event| match &event.kind {
        EventKind::ProcessExited(exit) if exit.service == last.service && exit.leader => Some(exit),
        _ => None,
    });
    exits.rfind(|exit| exit.started_us <= last.started_us)
}

/// The ends that explain the present failures, oldest first; empty where none does.
pub fn explaining<'a>(scene: &Scene<'a>, service: &str) -> Vec<End<'a>> {
    let Some(host) = scene.host else { return Vec::new() };
    let last_us = scene.failures.last_us + SAME_MOMENT_US;
    let events = host.history.lives(scene.failures.began_us - 2 * REACH_BACK_US, last_us + REACH_BACK_US);
    let (mut ends, later): (Vec<End>, Vec<End>) = events
        .filter_map(|event| match &event.kind {
            EventKind::ProcessExited(exit) if exit.service == service && ended(scene, event.at_us, exit) => {
                Some(end_of(scene, event.at_us, exit))
            }
            _ => None,
        })
        .partition(|end| end.began_us <= last_us);
    if ends.is_empty() {
        // It may have ended long ago and never come back.
        if let Some((at_us, exit)) = host.history.last_end(service).filter(|(at_us, _)| *at_us <= last_us) {
            ends.push(end_of(scene, *at_us, exit));
        }
    }
    let begin = beginning(scene, &ends);
    ends.drain(..begin);
    goes_on(scene, &mut ends, later);
    ends
}

/// Adds the failed starts that came when the gateway asked no more: what was started in place of the last one that ended did
/// not come up either.
fn goes_on<'a>(scene: &Scene<'a>, ends: &mut Vec<End<'a>>, later: Vec<End<'a>>) {
    for end in later {
        let Some(last) = ends.last() else { return };
        let soon = (-200_000..NOT_AGAIN_US).contains(&(end.exit.started_us - last.at_us));
        let short = end.at_us - end.exit.started_us < SHORT_LIFE_US && end.failed();
        if !soon || !short || scene.answered(last.at_us, end.at_us) > 0 {
            return;
        }
        ends.push(end);
    }
}

/// Whether an end left nothing that serves the upstream: nothing of the instance, or of several that the host runs the one
/// that held the upstream's own listener.
fn ended(scene: &Scene, at_us: i64, exit: &ProcessExited) -> bool {
    exit.took_down() || (exit.served && exit.leader && lost_listener(scene, at_us, &exit.service))
}

/// Whether the upstream's listener went away at that moment.
fn lost_listener(scene: &Scene, at_us: i64, service: &str) -> bool {
    let Some(host) = scene.host else { return false };
    host.history.lives(at_us - SAME_MOMENT_US, at_us + SAME_MOMENT_US).any(|event| match &event.kind {
        EventKind::ListenChanged(change) if change.service == service && !change.listening => {
            Address::parse(&change.address).covers(&scene.address)
        }
        _ => false,
    })
}

/// The index of the end that began the present outage; the number of ends where none explains it.
fn beginning(scene: &Scene, ends: &[End]) -> usize {
    let first_us = scene.failures.first_us;
    let Some(newest) = ends.iter().rposition(|end| end.began_us <= first_us + SAME_MOMENT_US) else {
        // Every end came after the failures began: they explain it only where the first failures are of the same kind.
        return if ended_by_then(scene, ends) { 0 } else { ends.len() };
    };
    let up_since = came_up(scene, ends[newest].at_us + 200_000, first_us - SAME_MOMENT_US);
    if up_since && !fails_around(scene, ends[newest].began_us) {
        return ends.len();
    }
    let mut begin = newest;
    while begin > 0 {
        let earlier = &ends[begin - 1];
        let lived_us = ends[begin].at_us - ends[begin].exit.started_us;
        if lived_us > SHORT_LIFE_US || came_up_for_long(scene, earlier.at_us, ends[begin].at_us) {
            break;
        }
        begin -= 1;
    }
    begin
}

/// Whether the instance was up again between two times: it listened where the gateway looks, or answered it.
fn came_up(scene: &Scene, from_us: i64, to_us: i64) -> bool {
    let listened = listened_after(scene, from_us).is_some_and(|at_us| at_us < to_us);
    from_us < to_us && (listened || scene.answered(from_us, to_us) > 0)
}

fn came_up_for_long(scene: &Scene, from_us: i64, to_us: i64) -> bool {
    to_us - from_us > SHORT_LIFE_US && scene.answered(from_us, to_us) > 0
}

fn fails_around(scene: &Scene, at_us: i64) -> bool {
    scene.failures.notes.iter().any(|note| (note.at_us - at_us).abs() <= SAME_MOMENT_US)
}

/// Failures of the kind that an ended process gives, from its end on, where none of another kind came before.
fn ended_by_then(scene: &Scene, ends: &[End]) -> bool {
    let Some(first) = ends.first() else { return false };
    let before = scene.failures.notes.iter().filter(|note| note.at_us < first.began_us - SAME_MOMENT_US);
    let mut before = before.peekable();
    if before.peek().is_none() {
        return true;
    }
    before.all(|note| matches!(note.signal, Signal::NoLiveUpstream))
}

/// The first end of the instance after its failures began.
pub fn first_end_after(scene: &Scene, service: &str) -> Option<i64> {
    let first_us = scene.failures.first_us;
    let mut events = scene.host?.history.lives(first_us, i64::MAX);
    events.find_map(|event| match &event.kind {
        EventKind::ProcessExited(exit) if exit.service == service && exit.took_down() => Some(event.at_us),
        _ => None,
    })
}
