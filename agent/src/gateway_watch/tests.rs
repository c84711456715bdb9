use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::config::{Journald, LogListen};

const COMBINED: &str = r#"192.0.2.7 - - [22/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8""#;
const REFUSED: &str = "2026/11/22 10:00:01 [error] 9#9: *4 connect() failed (111: Connection refused) while connecting to \
                       upstream, client: 192.0.2.7, server: , request: \"GET /a?key=1 HTTP/1.1\", upstream: \
                       \"http://10.0.0.2:3000/a?key=1\", host: \"edge\"";

/// A gateway whose logs the test writes.
struct Edge {
    dir: tempfile::TempDir,
    watch: Watch,
    now: Instant,
}

fn append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn gateway(dir: &Path) -> Gateway {
    fs_write(&dir.join("access.log"), "");
    fs_write(&dir.join("error.log"), "");
    Gateway {
        name: "edge".into(),
        kind: Kind::Nginx,
        access_log: Some(dir.join("access.log")),
        error_log: Some(dir.join("error.log")),
        config: Some(dir.join("nginx.conf")),
        format: None,
        listen: None,
        program: None,
        journald: None,
    }
}

fn fs_write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn nginx_conf(dir: &Path, format: &str) -> String {
    format!(
        "events {{}}\nhttp {{\n log_format up '{format}';\n access_log {}/access.log up;\n error_log {}/error.log warn;\n \
         upstream api {{ server 10.0.0.2:3000; server 10.0.0.3:3000; }}\n server {{ listen 80; location / {{ proxy_pass \
         http://api; }} }}\n}}\n",
        dir.display(),
        dir.display()
    )
}

const FORMAT: &str = "$remote_addr [$time_iso8601] \"$request\" $status $upstream_addr $upstream_status \
                      $upstream_connect_time $upstream_header_time $upstream_response_time";

impl Edge {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path());
        fs_write(&dir.path().join("nginx.conf"), &nginx_conf(dir.path(), FORMAT));
        let (positions, _) = Positions::load(dir.path());
        // On a beat, so that it is known when counts are due.
        let now = beat::nearest(Instant::now(), Duration::from_secs(5));
        Self { watch: Watch::new(gateway, Duration::from_secs(5), &positions, None, now), dir, now }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn access(&self, status: u16, upstream: &str, times: &str) {
        let line = format!(
            "192.0.2.7 [2026-11-22T10:00:01+00:00] \"GET /a?key=1 HTTP/1.1\" {status} {upstream} {status} {times}"
        );
        writeln!(append(&self.path("access.log")), "{line}").unwrap();
    }

    fn error(&self, line: &str) {
        writeln!(append(&self.path("error.log")), "{line}").unwrap();
    }

    /// Rounds until nothing new is read, after some time.
    fn rounds(&mut self, later: Duration) -> Vec<Observed> {
        self.now += later;
        let mut told = Vec::new();
        while self.watch.round(self.now, false, &mut told) {}
        told
    }
}

fn failures(told: &[Observed]) -> Vec<&v1::Failure> {
    let kinds = told.iter().filter_map(|observed| match observed {
        Observed::Event(event) => event.kind.as_ref(),
        _ => None,
    });
    kinds
        .filter_map(|kind| match kind {
            v1::event::Kind::Failure(failure) => Some(failure),
            _ => None,
        })
        .collect()
}

fn samples(told: &[Observed]) -> Vec<&v1::UpstreamSample> {
    told.iter()
        .filter_map(|observed| match observed {
            Observed::Upstream(sample) => Some(sample.as_ref()),
            _ => None,
        })
        .collect()
}

fn sources(told: &[Observed]) -> Vec<&v1::LogSource> {
    told.iter()
        .filter_map(|observed| match observed {
            Observed::Source(source) => Some(source.as_ref()),
            _ => None,
        })
        .collect()
}

fn marks(told: &[Observed], log: &str) -> Vec<u64> {
    told.iter()
        .filter_map(|observed| match observed {
            Observed::Mark(mark) if mark.log.ends_with(log) => mark.position.files.last().map(|file| file.offset_bytes),
            _ => None,
        })
        .collect()
}

