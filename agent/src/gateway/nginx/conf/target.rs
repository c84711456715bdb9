//! Where a `proxy_pass` and its kin pass to, and the settings that hold on the way.

use std::path::PathBuf;
use std::time::Duration;

use super::members::{plus_check, with_port};
use super::scope::Scope;
use super::value::{size_bytes, time};
use crate::gateway::{Pool, Tls};

/// Connecting, sending and reading where nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// `proxy_timeout` of the stream module.
const DEFAULT_STREAM_TIMEOUT: Duration = Duration::from_secs(600);
/// One memory page, the default of `proxy_buffer_size` and its kin on most machines.
const DEFAULT_BUFFER_BYTES: u64 = 4_096;

/// What is passed to.
pub(super) struct Target {
    /// As a pool's scheme.
    scheme: &'static str,
    tls: bool,
    /// A pool's name or a host, as written.
    pub host: String,
    port: u16,
}

impl Target {
    /// The address if it is no pool's name.
    pub(super) fn address(&self) -> String {
        with_port(&self.host, self.port)
    }
}

/// Reads the argument of a pass directive.
pub(super) fn parse(text: &str, module: &str, world: &str) -> Option<Target> {
    let (written, rest) = text.split_once("://").unwrap_or(("", text));
    let (scheme, tls, port) = match (world, module, written) {
        ("stream", _, _) => ("tcp", false, 0),
        (_, "proxy", "https") => ("https", true, 443),
        (_, "proxy", _) => ("http", false, 80),
        (_, "grpc", "grpcs") => ("grpc", true, 443),
        (_, "grpc", _) => ("grpc", false, 80),
        (_, "uwsgi", "suwsgi") => ("uwsgi", true, 80),
        (_, "uwsgi", _) => ("uwsgi", false, 80),
        (_, "scgi", _) => ("scgi", false, 80),
        _ => ("fastcgi", false, 80),
    };
    let host = match rest.strip_prefix("unix:") {
        Some(path) => &rest[..path.find(':').map_or(rest.len(), |end| end + "unix:".len())],
        None => rest.split(['/', '?']).next().unwrap_or_default(),
    };
    (!host.is_empty() && !host.contains('$')).then(|| Target { scheme, tls, host: host.to_owned(), port })
}

/// Fills in how a pool is spoken to from the settings that hold where it is passed to.
pub(super) fn settle(pool: &mut Pool, scope: &Scope<'_>, target: &Target, module: &str, world: &str) {
    let stream = world == "stream";
    let value = |name: &str| scope.value(&format!("{module}_{name}"));
    let timeout = |name: &str, default| Some(value(name).and_then(time).unwrap_or(default));
    pool.scheme = target.scheme.to_owned();
    pool.connect_timeout = timeout("connect_timeout", DEFAULT_TIMEOUT);
    if stream {
        pool.read_timeout = timeout("timeout", DEFAULT_STREAM_TIMEOUT);
        pool.send_timeout = pool.read_timeout;
    } else {
        pool.send_timeout = timeout("send_timeout", DEFAULT_TIMEOUT);
        pool.read_timeout = timeout("read_timeout", DEFAULT_TIMEOUT);
        pool.header_limit_bytes = value("buffer_size").and_then(size_bytes).or(Some(DEFAULT_BUFFER_BYTES));
    }
    let again = scope.all(&format!("{module}_next_upstream"));
    let off = again.last().is_some_and(|directive| directive.args.first().is_some_and(|arg| arg == "off"));
    let limit = value("next_upstream_tries").and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    pool.tries = if off { Some(1) } else { limit.map(|limit: u32| limit.min(live_members(pool))) };
    if target.tls || (stream && scope.is_on("proxy_ssl")) {
        pool.tls = Some(tls(scope, target, module));
    }
    if let Some(check) = scope.own("health_check").last() {
        pool.check = Some(plus_check(check, pool.connect_timeout.unwrap_or(DEFAULT_TIMEOUT), stream));
    }
    if pool.keepalive_idle.is_some_and(|idle| !idle.is_zero()) && !stream && !keeps(scope, module) {
        // Older versions then close each connection, newer ones don't.
        pool.keepalive_idle = None;
    }
}

fn live_members(pool: &Pool) -> u32 {
    u32::try_from(pool.members.iter().filter(|member| !member.down).count().max(1)).unwrap_or(u32::MAX)
}

/// Whether connections are kept by every version: HTTP/1.1 without `Connection: close`, `fastcgi_keep_conn`.
fn keeps(scope: &Scope<'_>, module: &str) -> bool {
    match module {
        "proxy" => {
            let headers = scope.all("proxy_set_header");
            let connection = headers
                .iter()
                .find(|header| header.args.first().is_some_and(|name| name.eq_ignore_ascii_case("connection")));
            // A variable (`$connection_upgrade`) is empty or `upgrade` but rarely `close`.
            let open = connection.and_then(|header| header.args.get(1)).is_some_and(|value| value != "close");
            scope.value("proxy_http_version").is_some_and(|version| version != "1.0") && open
        }
        "fastcgi" => scope.is_on("fastcgi_keep_conn"),
        "grpc" => true,
        _ => false,
    }
}

fn tls(scope: &Scope<'_>, target: &Target, module: &str) -> Tls {
    let name = |setting: &str| format!("{module}_ssl_{setting}");
    let verify = scope.is_on(&name("verify"));
    let host = target.host.rsplit_once(':').map_or(target.host.as_str(), |(host, _)| host);
    let written = scope.value(&name("name")).filter(|name| !name.contains('$'));
    let told = verify || scope.is_on(&name("server_name"));
    let protocols = scope.all(&name("protocols")).last().map(|directive| directive.args.join(" "));
    Tls {
        verify,
        any_name: false,
        ca_file: scope.value(&name("trusted_certificate")).map(PathBuf::from),
        server_name: told.then(|| written.unwrap_or(host).to_owned()),
        protocols: protocols.unwrap_or_default(),
    }
}
