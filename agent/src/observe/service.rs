//! A watched service: one of the configuration, or one found by its listening sockets where none is configured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::{self, Listen};
use crate::sampler::process::matching;

/// Most services that are found.
pub const FOUND_LIMIT: usize = 128;
/// A found service without a process is told of so long.
const RETIRE_AFTER: Duration = Duration::from_secs(3600);

/// Connections that wait this long to be accepted are a sign of trouble.
const WAITING: Duration = Duration::from_millis(900);

/// A service and what was last seen of it.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, unique.
    pub name: String,
    /// Where gateways reach it. Empty for a found one.
    pub listen: Vec<Listen>,
    /// Its processes are those that hold the sockets of `listen`.
    pub by_listener: bool,
    /// By what it was found. None: it is configured.
    pub found: Option<Found>,
    /// Addresses it listened on at the last look.
    pub listening: BTreeMap<String, u64>,
    /// Since when connections were seen waiting to be accepted at each look.
    pub waiting_since: Option<Instant>,
    /// When a process of it was seen last.
    pub seen: Instant,
    /// The executable and the arguments of its leader, where no rule tells a process of it before it listens.
    pub command: Option<(String, String)>,
}

/// What names a found service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its unit.
    Unit(String),
    /// Its leader's command, and its lowest port: two of one command are two services.
    Command(String, u16),
}

impl Service {
    /// A configured one.
    pub fn declared(config: &config::Service) -> Self {
        Self {
            name: config.name.clone(),
            listen: config.listen.clone(),
            by_listener: matching::by_listener(&config.matcher),
            found: None,
            listening: BTreeMap::new(),
            waiting_since: None,
            seen: Instant::now(),
            command: None,
        }
    }

    /// A found one, under a name that no other has.
    pub fn found(found: Found, others: &[Service]) -> Self {
        let taken = |name: &str| others.iter().any(|s| s.name == name);
        let base = match &found {
            Found::Unit(unit) => unit.strip_suffix(".service").unwrap_or(unit).to_owned(),
            Found::Command(command, _) => command.clone(),
        };
        let numbered = match &found {
            Found::Command(command, port) => format!("{command}-{port}"),
            Found::Unit(unit) => unit.clone(),
        };
        let name = if !taken(&base) { base } else { numbered };
        Self {
            name,
            listen: Vec::new(),
            by_listener: false,
            found: Some(found),
            listening: BTreeMap::new(),
            waiting_since: None,
            seen: Instant::now(),
            command: None,
        }
    }

    /// Its processes are told by the sockets that they hold.
    pub fn is_told_by_sockets(&self) -> bool {
        self.by_listener || self.found.is_some()
    }

    /// Connections have been waiting for longer than a moment.
    pub fn keeps_waiting(&self) -> bool {
        self.waiting_since.is_some_and(|since| since.elapsed() >= WAITING)
    }

    /// It was found, ended, and is no longer spoken of.
    pub fn retired(&self, now: Instant) -> bool {
        self.found.is_some() && now.duration_since(self.seen) > RETIRE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let first = Service::found(Found::Command("node".into(), 3000), &[]);
        let second = Service::found(Found::Command("node".into(), 3001), std::slice::from_ref(&first));
        let unit = Service::found(Found::Unit("api.service".into()), &[first.clone(), second.clone()]);
        assert_eq!([first.name, second.name, unit.name], ["node", "node-3001", "api"]);
    }
}
