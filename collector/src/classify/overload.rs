//! Family overload: too much for the instance, or too little of something it needs.

mod device;

use super::chain::EndKind;
use super::network::{QUEUE_NEAR, loses_packets, overflows, queue_full, queue_peak};
use super::scene::Scene;
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support, hung};
use crate::model::{Cause, HostSample, InstanceSample, Signal};

pub(super) const RULES: &[Rule] = &[
    cpu_saturated,
    cpu_throttled,
    memory_pressure,
    accept_queue_overflow,
    fd_exhausted,
    worker_pool_exhausted,
    device::disk_full,
    device::io_stalled,
];

/// Signals of an instance that is too slow.
const SLOW: &[Signal] = &[
    Signal::ReadTimeout,
    Signal::SendTimeout,
    Signal::BodyTimeout,
    Signal::ConnectTimeout,
    Signal::QueueTimeout,
    Signal::UpstreamErrorUnspecified,
    Signal::StatusOnly,
    Signal::SocketBacklogFull,
    Signal::UpstreamOverflow,
];
/// Signals of an instance that fails in the middle of its work.
const BROKEN: &[Signal] = &[
    Signal::ReadTimeout,
    Signal::ConnectTimeout,
    Signal::ResetBeforeHeaders,
    Signal::ClosedBeforeHeaders,
    Signal::NoResponseHeaders,
    Signal::ConnectRefused,
    Signal::ConnectFailed,
    Signal::NoLiveUpstream,
    Signal::UpstreamErrorUnspecified,
    Signal::StatusOnly,
    Signal::AppStatus,
    Signal::BodyTruncated,
];

/// Whether the failures are those of an instance that is too slow. The kernel shakes hands for it, however slow it is,
/// as long as its queue has room.
fn too_slow(scene: &Scene) -> bool {
    let shaken = if queue_full(scene) { 0.0 } else { scene.share(&[Signal::ConnectTimeout]) };
    !scene.by_application() && scene.share(SLOW) - shaken - ended_at_once(scene) >= 0.3
}

/// Share of the failures whose record tells no phase, but that they came too soon for an instance that is merely slow.
fn ended_at_once(scene: &Scene) -> f64 {
    const SOON_US: u64 = 1_000_000;
    let notes = &scene.failures.notes;
    let soon = |note: &&crate::case::Note| {
        let untold = matches!(note.signal, Signal::UpstreamErrorUnspecified | Signal::StatusOnly);
        untold && note.status != 504 && note.response_us.is_some_and(|took_us| took_us < SOON_US)
    };
    notes.iter().filter(soon).count() as f64 / notes.len().max(1) as f64
}

/// Whether the failures follow an end that no want of disk or descriptors brings about: whoever sent the signal did, or the
/// kernel for want of memory.
fn ended_from_outside(scene: &Scene) -> bool {
    let end = scene.chain.first().map(|end| &end.kind);
    matches!(end, Some(EndKind::Killed | EndKind::Terminated | EndKind::OutOfMemory(..)))
}

/// Whether it lacks something without which no process can answer: descriptors, a device, its CPU quota, memory.
pub(super) fn short_of_something(scene: &Scene) -> bool {
    let needs: [Rule; 4] = [fd_exhausted, device::io_stalled, cpu_throttled, memory_pressure];
    needs.iter().filter_map(|rule| rule(scene)).any(|support| support.weight >= PROVEN)
}

/// Whether the instance is short of descriptors or of room on a disk, which makes it fail in its work.
pub(super) fn lacks_room(scene: &Scene) -> bool {
    let needs: [Rule; 2] = [fd_exhausted, device::disk_full];
    needs.iter().filter_map(|rule| rule(scene)).any(|support| support.weight >= LIKELY)
}

/// Whether the host told of its disks, memory and descriptors since it began to fail.
pub(super) fn was_looked_at(scene: &Scene) -> bool {
    host_samples(scene).last().is_some_and(|sample| sample.at_us > scene.failures.began_us)
}

/// The host's readings while it failed.
fn host_samples<'a>(scene: &Scene<'a>) -> Vec<&'a HostSample> {
    let Some(host) = scene.host else { return Vec::new() };
    let interval_us = i64::try_from(host.state.interval_us).unwrap_or(0);
    let (from_us, to_us) = (scene.failures.began_us - interval_us, scene.failures.last_us + interval_us + 1_000_000);
    host.history.host_samples(from_us, to_us).map(|sample| &**sample).collect()
}

