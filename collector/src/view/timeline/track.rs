//! One subject of a timeline: its states and readings by column.

use super::super::document::{ReadingDoc, TrackDoc};

/// The columns of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// When the first begins, unix microseconds.
    pub from_us: i64,
    /// When the last ends, or is cut off.
    pub to_us: i64,
    /// How long each is.
    pub step_us: i64,
}

impl Columns {
    /// How many there are.
    pub fn count(self) -> usize {
        let span_us = self.to_us.saturating_sub(self.from_us).max(1);
        usize::try_from((span_us - 1) / self.step_us + 1).unwrap_or(0)
    }

    /// The column that a time lies in.
    pub fn of(self, at_us: i64) -> Option<usize> {
        if !(self.from_us..=self.to_us).contains(&at_us) {
            return None;
        }
        let column = usize::try_from((at_us - self.from_us) / self.step_us).ok()?;
        Some(column.min(self.count() - 1))
    }
}

/// How the readings of one column become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    Most,
    Sum,
}

#[derive(Debug)]
struct Reading {
    name: &'static str,
    unit: &'static str,
    joined: Joined,
    values: Vec<Option<f64>>,
}

/// A subject.
#[derive(Debug)]
pub struct Track {
    kind: &'static str,
    /// A service, a host, or an upstream address.
    pub name: String,
    /// Its host; an upstream's gateway's.
    pub host: String,
    /// An upstream's gateway.
    pub gateway: String,
    columns: Columns,
    words: &'static [&'static str],
    /// What the state became, and when.
    turns: Vec<(i64, &'static str)>,
    readings: Vec<Reading>,
}

impl Track {
    /// A track with neither states nor readings.
    pub fn new(kind: &'static str, name: &str, host: &str, columns: Columns) -> Self {
        let (name, host) = (name.to_owned(), host.to_owned());
        Self { kind, name, host, gateway: String::new(), columns, words: &[], turns: Vec::new(), readings: Vec::new() }
    }

    /// It lies behind a gateway.
    pub fn behind(mut self, gateway: &str) -> Self {
        gateway.clone_into(&mut self.gateway);
        self
    }

    /// It has states, these words for them, best first.
    pub fn states(mut self, words: &'static [&'static str]) -> Self {
        self.words = words;
        self
    }

    /// It has a reading of which a column tells the largest.
    pub fn most(self, name: &'static str, unit: &'static str) -> Self {
        self.reading(name, unit, Joined::Most)
    }

    /// It has a reading of which a column tells the sum.
    pub fn sum(self, name: &'static str, unit: &'static str) -> Self {
        self.reading(name, unit, Joined::Sum)
    }

    fn reading(mut self, name: &'static str, unit: &'static str, joined: Joined) -> Self {
        self.readings.push(Reading { name, unit, joined, values: vec![None; self.columns.count()] });
        self
    }

    /// Its state from a time on.
    pub fn state(&mut self, at_us: i64, state: &'static str) {
        if self.turns.last().is_none_or(|(_, before)| *before != state) {
            self.turns.push((at_us, state));
        }
    }

    /// A value of a reading; what was not read is passed over.
    pub fn read(&mut self, name: &str, at_us: i64, value: Option<f64>) {
        let (Some(value), Some(column)) = (value, self.columns.of(at_us)) else { return };
        let Some(reading) = self.readings.iter_mut().find(|reading| reading.name == name) else { return };
        let Some(place) = reading.values.get_mut(column) else { return };
        *place = Some(match (*place, reading.joined) {
            (None, _) => value,
            (Some(before), Joined::Most) => before.max(value),
            (Some(before), Joined::Sum) => before + value,
        });
    }

    /// The worst state of each column; empty where nothing was known of it yet.
    fn columns_of_states(&self) -> Vec<String> {
        let rank = |state: &str| self.words.iter().position(|word| *word == state);
        let mut worst = vec![None; self.columns.count()];
        let ends = self.turns.iter().skip(1).map(|(at_us, _)| *at_us).chain([i64::MAX]);
        for ((from_us, state), until_us) in self.turns.iter().zip(ends) {
            let (from_us, last_us) = (*from_us.max(&self.columns.from_us), (until_us - 1).min(self.columns.to_us));
            let (Some(first), Some(last)) = (self.columns.of(from_us), self.columns.of(last_us)) else { continue };
            let held = worst.get_mut(first..=last).unwrap_or_default();
            held.iter_mut().for_each(|place| *place = (*place).max(rank(state)));
        }
        let word = |rank: Option<usize>| rank.and_then(|rank| self.words.get(rank)).copied().unwrap_or_default();
        worst.into_iter().map(|rank| word(rank).to_owned()).collect()
    }

    /// Its document; readings of which there is nothing are left out.
    pub fn doc(self) -> TrackDoc {
        let states = if self.words.is_empty() { Vec::new() } else { self.columns_of_states() };
        let read = self.readings.into_iter().filter(|one| one.values.iter().any(Option::is_some));
        let readings = read.map(|one| ReadingDoc {
            name: one.name.to_owned(),
            unit: one.unit.to_owned(),
            joined: (if one.joined == Joined::Sum { "sum" } else { "most" }).to_owned(),
            values: one.values,
        });
        let readings = readings.collect();
        TrackDoc {
            kind: self.kind.to_owned(),
            name: self.name,
            host: self.host,
            gateway: self.gateway,
            states,
            readings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns { from_us: 1_000, to_us: 5_000, step_us: 1_000 };

    #[test]
    fn a_column_tells_its_worst_state_and_nothing_before_the_first() {
        let mut track = Track::new("host", "a", "a", COLUMNS).states(&["up", "silent"]);
        for (at_us, state) in [(2_500, "up"), (3_100, "silent"), (3_200, "up"), (9_000, "silent")] {
            track.state(at_us, state);
        }
        assert_eq!(track.doc().states, ["", "up", "silent", "up"]);
        let mut before = Track::new("host", "a", "a", COLUMNS).states(&["up", "silent"]);
        before.state(5, "silent");
        before.state(4_000, "up");
        assert_eq!(before.doc().states, ["silent", "silent", "silent", "up"]);
    }

    #[test]
    fn readings_are_joined_as_they_should_and_what_lies_outside_is_passed_over() {
        let mut track = Track::new("host", "a", "a", COLUMNS).most("cpu", "ratio").sum("failures", "").most("none", "");
        for (name, at_us, value) in
            [("cpu", 1_000, 0.5), ("cpu", 1_999, 0.2), ("failures", 5_000, 1.0), ("failures", 4_000, 2.0)]
        {
            track.read(name, at_us, Some(value));
        }
        track.read("cpu", 999, Some(9.0));
        track.read("cpu", 5_001, Some(9.0));
        let doc = track.doc();
        assert_eq!(doc.readings.len(), 2, "{doc:?}");
        assert_eq!(doc.readings[0].values, [Some(0.5), None, None, None]);
        assert_eq!(doc.readings[1].values, [None, None, None, Some(3.0)]);
    }
}
