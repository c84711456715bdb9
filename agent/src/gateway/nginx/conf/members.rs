//! `upstream` blocks: members, checks, kept connections.

use std::time::Duration;

use super::tree::Directive;
use super::value::time;
use crate::gateway::{Check, Member, Pool};

/// Failures that take a member out, and for how long, where nothing is said.
const DEFAULT_MAX_FAILS: u32 = 1;
const DEFAULT_FAIL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept where `keepalive` is given without `keepalive_timeout`.
const DEFAULT_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(60);

/// The pool of an `upstream` block. How it is spoken to is settled where it is passed to.
pub(super) fn pool(block: &Directive) -> Pool {
    let named = |name: &str| block.block.iter().rfind(|inner| inner.name == name);
    let first = |name: &str| named(name).and_then(|inner| inner.args.first()).map(String::as_str);
    let keepalive = match first("keepalive") {
        None | Some("0") => Duration::ZERO,
        Some(_) => first("keepalive_timeout").and_then(time).unwrap_or(DEFAULT_KEEPALIVE_TIMEOUT),
    };
    Pool {
        name: block.args.first().cloned().unwrap_or_default(),
        members: block.block.iter().filter(|inner| inner.name == "server").map(member).collect(),
        check: named("check").map(|check| module_check(check, block)),
        keepalive_idle: Some(keepalive),
        source: block.source.clone(),
        ..Pool::default()
    }
}

/// The pool of an address that is passed to without an `upstream` block.
pub(super) fn lone(address: &str, source: &str) -> Pool {
    let member = Member {
        address: address.to_owned(),
        max_fails: Some(DEFAULT_MAX_FAILS),
        fail_timeout: Some(DEFAULT_FAIL_TIMEOUT),
        ..Member::default()
    };
    Pool {
        name: address.to_owned(),
        members: vec![member],
        keepalive_idle: Some(Duration::ZERO),
        source: source.to_owned(),
        ..Pool::default()
    }
}

fn member(server: &Directive) -> Member {
    let option = |name: &str| {
        server.args.iter().skip(1).find_map(|arg| arg.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
    };
    let flag = |name: &str| server.args.iter().skip(1).any(|arg| arg == name);
    Member {
        address: with_port(server.args.first().map_or("", String::as_str), 80),
        backup: flag("backup"),
        down: flag("down"),
        max_fails: Some(option("max_fails").and_then(|count| count.parse().ok()).unwrap_or(DEFAULT_MAX_FAILS)),
        fail_timeout: Some(option("fail_timeout").and_then(time).unwrap_or(DEFAULT_FAIL_TIMEOUT)),
        max_connections: option("max_conns").and_then(|count| count.parse().ok()).filter(|count| *count > 0),
        ..Member::default()
    }
}

/// An address with the port that nginx takes where none is written.
pub(super) fn with_port(address: &str, port: u16) -> String {
    let has_port = match address.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => address.contains(':'),
    };
    if has_port || address.starts_with("unix:") { address.to_owned() } else { format!("{address}:{port}") }
}

/// `check` of upstream_check_module (Tengine); its times are milliseconds.
fn module_check(check: &Directive, block: &Directive) -> Check {
    let option =
        |name: &str| check.args.iter().find_map(|arg| arg.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')));
    let ms = |name: &str| option(name).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let count = |name: &str| option(name).and_then(|count| count.parse().ok());
    let named = |name: &str| block.block.iter().find(|inner| inner.name == name);
    let sent = named("check_http_send").and_then(|send| send.args.first()).map_or("", String::as_str);
    let host = sent.lines().find_map(|line| line.strip_prefix("Host:")).map_or("", str::trim);
    Check {
        kind: option("type").unwrap_or("tcp").to_owned(),
        path: sent.split(' ').nth(1).unwrap_or_default().to_owned(),
        interval: ms("interval").or(Some(Duration::from_secs(30))),
        timeout: ms("timeout").or(Some(Duration::from_secs(1))),
        fall: count("fall").or(Some(5)),
        rise: count("rise").or(Some(2)),
        expects: named("check_http_expect_alive").map(|expect| expect.args.join(" ")).unwrap_or_default(),
        host: host.to_owned(),
    }
}

/// `health_check` of nginx Plus, which stands where the pool is passed to.
pub(super) fn plus_check(check: &Directive, connect: Duration, stream: bool) -> Check {
    let option =
        |name: &str| check.args.iter().find_map(|arg| arg.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')));
    let count = |name: &str| option(name).and_then(|count| count.parse().ok()).or(Some(1));
    let kind = option("type").unwrap_or(if stream { "tcp" } else { "http" });
    Check {
        kind: kind.to_owned(),
        path: if stream { String::new() } else { option("uri").unwrap_or("/").to_owned() },
        interval: option("interval").and_then(time).or(Some(Duration::from_secs(5))),
        timeout: Some(connect),
        fall: count("fails"),
        rise: count("passes"),
        expects: option("match").unwrap_or_default().to_owned(),
        host: String::new(),
    }
}
