//! Causes disk_full and io_stalled: the instance writes to a device that has no room, or that does not answer.

use super::{BROKEN, ended_from_outside, host_samples, peak, too_slow};
use crate::classify::scene::Scene;
use crate::classify::{LIKELY, POSSIBLE, PROVEN, Support};
use crate::model::{Cause, Evidence, HostSample, MountSample, Signal};

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

pub(super) fn io_stalled(scene: &Scene) -> Option<Support> {
    if !too_slow(scene) {
        return None;
    }
    let samples = host_samples(scene);
    let pressure =
        peak(&samples, |sample| sample.pressure.as_ref()?.io_full_ratio.or(sample.pressure.as_ref()?.io_some_ratio));
    let waits = scene.samples.iter().find_map(|sample| {
        let process =
            sample.processes.iter().find(|process| process.state == "D" || process.thread_states.contains("D:"))?;
        Some((
            sample.at_us,
            format!("process {} ({}) waits for a device (state D) {}", process.pid, process.name, process.waits_in),
        ))
    });
    let share = pressure.map_or(0.0, |(_, share)| share);
    let weight = match (&waits, share) {
        // While others are answered fast, what waits for the device is not what serves.
        (Some(_), _) if scene.others_fast() == Some(true) => POSSIBLE,
        (Some(_), share) if share > 0.2 => PROVEN * 1.5,
        (Some(_), share) if share > 0.05 => LIKELY,
        (None, share) if share > 0.5 => POSSIBLE,
        _ => return None,
    };
    let mut support = Support::new(Cause::IoStalled, weight, scene.failures.began_us);
    if let Some((at_us, says)) = waits {
        support = support.with([scene.from_host(at_us, "process", says)]);
    }
    if let Some((sample, share)) = pressure {
        let says = format!("tasks waited for a device {:.0} % of the time", share * 100.0);
        support = support.with([scene.from_host(sample.at_us, "pressure", says)]);
    }
    Some(support)
}
