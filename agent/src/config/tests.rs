use super::*;

const COLLECTOR: &str = "collector = [\"http://127.0.0.1:5020\"]\n";

fn faults(text: &str) -> Vec<String> {
    parse("agent.toml", text).expect_err("it must not hold").iter().map(Fault::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    parse("agent.toml", text).expect("it must hold").warnings.iter().map(Fault::to_string).collect()
}

fn config(text: &str) -> Config {
    parse("agent.toml", &format!("{COLLECTOR}{text}")).expect("it must hold").config
}

#[test]
fn a_collector_is_enough() {
    let loaded = parse("agent.toml", COLLECTOR).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.collectors, ["http://127.0.0.1:5020"]);
    assert_eq!(config.host, nix::unistd::gethostname().unwrap().into_string().unwrap());
    assert_eq!(config.interval, Duration::from_secs(5));
    assert_eq!(config.state_dir, Path::new("/var/lib/why502-agent"));
    assert!(!config.insecure);
    assert!(config.services.is_empty() && config.gateways.is_empty());
}

#[test]
fn the_contracts_example_holds() {
    let text = r#"
collector = ["http://192.0.2.10:5020"]
host      = "app-1"
interval  = "5s"
state_dir = "/var/lib/why502-agent"
insecure  = true

[[service]]
name   = "api"
listen = ["10.0.0.2:3000"]
match  = { cmdline = "node .*index\\.js" }
health = { path = "/health", timeout = "5s", interval = "10s" }
logs   = ["/dev/null"]

[[gateway]]
name       = "edge"
kind       = "nginx"
access_log = "/dev/null"
error_log  = "/dev/null"
config     = "/dev/null"
format     = "..."
listen     = "udp://127.0.0.1:1514"
"#;
    let loaded = parse("agent.toml", text).unwrap();
    assert_eq!(loaded.warnings, []);
    let service = &loaded.config.services[0];
    assert_eq!(service.listen, [Listen::Address("10.0.0.2:3000".parse().unwrap())]);
    assert!(service.matcher.cmdline.as_ref().unwrap().is_match("node /srv/index.js"));
    let health = service.health.as_ref().unwrap();
    assert_eq!((health.path.as_str(), health.port, health.scheme), ("/health", None, None));
    assert_eq!((health.timeout, health.interval), (Duration::from_secs(5), Duration::from_secs(10)));
    let gateway = &loaded.config.gateways[0];
    assert_eq!((gateway.name.as_str(), gateway.kind), ("edge", Kind::Nginx));
    assert_eq!(gateway.listen, Some(LogListen::Udp("127.0.0.1:1514".parse().unwrap())));
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let text = r#"collektor = ["http://127.0.0.1:5020"]
host = 5
interval = "10"
insecure = "yes"
[[service]]
name = "api"
listen = ["10.0.0.2", 70000, "3000"]
match = { cmdline = "node (", unitt = "x" }
health = { timeout = "0ms", scheme = "ftp" }
[[service]]
name = "api"
listen = "10.0.0.2:3000"
[[gateway]]
name = ""
kind = "ngnix"
listen = "ftp://127.0.0.1:1"
"#;
    assert_eq!(
        faults(text),
        [
            "agent.toml:1: unknown key \"collektor\": write collector, or take it out",
            "agent.toml:1: collector is missing: write collector = [\"http://192.0.2.10:5020\"]",
            "agent.toml:2: host is a whole number, not a text: write host = \"app-1\"",
            "agent.toml:3: interval: \"10\" has no unit (ms, s, m, h, d): write interval = \"5s\"",
            "agent.toml:4: insecure is a text, not true or false: write insecure = true or insecure = false, without quotes",
            "agent.toml:7: listen of service: \"10.0.0.2\" has no port: write \"ip:port\", \"port\" for any local address, or \"unix:/path\"",
            "agent.toml:7: listen of service: \"70000\" is no port (1 to 65535): write \"ip:port\", \"port\" for any local address, or \"unix:/path\"",
            "agent.toml:8: unknown key \"unitt\" of match: write unit, or take it out",
            "agent.toml:8: cmdline of match: \"node (\" is no regular expression: unclosed group: write cmdline = \"node .*index\\\\.js\"",
            "agent.toml:9: path of health is missing: write health = { path = \"/health\" }",
            "agent.toml:9: scheme of health: \"ftp\" is no scheme: write scheme = \"http\" or scheme = \"https\"",
            "agent.toml:9: timeout of health: \"0ms\" is out of its bounds, 10ms to 5m: write timeout = \"5s\"",
            "agent.toml:11: a second service is named \"api\": give each service a name of its own",
            "agent.toml:12: listen of service is a text, not a list: write listen = [\"10.0.0.2:3000\"]",
            "agent.toml:14: name of gateway is empty: write name = \"edge\"",
            "agent.toml:15: \"ngnix\" is no kind of gateway: write kind = \"nginx\", or another one of nginx, nginx_stream, ingress_nginx, haproxy, envoy, istio, apache, caddy, traefik, varnish, aws_alb, aws_clb, gcp_lb, azure_appgw, cloudflare, lighttpd, squid, linkerd, cloudflared, heroku",
            "agent.toml:16: listen of gateway: \"ftp://127.0.0.1:1\" has an unknown scheme: write listen = \"udp://127.0.0.1:1514\" (udp, tcp, http, or unixgram:///path)",
        ]
    );
}

