//! Family not_502: the application answered itself, another gateway did, or an instance that works was too slow.

use super::dependency::named_in;
use super::inner::{inner_gateway, leads_to_gateway};
use super::network::loses_packets;
use super::overload;
use super::scene::Scene;
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support};
use crate::case::{Aborts, Made};
use crate::model::{Cause, Signal};

pub(super) const RULES: &[Rule] = &[
    app_not_leader,
    app_task_timeout,
    app_cache_failure,
    app_unavailable,
    app_error,
    inner_gateway,
    gateway_timeout,
    client_closed,
];

/// The application's log may tell the reason a moment before or after its answer, microseconds.
pub(super) const LOG_REACH_US: i64 = 5_000_000;

/// Share of the statuses given to clients that fit.
pub(super) fn status_share(scene: &Scene, fits: impl Fn(u16) -> bool) -> f64 {
    let all: u64 = scene.failures.statuses.values().sum();
    let some: u64 = scene.failures.statuses.iter().filter(|(status, _)| fits(**status)).map(|(_, count)| count).sum();
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// Whether the application answered 503 itself.
fn is_503(scene: &Scene) -> bool {
    scene.by_application() && status_share(scene, |status| status == 503) >= 0.5
}

/// A 503 of the application's own, whose log or health answer tells its kind.
fn told_503(scene: &Scene, cause: Cause, kind: &str) -> Option<Support> {
    if !is_503(scene) {
        return None;
    }
    let (from_us, to_us) = (scene.failures.began_us - LOG_REACH_US, scene.failures.last_us + LOG_REACH_US);
    let (at_us, found) = scene.log_of(&[kind], from_us, to_us)?;
    let lines = scene.logs.iter().filter(|(at_us, found)| found.kind == kind && (from_us..=to_us).contains(at_us));
    let all = scene
        .logs
        .iter()
        .filter(|(at_us, found)| KINDS_503.contains(&found.kind.as_str()) && (from_us..=to_us).contains(at_us));
    // Where its log tells of several kinds, the commoner one has the better claim.
    let weight = PROVEN * lines.count() as f64 / all.count().max(1) as f64;
    let support = Support::new(cause, weight, scene.failures.first_us);
    let support = support.with([scene.from_host(at_us, "app_log", found.line.clone())]);
    Some(if cause == Cause::AppNotLeader { support } else { support.with(named_in(scene, at_us, found)) })
}

/// Kinds of log lines that explain a 503.
const KINDS_503: &[&str] = &["not_leader", "task_timeout", "cache_failure"];

fn app_not_leader(scene: &Scene) -> Option<Support> {
    let told = told_503(scene, Cause::AppNotLeader, "not_leader");
    let support = match told {
        Some(told) => told,
        // It says so of itself, though not in the answer.
        None if is_503(scene) && scene.is_follower() => {
            Support::new(Cause::AppNotLeader, LIKELY, scene.failures.first_us)
        }
        None => return None,
    };
    Some(support.with(scene.leadership()))
}

fn app_task_timeout(scene: &Scene) -> Option<Support> {
    told_503(scene, Cause::AppTaskTimeout, "task_timeout")
}

fn app_cache_failure(scene: &Scene) -> Option<Support> {
    told_503(scene, Cause::AppCacheFailure, "cache_failure")
}

fn app_unavailable(scene: &Scene) -> Option<Support> {
    if !is_503(scene) {
        return None;
    }
    let told = KINDS_503.iter().any(|kind| {
        scene.log_of(&[kind], scene.failures.began_us - LOG_REACH_US, scene.failures.last_us + LOG_REACH_US).is_some()
    });
    let weight = match (leads_to_gateway(scene), told) {
        (true, _) => COMPATIBLE,
        (false, true) => POSSIBLE / 2.0,
        (false, false) if scene.is_follower() => POSSIBLE,
        // Where no agent looks another gateway may answer, too.
        (false, false) if scene.host.is_none() => LIKELY / 2.0,
        (false, false) => LIKELY * 2.0,
    };
    Some(
        Support::new(Cause::AppUnavailable, weight, scene.failures.first_us)
            .lacking("why it answered 503: its log was not given to the agent, or tells nothing of it"),
    )
}

fn app_error(scene: &Scene) -> Option<Support> {
    if !scene.by_application() {
        return None;
    }
    let own = status_share(scene, |status| !matches!(status, 502..=504));
    let gateway_like = status_share(scene, |status| matches!(status, 502 | 504));
    let weight = match (own >= 0.5, gateway_like >= 0.5) {
        // What its host is short of explains what it answers.
        (true, _) if overload::lacks_room(scene) => POSSIBLE,
        (true, _) if !overload::was_looked_at(scene) => LIKELY / 2.0,
        (true, _) => LIKELY * 2.0,
        (false, true) if leads_to_gateway(scene) => COMPATIBLE,
        (false, true) => POSSIBLE,
        _ => return None,
    };
    let log = scene.log_of(
        &["uncaught_exception", "error"],
        scene.failures.began_us - LOG_REACH_US,
        scene.failures.last_us + LOG_REACH_US,
    );
    let dependency = scene.log_of(
        &["dependency_error"],
        scene.failures.began_us - LOG_REACH_US,
        scene.failures.last_us + LOG_REACH_US,
    );
    let support = Support::new(Cause::AppError, weight, scene.failures.first_us);
    let support = support.with(dependency.into_iter().flat_map(|(at_us, found)| named_in(scene, at_us, found)));
    Some(support.with(log.map(|(at_us, found)| scene.from_host(at_us, "app_log", found.line.clone()))))
}

/// Clients went away much more often than usual, and nothing failed that they would have run from.
fn client_closed(scene: &Scene) -> Option<Support> {
    if scene.case.key.made != Made::ByClients {
        return None;
    }
    let upstream = scene.case.key.upstream.as_deref()?;
    let aborts = Aborts::of(scene.fleet, &scene.case.key.gateway, upstream, scene.failures.last_us);
    let support = Support::new(Cause::ClientClosed, PROVEN, scene.failures.first_us);
    let support = support.with([scene.from_gateway(scene.failures.last_us, "gateway_log", aborts.says())]);
    let (Some(late_us), usual_us) = aborts.mean_us() else {
        return Some(support.lacking("how long its answers took: let the gateway log the upstream's time"));
    };
    let usual = usual_us.map_or_else(String::new, |us| format!(", usually {} ms", us / 1000));
    let says = format!("its answers took {} ms on average{usual}", late_us / 1000);
    Some(support.with([scene.from_gateway(scene.failures.last_us, "gateway_log", says)]))
}

fn gateway_timeout(scene: &Scene) -> Option<Support> {
    const LATE: &[Signal] = &[Signal::ReadTimeout, Signal::BodyTimeout];
    if scene.by_application() || scene.share(LATE) < 0.5 || scene.process_alive().no() {
        return None;
    }
    // That a check was late tells nothing of requests.
    if scene.failures.share(LATE) == 0.0 {
        return None;
    }
    let answered = scene.answered_meanwhile();
    let healthy = scene.health.iter().any(|(at_us, health)| *at_us >= scene.failures.began_us && health.status > 0);
    let waiting = scene.samples.iter().flat_map(|sample| &sample.listeners).any(|listener| listener.queue > 0);
    let overloaded = overload::RULES.iter().filter_map(|rule| rule(scene)).any(|support| support.weight >= LIKELY);
    // What is overloaded or lost on the way is late as well; and the kernel shakes hands for what is merely slow.
    let explained = overloaded || loses_packets(scene) || scene.share(&[Signal::ConnectTimeout]) > 0.1;
    // Where nobody sees the instance's host, a lack of workers or of anything else may be what makes some wait.
    let seen = scene.host_reports().yes() || scene.others_fast() == Some(true);
    let weight = match (answered > 0, explained) {
        (true, false) if !seen => LIKELY / 2.0,
        // The others were slow as well, and more of them waited.
        (true, false) if waiting && scene.others_fast() == Some(false) => LIKELY / 2.0,
        (true, false) => PROVEN,
        (true, true) => POSSIBLE,
        (false, false) if healthy && !waiting => POSSIBLE * 1.5,
        _ => COMPATIBLE,
    };
    let mut support = Support::new(Cause::GatewayTimeout, weight, scene.failures.began_us);
    if answered > 0 {
        let says = format!("{answered} other requests to {} were answered meanwhile", scene.upstream());
        support = support.with([scene.from_gateway(scene.failures.last_us, "gateway_log", says)]);
    }
    if let Some(slow) = scene.failures.notes.iter().find(|note| LATE.contains(&note.signal)) {
        let took = slow.response_us.map_or_else(String::new, |us| format!(" after {:.1} s", us as f64 / 1e6));
        support = support.with([scene.from_gateway(
            slow.at_us,
            "gateway_log",
            format!("{} was given up{took}", slow.request),
        )]);
    }
    Some(support)
}
