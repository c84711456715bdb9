//! What is kept of a host's past while nothing fails there: the last minutes whole, before them one reading a minute. A rule
//! looks back two minutes from the first failure; what it asks of the time before (whether memory grew, how long an answer
//! takes, how often clients go away) a reading a minute tells as well, at a fraction of the memory.

use std::collections::{BTreeMap, VecDeque};

use super::History;
use super::track::{Reading, Track};
use crate::model::{Event, EventKind, HealthResult, UpstreamSample};

/// The newest readings stay whole for so long, microseconds.
const WHOLE_US: i64 = 180_000_000;
/// Of older ones one stays of so long, microseconds.
const STEP_US: i64 = 60_000_000;

impl History {
    /// Thins what is older than some minutes, at most once a minute; for a host that no open case bears on.
    pub fn calm(&mut self, now_us: i64) {
        let step = step(now_us);
        if std::mem::replace(&mut self.calmed, step) == step {
            return;
        }
        let before_us = now_us - WHOLE_US;
        one_a_step(&mut self.host_samples, before_us);
        self.instance_samples.values_mut().for_each(|all| one_a_step(all, before_us));
        self.upstream_samples.values_mut().for_each(|all| join_steps(all, before_us));
        thin_health(&mut self.chatter, before_us);
    }
}

fn step(at_us: i64) -> i64 {
    at_us.div_euclid(STEP_US)
}

/// Keeps the first of each step before a time, and all since.
fn one_a_step<T: Reading>(track: &mut Track<T>, before_us: i64) {
    let mut last = None;
    track.retain(|at_us| at_us >= before_us || last.replace(step(at_us)) != Some(step(at_us)));
    track.put_away();
}

/// Adds up what logs told of the same step before a time: nothing that was counted is lost.
fn join_steps(samples: &mut VecDeque<UpstreamSample>, before_us: i64) {
    let mut joined: VecDeque<UpstreamSample> = VecDeque::with_capacity(samples.len());
    for sample in samples.drain(..) {
        match joined.back_mut().filter(|last| sample.to_us < before_us && step(last.to_us) == step(sample.to_us)) {
            Some(last) => last.join(&sample),
            None => joined.push_back(sample),
        }
    }
    *samples = joined;
    give_back(samples);
}

/// Of health results that were good the first of each step and service stays; all else that is said stays whole.
fn thin_health(events: &mut VecDeque<Event>, before_us: i64) {
    let good = |health: &HealthResult| health.signal.is_empty() && health.status < 400;
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    events.retain(|event| match &event.kind {
        EventKind::Health(health) if event.at_us < before_us && good(health) => {
            last.insert(health.service.clone(), step(event.at_us)) != Some(step(event.at_us))
        }
        _ => true,
    });
    give_back(events);
}

/// Gives back the room of what went, and leaves some for what comes.
fn give_back<T>(items: &mut VecDeque<T>) {
    if items.capacity() > items.len() * 2 {
        items.shrink_to(items.len() + items.len() / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Readings;
    use super::*;
    use crate::model::{HostSample, LogMatch, Report};

    const SECOND: i64 = 1_000_000;

    fn report(second: i64) -> Report {
        let at_us = second * SECOND;
        let upstream = UpstreamSample {
            gateway: "edge".into(),
            upstream: "10.0.0.2:3000".into(),
            from_us: at_us - SECOND,
            to_us: at_us,
            answered: 3,
            response_max_us: second.unsigned_abs(),
            first_answered_us: at_us - SECOND,
            last_answered_us: at_us - 1,
            ..UpstreamSample::default()
        };
        let status = if second % 100 == 7 { 500 } else { 200 };
        let health = HealthResult { service: "api".into(), status, ..HealthResult::default() };
        let said = LogMatch { service: "api".into(), ..LogMatch::default() };
        let kinds = [EventKind::Health(health), EventKind::LogMatch(said)];
        Report {
            host_sample: Some(HostSample { at_us, ..HostSample::default() }.into()),
            upstreams: vec![upstream],
            events: kinds.into_iter().map(|kind| Event { at_us, kind }).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn of_a_calm_hosts_past_a_reading_a_minute_stays_and_no_count_is_lost() {
        let mut history = History::default();
        for second in 1..=600 {
            let report = report(second);
            history.report(&report, Readings::of(&report), second * SECOND);
            history.calm(second * SECOND);
        }
        let seconds: Vec<i64> = history.host_samples(0, i64::MAX).map(|one| one.at_us / SECOND).collect();
        let gaps: Vec<i64> = seconds.windows(2).map(|two| two[1] - two[0]).collect();
        let whole = gaps.iter().rev().take_while(|gap| **gap == 1).count();
        assert!(
            (180..=240).contains(&whole) && gaps[1..gaps.len() - whole - 1].iter().all(|gap| *gap == 60),
            "{seconds:?}"
        );
        let upstreams = history.upstream_samples("edge", "10.0.0.2:3000", 0, i64::MAX);
        let (count, answered) = upstreams.fold((0, 0), |(count, sum), one| (count + 1, sum + one.answered));
        assert_eq!((count < 260, answered), (true, 1_800));
        let mut joined = history.upstream_samples("edge", "10.0.0.2:3000", 150 * SECOND, 150 * SECOND);
        let minute = joined.next().unwrap();
        assert_eq!((minute.from_us, minute.to_us, minute.response_max_us), (119 * SECOND, 179 * SECOND, 179));
        assert_eq!((minute.first_answered_us, minute.last_answered_us), (119 * SECOND, 179 * SECOND - 1));
        let health = |fits: fn(&HealthResult) -> bool| {
            let all = history.chatter(0, 300 * SECOND);
            all.filter(|event| matches!(&event.kind, EventKind::Health(health) if fits(health))).count()
        };
        assert_eq!(health(|health| health.status == 500), 3, "what was bad stays");
        assert!(health(|health| health.status == 200) <= 6);
        assert_eq!(history.chatter(0, i64::MAX).filter(|one| matches!(one.kind, EventKind::LogMatch(_))).count(), 600);
    }
}
