//! What other programs take from the collector, held against those programs. One that this machine does not have is
//! named and passed over; tests/run.sh installs them, and counts as skipped what it can't.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::hook::Hook;
use super::parts::{Parts, UPSTREAM, free_port, run, until};

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The program, where this machine has it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: there is no {name}");
    }
    found
}

/// What `GET path` answers, without its head.
pub fn get(address: &str, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.0\r\n"), "").1
}

/// The status and the body, as far as it is text, that a request of this head, but for its last lines, is answered with.
pub fn ask(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(format!("{head}Host: {address}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Every metric of ours that a text names.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("why502_")).map(str::to_owned).collect()
}

#[test]
fn metrics_hold_what_rules_and_dashboard_ask_for() {
    let parts = Parts::start("");
    parts.refused(5);
    parts.incident(5);
    let page = get(parts.api(), "/metrics");
    let counted = page.lines().find(|line| line.starts_with("why502_failures_total{")).unwrap();
    assert!(counted.contains("gateway=\"edge\"") && counted.ends_with(" 5"), "{counted}");
    let offered = metrics_named(&page);
    for file in ["deploy/prometheus/why502.rules.yml", "deploy/grafana/why502.json"] {
        let asked = metrics_named(&fs::read_to_string(repository(file)).unwrap());
        let missing: Vec<_> = asked.difference(&offered).collect();
        assert!(!asked.is_empty() && missing.is_empty(), "{file} asks for what there is not: {missing:?}");
    }
    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(&promtool).args(["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success(), "promtool does not like:\n{page}");
    for (kind, file) in [("rules", "why502.rules.yml"), ("config", "scrape.yml")] {
        let path = repository("deploy/prometheus").join(file);
        let (code, out, fault) = run(&promtool, &["check", kind, path.to_str().unwrap()]);
        assert_eq!(code, 0, "{file}: {out}{fault}");
    }
}

/// A real Alertmanager, alone.
struct Alertmanager {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("alertmanager.yml");
        fs::write(&config, "route: {receiver: nobody, group_by: [group]}\nreceivers: [{name: nobody}]\n").unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        until("Alertmanager listens", || TcpStream::connect(&address).ok());
        Self { child, address, _dir: dir }
    }

    /// What it takes for open.
    fn alerts(&self) -> Vec<Value> {
        serde_json::from_str(&get(&self.address, "/api/v2/alerts?active=true")).unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// The state of the only sink that is called so.
pub fn sink(parts: &Parts, name: &str) -> Value {
    let answer: Value = serde_json::from_str(&parts.ask(&["alerts", "--json"])).unwrap();
    answer["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == name).unwrap().clone()
}

#[test]
fn two_alertmanagers_and_a_webhook_hear_of_an_incident_and_of_its_end_once() {
    let Some(program) = program("prometheus-alertmanager") else { return };
    let managers = [Alertmanager::start(&program), Alertmanager::start(&program)];
    let hook = Hook::start(200);
    let parts = &mut Parts::start_with_alerts(&format!(
        "[alerts]\ncollector_url = \"http://why502.example:5021\"\n\
         [[alerts.sink]]\nname = \"am\"\nkind = \"alertmanager\"\nurls = [\"http://{}\", \"http://{}\"]\nresend = \"2s\"\n\
         labels = {{ team = \"shop\" }}\n\
         [[alerts.sink]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"{}\"\nwait = \"0s\"\n",
        managers[0].address,
        managers[1].address,
        hook.url(),
    ));
    parts.refused(5);
    for manager in &managers {
        let alert = until("Alertmanager knows of it", || manager.alerts().first().cloned());
        let labels = &alert["labels"];
        assert_eq!((&labels["upstream"], &labels["gateway"]), (&UPSTREAM.into(), &"edge".into()));
        // Which cause is the classifier's matter: a probe may have found something meanwhile.
        assert!(labels["family"].is_string() && labels["cause"].is_string(), "{labels}");
        assert_eq!(labels["severity"], "critical");
        assert_eq!(labels["team"], "shop");
        let ask = alert["annotations"]["ask"].as_str().unwrap();
        assert!(ask.starts_with("why502 --collector http://why502.example:5021 why 01"), "{ask}");
    }
    let opened = until("the webhook has it", || hook.bodies().first().cloned());
    assert_eq!((&opened["step"], &opened["upstreams"][0]), (&"opened".into(), &UPSTREAM.into()));
    // Both have confirmed it and both outcomes are durable: a collector that is killed now tells nobody anew.
    until("both are recorded", || {
        (sink(parts, "chat")["delivered"] == 1 && sink(parts, "am")["open"] == 1).then_some(())
    });
    parts.restart_collector();
    let manager = &managers[0];
    let updated = |manager: &Alertmanager| manager.alerts().first().map(|alert| alert["updatedAt"].to_string());
    let before = updated(manager).unwrap();
    until("it is told again that it is open", || updated(manager).filter(|after| *after != before));
    assert_eq!((manager.alerts().len(), hook.bodies().len()), (1, 1));
    // A minute without a failure, and it is over.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(70);
    while std::time::Instant::now() < patience && managers.iter().any(|manager| !manager.alerts().is_empty()) {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(managers.iter().all(|manager| manager.alerts().is_empty()));
    let steps = || hook.bodies().iter().map(|body| body["step"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    until("the webhook hears of the end", || (steps().last()? == "resolved").then_some(()));
    let told = steps();
    let often = |step: &str| told.iter().filter(|told| *told == step).count();
    assert_eq!((often("opened"), often("resolved")), (1, 1), "{told:?}");
    assert_eq!(hook.bodies().last().unwrap()["key"], opened["key"]);
}

#[test]
fn a_webhook_that_fails_is_tried_again_also_by_the_next_process_until_it_has_confirmed_once() {
    let hook = Hook::start(503);
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "0123456789abcdef\n").unwrap();
    let template = repository("deploy/alerts/slack.json.j2");
    let parts = &mut Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"{}\"\nwait = \"0s\"\n\
         template = {template:?}\nsecret_file = {secret:?}\n",
        hook.url(),
    ));
    parts.refused(3);
    until("two attempts failed", || (sink(parts, "chat")["failed"].as_u64()? >= 2).then_some(()));
    let attempts = |parts: &Parts| {
        let answer: Value = serde_json::from_str(&parts.ask(&["alerts", "--json"])).unwrap();
        answer["letters"][0]["attempts"].as_u64()
    };
    let before = attempts(parts).unwrap();
    parts.restart_collector();
    assert!(attempts(parts).unwrap() >= before, "the next process goes on counting");
    hook.answer(204);
    until("it is confirmed", || (sink(parts, "chat")["delivered"] == 1).then_some(()));
    assert!(attempts(parts).is_none(), "nothing waits any more");
    let requests = hook.requests();
    let deliveries: BTreeSet<&str> = requests.iter().map(|one| one.header("x-why502-delivery")).collect();
    let page = get(parts.api(), "/metrics");
    let of = |metric: &str| {
        let start = format!("why502_sink_{metric}{{sink=\"chat\",kind=\"webhook\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u64>().ok())
    };
    assert!(of("failed_total") >= Some(2) && of("retried_total") >= Some(2), "{page}");
    assert_eq!((of("delivered_total"), of("given_up_total"), of("waiting")), (Some(1), Some(0), Some(0)), "{page}");
    assert_eq!(deliveries.len(), 1, "every attempt is the same message: {deliveries:?}");
    assert!(requests.iter().all(|one| one.header("x-why502-signature").contains(",v1=")));
    assert!(hook.bodies()[0]["blocks"].is_array(), "the template was used");
    parts.restart_collector();
    parts.refused(1);
    parts.incident(4);
    assert_eq!(hook.requests().len(), requests.len(), "what was confirmed is not told again");
}

#[test]
fn what_a_sink_refuses_for_good_is_a_dead_letter_that_everybody_can_see() {
    let hook = Hook::start(422);
    let parts = &mut Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"{}\"\nwait = \"0s\"\n",
        hook.url(),
    ));
    parts.refused(3);
    let id = parts.incident(3)["id"].as_str().unwrap().to_owned();
    until("it is given up", || (sink(parts, "chat")["given_up"] == 1).then_some(()));
    let answer: Value = serde_json::from_str(&parts.ask(&["alerts", "--json"])).unwrap();
    let letter = &answer["letters"][0];
    assert_eq!(
        (&letter["state"], &letter["key"], &letter["attempts"]),
        (&"given_up".into(), &id.as_str().into(), &1.into())
    );
    assert!(letter["why"].as_str().unwrap().contains("422") && !letter.to_string().contains("hidden"), "{letter}");
    let shown = parts.ask(&["alerts"]);
    assert!(shown.contains(&id) && shown.contains("422"), "{shown}");
    let page = get(parts.api(), "/metrics");
    assert!(page.contains("why502_sink_given_up_total{sink=\"chat\",kind=\"webhook\"} 1\n"), "{page}");
    // The next process knows that it was given up.
    hook.answer(200);
    parts.restart_collector();
    parts.refused(1);
    parts.incident(4);
    assert_eq!(hook.requests().len(), 1, "it is not tried again");
}

#[test]
fn a_sink_can_be_tried_and_incidents_be_silenced() {
    let hook = Hook::start(200);
    let parts = Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"chat\"\nkind = \"webhook\"\nurl = \"{}\"\nwait = \"0s\"\n",
        hook.url(),
    ));
    assert!(parts.ask(&["alerts", "test", "chat"]).contains("confirmed"));
    assert_eq!(hook.bodies()[0]["step"], "test");
    assert!(parts.ask(&["alerts", "test", "pager"]).contains("there is no sink \"pager\": chat"));
    let silence: Value = serde_json::from_str(&parts.ask(&[
        "silence",
        "add",
        "--upstream",
        UPSTREAM,
        "--for",
        "1h",
        "--comment",
        "known",
        "--json",
    ]))
    .unwrap();
    parts.refused(3);
    parts.incident(3);
    assert!(parts.ask(&["silence", "list"]).contains("known"));
    let id = silence["id"].as_str().unwrap();
    assert_eq!(hook.bodies().len(), 1, "it is silenced");
    assert!(parts.ask(&["silence", "expire", id]).contains("has ended"));
    let told = until("it is told now", || hook.bodies().get(1).cloned());
    assert_eq!(told["step"], "opened");
    assert!(parts.ask(&["silence", "expire", id]).contains("no silence"));
}

#[test]
fn the_templates_that_ship_make_what_their_services_take() {
    let hook = Hook::start(200);
    for (template, field) in [("slack", "blocks"), ("teams", "attachments"), ("pagerduty", "payload"), ("chat", "text")]
    {
        let path = repository(&format!("deploy/alerts/{template}.json.j2"));
        let parts = Parts::start_with_alerts(&format!(
            "[[alerts.sink]]\nname = \"one\"\nkind = \"webhook\"\nurl = \"{}\"\ntemplate = {path:?}\nvalues = {{ routing_key = \"R1\" }}\n",
            hook.url(),
        ));
        assert!(parts.ask(&["alerts", "test", "one"]).contains("confirmed"), "{template}");
        let body = hook.bodies().last().unwrap().clone();
        assert!(!body[field].is_null(), "{template} made {body}");
    }
}
