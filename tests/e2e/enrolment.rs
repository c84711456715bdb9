//! From nothing to a host that reports over TLS, with the real programs and the commands of the README; then its certificate is
//! renewed while it reports, and the host is revoked.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use why502_tests::programs;

use super::parts::{free_port, run, until};

/// Programs that end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for program in &mut self.0 {
            let _ = (program.kill(), program.wait());
        }
    }
}

impl Running {
    fn start(&mut self, program: &Path, verb: &str, config: &Path) {
        let log = File::create(config.with_extension("log")).unwrap();
        let mut command = Command::new(program);
        command.arg(verb).arg("--config").arg(config).stdin(Stdio::null());
        self.0.push(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }
}

#[test]
fn a_host_enrols_reports_over_tls_renews_and_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let (place, ingest, api) = (dir.path().display(), free_port(), free_port());
    let (collector, agent) = (dir.path().join("collector.toml"), dir.path().join("agent.toml"));
    // Open to the network and told of no CA: it makes one.
    let doors = format!("[ingest]\nlisten = \"0.0.0.0:{ingest}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n");
    fs::write(
        &collector,
        format!("{doors}[store]\ndir = \"{place}/store\"\n[tls]\nhost_life = \"15s\"\nnames = [\"127.0.0.1\"]\n"),
    )
    .unwrap();
    fs::write(
        &agent,
        format!("collector = [\"enrolled\"]\nhost = \"app-1\"\ninterval = \"5s\"\nstate_dir = \"{place}/state\"\n"),
    )
    .unwrap();
    let agent_arg = agent.display().to_string();
    let admin = format!("{place}/store/identity/admin.token");
    let asked = format!("https://127.0.0.1:{api}");
    let ask = |arguments: &[&str]| {
        let roots = format!("{place}/store/identity/ca.pem");
        let who = ["--collector", &asked, "--ca", &roots, "--token-file", &admin];
        run(&programs::why502(), &[&who, arguments].concat())
    };

    let mut running = Running(Vec::new());
    running.start(&programs::why502(), "serve", &collector);
    let token = until("the collector makes a token", || {
        let (code, token, told) = ask(&["token", "create", "--host", "app-1"]);
        (code == 0).then_some((token, told))
    });
    let (token, told) = token;
    let token_file = dir.path().join("token");
    fs::write(&token_file, token).unwrap();
    let token_arg = token_file.display().to_string();
    // What it told to run, with the place of this host's configuration, and the token from a file.
    let told = told.lines().find_map(|line| line.split_once(" | why502-agent ")).unwrap().1.trim();
    let told = told.replace("/etc/why502/agent.toml", &agent_arg);
    let told = told.replace("--token-file -", &format!("--token-file {token_arg}"));
    let enroll: Vec<&str> = told.split(' ').collect();
    // It waits until the host is enrolled.
    running.start(&programs::agent(), "run", &agent);
    let said = |what: &str| fs::read_to_string(agent.with_extension("log")).unwrap_or_default().contains(what);
    until("the agent tells what it waits for", || said("this host is not enrolled").then_some(()));
    let (code, _, fault) = run(&programs::agent(), &enroll);
    assert_eq!(code, 0, "{fault}");
    assert_eq!(run(&programs::agent(), &enroll).0, 1, "a token works once");
    let at_each_start = [&enroll[..], &["--unless-enrolled"]].concat();
    let (code, answer, fault) = run(&programs::agent(), &at_each_start);
    assert_eq!((code, answer.as_str()), (0, "app-1 is enrolled already\n"), "{fault}");
    let as_another = [&at_each_start[..], &["--host", "app-2"]].concat();
    assert_eq!(run(&programs::agent(), &as_another).0, 1, "the certificate is not of that name");

    let hosts = || serde_json::from_str::<Value>(&ask(&["hosts", "--json"]).1).unwrap_or_default()["hosts"][0].clone();
    until("the host reports", || (hosts()["state"] == "up").then_some(()));
    assert!(ask(&["status"]).1.contains("agents     1 of ") && ask(&["status"]).1.contains("over TLS, each with a"));
    until("the certificate is renewed and the host was never away", || {
        assert_eq!(hosts()["state"], "up");
        said("the certificate was renewed").then_some(())
    });
    assert_eq!(ask(&["hosts", "revoke", "app-1"]).0, 0);
    until("the host is cut off", || (hosts()["state"] == "silent").then_some(()));
    until("the refusal is told", || ask(&["status"]).1.contains("revoked").then_some(()));
}
