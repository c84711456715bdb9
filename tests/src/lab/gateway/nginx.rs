//! nginx: no health checks of its own, and two logs.

use std::fmt::Write;
use std::path::Path;

use super::{PORT, Reload, SetUp, trusted, words};
use crate::lab::plan::{self, Gateway};

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    let at = dir.display();
    SetUp {
        file: "nginx.conf",
        text: configuration(gateway, members, dir),
        argv: words(&format!("nginx -e {at}/error.log -c {at}/nginx.conf")),
        out: "nginx.out",
        logs: vec![("access_log", "access.log"), ("error_log", "error.log")],
        reload: Reload::Signal("SIGHUP"),
    }
}

fn configuration(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let (at, connections, user) = (dir.display(), gateway.connections, gateway.user);
    let id = if gateway.request_id.is_empty() { String::new() } else { format!(" \"{}\"", gateway.request_id) };
    let format = if gateway.plain_log { "combined" } else { "upstreams" };
    let (upstream, location) = (upstream(gateway, members), location(gateway, dir));
    format!(
        r#"daemon off;
# By these it sees another time, where the story has its host's clock wrong.
env FAKETIME_TIMESTAMP_FILE;
env FAKETIME_NO_CACHE;
env FAKETIME_DONT_FAKE_MONOTONIC;
user {user};
worker_processes 1;
pid {at}/nginx.pid;
error_log {at}/error.log;
events {{ worker_connections {connections}; }}
http {{
    log_format upstreams '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                         '"$http_referer" "$http_user_agent" $request_time '
                         '"$upstream_addr" "$upstream_status" "$upstream_connect_time" '
                         '"$upstream_header_time" "$upstream_response_time" $connection{id}';
    access_log {at}/access.log {format};
    client_body_temp_path {at}/tmp-body;
    proxy_temp_path {at}/tmp-proxy;
    fastcgi_temp_path {at}/tmp-fastcgi;
    uwsgi_temp_path {at}/tmp-uwsgi;
    scgi_temp_path {at}/tmp-scgi;
{upstream}    server {{
        listen {PORT};
        location / {{
{location}        }}
    }}
}}
"#
    )
}

fn upstream(gateway: &Gateway, members: &[String]) -> String {
    if gateway.by_name {
        return String::new();
    }
    let limits = if gateway.retries { "max_fails=1 fail_timeout=2s" } else { "max_fails=0" };
    let mut text = "    upstream shop {\n".to_owned();
    for member in members {
        let _ = writeln!(text, "        server {member} {limits};");
    }
    if gateway.keepalive > 0 {
        let _ = writeln!(text, "        keepalive {};", gateway.keepalive);
    }
    text.push_str("    }\n");
    text
}

fn location(gateway: &Gateway, dir: &Path) -> String {
    let next = if gateway.retries { "error timeout" } else { "off" };
    let module = if gateway.protocol == "http" { "proxy" } else { gateway.protocol };
    let mut settings = vec![
        format!("{module}_connect_timeout {}s", gateway.connect_s),
        format!("{module}_read_timeout {}s", gateway.read_s),
        format!("{module}_next_upstream {next}"),
        format!("{module}_buffer_size {}k", gateway.header_kib),
    ];
    settings.extend(if gateway.protocol == "http" { by_http(gateway) } else { by_parameters(module, dir) });
    if gateway.by_name {
        settings.extend(["resolver 127.0.0.1 valid=1s ipv6=off".to_owned(), format!("set $shop {}", plan::NAME)]);
    }
    if !gateway.request_id.is_empty() {
        settings.push(format!("proxy_set_header X-Request-ID {}", gateway.request_id));
    }
    if gateway.tls {
        let trusted = format!("proxy_ssl_trusted_certificate {}", trusted(dir));
        settings.extend(["proxy_ssl_verify on".to_owned(), "proxy_ssl_name shop.example".to_owned(), trusted]);
    }
    settings.iter().map(|setting| format!("            {setting};\n")).collect()
}

fn by_http(gateway: &Gateway) -> Vec<String> {
    let scheme = if gateway.tls { "https" } else { "http" };
    let pass = if gateway.by_name { format!("$shop:{}", plan::PORT) } else { "shop".to_owned() };
    vec![
        format!("proxy_pass {scheme}://{pass}"),
        "proxy_http_version 1.1".to_owned(),
        "proxy_set_header Connection \"\"".to_owned(),
    ]
}

/// FastCGI and uwsgi: the request as parameters. Only PHP-FPM asks for the script.
fn by_parameters(module: &str, dir: &Path) -> Vec<String> {
    let script = dir.with_file_name("apps").join("php/index.php");
    let parameters = [
        ("REQUEST_METHOD", "$request_method"),
        ("REQUEST_URI", "$request_uri"),
        ("PATH_INFO", "$document_uri"),
        ("QUERY_STRING", "$query_string"),
        ("SERVER_PROTOCOL", "$server_protocol"),
        ("SERVER_NAME", "$server_name"),
        ("SERVER_PORT", "$server_port"),
        ("REMOTE_ADDR", "$remote_addr"),
        ("SCRIPT_FILENAME", &script.display().to_string()),
    ];
    let parameters = parameters.iter().map(|(name, value)| format!("{module}_param {name} {value}"));
    [format!("{module}_pass shop")].into_iter().chain(parameters).collect()
}
