//! `collector.toml` as parsed types. Text becomes these once, here; a fault names file, line and what is wrong.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::alert;
use crate::capsule;
use crate::identity::{self, MinVersion};
use crate::journal;
use crate::view::parse_duration;

/// What the collector was told to do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where agents connect.
    pub ingest: Ingest,
    /// Where questions come in.
    pub api: Api,
    /// What is kept, and where.
    pub store: Store,
    /// Who is told of incidents.
    pub alerts: alert::Settings,
    /// How TLS is spoken.
    pub tls: Tls,
}

/// Where agents connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// The address; port 0 takes a free one, which is logged.
    pub listen: SocketAddr,
    /// Plain text beyond loopback is accepted.
    pub insecure: bool,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 5020)), insecure: false }
    }
}

/// Where questions come in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// The address; port 0 takes a free one, which is logged.
    pub listen: SocketAddr,
    /// Plain text beyond loopback is accepted.
    pub insecure: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 5021)), insecure: false }
    }
}

/// How TLS is spoken. Without a CA of its own or files of another's the collector speaks plain text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Roots of somebody else's CA that sign hosts' and people's certificates.
    pub ca: Option<PathBuf>,
    /// The collector's certificate by that CA.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Further names and addresses in the certificate that the collector makes for itself.
    pub names: Vec<String>,
    /// The oldest version of TLS that is spoken.
    pub min_version: MinVersion,
    /// How long a host's certificate is good.
    #[serde(deserialize_with = "host_life")]
    pub host_life: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        let host_life = Duration::from_secs(7 * 86_400);
        Self { ca: None, cert: None, key: None, names: Vec::new(), min_version: MinVersion::default(), host_life }
    }
}

/// What is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The folder; made if there is none.
    pub dir: PathBuf,
    /// Records older than this go.
    #[serde(deserialize_with = "duration")]
    pub max_age: Duration,
    /// The oldest records go while the journal is larger, bytes.
    #[serde(deserialize_with = "bytes")]
    pub max_bytes: u64,
    /// Capsules of incidents older than this go.
    #[serde(deserialize_with = "duration")]
    pub capsules_max_age: Duration,
    /// The oldest capsules go while all together are larger, bytes.
    #[serde(deserialize_with = "bytes")]
    pub capsules_max_bytes: u64,
}

impl Default for Store {
    fn default() -> Self {
        let limits = journal::Options::default().limits;
        Self {
            dir: PathBuf::from("/var/lib/why502"),
            max_age: limits.max_age,
            max_bytes: limits.max_bytes,
            capsules_max_age: Duration::from_secs(90 * 86_400),
            capsules_max_bytes: 1 << 30,
        }
    }
}

impl Store {
    /// The identity's folder: the collector's own CA, tokens, revoked hosts.
    pub fn identity_dir(&self) -> PathBuf {
        self.dir.join("identity")
    }

    /// The journal's folder.
    pub fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// The capsules' folder.
    pub fn capsules_dir(&self) -> PathBuf {
        self.dir.join("capsules")
    }

    /// How much of capsules is kept.
    pub fn capsules_limits(&self) -> capsule::Limits {
        capsule::Limits { max_age: self.capsules_max_age, max_bytes: self.capsules_max_bytes }
    }

    /// How the journal is kept.
    pub fn journal_options(&self) -> journal::Options {
        let limits = journal::Limits { max_age: self.max_age, max_bytes: self.max_bytes };
        journal::Options { limits, ..journal::Options::default() }
    }
}

