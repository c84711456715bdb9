//! The file as a whole.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::Faults;
use super::section::Section;
use super::value::{Limits, NAME_LIMIT};
use super::{Config, Fault, Loaded, address, gateway, service};
use crate::identity::{Identity, Pair};

const KEYS: [&str; 11] = [
    "collector",
    "host",
    "interval",
    "state_dir",
    "spool_bytes",
    "insecure",
    "ca",
    "cert",
    "key",
    "service",
    "gateway",
];
const SPOOL_BYTES: RangeInclusive<u64> = 1 << 20..=4 << 30;
const SPOOL_DEFAULT_BYTES: u64 = 64 << 20;
const INTERVAL: Limits = Limits { default_text: "5s", least_ms: 100, most_ms: 3_600_000 };
const STATE_DIR: &str = "/var/lib/why502-agent";
const COLLECTOR_EXAMPLE: &str = "\"http://192.0.2.10:5020\"";

pub(super) fn parse(file: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut syntax = Faults::new(file, text);
    for error in &errors {
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        syntax.fault(&error.span().unwrap_or(0..0), what, "write it as TOML: key = value, texts in quotes");
    }
    let mut faults = Faults::new(file, text);
    let section = Section::new("", document.get_ref(), 0..0);
    let config = read(&section, errors.is_empty(), &mut faults);
    syntax.add_where_silent(faults);
    let warnings = syntax.finish()?;
    Ok(Loaded { config, warnings })
}

/// Reads all keys. A key that is missing is a fault only where the syntax holds: else it may stand in what was not read.
fn read(section: &Section<'_, '_>, whole: bool, faults: &mut Faults) -> Config {
    section.only(&KEYS, faults);
    let insecure = section.flag("insecure", faults);
    let collectors = collectors(section, insecure, whole, faults);
    let host = section.name("host", "app-1", faults).map_or_else(|| host_name(section, faults), |host| host.value);
    let state_dir = section.text("state_dir", &format!("state_dir = \"{STATE_DIR}\""), faults);
    let state_dir = PathBuf::from(state_dir.map_or(STATE_DIR, |found| found.value));
    Config {
        collectors,
        host,
        interval: section.duration("interval", &INTERVAL, faults),
        identity: identity(section, &state_dir, faults),
        state_dir,
        spool_bytes: section.whole("spool_bytes", SPOOL_BYTES, SPOOL_DEFAULT_BYTES, faults),
        insecure,
        services: service::read_all(section.tables("service", faults), faults),
        gateways: gateway::read_all(section.tables("gateway", faults), whole, faults),
    }
}

fn collectors(section: &Section<'_, '_>, insecure: bool, whole: bool, faults: &mut Faults) -> Vec<String> {
    let instead = format!("write collector = [{COLLECTOR_EXAMPLE}]");
    if whole && !section.has("collector") {
        faults.fault(&section.span, "collector is missing", instead.clone());
    }
    let mut urls = Vec::new();
    for found in section.texts("collector", COLLECTOR_EXAMPLE, faults) {
        match address::collector(found.value) {
            Ok((url, exposed)) => {
                if exposed && !insecure {
                    let what = format!("reports to {url} would travel in plain text");
                    let instead =
                        "write https:// and enrol this host, or insecure = true where that network is trusted";
                    faults.fault(&found.span, what, instead.to_owned());
                }
                urls.push(url);
            }
            Err(why) => faults.fault(&found.span, format!("collector: {why}"), instead.clone()),
        }
    }
    if let Some(found) =
        section.get("collector").filter(|found| found.get_ref().as_array().is_some_and(|list| list.is_empty()))
    {
        faults.fault(&found.span(), "collector is an empty list", instead);
    }
    urls
}

/// Where the host's identity lies: in the files given, else where enrolment leaves it.
fn identity(section: &Section<'_, '_>, state_dir: &Path, faults: &mut Faults) -> Identity {
    let mut path = |key: &str| {
        let found = section.text(key, &format!("{key} = \"/etc/why502/{key}.pem\""), faults)?;
        Some(PathBuf::from(found.value))
    };
    let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
    let pair = match (cert, key) {
        (None, None) if ca.is_none() => return Identity::in_state_dir(state_dir),
        (Some(cert), Some(key)) => Some(Pair { cert, key }),
        (None, None) => None,
        _ => {
            faults.fault(&section.span, "cert and key belong together", "write both, or neither".to_owned());
            None
        }
    };
    Identity { ca, pair, own: false }
}

/// The host's own name, bounded as a configured one is.
fn host_name(section: &Section<'_, '_>, faults: &mut Faults) -> String {
    let name = own_name();
    if name.trim().is_empty() && !section.has("host") {
        faults.fault(&section.span, "this host has no name of its own", "write host = \"app-1\"");
    }
    name
}

fn own_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(NAME_LIMIT).collect()
}

pub(super) fn defaults() -> (String, PathBuf) {
    (own_name(), PathBuf::from(STATE_DIR))
}
