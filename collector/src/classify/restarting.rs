//! Family restarting: the instance was away for a moment.

use std::collections::BTreeSet;

use super::chain::EndKind;
use super::network::NO_WAY;
use super::outage::{GONE, Outage};
use super::protocol::fails_by_tls_since_start;
use super::scene::{LONGEST_START_US, SAME_MOMENT_US, Scene};
use super::{LIKELY, POSSIBLE, PROVEN, Rule, Support};
use crate::model::{Cause, EventKind};

pub(super) const RULES: &[Rule] = &[deploying, crash_looping, warming_up, host_rebooted, health_check_restart];

/// Times of one event that two hosts tell differ by no more, where both tell finely, microseconds.
const CLOSE_US: i64 = 300_000;
/// A start whose successor ends sooner than this failed, microseconds.
const FAILED_START_US: i64 = 15_000_000;

fn deploying(scene: &Scene) -> Option<Support> {
    let outage = Outage::of(scene)?;
    let by_code = outage.ended_by_deployment(scene);
    if outage.failed_ends() > usize::from(by_code) {
        return None;
    }
    let on_purpose = outage.stopped_on_purpose();
    let replaced = outage.changed.map(|_| outage.replaced());
    let weight = match (replaced, &outage.marked, outage.restart.is_some()) {
        _ if by_code => LIKELY * 1.5,
        (Some(true), Some(_), _) => PROVEN,
        (Some(true), None, _) if on_purpose && !outage.stayed_away() => PROVEN,
        (Some(true), None, _) if on_purpose => LIKELY,
        // Killed and soon replaced may be an impatient deployment; left for a while it was replaced to mend it.
        (Some(true), None, _) if outage.stayed_away() => POSSIBLE,
        (Some(true), None, _) => LIKELY,
        (_, Some(_), _) if on_purpose => PROVEN,
        (_, Some(_), _) => LIKELY,
        // Not yet told whether something changed: a stop has just been seen.
        (None, None, false) if on_purpose => POSSIBLE / 2.0,
        (None, None, true) if on_purpose => POSSIBLE,
        _ => return None,
    };
    let mark = outage.marked.as_ref().map(|(at_us, version)| {
        let version = if version.is_empty() { String::new() } else { format!(" of version {version}") };
        let says = format!("a deployment{version} of {} was marked", scene.service_name());
        crate::model::Evidence { at_us: *at_us, host: scene.host_name().to_owned(), source: "mark", says }
    });
    let began_us = outage.first.began_us.min(outage.marked.as_ref().map_or(i64::MAX, |(at_us, _)| *at_us));
    let support = Support::new(Cause::Deploying, weight, began_us).with(mark);
    Some(support.with([outage.end_evidence(scene)]).with(outage.restart_evidence(scene)))
}

fn crash_looping(scene: &Scene) -> Option<Support> {
    let outage = Outage::of(scene)?;
    let crashes: Vec<_> = outage.ends.iter().filter(|end| end.kind == EndKind::Crash).collect();
    let first = crashes.first()?;
    let leaders = scene.starts.iter().filter(|(at_us, start)| start.leader && *at_us > first.at_us);
    // One may be told of again, by another agent or with what it became.
    let starts = leaders.map(|(_, start)| start.pid).collect::<BTreeSet<u32>>().len();
    let newest = crashes.last()?;
    let short_life = newest.at_us - newest.exit.started_us < FAILED_START_US;
    let weight = match (crashes.len(), starts) {
        (3.., 2..) => PROVEN,
        (2, 1..) if short_life => LIKELY * 1.5,
        (2, _) => POSSIBLE,
        // A first start that fails at once after a deployment may be the first turn of a loop.
        (1, _) if outage.deployed() && short_life => POSSIBLE,
        _ => return None,
    };
    let says = format!(
        "{} ended {} times with a failure within {} s and was started again",
        scene.service_name(),
        crashes.len(),
        (newest.at_us - first.at_us) / 1_000_000 + 1
    );
    let began_us = outage.first.at_us;
    let mut support = Support::new(Cause::CrashLooping, weight, began_us);
    support = support.with([scene.from_host(newest.at_us, "process", says)]).with([outage.end_evidence(scene)]);
    if outage.deployed() {
        support = support.with(outage.restart_evidence(scene));
    }
    Some(support.with(outage.last_words(scene)))
}

