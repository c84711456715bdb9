//! `advise`: setting by setting what a gateway has, what it should have and why, from its own configuration and from what was
//! measured of the services behind it. Where nothing is known the reference stands: checks each 30 s that may take 5 s,
//! three failures and two successes, 60 s for a start; 5 s to connect, 30 s to send and to read, three attempts.

use super::View;
use super::document::{AdviseDoc, SettingDoc, stamp};
use super::gateways::Addresses;
use super::near::near;
use crate::model::{GatewayConfig, GatewayState, HostState, Pool, SETTINGS, Setting, is_known_kind};

mod measured;
mod service;

use measured::Measured;

/// The reference, seconds and numbers.
const CHECK_INTERVAL_S: u64 = 30;
const CHECK_TIMEOUT_S: u64 = 5;
const CHECK_FALL: u64 = 3;
const CHECK_RISE: u64 = 2;
const START_S: u64 = 60;
const CONNECT_S: u64 = 5;
const SEND_S: u64 = 30;
const READ_S: u64 = 30;
const ATTEMPTS: u64 = 3;
/// A read timeout beyond this keeps clients and workers waiting for what will not come.
const READ_MOST_S: u64 = 120;

/// What a pool should have of one setting.
struct Wanted {
    /// As it is now, in words. None: not set, or not known.
    now: Option<String>,
    /// As it should be, in words.
    value: String,
    /// The bare value for the snippet.
    bare: String,
    /// Why.
    why: String,
    /// Whether what is there now will not do.
    change: bool,
}

/// Advice for a gateway, a service, a host, a kind of gateway, or all that is known.
pub fn document(view: &View, target: Option<&str>) -> AdviseDoc {
    let addresses = Addresses::of(view);
    let mut settings = Vec::new();
    for host in &view.hosts {
        for (name, gateway) in &host.gateways {
            let Some(config) = gateway.config.as_deref() else { continue };
            for pool in &config.pools {
                let measured = Measured::of(view, &addresses, gateway, pool);
                if target.is_none_or(|target| is_about(target, host, name, pool, &measured)) {
                    settings.extend(of_pool(host, config, pool, &measured));
                }
            }
        }
    }
    settings.extend(service::all(view, target));
    if settings.is_empty() {
        let kind = target.filter(|target| is_known_kind(target)).unwrap_or_default();
        if target.is_none() || !kind.is_empty() {
            settings.extend(reference(kind));
        }
    }
    let target = target.unwrap_or_default();
    let near = if settings.is_empty() { near(view, target) } else { Vec::new() };
    AdviseDoc { at: stamp(view.at_us), target: target.to_owned(), near, settings }
}

fn is_about(target: &str, host: &HostState, gateway: &str, pool: &Pool, measured: &Measured) -> bool {
    let named = [host.name.as_str(), gateway, pool.name.as_str()].contains(&target);
    named || measured.services.iter().any(|service| service == target)
}

fn of_pool(host: &HostState, config: &GatewayConfig, pool: &Pool, measured: &Measured) -> Vec<SettingDoc> {
    let row = |setting: Setting| {
        let wanted = wanted(setting, &config.kind, pool, measured)?;
        Some(SettingDoc {
            gateway: config.gateway.clone(),
            host: host.name.clone(),
            kind: config.kind.clone(),
            pool: pool.name.clone(),
            service: measured.services.join(" "),
            source: pool.source.clone(),
            ..setting_doc(setting, &config.kind, wanted)
        })
    };
    SETTINGS.into_iter().filter_map(row).collect()
}

/// What to set on a gateway of which nothing else is known.
fn reference(kind: &str) -> Vec<SettingDoc> {
    let (pool, measured) = (Pool::default(), Measured::default());
    let rows = SETTINGS.into_iter().filter_map(|setting| {
        let wanted = wanted(setting, kind, &pool, &measured)?;
        Some(SettingDoc { kind: kind.to_owned(), ..setting_doc(setting, kind, wanted) })
    });
    rows.collect()
}

