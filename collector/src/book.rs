//! What was told to whom: the fold of alerts' outcomes and silences. It keeps, for each sink and incident or group, what
//! the sink last confirmed and how telling it the next thing fails, so that a restarted collector goes on where the old
//! one ended. Bounded: of letters that are settled the oldest go first. Pure, as the rest of the core.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Alert, AlertOutcome, AlertStep, Silence};

/// Letters kept.
const LETTERS_MAX: usize = 20_000;
/// Silences kept.
const SILENCES_MAX: usize = 1_000;
/// Sinks whose totals are kept.
const SINKS_MAX: usize = 256;
/// A silence that has ended is shown for so long, microseconds.
const ENDED_SHOWN_US: i64 = 86_400_000_000;

/// All that was told and what is not to be told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Book {
    letters: BTreeMap<(String, String), Letter>,
    silences: BTreeMap<String, Silence>,
    sinks: BTreeMap<String, SinkTotals>,
}

/// What one sink was told of one incident or group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Letter {
    /// What the sink confirmed last.
    pub told: Option<Told>,
    /// How telling it the next thing fails.
    pub failing: Option<Failing>,
    touched_us: i64,
}

/// What a sink confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// It believes that the incident is open.
    pub open: bool,
    /// The labels it was told.
    pub labels: BTreeMap<String, String>,
    /// When.
    pub at_us: i64,
}

/// Attempts since the last that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// What is to be told.
    pub step: AlertStep,
    /// How often it was tried.
    pub attempts: u32,
    /// When first.
    pub first_us: i64,
    /// When last.
    pub last_us: i64,
    /// Why the last failed.
    pub why: String,
    /// It is not tried again.
    pub given_up: bool,
}

/// A sink's sums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SinkTotals {
    /// Messages that it confirmed.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts to tell again what had failed before, however they ended.
    pub retried: u64,
    /// Messages that were given up.
    pub given_up: u64,
    /// When it last confirmed one.
    pub delivered_us: Option<i64>,
    /// When and why one last failed.
    pub last_failure: Option<(i64, String)>,
    touched_us: i64,
}

impl Book {
    /// Folds an attempt.
    pub fn alert(&mut self, alert: &Alert, now_us: i64) {
        let letter = self.letters.entry((alert.sink.clone(), alert.key.clone())).or_default();
        letter.touched_us = now_us;
        let is_again = letter.failing.as_ref().is_some_and(|failing| failing.step == alert.step);
        match alert.outcome {
            AlertOutcome::Delivered => {
                let open = alert.step != AlertStep::Resolved;
                letter.told = Some(Told { open, labels: alert.labels.clone(), at_us: now_us });
                letter.failing = None;
            }
            AlertOutcome::Failed | AlertOutcome::GivenUp => {
                let before = letter.failing.take().filter(|failing| failing.step == alert.step);
                letter.failing = Some(Failing {
                    step: alert.step,
                    attempts: before.as_ref().map_or(0, |failing| failing.attempts).saturating_add(1),
                    first_us: before.map_or(now_us, |failing| failing.first_us),
                    last_us: now_us,
                    why: alert.why.clone(),
                    given_up: alert.outcome == AlertOutcome::GivenUp,
                });
            }
        }
        if self.letters.len() > LETTERS_MAX {
            self.forget();
        }
        self.count(alert, is_again, now_us);
    }

    /// Folds a silence. One with the id of another takes its place.
    pub fn silence(&mut self, silence: &Silence, now_us: i64) {
        self.silences.retain(|_, one| one.until_us > now_us - ENDED_SHOWN_US);
        self.silences.insert(silence.id.clone(), silence.clone());
        if self.silences.len() > SILENCES_MAX {
            let first_to_end = self.silences.iter().min_by_key(|(_, one)| one.until_us).map(|(id, _)| id.clone());
            first_to_end.map(|id| self.silences.remove(&id));
        }
    }

    /// Ends a silence now.
    pub fn expire(&mut self, id: &str, now_us: i64) {
        if let Some(silence) = self.silences.get_mut(id) {
            silence.until_us = silence.until_us.min(now_us);
        }
    }

