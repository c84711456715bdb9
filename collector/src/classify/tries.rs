//! How the gateway's host fared when it connected to the upstream itself.

use super::scene::Scene;
use crate::model::{ConnectTry, Evidence};

/// Time between the beginnings of two connects of a probe, as the schema says, microseconds.
const STAGGER_US: u64 = 150_000;
/// When a SYN that found no answer is sent again, microseconds (RFC 6298: a second after the first).
const RESENT_US: u64 = 1_000_000;
/// What lies closer together may have been the other way round: a busy host begins its connects late, microseconds.
const SURELY_AFTER_US: u64 = 200_000;
/// An agent gives no connect longer than five seconds: where one took this long the agent itself did not run, and nothing tells when
/// its SYNs were answered, microseconds.
const STALLED_US: u64 = 5_500_000;
/// Of the failed attempts so many begin after one that connected amid them, as a share.
const AMID_SHARE: f64 = 0.2;
/// A connect that took less was answered to its first SYN, and one that took this more than another to a later one, microseconds.
const LATE_US: u64 = 900_000;

/// How the gateway's host fared when it connected itself, over all probes of the case.
#[derive(Debug)]
pub struct Tries {
    pub(super) connected: usize,
    pub(super) refused: usize,
    pub(super) unreachable: usize,
    pub(super) timed_out: usize,
    /// Of the connects of one probe some came through in between: what fails first and works later was mended.
    pub(super) mixed: bool,
    /// Of those that connected, how many did while many of the gateway's attempts were still to fail: not a way that had been
    /// mended, after which a busy host fails a few more.
    pub(super) amid: usize,
    pub(super) newest_us: i64,
}

impl Tries {
    /// Looks at all probes of a case, once for all rules: `Scene::tries` keeps it.
    pub(super) fn of(scene: &Scene) -> Self {
        let mut tries =
            Self { connected: 0, refused: 0, unreachable: 0, timed_out: 0, mixed: false, amid: 0, newest_us: 0 };
        let amid_until_us = amid_until(scene);
        // A probe after the failures or the instance ended tells of the time after.
        let until_us = (scene.failures.last_us + 3_000_000).min(scene.aftermath_us);
        for (at_us, probe) in scene.probes.iter().filter(|(at_us, _)| *at_us <= until_us) {
            for (tried, begun_us) in begun(&probe.connects) {
                tries.newest_us = *at_us;
                match tried.outcome.as_str() {
                    "connected" => {
                        tries.connected += 1;
                        let answered_us = at_us.saturating_add_unsigned(begun_us + tried.took_us);
                        tries.amid += usize::from(amid_until_us.is_some_and(|until_us| answered_us <= until_us));
                    }
                    "connect_refused" => tries.refused += 1,
                    "connect_unreachable" => tries.unreachable += 1,
                    "connect_timeout" => tries.timed_out += 1,
                    _ => {}
                }
            }
            tries.mixed |= let_some_through(&probe.connects);
        }
        tries
    }

    /// Whether some came through all the while and others found no answer: what drops by a rule lets none through. The four of a
    /// probe may all get lost by chance, where the gateway's own connects were answered meanwhile.
    pub(super) fn lets_some_through(&self, scene: &Scene) -> bool {
        let amid = self.amid > 0 && scene.answered_meanwhile() > 0;
        self.mixed || (self.timed_out > 0 && (amid || (scene.connects_each_time() && scene.answered_amid() > 1)))
    }

    /// Whether something turned a connect down.
    pub(super) fn rejected(&self) -> bool {
        self.refused + self.unreachable > 0
    }

    pub(super) fn any(&self) -> bool {
        self.connected + self.refused + self.unreachable + self.timed_out > 0
    }

    fn says(&self) -> String {
        let counts = [
            (self.connected, "connected"),
            (self.refused, "refused"),
            (self.unreachable, "unreachable"),
            (self.timed_out, "without answer"),
        ];
        let told = counts.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}"));
        format!("connects tried from here: {}", told.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn evidence(&self, scene: &Scene) -> Option<Evidence> {
        self.any().then(|| scene.from_gateway(self.newest_us, "probe", self.says()))
    }
}

/// The latest moment before a good part of the failed attempts were begun.
fn amid_until(scene: &Scene) -> Option<i64> {
    let waited_us = scene.failures.notes.iter().filter_map(|note| note.response_us).max().unwrap_or(0);
    let left_us = scene.failures.course.left_at(AMID_SHARE)?.saturating_sub_unsigned(waited_us);
    Some(left_us.min(scene.failures.last_began_us - 1))
}

/// A probe's connects, each with how long after the probe it was begun, microseconds.
fn begun(connects: &[ConnectTry]) -> impl Iterator<Item = (&ConnectTry, u64)> {
    connects.iter().zip((0..).map(|number: u64| number * STAGGER_US))
}

/// Whether a SYN was lost after another had been answered: then neither a rule that was put in or taken out in between explains
/// what the connects of one probe met.
fn let_some_through(connects: &[ConnectTry]) -> bool {
    let untold = |tried: &ConnectTry| tried.syns_resent.is_none() && tried.took_us > STALLED_US;
    if connects.iter().any(untold) {
        return false;
    }
    let answered_us = |(tried, begun_us): (&ConnectTry, u64)| {
        (tried.outcome == "connected").then(|| begun_us.saturating_add(tried.took_us))
    };
    let first_answered_us = begun(connects).filter_map(answered_us).min();
    let last_lost_us = begun(connects).filter_map(|(tried, begun_us)| Some(begun_us + last_lost_us(tried)?)).max();
    matches!((first_answered_us, last_lost_us), (Some(answered_us), Some(lost_us)) if lost_us > answered_us + SURELY_AFTER_US)
}

/// When the last SYN of a connect was sent that surely found no answer, from its beginning on. None: its first was answered.
fn last_lost_us(tried: &ConnectTry) -> Option<u64> {
    let lost = match (tried.outcome.as_str(), tried.syns_resent) {
        ("connected", Some(resent)) => resent,
        // By its time alone, which an agent that did not run in between tells too long.
        ("connected", None) => u32::from(tried.took_us >= LATE_US) + u32::from(tried.took_us >= RESENT_US + LATE_US),
        ("connect_timeout", _) => 1 + u32::from(tried.took_us > RESENT_US),
        _ => 0,
    };
    match lost {
        0 => None,
        1 => Some(0),
        _ => Some(RESENT_US),
    }
}