fn setting_doc(setting: Setting, kind: &str, wanted: Wanted) -> SettingDoc {
    SettingDoc {
        setting: setting.called(kind).to_owned(),
        what: setting.words().to_owned(),
        now: wanted.now,
        recommended: wanted.value,
        why: wanted.why,
        snippet: setting.snippet(kind, &wanted.bare).filter(|_| wanted.change).unwrap_or_default(),
        change: wanted.change,
        ..SettingDoc::default()
    }
}

/// Seconds that a limit of `now` should be, given what it may lie between.
fn seconds(now_us: Option<u64>, best_s: u64, fine: std::ops::RangeInclusive<u64>, why: String) -> Wanted {
    let now_us = now_us.filter(|us| *us > 0);
    let is_fine = now_us.is_some_and(|us| us >= fine.start() * 1_000_000 && us <= fine.end() * 1_000_000);
    let value_us = if is_fine { now_us.unwrap_or(0) } else { best_s * 1_000_000 };
    Wanted { now: now_us.map(in_seconds), value: in_seconds(value_us), bare: best_s.to_string(), why, change: !is_fine }
}

fn count(now: Option<u64>, best: u64, fine: std::ops::RangeInclusive<u64>, why: &str) -> Wanted {
    let now = now.filter(|now| *now > 0);
    let is_fine = now.is_some_and(|now| fine.contains(&now));
    let value = if is_fine { now.unwrap_or(best) } else { best };
    Wanted {
        now: now.map(|now| now.to_string()),
        value: value.to_string(),
        bare: best.to_string(),
        why: why.to_owned(),
        change: !is_fine,
    }
}

fn in_seconds(us: u64) -> String {
    if us.is_multiple_of(1_000_000) { format!("{} s", us / 1_000_000) } else { format!("{:.3} s", us as f64 / 1e6) }
}

