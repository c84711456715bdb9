use super::*;

use why502_proto::v1::{CgroupSample, HostSample, InstanceSample, ListenerSample, MountSample, ProcessSample};

fn config(service: &str) -> Config {
    let text =
        format!("collector = [\"http://127.0.0.1:1\"]\nhost = \"app-1\"\n[[service]]\nname = \"api\"\n{service}");
    crate::config::parse("agent.toml", &text).unwrap().config
}

fn host() -> HostSample {
    HostSample {
        at_unix_us: 1_000_000_000,
        cpus: 4,
        cpu_busy_ratio: Some(0.5),
        mem_total_bytes: Some(8 << 30),
        mem_available_bytes: Some(4 << 30),
        mounts: vec![MountSample { path: "/".into(), total_bytes: 100, available_bytes: 50, ..Default::default() }],
        ..Default::default()
    }
}

fn instance() -> InstanceSample {
    let process = ProcessSample {
        pid: 4242,
        name: "node".into(),
        state: "S".into(),
        started_unix_us: 940_000_000,
        rss_bytes: 84 << 20,
        cpu_ratio: Some(0.25),
        fds: Some(20),
        fd_limit: Some(1024),
        leader: true,
        ..Default::default()
    };
    let listener = ListenerSample { address: "0.0.0.0:3000".into(), queue_limit: 511, ..Default::default() };
    InstanceSample {
        service: "api".into(),
        process_count: 1,
        processes: vec![process],
        listeners: vec![listener],
        listeners_known: true,
        ..Default::default()
    }
}

fn health() -> HealthResult {
    HealthResult {
        service: "api".into(),
        url: "http://10.0.0.2:3000/health".into(),
        status: 200,
        first_byte_us: Some(12_345),
        ..Default::default()
    }
}

fn judged(instance: InstanceSample, host: HostSample, health: HealthResult) -> Report {
    let look = Look { host, instances: vec![instance], statuses: Vec::new() };
    report(&config("listen = [\"10.0.0.2:3000\"]\n"), &look, &[health])
}

/// The only finding that is not in order.
fn odd(report: &Report) -> (&str, Mark) {
    let mut odd = report.findings.iter().filter(|finding| finding.mark != Mark::Ok);
    let one = odd.next().expect("something is odd");
    assert!(odd.next().is_none(), "{}", report.lines());
    (one.what, one.mark)
}

#[test]
fn a_healthy_instance_reads_as_such() {
    let report = judged(instance(), host(), health());
    assert_eq!(report.verdict, Verdict::Healthy);
    assert_eq!(
        report.lines(),
        "✓ api: process 4242 (node), for 60 s, 84 MiB resident\n\
         ✓ api: listens on 10.0.0.2:3000\n\
         ✓ api: 0 of 511 connections wait to be accepted at 0.0.0.0:3000\n\
         ✓ api: http://10.0.0.2:3000/health answered 200 in 12 ms\n\
         ✓ api: uses 0.25 of 4 CPUs, 6 %\n\
         ✓ api: uses 84 MiB of 8.0 GiB memory, 1 %\n\
         ✓ api: process 4242 has 20 of 1024 descriptors open, 2 %\n\
         ✓ host: 4 CPUs busy 50 %\n\
         ✓ host: 4.0 GiB of 8.0 GiB memory used, 50 %\n\
         ✓ host: space used on / 50 %\n"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!((&json["verdict"], &json["findings"][1]["mark"]), (&"healthy".into(), &"ok".into()));
}

#[test]
fn each_fault_is_told_apart() {
    let bad = |change: fn(&mut InstanceSample)| {
        let mut instance = instance();
        change(&mut instance);
        let report = judged(instance, host(), health());
        let (what, mark) = odd(&report);
        (what.to_owned(), mark, report.verdict)
    };
    let failed = |what: &str| (what.to_owned(), Mark::Failed, Verdict::Unhealthy);
    let warned = |what: &str| (what.to_owned(), Mark::Warning, Verdict::Healthy);
    assert_eq!(bad(|one| (one.process_count, one.processes) = (0, Vec::new())), failed("process"));
    assert_eq!(bad(|one| one.processes[0].state = "T".into()), failed("process"));
    assert_eq!(bad(|one| one.processes[0].state = "Z".into()), failed("process"));
    assert_eq!(bad(|one| one.listeners[0].address = "127.0.0.1:3000".into()), failed("port"));
    assert_eq!(bad(|one| one.listeners.clear()), failed("port"));
    assert_eq!(bad(|one| one.listeners[0].queue = 511), failed("queue"));
    assert_eq!(bad(|one| one.listeners[0].queue = 480), warned("queue"));
    assert_eq!(bad(|one| one.processes[0].fds = Some(1024)), failed("descriptors"));
    assert_eq!(bad(|one| one.processes[0].fds = Some(1000)), warned("descriptors"));
    assert_eq!(bad(|one| one.processes[0].cpu_ratio = Some(3.9)), warned("cpu"));
    let limit = |one: &mut InstanceSample| {
        one.cgroup = Some(CgroupSample { mem_bytes: Some(95), mem_limit_bytes: Some(100), ..Default::default() });
    };
    assert_eq!(bad(limit), warned("memory"));
    let unknown = ("port".to_owned(), Mark::Unknown, Verdict::Unknown);
    assert_eq!(bad(|one| (one.listeners_known, one.listeners) = (false, Vec::new())), unknown);
}

#[test]
fn the_hosts_limits_are_told() {
    let bad = |change: fn(&mut HostSample)| {
        let mut host = host();
        change(&mut host);
        let report = judged(instance(), host, health());
        let (what, mark) = odd(&report);
        (what.to_owned(), mark)
    };
    assert_eq!(bad(|host| host.cpu_busy_ratio = Some(0.95)), ("cpu".to_owned(), Mark::Warning));
    assert_eq!(bad(|host| host.cpu_busy_ratio = None), ("cpu".to_owned(), Mark::Unknown));
    assert_eq!(bad(|host| host.mem_available_bytes = Some(1 << 20)), ("memory".to_owned(), Mark::Warning));
    assert_eq!(bad(|host| host.mounts[0].available_bytes = 5), ("disk".to_owned(), Mark::Warning));
    assert_eq!(bad(|host| host.mounts[0].available_bytes = 0), ("disk".to_owned(), Mark::Failed));
}

#[test]
fn an_unhealthy_answer_and_none_fail() {
    let slow =
        HealthResult { status: 0, signal: "read_timeout".into(), error: "no answer within 5s".into(), ..health() };
    let report = judged(instance(), host(), slow);
    assert_eq!(odd(&report), ("health", Mark::Failed));
    assert!(report.lines().contains("✗ api: http://10.0.0.2:3000/health failed: no answer within 5s (read_timeout)"));
    let report =
        judged(instance(), host(), HealthResult { status: 503, body: "not\u{1b}[2J leader".into(), ..health() });
    assert!(report.lines().contains("answered 503 in 12 ms: not\\u{1b}[2J leader"), "{}", report.lines());
}

#[tokio::test]
async fn a_service_of_another_name_is_bad_usage() {
    let config = config("match = { exe = \"/nonexistent\" }\n");
    let fault = tokio::task::spawn_blocking(move || run(&config, Some("web")).unwrap_err()).await.unwrap();
    assert_eq!(fault.to_string(), "no service is named \"web\" here; there are: api");
}