#[test]
fn a_refused_connect_is_told_at_once_with_its_reason_and_a_probe() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    edge.error(REFUSED);
    edge.access(502, "10.0.0.2:3000", "- - 0.000");
    edge.access(200, "10.0.0.3:3000", "0.001 0.010 0.011");
    let told = edge.rounds(Duration::from_millis(100));
    let told_failures = failures(&told);
    assert_eq!(told_failures.len(), 1, "{told:?}");
    let failure = told_failures[0];
    assert_eq!((failure.signal.as_str(), failure.status, failure.unconfirmed), ("connect_refused", 502, false));
    assert_eq!((failure.attempts[0].upstream.as_str(), failure.path.as_str()), ("10.0.0.2:3000", "/a"));
    assert!(failure.reason.contains("111"), "{}", failure.reason);
    assert_eq!(marks(&told, "access.log"), [std::fs::metadata(edge.path("access.log")).unwrap().len()]);
    let probes = std::mem::take(&mut edge.watch.probes);
    assert_eq!(probes.iter().map(|probe| probe.upstream.as_str()).collect::<Vec<_>>(), ["10.0.0.2:3000"]);
    let told = edge.rounds(HOT_INTERVAL);
    let counts: Vec<_> = samples(&told).iter().map(|s| (s.upstream.as_str(), s.answered, s.failed)).collect();
    assert_eq!(counts, [("10.0.0.2:3000", 0, 1), ("10.0.0.3:3000", 1, 0)], "soon, since something fails");
    assert!(failures(&edge.rounds(ERROR_HELD)).is_empty(), "the error record was taken");
}

#[test]
fn what_only_an_error_log_says_is_unconfirmed_and_never_probed() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    edge.error(&REFUSED.replace("10.0.0.2", "203.0.113.9"));
    assert!(failures(&edge.rounds(Duration::from_millis(100))).is_empty());
    let told = edge.rounds(ERROR_HELD);
    assert_eq!(failures(&told).iter().map(|failure| failure.unconfirmed).collect::<Vec<_>>(), [true]);
    assert!(edge.watch.probes.is_empty() && samples(&told).is_empty());
    assert_eq!(marks(&told, "error.log").len(), 1, "it is told, so it need not be read again");
}

#[test]
fn healthy_traffic_is_counts_once_an_interval() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    for _ in 0..5_000 {
        edge.access(200, "10.0.0.2:3000", "0.001 0.010 0.011");
    }
    append(&edge.path("access.log")).write_all(b"no such format \xff\n").unwrap();
    assert!(edge.rounds(Duration::from_millis(100)).is_empty());
    let told = edge.rounds(Duration::from_secs(5));
    assert_eq!(samples(&told).iter().map(|sample| sample.answered).collect::<Vec<_>>(), [5_000]);
    let read = sources(&told);
    assert_eq!((read[0].lines, read[0].failures, read[0].unparsed), (5_001, 0, 1));
    assert_eq!((read[0].unparsed_sample.as_str(), read[0].fault.as_str()), ("no such format \u{fffd}", ""));
    assert!(read[0].source.ends_with("access.log") && read[1].source.ends_with("error.log"));
    assert!(sources(&edge.rounds(Duration::from_secs(5))).is_empty(), "what was told is told once");
    assert_eq!(marks(&told, "access.log").len(), 1);
}

#[test]
fn a_flood_keeps_its_count_and_its_place() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    for _ in 0..3_000 {
        edge.access(502, "10.0.0.2:3000", "0.001 - 0.011");
    }
    let told = edge.rounds(Duration::from_millis(50));
    assert!(failures(&told).len() < 300, "{}", failures(&told).len());
    assert_eq!(marks(&told, "access.log"), [0_u64; 0], "what is held back is not told");
    assert!(edge.watch.flood.holds_back(), "so that what was told waits for it");
    let later = edge.rounds(Duration::from_millis(100));
    let all: Vec<_> = failures(&told).into_iter().chain(failures(&later)).collect();
    assert_eq!(all.iter().map(|failure| 1 + failure.repeats).sum::<u32>(), 3_000);
    assert_eq!(marks(&later, "access.log"), [std::fs::metadata(edge.path("access.log")).unwrap().len()]);
}

#[test]
fn a_restart_takes_up_where_everything_was_told() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    edge.access(502, "10.0.0.2:3000", "0.001 - 0.011");
    let mut told = edge.rounds(Duration::from_millis(100));
    edge.access(503, "10.0.0.2:3000", "0.001 - 0.011");
    let mut positions = Positions::load(edge.dir.path()).0;
    told.drain(..).for_each(|observed| {
        if let Observed::Mark(mark) = observed {
            positions.set(mark)
        }
    });
    edge.watch = Watch::new(edge.watch.gateway.clone(), Duration::from_secs(5), &positions, None, edge.now);
    let told = edge.rounds(Duration::ZERO);
    assert_eq!(failures(&told).iter().map(|failure| failure.status).collect::<Vec<_>>(), [503]);
}

