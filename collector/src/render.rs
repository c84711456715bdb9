//! Documents as people read them: aligned tables, `why` as a report to paste into a chat. Everything that came from
//! outside passes [`clean`](crate::view::clean) on its way; colour only where asked, and never part of a width.

use crate::view::*;

mod advise;
mod alerts;
mod environment;
mod fleet;
mod incident;
mod logs;
pub mod page;
mod table;
#[cfg(test)]
mod tests;
mod timeline;

/// How it should look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Use ANSI colours.
    pub colour: bool,
    /// Columns of the terminal. None: it goes elsewhere.
    pub width: Option<usize>,
}

/// How urgent a line is, and so its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
}

impl Style {
    fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Warn => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Renders a document of that name.
pub fn document(name: &str, json: &str, style: Style) -> Result<String, serde_json::Error> {
    Ok(match name {
        "status" => fleet::status(&serde_json::from_str(json)?, style),
        "hosts" => fleet::hosts(&serde_json::from_str(json)?, style),
        "instances" => fleet::instances(&serde_json::from_str(json)?, style),
        "gateways" => fleet::gateways(&serde_json::from_str(json)?, style),
        "why" => incident::why(&serde_json::from_str(json)?, style),
        "timeline" => timeline::timeline(&serde_json::from_str(json)?, style),
        "logs" => logs::logs(&serde_json::from_str(json)?, style),
        "environment" => environment::environment(&serde_json::from_str(json)?, style),
        "alerts" => alerts::alerts(&serde_json::from_str(json)?, style),
        "silences" => alerts::silences(&serde_json::from_str(json)?, style),
        "advise" => advise::advise(&serde_json::from_str(json)?, style),
        "causes" => incident::causes(&serde_json::from_str(json)?, style),
        _ => incident::incidents(&serde_json::from_str::<IncidentsDoc>(json)?.incidents, style),
    })
}

/// Renders one line of `watch`.
pub fn watch_line(json: &str, style: Style) -> Result<String, serde_json::Error> {
    Ok(incident::watch(&serde_json::from_str(json)?, style))
}

/// A stamp without its date where that is the date of `now`, without milliseconds, with the Z of UTC.
fn short_time(stamp: &str, now: &str) -> String {
    let seconds = stamp.split('.').next().unwrap_or(stamp).trim_end_matches('Z');
    let shown = match (seconds.split_once('T'), now.split_once('T')) {
        (Some((date, time)), Some((today, _))) if date == today => format!("{time}Z"),
        (Some((date, time)), _) => format!("{date} {time}Z"),
        _ => stamp.to_owned(),
    };
    clean(&shown).into_owned()
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.0}%", ratio * 100.0))
}

fn size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 { format!("{:.1} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { clean(text).into_owned() }
}

fn option(text: Option<&str>) -> String {
    or_dash(text.unwrap_or_default())
}
