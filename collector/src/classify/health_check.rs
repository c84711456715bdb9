//! Family health_check: the gateway's check fails though the application may work.

use super::scene::Scene;
use super::{COMPATIBLE, LIKELY, POSSIBLE, PROVEN, Rule, Support, hung, overload};
use crate::model::{Cause, Evidence, GatewayNotice, HealthResult, HttpTry, Signal};

pub(super) const RULES: &[Rule] =
    &[health_endpoint_failing, health_endpoint_slow, health_check_wrong_target, health_check_too_strict];

/// Taken out and back so often within the reach of a case is flapping.
const FLAPS: usize = 3;

/// The gateway's newest word that a check took the upstream out, before or while requests failed for it.
fn taken_out<'a>(scene: &Scene<'a>) -> Option<(i64, &'a GatewayNotice)> {
    if scene.by_application()
        || !scene.failures.has(&[Signal::NoLiveUpstream, Signal::KilledOnMarkdown, Signal::StatusOnly])
    {
        return None;
    }
    let down = |(at_us, notice): &&(i64, &GatewayNotice)| {
        notice.signal == Signal::HealthCheckDown && *at_us <= scene.failures.last_us
    };
    // The line that tells of the last check that failed says why; the one that says "down" may not.
    let told = |(_, notice): &&(i64, &GatewayNotice)| notice.check_status > 0 || !notice.check_signal.is_empty();
    let mut downs = scene.notices.iter().rev().filter(down);
    downs.clone().find(told).or_else(|| downs.next()).copied()
}

fn said(scene: &Scene, at_us: i64, notice: &GatewayNotice) -> Evidence {
    scene.from_gateway(at_us, "gateway_log", notice.says.clone())
}

/// The status that the check was answered with: by the gateway's word, else by what the same request was answered from its host.
fn check_status(scene: &Scene, notice: &GatewayNotice) -> u32 {
    if notice.check_status > 0 || notice.check_signal != "app_status" {
        return notice.check_status;
    }
    let path = scene.pool.and_then(|pool| pool.check.as_ref()).map_or("", |check| check.path.as_str());
    let asked = scene.probes.iter().rev().filter_map(|(_, probe)| probe.http.as_ref());
    let same = |http: &&HttpTry| !path.is_empty() && http.request.strip_prefix("GET ") == Some(path);
    asked.clone().find(same).map_or(0, |http| http.status)
}

/// Gateways write of a reload so long before its checks go by the new settings at the most, microseconds.
const RELOADED_US: i64 = 60_000_000;

/// Whether the check as it is configured now passed before it took the upstream out: the gateway said so, or it had the
/// upstream serve for a while under these settings and was not told of others since.
fn used_to_pass(scene: &Scene, down_us: i64) -> bool {
    let Some(since_us) = scene.config.map(|config| config.at_us) else { return false };
    let passed = |(at_us, notice): &(i64, &GatewayNotice)| {
        notice.signal == Signal::HealthCheckUp && (since_us..down_us).contains(at_us)
    };
    let reloaded = scene.own_notices.iter().any(|(at_us, notice)| {
        notice.signal == Signal::GatewayLifecycle && (down_us - RELOADED_US..=down_us).contains(at_us)
    });
    let settled_us = since_us + RELOADED_US;
    let served = since_us > 0 && settled_us < down_us && scene.answered(settled_us, down_us) > 0;
    scene.notices.iter().any(passed) || (served && !reloaded)
}

/// Health results of its own host before it was taken out.
fn health_before<'a>(scene: &Scene<'a>, at_us: i64) -> Vec<&'a HealthResult> {
    let before =
        scene.health.iter().filter(|(health_us, health)| *health_us < at_us - 5_000_000 && !health.connect_only);
    before.map(|(_, health)| *health).collect()
}

