//! What was, told from the records: timelines.

use super::agent::{Agent, Collector, channel, hello, now_us, report, why502};
use super::incident::{UPSTREAM, break_something, event};
use why502_proto::v1;
use why502_proto::v1::event::Kind;

fn busy(at_unix_us: i64) -> v1::Report {
    let process = v1::ProcessSample { pid: 4242, cpu_ratio: Some(1.5), rss_bytes: 64 << 20, ..Default::default() };
    let listener =
        v1::ListenerSample { address: UPSTREAM.to_owned(), queue: 3, queue_limit: 128, ..Default::default() };
    let instance = v1::InstanceSample {
        service: "api".to_owned(),
        at_unix_us,
        process_count: 1,
        processes: vec![process],
        listeners: vec![listener],
        listeners_known: true,
        ..Default::default()
    };
    let health = v1::HealthResult { service: "api".to_owned(), status: 503, ..Default::default() };
    let sick = event(at_unix_us, Kind::Health(health));
    v1::Report { instances: vec![instance], ..report(2, vec![sick]) }
}

/// The track of a kind.
fn track<'a>(doc: &'a serde_json::Value, kind: &str) -> &'a serde_json::Value {
    doc["tracks"].as_array().unwrap().iter().find(|track| track["kind"] == kind).unwrap()
}

/// The values of a reading that were read.
fn read(track: &serde_json::Value, name: &str) -> Vec<f64> {
    let readings = track["readings"].as_array().unwrap();
    let reading = readings.iter().find(|reading| reading["name"] == name).unwrap();
    reading["values"].as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect()
}

#[tokio::test]
async fn a_timeline_shows_an_instance_its_host_and_its_gateway_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut app, _gateway) = break_something(&collector).await;
    app.send(busy(now_us())).await;
    app.acked(2).await;
    let mut client = v1::query_client::QueryClient::new(channel(&collector.api).await);
    let mark = v1::MarkRequest { kind: "deploy".to_owned(), service: "api".to_owned(), ..Default::default() };
    client.mark(mark).await.unwrap();
    let crashed = |doc: &serde_json::Value| doc["incidents"][0]["cause"] == "process_crashed";
    let incidents = collector.until("incidents", &[], crashed).await;
    let id = incidents["incidents"][0]["id"].as_str().unwrap().to_owned();
    for target in ["api", UPSTREAM, "app-1", "edge", &id] {
        let told =
            |doc: &serde_json::Value| doc["happenings"].as_array().unwrap().iter().any(|one| one["kind"] == "deploy");
        let doc = collector.until("timeline", &[("target", target), ("since", "5m")], told).await;
        assert!(track(&doc, "instance")["states"].as_array().unwrap().contains(&"unhealthy".into()), "{doc}");
        assert_eq!(read(track(&doc, "instance"), "cpu"), [1.5], "{target}");
        assert_eq!(read(track(&doc, "instance"), "queue"), [3.0]);
        assert_eq!(read(track(&doc, "upstream"), "failures").iter().sum::<f64>(), 3.0);
        let kinds = doc["happenings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap());
        let kinds: Vec<&str> = kinds.collect();
        for kind in ["exit", "health", "incident", "deploy"] {
            assert!(kinds.contains(&kind), "{target}: no {kind} in {kinds:?}");
        }
        assert_eq!(doc["unreadable"], serde_json::json!([]));
    }
    let api = collector.api.clone();
    let shown = tokio::task::spawn_blocking(move || {
        assert_eq!(why502(&api, &["timeline", "nobody"]).0, 1);
        assert_eq!(why502(&api, &["timeline", "api", "--at", "2999-01-01T00:00:00Z"]).0, 2);
        assert_eq!(why502(&api, &["timeline", "api", "--since", "soon"]).0, 2);
        why502(&api, &["timeline", "api", "--since", "5m"])
    });
    let (code, text, _) = shown.await.unwrap();
    assert_eq!(code, 0);
    assert!(text.contains("edge on lb-1 -> 10.0.0.2:3000") && text.contains("3 in all"), "{text}");
    assert!(text.contains("node\\u{1b}[31m (pid 4242) ended: exit code 1") && !text.contains('\u{1b}'), "{text}");
    collector.stop().await;
}

#[tokio::test]
async fn a_timeline_of_the_past_tells_the_past_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut agent, _) = Agent::connect(&collector.ingest, hello("app-1", 1)).await;
    let sample = |process_count| v1::InstanceSample {
        service: "api".to_owned(),
        at_unix_us: now_us(),
        process_count,
        ..Default::default()
    };
    agent.send(v1::Report { instances: vec![sample(2)], ..report(1, vec![]) }).await;
    agent.acked(1).await;
    let then = collector.until("instances", &[], |doc| doc["instances"][0]["processes"] == 2).await;
    let at = then["at"].as_str().unwrap().to_owned();
    collector.stop().await;
    let collector = Collector::start(dir.path()).await;
    let (mut agent, _) = Agent::connect(&collector.ingest, hello("app-1", 2)).await;
    agent.send(v1::Report { instances: vec![sample(0)], ..report(2, vec![]) }).await;
    agent.acked(2).await;
    collector.until("instances", &[], |doc| doc["instances"][0]["state"] == "not_running").await;
    let states = async |filters: &[(&str, &str)]| {
        let doc = collector.ask("timeline", filters).await.unwrap().0;
        track(&doc, "instance")["states"].as_array().unwrap().clone()
    };
    let past = states(&[("target", "api"), ("at", &at)]).await;
    assert!(past.contains(&"running".into()) && !past.contains(&"not_running".into()), "{past:?}");
    assert!(states(&[("target", "api")]).await.contains(&"not_running".into()));
    collector.stop().await;
}
