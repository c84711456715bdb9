//! Counts what a gateway's access log told of each upstream, so that traffic costs a few numbers a stretch.

use std::collections::BTreeMap;

use why502_proto::v1;

use super::answers::Answers;
use crate::gateway::{Attempt, Record, Served, Signal, Stamp};

/// Most upstreams counted apart; a gateway with more is told of the first ones only.
const MAX_UPSTREAMS: usize = 1_024;

/// The counts of one stretch.
#[derive(Debug, Default)]
pub struct Counts {
    gateway: String,
    from_unix_us: i64,
    upstreams: BTreeMap<String, v1::UpstreamSample>,
    answers: Answers,
}

impl Counts {
    /// Of a gateway, from now on.
    pub fn new(gateway: &str, now_us: i64) -> Self {
        Self { gateway: gateway.to_owned(), from_unix_us: now_us, ..Default::default() }
    }

    /// Counts the attempts of an access record that was read now.
    pub fn add(&mut self, record: &Record, read_us: i64) {
        let end_us = record.at.map_or(read_us, |at| at.unix_us);
        let sharp_us = sharp_end(record.at, read_us);
        for attempt in &record.attempts {
            let Some(upstream) = &attempt.upstream else { continue };
            if !self.upstreams.contains_key(upstream) && self.upstreams.len() >= MAX_UPSTREAMS {
                continue;
            }
            let sample = self.upstreams.entry(upstream.clone()).or_default();
            if attempt.signal.is_failure() {
                sample.failed += 1;
            } else if attempt.signal == Signal::ClientAbort {
                sample.client_aborts += 1;
            } else if matches!(attempt.signal, Signal::Ok | Signal::AppStatus) {
                self.answers.add(upstream, sharp_us);
                sample.answered_5xx += u64::from(attempt.status.is_some_and(|status| status >= 500));
                count_answer(sample, end_us, record.took_us(attempt));
            }
        }
    }

    /// Counts a request that its one attempt served, of a line that was read now.
    pub fn add_served(&mut self, served: &Served<'_>, read_us: i64) {
        let Some(upstream) = served.upstream else { return };
        if !self.upstreams.contains_key(upstream) {
            if self.upstreams.len() >= MAX_UPSTREAMS {
                return;
            }
            self.upstreams.insert(upstream.to_owned(), v1::UpstreamSample::default());
        }
        let Some(sample) = self.upstreams.get_mut(upstream) else { return };
        count_answer(sample, served.at.map_or(read_us, |at| at.unix_us), served.took_us);
        self.answers.add(upstream, sharp_end(served.at, read_us));
    }

    /// Answers of an attempt's upstream while the attempt, the last of a record that was read now, waited.
    pub fn answered_meanwhile(&self, record: &Record, attempt: &Attempt, read_us: i64) -> Option<u32> {
        let took_us = attempt.response_us.or(record.duration_us)?;
        self.answers.meanwhile(attempt.upstream.as_deref()?, sharp_end(record.at, read_us), took_us)
    }

    /// The samples of the stretch that ends now; the next one begins.
    pub fn take(&mut self, now_us: i64) -> Vec<v1::UpstreamSample> {
        let mut samples: Vec<v1::UpstreamSample> = std::mem::take(&mut self.upstreams)
            .into_iter()
            .map(|(upstream, sample)| v1::UpstreamSample { upstream, ..sample })
            .collect();
        for sample in &mut samples {
            sample.gateway.clone_from(&self.gateway);
            sample.from_unix_us = self.from_unix_us;
            sample.to_unix_us = now_us;
        }
        self.from_unix_us = now_us;
        samples
    }
}

/// Counts an attempt that was answered.
fn count_answer(sample: &mut v1::UpstreamSample, end_us: i64, took_us: Option<u64>) {
    sample.answered += 1;
    sample.last_answered_unix_us = sample.last_answered_unix_us.max(end_us);
    if let Some(took_us) = took_us {
        let start_us = end_us.saturating_sub_unsigned(took_us);
        let first = &mut sample.first_answered_unix_us;
        *first = if *first == 0 { start_us } else { (*first).min(start_us) };
        sample.response_sum_us = sample.response_sum_us.saturating_add(took_us);
        sample.response_max_us = sample.response_max_us.max(took_us);
    }
}

/// The end of a request: where the log tells whole seconds only, the moment its line was read is nearer.
fn sharp_end(at: Option<Stamp>, read_us: i64) -> i64 {
    match at {
        Some(at) if at.precision_us < 1_000_000 || !(0..=1_500_000).contains(&(read_us - at.unix_us)) => at.unix_us,
        _ => read_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Attempt;

    fn attempt(upstream: &str, status: u16, signal: Signal, response_us: u64) -> Attempt {
        Attempt {
            upstream: Some(upstream.into()),
            status: Some(status),
            signal,
            response_us: Some(response_us),
            ..Default::default()
        }
    }

    #[test]
    fn attempts_are_counted_each_to_its_upstream() {
        let mut counts = Counts::new("edge", 100);
        let at = |unix_us| Some(Stamp { unix_us, precision_us: 1_000 });
        let retried = vec![attempt("a:1", 502, Signal::ConnectRefused, 5), attempt("b:1", 200, Signal::Ok, 400)];
        counts.add(&Record { at: at(5_000), attempts: retried, ..Default::default() }, 9_000);
        let slow = vec![attempt("b:1", 500, Signal::AppStatus, 4_900)];
        counts.add(&Record { at: at(6_000), attempts: slow, ..Default::default() }, 9_000);
        let aborted = vec![attempt("b:1", 499, Signal::ClientAbort, 1)];
        counts.add(&Record { at: at(7_000), attempts: aborted, ..Default::default() }, 9_000);
        let samples = counts.take(200);
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].upstream.as_str(), samples[0].failed, samples[0].answered), ("a:1", 1, 0));
        let b = &samples[1];
        assert_eq!((b.answered, b.answered_5xx, b.failed, b.client_aborts), (2, 1, 0, 1));
        assert_eq!((b.first_answered_unix_us, b.last_answered_unix_us), (1_100, 6_000));
        assert_eq!((b.response_sum_us, b.response_max_us), (5_300, 4_900));
        assert_eq!((b.from_unix_us, b.to_unix_us, b.gateway.as_str()), (100, 200, "edge"));
        assert!(counts.take(300).is_empty());
    }

    #[test]
    fn upstreams_without_end_are_bounded() {
        let mut counts = Counts::new("edge", 0);
        for number in 0..2 * MAX_UPSTREAMS {
            let attempts = vec![attempt(&format!("a:{number}"), 200, Signal::Ok, 1)];
            counts.add(&Record { attempts, ..Default::default() }, 1);
        }
        assert_eq!(counts.take(1).len(), MAX_UPSTREAMS);
    }
}
