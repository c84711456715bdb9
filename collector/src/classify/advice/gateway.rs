//! Advice on the gateway's own settings.

use super::{kind, source};
use crate::case::Aborts;
use crate::classify::inner::to_ask_about;
use crate::classify::scene::Scene;
use crate::model::Setting;

pub(super) fn keepalive(scene: &Scene) -> Vec<String> {
    let instance_s = scene.probes.iter().rev().find_map(|(_, probe)| probe.idle_close_us).map(|us| us as f64 / 1e6);
    let gateway_s = scene.pool.and_then(|pool| pool.keepalive_idle_us).map(|us| us as f64 / 1e6);
    let setting = Setting::KeepaliveIdle.called(kind(scene));
    let (gateway, above) = gateway_s.map_or_else(
        || (setting.to_owned(), "that".to_owned()),
        |s| (format!("{setting}, {s:.0} s"), format!("{:.0} s", s + 5.0)),
    );
    let instance = instance_s.map_or_else(String::new, |s| format!(" (it closes idle connections after {s:.1} s)"));
    let mut advice = vec![format!(
        "set the keep-alive timeout of {} above the gateway's ({gateway}): to {above}{instance}",
        scene.service_name()
    )];
    if let Some(s) = instance_s {
        let below = format!("{:.0}", (s - 1.0).max(1.0));
        let written = Setting::KeepaliveIdle.snippet(kind(scene), &below);
        let written = written.map_or_else(String::new, |written| format!(": {written}"));
        advice.push(format!("or set the gateway's {setting} below it, to {below} s{written}"));
    }
    advice
}

pub(super) fn inner(scene: &Scene) -> Vec<String> {
    let target = to_ask_about(scene);
    vec![match target {
        Some(target) => format!("ask about what the inner gateway failed at: why502 why {target}"),
        None => format!("see what the inner gateway at {} logged at that time", scene.upstream()),
    }]
}

pub(super) fn header_too_big(scene: &Scene) -> Vec<String> {
    /// What fits nearly every header that is not a fault.
    const ROOMY_BYTES: u64 = 16 << 10;
    let limit = scene.pool.map_or(0, |pool| pool.header_limit_bytes);
    let seen = scene.probes.iter().filter_map(|(_, probe)| Some(probe.http.as_ref()?.header_bytes)).max().unwrap_or(0);
    let bytes = (seen * 2).max(limit * 2).max(ROOMY_BYTES).next_power_of_two();
    let now = if limit > 0 { format!(" (now {limit} bytes)") } else { String::new() };
    let written = Setting::HeaderLimit.snippet(kind(scene), &Setting::bytes(kind(scene), bytes));
    let written = written.unwrap_or_else(|| format!("its response header limit to {bytes} bytes"));
    vec![
        format!("raise it on the gateway: {written}{now}{}", source(scene)),
        "see what grows in the header, most often cookies".to_owned(),
    ]
}

pub(super) fn timeout(scene: &Scene) -> Vec<String> {
    let slow = scene.failures.notes.front();
    let request = slow.map(|note| note.request.as_str()).filter(|request| !request.is_empty()).unwrap_or("the request");
    let read_s = scene.pool.and_then(|pool| pool.timeouts.as_ref()?.read_us).map(|us| us as f64 / 1e6);
    let now = read_s.map_or_else(String::new, |s| format!(" (now {s:.0} s)"));
    vec![
        format!("find why {request} takes longer than the gateway waits, and make it faster or asynchronous"),
        format!(
            "or raise {}{now} for that path; keep the order client > gateway > application",
            Setting::ReadTimeout.called(kind(scene))
        ),
    ]
}

pub(super) fn client_closed(scene: &Scene) -> Vec<String> {
    let upstream = scene.case.key.upstream.as_deref().unwrap_or_default();
    let (late, usual) = Aborts::of(scene.fleet, &scene.case.key.gateway, upstream, scene.failures.last_us).mean_us();
    let slower = match (late, usual) {
        (Some(late), Some(usual)) if late > usual * 3 / 2 => {
            format!("; its answers take {} ms now, {} ms usually", late / 1000, usual / 1000)
        }
        (Some(late), _) => format!("; its answers take {} ms", late / 1000),
        _ => String::new(),
    };
    vec![
        format!("see whether {} got slower than its clients wait{slower}", scene.service_name()),
        "raise the clients' own time limit, or give what is slow a quick answer".to_owned(),
    ]
}

