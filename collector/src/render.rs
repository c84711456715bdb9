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
mod watch;
mod words;

pub use watch::Watch;
use words::{nobody, option, or_dash, percent, short_time, size};

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
    /// Within a margin of so many columns.
    fn within(self, margin: usize) -> Self {
        Self { width: self.width.map(|width| width.saturating_sub(margin)), ..self }
    }

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
