//! From nothing to a host that reports over TLS, with the real programs and the commands of the README; then its certificate is
//! renewed while it reports, and the host is revoked.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use why502_tests::programs;

use super::feeds::program;
use super::guarded::{authority, certificate};
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

/// The CA that signed the certificate which is shown at an address.
fn issuer(openssl: &Path, address: &str) -> Option<String> {
    let shown = run(openssl, &["s_client", "-connect", address, "-showcerts"]).1;
    shown.lines().find_map(|line| line.trim().strip_prefix("i:CN = ")).map(str::to_owned)
}

#[test]
fn somebody_elses_ca_lets_a_host_in_and_is_replaced_by_its_files() {
    let Some(openssl) = program("openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (place, ingest, api) = (dir.path().display(), free_port(), free_port());
    let (collector, agent) = (dir.path().join("collector.toml"), dir.path().join("agent.toml"));
    for ca in ["first", "second"] {
        authority(&openssl, dir.path(), ca);
        certificate(&openssl, dir.path(), ca, &format!("door-by-{ca}"), "IP:127.0.0.1");
    }
    certificate(&openssl, dir.path(), "first", "host", "DNS:app-1");
    let copy = |from: &str, to: &str| fs::copy(dir.path().join(from), dir.path().join(to)).unwrap();
    for (from, to) in [("first.pem", "roots.pem"), ("door-by-first.pem", "door.pem"), ("door-by-first.key", "door.key")]
    {
        copy(from, to);
    }
    let identity = |name: &str| {
        format!("ca = \"{place}/roots.pem\"\ncert = \"{place}/{name}.pem\"\nkey = \"{place}/{name}.key\"\n")
    };
    let doors = format!("[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n");
    fs::write(&collector, format!("{doors}[store]\ndir = \"{place}/store\"\n[tls]\n{}", identity("door"))).unwrap();
    let keys = format!("host = \"app-1\"\ninterval = \"1s\"\nstate_dir = \"{place}/state\"\n{}", identity("host"));
    fs::write(&agent, format!("collector = [\"https://127.0.0.1:{ingest}\"]\n{keys}")).unwrap();
    let mut running = Running(Vec::new());
    running.start(&programs::why502(), "serve", &collector);
    running.start(&programs::agent(), "run", &agent);
    let asked = format!("http://127.0.0.1:{api}");
    let ask = |what: &str| {
        let answer = run(&programs::why502(), &["--collector", &asked, what, "--json"]).1;
        serde_json::from_str::<Value>(&answer).unwrap_or_default()
    };
    // Heard by the collector that runs now.
    let heard = || {
        let (host, started) = (ask("hosts")["hosts"][0].clone(), ask("status")["collector"]["started"].clone());
        (host["state"] == "up" && host["last_heard"].as_str() > started.as_str()).then_some(())
    };
    until("the host reports", heard);

    let door = format!("127.0.0.1:{ingest}");
    assert_eq!(issuer(&openssl, &door).unwrap(), "first of its own");
    let roots = ["first.pem", "second.pem"].map(|root| fs::read_to_string(dir.path().join(root)).unwrap());
    fs::write(dir.path().join("roots.pem"), roots.concat()).unwrap();
    copy("door-by-second.pem", "door.pem");
    copy("door-by-second.key", "door.key");
    until("another CA's certificate is shown", || (issuer(&openssl, &door)? == "second of its own").then_some(()));
    // The next connection is to somebody else's certificate.
    let _ = (running.0[0].kill(), running.0[0].wait());
    running.start(&programs::why502(), "serve", &collector);
    until("the host is back", heard);
}