pub(super) fn tls(scene: &Scene) -> Vec<String> {
    let settings = match kind(scene) {
        "nginx" => "proxy_ssl_trusted_certificate, proxy_ssl_name, proxy_ssl_server_name on, proxy_ssl_protocols",
        "ingress_nginx" => "proxy-ssl-secret, proxy-ssl-name, proxy-ssl-server-name",
        "haproxy" => "ca-file, sni, verifyhost and ssl-min-ver of the server line",
        "envoy" => "trusted_ca, match_typed_subject_alt_names and sni of the transport_socket",
        "istio" => "tls.mode, sni and caCertificates of the DestinationRule",
        "apache" => "SSLProxyCACertificateFile, SSLProxyCheckPeerName, SSLProxyProtocol",
        "caddy" => "tls_trust_pool and tls_server_name of the transport",
        "traefik" => "rootCAs and serverName of the serversTransport",
        _ => "the CA, the name and the protocol versions that the gateway uses towards it",
    };
    let tried = scene.probes.iter().rev().find_map(|(_, probe)| probe.tls.as_ref());
    let expired = tried.filter(|tls| tls.not_after_unix_s > 0 && tls.not_after_unix_s < scene.now_us / 1_000_000);
    let mut advice = Vec::new();
    if expired.is_some() {
        advice.push(format!("renew the certificate of {}: it has expired", scene.upstream()));
    }
    advice.push(format!("compare the certificate of {} with {settings}{}", scene.upstream(), source(scene)));
    advice
}

pub(super) fn protocol(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" => "`proxy_pass http://` against `https://` (grpc_pass for HTTP/2)",
        "ingress_nginx" => "nginx.ingress.kubernetes.io/backend-protocol",
        "haproxy" => "`ssl` on the server line (`proto h2` for HTTP/2)",
        "envoy" | "istio" => "the cluster's transport_socket and explicit_http_config",
        "apache" => "`ProxyPass http://` against `https://` (h2c:// for HTTP/2)",
        "caddy" => "`reverse_proxy https://` (transport http { tls })",
        "traefik" => "scheme of the service's servers",
        "aws_alb" => "the target group's protocol and protocol version",
        _ => "the scheme in the gateway's upstream setting",
    };
    vec![format!("let the gateway speak to {} as it listens: {setting}{}", scene.upstream(), source(scene))]
}

pub(super) fn wrong_upstream(scene: &Scene) -> Vec<String> {
    vec![format!("correct the address {} in the gateway's configuration{}", scene.upstream(), source(scene))]
}

pub(super) fn resource(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" | "ingress_nginx" => "worker_connections and worker_rlimit_nofile (twice the connections)",
        "haproxy" => "maxconn in global, and ulimit-n",
        "envoy" | "istio" => "LimitNOFILE= of its unit, and the overload manager's limits",
        "apache" => "MaxRequestWorkers and ServerLimit",
        "varnish" => "thread_pool_max",
        _ => "LimitNOFILE= of its unit",
    };
    vec![format!(
        "raise what gateway {} on {} is short of: {setting}",
        scene.case.key.gateway.name, scene.case.key.gateway.host
    )]
}

pub(super) fn leader(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" => "proxy_next_upstream error timeout http_503",
        "ingress_nginx" => "proxy-next-upstream: error timeout http_503",
        "haproxy" => "retry-on 503",
        "envoy" | "istio" => "retry_on: retriable-status-codes, 503",
        "apache" => "failonstatus=503",
        "caddy" => "lb_retries with lb_retry_match",
        _ => "retry on 503",
    };
    let holder = scene.leader().map_or_else(
        || "the instance that holds the lock".to_owned(),
        |holder| format!("{} on {}", holder.service, holder.host),
    );
    vec![format!(
        "route such requests to the leader, {holder}, or let the gateway retry 503 on another member ({setting})"
    )]
}
