//! An incident as a file: exported, replayed without a collector, kept by itself, refused where it is not whole.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use why502::capsule::Capsule;

use super::agent::{Collector, now_us, report, why502};
use super::incident::{UPSTREAM, break_something, event};
use why502_proto::v1;
use why502_proto::v1::event::Kind;

/// Breaks something, exports the incident; gives its document and the file.
async fn exported(dir: &Path) -> (Value, PathBuf) {
    let collector = Collector::start(&dir.join("store")).await;
    let (_app, _gateway) = break_something(&collector).await;
    let crashed = |doc: &Value| doc["incidents"][0]["cause"] == "process_crashed";
    let incident = collector.until("incidents", &[], crashed).await["incidents"][0].clone();
    let (file, api) = (dir.join("incident.tar.gz"), collector.api.clone());
    let (id, out) = (incident["id"].as_str().unwrap().to_owned(), file.to_str().unwrap().to_owned());
    let run =
        tokio::task::spawn_blocking(move || why502(&api, &["incident", "export", &id, "-o", &out])).await.unwrap();
    assert!(run.0 == 0 && run.1.contains("records of lb-1, app-1"), "{run:?}");
    assert!(run.1.contains("a replay gave the same verdict"), "{run:?}");
    collector.stop().await;
    (incident, file)
}

fn replay(file: &Path, more: &[&str]) -> (i32, String, String) {
    why502("http://127.0.0.1:1", &[&["replay", file.to_str().unwrap()], more].concat())
}

#[tokio::test]
async fn an_exported_incident_gives_its_verdict_again_without_a_collector() {
    let dir = tempfile::tempdir().unwrap();
    let (incident, file) = exported(dir.path()).await;
    let (code, json, _) = replay(&file, &["--json"]);
    let doc: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &doc["replay"]["same"], &doc["replay"]["differs"]), (0, &true.into(), &serde_json::json!([])));
    for field in ["id", "cause", "confidence", "evidence", "missing", "advice", "count", "upstream", "host", "service"]
    {
        assert_eq!(doc["incidents"][0][field], incident[field], "{field}");
    }
    let (code, text, _) = replay(&file, &[]);
    assert!(code == 0 && text.contains("api on app-1 (10.0.0.2:3000) crashed"), "{text}");
    assert!(text.contains("the same as process_crashed") && !text.contains('\u{1b}'), "{text}");
}

/// The two files in a capsule, changed and packed again.
fn rewritten(file: &Path, change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let bytes = std::fs::read(file).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    });
    let mut entries: Vec<_> = entries.collect();
    change(&mut entries);
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Changes a field of the manifest.
fn with(file: &Path, field: &str, value: Value) -> Vec<u8> {
    rewritten(file, |entries| {
        let mut manifest: Value = serde_json::from_slice(&entries[0].1).unwrap();
        *manifest.pointer_mut(field).unwrap() = value;
        entries[0].1 = manifest.to_string().into_bytes();
    })
}

#[tokio::test]
async fn a_replay_that_differs_says_so_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = exported(dir.path()).await;
    let other = dir.path().join("other.tar.gz");
    std::fs::write(&other, with(&file, "/verdict/cause", "oom_killed".into())).unwrap();
    let (code, text, _) = replay(&other, &[]);
    assert!(code == 0 && text.contains("differs from oom_killed"), "{text}");
    assert!(text.contains("cause was \"oom_killed\", a replay says \"process_crashed\""), "{text}");
    assert!(text.contains("its rules were changed since"), "{text}");
    std::fs::write(&other, with(&file, "/version", "0.0.1".into())).unwrap();
    assert!(replay(&other, &[]).1.contains("the same as process_crashed"));
}

