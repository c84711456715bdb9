//! The real programs on loopback, without namespaces: wrong configuration is told, hostile text reaches no terminal raw,
//! and a gateway's log line becomes an incident.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking

#[path = "e2e/api.rs"]
mod api;
#[path = "e2e/bundle.rs"]
mod bundle;
#[path = "e2e/enrolment.rs"]
mod enrolment;
#[path = "e2e/feeds.rs"]
mod feeds;
#[path = "e2e/guarded.rs"]
mod guarded;
#[path = "e2e/hook.rs"]
mod hook;
#[path = "e2e/listening.rs"]
mod listening;
#[path = "e2e/otlp.rs"]
mod otlp;
#[path = "e2e/packed.rs"]
mod packed;
#[path = "e2e/parts.rs"]
mod parts;

use std::fs;

use listening::Listening;
use parts::{Parts, run, until};
use why502_tests::programs;

/// What may stand in answers: text and line ends; no other control character, no reordering of text.
fn is_clean(text: &str) -> bool {
    text.chars().all(|c| {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c == '\n' || !(c.is_control() || reorders)
    })
}

#[test]
fn every_fault_of_a_configuration_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let agent = dir.path().join("agent.toml");
    let text = "collector = [\"ftp://x\"]\nintervall = \"5s\"\n[[service]]\nname = \"a\"\nmatch = { cmdline = \"(\" }\n\
                [[service]]\nname = \"a\"\n[[gateway]]\nname = \"edge\"\nkind = \"ngix\"\n";
    fs::write(&agent, text).unwrap();
    let (code, _, faults) = run(&programs::agent(), &["validate", "--config", agent.to_str().unwrap()]);
    assert_eq!(code, 2, "{faults}");
    for line in [1, 2, 5, 7, 10] {
        assert!(faults.contains(&format!("agent.toml:{line}")), "line {line} is not told:\n{faults}");
    }
    let collector = dir.path().join("collector.toml");
    fs::write(&collector, "[ingest]\nlisten = \"nowhere\"\n").unwrap();
    let (code, _, faults) = run(&programs::why502(), &["serve", "--config", collector.to_str().unwrap()]);
    assert_eq!(code, 2, "{faults}");
    assert!(faults.contains("collector.toml:2"), "{faults}");
}

#[test]
fn a_line_of_the_gateways_log_becomes_an_incident() {
    let parts = Parts::start("");
    parts.refused(5);
    let incident = parts.incident(5);
    assert_eq!(incident["gateway"]["name"], "edge");
    assert_eq!(incident["statuses"]["502"], 5);
    assert_eq!(incident["count"], 5);
    // Nobody can see that host; a probe may have told by now that nothing answers there.
    assert_ne!(incident["family"], "instance_down", "{incident:#}");
}

#[test]
fn hostile_text_reaches_no_terminal_raw() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\u{9b}31m\r";
    let service = parts::hostile_service();
    let parts = Parts::start(&service.configuration());
    parts.application_says(&format!("ERROR {evil} cannot open basket {evil}"));
    parts.refused_with(3, "/owned", evil);
    parts.incident(3);
    until("the service is seen", || parts.ask(&["instances", "--json"]).contains("evil").then_some(()));
    let questions: [&[&str]; 12] = [
        &["status"],
        &["hosts"],
        &["instances"],
        &["gateways"],
        &["incidents"],
        &["why", parts::UPSTREAM],
        &["logs", parts::UPSTREAM],
        &["logs", "evil"],
        &["logs", "evil", "--json"],
        &["environment", "evil"],
        &["why", parts::UPSTREAM, "--json"],
        &["incidents", "--json"],
    ];
    for question in questions {
        let answer = parts.ask(question);
        assert!(is_clean(&answer), "why502 {question:?} let through: {answer:?}");
    }
    let (_, look, _) = run(&programs::agent(), &["check", "--config", parts.agent_config()]);
    assert!(is_clean(&look), "why502-agent check let through: {look:?}");
}

#[test]
fn an_agent_starts_without_its_logs_and_takes_them_up_when_they_come() {
    let parts = Parts::start_before_logs();
    parts.create_logs();
    parts.refused(2);
    assert_eq!(parts.incident(2)["upstream"], parts::UPSTREAM);
}

#[test]
fn what_haproxy_sends_to_the_agents_sockets_becomes_an_incident() {
    for scheme in ["udp", "unixgram"] {
        let listening = Listening::haproxy(scheme);
        listening.fail_until_incident();
        let source = listening.source();
        assert!(source["failures"].as_u64() > Some(0) && source["unparsed"] == 0, "{source:#}");
        assert_eq!(source["fault"], "", "{source:#}");
    }
}

#[test]
fn what_nginx_sends_by_syslog_becomes_an_incident_with_its_reason() {
    let listening = Listening::nginx();
    let incident = listening.fail_until_incident();
    let told = incident["evidence"].to_string();
    assert!(told.contains("refused"), "the reason stands in the error log only: {incident:#}");
    assert_eq!(listening.source()["unparsed"], 0, "{:#}", listening.source());
}

#[test]
fn pushed_json_lines_become_an_incident() {
    let listening = Listening::pushing();
    assert_eq!(listening.push_failure(), "204");
    until("an incident opens", || listening.incident());
    assert_eq!(listening.source()["failures"], 1);
}
