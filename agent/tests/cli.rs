//! The command line from outside: exit codes, and what goes to which stream.

#![allow(clippy::unwrap_used)] // a test

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn agent(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_why502-agent"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file(folder: &tempfile::TempDir, content: &str) -> String {
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn validate_exits_0_or_2() {
    let folder = tempfile::tempdir().unwrap();
    let plain = "collector = [\"http://192.0.2.10:5020\"]\nhost = \"app-1\"\n";
    let path = file(&folder, &format!("{plain}insecure = true\n"));
    let good = agent(&["validate", "--config", &path], "");
    assert_eq!((good.status.code(), text(&good.stderr)), (Some(0), String::new()));
    assert!(text(&good.stdout).contains("holds: host app-1"), "{}", text(&good.stdout));
    let bad = agent(&["validate", "--config", &file(&folder, plain)], "");
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).starts_with(&format!("{path}:1: reports to ")), "{}", text(&bad.stderr));

    let path = file(&folder, "colector = []\ninterval = 5\n");
    let bad = agent(&["validate", "--config", &path], "");
    assert_eq!((bad.status.code(), bad.stdout.len()), (Some(2), 0));
    let told = text(&bad.stderr);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains(&format!("{path}:2: interval is a whole number")), "{told}");
    for command in ["run", "check"] {
        assert_eq!(agent(&[command, "--config", &path], "").status.code(), Some(2), "{command}");
    }
}

#[test]
fn bad_usage_exits_2_and_help_0() {
    for arguments in [
        &["validate"][..],
        &["frobnicate"],
        &[],
        &["read"],
        &["read", "--kind", "iis"],
        &["read", "--kind", "nginx", "/nonexistent"],
    ] {
        let output = agent(arguments, "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        let told = text(&output.stderr);
        // Without any argument the help itself is the answer.
        assert!(arguments.is_empty() || told.lines().count() == 1, "{arguments:?}: {told}");
    }
    assert_eq!(agent(&["--help"], "").status.code(), Some(0));
    assert_eq!(agent(&["--version"], "").status.code(), Some(0));
}

#[test]
fn read_prints_one_object_for_each_line() {
    let line = "10.0.0.9 - - [22/Nov/2026:14:32:01 +0000] \"GET / HTTP/1.1\" 502 157 \"-\" \"curl\"\n";
    let output = agent(&["read", "--kind", "nginx"], &format!("{line}garbage\n{line}"));
    assert_eq!(output.status.code(), Some(0));
    let objects: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let parsed: Vec<_> = objects.iter().map(|object| object["parsed"].as_bool().unwrap()).collect();
    assert_eq!(parsed, [true, false, true]);
    assert_eq!((objects[0]["status"].as_u64(), objects[2]["line"].as_u64()), (Some(502), Some(3)));
}

#[test]
fn check_tells_healthy_from_unhealthy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let config =
        |port| format!("collector = [\"http://127.0.0.1:1\"]\n[[service]]\nname = \"api\"\nlisten = [{port}]\n");
    let path = file(&folder, &config(port));
    let output = agent(&["check", "--config", &path, "--json"], "");
    let report: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let found = report["findings"].as_array().unwrap();
    let mark = |what: &str| {
        found.iter().find(|one| one["subject"] == "api" && one["what"] == what).map(|one| one["mark"].clone())
    };
    assert_eq!(
        (mark("process"), mark("port"), mark("health")),
        (Some("ok".into()), Some("ok".into()), Some("ok".into())),
        "{report}"
    );

    drop(listener);
    let output = agent(&["check", "--config", &path, "api"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("✗ api: "), "{}", text(&output.stdout));
    assert_eq!(agent(&["check", "--config", &path, "web"], "").status.code(), Some(2));
}
