//! The dependency that an application's log line speaks of: by its address, or by what kind of service it is; and what is
//! known of it here.

use super::scene::Scene;
use crate::model::{Address, Evidence, LogMatch};

/// Services that applications depend on, by the words that lines use for them.
const KINDS: &[&str] = &[
    "redis",
    "memcached",
    "etcd",
    "zookeeper",
    "consul",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongodb",
    "kafka",
    "rabbitmq",
    "elasticsearch",
    "cassandra",
    "nats",
    "s3",
    "ldap",
    "smtp",
];
/// What surrounds an address in a line.
const AROUND: &[char] = &[' ', '\t', '"', '\'', ',', ';', '(', ')', '<', '>', '=', '{', '}'];

/// What a line names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Dependency {
    /// What kind of service, such as "redis".
    pub kind: Option<String>,
    /// Where it is, as the line writes it.
    pub address: Option<String>,
}

impl Dependency {
    /// The dependency that a line names; None where it names none.
    pub(super) fn of(line: &str) -> Option<Self> {
        let lower = line.to_ascii_lowercase();
        let words = || lower.split(|c: char| !c.is_ascii_alphanumeric());
        let kind = KINDS.iter().find(|kind| words().any(|word| word == **kind)).map(|kind| (*kind).to_owned());
        let address = line.split(AROUND).find_map(address);
        (kind.is_some() || address.is_some()).then_some(Self { kind, address })
    }

    /// In words: "redis at 10.0.0.5:6379".
    pub(super) fn words(&self) -> String {
        match (&self.kind, &self.address) {
            (Some(kind), Some(address)) => format!("{kind} at {address}"),
            (Some(word), None) | (None, Some(word)) => word.clone(),
            (None, None) => String::new(),
        }
    }
}

/// A word that is "host:port" or a URL with one.
fn address(word: &str) -> Option<String> {
    let rest = word.split_once("://").map_or(word, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or(rest);
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place).trim_end_matches(['.', ':', ']', '!']);
    let (host, port) = place.rsplit_once(':')?;
    let port_like = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let host_like = host.contains('.') || host.starts_with('[') || word.contains("://") || host == "localhost";
    // A time of day has such a form as well.
    let time_like = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'-' || byte == b'T');
    (port_like && host_like && !time_like).then(|| place.to_owned())
}

/// The dependency that the newest of some log lines names, with what is known of it, as evidence.
pub(super) fn named_in(scene: &Scene, at_us: i64, found: &LogMatch) -> Vec<Evidence> {
    let Some(dependency) = Dependency::of(&found.line) else { return Vec::new() };
    let says = format!("the dependency that its log speaks of: {}", dependency.words());
    let mut evidence = vec![scene.from_host(at_us, "app_log", says)];
    evidence.extend(dependency.address.as_deref().and_then(|address| state_of(scene, address)));
    evidence
}

/// What an agent on the dependency's own host saw of it.
fn state_of(scene: &Scene, address: &str) -> Option<Evidence> {
    let place = scene.fleet.locate(scene.host_name(), &Address::parse(address));
    let (host, service) = (place.host?, place.service?);
    let entry = scene.fleet.host(&host)?;
    let sample = entry.state.instances.get(&service)?.sample.as_deref()?;
    let ended = entry.history.last_end(&service).filter(|(at_us, _)| *at_us <= scene.failures.last_us);
    let says = match (sample.process_count, ended) {
        (0, Some((at_us, _))) => {
            let ago_s = (scene.failures.last_us - at_us) / 1_000_000;
            format!("{address} is {service} on {host}, which ended {ago_s} s before the newest failure")
        }
        (0, None) => format!("{address} is {service} on {host}, which does not run"),
        _ => format!("{address} is {service} on {host}, which runs"),
    };
    Some(Evidence { at_us: sample.at_us, host, source: "process", says })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        Dependency::of(line).map(|dependency| dependency.words()).unwrap_or_default()
    }

    #[test]
    fn lines_name_what_they_wait_for() {
        assert_eq!(words("Error: connect ECONNREFUSED 10.0.0.5:6379 (redis)"), "redis at 10.0.0.5:6379");
        assert_eq!(
            words("cache failure: redis://user:pw@cache.internal:6379/0 timed out"),
            "redis at cache.internal:6379"
        );
        assert_eq!(words("2026-11-22T14:32:01 task report timed out"), "");
        assert_eq!(words("14:32:01 task timed out waiting for postgres"), "postgres");
        assert_eq!(
            words("task export exceeded its time limit calling http://reports.internal:8080/x"),
            "reports.internal:8080"
        );
        assert_eq!(words("could not reach [fd00::5]:2379"), "[fd00::5]:2379");
    }
}
