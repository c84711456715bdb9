//! Envoy with a static configuration, written as JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::{PORT, Reload, SetUp, trusted, words};
use crate::lab::plan::Gateway;

/// Names of Envoy's extensions begin so.
const TYPE: &str = "type.googleapis.com/envoy.extensions";

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    let at = dir.display();
    SetUp {
        file: "envoy.json",
        text: format!("{:#}\n", configuration(gateway, members, dir)),
        // By itself it writes its log every ten seconds.
        argv: words(&format!(
            "envoy -c {at}/envoy.json --concurrency 1 --disable-hot-restart --file-flush-interval-msec 500"
        )),
        out: "envoy.out",
        logs: vec![("access_log", "access.log"), ("error_log", "events.log")],
        reload: Reload::Restart,
    }
}

fn configuration(gateway: &Gateway, members: &[String], dir: &Path) -> Value {
    json!({ "static_resources": { "listeners": [listener(gateway, dir)], "clusters": [cluster(gateway, members, dir)] } })
}

fn listener(gateway: &Gateway, dir: &Path) -> Value {
    let mut route = json!({ "cluster": "shop", "timeout": format!("{}s", gateway.read_s) });
    if gateway.retries {
        route["retry_policy"] = json!({ "retry_on": "connect-failure,reset", "num_retries": 3 });
    }
    let manager = json!({
        "@type": format!("{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "web",
        "access_log": [access_log(gateway, dir)],
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{TYPE}.filters.http.router.v3.Router") },
        }],
        "route_config": {
            "virtual_hosts": [{
                "name": "shop", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": route }],
            }],
        },
    });
    json!({
        "name": "web",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": PORT } },
        "filter_chains": [{
            "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
        }],
    })
}

fn access_log(gateway: &Gateway, dir: &Path) -> Value {
    let mut log = json!({
        "@type": format!("{TYPE}.access_loggers.file.v3.FileAccessLog"),
        "path": dir.join("access.log"),
    });
    if !gateway.plain_log {
        log["log_format"] = json!({ "json_format": {
            "start_time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
            "response_code": "%RESPONSE_CODE%",
            "response_flags": "%RESPONSE_FLAGS%",
            "response_code_details": "%RESPONSE_CODE_DETAILS%",
            "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "upstream_host": "%UPSTREAM_HOST%",
            "upstream_cluster": "%UPSTREAM_CLUSTER%",
            "upstream_request_attempt_count": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "bytes_sent": "%BYTES_SENT%",
            "duration": "%DURATION%",
            "request_id": "%REQ(X-REQUEST-ID)%",
        } });
    }
    json!({ "name": "envoy.access_loggers.file", "typed_config": log })
}

fn cluster(gateway: &Gateway, members: &[String], dir: &Path) -> Value {
    let endpoints: Vec<Value> = members.iter().filter_map(|member| endpoint(member)).collect();
    let mut common = json!({ "max_response_headers_kb": gateway.header_kib });
    if gateway.keepalive == 0 {
        common["max_requests_per_connection"] = 1.into();
    }
    let mut cluster = json!({
        "name": "shop",
        "type": "STATIC",
        "connect_timeout": format!("{}s", gateway.connect_s),
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": { "cluster_name": "shop", "endpoints": [{ "lb_endpoints": endpoints }] },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPE}.upstreams.http.v3.HttpProtocolOptions"),
            "common_http_protocol_options": common,
            "explicit_http_config": { "http_protocol_options": {} },
        } },
    });
    if gateway.tls {
        cluster["transport_socket"] = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": format!("{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "shop.example",
            "common_tls_context": { "validation_context": { "trusted_ca": { "filename": trusted(dir) } } },
        } });
    }
    if gateway.check.is_some() {
        cluster["health_checks"] = health_checks(gateway, dir);
        // Else it goes on with members that are down where half of them are.
        cluster["common_lb_config"] = json!({ "healthy_panic_threshold": { "value": 0 } });
    }
    cluster
}

fn endpoint(member: &str) -> Option<Value> {
    let (address, port) = member.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let address = address.trim_matches(['[', ']']);
    Some(json!({ "endpoint": { "address": { "socket_address": { "address": address, "port_value": port } } } }))
}

fn health_checks(gateway: &Gateway, dir: &Path) -> Value {
    let check = gateway.check.unwrap_or_default();
    let seconds = |ms: u32| format!("{}s", f64::from(ms) / 1000.0);
    json!([{
        "timeout": seconds(check.timeout_ms),
        "interval": seconds(check.every_ms),
        "no_traffic_interval": seconds(check.every_ms),
        "unhealthy_threshold": check.fall,
        "healthy_threshold": check.rise,
        "http_health_check": { "path": check.path },
        "event_logger": [{ "name": "envoy.health_check.event_sinks.file", "typed_config": {
            "@type": format!("{TYPE}.health_check.event_sinks.file.v3.HealthCheckEventFileSink"),
            "event_log_path": dir.join("events.log"),
        } }],
    }])
}
