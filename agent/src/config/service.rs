//! `[[service]]`: the applications.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use regex::RegexBuilder;

use super::fault::Faults;
use super::section::{Placed, Section};
use super::value::{Limits, shown};
use super::{Health, Listen, Matcher, Scheme, Service, address, role};

const KEYS: [&str; 6] = ["name", "listen", "match", "health", "logs", "role"];
const MATCH_KEYS: [&str; 4] = ["cmdline", "exe", "unit", "pidfile"];
const HEALTH_KEYS: [&str; 5] = ["path", "port", "timeout", "interval", "scheme"];
const TIMEOUT: Limits = Limits { default_text: "5s", least_ms: 10, most_ms: 300_000 };
const INTERVAL: Limits = Limits { default_text: "10s", least_ms: 100, most_ms: 3_600_000 };
const LISTEN_EXAMPLE: &str = "\"10.0.0.2:3000\"";
/// Most memory that a compiled pattern may take, bytes.
pub(super) const PATTERN_LIMIT_BYTES: usize = 1 << 20;

pub(super) fn read_all(sections: Vec<Section<'_, '_>>, faults: &mut Faults) -> Vec<Service> {
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    let mut services = Vec::new();
    for section in sections {
        let (service, named_at) = read(&section, faults);
        once(&mut names, "service", &service.name, &named_at, faults);
        for listen in &service.listen {
            if let Some(other) = addresses.insert(listen.to_string(), service.name.clone()) {
                let what = format!("listen of service: {listen} is also that of \"{}\"", shown(&other));
                faults.warn(&section.span, what, "give each service its own addresses");
            }
        }
        services.push(service);
    }
    services
}

/// Tells of a name that stands there twice.
pub(super) fn once(
    names: &mut HashMap<String, ()>,
    what: &str,
    name: &str,
    at: &std::ops::Range<usize>,
    faults: &mut Faults,
) {
    if !name.is_empty() && names.insert(name.to_owned(), ()).is_some() {
        let fault = format!("a second {what} is named \"{}\"", shown(name));
        faults.fault(at, fault, format!("give each {what} a name of its own"));
    }
}

fn read(section: &Section<'_, '_>, faults: &mut Faults) -> (Service, std::ops::Range<usize>) {
    section.only(&KEYS, faults);
    let mut listen = Vec::new();
    for found in section.list("listen", LISTEN_EXAMPLE, faults) {
        match address::listen(found.get_ref()) {
            Ok(one) => listen.push(one),
            Err(why) => {
                let instead = "write \"ip:port\", \"port\" for any local address, or \"unix:/path\"";
                faults.fault(&found.span(), format!("listen of service: {why}"), instead);
            }
        }
    }
    let example = "match = { cmdline = \"node .*index\" }";
    let matcher = section.table("match", example, faults).map(|table| matcher(&table, faults)).unwrap_or_default();
    let example = "health = { path = \"/health\" }";
    let health = section.table("health", example, faults).and_then(|table| health(&table, faults));
    let logs = logs(section, faults);
    let example = "role = { path = \"/health\", field = \"leader\" }";
    let role = section.table("role", example, faults).and_then(|table| role::read(&table, !logs.is_empty(), faults));
    let name = section.name("name", "api", faults);
    let at = name.as_ref().map_or_else(|| section.span.clone(), |name| name.span.clone());
    let name = name.map(|name| name.value).unwrap_or_else(|| derived_name(section, &matcher, &listen, faults));
    if !section.has("listen") && !section.has("match") {
        let what =
            format!("service \"{}\" has neither listen nor match, so its processes can't be found", shown(&name));
        faults.warn(
            &section.span,
            what,
            format!("write listen = [{LISTEN_EXAMPLE}] or match = {{ unit = \"api.service\" }}"),
        );
    }
    (Service { name, listen, matcher, health, logs, role }, at)
}

