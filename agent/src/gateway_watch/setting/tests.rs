use super::*;

fn setting(configuration: Configuration) -> Setting {
    Setting {
        configuration: Some(configuration),
        changed: BTreeMap::new(),
        looked: Instant::now(),
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
