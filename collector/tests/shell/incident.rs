//! From records to an incident, live, asked in every way, and replayed.

use super::agent::{Agent, Collector, channel, hello, now_us, report, why502};
use why502_proto::v1;
use why502_proto::v1::event::Kind;

pub const UPSTREAM: &str = "10.0.0.2:3000";

pub fn event(at_unix_us: i64, kind: Kind) -> v1::Event {
    v1::Event { at_unix_us, kind: Some(kind) }
}

fn refused(at_us: i64) -> v1::Event {
    let (signal, upstream) = ("connect_refused".to_owned(), UPSTREAM.to_owned());
    let attempt = v1::Attempt { upstream, status: 502, signal: signal.clone(), ..Default::default() };
    let origin = v1::Origin::Gateway.into();
    let gateway = "edge".to_owned();
    let attempts = vec![attempt];
    event(at_us, Kind::Failure(v1::Failure { gateway, status: 502, origin, signal, attempts, ..Default::default() }))
}

fn died(at_us: i64) -> v1::Event {
    let exit = v1::ProcessExited {
        service: "api".to_owned(),
        pid: 4242,
        name: "node\u{1b}[31m".to_owned(),
        exit_code: Some(1),
        source: v1::process_exited::Source::Pidfd.into(),
        leader: true,
        still_listening: Some(false),
        served: true,
        ..Default::default()
    };
    event(at_us, Kind::ProcessExited(exit))
}

/// An application host whose process dies, and a gateway host that is refused from then on.
pub async fn break_something(collector: &Collector) -> (Agent, Agent) {
    let listen = vec![UPSTREAM.to_owned()];
    let api = v1::ServiceConfig { name: "api".to_owned(), listen, declared: true, ..Default::default() };
    let (mut app, _) = Agent::connect(&collector.ingest, v1::Hello { services: vec![api], ..hello("app-1", 1) }).await;
    let (mut gateway, _) = Agent::connect(&collector.ingest, hello("lb-1", 1)).await;
    let now = now_us();
    app.send(report(1, vec![died(now - 500_000)])).await;
    app.acked(1).await;
    gateway.send(report(1, (0..3).map(|at| refused(now + at * 1000)).collect())).await;
    gateway.acked(1).await;
    (app, gateway)
}

#[tokio::test]
async fn failures_become_an_incident_that_every_question_shows_and_a_replay_gives_again() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let _agents = break_something(&collector).await;
    let crashed = |doc: &serde_json::Value| doc["incidents"][0]["cause"] == "process_crashed";
    let live = collector.until("incidents", &[("upstream", UPSTREAM)], crashed).await;
    assert_eq!(live["incidents"][0]["count"], 3);
    assert_eq!(live["incidents"][0]["statuses"], serde_json::json!({"502": 3}));
    for target in [UPSTREAM, "10.0.0.2", "api", "app-1", live["incidents"][0]["id"].as_str().unwrap()] {
        assert!(collector.ask("why", &[("target", target)]).await.unwrap().1, "why {target}");
    }
    let api = collector.api.clone();
    let told = tokio::task::spawn_blocking(move || why502(&api, &["why", UPSTREAM])).await.unwrap();
    assert_eq!(told.0, 0);
    assert!(told.1.contains("api on app-1 (10.0.0.2:3000) crashed") && !told.1.contains('\u{1b}'), "{}", told.1);
    let live = collector.ask("incidents", &[]).await.unwrap().0;
    collector.stop().await;
    let store = dir.path().to_str().unwrap().to_owned();
    let replayed = tokio::task::spawn_blocking(move || why502("", &["replay", &store, "--json"])).await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&replayed.1).unwrap(), live);
}

#[tokio::test]
async fn a_watcher_is_told_of_an_incident_as_it_opens() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut client = v1::query_client::QueryClient::new(channel(&collector.api).await);
    let mut lines = client.watch(v1::WatchRequest {}).await.unwrap().into_inner();
    let _agents = break_something(&collector).await;
    let opened = async {
        loop {
            let line = lines.message().await.unwrap().unwrap().json;
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["kind"] == "incident" {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(super::DEADLINE, opened).await.unwrap();
    assert_eq!((&line["change"], &line["incident"]["upstream"]), (&"opened".into(), &UPSTREAM.into()));
}
