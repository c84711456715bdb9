//! Whose turn it is to be judged. To judge a case costs more than to take a report, and a host may have thousands of them: so
//! many of each host's are judged at once, the others a moment later, and nobody else's reports wait for them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::CaseKey;

/// Cases of one host's gateways that are judged within a moment.
const AT_ONCE: usize = 64;
/// A moment, microseconds.
const MOMENT_US: i64 = 100_000;

/// The cases of one host's gateways that wait.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Turn {
    /// Those that have waited longest first.
    waiting: VecDeque<CaseKey>,
    /// When the present moment began, and how many were judged in it.
    since_us: i64,
    judged: usize,
}

impl Turn {
    /// Lets one wait.
    pub fn wait(&mut self, key: CaseKey) {
        self.waiting.push_back(key);
    }

    /// Takes those whose turn it is. False: none waits, and none need wait for the others.
    pub fn take(&mut self, now_us: i64, due: &mut Vec<CaseKey>) -> bool {
        let over = now_us - self.since_us >= MOMENT_US;
        if over {
            (self.since_us, self.judged) = (now_us, 0);
        }
        let count = self.waiting.len().min(AT_ONCE - self.judged);
        due.extend(self.waiting.drain(..count));
        self.judged += count;
        !over || self.judged > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Made;
    use crate::model::GatewayRef;

    fn key(number: usize) -> CaseKey {
        let gateway = GatewayRef { host: "lb-1".into(), name: "edge".into(), kind: "nginx".into() };
        CaseKey { gateway, upstream: Some(number.to_string()), made: Made::ByGateway }
    }

    #[test]
    fn all_have_their_turn_and_so_many_within_a_moment() {
        let mut turn = Turn::default();
        (0..AT_ONCE + 3).for_each(|number| turn.wait(key(number)));
        let now_us = 1_700_000_000_000_000;
        let mut due = Vec::new();
        assert!(turn.take(now_us, &mut due) && turn.take(now_us + MOMENT_US - 1, &mut due));
        assert_eq!(due.len(), AT_ONCE);
        assert!(turn.take(now_us + MOMENT_US, &mut due));
        assert_eq!(due, (0..AT_ONCE + 3).map(key).collect::<Vec<_>>());
        assert!(!turn.take(now_us + 2 * MOMENT_US, &mut due), "nothing is left to keep");
    }
}
