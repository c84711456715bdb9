//! Causes disk_full and io_stalled: the instance works with a device that has no room, or that does not answer.

use std::collections::HashMap;

use super::{BROKEN, ended_from_outside, host_samples, peak, too_slow};
use crate::classify::scene::Scene;
use crate::classify::{LIKELY, POSSIBLE, PROVEN, Support};
use crate::model::{Cause, Evidence, HostSample, InstanceSample, MountSample, ProcessSample, Signal};

pub(super) fn disk_full(scene: &Scene) -> Option<Support> {
    if scene.share(BROKEN) < 0.3 && !scene.by_application() {
        return None;
    }
    let (from_us, to_us) = (scene.failures.began_us - 60_000_000, scene.failures.last_us + 5_000_000);
    let log = scene.log_of(&["disk_full"], from_us, to_us);
    let full = host_samples(scene).into_iter().find_map(|sample| Some((sample.at_us, full_mount(scene, sample)?)));
    let was_full = full.is_some_and(|(_, mount)| was_full_before(scene, mount));
    let full = full.map(|(at_us, mount)| (at_us, says_full(mount)));
    let weight = match (&full, &log) {
        (Some(_), Some(_)) => PROVEN * 3.0,
        (None, Some(_)) => PROVEN * 1.5,
        // A full disk makes it fail in its work; that it can't be reached is another matter, and it may have been full for ever.
        (Some(_), None) if in_its_work(scene) && !was_full => LIKELY * 2.0,
        (Some(_), None) => POSSIBLE,
        (None, None) => return None,
    };
    let weight = if ended_from_outside(scene) { weight.min(POSSIBLE) } else { weight };
    let began_us = scene.chain.first().map_or(i64::MAX, |end| end.at_us).min(scene.failures.began_us);
    let evidence: Vec<Evidence> = full
        .map(|(at_us, says)| scene.from_host(at_us, "disk", says))
        .into_iter()
        .chain(log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone())))
        .collect();
    let began_us = evidence.iter().map(|evidence| evidence.at_us).fold(began_us, i64::min);
    Some(Support::new(Cause::DiskFull, weight, began_us).with(evidence))
}

/// A mount that the instance writes to and that has no room.
fn full_mount<'a>(scene: &Scene, sample: &'a HostSample) -> Option<&'a MountSample> {
    let own = |mount: &&MountSample| mount.services.iter().any(|name| name == scene.service_name());
    sample.mounts.iter().filter(own).find(|mount| {
        let no_space = mount.total_bytes > 0
            && mount.available_bytes * 1000 < mount.total_bytes
            && mount.available_bytes < 4 << 20;
        let no_inodes = mount.total_inodes > 0 && mount.available_inodes == 0;
        !mount.read_only && (no_space || no_inodes)
    })
}

/// Whether a mount had no room either when the instance still worked.
fn was_full_before(scene: &Scene, mount: &MountSample) -> bool {
    let Some(host) = scene.host else { return false };
    let before_us = scene.failures.began_us - 30_000_000;
    let mut samples = host.history.host_samples(i64::MIN, before_us);
    samples.next_back().and_then(|sample| full_mount(scene, sample)).is_some_and(|full| full.path == mount.path)
}

fn says_full(mount: &MountSample) -> String {
    let what = if mount.available_inodes == 0 && mount.total_inodes > 0 { "no inodes" } else { "no space" };
    let (free_kib, all_kib) = (mount.available_bytes >> 10, mount.total_bytes >> 10);
    match all_kib {
        0..10_240 => format!("{what} left on {} ({free_kib} of {all_kib} KiB free)", mount.path),
        _ => format!("{what} left on {} ({} of {} MiB free)", mount.path, free_kib >> 10, all_kib >> 10),
    }
}

