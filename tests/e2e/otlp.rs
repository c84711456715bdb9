//! Incidents as log records, held against a collector of OpenTelemetry's protocol (Rotel). Where this machine does not have
//! it, it is named and passed over; tests/run.sh installs it, and counts as skipped what it can't.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::feeds::{program, sink};
use super::guarded::Guarded;
use super::parts::{Parts, UPSTREAM, free_port, until};

/// The real collector, which writes down what it takes.
struct Receiver {
    child: Child,
    address: String,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Receiver {
    /// None: this machine does not have it.
    fn start() -> Option<Self> {
        let program = program("rotel-agent")?;
        let dir = tempfile::tempdir().unwrap();
        let (address, log) = (format!("127.0.0.1:{}", free_port()), dir.path().join("log"));
        let child = Command::new(program)
            .args(["start", "--exporter", "blackhole", "--debug-log", "logs", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &address, "--otlp-grpc-endpoint", &format!("127.0.0.1:{}", free_port())])
            .arg("--pid-file")
            .arg(dir.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the receiver listens", || TcpStream::connect(&address).ok());
        Some(Self { child, address, log, _dir: dir })
    }

    /// The records it took, as it writes them.
    fn records(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.split("ResourceLog #0").skip(1).map(str::to_owned).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn an_incident_is_a_log_record_of_an_open_telemetry_collector() {
    let Some(receiver) = Receiver::start() else { return };
    let parts = &mut Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"logs\"\nkind = \"otlp\"\nurl = \"http://{}\"\nwait = \"0s\"\n\
         labels = {{ team = \"shop\" }}\nresource = {{ \"deployment.environment.name\" = \"production\" }}\n",
        receiver.address
    ));
    parts.refused(5);
    let opened = until("the record is there", || receiver.records().first().cloned());
    until("and confirmed", || (sink(parts, "logs")["delivered"] == 1).then_some(()));
    let incident = parts.incident(5);
    let id = incident["id"].as_str().unwrap();
    for line in [
        "service.name: Str(why502)",
        "deployment.environment.name: Str(production)",
        "SeverityNumber: SEVERITY_NUMBER_ERROR(17)",
        "EventName: why502.incident.opened",
        &format!("why502.incident.id: Str({id})"),
        &format!("why502.upstream: Str({UPSTREAM})"),
        "why502.gateway: Str(edge)",
        "why502.gateway_host: Str(lb-1)",
        "why502.severity: Str(critical)",
        "why502.team: Str(shop)",
        "why502.count: Int(5)",
        "why502.ask: Str(why502 why ",
    ] {
        assert!(opened.contains(line), "{line} is not in {opened}");
    }
    // Which cause it is may have changed since; that there are one, its evidence and its advice may not.
    for filled in [
        "Body: Str(",
        "why502.family: Str(",
        "why502.cause: Str(",
        "why502.confidence: Double(0.",
        "why502.evidence: Slice(Str(20",
        "why502.advice: Slice(Str(",
    ] {
        assert!(opened.contains(filled), "{filled} is not in {opened}");
    }
    parts.restart_collector();
    assert!(parts.ask(&["alerts", "test", "logs"]).contains("confirmed"));
    let test = until("the sample is there", || {
        receiver.records().into_iter().find(|one| one.contains("why502.incident.test"))
    });
    assert!(test.contains("SEVERITY_NUMBER_WARN(13)"), "{test}");
    let opened = receiver.records().iter().filter(|one| one.contains("why502.incident.opened")).count();
    assert_eq!(opened, 1, "what was confirmed is not told again by the next process");
}

#[test]
fn a_receiver_behind_tls_and_a_token_takes_what_comes_with_both() {
    let Some(receiver) = Receiver::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "Bearer wrong\n").unwrap();
    let Some(guarded) = Guarded::start(&receiver.address, "Bearer right") else { return };
    let roots = guarded.roots();
    let parts = Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"stranger\"\nkind = \"otlp\"\nurl = \"{url}\"\n\
         [[alerts.sink]]\nname = \"logs\"\nkind = \"otlp\"\nurl = \"{url}\"\nca_file = {roots:?}\n\
         header_files = {{ Authorization = {token:?} }}\n",
        url = guarded.url("/v1/logs"),
    ));
    let stranger = parts.ask(&["alerts", "test", "stranger"]);
    assert!(stranger.contains("tls") && stranger.contains("UnknownIssuer"), "{stranger}");
    let refused = parts.ask(&["alerts", "test", "logs"]);
    assert!(refused.contains("401"), "{refused}");
    assert!(!refused.contains("wrong") && receiver.records().is_empty(), "{refused}");
    fs::write(&token, "Bearer right\n").unwrap();
    assert!(parts.ask(&["alerts", "test", "logs"]).contains("confirmed"), "a changed token holds at once");
    until("the sample is there", || receiver.records().first().cloned());
    let shown: Value = sink(&parts, "logs");
    assert!(shown["kind"] == "otlp" && shown["to"][0].as_str().unwrap().starts_with("https://localhost:"), "{shown}");
}
