//! What other programs take from the collector, held against those programs. One that this machine does not have is
//! named and passed over; tests/run.sh installs them, and counts as skipped what it can't.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::parts::{Parts, run};

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The program, where this machine has it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: there is no {name}");
    }
    found
}

/// What `GET path` answers, without its head.
pub fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Every metric of ours that a text names.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("why502_")).map(str::to_owned).collect()
}

#[test]
fn metrics_hold_what_rules_and_dashboard_ask_for() {
    let parts = Parts::start("");
    parts.refused(5);
    parts.incident(5);
    let page = get(parts.api(), "/metrics");
    let counted = page.lines().find(|line| line.starts_with("why502_failures_total{")).unwrap();
    assert!(counted.contains("gateway=\"edge\"") && counted.ends_with(" 5"), "{counted}");
    let offered = metrics_named(&page);
    for file in ["deploy/prometheus/why502.rules.yml", "deploy/grafana/why502.json"] {
        let asked = metrics_named(&fs::read_to_string(repository(file)).unwrap());
        let missing: Vec<_> = asked.difference(&offered).collect();
        assert!(!asked.is_empty() && missing.is_empty(), "{file} asks for what there is not: {missing:?}");
    }
    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(&promtool).args(["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success(), "promtool does not like:\n{page}");
    for (kind, file) in [("rules", "why502.rules.yml"), ("config", "scrape.yml")] {
        let path = repository("deploy/prometheus").join(file);
        let (code, out, fault) = run(&promtool, &["check", kind, path.to_str().unwrap()]);
        assert_eq!(code, 0, "{file}: {out}{fault}");
    }
}