/// Why a configuration was not taken: one line, "file:line: what".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// How the doors are guarded; None where neither a CA was made nor certificates are given.
    pub fn identity(&self) -> Result<Option<identity::Settings>, ConfigError> {
        let Tls { ca, cert, key, names, min_version, host_life } = self.tls.clone();
        let dir = self.store.identity_dir();
        let source = match (ca, cert, key) {
            (Some(ca), Some(cert), Some(key)) => identity::Source::Given { ca, cert, key },
            (None, None, None) if dir.join(identity::files::ROOTS).exists() => identity::Source::Own(names),
            (None, None, None) => return Ok(None),
            _ => return Err(ConfigError("[tls] needs ca, cert and key, all three or none".to_owned())),
        };
        Ok(Some(identity::Settings { dir, source, min_version, host_life }))
    }

    /// Whether a door would be open to a network though nobody asked for that: then the collector makes itself a CA.
    pub fn must_found_a_ca(&self) -> bool {
        let Tls { ca, cert, key, .. } = &self.tls;
        let none_given = ca.is_none() && cert.is_none() && key.is_none();
        let doors = [(self.ingest.listen, self.ingest.insecure), (self.api.listen, self.api.insecure)];
        let guarded = doors.iter().any(|(listen, insecure)| !insecure && !listen.ip().is_loopback());
        none_given && guarded && !self.store.identity_dir().join(identity::files::ROOTS).exists()
    }

    /// Parses the text of the file called `name`.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let what = error.message().lines().collect::<Vec<_>>().join(": ");
            ConfigError(format!("{name}:{line}: {what}"))
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let us = parse_duration(&text).map_err(serde::de::Error::custom)?;
    if us < 60_000_000 {
        return Err(serde::de::Error::custom("this must be at least \"1m\""));
    }
    Ok(Duration::from_micros(us.unsigned_abs()))
}

fn host_life<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let us = parse_duration(&text).map_err(serde::de::Error::custom)?;
    match u64::try_from(us) {
        Ok(us @ 10_000_000..=34_128_000_000_000) => Ok(Duration::from_micros(us)),
        _ => Err(serde::de::Error::custom("host_life must be \"10s\" to \"395d\"")),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bad = || serde::de::Error::custom(format!("{text:?} is not a size such as \"512MiB\" or \"10GiB\""));
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(unit_at);
    let unit: u64 = match unit.trim_start() {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(bad()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(bad)?;
    if size < 1 << 20 {
        return Err(serde::de::Error::custom("this must be at least \"1MiB\""));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Config::parse(text, "collector.toml").unwrap_err().to_string()
    }

    #[test]
    fn the_annotated_file_is_valid_and_says_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/collector.toml");
        assert_eq!(Config::load(&path).unwrap(), Config::default());
        assert_eq!(Config::parse("", "empty").unwrap(), Config::default());
    }

    #[test]
    fn a_fault_is_one_line_with_file_and_line() {
        let unknown = fault("[ingest]\nlisten = \"0.0.0.0:1\"\nlissten = 1\n");
        assert!(unknown.starts_with("collector.toml:3: unknown field `lissten`"), "{unknown}");
        let address = fault("\n[api]\nlisten = \"localhost\"\n");
        assert!(address.starts_with("collector.toml:3: ") && address.contains("socket address"), "{address}");
        assert!(fault("[store]\nmax_age = \"soon\"\n").starts_with("collector.toml:2: \"soon\" is not a duration"));
        assert!(fault("[store]\nmax_bytes = \"1 pound\"\n").starts_with("collector.toml:2: \"1 pound\" is not a size"));
        let sink =
            |keys: &str| fault(&format!("[alerts]\n\n[[alerts.sink]]\nname = \"a\"\nkind = \"webhook\"\n{keys}"));
        for (keys, line, says) in [
            ("url = \"chat.example\"", 6, "not an address"),
            ("url = \"http://a/\"\nfamilies = [\"gremlins\"]", 7, "no family \"gremlins\""),
            ("url = \"http://a/\"\ncauses = [\"gremlins\"]", 7, "no cause \"gremlins\""),
            ("url = \"http://a/\"\nleast_confidence = 80", 7, "between 0.0 and 1.0"),
            ("url = \"http://a/\"\nwait = \"soon\"", 7, "not a duration"),
            ("url = \"http://a/\"\ncolour = \"red\"", 7, "unknown field `colour`"),
            ("", 3, "exactly one url"),
            ("url = \"http://a/\"\nlabels = { \"a b\" = \"c\" }", 3, "no name of a label"),
            ("url = \"http://a/\"\nresource = { a = \"b\" }", 3, "resource is for sinks of another kind"),
            (
                "url = \"http://a/\"\n[[alerts.sink]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"http://b/\"",
                3,
                "two sinks",
            ),
        ] {
            let told = sink(keys);
            assert!(told.starts_with(&format!("collector.toml:{line}: ")) && told.contains(says), "{keys}: {told}");
        }
        for text in ["[ingest", "[ingest]\nlisten = 5\n", "[store]\nmax_age = \"1s\"\n", "[elsewhere]\n"] {
            let told = fault(text);
            assert!(told.starts_with("collector.toml:") && !told.contains('\n'), "{told}");
        }
    }
}
