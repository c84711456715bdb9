//! Varnish, which keeps nothing here and logs each fetch with its error beside varnishd.

use std::fmt::Write;
use std::path::Path;

use super::{PORT, Reload, SetUp};
use crate::lab::plan::Gateway;

/// As `deploy/gateways/varnish.service` has it.
const FETCHES: &str = r#"%t "%r" %s %D "%{VSL:FetchError}x" "%{VSL:BackendOpen}x""#;

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    let at = dir.display();
    // Jails are of another user, whose folders these are not.
    let command = format!(
        "varnishncsa -b -n {at}/varnish -t off -w {at}/access.log -F '{FETCHES}' & \
         exec varnishd -F -j none -n {at}/varnish -f {at}/default.vcl -a :{PORT} -s malloc,16m"
    );
    SetUp {
        file: "default.vcl",
        text: configuration(gateway, members),
        argv: vec!["sh".to_owned(), "-c".to_owned(), command],
        out: "varnish.out",
        logs: vec![("access_log", "access.log")],
        reload: Reload::Command(format!("/usr/share/varnish/varnishreload -n {at}/varnish {at}/default.vcl")),
    }
}

fn configuration(gateway: &Gateway, members: &[String]) -> String {
    let (connect_s, read_s) = (gateway.connect_s, gateway.read_s);
    let (mut backends, mut director) = (String::new(), String::new());
    for (index, member) in members.iter().enumerate() {
        let (host, port) = member.rsplit_once(':').unwrap_or((member, "80"));
        let probe = if gateway.check.is_some() { " .probe = health;" } else { "" };
        let _ = writeln!(
            backends,
            "backend app{index} {{ .host = \"{host}\"; .port = \"{port}\"; .connect_timeout = {connect_s}s; \
             .first_byte_timeout = {read_s}s; .between_bytes_timeout = {read_s}s;{probe} }}"
        );
        let _ = writeln!(director, "    shop.add_backend(app{index});");
    }
    let (probe, again, close) = (probe(gateway), again(gateway), close(gateway));
    format!(
        "vcl 4.1;
import directors;
{probe}{backends}
sub vcl_init {{
    new shop = directors.round_robin();
{director}}}
sub vcl_recv {{
    set req.backend_hint = shop.backend();
    return (pass);
}}
{close}{again}"
    )
}

fn probe(gateway: &Gateway) -> String {
    let Some(check) = gateway.check else { return String::new() };
    let window = check.fall + check.rise;
    format!(
        "probe health {{ .url = \"{}\"; .interval = {}ms; .timeout = {}ms; .window = {window}; .threshold = {}; .initial = {window}; }}\n",
        check.path, check.every_ms, check.timeout_ms, check.rise
    )
}

/// A failed fetch is tried once more, at the next member.
fn again(gateway: &Gateway) -> &'static str {
    if gateway.retries {
        "sub vcl_backend_error {\n    if (bereq.retries < 1) {\n        return (retry);\n    }\n}\n"
    } else {
        ""
    }
}

fn close(gateway: &Gateway) -> &'static str {
    if gateway.keepalive == 0 { "sub vcl_backend_fetch {\n    set bereq.http.Connection = \"close\";\n}\n" } else { "" }
}
