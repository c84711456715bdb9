//! Lines of logs, as agents sent them.

use super::agent::{Collector, now_us, report, why502};
use super::incident::{UPSTREAM, break_something, event};
use why502_proto::v1;
use why502_proto::v1::event::Kind;

fn logged(at_us: i64, kind: &str, line: String, repeats: u32) -> v1::Event {
    let (service, file, kind) = ("api".to_owned(), "/var/log/api.log".to_owned(), kind.to_owned());
    event(at_us, Kind::LogMatch(v1::LogMatch { service, file, kind, line, repeats }))
}

fn failed(at_us: i64, upstream: &str) -> v1::Event {
    let attempt = v1::Attempt {
        upstream: upstream.to_owned(),
        status: 502,
        signal: "connect_refused".to_owned(),
        ..Default::default()
    };
    let failure = v1::Failure {
        gateway: "edge".to_owned(),
        status: 502,
        origin: v1::Origin::Gateway.into(),
        signal: "connect_refused".to_owned(),
        attempts: vec![attempt],
        line: format!("GET /pay 502 {upstream}"),
        reason: "connect() failed (111: Connection refused)".to_owned(),
        ..Default::default()
    };
    event(at_us, Kind::Failure(failure))
}

#[tokio::test]
async fn lines_of_a_target_are_told_newest_first_with_where_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut app, mut gateway) = break_something(&collector).await;
    let now = now_us();
    let lines = vec![
        logged(now - 3_000_000, "error", "ERROR no\u{1b}[31m pool".to_owned(), 4),
        logged(now - 1_000_000, "starting", "listening on 3000".to_owned(), 0),
        logged(now - 7_200_000_000, "error", "ERROR of long ago".to_owned(), 0),
    ];
    app.send(report(2, lines)).await;
    app.acked(2).await;
    gateway.send(report(2, vec![failed(now - 2_000_000, UPSTREAM), failed(now, "10.0.0.99:1")])).await;
    gateway.acked(2).await;
    let said = |doc: &serde_json::Value| {
        let lines = doc["lines"].as_array().unwrap().iter();
        lines.map(|line| line["line"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let refused = format!("GET /pay 502 {UPSTREAM}");
    let all = ["listening on 3000", refused.as_str(), "ERROR no\u{1b}[31m pool"];
    let doc = collector.until("logs", &[("target", "api")], |doc| said(doc) == all).await;
    assert_eq!((&doc["not_sent"], &doc["left_out"]), (&4.into(), &0.into()));
    assert_eq!(doc["lines"][1]["upstream"], UPSTREAM);
    assert_eq!((&doc["lines"][2]["file"], &doc["lines"][2]["host"]), (&"/var/log/api.log".into(), &"app-1".into()));
    let only = async |filters: &[(&str, &str)]| said(&collector.ask("logs", filters).await.unwrap().0);
    assert_eq!(only(&[("target", UPSTREAM), ("level", "error")]).await, all[1..]);
    assert_eq!(only(&[("target", "app-1"), ("grep", "no.*pool$")]).await, all[2..]);
    assert_eq!(only(&[("target", "api"), ("grep", "(?i)REFUSED")]).await, all[1..2]);
    let gateway = only(&[("target", "lb-1")]).await;
    assert_eq!(gateway, ["GET /pay 502 10.0.0.99:1", refused.as_str()], "all that a host's gateways said");
    let long = only(&[("target", "api"), ("since", "3h"), ("grep", "^ERROR")]).await;
    assert_eq!(long, ["ERROR no\u{1b}[31m pool", "ERROR of long ago"]);
    let api = collector.api.clone();
    let shown = tokio::task::spawn_blocking(move || {
        assert_eq!(why502(&api, &["logs", "nobody"]).0, 1);
        let long = "x".repeat(1_001);
        for (flag, value, says) in [
            ("--grep", "(", "the pattern \"(\" is no regular expression: unclosed group"),
            ("--grep", "(a{999}){999}", "needs too much memory"),
            ("--grep", &long, "longer than 1000 characters"),
            ("--level", "loud", "\"loud\" is not error, warn or info"),
            ("--since", "soon", "\"soon\" is not a duration"),
        ] {
            let (code, out, err) = why502(&api, &["logs", "api", flag, value]);
            assert!(code == 2 && out.is_empty() && err.lines().count() == 1 && err.contains(says), "{value}: {err}");
        }
        why502(&api, &["logs", "api"])
    });
    let (code, text, _) = shown.await.unwrap();
    assert!(code == 0 && text.contains("app api on app-1 (/var/log/api.log) error: ERROR no"), "{text}");
    assert!(text.contains("(and 4 like it)") && !text.contains('\u{1b}'), "{text}");
    collector.stop().await;
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded_and_the_bound_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (mut app, _gateway) = break_something(&collector).await;
    // The middle of an hour, so that all lie in one.
    let hour = 3_600_000_000;
    let then = now_us().div_euclid(hour) * hour - hour / 2;
    let lines = (0..250).map(|line| logged(then + line, "error", format!("ERROR {line}"), 0)).collect();
    app.send(report(2, lines)).await;
    app.acked(2).await;
    let doc = collector.until("logs", &[("target", "api"), ("since", "2h")], |doc| doc["left_out"] == 50).await;
    assert_eq!((doc["lines"].as_array().unwrap().len(), &doc["per_hour"]), (200, &200.into()));
    assert_eq!((&doc["lines"][0]["line"], &doc["lines"][199]["line"]), (&"ERROR 249".into(), &"ERROR 50".into()));
    collector.stop().await;
}
