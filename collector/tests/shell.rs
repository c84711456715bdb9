//! Stories of the collector's shell, in process and with the real program: what agents send arrives once, what is
//! acknowledged stays, what is wrong is refused, and every way of asking gives the same document.

// Helpers of stories are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "shell/agent.rs"]
mod agent;
#[path = "shell/bundle.rs"]
mod bundle;
#[path = "shell/capsule.rs"]
mod capsule;
#[path = "shell/history.rs"]
mod history;
#[path = "shell/incident.rs"]
mod incident;
#[path = "shell/killed.rs"]
mod killed;
#[path = "shell/logs.rs"]
mod logs;
#[path = "shell/older.rs"]
mod older;

use std::io::{Read, Write};

use agent::{Agent, Collector, DEADLINE, hello, report, why502};
use tonic::Code;
use why502_proto::v1;
use why502_proto::v1::agent_message::Kind;

#[tokio::test]
async fn what_an_agent_sends_is_acknowledged_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut agent, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    let sample = v1::InstanceSample { service: "api".to_owned(), process_count: 2, ..Default::default() };
    agent.send(v1::Report { instances: vec![sample], ..report(1, vec![]) }).await;
    agent.acked(1).await;
    let seen = collector.until("instances", &[], |doc| doc["instances"][0]["processes"] == 2).await;
    assert_eq!(seen["instances"][0]["state"], "running");
    drop(agent);
    collector.until("hosts", &[], |doc| doc["hosts"][0]["state"] == "silent").await;
    collector.stop().await;
}

#[tokio::test]
async fn a_report_is_taken_once_however_often_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut first, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    for seq in [1, 1, 2, 1, 2] {
        first.send(report(seq, vec![])).await;
    }
    first.acked(2).await;
    let (mut again, up_to) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    assert_eq!(up_to, 2);
    again.send(report(1, vec![])).await;
    again.acked(2).await;
    let status = collector.until("status", &[], |doc| doc["collector"]["duplicates"] == 4).await;
    assert_eq!(status["collector"]["reports"], 2);
}

#[tokio::test]
async fn a_second_stream_of_a_host_replaces_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut first, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    let (mut second, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    assert_eq!(first.refused().await.code(), Code::Aborted);
    second.send(report(1, vec![])).await;
    second.acked(1).await;
    collector.until("hosts", &[], |doc| doc["hosts"][0]["state"] == "up").await;
}

#[tokio::test]
async fn what_does_not_keep_to_the_rules_is_refused_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut honest, _) = Agent::connect(&collector.ingest, hello("honest", 1)).await;
    let first = [
        (Kind::Report(report(1, vec![])), Code::InvalidArgument),
        (Kind::Hello(hello("", 1)), Code::InvalidArgument),
        (Kind::Hello(hello("a\u{1b}[2J", 1)), Code::InvalidArgument),
        (Kind::Hello(hello(&"a".repeat(300 << 10), 1)), Code::OutOfRange),
    ];
    for (message, code) in first {
        assert_eq!(Agent::open(&collector.ingest, message).await.refused().await.code(), code);
    }
    let long = v1::Event {
        at_unix_us: 0,
        kind: Some(v1::event::Kind::LogMatch(v1::LogMatch { line: "x".repeat(300 << 10), ..Default::default() })),
    };
    let later = [
        (report(0, vec![]), Code::InvalidArgument),
        (report(5, vec![]), Code::OutOfRange),
        (report(1, vec![long]), Code::OutOfRange),
    ];
    for (message, code) in later {
        let (mut agent, _) = Agent::connect(&collector.ingest, hello("odd", 1)).await;
        agent.send(message).await;
        assert_eq!(agent.refused().await.code(), code);
    }
    honest.send(report(1, vec![])).await;
    honest.acked(1).await;
}

#[tokio::test]
async fn garbage_and_silence_on_a_connection_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let address = collector.ingest.trim_start_matches("http://").to_owned();
    let ended = |first: &'static [u8]| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || {
            let mut connection = std::net::TcpStream::connect(address).unwrap();
            connection.set_read_timeout(Some(DEADLINE)).unwrap();
            connection.write_all(first).unwrap();
            let mut rest = Vec::new();
            // Closed or reset: both end it; only the time limit of the read would not.
            connection
                .read_to_end(&mut rest)
                .map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
        })
    };
    let (garbage, silence) = (ended(b"GET / HTTP/1.1\r\n\r\n\0\0\0\0\xff\xff\xff\xff"), ended(b""));
    assert!(garbage.await.unwrap() && silence.await.unwrap());
    Agent::connect(&collector.ingest, hello("app-1", 1)).await;
}

