//! Configuration files as people write them: of gateways, agents and the collector.

use std::fmt::Write;
use std::path::Path;

use super::host::{MANAGEMENT, SERVICE};
use super::plan::{App, Gateway, Kind, PORT, Plan, Runtime};

/// Where clients reach the gateway.
pub const GATEWAY_PORT: u16 = 8080;

/// nginx.conf.
pub fn nginx(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let dir = dir.display();
    let format = if gateway.plain_log { "combined" } else { "upstreams" };
    let mut servers = String::new();
    for member in members {
        let limits = if gateway.retries { "max_fails=1 fail_timeout=2s" } else { "max_fails=0" };
        let _ = writeln!(servers, "        server {member} {limits};");
    }
    if gateway.keepalive > 0 {
        let _ = writeln!(servers, "        keepalive {};", gateway.keepalive);
    }
    let next = if gateway.retries { "error timeout" } else { "off" };
    let (connect_s, read_s, header_kib) = (gateway.connect_s, gateway.read_s, gateway.header_kib);
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format upstreams '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                         '"$http_referer" "$http_user_agent" $request_time '
                         '"$upstream_addr" "$upstream_status" "$upstream_connect_time" '
                         '"$upstream_header_time" "$upstream_response_time" $connection';
    access_log {dir}/access.log {format};
    client_body_temp_path {dir}/tmp-body;
    proxy_temp_path {dir}/tmp-proxy;
    fastcgi_temp_path {dir}/tmp-fastcgi;
    uwsgi_temp_path {dir}/tmp-uwsgi;
    scgi_temp_path {dir}/tmp-scgi;
    upstream shop {{
{servers}    }}
    server {{
        listen {GATEWAY_PORT};
        location / {{
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout {connect_s}s;
            proxy_read_timeout {read_s}s;
            proxy_next_upstream {next};
            proxy_buffer_size {header_kib}k;
        }}
    }}
}}
"#
    )
}

/// haproxy.cfg, with the health check that nginx does not have.
pub fn haproxy(gateway: &Gateway, members: &[String]) -> String {
    let mut servers = String::new();
    for (index, member) in members.iter().enumerate() {
        let _ = writeln!(servers, "    server app{} {member} check inter 500ms fall 2 rise 2", index + 1);
    }
    let (connect_s, read_s) = (gateway.connect_s, gateway.read_s);
    let retries = if gateway.retries { 3 } else { 0 };
    format!(
        "global
    log stdout format raw local0
    maxconn 1000
defaults
    mode http
    log global
    option httplog
    option log-health-checks
    retries {retries}
    timeout connect {connect_s}s
    timeout client 30s
    timeout server {read_s}s
    timeout check 1s
frontend web
    bind :{GATEWAY_PORT}
    default_backend shop
backend shop
    balance roundrobin
    option httpchk GET /health
{servers}"
    )
}

/// agent.toml of a gateway's host.
pub fn gateway_agent(plan: &Plan, dir: &Path) -> String {
    let mut text = agent_head("lb-1", plan, dir);
    let dir = dir.display();
    match plan.gateway.kind {
        Kind::Nginx => {
            let _ = write!(
                text,
                "\n[[gateway]]\nname = \"edge\"\nkind = \"nginx\"\naccess_log = \"{dir}/access.log\"\n\
                 error_log = \"{dir}/error.log\"\nconfig = \"{dir}/nginx.conf\"\n"
            );
        }
        Kind::Haproxy => {
            let _ = write!(
                text,
                "\n[[gateway]]\nname = \"edge\"\nkind = \"haproxy\"\naccess_log = \"{dir}/haproxy.log\"\n\
                 config = \"{dir}/haproxy.cfg\"\n"
            );
        }
    }
    text
}

/// agent.toml of an application's host.
pub fn app_agent(app: &App, plan: &Plan, dir: &Path) -> String {
    let mut text = agent_head(app.host, plan, dir);
    let matches = match app.runtime {
        Runtime::Node => "node .*server\\\\.js",
        Runtime::Gunicorn => "gunicorn",
    };
    let (address, dir) = (app.address(), dir.display());
    let _ = write!(
        text,
        "\n[[service]]\nname = \"shop\"\nlisten = [\"{address}\"]\nmatch = {{ cmdline = \"{matches}\" }}\n\
         health = {{ path = \"/health\", timeout = \"2s\", interval = \"2s\" }}\nlogs = [\"{dir}/app.log\"]\n"
    );
    text
}

fn agent_head(host: &str, plan: &Plan, dir: &Path) -> String {
    let network = if plan.management { MANAGEMENT } else { SERVICE };
    let (prefix, dir) = (network.prefix, dir.display());
    format!(
        "collector = [\"http://{prefix}.1:5020\"]\nhost = \"{host}\"\ninterval = \"2s\"\n\
         state_dir = \"{dir}/state\"\ninsecure = true\n"
    )
}

/// collector.toml.
pub fn collector(dir: &Path) -> String {
    format!(
        "[ingest]\nlisten = \"0.0.0.0:5020\"\ninsecure = true\n\n[api]\nlisten = \"127.0.0.1:5021\"\n\n\
         [store]\ndir = \"{}\"\n",
        dir.display()
    )
}

/// The command line and the environment of an application.
pub fn app_command(app: &App, apps: &Path, dir: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let log = dir.join("app.log").display().to_string();
    let faults = dir.join("faults.json").display().to_string();
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let command = match app.runtime {
        Runtime::Node if app.release.is_empty() => text(&["node", &apps.join("node/server.js").display().to_string()]),
        Runtime::Node => text(&["node", &release(app, dir).display().to_string()]),
        Runtime::Gunicorn => {
            let bind = format!("0.0.0.0:{PORT}");
            let folder = apps.join("python").display().to_string();
            let fixed = ["gunicorn", "--bind", &bind, "--chdir", &folder, "--log-file", &log, "app:application"];
            [text(&fixed), text(&app.arguments)].concat()
        }
    };
    let own = [("PORT", PORT.to_string()), ("LOG", log), ("FAULTS", faults), ("NAME", app.host.to_owned())];
    let env = own.into_iter().chain(app.env.iter().cloned());
    (command, env.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Where the script of a release lies.
pub fn release(app: &App, dir: &Path) -> std::path::PathBuf {
    dir.join("releases").join(app.release).join("server.js")
}