#[test]
fn stopping_tells_what_is_held() {
    let mut edge = Edge::new();
    edge.rounds(Duration::ZERO);
    edge.access(200, "10.0.0.2:3000", "0.001 0.010 0.011");
    let mut told = Vec::new();
    while edge.watch.round(edge.now, true, &mut told) {}
    let end = std::fs::metadata(edge.path("access.log")).unwrap().len();
    assert_eq!((samples(&told).len(), marks(&told, "access.log").pop()), (1, Some(end)));
}

#[test]
fn a_changed_configuration_changes_the_format_and_is_told() {
    let mut edge = Edge::new();
    let told = edge.rounds(Duration::ZERO);
    let config = |told: &[Observed]| {
        told.iter()
            .find_map(|observed| if let Observed::Gateway(config) = observed { Some(config.clone()) } else { None })
    };
    let first = config(&told).unwrap();
    assert!(first.readable && first.log_has_upstream && first.missing_log.is_empty(), "{first:?}");
    let members = first.pools.iter().find(|pool| pool.name == "api").unwrap().members.len();
    assert_eq!(members, 2);
    assert_eq!(config(&edge.rounds(Duration::from_secs(10))), None, "nothing changed");

    let plain = "$remote_addr - - [$time_local] \"$request\" $status $body_bytes_sent";
    fs_write(&edge.path("nginx.conf"), &nginx_conf(edge.dir.path(), plain));
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    File::options().write(true).open(edge.path("nginx.conf")).unwrap().set_modified(later).unwrap();
    let second = config(&edge.rounds(Duration::from_secs(10))).unwrap();
    assert!(!second.log_has_upstream && second.missing_log.contains("$upstream_addr"), "{second:?}");
    writeln!(append(&edge.path("access.log")), "{}", COMBINED.replace("200 5", "502 5")).unwrap();
    assert_eq!(failures(&edge.rounds(Duration::from_millis(100))).len(), 1);
}

#[test]
fn a_configuration_that_is_not_named_is_missed_where_there_could_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let faults = |kind, config| {
        let gateway = Gateway { kind, config, ..gateway(dir.path()) };
        Setting::read(&gateway, Instant::now()).message(&gateway, 0).faults
    };
    assert!(faults(Kind::Nginx, None).iter().any(|fault| fault.contains("does not name its `config`")));
    assert!(faults(Kind::Nginx, Some(dir.path().join("gone.conf"))).iter().all(|fault| fault.contains("gone.conf")));
    assert_eq!(faults(Kind::AwsAlb, None), Vec::<String>::new());
}

#[test]
fn a_missing_log_is_told_and_waited_for() {
    let mut edge = Edge::new();
    std::fs::remove_file(edge.path("access.log")).unwrap();
    let states = |told: &[Observed]| -> Vec<(String, i32)> {
        let statuses = told.iter().filter_map(|o| if let Observed::Status(status) = o { Some(status) } else { None });
        statuses.filter(|status| status.name.ends_with("access.log")).map(|s| (s.why.clone(), s.state)).collect()
    };
    let told = edge.rounds(Duration::ZERO);
    assert_eq!(states(&told).len(), 1);
    assert!(states(&told)[0].0.contains("waited for"), "{told:?}");
    edge.access(502, "10.0.0.2:3000", "0.001 - 0.011");
    let told = edge.rounds(Duration::from_millis(100));
    assert_eq!(states(&told), [(String::new(), v1::sampler_status::State::Active.into())]);
    assert_eq!(failures(&told).len(), 1);
}

