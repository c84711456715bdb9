//! Which reports of which numbering were taken: what makes at-least-once delivery apply once. A fold over the
//! journal, so that it is the same after a restart. Live, a report is taken only if it is the next of its numbering;
//! in a damaged journal a number may be missing, so numbers beyond a hole are remembered one by one until it closes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::wire::{Key, Numbering};

/// Numberings remembered per host: the present one and those of agents before it that may still have a stream.
const KEPT_PER_HOST: usize = 4;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is new: journal and apply it.
    Apply,
    /// The same, of a hello; but reports before those that it announces were never taken and come no more.
    ApplyAfterHole,
    /// It was taken before.
    Duplicate,
    /// Numbers are missing before it; this one is awaited.
    Gap(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Known {
    boot_id: String,
    epoch: u64,
    floor: u64,
    beyond: BTreeSet<u64>,
}

impl Known {
    fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while self.beyond.first().is_some_and(|next| *next <= self.floor.saturating_add(1)) {
            self.floor = self.floor.max(self.beyond.pop_first().unwrap_or(0));
        }
    }
}

/// Every host's numberings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Numberings {
    hosts: BTreeMap<String, Vec<Known>>,
    /// State before the batch of the hosts it touched.
    #[serde(skip)]
    before: BTreeMap<String, Option<Vec<Known>>>,
}

impl Numberings {
    /// How many hosts have one.
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Whether a host has one.
    pub fn knows(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Begins a batch that may be rolled back.
    pub fn begin(&mut self) {
        self.before.clear();
    }

    /// Forgets what the batch changed.
    pub fn roll_back(&mut self) {
        for (host, known) in std::mem::take(&mut self.before) {
            match known {
                Some(known) => self.hosts.insert(host, known),
                None => self.hosts.remove(&host),
            };
        }
    }

    /// Judges a record that came in now, and counts it as taken if it is to be applied.
    pub fn admit(&mut self, key: &Key) -> Admission {
        let (numbering, seq) = match key {
            Key::Other => return Admission::Apply,
            Key::Hello(numbering, _) => (numbering, None),
            Key::Report(numbering, seq) => (numbering, Some(*seq)),
        };
        let floor = self.known(numbering).map(|known| (known.floor, known.beyond.clone()));
        if let Some(seq) = seq {
            let (floor, beyond) = floor.unwrap_or_default();
            if seq <= floor || beyond.contains(&seq) {
                return Admission::Duplicate;
            }
            if seq != floor.saturating_add(1) {
                return Admission::Gap(floor.saturating_add(1));
            }
        }
        if !self.before.contains_key(&numbering.host) {
            self.before.insert(numbering.host.clone(), self.hosts.get(&numbering.host).cloned());
        }
        let floor = self.floor(numbering);
        self.fold(key);
        match key {
            Key::Hello(_, next_seq) if floor.saturating_add(1) < *next_seq => Admission::ApplyAfterHole,
            _ => Admission::Apply,
        }
    }

    /// Folds a record that stands in the journal.
    pub fn fold(&mut self, key: &Key) {
        match key {
            Key::Other => {}
            // The agent holds nothing below `next_seq` any more: nothing below it can still come.
            Key::Hello(numbering, next_seq) => self.entry(numbering).raise(next_seq.saturating_sub(1)),
            Key::Report(numbering, seq) => {
                let known = self.entry(numbering);
                if *seq > known.floor {
                    known.beyond.insert(*seq);
                }
                known.raise(0);
            }
        }
    }

    /// The highest number below which nothing is missing.
    pub fn floor(&self, numbering: &Numbering) -> u64 {
        self.known(numbering).map_or(0, |known| known.floor)
    }

    fn known(&self, numbering: &Numbering) -> Option<&Known> {
        let known = self.hosts.get(&numbering.host)?;
        known.iter().find(|known| known.boot_id == numbering.boot_id && known.epoch == numbering.epoch)
    }

    fn entry(&mut self, numbering: &Numbering) -> &mut Known {
        let all = self.hosts.entry(numbering.host.clone()).or_default();
        let at = all.iter().position(|known| known.boot_id == numbering.boot_id && known.epoch == numbering.epoch);
        let known = match at {
            Some(at) => all.remove(at),
            None => Known { boot_id: numbering.boot_id.clone(), epoch: numbering.epoch, ..Known::default() },
        };
        if all.len() >= KEPT_PER_HOST {
            all.remove(0);
        }
        let last = all.len();
        all.push(known);
        &mut all[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbering(epoch: u64) -> Numbering {
        Numbering { host: "h".to_owned(), boot_id: "b".to_owned(), epoch }
    }

    fn report(epoch: u64, seq: u64) -> Key {
        Key::Report(numbering(epoch), seq)
    }

    #[test]
    fn each_number_is_taken_once_and_in_order() {
        let mut numberings = Numberings::default();
        numberings.admit(&Key::Hello(numbering(1), 1));
        assert_eq!(numberings.admit(&report(1, 1)), Admission::Apply);
        assert_eq!(numberings.admit(&report(1, 1)), Admission::Duplicate);
        assert_eq!(numberings.admit(&report(1, 3)), Admission::Gap(2));
        assert_eq!(numberings.admit(&report(1, 2)), Admission::Apply);
        assert_eq!(numberings.admit(&report(2, 1)), Admission::Apply, "another numbering begins at 1");
        assert_eq!(numberings.admit(&report(1, 2)), Admission::Duplicate, "the older one is still known");
        assert_eq!(numberings.floor(&numbering(1)), 2);
    }

    #[test]
    fn an_agent_that_dropped_reports_goes_on_where_its_hello_says() {
        let mut numberings = Numberings::default();
        assert_eq!(numberings.admit(&Key::Hello(numbering(1), 10)), Admission::ApplyAfterHole);
        assert_eq!(numberings.admit(&report(1, 10)), Admission::Apply);
        assert_eq!(numberings.admit(&Key::Hello(numbering(1), 11)), Admission::Apply, "nothing is missing");
        assert_eq!(numberings.admit(&Key::Hello(numbering(2), 1)), Admission::Apply, "a new run has told nothing yet");
        numberings.admit(&Key::Hello(numbering(1), 5));
        assert_eq!(numberings.floor(&numbering(1)), 10, "a hello never lowers");
    }

    #[test]
    fn a_batch_that_was_not_kept_leaves_no_trace() {
        let mut numberings = Numberings::default();
        numberings.admit(&report(1, 1));
        numberings.begin();
        numberings.admit(&report(1, 2));
        numberings.admit(&Key::Report(Numbering { host: "new".to_owned(), ..numbering(1) }, 1));
        numberings.roll_back();
        assert_eq!(numberings.admit(&report(1, 2)), Admission::Apply);
        assert_eq!(numberings.hosts.len(), 1);
    }

    #[test]
    fn a_hole_in_a_damaged_journal_is_asked_for_again_and_nothing_is_applied_twice() {
        let mut numberings = Numberings::default();
        for seq in [1, 2, 4, 5] {
            numberings.fold(&report(1, seq));
        }
        assert_eq!(numberings.floor(&numbering(1)), 2);
        assert_eq!(numberings.admit(&report(1, 4)), Admission::Duplicate);
        assert_eq!(numberings.admit(&report(1, 3)), Admission::Apply);
        assert_eq!(numberings.floor(&numbering(1)), 5);
    }

    #[test]
    fn numberings_per_host_are_bounded() {
        let mut numberings = Numberings::default();
        (0..100).for_each(|epoch| numberings.fold(&report(epoch, 1)));
        assert_eq!(numberings.hosts["h"].len(), KEPT_PER_HOST);
    }
}