#[test]
fn faults_of_syntax_and_of_meaning_come_together() {
    let told = faults("interval = 5x\nhost = \"\"\nstate_dir = \"/var/lib\n[[service]\nname = \"a\"\n");
    assert!(told.iter().any(|fault| fault.starts_with("agent.toml:1: ")), "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("agent.toml:2: host is empty")), "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("agent.toml:3: ")), "{told:?}");
    // What is missing may stand in the part that could not be read.
    assert!(!told.iter().any(|fault| fault.contains("missing")), "{told:?}");
    assert!(told.iter().all(|fault| !fault.contains('\n')), "{told:?}");
}

#[test]
fn a_key_that_stands_twice_is_a_fault() {
    let told = faults(&format!("{COLLECTOR}host = \"a\"\nhost = \"b\"\n"));
    assert!(told.len() == 1 && told[0].starts_with("agent.toml:3: duplicate key"), "{told:?}");
}

#[test]
fn plain_text_beyond_loopback_must_be_asked_for() {
    let beyond = "collector = [\"http://192.0.2.10:5020/\", \"https://192.0.2.11:5020\", \"http://[::1]:5020\"]\n";
    let told = faults(beyond);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("agent.toml:1: reports to http://192.0.2.10:5020 would travel in plain text: "),
        "{told:?}"
    );
    assert_eq!(warnings(&format!("{beyond}insecure = true\n")), [""; 0]);
}

#[test]
fn an_identity_is_given_whole_or_the_agents_own() {
    let own = config("state_dir = \"/state\"\n").identity;
    assert_eq!(own, Identity::in_state_dir(Path::new("/state")));
    let given = config("ca = \"/ca.pem\"\ncert = \"/c.pem\"\nkey = \"/k.pem\"\n").identity;
    assert_eq!(given.pair.map(|pair| pair.key), Some("/k.pem".into()));
    assert!(!given.own);
    let told = faults(&format!("{COLLECTOR}cert = \"/c.pem\"\n"));
    assert!(told.len() == 1 && told[0].contains("cert and key belong together"), "{told:?}");
}

#[test]
fn the_collector_may_be_the_one_that_the_host_enrolled_with() {
    assert_eq!(warnings("collector = [\"enrolled\"]\n"), [""; 0]);
}

#[test]
fn bad_collectors_are_faults() {
    for bad in [
        "192.0.2.10:5020",
        "http://",
        "http://h",
        "http://h:0",
        "http://h:99999",
        "http://u:p@h:5020",
        "http://h:5020/x",
        "ftp://h:5020",
        "http://a b:5020",
        "http://[x]:5020",
        "",
    ] {
        let told = faults(&format!("collector = [\"{bad}\"]\n"));
        assert_eq!(told.len(), 1, "{bad}: {told:?}");
        assert!(!told[0].contains("u:p@"), "{told:?}");
    }
    assert!(faults("collector = []\n")[0].contains("empty list"));
    assert!(faults("collector = \"http://127.0.0.1:5020\"\n")[0].contains("not a list"));
    assert!(faults("collector = [5020]\n")[0].contains("not a text"));
}

#[test]
fn listen_takes_ports_addresses_and_sockets() {
    let config = config(
        "[[service]]\nname=\"a\"\nlisten=[3000, \"3001\", \"*:3002\", \"0.0.0.0:3003\", \"[::]:3004\", \"[::1]:3005\", \"unix:/run/a.sock\", \"/run/b.sock\"]\n",
    );
    let shown: Vec<_> = config.services[0].listen.iter().map(Listen::to_string).collect();
    assert_eq!(shown, ["3000", "3001", "3002", "3003", "3004", "[::1]:3005", "unix:/run/a.sock", "unix:/run/b.sock"]);
    for bad in [
        "\"app.example:3000\"",
        "0",
        "-1",
        "65536",
        "\"10.0.0.2:0\"",
        "\"10.0.0.2:x\"",
        "\"\"",
        "true",
        "\"[::1\"",
        "\"10.0.0.256:80\"",
    ] {
        let told = faults(&format!("{COLLECTOR}[[service]]\nname=\"a\"\nlisten=[{bad}]\n"));
        assert!(told.len() == 1 && told[0].starts_with("agent.toml:4: listen of service"), "{bad}: {told:?}");
    }
}

#[test]
fn durations_have_a_unit_and_bounds() {
    for (good, ms) in [("100ms", 100), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000)] {
        assert_eq!(config(&format!("interval=\"{good}\"\n")).interval, Duration::from_millis(ms));
    }
    for bad in [
        "\"99ms\"",
        "\"2h\"",
        "\"5\"",
        "5",
        "5.0",
        "\"-5s\"",
        "\"1.5s\"",
        "\"5 s\"",
        "\"s\"",
        "\"5sec\"",
        "\"\"",
        "\"99999999999999999999s\"",
        "\"99999999999999999d\"",
    ] {
        let told = faults(&format!("{COLLECTOR}interval={bad}\n"));
        assert!(told.len() == 1 && told[0].starts_with("agent.toml:2: interval"), "{bad}: {told:?}");
    }
}