    /// The letters of a sink: the key of each and what is known of it.
    pub fn letters<'a>(&'a self, sink: &str) -> impl Iterator<Item = (&'a str, &'a Letter)> + use<'a> {
        let first = (sink.to_owned(), String::new());
        let sink = sink.to_owned();
        let own = self.letters.range(first..).take_while(move |((of, _), _)| *of == sink);
        own.map(|((_, key), letter)| (key.as_str(), letter))
    }

    /// Silences, by id, with those that ended a short while ago.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// Every sink that was ever written to.
    pub fn sinks(&self) -> impl Iterator<Item = (&str, &SinkTotals)> {
        self.sinks.iter().map(|(name, totals)| (name.as_str(), totals))
    }

    /// Attempts of a sink, however they ended.
    pub fn attempts(&self, sink: &str) -> u64 {
        self.sinks.get(sink).map_or(0, |totals| totals.delivered + totals.failed + totals.given_up)
    }

    fn count(&mut self, alert: &Alert, is_again: bool, now_us: i64) {
        if self.sinks.len() >= SINKS_MAX && !self.sinks.contains_key(&alert.sink) {
            let idlest = self.sinks.iter().min_by_key(|(_, totals)| totals.touched_us).map(|(name, _)| name.clone());
            idlest.map(|name| self.sinks.remove(&name));
        }
        let totals = self.sinks.entry(alert.sink.clone()).or_default();
        totals.touched_us = now_us;
        totals.retried += u64::from(is_again);
        match alert.outcome {
            AlertOutcome::Delivered => {
                totals.delivered += 1;
                totals.delivered_us = Some(now_us);
                return;
            }
            AlertOutcome::Failed => totals.failed += 1,
            AlertOutcome::GivenUp => totals.given_up += 1,
        }
        totals.last_failure = Some((now_us, alert.why.clone()));
    }

    /// Makes room: a tenth goes, first of all those that tell of nothing open.
    fn forget(&mut self) {
        let open = |letter: &Letter| letter.told.as_ref().is_some_and(|told| told.open);
        let mut order: Vec<_> =
            self.letters.iter().map(|(place, letter)| (open(letter), letter.touched_us, place.clone())).collect();
        order.sort();
        for (_, _, place) in order.into_iter().take(LETTERS_MAX / 10) {
            self.letters.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(key: &str, step: AlertStep, outcome: AlertOutcome) -> Alert {
        let labels = BTreeMap::from([("cause".to_owned(), "oom_killed".to_owned())]);
        let why = if outcome == AlertOutcome::Delivered { "" } else { "answered 503" };
        Alert { sink: "chat".to_owned(), key: key.to_owned(), step, outcome, why: why.to_owned(), labels }
    }

    #[test]
    fn a_letter_tells_what_was_confirmed_and_what_fails() {
        let mut book = Book::default();
        book.alert(&alert("a", AlertStep::Opened, AlertOutcome::Failed), 1);
        book.alert(&alert("a", AlertStep::Opened, AlertOutcome::Failed), 5);
        let letter = book.letters("chat").next().unwrap().1.clone();
        let failing = letter.failing.unwrap();
        assert_eq!((letter.told, failing.attempts, failing.first_us, failing.last_us), (None, 2, 1, 5));
        book.alert(&alert("a", AlertStep::Opened, AlertOutcome::Delivered), 9);
        book.alert(&alert("a", AlertStep::Resolved, AlertOutcome::GivenUp), 12);
        let letter = book.letters("chat").next().unwrap().1.clone();
        assert!(letter.told.unwrap().open && letter.failing.unwrap().given_up);
        assert_eq!(book.attempts("chat"), 4);
        assert_eq!(book.sinks().next().unwrap().1.retried, 2, "once in vain, once not");
        assert_eq!(book.letters("cha").count() + book.letters("chats").count(), 0);
    }

    #[test]
    fn what_is_settled_is_forgotten_before_what_is_open() {
        let mut book = Book::default();
        book.alert(&alert("open", AlertStep::Opened, AlertOutcome::Delivered), 0);
        for number in 0..LETTERS_MAX + 1 {
            book.alert(&alert(&number.to_string(), AlertStep::Resolved, AlertOutcome::Delivered), 1 + number as i64);
        }
        assert!(book.letters("chat").count() <= LETTERS_MAX);
        assert!(book.letters("chat").any(|(key, _)| key == "open"));
        assert!(!book.letters("chat").any(|(key, _)| key == "0"));
    }

    #[test]
    fn silences_are_bounded_and_end() {
        let mut book = Book::default();
        for number in 0..SILENCES_MAX as i64 + 10 {
            book.silence(&Silence { id: number.to_string(), until_us: 1_000 + number, ..Default::default() }, 1);
        }
        assert_eq!(book.silences().count(), SILENCES_MAX);
        book.expire("500", 7);
        assert_eq!(book.silences().find(|one| one.id == "500").unwrap().until_us, 7);
    }
}