/// A time in whole seconds, rounded up.
fn ceil_s(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

fn wanted(setting: Setting, kind: &str, pool: &Pool, measured: &Measured) -> Option<Wanted> {
    let check = pool.check.as_ref();
    let timeouts = pool.timeouts.as_ref();
    let member = pool.members.first();
    Some(match setting {
        Setting::CheckInterval => {
            let now_us = check.map(|check| check.interval_us).or(member.and_then(|member| member.fail_timeout_us));
            seconds(now_us, CHECK_INTERVAL_S, 1..=CHECK_INTERVAL_S, "often enough to find a dead member".to_owned())
        }
        Setting::CheckTimeout => check_timeout(check.map(|check| check.timeout_us), measured),
        Setting::CheckFall => {
            let max_fails = member.and_then(|member| member.max_fails).map(u64::from);
            let now = check.map(|check| u64::from(check.fall)).or(max_fails);
            let wanted = count(now, CHECK_FALL, 2..=5, "one failure is no proof; five are too many to wait for");
            match (check, max_fails) {
                (None, Some(0)) => Wanted {
                    now: Some("0".to_owned()),
                    why: "failures never take a dead member out".to_owned(),
                    ..wanted
                },
                _ => wanted,
            }
        }
        Setting::CheckRise => {
            let now = check.map(|check| u64::from(check.rise));
            count(now, CHECK_RISE, 2..=3, "one good answer may be chance")
        }
        Setting::CheckPath => return check_path(pool, measured),
        Setting::SlowStart => slow_start(measured),
        Setting::ConnectTimeout => {
            let why = "a host that is there answers in milliseconds".to_owned();
            seconds(timeouts.and_then(|timeouts| timeouts.connect_us), CONNECT_S, 1..=10, why)
        }
        // One setting for both: what is read tells more.
        Setting::SendTimeout if setting.called(kind) == Setting::ReadTimeout.called(kind) => return None,
        Setting::SendTimeout => {
            let why = "between two writes of a request".to_owned();
            seconds(timeouts.and_then(|timeouts| timeouts.send_us), SEND_S, 5..=60, why)
        }
        Setting::ReadTimeout => read_timeout(timeouts.and_then(|timeouts| timeouts.read_us), measured),
        Setting::Retries => {
            let why = "on another member, with growing pauses, for idempotent requests and 5xx only";
            count(Some(u64::from(pool.tries)), ATTEMPTS, 2..=ATTEMPTS, why)
        }
        Setting::KeepaliveIdle => return keepalive(pool, measured),
        Setting::HeaderLimit => return header_limit(kind, pool, measured),
    })
}

fn check_timeout(now_us: Option<u64>, measured: &Measured) -> Wanted {
    let Some(slowest_us) = measured.health_us else {
        let why = "no answer of the health endpoint was measured".to_owned();
        return seconds(now_us, CHECK_TIMEOUT_S, CHECK_TIMEOUT_S..=10, why);
    };
    let twice_s = ceil_s(slowest_us * 2);
    let why = format!("the slowest of its last {} answers took {} ms", measured.health_count, slowest_us / 1000);
    seconds(now_us, twice_s.max(CHECK_TIMEOUT_S), twice_s..=twice_s.max(10), why)
}

fn read_timeout(now_us: Option<u64>, measured: &Measured) -> Wanted {
    let Some(slowest_us) = measured.slowest_us else {
        let why = "no answer's time was measured within a day".to_owned();
        return seconds(now_us, READ_S, 10..=60, why);
    };
    let least_s = ceil_s(slowest_us * 3 / 2).max(1);
    let why = format!("its slowest answer within a day took {:.1} s", slowest_us as f64 / 1e6);
    seconds(now_us, least_s.max(READ_S), least_s..=least_s.max(READ_MOST_S), why)
}

fn slow_start(measured: &Measured) -> Wanted {
    let Some(start_us) = measured.start_us else {
        return seconds(None, START_S, START_S..=START_S, "no start was measured".to_owned());
    };
    let why = format!("the slowest of its last starts took {:.1} s until it listened", start_us as f64 / 1e6);
    let best_s = ceil_s(start_us * 3 / 2).max(5);
    seconds(None, best_s, best_s..=best_s, why)
}

/// The path that the services say tells of their health, where the check asks for another or for none.
fn check_path(pool: &Pool, measured: &Measured) -> Option<Wanted> {
    let path = measured.health_path.clone()?;
    let now = pool.check.as_ref().map(|check| check.path.clone()).filter(|path| !path.is_empty());
    let change = now.as_ref() != Some(&path);
    let why = "the path that its agent asks for its health".to_owned();
    Some(Wanted { now, value: path.clone(), bare: path, why, change })
}

/// Shorter than the instance keeps idle connections, where that was measured.
fn keepalive(pool: &Pool, measured: &Measured) -> Option<Wanted> {
    let close_us = measured.idle_close_us?;
    let now_us = pool.keepalive_idle_us.filter(|us| *us > 0);
    let best_s = (close_us / 1_000_000).saturating_sub(1).max(1);
    let why = format!(
        "the instance closes idle connections after {:.1} s; or raise its own keep-alive timeout above the gateway's",
        close_us as f64 / 1e6
    );
    Some(seconds(now_us, best_s, 1..=best_s, why))
}

fn header_limit(kind: &str, pool: &Pool, measured: &Measured) -> Option<Wanted> {
    let seen =
        measured.header_bytes.filter(|seen| pool.header_limit_bytes > 0 && seen * 2 > pool.header_limit_bytes)?;
    let best = (seen * 2).next_power_of_two();
    Some(Wanted {
        now: Some(format!("{} bytes", pool.header_limit_bytes)),
        value: format!("{best} bytes"),
        bare: Setting::bytes(kind, best),
        why: format!("a header of {seen} bytes was seen within a day"),
        change: true,
    })
}

#[cfg(test)]
mod tests;
