//! One cluster as a pool: endpoints, checks, outlier ejection, TLS (envoy.config.cluster.v3.Cluster).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gateway::document::{self, Node};
use crate::gateway::{Check, Member, Pool, Tls};

/// What Envoy takes where nothing is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// `max_response_headers_kb`.
const HEADER_LIMIT_BYTES: u64 = 60 * 1024;
/// `outlier_detection`: errors in a row, and how long the first ejection lasts.
const EJECTED_AFTER: u32 = 5;
const EJECTED_FOR: Duration = Duration::from_secs(30);

/// A cluster's pool; what its routes say is not in it yet.
pub(super) fn pool(node: &Node, path: &Path) -> Pool {
    let mut pool = Pool {
        name: node.get("name").owned(),
        connect_timeout: duration(node.get("connect_timeout")).or(Some(CONNECT_TIMEOUT)),
        header_limit_bytes: Some(HEADER_LIMIT_BYTES),
        check: node.get("health_checks").items().first().map(check),
        tls: tls(node),
        source: document::source(path, node).into_owned(),
        ..Pool::default()
    };
    let http = options(node);
    pool.scheme = scheme(node, http, pool.tls.is_some()).to_owned();
    let common = http.get("common_http_protocol_options");
    let common = if common.exists() { common } else { node.get("common_http_protocol_options") };
    let single = common.get("max_requests_per_connection").number() == Some(1)
        || node.get("max_requests_per_connection").number() == Some(1);
    let idle = duration(common.get("idle_timeout")).unwrap_or(IDLE_TIMEOUT);
    let limit_kib = common.get("max_response_headers_kb").number::<u64>();
    pool.header_limit_bytes = limit_kib.map_or(pool.header_limit_bytes, |kib| Some(kib.saturating_mul(1024)));
    pool.keepalive_idle = Some(if single { Duration::ZERO } else { idle });
    let mut members = endpoints(node.get("load_assignment"), path).members;
    members.extend(node.get("hosts").items().iter().filter_map(address).map(member));
    eject(node.get("outlier_detection"), &mut members);
    pool.members = members;
    pool
}

/// The endpoints of a `ClusterLoadAssignment`.
pub(super) fn endpoints(assignment: &Node, path: &Path) -> Pool {
    let mut pool = Pool { source: document::source(path, assignment).into_owned(), ..Pool::default() };
    for locality in assignment.get("endpoints").items() {
        let backup = locality.get("priority").number::<u32>().is_some_and(|priority| priority > 0);
        let endpoints = locality.get("lb_endpoints").items();
        pool.members.extend(endpoints.iter().filter_map(|endpoint| of_endpoint(endpoint, backup)));
    }
    pool
}

/// Members that stand apart from the cluster, with what the cluster says of each.
pub(super) fn take_members(pool: &mut Pool, members: &[Member]) {
    let like = pool.members.first().cloned().unwrap_or_default();
    for member in members.iter().filter(|member| !member.address.is_empty()) {
        if !pool.members.iter().any(|known| known.address == member.address) {
            let (max_fails, fail_timeout) = (like.max_fails, like.fail_timeout);
            pool.members.push(Member { max_fails, fail_timeout, ..member.clone() });
        }
    }
}

fn of_endpoint(node: &Node, backup: bool) -> Option<Member> {
    let endpoint = node.get("endpoint");
    let address = address(endpoint.get("address"))?;
    let checked = endpoint.get("health_check_config");
    let check_host = checked.at("address.socket_address.address").text();
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let check_address = checked.get("port_value").number::<u16>().filter(|port| *port > 0);
    let check_address = check_address.map(|port| format!("{}:{port}", check_host.unwrap_or(host)));
    let down = node.get("health_status").text().is_some_and(|status| matches!(status, "UNHEALTHY" | "DRAINING"));
    Some(Member { backup, down, check_address, ..member(address) })
}

fn member(address: String) -> Member {
    Member { address, ..Member::default() }
}

