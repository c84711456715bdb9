//! Advice on health checks, the gateway's and a supervisor's.

use super::kind;
use crate::classify::scene::Scene;
use crate::model::Setting;

/// The time of the health endpoint's answers that all but one in a hundred stay below, milliseconds.
fn p99_ms(scene: &Scene) -> Option<u64> {
    let mut times: Vec<u64> = scene.health.iter().filter_map(|(_, health)| health.first_byte_us).collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).map(|us| us / 1000)
}

pub(super) fn timeout(scene: &Scene) -> Vec<String> {
    let p99_ms = p99_ms(scene).unwrap_or(5_000);
    let setting = Setting::CheckTimeout.called(kind(scene));
    let fall = Setting::CheckFall.called(kind(scene));
    vec![
        format!(
            "set {setting} to at least {} ms (its measured p99 is {p99_ms} ms, twice that leaves room), and {fall} to 3",
            (p99_ms * 2).max(1000)
        ),
        "make the health endpoint lighter: it should not wait for dependencies".to_owned(),
    ]
}

pub(super) fn liveness(scene: &Scene) -> Vec<String> {
    let measured = p99_ms(scene)
        .map_or_else(String::new, |ms| format!(" to at least {} ms (its measured p99 is {ms} ms)", (ms * 2).max(1000)));
    vec![
        format!(
            "raise the liveness check's timeout{measured} and its threshold to 3 (livenessProbe timeoutSeconds and failureThreshold, WatchdogSec=)"
        ),
        "let liveness ask for less than readiness: a slow dependency should take it out of the gateway, not kill it"
            .to_owned(),
    ]
}

pub(super) fn target(scene: &Scene) -> Vec<String> {
    let service = scene.host.zip(scene.place.service.as_ref()).and_then(|(host, name)| host.state.services.get(name));
    let path = service.map(|service| service.health_path.as_str()).filter(|path| !path.is_empty());
    let setting = Setting::CheckPath.called(kind(scene));
    let port = scene.upstream();
    let written = path.and_then(|path| Setting::CheckPath.snippet(kind(scene), path));
    let to =
        path.map_or_else(|| "a path that it serves".to_owned(), |path| format!("{path}, which its agent asks for"));
    let written = written.map_or_else(String::new, |written| format!(": {written}"));
    let asked = scene.pool.and_then(|pool| pool.check.as_ref()).map(|check| check.path.as_str());
    let asked = asked.filter(|path| !path.is_empty()).map_or_else(String::new, |path| format!(" (now {path})"));
    vec![format!("set {setting} to {to}, on {port}{asked}{written}")]
}

pub(super) fn failing(scene: &Scene) -> Vec<String> {
    let told = scene.health.iter().rev().find(|(_, health)| health.status >= 400);
    let body = told.map(|(_, health)| health.body.trim()).filter(|body| !body.is_empty());
    let says = body.map_or_else(String::new, |body| format!("; it says {body}"));
    let path = scene.pool.and_then(|pool| pool.check.as_ref()).map(|check| check.path.as_str());
    let endpoint = path.filter(|path| !path.is_empty()).unwrap_or("the health endpoint");
    vec![
        format!("look at the dependency that {endpoint} of {} checks{says}", scene.service_name()),
        "let it fail only for what the instance itself can't do without".to_owned(),
    ]
}
