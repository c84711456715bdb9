//! Readings of the control groups that watched services live in, with differences over the stretch since the last reading.

use std::collections::HashMap;

use why502_proto::v1;

use crate::kernel::cgroup::{Bandwidth, Group, Reading};
use crate::kernel::clock;

/// Most groups whose last readings are kept.
const GROUP_LIMIT: usize = 1024;
/// Differences are made over at least this stretch.
const STRETCH_US: u64 = 150_000;

/// A sample is good for so long.
const MOMENT_US: u64 = 50_000;

/// Keeps the reading before.
#[derive(Debug, Default)]
pub struct Groups {
    before: HashMap<Group, (u64, Reading)>,
    /// The samples of this moment: services often share a group.
    told: HashMap<Group, (u64, v1::CgroupSample)>,
}

impl Groups {
    /// Reads one group.
    pub fn sample(&mut self, group: &Group) -> v1::CgroupSample {
        let now_us = clock::boottime_us();
        if let Some((_, sample)) = self.told.get(group).filter(|(at_us, _)| now_us.saturating_sub(*at_us) < MOMENT_US) {
            return sample.clone();
        }
        let now = group.read();
        let before = self.before.get(group).filter(|(at_us, _)| now_us.saturating_sub(*at_us) >= STRETCH_US);
        let sample = make(group, &now, before.map(|(at_us, reading)| (now_us - at_us, reading)));
        if before.is_some() || !self.before.contains_key(group) {
            if self.before.len() >= GROUP_LIMIT {
                self.before.clear();
                self.told.clear();
            }
            self.before.insert(group.clone(), (now_us, now));
        }
        self.told.insert(group.clone(), (now_us, sample.clone()));
        sample
    }

    /// Forgets groups that nothing watched lives in any more.
    pub fn keep(&mut self, wanted: impl Fn(&Group) -> bool) {
        self.before.retain(|group, _| wanted(group));
        self.told.retain(|group, _| wanted(group));
    }
}

fn make(group: &Group, now: &Reading, before: Option<(u64, &Reading)>) -> v1::CgroupSample {
    let bandwidth =
        before.and_then(|(stretch_us, before)| throttled(now.cpu.as_ref()?, before.cpu.as_ref()?, stretch_us));
    v1::CgroupSample {
        path: group.path.clone(),
        mem_bytes: now.mem_bytes,
        mem_limit_bytes: now.mem_limit_bytes,
        oom_kills: now.oom_kills,
        throttled_periods_ratio: bandwidth.map(|(periods, _)| periods),
        throttled_ratio: bandwidth.map(|(_, time)| time),
        cpu_quota: now.cpu.as_ref().map(|cpu| cpu.quota),
        pids: now.pids,
        pids_limit: now.pids_limit,
        pressure: before.and_then(|(stretch_us, before)| pressure(now, before, stretch_us)),
        frozen: now.frozen,
    }
}

/// Share of periods in which it was throttled, and throttled time in CPUs.
fn throttled(now: &Bandwidth, before: &Bandwidth, stretch_us: u64) -> Option<(f64, f64)> {
    if now.dir != before.dir || stretch_us == 0 {
        return None;
    }
    let periods = now.periods.saturating_sub(before.periods);
    let throttled = now.throttled.saturating_sub(before.throttled);
    let share = if periods == 0 { 0.0 } else { (throttled as f64 / periods as f64).min(1.0) };
    Some((share, now.throttled_us.saturating_sub(before.throttled_us) as f64 / stretch_us as f64))
}

fn pressure(now: &Reading, before: &Reading, stretch_us: u64) -> Option<v1::Pressure> {
    now.stalls.iter().any(Option::is_some).then(|| {
        let some = |i: usize| Some(share(now.stalls[i]?.some_us, before.stalls[i]?.some_us, stretch_us));
        let full = |i: usize| Some(share(now.stalls[i]?.full_us?, before.stalls[i]?.full_us?, stretch_us));
        v1::Pressure {
            cpu_some_ratio: some(0),
            memory_some_ratio: some(1),
            memory_full_ratio: full(1),
            io_some_ratio: some(2),
            io_full_ratio: full(2),
        }
    })
}

fn share(now_us: u64, before_us: u64, stretch_us: u64) -> f64 {
    (now_us.saturating_sub(before_us) as f64 / stretch_us.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_of_one_level_and_of_the_stretch() {
        let at = |periods, throttled, throttled_us| Bandwidth {
            dir: "/a".into(),
            quota: 0.5,
            periods,
            throttled,
            throttled_us,
        };
        let now = Reading { cpu: Some(at(20, 15, 900_000)), mem_bytes: Some(5), ..Reading::default() };
        let before = Reading { cpu: Some(at(10, 10, 400_000)), ..Reading::default() };
        let sample = make(&Group::default(), &now, Some((1_000_000, &before)));
        assert_eq!((sample.throttled_periods_ratio, sample.throttled_ratio), (Some(0.5), Some(0.5)));
        assert_eq!((sample.cpu_quota, sample.mem_bytes), (Some(0.5), Some(5)));
        let elsewhere = Reading { cpu: Some(Bandwidth { dir: "/b".into(), ..at(10, 10, 0) }), ..Reading::default() };
        assert_eq!(make(&Group::default(), &now, Some((1_000_000, &elsewhere))).throttled_ratio, None);
        assert_eq!(make(&Group::default(), &now, None).throttled_ratio, None);
    }
}