#[test]
fn what_comes_by_a_socket_is_read_and_other_programs_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let listen = crate::config::LogListen::Unixgram("/run/log.sock".into());
    let gateway = Gateway {
        access_log: None,
        error_log: None,
        listen: Some(listen),
        program: Some("nginx".into()),
        ..gateway(dir.path())
    };
    let conf = nginx_conf(dir.path(), FORMAT)
        .replace(&format!("{}/access.log up", dir.path().display()), "syslog:server=unix:/run/log.sock up");
    fs_write(&dir.path().join("nginx.conf"), &conf);
    let inbox = Inbox::default();
    let now = Instant::now();
    let (positions, _) = Positions::load(dir.path());
    let mut watch = Watch::new(gateway, Duration::from_secs(5), &positions, Some(inbox.clone()), now);
    let access = "192.0.2.7 [2026-11-22T10:00:01+00:00] \"GET /a?key=1 HTTP/1.1\" 502 10.0.0.2:3000 502 - - 0.001";
    for text in [
        format!("<187>Nov 22 10:00:01 lb-1 nginx: {REFUSED}"),
        format!("<190>Nov 22 10:00:01 lb-1 nginx: {access}"),
        "<13>Nov 22 10:00:01 lb-1 sshd[9]: not a gateway's".to_owned(),
    ] {
        inbox.offer(text.as_bytes());
    }
    let mut told = Vec::new();
    while watch.round(now + Duration::from_secs(10), false, &mut told) {}
    let told_failures = failures(&told);
    assert_eq!(told_failures.len(), 1, "{told:?}");
    assert_eq!((told_failures[0].signal.as_str(), told_failures[0].unconfirmed), ("connect_refused", false));
    let read = sources(&told);
    assert_eq!((read[0].source.as_str(), read[0].lines, read[0].unparsed), ("unixgram:///run/log.sock", 2, 0));
    assert!(told.iter().all(|observed| !matches!(observed, Observed::Mark(_))), "a socket has no place");
}

#[test]
fn what_went_to_systemds_journal_is_read_with_its_place() {
    use crate::journald::tests::{Said, write};
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    let setting = Journald { unit: Some("nginx.service".into()), program: None, folder: Some(journal.clone()) };
    let gateway = Gateway { access_log: None, error_log: None, journald: Some(setting), ..gateway(dir.path()) };
    let conf = nginx_conf(dir.path(), FORMAT)
        .replace(&format!("{}/access.log up", dir.path().display()), "syslog:server=unix:/dev/log up");
    fs_write(&dir.path().join("nginx.conf"), &conf);
    let (positions, _) = Positions::load(dir.path());
    let mut now = Instant::now();
    let mut watch = Watch::new(gateway, Duration::from_secs(5), &positions, None, now);
    while watch.round(now, false, &mut Vec::new()) {}
    let access = "192.0.2.7 [2026-11-22T10:00:01+00:00] \"GET /a?key=1 HTTP/1.1\" 502 10.0.0.2:3000 502 - - 0.001";
    let said = |unit, text: &str| Said { unit, program: "nginx", message: text.into() };
    let all = [said("nginx.service", REFUSED), said("other.service", access), said("nginx.service", access)];
    if !write(&journal.join("system.journal"), &[], 0, &all) {
        return;
    }
    let mut told = Vec::new();
    for _ in 0..3 {
        now += Duration::from_secs(6);
        while watch.round(now, false, &mut told) {}
    }
    let told_failures = failures(&told);
    assert_eq!(told_failures.len(), 1, "{told:?}");
    assert_eq!((told_failures[0].signal.as_str(), told_failures[0].unconfirmed), ("connect_refused", false));
    let read = sources(&told);
    let last = read.last().unwrap();
    assert_eq!((last.source.as_str(), last.lines, last.unparsed), ("journald:nginx.service", 2, 0));
    let marks = told.iter().filter(|observed| matches!(observed, Observed::Mark(_))).count();
    assert_eq!(marks, 1, "{told:?}");
}

#[test]
fn what_fails_behind_a_gateway_that_is_elsewhere_is_not_tried_from_here() {
    let dir = tempfile::tempdir().unwrap();
    let here = gateway(dir.path());
    assert!(here.is_here());
    assert!(!Gateway { kind: Kind::AwsAlb, ..here.clone() }.is_here());
    let sent = |listen: LogListen| Gateway {
        access_log: None,
        error_log: None,
        config: None,
        listen: Some(listen),
        ..here.clone()
    };
    assert!(sent(LogListen::Udp("127.0.0.1:1514".parse().unwrap())).is_here());
    assert!(!sent(LogListen::Udp("0.0.0.0:1514".parse().unwrap())).is_here());
    let configured = Gateway { config: here.config.clone(), ..sent(LogListen::Udp("0.0.0.0:1514".parse().unwrap())) };
    assert!(configured.is_here());

    let mut edge = Edge::new();
    edge.watch.gateway.kind = Kind::AwsAlb;
    edge.rounds(Duration::ZERO);
    edge.access(502, "10.0.0.2:3000", "- - 0.000");
    assert_eq!(failures(&edge.rounds(Duration::from_millis(100))).len(), 1);
    assert!(edge.watch.probes.is_empty());
}