fn warming_up(scene: &Scene) -> Option<Support> {
    if scene.by_application() || scene.share(GONE) < 0.3 {
        return None;
    }
    let first_us = scene.failures.first_us;
    let (start_us, start) = scene.starts.iter().rev().find(|(at_us, start)| {
        start.leader && !start.already_running && *at_us <= scene.failures.last_us + SAME_MOMENT_US
    })?;
    let listened_us = listened_after(scene, *start_us);
    let until_us = listened_us.unwrap_or(i64::MAX);
    let share = scene.failures.course.share(start_us - CLOSE_US, until_us.saturating_add(SAME_MOMENT_US));
    let outage = Outage::of(scene);
    let fault_before = outage
        .as_ref()
        .is_some_and(|outage| !outage.stopped_on_purpose() || outage.deployed() || outage.failed_ends() > 0);
    // It was started when the failures were under way and no end of its own explains those: somebody's reaction.
    let reaction = outage.is_none() && first_us < start_us - SAME_MOMENT_US;
    // Until it listens it may as well never do so.
    let young = listened_us.is_some() || scene.now_us - start_us < LONGEST_START_US;
    if fault_before || reaction || share < 0.3 || !young || (listened_us.is_none() && listens_already(scene)) {
        return None;
    }
    let weight = match (listened_us.is_some(), share > 0.5, outage.is_some()) {
        // It has started, and that did not help.
        (true, ..) if fails_by_tls_since_start(scene) => POSSIBLE,
        (true, true, _) => PROVEN * 0.6,
        (false, true, false) => LIKELY,
        _ => POSSIBLE * 2.0,
    };
    // A release starts up as well.
    let weight =
        if outage.is_some_and(|outage| outage.is_unsettled(scene)) { weight.min(POSSIBLE * 2.0) } else { weight };
    let started = format!("{} started as process {}", start.service, start.pid);
    let mut support = Support::new(Cause::WarmingUp, weight, (*start_us).min(first_us));
    support = support.with([scene.from_host(*start_us, "process", started)]);
    support = match listened_us {
        Some(at_us) => {
            let took = (at_us - start_us) as f64 / 1e6;
            support.with([scene.from_host(at_us, "socket", format!("it listens {took:.1} s after its start"))])
        }
        None => support.lacking("whether it comes to listen: not yet"),
    };
    Some(support)
}

/// When the upstream's address was first listened on after a start.
pub(super) fn listened_after(scene: &Scene, start_us: i64) -> Option<i64> {
    let (host, service) = (scene.host?, scene.place.service.as_deref()?);
    let changed = host.history.lives(start_us, i64::MAX).find_map(|event| match &event.kind {
        EventKind::ListenChanged(change) if change.service == service && change.listening => {
            crate::model::Address::parse(&change.address).covers(&scene.address).then_some(event.at_us)
        }
        _ => None,
    });
    changed.or_else(|| {
        let mut samples = host.history.instance_samples(service, start_us, i64::MAX);
        samples.find(|sample| scene.listens(sample)).map(|sample| sample.at_us)
    })
}

/// Whether it listens somewhere else already: then it is up, only not where the gateway looks.
fn listens_already(scene: &Scene) -> bool {
    scene.samples.last().is_some_and(|sample| !sample.listeners.is_empty() && !scene.listens(sample))
}

fn host_rebooted(scene: &Scene) -> Option<Support> {
    let host = scene.host?;
    if scene.by_application() || scene.share(GONE).max(scene.share(NO_WAY)) < 0.3 {
        return None;
    }
    let heard_us = host.history.reboots().next_back()?;
    let uptime_us = host.state.sample.as_ref().map_or(0, |sample| i64::try_from(sample.uptime_us).unwrap_or(i64::MAX));
    let booted_us = host.state.sample.as_ref().map_or(heard_us, |sample| sample.at_us - uptime_us);
    // It went down before the failures began or while they went on, and it booted not long before it was heard again. A gateway
    // that asks it no more fails no more: then it is the silence that tells that it was away from the failures until it booted.
    let away = |(from_us, until_us)| from_us <= scene.failures.last_us && booted_us <= until_us + SAME_MOMENT_US;
    let during = booted_us >= scene.failures.began_us - super::scene::REACH_BACK_US
        && (booted_us <= scene.failures.last_us || scene.silence().is_some_and(away));
    // What served again since then fails for another reason.
    let served = scene.answered(booted_us, scene.failures.began_us - SAME_MOMENT_US) > 0;
    if !during || served {
        return None;
    }
    let says = format!("{} came back with a new boot id, up since {} s", scene.host_name(), uptime_us / 1_000_000);
    let began_us = booted_us.min(scene.failures.began_us);
    Some(Support::new(Cause::HostRebooted, PROVEN * 1.5, began_us).with([scene.from_host(heard_us, "host", says)]))
}

fn health_check_restart(scene: &Scene) -> Option<Support> {
    let outage = Outage::of(scene)?;
    let (at_us, found) = outage.liveness?;
    // Only what was ended from outside was ended by a supervisor.
    let weight = match (&outage.first.kind, outage.liveness_names_it(scene)) {
        (EndKind::OutOfMemory(..) | EndKind::Clean, false) => return None,
        (EndKind::OutOfMemory(..), true) => POSSIBLE,
        (_, true) => PROVEN * 1.5,
        (_, false) => LIKELY,
    };
    let support = Support::new(Cause::HealthCheckRestart, weight, at_us);
    Some(support.with([scene.from_host(at_us, "app_log", found.line.clone()), outage.end_evidence(scene)]))
}