/// Readings just before, too: what a fast end cut short was seen only there.
fn samples_around<'a>(scene: &Scene<'a>) -> Vec<&'a InstanceSample> {
    scene.before().into_iter().chain(scene.samples.iter().copied()).collect()
}

/// The greatest of a reading, with its sample.
fn peak<'a, S>(samples: &[&'a S], value: impl Fn(&S) -> Option<f64>) -> Option<(&'a S, f64)> {
    let readings = samples.iter().filter_map(|sample| Some((*sample, value(sample)?)));
    readings.max_by(|one, other| one.1.total_cmp(&other.1))
}

/// The mean of a reading.
fn mean<S>(samples: &[&S], value: impl Fn(&S) -> Option<f64>) -> Option<f64> {
    let readings: Vec<f64> = samples.iter().filter_map(|sample| value(sample)).collect();
    (!readings.is_empty()).then(|| readings.iter().sum::<f64>() / readings.len() as f64)
}

fn cpu_saturated(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) {
        return None;
    }
    host_saturated(scene).or_else(|| own_thread_saturated(scene))
}

/// The instance can't use more than one CPU, and uses that one all the time while requests wait: what it has to do is too
/// much for it, though the host has CPUs to spare.
fn own_thread_saturated(scene: &Scene) -> Option<Support> {
    let busiest = |sample: &InstanceSample| {
        sample.processes.iter().filter_map(|process| process.cpu_ratio).max_by(f64::total_cmp)
    };
    // A reading tells of the stretch before it.
    let during: Vec<_> = scene.samples.iter().copied().filter(|one| one.at_us > scene.failures.began_us).collect();
    let used = mean(&during, busiest).filter(|used| (0.95..1.2).contains(used))?;
    let waits = scene.samples.iter().flat_map(|sample| &sample.listeners).any(|listener| listener.queue > 0);
    if scene.answered_meanwhile() == 0 || !waits || scene.others_fast() == Some(true) {
        return None;
    }
    let at_us = scene.samples.first().map_or(scene.failures.first_us, |sample| sample.at_us);
    let says = format!("its busiest process used {:.0} % of a CPU all the while, and requests waited", used * 100.0);
    let support = Support::new(Cause::CpuSaturated, LIKELY, began_at(scene, at_us));
    Some(support.with([scene.from_host(at_us, "process", says)]))
}

fn host_saturated(scene: &Scene) -> Option<Support> {
    let mut samples = host_samples(scene);
    // A reading tells of the stretch before it.
    samples.retain(|sample| sample.at_us > scene.failures.began_us);
    let busy_sample = samples.first()?;
    // A moment of it slows nobody for seconds: it is the mean over the failures that counts.
    let busy = mean(&samples, |sample| sample.cpu_busy_ratio)?;
    let delay = mean(&scene.samples, |sample| {
        sample.processes.iter().filter_map(|process| process.run_delay_ratio).max_by(f64::total_cmp)
    })
    .unwrap_or(0.0);
    if busy < 0.9 || delay < 0.2 || throttled(scene).is_some_and(|(_, share)| share > 0.25) {
        return None;
    }
    let weight = match (scene.answered_meanwhile() > 0, delay > 0.5) {
        _ if scene.others_fast() == Some(true) => COMPATIBLE,
        (true, true) => PROVEN,
        (true, false) => LIKELY,
        // Too slow is not silent: an instance that waits for its turn still answers some.
        (false, _) => POSSIBLE,
    };
    let host = format!("CPUs {:.0} % busy", busy * 100.0);
    let process = format!("{} waits for a CPU {:.0} % of the time", scene.service_name(), delay * 100.0);
    let at_us = scene.samples.first().map_or(busy_sample.at_us, |sample| sample.at_us);
    Some(
        Support::new(Cause::CpuSaturated, weight, began_at(scene, busy_sample.at_us))
            .with([scene.from_host(busy_sample.at_us, "host", host), scene.from_host(at_us, "process", process)]),
    )
}

/// A reading during the failures speaks of a state that began before them, as far as anybody can tell.
fn began_at(scene: &Scene, sample_us: i64) -> i64 {
    sample_us.min(scene.failures.began_us)
}

fn throttled<'a>(scene: &Scene<'a>) -> Option<(&'a InstanceSample, f64)> {
    peak(&scene.samples, |sample| {
        let cgroup = sample.cgroup.as_ref()?;
        cgroup.throttled_periods_ratio
    })
}