#[tokio::test]
async fn every_way_of_asking_gives_the_same_document() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let _agent = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    let by_grpc = collector.until("hosts", &[], |doc| doc["hosts"][0]["state"] == "up").await;
    let api = collector.api.clone();
    let (by_http, by_command) =
        tokio::task::spawn_blocking(move || (http(&api, "GET /v1/hosts HTTP/1.1"), why502(&api, &["hosts", "--json"])))
            .await
            .unwrap();
    // The moment of the answer differs, and nothing else.
    let hosts = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()["hosts"].take();
    assert_eq!(hosts(by_http.split("\r\n\r\n").nth(1).unwrap()), by_grpc["hosts"]);
    assert_eq!(hosts(&by_command.1), by_grpc["hosts"]);
}

fn http(api: &str, request: &str) -> String {
    String::from_utf8(http_bytes(api, request)).unwrap()
}

fn http_bytes(api: &str, request: &str) -> Vec<u8> {
    let mut connection = std::net::TcpStream::connect(api.trim_start_matches("http://")).unwrap();
    connection.write_all(format!("{request}\r\nHost: why502\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_browser_gets_pages_that_run_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let _agent = Agent::connect(&collector.ingest, hello("<b>app-1", 1)).await;
    collector.until("hosts", &[], |doc| doc["hosts"][0]["state"] == "up").await;
    let api = collector.api.clone();
    tokio::task::spawn_blocking(move || {
        let page = |path: &str| http(&api, &format!("GET {path} HTTP/1.1"));
        assert!(page("/").contains("1 up"), "{}", page("/"));
        let hosts = page("/hosts");
        assert!(hosts.contains("&lt;b&gt;app-1") && hosts.contains("content-security-policy: default-src 'none'"));
        assert!(page("/why?target=nobody").contains("it is not known at all"));
        assert!(page("/hosts?colour=red").starts_with("HTTP/1.1 400") && page("/nothing").starts_with("HTTP/1.1 404"));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_past_state_is_told_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut agent, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    let sample = |process_count| v1::InstanceSample { service: "api".to_owned(), process_count, ..Default::default() };
    agent.send(v1::Report { instances: vec![sample(2)], ..report(1, vec![]) }).await;
    agent.acked(1).await;
    let then = collector.until("instances", &[], |doc| doc["instances"][0]["processes"] == 2).await;
    agent.send(v1::Report { instances: vec![sample(0)], ..report(2, vec![]) }).await;
    agent.acked(2).await;
    let now = collector.until("instances", &[], |doc| doc["instances"][0]["state"] == "not_running").await;
    let stopped = vec![v1::ProcessSample { state: "T".to_owned(), ..Default::default() }];
    let paused = v1::InstanceSample { processes: stopped, ..sample(1) };
    agent.send(v1::Report { instances: vec![paused], ..report(3, vec![]) }).await;
    agent.acked(3).await;
    collector.until("instances", &[], |doc| doc["instances"][0]["state"] == "paused").await;
    let at = then["at"].as_str().unwrap();
    let (past, found) = collector.ask("instances", &[("at", at)]).await.unwrap();
    assert!(found && past["at"] == at && past["instances"] == then["instances"], "{past} is not {then}, now {now}");
    let (past, found) = collector.ask("why", &[("target", "api"), ("at", at)]).await.unwrap();
    assert!(!found && past["now"]["instances"] == then["instances"], "{past}");
    collector.stop().await;
}

#[tokio::test]
async fn exit_codes_tell_found_nothing_and_bad_questions_apart() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let api = collector.api.clone();
    tokio::task::spawn_blocking(move || {
        let code = |args: &[&str]| why502(&api, args).0;
        assert_eq!(code(&["status"]), 0);
        assert_eq!(code(&["why", "10.0.0.2:3000"]), 1);
        assert_eq!(code(&["incidents", "--json"]), 1);
        assert_eq!(code(&["incidents", "--cause", "gremlins"]), 2);
        assert_eq!(code(&["hosts", "--at", "2020-01-01T00:00:00Z"]), 1);
        assert_eq!(code(&["hosts", "--at", "2999-01-01T00:00:00Z"]), 2);
        assert_eq!(code(&["hosts", "--at", "soon"]), 2);
        assert_eq!(code(&["mark", "deploy", "--service", ""]), 2);
        assert_eq!(code(&["mark", "deploy", "--service", "api"]), 0);
        assert_eq!(why502(&api, &["incidents", "--json"]).1, "{\"incidents\":[]}\n");
    })
    .await
    .unwrap();
}
