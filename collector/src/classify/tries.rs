//! How the gateway's host fared when it connected to the upstream itself.

use super::scene::Scene;
use crate::model::{ConnectTry, Evidence};

/// A connect that takes so long was answered only to a SYN sent again, microseconds (RFC 6298: one second at first).
const LATE_US: u64 = 900_000;

/// How the gateway's host fared when it connected itself, over all probes of the case.
pub(super) struct Tries {
    pub(super) connected: usize,
    pub(super) refused: usize,
    pub(super) unreachable: usize,
    pub(super) timed_out: usize,
    /// Of connects tried at one time some succeeded at once and some were lost or late: what fails first and works later was
    /// mended, loss lets some through in between.
    pub(super) mixed: bool,
    /// Of those that connected, how many did before another attempt of the gateway's began that failed: not a way that had been
    /// mended.
    pub(super) amid: usize,
    pub(super) newest_us: i64,
}

impl Tries {
    pub(super) fn of(scene: &Scene) -> Self {
        let mut tries =
            Self { connected: 0, refused: 0, unreachable: 0, timed_out: 0, mixed: false, amid: 0, newest_us: 0 };
        // A probe after the failures or the instance ended tells of the time after.
        let until_us = (scene.failures.last_us + 3_000_000).min(scene.aftermath_us);
        for (at_us, probe) in scene.probes.iter().filter(|(at_us, _)| *at_us <= until_us) {
            for tried in &probe.connects {
                tries.newest_us = *at_us;
                match tried.outcome.as_str() {
                    "connected" => {
                        tries.connected += 1;
                        tries.amid += usize::from(*at_us < scene.failures.last_began_us);
                    }
                    "connect_refused" => tries.refused += 1,
                    "connect_unreachable" => tries.unreachable += 1,
                    "connect_timeout" => tries.timed_out += 1,
                    _ => {}
                }
            }
            let at_once = probe.connects.iter().any(|tried| tried.outcome == "connected" && tried.took_us < LATE_US);
            let lost = |tried: &ConnectTry| match tried.outcome.as_str() {
                "connected" => tried.took_us >= LATE_US,
                outcome => outcome == "connect_timeout",
            };
            tries.mixed |= at_once && probe.connects.iter().any(lost);
        }
        tries
    }

    pub(super) fn any(&self) -> bool {
        self.connected + self.refused + self.unreachable + self.timed_out > 0
    }

    fn says(&self) -> String {
        format!(
            "connects tried from here: {} connected, {} refused, {} unreachable, {} without answer",
            self.connected, self.refused, self.unreachable, self.timed_out
        )
    }

    pub(super) fn evidence(&self, scene: &Scene) -> Option<Evidence> {
        self.any().then(|| scene.from_gateway(self.newest_us, "probe", self.says()))
    }
}
