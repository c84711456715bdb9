//! Kills for lack of memory, by the counters of control groups: the kernel counts a victim in its own group, before it sends the
//! signal, so a counter that is read when a process ended by SIGKILL tells for sure whether that was why.

use std::collections::HashMap;

use crate::kernel::cgroup::{Group, Place};
use crate::sampler::Status;

/// Most groups whose counters are kept.
const GROUP_LIMIT: usize = 1024;

/// The counters as last read.
#[derive(Debug, Default)]
pub struct OomCounters {
    last: HashMap<Place, Counted>,
    unreadable: Option<String>,
}

/// A group, of those that share this counter the first that was seen, and the counter as last read.
#[derive(Debug)]
struct Counted {
    group: Group,
    kills: u64,
}

impl OomCounters {
    /// How many were killed in a group since it was last asked. 0 at first.
    pub fn rise(&mut self, group: &Group) -> u32 {
        let known = self.counts(group);
        match (&group.memory, group.oom_kills()) {
            (Some(_), Some(_)) if self.last.len() >= GROUP_LIMIT && !known => 0,
            (Some(place), Some(now)) => {
                let new = || Counted { group: group.clone(), kills: now };
                let before = std::mem::replace(&mut self.last.entry(place.clone()).or_insert_with(new).kills, now);
                u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
            }
            _ => {
                // The root of version 2 has no counter, and a removed group none any more.
                if !known {
                    self.unreadable = Some(group.path.clone());
                }
                0
            }
        }
    }

    /// Whether this group's counter is kept, so that its next rise will be told.
    pub fn counts(&self, group: &Group) -> bool {
        group.memory.as_ref().is_some_and(|place| self.last.contains_key(place))
    }

    /// Looks at all groups known: those in which some were killed since they were last asked, and how many.
    pub fn rises(&mut self) -> Vec<(Group, u32)> {
        let mut risen = Vec::new();
        for Counted { group, kills: last } in self.last.values_mut() {
            let Some(now) = group.oom_kills() else { continue };
            let kills = now.saturating_sub(std::mem::replace(last, now));
            if kills > 0 {
                risen.push((group.clone(), u32::try_from(kills).unwrap_or(u32::MAX)));
            }
        }
        risen
    }

    /// Forgets groups that nothing watched lives in any more.
    pub fn keep(&mut self, wanted: impl Fn(&Group) -> bool) {
        self.last.retain(|_, counted| wanted(&counted.group));
    }

    /// How well it sees.
    pub fn status(&self, log_readable: bool) -> Status {
        match (&self.unreadable, self.last.is_empty(), log_readable) {
            (Some(path), _, false) => Status::Degraded(format!(
                "no OOM counter in control group {path} and no kernel log: enable the memory controller or make /dev/kmsg readable"
            )),
            (None, true, false) => {
                Status::Degraded("no control group is watched yet, and the kernel log is not readable".to_owned())
            }
            _ => Status::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::kernel::cgroup::Place;

    #[test]
    fn tells_rises_only() {
        let top = tempfile::tempdir().unwrap();
        let place = Place { dir: top.path().into(), top: top.path().into(), unified: true };
        let group = Group { path: "/a".into(), memory: Some(place.clone()), ..Group::default() };
        let mut counters = OomCounters::default();
        assert_eq!(counters.rise(&group), 0);
        assert!(matches!(counters.status(false), Status::Degraded(_)));
        let set = |n: u32| fs::write(top.path().join("memory.events"), format!("oom 9\noom_kill {n}\n")).unwrap();
        set(5);
        assert_eq!(counters.rise(&group), 0, "what was counted before is no event");
        set(7);
        assert_eq!((counters.rise(&group), counters.rise(&group)), (2, 0));
        set(8);
        let with_quota = Group { cpu: Some(place), ..group.clone() };
        assert_eq!(counters.rise(&with_quota), 1, "the counter is the memory group's, whatever else it is in");
        set(9);
        assert_eq!((counters.rises(), counters.rises()), (vec![(group, 1)], vec![]));
    }
}
