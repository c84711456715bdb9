use super::*;

fn setting(configuration: Configuration) -> Setting {
    Setting {
        configuration: Some(configuration),
        changed: BTreeMap::new(),
        since: None,
        looked: Instant::now(),
        looked_at: SystemTime::now(),
        bare_failures: false,
    }
}

fn gateway(kind: Kind) -> Gateway {
    Gateway {
        name: "edge".into(),
        kind,
        access_log: Some("/logs/access.log".into()),
        error_log: Some("/logs/error.log".into()),
        config: None,
        format: None,
        listen: None,
        program: None,
        journald: None,
    }
}

fn access(target: &str, format: Option<&str>) -> LogSetting {
    LogSetting { target: Some(target.into()), format: format.map(str::to_owned), ..Default::default() }
}

#[test]
fn the_format_is_that_of_the_log_that_is_followed() {
    let logs = vec![access("/logs/other.log", Some("other")), access("logs/access.log", Some("$upstream_addr"))];
    let found = setting(Configuration { logs, ..Default::default() });
    let mut edge = gateway(Kind::Nginx);
    assert_eq!(found.format(&edge), Some("$upstream_addr"));
    edge.format = Some("given".into());
    assert_eq!(found.format(&edge), Some("given"), "what agent.toml says counts first");
}

#[test]
fn advice_names_what_is_missing() {
    let advice = |logs: Vec<LogSetting>| {
        setting(Configuration { logs, ..Default::default() }).missing_log(&gateway(Kind::Nginx))
    };
    let good = || access("/logs/access.log", Some("$upstream_addr $status"));
    let error = |target: Option<&str>, level: &str| LogSetting {
        target: target.map(str::to_owned),
        level: Some(level.into()),
        is_error_log: true,
        ..Default::default()
    };
    assert_eq!(advice(vec![good(), error(Some("/logs/error.log"), "warn")]), "");
    assert!(advice(vec![access("/logs/access.log", None)]).contains("$upstream_addr"));
    assert!(advice(vec![good(), error(None, "error")]).contains("error_log"));
    assert!(advice(vec![good(), error(Some("/logs/error.log"), "crit")]).contains("warn or error"));
    let mut blind = gateway(Kind::Nginx);
    blind.error_log = None;
    assert!(setting(Configuration::default()).missing_log(&blind).contains("agent.toml"));
    assert_eq!(setting(Configuration::default()).missing_log(&gateway(Kind::Haproxy)), "");
}

#[test]
fn logs_that_go_to_a_stream_have_the_commonest_format() {
    let logs = vec![
        access("/dev/log", Some("%ci a")),
        access("127.0.0.1:514", Some("%ci b")),
        access("/dev/log", Some("%ci b")),
        LogSetting { target: Some("/dev/log".into()), is_error_log: true, ..Default::default() },
    ];
    let found = setting(Configuration { logs, ..Default::default() });
    assert_eq!(found.format(&gateway(Kind::Haproxy)), Some("%ci b"));
    let file = setting(Configuration { logs: vec![access("/logs/other.log", Some("x"))], ..Default::default() });
    assert_eq!(file.format(&gateway(Kind::Nginx)), None, "another file's");
}

#[test]
fn each_kind_is_told_what_its_logs_lack() {
    let told = |kind: Kind, logs: Vec<LogSetting>, error_log: bool, bare: bool| {
        let mut edge = gateway(kind);
        edge.error_log = edge.error_log.filter(|_| error_log);
        let mut setting = setting(Configuration { logs, ..Default::default() });
        setting.bare_failures = bare;
        setting.missing_log(&edge)
    };
    let own = |level: &str| LogSetting {
        target: Some("/logs/error.log".into()),
        level: Some(level.into()),
        is_error_log: true,
        ..Default::default()
    };
    let log = |format: &str| vec![access("/logs/access.log", Some(format))];
    assert!(told(Kind::Haproxy, log("%ci %ST"), true, false).contains("%tsc"));
    assert_eq!(told(Kind::Haproxy, log("%ci %tsc"), true, false), "");
    assert!(told(Kind::Envoy, vec![access("/logs/access.log", None)], true, false).contains("DETAILS"));
    assert_eq!(told(Kind::Istio, vec![access("/logs/access.log", None)], true, false), "");
    assert_eq!(told(Kind::Envoy, log("%RESPONSE_CODE_DETAILS%"), true, false), "");
    assert!(told(Kind::Apache, Vec::new(), false, false).contains("error_log"));
    assert!(told(Kind::Apache, vec![own("crit")], true, false).contains("LogLevel"));
    assert!(told(Kind::Traefik, vec![own("error")], true, false).contains("DEBUG"));
    assert_eq!(told(Kind::Traefik, vec![own("debug")], true, true), "");
    assert!(told(Kind::Caddy, Vec::new(), false, true).contains("http.log.error"));
    assert_eq!(told(Kind::Caddy, Vec::new(), false, false), "", "one file may hold both");
    assert!(told(Kind::Varnish, Vec::new(), false, true).contains("FetchError"));
    assert_eq!(told(Kind::AwsAlb, Vec::new(), false, true), "");
}