/// What a service without a name is called: by its unit, else its executable, else its address.
fn derived_name(section: &Section<'_, '_>, matcher: &Matcher, listen: &[Listen], faults: &mut Faults) -> String {
    let by_unit = matcher.unit.as_deref().map(|unit| unit.trim_end_matches(".service").to_owned());
    let by_exe = matcher.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).map(str::to_owned);
    let name = by_unit.or(by_exe).or_else(|| listen.first().map(Listen::to_string)).unwrap_or_default();
    if name.is_empty() && !section.has("name") {
        faults.fault(&section.span, "name of service is missing", "write name = \"api\"");
    }
    name
}

fn matcher(section: &Section<'_, '_>, faults: &mut Faults) -> Matcher {
    section.only(&MATCH_KEYS, faults);
    let pattern = |text: &str| {
        let built = RegexBuilder::new(text).size_limit(PATTERN_LIMIT_BYTES).build();
        built
            .map_err(|error| format!("\"{}\" is no regular expression: {}", shown(text), last_line(&error.to_string())))
    };
    let matcher = Matcher {
        cmdline: section.parsed("cmdline", "cmdline = \"node .*index\\\\.js\"", pattern, faults),
        exe: section.text("exe", "exe = \"/usr/bin/node\"", faults).map(|found| found.value.to_owned()),
        unit: section.text("unit", "unit = \"api.service\"", faults).map(|found| found.value.to_owned()),
        pidfile: section.text("pidfile", "pidfile = \"/run/api.pid\"", faults).map(|found| PathBuf::from(found.value)),
    };
    if !MATCH_KEYS.iter().any(|key| section.has(key)) {
        faults.warn(&section.span, "match of service is empty", "give cmdline, exe, unit or pidfile, or take it out");
    }
    matcher
}

/// The regex crate draws the place over several lines; its last one says what is wrong.
pub(super) fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim().trim_start_matches("error: ")
}

fn health(section: &Section<'_, '_>, faults: &mut Faults) -> Option<Health> {
    section.only(&HEALTH_KEYS, faults);
    if !section.has("path") {
        faults.fault(&section.span, "path of health is missing", "write health = { path = \"/health\" }");
    }
    let path = section.parsed("path", "path = \"/health\"", request_path, faults);
    let port = section.get("port").and_then(|found| match address::listen(found.get_ref()) {
        Ok(Listen::Port(port)) => Some(port),
        _ => {
            faults.fault(&found.span(), "port of health is no port", "write port = 3000");
            None
        }
    });
    let scheme = |text: &str| match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        other => Err(format!("\"{}\" is no scheme", shown(other))),
    };
    let scheme = section.parsed("scheme", "scheme = \"http\" or scheme = \"https\"", scheme, faults);
    let timeout = section.duration("timeout", &TIMEOUT, faults);
    let interval = section.duration("interval", &INTERVAL, faults);
    Some(Health { path: path?, port, timeout, interval, scheme })
}

/// A path that can stand in a request line (RFC 9112, 3.2.1).
pub(super) fn request_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("\"{}\" does not begin with a slash", shown(text)));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("\"{}\" holds a blank or a character beyond ASCII", shown(text)));
    }
    Ok(text.to_owned())
}

fn logs(section: &Section<'_, '_>, faults: &mut Faults) -> Vec<PathBuf> {
    let found = section.texts("logs", "\"/var/log/api/app.log\"", faults);
    found.into_iter().map(|log| file("logs of service", &log, faults)).collect()
}

/// A file that is read while the agent runs: one that is not there yet is waited for.
pub(super) fn file(label: &str, found: &Placed<&str>, faults: &mut Faults) -> PathBuf {
    let path = Path::new(found.value);
    let what = match std::fs::metadata(path) {
        Ok(data) if data.is_dir() => Some("is a folder"),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("is not there yet"),
        Err(_) => Some("can't be looked at by this user"),
    };
    if let Some(what) = what {
        let what = format!("{label}: {} {what}", shown(found.value));
        faults.warn(&found.span, what, "name a file that this user can read; it is waited for");
    }
    path.to_owned()
}
