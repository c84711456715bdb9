use std::path::{Path, PathBuf};
use std::time::Duration;

use super::configuration;
use crate::gateway::{Configuration, Files};

struct One(&'static str);

impl Files for One {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        if path == Path::new("/etc/haproxy/haproxy.cfg") {
            Ok(self.0.as_bytes().to_vec())
        } else {
            Err("no such file".to_owned())
        }
    }

    fn glob(&self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
}

fn read(text: &'static str) -> Configuration {
    configuration(Path::new("/etc/haproxy/haproxy.cfg"), &One(text))
}

const USUAL: &str = r#"
global
    log 127.0.0.1:514 local0
    tune.bufsize 32768
defaults
    log global
    mode http
    option httplog
    timeout connect 5s
    timeout server 30000   # milliseconds
    retries 2
    default-server inter 1500ms fall 4
frontend fe
    bind *:80
    log-format "%ci [%tr] %b/%s \"%r\" %ST"
    default_backend app
backend app
    option httpchk
    http-check send meth GET uri /ready hdr Host app.example.com
    http-check expect status 200
    timeout check 800ms
    server web1 10.0.0.1:8080 check rise 5 maxconn 50
    server web2 ::1:8080 check port 9000 backup
    server web3 unix@/run/app.sock disabled
backend secure
    server s1 app.example.com:8443 ssl verify required ca-file /etc/ssl/ca.pem sni str(app.example.com) check
    server-template t 2-3 10.0.0.9:80
"#;

#[test]
fn servers_have_addresses_and_what_defaults_hand_on() {
    let configuration = read(USUAL);
    assert_eq!(configuration.faults, Vec::<String>::new());
    let app = &configuration.pools[0];
    assert_eq!((app.name.as_str(), app.source.as_str()), ("app", "/etc/haproxy/haproxy.cfg:17"));
    let addresses: Vec<&str> = app.members.iter().map(|member| member.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.1:8080", "[::1]:8080", "unix:/run/app.sock"]);
    assert_eq!(app.members[1].check_address.as_deref(), Some("[::1]:9000"));
    assert!(app.members[1].backup && app.members[2].down);
    assert_eq!(app.connect_timeout, Some(Duration::from_secs(5)));
    assert_eq!((app.read_timeout, app.tries), (Some(Duration::from_secs(30)), Some(3)));
    assert_eq!(app.header_limit_bytes, Some(32_768 - 1_024));
}

#[test]
fn checks_are_put_together_from_three_places() {
    let configuration = read(USUAL);
    let check = configuration.pools[0].check.as_ref().unwrap();
    assert_eq!((check.kind.as_str(), check.path.as_str(), check.host.as_str()), ("http", "/ready", "app.example.com"));
    assert_eq!((check.interval, check.timeout), (Some(Duration::from_millis(1500)), Some(Duration::from_millis(800))));
    assert_eq!((check.fall, check.rise, check.expects.as_str()), (Some(4), Some(5), "status 200"));
    let plain = configuration.pools[1].check.as_ref().unwrap();
    assert_eq!((plain.kind.as_str(), plain.timeout), ("tcp", Some(Duration::from_millis(1500))));
}

#[test]
fn tls_templates_and_logs_are_read() {
    let configuration = read(USUAL);
    let secure = &configuration.pools[1];
    let tls = secure.tls.as_ref().unwrap();
    assert!(tls.verify);
    assert_eq!((secure.scheme.as_str(), tls.server_name.as_deref()), ("https", Some("app.example.com")));
    assert_eq!(secure.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["s1", "t2", "t3"]);
    let log = &configuration.logs[0];
    assert_eq!(log.target.as_deref(), Some("127.0.0.1:514"));
    assert_eq!(log.format.as_deref(), Some("%ci [%tr] %b/%s \"%r\" %ST"));
}

#[test]
fn named_defaults_are_handed_to_who_asks() {
    let configuration = read(
        "defaults slow\n timeout server 9s\ndefaults\n timeout server 1s\nbackend a from slow\n server s 10.0.0.1:1\nlisten b\n server s 10.0.0.2:1\n",
    );
    let limits: Vec<_> = configuration.pools.iter().map(|pool| pool.read_timeout).collect();
    assert_eq!(limits, [Some(Duration::from_secs(9)), Some(Duration::from_secs(1))]);
}

#[test]
fn faults_are_told_with_their_line() {
    let configuration = read("backend a\n server s\n option httpchk \"GET /\n");
    assert_eq!(configuration.faults.len(), 2, "{:?}", configuration.faults);
    assert!(configuration.faults[0].starts_with("/etc/haproxy/haproxy.cfg:2:"));
    assert_eq!(configuration.pools.len(), 0);
}
