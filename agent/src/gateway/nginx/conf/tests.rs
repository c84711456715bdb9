use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::gateway::{Check, LogSetting, Member};

struct Texts(BTreeMap<PathBuf, &'static str>);

impl Files for Texts {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| "not there".to_owned())
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let folder = pattern.parent().unwrap();
        self.0.keys().filter(|path| path.parent() == Some(folder)).cloned().collect()
    }
}

fn read(kind: Kind, texts: &[(&str, &'static str)]) -> Configuration {
    let files = Texts(texts.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect());
    configuration(kind, Path::new("/etc/nginx/nginx.conf"), &files)
}

fn http(text: &'static str) -> Configuration {
    read(Kind::Nginx, &[("/etc/nginx/nginx.conf", text)])
}

fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

#[test]
fn a_pool_with_everything() {
    let configuration = http(
        r#"
        error_log /var/log/nginx/error.log warn;
        http {
            log_format gw escape=json '{"st":$status,'
                                      '"ua":"$upstream_addr"}'; # a comment ; with }
            access_log /var/log/nginx/access.log gw buffer=4k;
            proxy_connect_timeout 2s;
            upstream app {
                zone app 64k;
                server 10.0.0.2:3000 max_fails=3 fail_timeout=1m max_conns=100;
                server 10.0.0.3;
                server [2001:db8::1] backup;
                server unix:/run/app.sock down;
                keepalive 16;
                keepalive_timeout 15s;
            }
            server {
                listen 80;
                access_log off;
                location / {
                    proxy_pass https://app/base;
                    proxy_read_timeout 500ms;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_next_upstream error timeout;
                    proxy_next_upstream_tries 2;
                    proxy_buffer_size 8k;
                    proxy_ssl_verify on;
                    proxy_ssl_name app.internal;
                    proxy_ssl_trusted_certificate /etc/ssl/ca.pem;
                    proxy_ssl_protocols TLSv1.2 TLSv1.3;
                    health_check uri=/health interval=2s fails=3 passes=2;
                }
            }
        }"#,
    );
    assert_eq!(configuration.faults, Vec::<String>::new());
    let [pool] = configuration.pools.as_slice() else { panic!("{:?}", configuration.pools) };
    assert_eq!((pool.name.as_str(), pool.scheme.as_str()), ("app", "https"));
    assert_eq!(pool.source, "/etc/nginx/nginx.conf:8");
    assert_eq!((pool.connect_timeout, pool.send_timeout), (seconds(2), seconds(60)));
    assert_eq!(pool.read_timeout, Some(Duration::from_millis(500)));
    assert_eq!((pool.tries, pool.keepalive_idle, pool.header_limit_bytes), (Some(2), seconds(15), Some(8192)));
    let tls = pool.tls.as_ref().unwrap();
    assert!(tls.verify && tls.server_name.as_deref() == Some("app.internal") && tls.protocols == "TLSv1.2 TLSv1.3");
    let check = pool.check.as_ref().unwrap();
    assert_eq!(
        (check.path.as_str(), check.interval, check.fall, check.rise),
        ("/health", seconds(2), Some(3), Some(2))
    );
    let addresses: Vec<&str> = pool.members.iter().map(|member| member.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.2:3000", "10.0.0.3:80", "[2001:db8::1]:80", "unix:/run/app.sock"]);
    let wanted = Member {
        address: "10.0.0.2:3000".to_owned(),
        max_fails: Some(3),
        fail_timeout: seconds(60),
        max_connections: Some(100),
        ..Member::default()
    };
    assert_eq!(pool.members[0], wanted);
    assert_eq!((pool.members[1].max_fails, pool.members[1].fail_timeout), (Some(1), seconds(10)));
    assert!(pool.members[2].backup && pool.members[3].down);
    let logs = [
        LogSetting {
            target: Some("/var/log/nginx/error.log".to_owned()),
            level: Some("warn".to_owned()),
            is_error_log: true,
            ..LogSetting::default()
        },
        LogSetting {
            target: Some("/var/log/nginx/access.log".to_owned()),
            format: Some(r#"escape=json {"st":$status,"ua":"$upstream_addr"}"#.to_owned()),
            ..LogSetting::default()
        },
        LogSetting::default(),
    ];
    assert_eq!(configuration.logs, logs);
}

#[test]
fn addresses_without_a_pool_and_variables() {
    let configuration = http(
        r#"http {
            map $host $pool { default app_a; "b.example" app_b; }
            upstream app_a { server 10.0.0.1:80; }
            server {
                set $backend 10.0.0.9;
                location /a { proxy_pass http://$backend:8080/x$request_uri; }
                location /b { proxy_pass http://$pool; }
                location /c { proxy_pass http://$http_host; }
                location /d { fastcgi_pass unix:/run/php.sock; fastcgi_read_timeout 1h; }
                location /e { proxy_pass https://api.example.com/v1/; proxy_next_upstream off; }
                location /f { if ($x) { uwsgi_pass 127.0.0.1:8000; } }
                location ~ "^/g{1,2}$" { grpc_pass grpcs://10.0.0.7:443; }
            }
        }"#,
    );
    let named: Vec<(&str, &str)> =
        configuration.pools.iter().map(|pool| (pool.name.as_str(), pool.scheme.as_str())).collect();
    let wanted = [
        ("app_a", "http"),
        ("10.0.0.9:8080", "http"),
        ("app_b:80", "http"),
        ("unix:/run/php.sock", "fastcgi"),
        ("api.example.com:443", "https"),
        ("127.0.0.1:8000", "uwsgi"),
        ("10.0.0.7:443", "grpc"),
    ];
    assert_eq!(named, wanted);
    assert_eq!(configuration.pools[3].read_timeout, seconds(3600));
    assert_eq!((configuration.pools[4].tries, configuration.pools[0].tries), (Some(1), Some(1)));
    assert_eq!(configuration.pools[0].keepalive_idle, Some(Duration::ZERO));
    assert_eq!(configuration.pools[0].header_limit_bytes, Some(4096));
    assert_eq!(configuration.faults.len(), 1, "{:?}", configuration.faults);
    assert!(configuration.faults[0].starts_with("/etc/nginx/nginx.conf:8: proxy_pass http://$http_host"));
}

#[test]
fn includes_streams_and_checks() {
    let texts = [
        ("/etc/nginx/nginx.conf", "include conf.d/*.conf;\nstream { include /etc/nginx/stream.conf; }"),
        (
            "/etc/nginx/conf.d/a.conf",
            "http { upstream t { server 10.0.0.1:80; check interval=3000 rise=2 fall=5 timeout=1000 type=http;
               check_http_send \"GET /ping HTTP/1.0\\r\\nHost: h\\r\\n\\r\\n\"; check_http_expect_alive http_2xx http_3xx; }
               server { content_by_lua_block { local x = \"}\" -- }
               } } }",
        ),
        (
            "/etc/nginx/stream.conf",
            "upstream db { server db-1:5432; } server { listen 5432; proxy_pass db; proxy_timeout 30s; proxy_ssl on; }",
        ),
    ];
    let configuration = read(Kind::Nginx, &texts);
    assert_eq!(configuration.faults, Vec::<String>::new());
    assert_eq!(configuration.files.len(), 3);
    let wanted = Check {
        kind: "http".to_owned(),
        path: "/ping".to_owned(),
        interval: seconds(3),
        timeout: seconds(1),
        fall: Some(5),
        rise: Some(2),
        expects: "http_2xx http_3xx".to_owned(),
        host: "h".to_owned(),
    };
    assert_eq!(configuration.pools[0].check, Some(wanted));
    let stream = read(Kind::NginxStream, &texts);
    let [pool] = stream.pools.as_slice() else { panic!("{:?}", stream.pools) };
    assert_eq!((pool.scheme.as_str(), pool.read_timeout, pool.tls.is_some()), ("tcp", seconds(30), true));
}

#[test]
fn what_can_not_be_read_is_told() {
    for (text, fault) in [
        ("http { server { ", "is not closed"),
        ("http { } }", "without its block"),
        ("include gone.conf;", "/etc/nginx/gone.conf: not there"),
        ("include nginx.conf;", "too many includes"),
        ("http { access_log /a nosuch; }", "no log_format \"nosuch\""),
    ] {
        let configuration = http(text);
        assert!(configuration.faults.iter().any(|told| told.contains(fault)), "{text}: {:?}", configuration.faults);
    }
}

#[test]
fn no_text_makes_it_panic() {
    let text = "http { upstream a { server 1:2; } server { location / { proxy_pass http://$a; set $a \"b\\\"c\"; } } }";
    for from in 0..text.len() {
        for to in from..text.len() {
            let files = Texts(BTreeMap::from([(PathBuf::from("/etc/nginx/nginx.conf"), &text[from..to])]));
            configuration(Kind::Nginx, Path::new("/etc/nginx/nginx.conf"), &files);
        }
    }
}
