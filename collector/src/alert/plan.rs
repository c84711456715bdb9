//! What a sink is to be told next: a pure function of the view (with the book of what it was told), the sink's settings
//! and the view's own time. It sends nothing and waits for nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::message::{Labels, labels};
use super::settings::{Only, Sink};
use crate::book::{Failing, Letter, Told};
use crate::model::{AlertStep, Incident, IncidentState};
use crate::view::View;

/// The first pause after a failure, microseconds; each further one is twice as long.
const PAUSE_US: i64 = 2_000_000;
/// The longest pause, microseconds.
const PAUSE_MAX_US: i64 = 300_000_000;
/// A sink is told of changes to the same incident at most so often, microseconds: verdicts settle in steps.
const CHANGE_US: i64 = 30_000_000;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell it.
    Tell(Tell),
    /// It was never delivered, and what it told of is over.
    GiveUp {
        /// The id of the incident or the group.
        key: String,
        /// What was to be told.
        step: AlertStep,
        /// The labels that it would have had.
        labels: Labels,
    },
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Tell {
    /// The id of the incident or the group.
    pub key: String,
    /// What of it.
    pub step: AlertStep,
    /// The labels now.
    pub labels: Labels,
    /// The labels that the sink knows it by.
    pub before: Option<Labels>,
    /// The incidents it is about, oldest first; none are left where it is long over.
    pub incidents: Vec<Arc<Incident>>,
    /// When the sink last confirmed something of it, microseconds; 0: never.
    pub told_us: i64,
    /// The last attempt: if it fails too, the message is given up.
    pub last: bool,
}

/// The incidents of one key that a sink cares for.
#[derive(Default)]
struct Group<'a> {
    open: Vec<&'a Arc<Incident>>,
    /// Some of them may be told now: not silenced, sure and many enough, open for long enough.
    ripe: bool,
}

/// What `sink` is to be told by `view`, at most `most`. `again_us`: when each open key was last told, confirmed or not.
pub fn plan(sink: &Sink, view: &View, again_us: &HashMap<String, i64>, most: usize) -> Vec<Action> {
    let mut groups = groups(sink, view);
    let letters: BTreeMap<&str, &Letter> = view.book.letters(&sink.name).collect();
    for (key, letter) in &letters {
        if letter.told.as_ref().is_some_and(|told| told.open) || letter.failing.is_some() {
            groups.entry(key).or_default();
        }
    }
    let nothing = Letter::default();
    let actions = groups.iter().filter_map(|(key, group)| {
        let letter = letters.get(key).copied().unwrap_or(&nothing);
        next(sink, view, key, group, letter, again_us.get(*key).copied())
    });
    actions.take(most).collect()
}

/// The pause after so many failed attempts; the same key always pauses the same, different ones not all at once.
pub fn pause_us(key: &str, attempts: u32) -> i64 {
    let longest = PAUSE_US.saturating_mul(1_i64 << attempts.saturating_sub(1).min(20)).min(PAUSE_MAX_US);
    let mut hasher = DefaultHasher::new();
    (key, attempts).hash(&mut hasher);
    longest - longest / 4 * i64::try_from(hasher.finish() % 100).unwrap_or(0) / 100
}

/// The id under which an incident is told to a sink.
fn key<'a>(sink: &Sink, incident: &'a Incident) -> &'a str {
    incident.group.as_deref().filter(|_| sink.group).unwrap_or(&incident.id)
}

fn groups<'a>(sink: &Sink, view: &'a View) -> BTreeMap<&'a str, Group<'a>> {
    let silences: Vec<_> = view.book.silences().filter(|silence| silence.until_us > view.at_us).collect();
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    let open = view.incidents.iter().filter(|one| one.state == IncidentState::Open);
    for incident in open.filter(|one| is_about(&sink.only, one)) {
        let group = groups.entry(key(sink, incident)).or_default();
        group.open.push(incident);
        group.ripe |= view.at_us - incident.first_seen_us >= sink.wait_us
            && incident.verdict.confidence >= sink.only.least_confidence
            && incident.count >= sink.only.least_count
            && !silences.iter().any(|silence| silence.covers(incident));
    }
    groups
}

fn is_about(only: &Only, incident: &Incident) -> bool {
    let cause = incident.verdict.cause;
    let among = |wanted: &[String], is: Option<&str>| wanted.is_empty() || wanted.iter().any(|one| Some(&**one) == is);
    among(&only.families, Some(cause.family().id()))
        && among(&only.causes, Some(cause.id()))
        && among(&only.services, incident.service.as_deref())
}

/// What is to be told of one key.
fn next(
    sink: &Sink,
    view: &View,
    key: &str,
    group: &Group<'_>,
    letter: &Letter,
    again_us: Option<i64>,
) -> Option<Action> {
    let told = letter.told.as_ref().filter(|told| told.open);
    let now = labels(sink, &group.open);
    let Some(step) = step(sink, view.at_us, group, told, &now, again_us) else {
        let failing = letter.failing.as_ref().filter(|failing| !failing.given_up && group.open.is_empty())?;
        return Some(Action::GiveUp { key: key.to_owned(), step: failing.step, labels: now });
    };
    let failing = letter.failing.as_ref().filter(|failing| failing.step == step);
    if failing.is_some_and(|failing| !is_due(failing, key, view.at_us)) {
        return None;
    }
    let over = || view.incidents.iter().filter(|one| self::key(sink, one) == key).cloned().collect();
    Some(Action::Tell(Tell {
        key: key.to_owned(),
        step,
        labels: match step {
            AlertStep::Opened | AlertStep::Changed => now,
            AlertStep::Again | AlertStep::Resolved => told.map(|told| told.labels.clone())?,
        },
        before: told.map(|told| told.labels.clone()),
        incidents: if group.open.is_empty() { over() } else { group.open.iter().copied().cloned().collect() },
        told_us: letter.told.as_ref().map_or(0, |told| told.at_us),
        last: failing.is_some_and(|failing| view.at_us - failing.first_us >= sink.give_up_us),
    }))
}

fn step(
    sink: &Sink,
    now_us: i64,
    group: &Group<'_>,
    told: Option<&Told>,
    now: &Labels,
    again_us: Option<i64>,
) -> Option<AlertStep> {
    let Some(told) = told else { return group.ripe.then_some(AlertStep::Opened) };
    if group.open.is_empty() {
        return Some(AlertStep::Resolved);
    }
    if group.ripe && now_us - told.at_us >= CHANGE_US && differs(sink, &told.labels, now) {
        return Some(AlertStep::Changed);
    }
    // After a restart nobody knows when it was last told: at once, then.
    let due = |resend_us| again_us.is_none_or(|at_us| now_us - at_us >= resend_us);
    sink.resend_us.is_some_and(due).then_some(AlertStep::Again)
}

/// Whether a sink must hear that an incident is not what it was told. One that keeps alerts by their labels must for each
/// of them; people only for another cause, or when it got worse.
fn differs(sink: &Sink, told: &Labels, now: &Labels) -> bool {
    if sink.keeps_by_labels() {
        return told != now;
    }
    let worse = now.get("severity").is_some_and(|severity| severity == "critical");
    told.get("cause") != now.get("cause") || worse && told.get("severity") != now.get("severity")
}

fn is_due(failing: &Failing, key: &str, now_us: i64) -> bool {
    !failing.given_up && now_us - failing.last_us >= pause_us(key, failing.attempts)
}