/// Health results around the time it was taken out and while requests failed for it: what came after was mended.
fn health_while_out<'s, 'a>(scene: &'s Scene<'a>, at_us: i64) -> impl Iterator<Item = (i64, &'a HealthResult)> + 's {
    let while_out = (at_us - 15_000_000)..=scene.failures.last_us;
    let near = move |(health_us, health): &&(i64, &HealthResult)| while_out.contains(health_us) && !health.connect_only;
    scene.health.iter().filter(near).copied()
}

/// The time that a health request took, or was given, microseconds. None: it was not waited for, as where nobody listened.
fn took_us(health: &HealthResult) -> Option<u64> {
    let waited = matches!(Signal::from_id(&health.signal), Signal::ConnectTimeout | Signal::ReadTimeout);
    health.first_byte_us.or(waited.then_some(health.timeout_us))
}

fn health_endpoint_failing(scene: &Scene) -> Option<Support> {
    let (at_us, notice) = taken_out(scene)?;
    let status = check_status(scene, notice);
    if status < 400 && notice.check_signal != "app_status" {
        return None;
    }
    let health = health_while_out(scene, at_us).find(|(_, health)| health.status >= 400);
    let fails_locally = health.is_some();
    let worked = health_before(scene, at_us).iter().any(|health| (200..400).contains(&health.status));
    let weight = match (status, fails_locally, worked || scene.ever_answered()) {
        (404 | 405 | 301..=308, ..) if !worked && used_to_pass(scene, at_us) => LIKELY / 2.0,
        (404 | 405 | 301..=308, ..) if !worked => POSSIBLE / 2.0,
        (_, true, true) => PROVEN,
        (500.., false, _) | (_, true, false) => LIKELY,
        _ => POSSIBLE,
    };
    let asked =
        scene.pool.and_then(|pool| pool.check.as_ref()).map(|check| check.path.clone()).filter(|path| !path.is_empty());
    let asked = asked.map(|path| {
        let answered = if status > 0 { format!(", answered with {status}") } else { String::new() };
        scene.from_gateway(at_us, "gateway_config", format!("the check asks {}{path}{answered}", scene.upstream()))
    });
    let local = health.map(|(at_us, health)| {
        let body = health.body.trim();
        let body = if body.is_empty() { String::new() } else { format!(": {body}") };
        scene.from_host(at_us, "health", format!("{} answers {}{body}", health.url, health.status))
    });
    Some(
        Support::new(Cause::HealthEndpointFailing, weight, at_us)
            .with([said(scene, at_us, notice)])
            .with(asked)
            .with(local),
    )
}

/// Whether the check ended for want of an answer in time.
fn timed_out(notice: &GatewayNotice) -> bool {
    matches!(notice.check_signal.as_str(), "read_timeout" | "body_timeout")
}

/// The check's time limit as configured, microseconds.
fn limit_us(scene: &Scene) -> Option<u64> {
    scene.pool.and_then(|pool| pool.check.as_ref()).map(|check| check.timeout_us).filter(|limit_us| *limit_us > 0)
}

/// When the first of the checks began that failed, at the latest, microseconds: of the newest there may be many.
fn failed_from_us(scene: &Scene) -> Option<i64> {
    const MARGIN_US: i64 = 1_000_000;
    const UNKNOWN_US: i64 = 5_000_000;
    let mut downs = scene.notices.iter().filter(|(_, notice)| notice.signal == Signal::HealthCheckDown);
    let first_us = downs.next()?.0;
    let check = scene.pool.and_then(|pool| pool.check.as_ref()).filter(|check| check.interval_us > 0);
    let needed_us = check.map(|check| {
        let intervals_us = check.interval_us.saturating_mul(u64::from(check.fall.max(1) - 1));
        i64::try_from(intervals_us.saturating_add(check.timeout_us)).unwrap_or(UNKNOWN_US).saturating_add(MARGIN_US)
    });
    Some(first_us.saturating_sub(needed_us.unwrap_or(UNKNOWN_US)))
}

/// How long the health endpoint took, microseconds.
struct Took {
    /// Before any check failed, ascending.
    before: Vec<u64>,
    /// The least that it ever took.
    least: Option<u64>,
}

impl Took {
    fn of(scene: &Scene) -> Self {
        let from_us = failed_from_us(scene).unwrap_or(i64::MIN);
        let asked =
            scene.health.iter().filter(|(at_us, health)| *at_us <= scene.failures.last_us && !health.connect_only);
        let times: Vec<(i64, u64)> = asked.filter_map(|(at_us, health)| Some((*at_us, took_us(health)?))).collect();
        let mut before: Vec<u64> = times.iter().filter(|(at_us, _)| *at_us < from_us).map(|(_, took)| *took).collect();
        before.sort_unstable();
        Self { before, least: times.iter().map(|(_, took)| *took).min() }
    }

    /// What it takes ordinarily, as far as anybody saw: the median, of two the lesser, since the first after a start is slow.
    fn ordinary_us(&self) -> Option<u64> {
        let middle = self.before.len().saturating_sub(1) / 2;
        self.before.get(middle).copied().or(self.least)
    }
}

fn health_endpoint_slow(scene: &Scene) -> Option<Support> {
    let (at_us, notice) = taken_out(scene).filter(|(_, notice)| timed_out(notice))?;
    let timed = health_while_out(scene, at_us).filter_map(|(at_us, health)| Some((took_us(health)?, at_us, health)));
    let (now_us, health_us, health) = timed.max_by_key(|(took_us, ..)| *took_us)?;
    let limit_us = limit_us(scene).or(notice.check_us).unwrap_or(health.timeout_us);
    let ordinary_us = Took::of(scene).ordinary_us().filter(|us| *us < now_us);
    let risen = ordinary_us.is_some_and(|ordinary_us| now_us > ordinary_us * 2 && ordinary_us < limit_us);
    if now_us < limit_us {
        return None;
    }
    // Where it answers nothing at all, or everything slowly, the endpoint is not what is wrong.
    let whole =
        hung::stuck_state(scene).is_some() || hung::kept_all_waiting(scene) || overload::short_of_something(scene);
    let weight = match (whole, risen) {
        (true, _) => COMPATIBLE,
        (false, true) => PROVEN,
        (false, false) => POSSIBLE,
    };
    let ordinary = ordinary_us.map_or_else(String::new, |us| format!(", ordinarily {} ms", us / 1000));
    let says = format!("{} took {} ms{ordinary}; the check allows {} ms", health.url, now_us / 1000, limit_us / 1000);
    let local = scene.from_host(health_us, "health", says);
    Some(Support::new(Cause::HealthEndpointSlow, weight, at_us).with([said(scene, at_us, notice), local]))
}

fn health_check_wrong_target(scene: &Scene) -> Option<Support> {
    let (at_us, notice) = taken_out(scene)?;
    let member = scene.member?;
    let other_port = !member.check_address.is_empty() && member.check_address != member.address;
    let refused = notice.check_signal == "connect_refused" && other_port && scene.listening().yes();
    let path = scene.pool.and_then(|pool| pool.check.as_ref()).map_or("", |check| check.path.as_str());
    let not_there = matches!(check_status(scene, notice), 404 | 405 | 301..=308);
    // Its own host, too, found it failing where it had worked: then the endpoint changed, not the check.
    let broke = health_while_out(scene, at_us).any(|(_, health)| health.status >= 400)
        && health_before(scene, at_us).iter().any(|health| (200..400).contains(&health.status));
    let weight = match (refused || not_there, broke || used_to_pass(scene, at_us)) {
        (true, false) => PROVEN,
        (true, true) => POSSIBLE,
        _ => return None,
    };
    let target = if refused { member.check_address.clone() } else { format!("{}{path}", scene.upstream()) };
    let says = format!("the check asks {target}, which the instance does not serve, while {} works", scene.upstream());
    let evidence = [said(scene, at_us, notice), scene.from_gateway(at_us, "gateway_config", says)];
    Some(Support::new(Cause::HealthCheckWrongTarget, weight, at_us).with(evidence))
}

fn health_check_too_strict(scene: &Scene) -> Option<Support> {
    let (at_us, notice) = taken_out(scene).filter(|(_, notice)| timed_out(notice))?;
    let limit_us = limit_us(scene)?;
    let took = Took::of(scene);
    let (least_us, ordinary_us) = (took.least?, took.ordinary_us()?);
    let downs = scene.notices.iter().filter(|(_, notice)| notice.signal == Signal::HealthCheckDown).count();
    let weight = match (ordinary_us > limit_us, ordinary_us * 10 > limit_us * 7, downs >= FLAPS) {
        (true, ..) if took.before.len() >= 2 || (least_us > limit_us && !took.before.is_empty()) => PROVEN,
        // Nobody knows what it took before.
        (true, ..) if least_us > limit_us => POSSIBLE,
        (_, true, true) => LIKELY,
        _ => return None,
    };
    let says =
        format!("the endpoint ordinarily takes {} ms; the check allows {} ms", ordinary_us / 1000, limit_us / 1000);
    let local = scene.from_host(at_us, "health", says);
    Some(Support::new(Cause::HealthCheckTooStrict, weight, at_us).with([said(scene, at_us, notice), local]))
}
