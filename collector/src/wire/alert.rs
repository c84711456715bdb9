//! Alerts and silences: the collector's own records, and what people ask for.

use why502_proto::v1;

use super::bounds::{self, Line};
use super::{HOST_MAX, Incoming, Refused, incoming};
use crate::model::{Alert, AlertOutcome, AlertStep, CATALOGUE, Silence};

/// Longest silence, microseconds (a year).
const SILENCE_MAX_US: i64 = 365 * 86_400_000_000;
/// Most labels of an alert.
const LABELS_MAX: usize = 64;

/// An attempt to tell somebody.
pub fn alert(alert: Alert) -> Incoming {
    let step = match alert.step {
        AlertStep::Opened => v1::alert_record::Step::Opened,
        AlertStep::Changed => v1::alert_record::Step::Changed,
        AlertStep::Again => v1::alert_record::Step::Again,
        AlertStep::Resolved => v1::alert_record::Step::Resolved,
    };
    let outcome = match alert.outcome {
        AlertOutcome::Delivered => v1::alert_record::Outcome::Delivered,
        AlertOutcome::Failed => v1::alert_record::Outcome::Failed,
        AlertOutcome::GivenUp => v1::alert_record::Outcome::GivenUp,
    };
    incoming(v1::journal_record::Kind::Alert(v1::AlertRecord {
        sink: alert.sink,
        key: alert.key,
        step: step.into(),
        outcome: outcome.into(),
        why: alert.why,
        labels: alert.labels.into_iter().collect(),
    }))
}

/// Checks a silence that is asked for at `now_us`, and gives it its id.
pub fn silence(asked: v1::SilenceRequest, id: String, now_us: i64) -> Result<Incoming, Refused> {
    let lasts_us = i64::try_from(asked.lasts_us).unwrap_or(i64::MAX);
    if !(1..=SILENCE_MAX_US).contains(&lasts_us) {
        return Err(Refused("a silence must last more than nothing and at most 365d".to_owned()));
    }
    let only = asked.only.unwrap_or_default();
    if only == v1::SilenceOnly::default() {
        let what = "a silence must say what it is for: a service, host, upstream, gateway, cause or family";
        return Err(Refused(what.to_owned()));
    }
    let texts = [&only.service, &only.host, &only.upstream, &only.gateway, &only.cause, &only.family];
    if texts.iter().any(|text| text.len() > HOST_MAX) || asked.comment.len() > bounds::LINE_MAX {
        return Err(Refused(format!("a name of a silence has at most {HOST_MAX} bytes")));
    }
    if !only.cause.is_empty() && CATALOGUE.iter().all(|entry| entry.id != only.cause) {
        return Err(Refused(format!("there is no cause {:?}; see why502 causes", only.cause)));
    }
    if !only.family.is_empty() && CATALOGUE.iter().all(|entry| entry.family.id() != only.family) {
        return Err(Refused(format!("there is no family {:?}; see why502 causes", only.family)));
    }
    let until_unix_us = now_us.saturating_add(lasts_us);
    let record = v1::SilenceRecord { id, until_unix_us, only: Some(only), comment: asked.comment };
    Ok(incoming(v1::journal_record::Kind::Silence(record)))
}

/// A silence ends now.
pub fn silence_expired(id: String) -> Incoming {
    incoming(v1::journal_record::Kind::SilenceExpired(v1::SilenceExpired { id }))
}

/// An attempt in the model's words. None: of a kind that this collector does not know.
pub fn alert_record(line: &mut Line<'_>, record: v1::AlertRecord) -> Option<Alert> {
    let step = match v1::alert_record::Step::try_from(record.step) {
        Ok(v1::alert_record::Step::Opened) => AlertStep::Opened,
        Ok(v1::alert_record::Step::Changed) => AlertStep::Changed,
        Ok(v1::alert_record::Step::Again) => AlertStep::Again,
        Ok(v1::alert_record::Step::Resolved) => AlertStep::Resolved,
        Ok(v1::alert_record::Step::Unspecified) | Err(_) => return None,
    };
    let outcome = match v1::alert_record::Outcome::try_from(record.outcome) {
        Ok(v1::alert_record::Outcome::Delivered) => AlertOutcome::Delivered,
        Ok(v1::alert_record::Outcome::Failed) => AlertOutcome::Failed,
        Ok(v1::alert_record::Outcome::GivenUp) => AlertOutcome::GivenUp,
        Ok(v1::alert_record::Outcome::Unspecified) | Err(_) => return None,
    };
    let labels = record.labels.into_iter().take(LABELS_MAX);
    Some(Alert {
        sink: line.name(record.sink),
        key: line.name(record.key),
        step,
        outcome,
        why: line.line(record.why),
        labels: labels.map(|(name, value)| (line.name(name), line.name(value))).collect(),
    })
}

/// A silence in the model's words.
pub fn silence_record(line: &mut Line<'_>, record: v1::SilenceRecord) -> Silence {
    let only = record.only.unwrap_or_default();
    let mut some = |text: String| Some(line.host(text)).filter(|text| !text.is_empty());
    Silence {
        family: some(only.family),
        cause: some(only.cause),
        service: some(only.service),
        host: some(only.host),
        upstream: some(only.upstream),
        gateway: some(only.gateway),
        id: line.name(record.id),
        until_us: record.until_unix_us,
        comment: line.line(record.comment),
    }
}