fn cpu_throttled(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) {
        return None;
    }
    let (sample, share) = throttled(scene).filter(|(_, share)| *share >= 0.25)?;
    let weight = match (share >= 0.5, scene.others_fast()) {
        (_, Some(true)) => POSSIBLE,
        (true, _) => PROVEN,
        (false, _) => LIKELY,
    };
    let quota = sample.cgroup.as_ref().and_then(|cgroup| cgroup.cpu_quota);
    let quota = quota.map_or_else(String::new, |quota| format!(", quota {quota:.2} CPUs"));
    let says = format!("its cgroup was throttled in {:.0} % of the periods{quota}", share * 100.0);
    let support = Support::new(Cause::CpuThrottled, weight, began_at(scene, sample.at_us));
    Some(support.with([scene.from_host(sample.at_us, "cgroup", says)]))
}

fn memory_pressure(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) {
        return None;
    }
    let group = peak(&scene.samples, |sample| sample.cgroup.as_ref()?.pressure.as_ref()?.memory_full_ratio);
    let samples = host_samples(scene);
    let host = peak(&samples, |sample| sample.pressure.as_ref()?.memory_full_ratio);
    let group = group.map(|(sample, share)| (sample.at_us, share));
    // The host's pressure is that of all its groups: where its own is known, that one tells.
    let (at_us, share) = group.or(host.map(|(sample, share)| (sample.at_us, share)))?;
    let weight = match share {
        share if share >= 0.3 => PROVEN,
        share if share >= 0.1 => LIKELY,
        _ => return None,
    };
    let says = format!("everything waited for memory {:.0} % of the time", share * 100.0);
    Some(
        Support::new(Cause::MemoryPressure, weight, began_at(scene, at_us))
            .with([scene.from_host(at_us, "pressure", says)]),
    )
}

fn accept_queue_overflow(scene: &Scene) -> Option<Support> {
    const QUEUED: &[Signal] = &[
        Signal::ConnectTimeout,
        Signal::ReadTimeout,
        Signal::SocketBacklogFull,
        Signal::ConnectRefused,
        Signal::ConnectFailed,
        Signal::UpstreamErrorUnspecified,
        Signal::StatusOnly,
        Signal::ResetBeforeHeaders,
    ];
    if scene.by_application() || scene.share(QUEUED) < 0.3 || scene.listening().no() {
        return None;
    }
    let full = scene.samples.iter().find_map(|sample| {
        let listener = sample.listeners.iter().find(|listener| {
            listener.queue_limit > 0
                && listener.queue >= listener.queue_limit
                && crate::model::Address::parse(&listener.address).covers(&scene.address)
        })?;
        let says = format!(
            "accept queue of {} holds {} of {} connections",
            listener.address, listener.queue, listener.queue_limit
        );
        Some((sample.at_us, says))
    });
    let dropped = overflows(scene);
    let answered = scene.answered_meanwhile() > 0;
    // A unix socket turns away at once what its queue has no room for.
    let backlog = scene.share(&[Signal::SocketBacklogFull]) > 0.5;
    let weight = match (&full, dropped > 0, answered) {
        (Some(_), true, true) => PROVEN * 1.5,
        // Nothing is answered at all: the queue is full because the process takes nothing from it.
        (Some(_), true, false) => POSSIBLE,
        (Some(_), false, true) => LIKELY,
        // The counter is the whole host's: another listener's overflow.
        (None, true, _) if queue_peak(scene).is_some_and(|share| share < QUEUE_NEAR) => COMPATIBLE,
        (None, true, true) => LIKELY,
        (None, true, false) => POSSIBLE,
        _ if backlog => POSSIBLE,
        _ => return None,
    };
    let weight = match backlog {
        // Its queue is full because it takes nothing from it.
        true if hung::stuck_state(scene).is_some() => POSSIBLE,
        true => weight.max(LIKELY * 2.0),
        false => weight,
    };
    let mut support = Support::new(Cause::AcceptQueueOverflow, weight, scene.failures.began_us);
    if let Some((at_us, says)) = full {
        support = support.with([scene.from_host(at_us, "socket", says)]);
    }
    if dropped > 0 {
        let says = format!("the kernel counted {dropped} connections that found an accept queue full");
        support = support.with([scene.from_host(scene.failures.first_us, "kernel", says)]);
    }
    Some(support)
}