/// Whether the instance failed while it worked on requests, or ended by a fault of its own.
fn in_its_work(scene: &Scene) -> bool {
    let cut = scene.share(&[
        Signal::ResetBeforeHeaders,
        Signal::ClosedBeforeHeaders,
        Signal::NoResponseHeaders,
        Signal::BodyTruncated,
    ]);
    scene.by_application() || cut >= 0.3 || scene.chain.iter().any(|end| end.failed())
}

/// A process that waits where no signal reaches it (state D, proc_pid_stat(5)) was so in all readings of so long and did nothing
/// between them, microseconds. Waits for a device are short and come and go; one that lasts is for what does not answer. A frozen file system or a server
/// of files that is gone shows in no pressure: only what waits by io_schedule() is counted there (kernel/sched/core.c).
const LASTING_US: i64 = 2_000_000;
/// What uses more of a CPU than this between two readings was not waiting all the while: readings may be ten seconds apart, and
/// who works with a device is in state D in many of them.
const IDLE_CPU_RATIO: f64 = 0.01;

/// A process in state D.
struct Waits<'a> {
    sample: &'a InstanceSample,
    process: &'a ProcessSample,
    /// For how long each reading found it so, microseconds.
    lasted_us: i64,
}

impl<'a> Waits<'a> {
    /// The process found so for the longest time.
    fn of(scene: &Scene<'a>) -> Option<Self> {
        let mut longest: Option<Self> = None;
        let mut since: HashMap<u32, i64> = HashMap::new();
        for sample in scene.samples.iter().copied().filter(|sample| !sample.is_frozen()) {
            let waiting: Vec<_> = sample.processes.iter().filter(|process| waits(process)).collect();
            let waits_on = |process: &&ProcessSample| process.cpu_ratio.is_some_and(|used| used < IDLE_CPU_RATIO);
            since.retain(|pid, _| waiting.iter().copied().filter(waits_on).any(|process| process.pid == *pid));
            for process in waiting {
                let lasted_us = sample.at_us - *since.entry(process.pid).or_insert(sample.at_us);
                if longest.as_ref().is_none_or(|found| found.lasted_us < lasted_us) {
                    longest = Some(Self { sample, process, lasted_us });
                }
            }
        }
        longest
    }

    fn evidence(&self, scene: &Scene) -> Evidence {
        let process = self.process;
        let lasted = match self.lasted_us {
            LASTING_US.. => format!(" for {:.0} s on end", self.lasted_us as f64 / 1e6),
            _ => String::new(),
        };
        let place = if process.waits_in.is_empty() { "" } else { ", in " };
        let says = format!(
            "process {} ({}) waits for a device{lasted} (state D{place}{})",
            process.pid, process.name, process.waits_in
        );
        scene.from_host(self.sample.at_us, "process", says)
    }
}

fn waits(process: &ProcessSample) -> bool {
    process.state == "D" || process.thread_states.contains("D:")
}

pub(super) fn io_stalled(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) {
        return None;
    }
    let samples = host_samples(scene);
    let pressure =
        peak(&samples, |sample| sample.pressure.as_ref()?.io_full_ratio.or(sample.pressure.as_ref()?.io_some_ratio));
    let waits = Waits::of(scene);
    let share = pressure.map_or(0.0, |(_, share)| share);
    let weight = match (&waits, share) {
        // While others are answered fast, what waits for the device is not what serves.
        (Some(_), _) if scene.others_fast() == Some(true) => POSSIBLE,
        (Some(waits), share) if share > 0.2 || waits.lasted_us >= LASTING_US => PROVEN * 1.5,
        (Some(_), share) if share > 0.05 => LIKELY,
        (None, share) if share > 0.5 => POSSIBLE,
        _ => return None,
    };
    let pressure = pressure.filter(|(_, share)| *share > 0.05).map(|(sample, share)| {
        let says = format!("tasks waited for a device {:.0} % of the time", share * 100.0);
        scene.from_host(sample.at_us, "pressure", says)
    });
    let waits = waits.map(|waits| waits.evidence(scene));
    Some(Support::new(Cause::IoStalled, weight, scene.failures.began_us).with(waits).with(pressure))
}
