//! Who was told of what, and what nobody is told of: sinks, letters that did not arrive, silences.

use std::collections::BTreeMap;

use super::View;
use super::document::*;
use crate::book::{Letter, SinkTotals};
use crate::model::{AlertStep, Silence};

/// Letters that `alerts` lists.
const LETTERS_MAX: usize = 200;

/// Sinks and the letters that did not arrive.
pub fn alerts_doc(view: &View) -> AlertsDoc {
    let names = view.book.sinks().map(|(name, _)| name);
    let letters =
        names.flat_map(|name| view.book.letters(name).filter_map(move |(key, letter)| letter_doc(name, key, letter)));
    let mut letters: Vec<LetterDoc> = letters.collect();
    letters.sort_by(|a, b| (&b.last_attempt, &b.key).cmp(&(&a.last_attempt, &a.key)));
    letters.truncate(LETTERS_MAX);
    AlertsDoc { at: stamp(view.at_us), sinks: sink_docs(view), letters }
}

/// Sinks by name: those of the configuration, and those that were told something before.
pub fn sink_docs(view: &View) -> Vec<SinkDoc> {
    let mut sinks: BTreeMap<String, SinkDoc> = BTreeMap::new();
    for info in view.stats.sinks.iter() {
        let doc = SinkDoc { kind: info.kind.clone(), to: info.to.clone(), configured: true, ..SinkDoc::default() };
        sinks.insert(info.name.clone(), doc);
    }
    for (name, totals) in view.book.sinks() {
        let doc = sinks.entry(name.to_owned()).or_default();
        fill(doc, totals);
        for (_, letter) in view.book.letters(name) {
            doc.open += u64::from(letter.told.as_ref().is_some_and(|told| told.open));
            doc.retrying += u64::from(letter.failing.as_ref().is_some_and(|failing| !failing.given_up));
        }
    }
    sinks.into_iter().map(|(name, doc)| SinkDoc { name, ..doc }).collect()
}

fn fill(doc: &mut SinkDoc, totals: &SinkTotals) {
    doc.delivered = totals.delivered;
    doc.failed = totals.failed;
    doc.retried = totals.retried;
    doc.given_up = totals.given_up;
    doc.last_delivered = totals.delivered_us.map(stamp);
    doc.last_failed = totals.last_failure.as_ref().map(|(at_us, _)| stamp(*at_us));
    doc.last_fault = totals.last_failure.as_ref().map(|(_, why)| why.clone()).unwrap_or_default();
}

fn letter_doc(sink: &str, key: &str, letter: &Letter) -> Option<LetterDoc> {
    let failing = letter.failing.as_ref()?;
    Some(LetterDoc {
        sink: sink.to_owned(),
        key: key.to_owned(),
        state: if failing.given_up { "given_up" } else { "retrying" }.to_owned(),
        step: word(failing.step).to_owned(),
        attempts: failing.attempts,
        first_attempt: stamp(failing.first_us),
        last_attempt: stamp(failing.last_us),
        why: failing.why.clone(),
    })
}

/// The word for a step, as documents and messages write it.
pub fn word(step: AlertStep) -> &'static str {
    match step {
        AlertStep::Opened => "opened",
        AlertStep::Changed => "changed",
        AlertStep::Again => "again",
        AlertStep::Resolved => "resolved",
    }
}

/// Silences, those that hold first.
pub fn silences_doc(view: &View) -> SilencesDoc {
    let mut silences: Vec<SilenceDoc> = view.book.silences().map(|silence| silence_doc(silence, view.at_us)).collect();
    silences.sort_by(|a, b| (b.active, &a.until, &a.id).cmp(&(a.active, &b.until, &b.id)));
    SilencesDoc { at: stamp(view.at_us), silences }
}

fn silence_doc(silence: &Silence, now_us: i64) -> SilenceDoc {
    SilenceDoc {
        id: silence.id.clone(),
        active: silence.until_us > now_us,
        until: stamp(silence.until_us),
        service: silence.service.clone(),
        host: silence.host.clone(),
        upstream: silence.upstream.clone(),
        gateway: silence.gateway.clone(),
        family: silence.family.clone(),
        cause: silence.cause.clone(),
        comment: silence.comment.clone(),
    }
}
