//! The bench: what the programs cost, on reference hosts made for it, beside the programs that people run today.
//!
//! A reference host is made in namespaces of its own (network, processes, mounts), so that it is the same everywhere and
//! gone when the bench ends.

pub mod agent;
pub mod crowd;
pub mod host;
pub mod ingest;
pub mod limit;
pub mod meter;
pub mod peers;
pub mod read;
pub mod stream;
pub mod values;
pub mod wire;

use std::time::Duration;

use crate::lab::Done;

/// The options of a subcommand, each with its value: `--name value`.
pub struct Options(Vec<(String, String)>);

impl Options {
    /// Takes the arguments apart; those not in `known` are refused.
    pub fn parse(arguments: &[String], known: &[&str]) -> Done<Self> {
        let mut options = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument.strip_prefix("--").filter(|name| known.contains(name));
            let name = name.ok_or(format!("unknown argument {argument}: known are --{}", known.join(", --")))?;
            let value = rest.next().ok_or(format!("{argument} needs a value"))?;
            options.push((name.to_owned(), value.clone()));
        }
        Ok(Self(options))
    }

    /// An option's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub fn number(&self, name: &str, default: usize) -> Done<usize> {
        self.get(name).map_or(Ok(default), |text| text.parse().map_err(|fault| format!("--{name} {text}: {fault}")))
    }
}

/// A share of one core, in percent.
pub fn percent(cpu: Duration, of: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / of.as_secs_f64().max(f64::MIN_POSITIVE)
}
