//! What systemd said of the instance's unit: whether it was asked to stop, and how systemd saw it end.

use super::scene::Scene;
use crate::model::{EventKind, Evidence, UnitChanged};

/// A stop may take as long as systemd waits for it, and a little more, microseconds.
const STOP_US: i64 = 120_000_000;
/// What belongs to one moment: journald writes down what systemd says a little later than it happens.
const MOMENT_US: i64 = 2_000_000;
/// Most of systemd's words that are cited of one end.
const CITED: usize = 3;

/// What systemd said of the instance's unit in a stretch of time.
fn words<'a>(scene: &Scene<'a>, from_us: i64, to_us: i64) -> impl DoubleEndedIterator<Item = (i64, &'a UnitChanged)> {
    let service = scene.place.service.clone().unwrap_or_default();
    scene.host.into_iter().flat_map(move |host| host.history.lives(from_us, to_us).collect::<Vec<_>>()).filter_map(
        move |event| match &event.kind {
            EventKind::UnitChanged(change) if change.service == service => Some((event.at_us, change)),
            _ => None,
        },
    )
}

/// Whether an end came of a stop of the unit. None: systemd's words are not known, or tell nothing of it.
pub(super) fn asked_to_stop(scene: &Scene, end_us: i64) -> Option<bool> {
    let mut jobs = words(scene, end_us - STOP_US, end_us + MOMENT_US / 2);
    let last = jobs.rfind(|(_, change)| matches!(change.what.as_str(), "starting" | "started" | "stopping"));
    if last.is_some_and(|(_, change)| change.what == "stopping") {
        return Some(true);
    }
    // That nothing asked for it counts only where systemd told of this end.
    let told = |change: &UnitChanged| matches!(change.what.as_str(), "process_exited" | "succeeded" | "failed");
    words(scene, end_us - MOMENT_US, end_us + MOMENT_US).any(|(_, change)| told(change)).then_some(false)
}

/// How systemd saw an end: what it said last before and around it.
pub(super) fn evidence_of_end(scene: &Scene, end_us: i64) -> Vec<Evidence> {
    let telling = |change: &UnitChanged| !matches!(change.what.as_str(), "starting" | "started");
    let said = words(scene, end_us - STOP_US, end_us + MOMENT_US).filter(|(_, change)| telling(change));
    let mut cited: Vec<Evidence> =
        said.rev().take(CITED).map(|(at_us, change)| scene.from_host(at_us, "unit", change.says())).collect();
    cited.reverse();
    cited
}

/// Why the unit does not run, in systemd's last words of a failure before a time.
pub(super) fn last_failure(scene: &Scene, before_us: i64) -> Option<Evidence> {
    let failed = |change: &UnitChanged| matches!(change.what.as_str(), "failed" | "start_failed");
    let (at_us, change) = words(scene, i64::MIN, before_us).rfind(|(_, change)| failed(change))?;
    Some(scene.from_host(at_us, "unit", change.says()))
}
