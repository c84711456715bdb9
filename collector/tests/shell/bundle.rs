//! What a person sends along who asks for help: all that is known of a target in one file, and one line where there is none.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use why502::capsule::Capsule;
use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::agent::{Agent, Collector, now_us, report, why502};
use super::incident::{UPSTREAM, break_something, event};

/// The files of a bundle by their names within its folder.
fn unpacked(file: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(file).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.path().unwrap().strip_prefix("why502-bundle").unwrap().to_str().unwrap().to_owned();
        (name, content)
    });
    entries.collect()
}

/// An agent tells what its host has, what holds its service, and what that logged.
async fn tell_of_the_instance(app: &mut Agent) {
    let interface =
        v1::InterfaceSample { name: "eth0".to_owned(), addresses: vec!["10.0.0.2".to_owned()], ..Default::default() };
    let host =
        v1::HostSample { cpus: 4, mem_total_bytes: Some(8 << 30), interfaces: vec![interface], ..Default::default() };
    let cgroup = v1::CgroupSample {
        path: "/system.slice/docker-4bd1.scope".to_owned(),
        cpu_quota: Some(0.5),
        ..Default::default()
    };
    let sample = v1::InstanceSample { service: "api".to_owned(), cgroup: Some(cgroup), ..Default::default() };
    let line = "ERROR no connection\u{1b}[31m".to_owned();
    let logged = v1::LogMatch { service: "api".to_owned(), kind: "error".to_owned(), line, ..Default::default() };
    let events = vec![event(now_us(), Kind::LogMatch(logged))];
    app.send(v1::Report { host: Some(host), instances: vec![sample], ..report(2, events) }).await;
    app.acked(2).await;
}

/// Another agent tells how its gateway is set up.
async fn tell_of_the_gateway(gateway: &mut Agent) {
    let member = |address: &str| v1::PoolMember { address: address.to_owned(), ..Default::default() };
    let pool = |name: &str, address: &str| v1::Pool {
        name: name.to_owned(),
        members: vec![member(address)],
        timeouts: Some(v1::Timeouts { read_us: Some(20_000_000), ..Default::default() }),
        source: format!("nginx.conf:{}", name.len()),
        ..Default::default()
    };
    let config = v1::GatewayConfig {
        gateway: "edge".to_owned(),
        kind: "nginx".to_owned(),
        pools: vec![pool("shop", UPSTREAM), pool("another", "10.0.0.9:1")],
        readable: true,
        ..Default::default()
    };
    gateway.send(v1::Report { gateways: vec![config], ..report(2, vec![]) }).await;
    gateway.acked(2).await;
}

#[tokio::test]
async fn a_bundle_holds_what_is_known_of_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&dir.path().join("store")).await;
    let (mut app, mut gateway) = break_something(&collector).await;
    tell_of_the_instance(&mut app).await;
    tell_of_the_gateway(&mut gateway).await;
    let crashed = |doc: &Value| doc["incidents"][0]["cause"] == "process_crashed";
    let incident = collector.until("incidents", &[], crashed).await["incidents"][0].clone();
    collector.until("environment", &[("target", "api")], |doc| doc["gateways"][0]["pools"][0]["name"] == "shop").await;
    let id = incident["id"].as_str().unwrap().to_owned();
    let (api, files) = (collector.api.clone(), [dir.path().join("api.tar.gz"), dir.path().join("incident.tar.gz")]);
    let (paths, targets) = (files.clone(), ["api".to_owned(), id.clone()]);
    let written = tokio::task::spawn_blocking(move || {
        let write = |(target, file): (&String, &std::path::PathBuf)| {
            why502(&api, &["bundle", target, "-o", file.to_str().unwrap()])
        };
        targets.iter().zip(&paths).map(write).collect::<Vec<_>>()
    });
    for run in written.await.unwrap() {
        assert!(run.0 == 0 && run.1.contains(" KiB: README.txt, why.txt") && !run.1.contains("not in it"), "{run:?}");
    }
    for file in &files {
        let held = unpacked(file);
        let text = |name: &str| String::from_utf8(held[name].clone()).unwrap();
        let json = |name: &str| serde_json::from_slice::<Value>(&held[name]).unwrap();
        assert!(held.iter().all(|(name, bytes)| name.ends_with(".gz") || !bytes.contains(&0x1b)));
        assert!(text("README.txt").contains(&id) && text("README.txt").contains("(process_crashed, "));
        assert_eq!(json("why.json")["incidents"][0]["evidence"], incident["evidence"]);
        assert!(text("timeline.txt").contains("api") && text("logs.txt").contains("ERROR no connection"));
        let environment = json("environment.json");
        let app = environment["hosts"].as_array().unwrap().iter().find(|one| one["host"]["host"] == "app-1").unwrap();
        assert_eq!((&app["cpus"], &app["interfaces"][0]["addresses"][0]), (&4.into(), &"10.0.0.2".into()));
        assert_eq!(environment["instances"][0]["container"], "docker");
        assert_eq!(environment["gateways"][0]["pools"].as_array().unwrap().len(), 1, "of another pool nobody asked");
        assert!(text("environment.txt").contains("pool shop (nginx.conf:4): read 20 s"), "{}", text("environment.txt"));
        let capsule = Capsule::from_bytes(&held[&format!("capsules/{id}.tar.gz")]).unwrap();
        assert_eq!(capsule.replay().unwrap().id.as_ref(), Some(&id));
    }
    collector.stop().await;
}

#[tokio::test]
async fn where_there_is_no_bundle_one_line_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&dir.path().join("store")).await;
    let _agents = break_something(&collector).await;
    collector.until("hosts", &[], |doc| doc["hosts"][1]["state"] == "up").await;
    let (api, at) = (collector.api.clone(), dir.path().to_owned());
    let refused = tokio::task::spawn_blocking(move || {
        let path = |name: &str| at.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("there"), "kept").unwrap();
        for (target, file, more, code, says) in [
            ("nobody", path("new"), vec![], 1, "nothing is known of \"nobody\""),
            ("", path("new"), vec![], 2, "this needs a target"),
            ("api", path("new"), vec!["--since", "soon"], 2, "\"soon\" is not a duration"),
            ("api", path("there"), vec![], 1, "there: is there already"),
            ("api", path("no/folder/new"), vec![], 1, "No such file"),
            ("api", path("new"), vec!["--collector", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
        ] {
            let (got, out, err) = why502(&api, &[&["bundle", target, "-o", &file][..], &more].concat());
            assert!(got == code && out.is_empty() && err.lines().count() == 1 && err.contains(says), "{says}: {err}");
        }
        assert!(!at.join("new").exists());
        assert_eq!(std::fs::read_to_string(path("there")).unwrap(), "kept");
        assert_eq!(why502(&api, &["bundle", "api"]).0, 2);
    });
    refused.await.unwrap();
    collector.stop().await;
}