fn fd_exhausted(scene: &Scene) -> Option<Support> {
    if scene.share(BROKEN) < 0.3 && !scene.by_application() {
        return None;
    }
    let samples = samples_around(scene);
    let used = peak(&samples, |sample| {
        let ratio = |process: &crate::model::ProcessSample| {
            let limit = process.fd_limit.filter(|limit| *limit > 0)?;
            Some(f64::from(process.fds?) / limit as f64)
        };
        sample.processes.iter().filter_map(ratio).max_by(f64::total_cmp)
    });
    let at_limit = used.filter(|(_, share)| *share >= 0.98);
    let log = scene.log_of(
        &["too_many_open_files"],
        scene.failures.began_us - 15_000_000,
        scene.failures.last_us + 5_000_000,
    );
    let weight = match (&at_limit, &log) {
        (Some(_), Some(_)) => PROVEN * 1.5,
        (Some(_), None) | (None, Some(_)) => PROVEN,
        (None, None) => return None,
    };
    let weight = if ended_from_outside(scene) { weight.min(POSSIBLE) } else { weight };
    let mut support =
        Support::new(Cause::FdExhausted, weight, scene.failures.began_us.min(log.map_or(i64::MAX, |(at_us, _)| at_us)));
    if let Some((sample, _)) = at_limit {
        let process = sample.processes.iter().max_by_key(|process| process.fds.unwrap_or(0));
        let says = process.map_or_else(String::new, |process| {
            let (fds, limit) = (process.fds.unwrap_or(0), process.fd_limit.unwrap_or(0));
            format!("process {} ({}) has {fds} of {limit} descriptors open", process.pid, process.name)
        });
        support.began_us = support.began_us.min(sample.at_us);
        support = support.with([scene.from_host(sample.at_us, "process", says)]);
    }
    Some(support.with(log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone()))))
}

/// Whether more than one connection waited to be accepted, on average of the readings while requests failed: one that is on
/// its way in just then waits for nobody.
fn connections_wait(scene: &Scene) -> bool {
    let (began_us, last_us) = (scene.failures.began_us, scene.failures.last_us);
    let during = scene.samples.iter().filter(|sample| (began_us..=last_us).contains(&sample.at_us));
    let queue = |sample: &&InstanceSample| sample.listeners.iter().map(|listener| listener.queue).max().unwrap_or(0);
    let (readings, waiting) =
        during.fold((0, 0), |(readings, waiting), sample| (readings + 1, waiting + u64::from(queue(sample))));
    waiting > readings
}

fn worker_pool_exhausted(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) || scene.listening().no() {
        return None;
    }
    let log =
        scene.log_of(&["pool_exhausted"], scene.failures.began_us - 10_000_000, scene.failures.last_us + 5_000_000);
    let waiting = scene.samples.iter().find_map(|sample| {
        let listener = sample.listeners.iter().find(|listener| {
            listener.queue > 0 && (listener.queue_limit == 0 || listener.queue < listener.queue_limit)
        })?;
        Some((
            sample.at_us,
            format!(
                "{} connections wait to be accepted on {} (limit {})",
                listener.queue, listener.address, listener.queue_limit
            ),
        ))
    });
    let (lasting, others_fast) = (connections_wait(scene), scene.others_fast());
    let answered = scene.answered_meanwhile();
    let idle = peak(&scene.samples, |sample| {
        sample.processes.iter().filter_map(|process| process.cpu_ratio).max_by(f64::total_cmp)
    })
    .is_none_or(|(_, cpu)| cpu < 0.7);
    let full = overflows(scene) > 0;
    // Workers are slow for want of something else, be it their turn on a CPU: the pool is not the cause.
    let idle = idle && !short_of_something(scene) && host_saturated(scene).is_none();
    // What is lost on the way keeps workers waiting as well.
    let lossy = loses_packets(scene);
    let weight = match (&log, &waiting, answered > 0, idle) {
        (Some(_), _, _, _) => PROVEN,
        (None, Some(_), true, _) if others_fast == Some(true) => COMPATIBLE,
        // Nobody but a check waited for it.
        (None, Some(_), true, _) if scene.met_by_checks_alone() => COMPATIBLE,
        (None, Some(_), true, false) => POSSIBLE,
        // A connection waits for a moment now and then with whoever is busy.
        (None, Some(_), true, true) if !lasting && others_fast.is_none() => POSSIBLE,
        (None, Some(_), true, true) if lasting && !full && !lossy => PROVEN,
        (None, Some(_), true, true) => LIKELY,
        (None, Some(_), false, true) if !full => POSSIBLE,
        _ => return None,
    };
    let mut support = Support::new(Cause::WorkerPoolExhausted, weight, scene.failures.began_us);
    if let Some((at_us, says)) = waiting {
        support = support.with([scene.from_host(at_us, "socket", says)]);
    }
    if answered > 0 {
        let says = format!("{answered} other requests to it were answered meanwhile");
        support = support.with([scene.from_gateway(scene.failures.last_us, "gateway_log", says)]);
    }
    Some(support.with(log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone()))))
}
