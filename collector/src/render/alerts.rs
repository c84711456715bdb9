//! Sinks, letters that did not arrive, silences.

use super::table::Table;
use super::{Style, Tone, option, or_dash, short_time};
use crate::view::*;

/// Sinks, then what did not arrive.
pub fn alerts(doc: &AlertsDoc, style: Style) -> String {
    if doc.sinks.is_empty() {
        return "no sink is configured: see [[alerts.sink]] in the annotated collector.toml\n".to_owned();
    }
    let mut out = sinks(doc, style);
    if !doc.letters.is_empty() {
        out.push('\n');
        out.push_str(&letters(doc, style));
    }
    out
}

fn sinks(doc: &AlertsDoc, style: Style) -> String {
    let columns = ["SINK", "KIND", "TO", "OPEN", "DELIVERED", "LAST", "FAILED", "RETRYING", "GIVEN UP", "LAST FAULT"];
    let mut table = Table::with_prose(&columns, &["OPEN", "FAILED", "DELIVERED", "TO"]);
    for sink in &doc.sinks {
        let tone = match sink {
            sink if !sink.configured => Tone::Faint,
            sink if sink.retrying > 0 => Tone::Bad,
            _ => Tone::Plain,
        };
        let time = |at: &Option<String>| at.as_ref().map_or_else(|| "-".to_owned(), |at| short_time(at, &doc.at));
        let fault = match &sink.last_failed {
            Some(at) => format!("{}: {}", short_time(at, &doc.at), sink.last_fault),
            None => "-".to_owned(),
        };
        table.row(
            tone,
            vec![
                sink.name.clone(),
                if sink.configured { or_dash(&sink.kind) } else { "not configured".to_owned() },
                or_dash(&sink.to.join(" ")),
                sink.open.to_string(),
                sink.delivered.to_string(),
                time(&sink.last_delivered),
                sink.failed.to_string(),
                sink.retrying.to_string(),
                sink.given_up.to_string(),
                fault,
            ],
        );
    }
    table.render(style)
}

fn letters(doc: &AlertsDoc, style: Style) -> String {
    let mut table = Table::with_prose(
        &["NOT DELIVERED", "SINK", "STEP", "STATE", "ATTEMPTS", "FIRST", "LAST", "WHY"],
        &["FIRST", "ATTEMPTS", "STEP"],
    );
    for letter in &doc.letters {
        table.row(
            if letter.state == "retrying" { Tone::Warn } else { Tone::Bad },
            vec![
                letter.key.clone(),
                letter.sink.clone(),
                letter.step.clone(),
                letter.state.replace('_', " "),
                letter.attempts.to_string(),
                short_time(&letter.first_attempt, &doc.at),
                short_time(&letter.last_attempt, &doc.at),
                letter.why.clone(),
            ],
        );
    }
    table.render(style)
}

/// Silences.
pub fn silences(doc: &SilencesDoc, style: Style) -> String {
    if doc.silences.is_empty() {
        return "no silence holds\n".to_owned();
    }
    let columns = ["ID", "STATE", "UNTIL", "SERVICE", "HOST", "UPSTREAM", "GATEWAY", "FAMILY", "CAUSE", "COMMENT"];
    let mut table = Table::with_prose(&columns, &["STATE", "FAMILY"]);
    for silence in &doc.silences {
        table.row(
            if silence.active { Tone::Plain } else { Tone::Faint },
            vec![
                silence.id.clone(),
                if silence.active { "active" } else { "ended" }.to_owned(),
                short_time(&silence.until, &doc.at),
                option(silence.service.as_deref()),
                option(silence.host.as_deref()),
                option(silence.upstream.as_deref()),
                option(silence.gateway.as_deref()),
                option(silence.family.as_deref()),
                option(silence.cause.as_deref()),
                or_dash(&silence.comment),
            ],
        );
    }
    table.render(style)
}