#[test]
fn an_unknown_format_is_judged_by_its_failures() {
    let edge = gateway(Kind::Nginx);
    let mut unknown = setting(Configuration::default());
    assert!(unknown.message(&edge, 1).log_has_upstream);
    assert!(unknown.saw_bare_failure(&edge));
    assert!(!unknown.saw_bare_failure(&edge), "told once");
    assert!(!unknown.message(&edge, 1).log_has_upstream);
}

#[test]
fn a_message_always_fits_into_a_report() {
    let members = vec![Member { address: "10.0.0.2:3000".into(), ..Default::default() }; 100];
    let pool =
        Pool { name: "api".into(), members, connect_timeout: Some(Duration::from_secs(3)), ..Default::default() };
    let many =
        setting(Configuration { pools: vec![pool; 1_000], faults: vec!["x".repeat(9_000); 100], ..Default::default() });
    let message = many.message(&gateway(Kind::Nginx), 1);
    assert!(message.encoded_len() <= MAX_POOLS_BYTES + 20_000, "{}", message.encoded_len());
    assert!(message.faults.last().unwrap().contains("of 1000 pools"));
    assert_eq!(message.pools[0].timeouts.as_ref().unwrap().connect_us, Some(3_000_000));
}

#[test]
fn the_address_behind_a_name_that_fails_is_looked_up_again_soon() {
    let dir = tempfile::tempdir().unwrap();
    let vcl = dir.path().join("default.vcl");
    let backend = |host: &str| format!("vcl 4.1;\nbackend app0 {{ .host = \"{host}\"; .port = \"3000\"; }}\n");
    std::fs::write(&vcl, backend("10.0.0.2")).unwrap();
    let edge = Gateway { config: Some(vcl.clone()), ..gateway(Kind::Varnish) };
    let began = Instant::now();
    let mut found = Setting::read(&edge, began);
    let failed = |upstream: &str| {
        let attempt = crate::gateway::Attempt { upstream: Some(upstream.into()), ..Default::default() };
        Record { attempts: vec![attempt], ..Default::default() }
    };
    // The times of files are as fine as the kernel's clock ticks.
    let written = std::fs::metadata(&vcl).unwrap().modified().unwrap();
    std::fs::write(&vcl, backend("10.0.0.3")).unwrap();
    std::fs::File::options().write(true).open(&vcl).unwrap().set_modified(written + Duration::from_secs(1)).unwrap();
    let soon = began + Duration::from_secs(1);
    assert!(!found.is_doubted(&failed("app0"), began + Duration::from_millis(100)), "not all the time");
    assert!(!found.is_doubted(&failed("10.0.0.9:80"), soon) && !found.refresh(&edge, soon), "its time has not come");
    assert!(found.is_doubted(&failed("app0"), soon) && found.refresh(&edge, soon));
    assert_eq!(found.pools()[0].members[0].address, "10.0.0.3:3000");
    assert!(!found.is_doubted(&failed("app0"), soon + Duration::from_millis(100)));
}

#[test]
fn a_change_is_told_with_its_time_but_not_with_that_of_a_file_moved_here() {
    let dir = tempfile::tempdir().unwrap();
    let [conf, other] = ["nginx.conf", "other.conf"].map(|name| dir.path().join(name));
    let write = |path: &Path, port: u16| {
        std::fs::write(path, format!("http {{ upstream api {{ server 10.0.0.2:{port}; }} }}")).unwrap();
        std::fs::metadata(path).unwrap().modified().unwrap()
    };
    write(&conf, 1);
    let written = write(&other, 3);
    let edge = Gateway { config: Some(conf.clone()), ..gateway(Kind::Nginx) };
    let began = Instant::now();
    let mut found = Setting::read(&edge, began);
    assert_eq!(found.message(&edge, 7).changed_unix_us, 0, "nobody saw it change");
    let due = |looks: u32| began + LOOK_INTERVAL * looks;
    // Times of files are as fine as the kernel's clock ticks: this one is to be seen.
    let changed = loop {
        let changed = write(&conf, 2);
        if changed > written {
            break changed;
        }
    };
    assert!(found.refresh(&edge, due(1)));
    let message = found.message(&edge, 7);
    assert_eq!((message.at_unix_us, message.changed_unix_us), (7, unix_us(changed)));
    let long_ago = written - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&other).unwrap().set_modified(long_ago).unwrap();
    std::fs::rename(&other, &conf).unwrap();
    assert!(found.refresh(&edge, due(2)));
    assert_eq!(found.message(&edge, 7).changed_unix_us, 0);
}
