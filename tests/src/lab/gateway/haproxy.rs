//! HAProxy: it always checks its servers here, as most of its people have it do, and writes everything to one log.

use std::fmt::Write;
use std::path::Path;

use super::{PORT, Reload, SetUp, trusted, words};
use crate::lab::plan::Gateway;

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    SetUp {
        file: "haproxy.cfg",
        text: configuration(gateway, members, dir),
        argv: words(&format!("haproxy -W -f {}/haproxy.cfg", dir.display())),
        out: "haproxy.log",
        logs: vec![("access_log", "haproxy.log")],
        reload: Reload::Signal("SIGUSR2"),
    }
}

fn configuration(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let (connect_s, read_s, servers) = (gateway.connect_s, gateway.read_s, servers(gateway, members, dir));
    let retries = if gateway.retries { 3 } else { 0 };
    let check = gateway.check.unwrap_or_default();
    let (path, timeout_ms) = (check.path, check.timeout_ms);
    let (mode, log) = if gateway.is_tcp { ("tcp", "tcplog") } else { ("http", "httplog") };
    format!(
        "global
    log stdout format raw local0
    maxconn 1000
defaults
    mode {mode}
    log global
    option {log}
    option log-health-checks
    retries {retries}
    timeout connect {connect_s}s
    timeout client 30s
    timeout server {read_s}s
    timeout check {timeout_ms}ms
frontend web
    bind :{PORT}
    default_backend shop
backend shop
    balance roundrobin
    option httpchk GET {path}
{servers}"
    )
}

fn servers(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let check = gateway.check.unwrap_or_default();
    let mut settings = format!("check inter {}ms fall {} rise {}", check.every_ms, check.fall, check.rise);
    if gateway.tls {
        let _ = write!(settings, " ssl verify required verifyhost shop.example ca-file {}", trusted(dir));
    }
    let numbered = members.iter().enumerate();
    numbered.map(|(index, member)| format!("    server app{} {member} {settings}\n", index + 1)).collect()
}
