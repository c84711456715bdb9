//! The log settings of `deploy/gateways/` keep the reason: lines that the real gateways wrote with them are read, their two
//! logs are joined as the agent joins them, and each failure is known by its upstream and its signal.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says by panicking that it failed
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use why502_agent::gateway::{self, Files, Joiner, Kind, Line, Log, Reader, Record, Zone};

/// One file under any name.
struct One(String);

impl Files for One {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        if path.ends_with("envvars") { Err("none".to_owned()) } else { Ok(self.0.clone().into_bytes()) }
    }

    fn glob(&self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn repository(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// The access format of a snippet, as the gateway's configuration gives it with the snippet in its place.
fn format(kind: Kind, snippet: &str, around: [&str; 2]) -> Option<String> {
    let text = format!("{}{}{}", around[0], repository(&format!("deploy/gateways/{snippet}")), around[1]);
    let read = gateway::configuration(kind, Path::new(snippet), &One(text)).unwrap();
    assert_eq!(read.faults, Vec::<String>::new(), "{snippet}");
    let access = read.logs.into_iter().find(|log| !log.is_error_log);
    access.unwrap_or_else(|| panic!("{snippet} names no access log")).format
}

fn records(mut reader: Box<dyn Reader>, text: &str) -> Vec<Record> {
    let lines = text.lines().map(|line| (line, reader.read(line.as_bytes())));
    let records = lines.filter_map(|(line, read)| match read {
        Line::Record(record) => Some(*record),
        Line::Notice(_) => None,
        Line::Unparsed(why) => panic!("{why}: {line}"),
    });
    records.collect()
}

/// What became of each path, from both logs: the last attempt's upstream and signal.
fn told(kind: Kind, gateway: &str, format: Option<&str>) -> BTreeMap<String, Vec<(Option<String>, &'static str)>> {
    let log = |name: &str| repository(&format!("agent/fixtures/snippets/{gateway}/{name}.log"));
    let reader = |log, format| gateway::reader(kind, log, format, &Zone::utc()).unwrap();
    let access = if kind == Kind::Haproxy { Log::All } else { Log::Access };
    let mut joiner = Joiner::new(kind);
    if matches!(kind, Kind::Nginx | Kind::Apache | Kind::Caddy) {
        records(reader(Log::Error, None), &log("error")).into_iter().for_each(|error| joiner.error(error, 0));
    }
    let mut told: BTreeMap<String, Vec<(Option<String>, &'static str)>> = BTreeMap::new();
    for record in records(reader(access, format), &log("access")) {
        let record = if record.status >= Some(500) { joiner.access(record, 0) } else { record };
        let path = record.path.unwrap();
        let name = path.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
        let upstream = record.attempts.last().and_then(|attempt| attempt.upstream.clone());
        told.entry(name).or_default().push((upstream, record.signal.id()));
    }
    told
}

/// Every request of these paths ended so; the ports are those of the applications that the gateways were put in front of.
fn check(kind: Kind, name: &str, format: Option<&str>, expected: &[(&str, Option<&str>, &str)]) {
    let told = told(kind, name, format);
    for (path, upstream, signal) in expected {
        let wanted = (upstream.map(str::to_owned), *signal);
        let seen = told.get(*path).unwrap_or_else(|| panic!("{name}: no line of /{path}"));
        assert!(seen.iter().all(|one| *one == wanted), "{name} /{path}: {seen:?} for {wanted:?}");
    }
}

#[test]
fn nginx() {
    let format = format(Kind::Nginx, "nginx.conf", ["http {\n", "}\n"]);
    let expected = [
        ("ok", Some("127.0.0.1:21001"), "ok"),
        ("app502", Some("127.0.0.1:21002"), "app_status"),
        ("close", Some("127.0.0.1:21003"), "closed_before_headers"),
        ("reset", Some("127.0.0.1:21004"), "reset_before_headers"),
        ("slow", Some("127.0.0.1:21005"), "read_timeout"),
        ("garbage", Some("127.0.0.1:21006"), "header_invalid"),
        ("refused", Some("127.0.0.1:21099"), "connect_refused"),
        ("tls", Some("127.0.0.1:21001"), "tls_handshake"),
    ];
    check(Kind::Nginx, "nginx", format.as_deref(), &expected);
}

#[test]
fn haproxy() {
    let format =
        format(Kind::Haproxy, "haproxy.cfg", ["global\n log /dev/log local0\n", "\nfrontend edge\n bind :80\n"]);
    let expected = [
        ("ok", Some("ok/s1"), "ok"),
        ("app502", Some("app502/s1"), "app_status"),
        ("close", Some("close/s1"), "no_response_headers"),
        ("reset", Some("reset/s1"), "no_response_headers"),
        ("slow", Some("slow/s1"), "read_timeout"),
        ("garbage", Some("garbage/s1"), "response_invalid"),
        ("cut", Some("cut/s1"), "body_truncated"),
        ("tls", Some("tls/s1"), "connect_timeout"),
    ];
    check(Kind::Haproxy, "haproxy", format.as_deref(), &expected);
}

#[test]
fn envoy() {
    let format = format(Kind::Envoy, "envoy.yaml", ["", ""]);
    let expected = [
        ("ok", Some("127.0.0.1:21001"), "ok"),
        ("app502", Some("127.0.0.1:21002"), "app_status"),
        ("close", Some("127.0.0.1:21003"), "no_response_headers"),
        ("slow", Some("127.0.0.1:21005"), "read_timeout"),
        ("garbage", Some("127.0.0.1:21006"), "response_invalid"),
        ("cut", Some("127.0.0.1:21007"), "body_truncated"),
        ("refused", Some("127.0.0.1:21099"), "connect_refused"),
        ("tls", Some("127.0.0.1:21001"), "connect_timeout"),
    ];
    check(Kind::Envoy, "envoy", format.as_deref(), &expected);
}

#[test]
fn apache() {
    let format = format(Kind::Apache, "apache.conf", ["", ""]);
    let expected = [
        ("ok", None, "ok"),
        ("app502", None, "app_status"),
        ("close", Some("127.0.0.1:21003"), "closed_before_headers"),
        ("reset", Some("127.0.0.1:21004"), "reset_before_headers"),
        ("slow", Some("127.0.0.1:21005"), "read_timeout"),
        ("refused", Some("127.0.0.1:21099"), "connect_refused"),
        ("garbage", None, "header_invalid"),
    ];
    check(Kind::Apache, "apache", format.as_deref(), &expected);
}

#[test]
fn caddy() {
    let expected = [
        ("ok", None, "ok"),
        ("reset", Some("127.0.0.1:21004"), "reset_before_headers"),
        ("slow", None, "read_timeout"),
        ("garbage", None, "header_invalid"),
        ("refused", Some("127.0.0.1:21099"), "connect_refused"),
        ("close", None, "closed_before_headers"),
        ("app502", None, "status_only"),
    ];
    check(Kind::Caddy, "caddy", None, &expected);
}

#[test]
fn varnish() {
    let unit = repository("deploy/gateways/varnish.service");
    let format = unit.split('\'').nth(1).unwrap().replace("%%", "%");
    let expected = [
        ("ok", Some("127.0.0.1:21001"), "ok"),
        ("app502", Some("127.0.0.1:21002"), "app_status"),
        ("close", Some("127.0.0.1:21003"), "no_response_headers"),
        ("slow", Some("127.0.0.1:21005"), "read_timeout"),
        ("garbage", Some("127.0.0.1:21006"), "header_invalid"),
        ("cut", Some("127.0.0.1:21007"), "body_truncated"),
        ("refused", Some("refused"), "connect_refused"),
    ];
    check(Kind::Varnish, "varnish", Some(&format), &expected);
    check(Kind::Varnish, "varnish", None, &expected);
}

#[test]
fn traefik() {
    let text = One(repository("deploy/gateways/traefik.yml"));
    let read = gateway::configuration(Kind::Traefik, Path::new("traefik.yml"), &text).unwrap();
    let own = read.logs.iter().find(|log| log.is_error_log).unwrap();
    assert_eq!(own.level.as_deref(), Some("debug"), "the only level at which Traefik gives reasons");
    let access = read.logs.iter().find(|log| !log.is_error_log).unwrap();
    assert_eq!(access.target.as_deref(), Some("/var/log/traefik/access.log"));
}