#[tokio::test]
async fn what_is_no_whole_capsule_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let (_, file) = exported(dir.path()).await;
    let whole = std::fs::read(&file).unwrap();
    for len in 0..whole.len() {
        assert!(Capsule::from_bytes(&whole[..len]).is_err(), "cut to {len} bytes");
    }
    let told = Capsule::from_bytes(&whole).unwrap();
    for byte in 10..whole.len() {
        let mut bytes = whole.clone();
        bytes[byte] ^= 0x10;
        // Some bits of the packing mean nothing.
        assert!(Capsule::from_bytes(&bytes).ok().is_none_or(|read| read == told), "byte {byte} flipped");
    }
    let bomb = vec![0; (48 << 20) + 1];
    let hostile: [(&str, Vec<u8>); 8] = [
        ("layout 2", with(&file, "/format", 2.into())),
        ("../../etc/passwd", rewritten(&file, |entries| entries.push(("../../etc/passwd".to_owned(), vec![1])))),
        ("twice", rewritten(&file, |entries| entries.push(entries[0].clone()))),
        ("no journal/", rewritten(&file, |entries| entries.truncate(1))),
        ("no manifest", rewritten(&file, |entries| drop(entries.remove(0)))),
        ("manifest.json: ", rewritten(&file, |entries| entries[0].1 = b"{\"format\":1,\"hosts\":7}".to_vec())),
        ("larger than 48 MiB", rewritten(&file, |entries| entries[1].1 = bomb)),
        ("damaged", rewritten(&file, |entries| entries[1].1[100] ^= 1)),
    ];
    for (says, bytes) in hostile {
        let path = dir.path().join("hostile.tar.gz");
        std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
        let (code, out, err) = replay(&path, &[]);
        assert!(code == 2 && out.is_empty() && err.lines().count() == 1, "{says}: {code} {out} {err}");
        assert!(err.contains(says) && err.contains("hostile.tar.gz"), "{says}: {err}");
    }
}

fn too_big(at_us: i64) -> v1::Event {
    let (signal, upstream) = ("header_too_big".to_owned(), UPSTREAM.to_owned());
    let attempt = v1::Attempt { upstream, status: 502, signal: signal.clone(), ..Default::default() };
    let failure = v1::Failure {
        gateway: "edge".to_owned(),
        status: 502,
        origin: v1::Origin::Gateway.into(),
        signal,
        attempts: vec![attempt],
        ..Default::default()
    };
    event(at_us, Kind::Failure(failure))
}

#[tokio::test]
async fn a_resolved_incident_is_kept_and_outlives_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (_app, mut gateway) = break_something(&collector).await;
    let crashed = |doc: &Value| doc["incidents"][0]["cause"] == "process_crashed";
    let id = collector.until("incidents", &[], crashed).await["incidents"][0]["id"].as_str().unwrap().to_owned();
    // The upstream serves again, and then fails for another reason: the first incident is over.
    let answers = |at_us| v1::UpstreamSample {
        gateway: "edge".to_owned(),
        upstream: UPSTREAM.to_owned(),
        answered: 9,
        last_answered_unix_us: at_us,
        to_unix_us: at_us,
        ..Default::default()
    };
    let later = now_us() + 6_000_000;
    gateway.send(v1::Report { upstreams: vec![answers(later - 1_000_000)], ..report(2, vec![]) }).await;
    gateway.acked(2).await;
    gateway.send(report(3, (0..3).map(|_| too_big(later)).collect())).await;
    gateway.acked(3).await;
    let resolved = |doc: &Value| {
        let mut incidents = doc["incidents"].as_array().unwrap().iter();
        incidents.any(|one| one["id"] == id.as_str() && one["state"] == "resolved")
    };
    collector.until("incidents", &[], resolved).await;
    let kept = dir.path().join("capsules").join(format!("{id}.tar.gz"));
    let deadline = std::time::Instant::now() + super::DEADLINE;
    while !kept.exists() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    collector.stop().await;
    assert!(kept.exists(), "no capsule was kept");
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let collector = Collector::start(dir.path()).await;
    let (api, out) = (collector.api.clone(), dir.path().join("out.tar.gz"));
    let (file, bytes) = (out.to_str().unwrap().to_owned(), std::fs::read(&kept).unwrap());
    let asked = tokio::task::spawn_blocking(move || {
        let got = why502(&api, &["incident", "export", &id, "-o", &file]);
        for unknown in ["01NONE", "../journal", ""] {
            assert_eq!(why502(&api, &["incident", "export", unknown, "-o", &file]).0, 1, "{unknown:?}");
        }
        let get = |path: &str| super::http_bytes(&api, &format!("GET /v1/incidents/{path}/capsule HTTP/1.1"));
        let answer = get(&id);
        assert!(answer.ends_with(&bytes) && answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
        assert!(String::from_utf8_lossy(&answer).contains(&format!("filename=\"{id}.tar.gz\"")));
        for unknown in ["01NONE", "..%2fjournal", "%ff", "a%0d%0ab"] {
            assert!(get(unknown).starts_with(b"HTTP/1.1 404"), "{unknown}");
        }
        got
    });
    let got = asked.await.unwrap();
    assert!(got.0 == 0 && got.1.contains("the same verdict"), "{got:?}");
    assert!(replay(&out, &[]).1.contains("RESOLVED"));
    collector.stop().await;
}
