//! Caddy: its access log is asked for the upstream, its own log tells the errors.

use std::fmt::Write;
use std::path::Path;

use super::{PORT, Reload, SetUp, trusted, words};
use crate::lab::plan::Gateway;

/// What the access log does not tell by itself: the upstream, and whether it answered.
const APPEND: &str = "    log_append upstream {http.reverse_proxy.upstream.hostport}
    log_append upstream_latency_ms {http.reverse_proxy.upstream.latency_ms}
";

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    let at = dir.display();
    SetUp {
        file: "Caddyfile",
        text: configuration(gateway, members, dir),
        argv: words(&format!("caddy run --adapter caddyfile --config {at}/Caddyfile")),
        out: "caddy.out",
        logs: vec![("access_log", "access.log"), ("error_log", "error.log")],
        reload: Reload::Command(format!("caddy reload --adapter caddyfile --config {at}/Caddyfile")),
    }
}

fn configuration(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let (at, members) = (dir.display(), members.join(" "));
    let (proxy, transport) = (proxy(gateway), transport(gateway, dir));
    let append = if gateway.plain_log { "" } else { APPEND };
    format!(
        "{{
    auto_https off
    persist_config off
    log {{
        output file {at}/error.log
    }}
}}
:{PORT} {{
    log {{
        output file {at}/access.log
    }}
{append}    reverse_proxy {members} {{
        lb_policy round_robin
{proxy}        transport http {{
{transport}        }}
    }}
}}
"
    )
}

fn proxy(gateway: &Gateway) -> String {
    let mut text = String::new();
    if gateway.retries {
        text.push_str("        lb_retries 3\n");
    }
    if let Some(check) = gateway.check {
        let _ = writeln!(text, "        health_uri {}", check.path);
        let _ = writeln!(text, "        health_interval {}ms", check.every_ms);
        let _ = writeln!(text, "        health_timeout {}ms", check.timeout_ms);
        let _ = writeln!(text, "        health_fails {}\n        health_passes {}", check.fall, check.rise);
    }
    text
}

fn transport(gateway: &Gateway, dir: &Path) -> String {
    let mut settings = vec![
        format!("dial_timeout {}s", gateway.connect_s),
        format!("response_header_timeout {}s", gateway.read_s),
        format!("max_response_header {}KiB", gateway.header_kib),
    ];
    if gateway.keepalive == 0 {
        settings.push("keepalive off".to_owned());
    }
    if gateway.tls {
        let trust = format!("tls_trust_pool file {}", trusted(dir));
        settings.extend(["tls".to_owned(), "tls_server_name shop.example".to_owned(), trust]);
    }
    settings.iter().map(|setting| format!("            {setting}\n")).collect()
}