/// `socket_address` or `pipe`, as access lines name them.
fn address(node: &Node) -> Option<String> {
    if let Some(path) = node.at("pipe.path").text() {
        return Some(format!("unix:{path}"));
    }
    let socket = node.get("socket_address");
    let (host, port) = (socket.get("address").text()?, socket.get("port_value").text()?);
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

fn eject(outlier: &Node, members: &mut [Member]) {
    if !outlier.exists() {
        return;
    }
    let errors = outlier.get("consecutive_5xx").number().unwrap_or(EJECTED_AFTER);
    let time = duration(outlier.get("base_ejection_time")).unwrap_or(EJECTED_FOR);
    for member in members {
        (member.max_fails, member.fail_timeout) = (Some(errors), Some(time));
    }
}

fn check(node: &Node) -> Check {
    let http = node.get("http_health_check");
    let kinds = [("http", http), ("grpc", node.get("grpc_health_check")), ("tcp", node.get("tcp_health_check"))];
    let kind = kinds.iter().find(|(_, node)| node.exists()).map_or("custom", |(kind, _)| kind);
    let range = |range: &Node| {
        let (start, end) = (range.get("start").number::<u32>()?, range.get("end").number::<u32>()?);
        // The end is not part of the range.
        Some(if end == start + 1 { start.to_string() } else { format!("{start}-{}", end.saturating_sub(1)) })
    };
    let ranges: Vec<String> = http.get("expected_statuses").items().iter().filter_map(range).collect();
    Check {
        kind: kind.to_owned(),
        path: http.get("path").owned(),
        interval: duration(node.get("interval")),
        timeout: duration(node.get("timeout")),
        fall: node.get("unhealthy_threshold").number(),
        rise: node.get("healthy_threshold").number(),
        expects: if ranges.is_empty() && kind == "http" { "200".to_owned() } else { ranges.join(" ") },
        host: http.get("host").owned(),
    }
}

/// The cluster's `HttpProtocolOptions`, which stand under the name of their type.
fn options(node: &Node) -> &Node {
    let extensions = node.get("typed_extension_protocol_options").members();
    let http = extensions.iter().find(|(key, _)| key.ends_with("HttpProtocolOptions"));
    http.map_or(node.get("no_such_key"), |(_, options)| options)
}

fn scheme(node: &Node, http: &Node, tls: bool) -> &'static str {
    let explicit = http.at("explicit_http_config.http2_protocol_options").exists();
    let second = explicit || node.get("http2_protocol_options").exists();
    let grpc = node.get("health_checks").items().iter().any(|check| check.get("grpc_health_check").exists());
    match (tls, second) {
        (true, _) => "https",
        (false, true) if grpc => "grpc",
        (false, true) => "h2c",
        (false, false) => "http",
    }
}

fn tls(node: &Node) -> Option<Tls> {
    let socket = node.get("transport_socket");
    let context = if socket.exists() { socket.get("typed_config") } else { node.get("tls_context") };
    let name = socket.get("name").text().unwrap_or_default();
    let kind = context.get("@type").text().unwrap_or_default();
    let is_tls = node.get("tls_context").exists() || name.contains("tls") || kind.ends_with("UpstreamTlsContext");
    if !is_tls || name.contains("raw_buffer") {
        return None;
    }
    let common = context.get("common_tls_context");
    let own = common.get("validation_context");
    let combined = common.at("combined_validation_context.default_validation_context");
    let validation = if own.exists() { own } else { combined };
    let by_secret = common.get("validation_context_sds_secret_config").exists() || combined.exists();
    let ca = validation.at("trusted_ca.filename").text();
    let inline = ["inline_string", "inline_bytes", "environment_variable"];
    let trusted = ca.is_some() || inline.iter().any(|way| validation.get("trusted_ca").get(way).exists());
    let versions = [("tls_minimum_protocol_version", "min"), ("tls_maximum_protocol_version", "max")];
    let versions =
        versions.iter().filter_map(|(key, word)| Some(format!("{word} {}", common.get("tls_params").get(key).text()?)));
    let names = ["match_typed_subject_alt_names", "match_subject_alt_names", "verify_subject_alt_name"];
    let named =
        names.iter().any(|key| validation.get(key).exists()) || context.get("auto_sni_san_validation").is_true();
    Some(Tls {
        any_name: !named,
        verify: trusted || by_secret || validation.get("system_root_certs").exists(),
        ca_file: ca.map(PathBuf::from),
        server_name: context.get("sni").text().map(str::to_owned),
        protocols: versions.collect::<Vec<_>>().join(" "),
    })
}

/// `5s`, `0.25s`, `1.5s`.
pub(super) fn duration(node: &Node) -> Option<Duration> {
    let seconds = node.text()?.strip_suffix('s')?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
