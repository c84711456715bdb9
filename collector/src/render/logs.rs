//! Lines of logs, newest first, with where each came from.

use std::fmt::Write;

use super::{Style, Tone, nobody, short_time};
use crate::view::*;

/// The lines, and what is not among them.
pub fn logs(doc: &LogsDoc, style: Style) -> String {
    if !doc.near.is_empty() {
        return nobody(&doc.target, &doc.near);
    }
    let mut out = String::new();
    if doc.lines.is_empty() {
        let (from, to) = (short_time(&doc.from, ""), short_time(&doc.to, &doc.from));
        let _ = writeln!(out, "no line of {} was sent that fits, from {from} to {to}", clean(&doc.target));
    }
    for line in &doc.lines {
        let tone = match line.level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Warn,
            _ => Tone::Plain,
        };
        let at = short_time(&line.at, &doc.to);
        let level = style.paint(tone, &format!("{:5}", clean(&line.level)));
        let _ = writeln!(out, "{at}  {level}  {}: {}{}", origin(line), clean(&line.line), alike(line.repeats));
        if !line.reason.is_empty() {
            let _ = writeln!(out, "{}  because: {}", " ".repeat(at.len()), clean(&line.reason));
        }
    }
    let said = [
        (doc.not_sent, "like lines were counted by the agents and not sent".to_owned()),
        (
            doc.left_out,
            format!(
                "older lines are left out: at most {} of one source in an hour are told, {} in all",
                doc.per_hour, doc.in_all
            ),
        ),
        (doc.sources_left_out, "instances and ways to upstreams of it are not looked at: name one".to_owned()),
    ];
    for (count, what) in said.iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(out, "{}", style.paint(Tone::Faint, &format!("{count} {what}")));
    }
    for why in &doc.unreadable {
        let _ = writeln!(out, "{}", style.paint(Tone::Warn, &clean(why)));
    }
    out
}

fn origin(line: &LogLineDoc) -> String {
    let of = if line.of.is_empty() { String::new() } else { format!(" {}", line.of) };
    let about = [&line.file, &line.upstream].into_iter().find(|text| !text.is_empty());
    let about = about.map(|text| format!(" ({text})")).unwrap_or_default();
    clean(&format!("{}{of} on {}{about} {}", line.source, line.host, line.kind)).into_owned()
}

fn alike(repeats: u32) -> String {
    if repeats == 0 { String::new() } else { format!("  (and {repeats} like it)") }
}