#[test]
fn a_log_that_is_not_there_is_a_warning() {
    let text = format!(
        "{COLLECTOR}[[service]]\nname=\"a\"\nlisten=[1]\nlogs=[\"/nonexistent/a.log\", \"/\"]\n[[gateway]]\nkind=\"nginx\"\naccess_log=\"/nonexistent/b.log\"\n"
    );
    let told = warnings(&text);
    assert_eq!(
        told,
        [
            "agent.toml:5: warning: logs of service: /nonexistent/a.log is not there yet: name a file that this user can read; it is waited for",
            "agent.toml:5: warning: logs of service: / is a folder: name a file that this user can read; it is waited for",
            "agent.toml:8: warning: access_log of gateway: /nonexistent/b.log is not there yet: name a file that this user can read; it is waited for",
        ]
    );
}

#[test]
fn names_are_bounded_and_hold_no_control_characters() {
    let long = "x".repeat(129);
    for (bad, why) in
        [("\"a\\u001bb\"", "control character"), ("\" \"", "is empty"), (&*format!("\"{long}\""), "129 characters")]
    {
        let told = faults(&format!("{COLLECTOR}[[service]]\nname={bad}\nlisten=[1]\n"));
        assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
        assert!(told[0].chars().all(|c| !c.is_control()), "{told:?}");
    }
}

#[test]
fn names_are_derived_where_they_are_left_out() {
    let config = config(
        "[[service]]\nmatch={unit=\"api.service\"}\n[[service]]\nmatch={exe=\"/usr/bin/node\"}\n[[service]]\nlisten=[3000]\n[[gateway]]\nkind=\"haproxy\"\nlisten=\"udp://127.0.0.1:1514\"\n",
    );
    let names: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["api", "node", "3000"]);
    assert_eq!(config.gateways[0].name, "haproxy");
    let told = faults(&format!("{COLLECTOR}[[service]]\nlogs=[]\n"));
    assert!(told[0].contains("name of service is missing"), "{told:?}");
}

#[test]
fn tables_need_their_two_brackets() {
    let told = faults(&format!("{COLLECTOR}[service]\nname=\"a\"\n"));
    assert_eq!(told, ["agent.toml:2: service is a table: begin each with a line [[service]]"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let told = load(Path::new("/nonexistent/agent.toml")).unwrap_err();
    assert!(told[0].to_string().starts_with("/nonexistent/agent.toml: can't be read: No such file"), "{told:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, b"host = \"\xff\"").unwrap();
    assert!(load(&path).unwrap_err()[0].what.contains("not UTF-8"));
}

#[test]
fn garbage_is_told_not_choked_on() {
    for text in [
        "\0",
        "= = =",
        "[[[",
        "a = [",
        "collector = [[]]",
        "service = [1, \"x\", []]",
        "\u{feff}host=1",
        "gateway = 1.5",
        "[[service]]\nhealth = 1\nmatch = []\nlogs = {}\n",
    ] {
        let told = faults(text);
        assert!(
            told.iter().all(|fault| fault.starts_with("agent.toml:") && !fault.chars().any(char::is_control)),
            "{told:?}"
        );
    }
}

#[test]
fn the_annotated_example_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.toml");
    let loaded = load(&path).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(loaded.warnings.iter().all(|warning| warning.what.ends_with("is not there yet")), "{:?}", loaded.warnings);
    let text = std::fs::read_to_string(&path).unwrap();
    for key in ["host", "format", "listen"] {
        assert!(text.contains(&format!("# {key} = ")), "{key}");
    }
    // What is commented out holds, too.
    let all = text
        .replace("\n# host = ", "\nhost = ")
        .replace("\n# format = ", "\nformat = ")
        .replace("\n# listen = ", "\nlisten = ");
    let config = parse("agent.toml", &all).unwrap_or_else(|faults| panic!("{faults:?}")).config;
    assert_eq!(config.host, "app-1");
    assert_eq!(config.gateways[0].listen, Some(LogListen::Udp("127.0.0.1:1514".parse().unwrap())));
}

#[test]
fn a_gateways_part_of_the_journal_is_its_units_or_programs() {
    let gateway = |journald: &str| format!("[[gateway]]\nkind = \"haproxy\"\njournald = {journald}\n");
    let journald = config(&gateway("{ unit = \"haproxy\" }")).gateways[0].journald.clone().unwrap();
    assert_eq!((journald.unit.as_deref(), journald.program, journald.folder), (Some("haproxy.service"), None, None));
    assert!(config(&gateway("{ program = \"haproxy\" }")).gateways[0].is_here());
    let told = faults(&format!("{COLLECTOR}{}", gateway("{ dir = \"/var/log/journal/x\" }")));
    assert!(told.len() == 1 && told[0].contains("neither unit nor program"), "{told:?}");
}
