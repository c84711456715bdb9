//! One look at this host for a person who stands in front of it: is each service there, does it listen, does it answer,
//! is anything near its limit. A line each with a mark; no collector is needed and nothing is kept. Looking and asking
//! happen here; `findings` judges, purely.

mod findings;

use std::fmt::Write;
use std::io;

use serde::Serialize;
use why502_proto::v1::HealthResult;

use crate::config::{Config, Service};
use crate::observe::{self, Look};
use crate::sampler::health;

pub use findings::{Finding, Mark};

/// What a look found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The host's name.
    pub host: String,
    /// "healthy", "unhealthy" or "unknown".
    pub verdict: Verdict,
    /// One for each thing looked at.
    pub findings: Vec<Finding>,
}

/// How it stands as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing failed. Warnings may stand.
    Healthy,
    /// Something failed.
    Unhealthy,
    /// Nothing failed that could be seen, and something could not be seen.
    Unknown,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No service has that name.
    #[error("no service is named {0:?} here; there are: {1}")]
    NoService(String, String),
    /// The runtime could not start.
    #[error("can't start: {0}")]
    Start(#[from] io::Error),
}

/// Looks at all services and the host, or at one service.
pub fn run(config: &Config, service: Option<&str>) -> Result<Report, Fault> {
    let mut look = observe::look(config);
    if let Some(wanted) = service {
        let names: Vec<&str> = look.instances.iter().map(|instance| instance.service.as_str()).collect();
        if !names.contains(&wanted) {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Fault::NoService(wanted.to_owned(), shown(&names)));
        }
        look.instances.retain(|instance| instance.service == wanted);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = config.services.iter().filter(|one| look.instances.iter().any(|found| found.service == one.name));
    let health = runtime.block_on(ask(asked));
    Ok(report(config, &look, &health))
}

/// Asks all services at once.
async fn ask(services: impl Iterator<Item = &Service>) -> Vec<HealthResult> {
    let mut tasks = tokio::task::JoinSet::new();
    for service in services {
        let service = service.clone();
        tasks.spawn(async move { health::once(&service).await });
    }
    let mut results: Vec<HealthResult> = tasks.join_all().await.into_iter().flatten().collect();
    results.sort_by(|left, right| (&left.service, &left.url).cmp(&(&right.service, &right.url)));
    results
}

fn report(config: &Config, look: &Look, health: &[HealthResult]) -> Report {
    let findings = findings::all(config, look, health);
    let any = |mark| findings.iter().any(|finding: &Finding| finding.mark == mark);
    let verdict = match () {
        () if any(Mark::Failed) => Verdict::Unhealthy,
        () if any(Mark::Unknown) => Verdict::Unknown,
        () => Verdict::Healthy,
    };
    Report { host: config.host.clone(), verdict, findings }
}

impl Report {
    /// For people: a line each.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let mark = match finding.mark {
                Mark::Ok => '✓',
                Mark::Warning | Mark::Unknown => '!',
                Mark::Failed => '✗',
            };
            // Writing to a String can't fail.
            let _ = writeln!(text, "{mark} {}: {}", shown(&finding.subject), shown(&finding.says));
        }
        text
    }

    /// For programs: one document.
    pub fn json(&self) -> String {
        serde_json::to_string(self).map_or_else(|_| String::new(), |json| json + "\n")
    }
}

/// Text from outside as it may reach a terminal: nothing in it moves the cursor or turns the direction of writing.
fn shown(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|c| {
            if hidden(c) { c.escape_unicode().collect::<String>() } else { c.to_string() }.chars().collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests;
