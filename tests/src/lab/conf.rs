//! Configuration files as people write them, of agents and the collector, and the applications' command lines.

use std::fmt::Write;
use std::path::Path;

use super::gateway::SetUp;
use super::host::{MANAGEMENT, SERVICE};
use super::plan::{App, BESIDE_HOST, Gateway, INNER_HOST, PORT, Plan, Runtime, SOCKET};

/// agent.toml of a gateway's host.
pub fn gateway_agent(host: &str, plan: &Plan, gateway: &Gateway, set_up: &SetUp, dir: &Path) -> String {
    let mut text = agent_head(host, plan, dir);
    plan.apps.iter().filter(|app| app.host == host).for_each(|app| text.push_str(&service(app, dir)));
    let (kind, at) = (gateway.kind.id(), dir.display());
    let name = match host {
        INNER_HOST => "inner",
        BESIDE_HOST => "other",
        _ => "edge",
    };
    let _ = write!(text, "\n[[gateway]]\nname = \"{name}\"\nkind = \"{kind}\"\nconfig = \"{at}/{}\"\n", set_up.file);
    for (key, file) in set_up.logs.iter().filter(|(key, _)| gateway.error_log || *key != "error_log") {
        let _ = writeln!(text, "{key} = \"{at}/{file}\"");
    }
    text
}

/// agent.toml of an application's host.
pub fn app_agent(app: &App, plan: &Plan, dir: &Path) -> String {
    agent_head(app.host, plan, dir) + &service(app, dir)
}

fn service(app: &App, dir: &Path) -> String {
    let matches = app.runtime.command();
    let (address, dir) = (app.address(), dir.display());
    let role = if app.tells_role { "role = { path = \"/health\", field = \"leader\" }\n" } else { "" };
    let lines = [
        (app.told.matches, format!("match = {{ cmdline = \"{matches}\" }}\n")),
        // Whoever speaks no HTTP can't be asked for its health by it.
        (
            app.told.health && app.runtime.protocol() == "http",
            "health = { path = \"/health\", timeout = \"2s\", interval = \"2s\" }\n".to_owned(),
        ),
        (app.told.log, format!("logs = [\"{dir}/app.log\"]\n")),
    ];
    let told: String = lines.into_iter().filter(|(is_told, _)| *is_told).map(|(_, line)| line).collect();
    format!("\n[[service]]\nname = \"shop\"\nlisten = [\"{address}\"]\n{told}{role}")
}

fn agent_head(host: &str, plan: &Plan, dir: &Path) -> String {
    let network = if plan.management { MANAGEMENT } else { SERVICE };
    let (prefix, dir, interval_s) = (network.prefix, dir.display(), plan.interval_s);
    format!(
        "collector = [\"http://{prefix}.1:5020\"]\nhost = \"{host}\"\ninterval = \"{interval_s}s\"\n\
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
        Runtime::Uvicorn => {
            let (port, folder) = (PORT.to_string(), apps.join("python").display().to_string());
            let fixed = ["uvicorn", "--host", "0.0.0.0", "--port", &port, "--app-dir", &folder, "--no-access-log"];
            [text(&fixed), text(&app.arguments), text(&["asgi:application"])].concat()
        }
        Runtime::Uwsgi => {
            let (socket, script) = (format!("0.0.0.0:{PORT}"), apps.join("python/app.py").display().to_string());
            let fixed = ["uwsgi", "--plugin", "python3", "--socket", &socket, "--wsgi-file", &script];
            [text(&fixed), text(&["--master", "--die-on-term", "--disable-logging"]), text(&app.arguments)].concat()
        }
        Runtime::PhpFpm => {
            let settings = dir.join(PHP_FPM).display().to_string();
            text(&[app.runtime.program(), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", &settings])
        }
        Runtime::Puma => {
            let (bind, folder) = (format!("tcp://0.0.0.0:{PORT}"), apps.join("ruby").display().to_string());
            let (settings, script) = (format!("{folder}/puma.rb"), format!("{folder}/config.ru"));
            let fixed = ["puma", "--environment", "production", "--config", &settings, "--bind", &bind];
            [text(&fixed), text(&app.arguments), text(&[&script])].concat()
        }
    };
    let own = [("PORT", PORT.to_string()), ("LOG", log), ("FAULTS", faults), ("NAME", app.host.to_owned())];
    let socket = app.socket.then(|| ("SOCKET", SOCKET.to_owned()));
    let certificate = (!app.certificate.is_empty()).then(|| ("CERTIFICATE", certificate(dir, app.certificate)));
    let env = own.into_iter().chain(socket).chain(certificate).chain(app.env.iter().cloned());
    (command, env.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The configuration file of PHP-FPM in its host's folder.
pub const PHP_FPM: &str = "php-fpm.conf";

/// That file: one pool.
pub fn php_fpm(app: &App, dir: &Path) -> String {
    let settings: String = app.arguments.iter().map(|setting| format!("{setting}\n")).collect();
    format!(
        "[global]\nerror_log = {}/app.log\n[www]\nlisten = 0.0.0.0:{PORT}\nuser = root\ngroup = root\nclear_env = no\n{settings}",
        dir.display()
    )
}

/// Where a certificate lies, seen from a host's folder.
pub fn certificate(dir: &Path, name: &str) -> String {
    dir.with_file_name("certificates").join(name).with_extension("pem").display().to_string()
}

/// Where the script of a release lies.
pub fn release(app: &App, dir: &Path) -> std::path::PathBuf {
    dir.join("releases").join(app.release).join("server.js")
}
