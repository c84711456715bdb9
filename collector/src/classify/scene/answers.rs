//! What the upstream answered while other requests to it failed.

use super::{REACH_BACK_US, Scene};
use crate::case::{Note, upstream_address};
use crate::model::{Signal, UpstreamSample, UpstreamTotals};

/// Many logs tell whole seconds: what they tell of happened up to so much later.
const STAMP_US: i64 = 1_000_000;

/// Attempts that overlap.
struct Wait {
    /// When the first began, unix microseconds.
    began_us: i64,
    /// When the newest began.
    last_began_us: i64,
    /// When the last ended.
    until_us: i64,
}

impl Scene<'_> {
    /// Whether no request of a client's met the upstream, only the gateway's checks, which took it out.
    pub fn met_by_checks_alone(&self) -> bool {
        self.failures.count_of(|signal| signal != Signal::NoLiveUpstream) == 0
    }

    /// Attempts that the upstream answered while others waited in vain. 0 also where most of those that waited saw none:
    /// the first may have seen the last answers before the trouble, the last the first ones after it.
    pub fn answered_meanwhile(&self) -> u64 {
        let told: Vec<u64> =
            self.failures.notes.iter().filter_map(|note| note.answered_meanwhile.map(u64::from)).collect();
        if told.is_empty() {
            return self.answered(self.failures.began_us + 500_000, self.failures.last_began_us);
        }
        let some = told.iter().filter(|answered| **answered > 0).count();
        if some * 2 > told.len() { told.iter().sum() } else { 0 }
    }

    /// Whether what was answered while others failed was answered in a small part of the time that those waited: then no
    /// overload is what made them wait. None where the log tells no times, or nothing was answered but the last ones before all
    /// of it stopped.
    pub fn others_fast(&self) -> Option<bool> {
        if self.answered_meanwhile() == 0 {
            return None;
        }
        let (gateway, upstream) = (self.gateway?, self.case.key.upstream.as_deref()?);
        let waited_us = self.failures.notes.iter().filter_map(|note| note.response_us).max()?;
        let (from_us, to_us) = (self.failures.began_us, self.failures.last_us);
        let samples = gateway.history.upstream_samples(&self.case.key.gateway.name, upstream, from_us, to_us);
        // What was answered just before the trouble may stand in the same sums as its first seconds.
        let (answered, sum_us) = samples
            .filter(|sample| sample.response_sum_us > 0 && sample.first_answered_us.max(sample.from_us) >= from_us)
            .fold((0, 0), |(answered, sum), sample| (answered + sample.answered, sum + sample.response_sum_us));
        (answered > 0).then(|| sum_us / answered < waited_us / 10)
    }

    /// Attempts of this gateway that the upstream answered in a stretch of time, as far as the logs' stretches tell.
    pub fn answered(&self, from_us: i64, to_us: i64) -> u64 {
        let (Some(gateway), Some(upstream)) = (self.gateway, self.case.key.upstream.as_deref()) else { return 0 };
        let name = &self.case.key.gateway.name;
        let samples = gateway.history.upstream_samples(name, upstream, from_us, to_us);
        let within = |sample: &UpstreamSample| {
            if sample.from_us >= from_us && sample.to_us <= to_us {
                sample.answered
            } else {
                u64::from((from_us..=to_us).contains(&sample.last_answered_us))
                    + u64::from(sample.answered > 1 && (from_us..=to_us).contains(&sample.first_answered_us))
            }
        };
        samples.map(within).sum()
    }

    /// Attempts that were answered while others waited for a connection in vain, amid a stretch in which some did so without a break:
    /// what was on its way before it, or came when it was mended, is none of these. 0 where the log tells no times.
    pub fn answered_amid(&self) -> u64 {
        let usual_us = self.slowest_before(self.failures.began_us).max(STAMP_US);
        // The last quarter of them may fail late, when all is mended.
        let mut begins: Vec<i64> = self.failures.notes.iter().map(|note| note.began_us).collect();
        begins.sort_unstable();
        let Some(to_us) = begins.iter().rev().nth(begins.len() / 4).copied() else { return 0 };
        let waits = self.waits_for_connections();
        let amid = |note: &&Note| {
            let within =
                |wait: &Wait| wait.began_us + usual_us <= note.began_us && note.at_us <= wait.last_began_us.min(to_us);
            note.signal == Signal::ConnectTimeout && waits.iter().any(within)
        };
        let answered = self.failures.notes.iter().filter(amid).filter_map(|note| note.answered_meanwhile);
        answered.map(u64::from).max().unwrap_or(0)
    }

    /// The longest that the upstream took for an answer in the minute before a time, microseconds; 0 where nothing tells.
    fn slowest_before(&self, at_us: i64) -> i64 {
        let Some((gateway, upstream)) = self.gateway.zip(self.case.key.upstream.as_deref()) else { return 0 };
        let name = &self.case.key.gateway.name;
        let samples = gateway.history.upstream_samples(name, upstream, at_us - 60_000_000, at_us);
        let slowest_us = samples.filter(|sample| sample.to_us <= at_us).map(|sample| sample.response_max_us).max();
        slowest_us.and_then(|us| i64::try_from(us).ok()).unwrap_or(0)
    }

    /// The stretches in which connects without an answer waited without a break, oldest first.
    fn waits_for_connections(&self) -> Vec<Wait> {
        let unanswered = self.failures.notes.iter().filter(|note| note.signal == Signal::ConnectTimeout);
        let mut tried: Vec<(i64, i64)> = unanswered.map(|note| (note.began_us, note.at_us)).collect();
        tried.sort_unstable();
        let mut waits: Vec<Wait> = Vec::new();
        for (began_us, until_us) in tried {
            match waits.last_mut().filter(|wait| began_us <= wait.until_us) {
                Some(wait) => (wait.last_began_us, wait.until_us) = (began_us, wait.until_us.max(until_us)),
                None => waits.push(Wait { began_us, last_began_us: began_us, until_us }),
            }
        }
        waits
    }

    /// Whether the gateway keeps no connections to the upstream: each request begins with a connect.
    pub fn connects_each_time(&self) -> bool {
        self.pool.is_some_and(|pool| pool.keepalive_idle_us == Some(0))
    }

    /// When this gateway last got an answer from the upstream before a time, as far as the logs' stretches tell.
    pub fn last_answered(&self, before_us: i64) -> Option<i64> {
        let (gateway, upstream) = (self.gateway?, self.case.key.upstream.as_deref()?);
        let from_us = self.failures.began_us - REACH_BACK_US;
        let samples = gateway.history.upstream_samples(&self.case.key.gateway.name, upstream, from_us, before_us);
        samples.map(|sample| sample.last_answered_us).filter(|at_us| (1..=before_us).contains(at_us)).max()
    }

    /// When this gateway got the first answer from the upstream after a time, or began to count those among which it was.
    pub fn first_answer_after(&self, after_us: i64) -> Option<i64> {
        let (gateway, upstream) = (self.gateway?, self.case.key.upstream.as_deref()?);
        let mut samples =
            gateway.history.upstream_samples(&self.case.key.gateway.name, upstream, after_us + 1, i64::MAX);
        let first = samples.find(|sample| sample.answered > 0 && sample.last_answered_us > after_us)?;
        Some(first.first_answered_us.max(first.from_us).max(after_us))
    }

    /// Attempts of other gateways that the upstream answered while it failed here, and one that got answers: before the newest
    /// that failed began, since what is answered after that may be so because it was mended.
    pub fn answered_elsewhere(&self) -> Option<(u64, &str)> {
        let named = self.case.key.upstream.as_deref()?;
        let (from_us, to_us) = (self.failures.began_us, self.failures.last_began_us - STAMP_US);
        let of_host = |(name, entry): (&'_ String, &'_ crate::fleet::HostEntry)| {
            let gateways = entry.state.gateways.keys();
            let others = gateways
                .filter(|gateway| (name, *gateway) != (&self.case.key.gateway.host, &self.case.key.gateway.name));
            others
                .flat_map(|gateway| entry.history.upstream_samples(gateway, named, from_us, to_us))
                .filter(|sample| (from_us..=to_us).contains(&sample.last_answered_us))
                .map(|sample| sample.answered)
                .sum::<u64>()
        };
        let found = self.fleet.hosts().map(|(name, entry)| (of_host((name, entry)), name.as_str()));
        found.filter(|(answered, _)| *answered > 0).max_by_key(|(answered, _)| *answered)
    }

    /// Whether this gateway ever got an answer from the upstream while the collector watched.
    pub fn ever_answered(&self) -> bool {
        let state = self.gateway.and_then(|entry| entry.state.gateways.get(&self.case.key.gateway.name));
        let Some((state, upstream)) = state.zip(self.case.key.upstream.as_ref()) else { return false };
        let gateway = &self.case.key.gateway;
        let at_us = self.failures.last_us;
        let of_it =
            |named: &str| named == upstream || upstream_address(self.fleet, gateway, "", named, at_us) == *upstream;
        // There may be thousands, most at other addresses, and to understand each costs: what is written out stands for nothing
        // else than what is written.
        let written_out = is_written_out(upstream);
        let answered = |totals: &UpstreamTotals| totals.answered > 0;
        state.upstreams.get(upstream).is_some_and(answered)
            || state
                .upstreams
                .iter()
                .any(|(named, totals)| answered(totals) && !(written_out && is_written_out(named)) && of_it(named))
    }
}

/// Whether a text is an IPv4 address and a port as they are written out always.
fn is_written_out(text: &str) -> bool {
    let (mut dots, mut colons) = (0, 0);
    let known = text.bytes().all(|byte| {
        dots += u32::from(byte == b'.');
        colons += u32::from(byte == b':');
        byte.is_ascii_digit() || byte == b'.' || byte == b':'
    });
    known && (dots, colons) == (3, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_written_out_are_told_apart_by_their_text() {
        assert!(is_written_out("10.0.0.1:80"));
        for other in ["api-1", "api-1:80", "[::ffff:10.0.0.2]:80", "unix:/run/api", "10.0.0.1.example:80", "80", ""] {
            assert!(!is_written_out(other), "{other}");
        }
    }
}
