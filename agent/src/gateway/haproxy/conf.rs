//! HAProxy's configuration file as one model: backends and listens with their servers, checks and time limits, `defaults`
//! applied as the manual has it (a named one where a section says `from`, else the last before), and log settings. What is not
//! understood is passed over; nothing is ever written.

mod server;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format;
use crate::gateway::{Check, Configuration, Files, LogSetting, Pool, Tls};
use server::Options;
use words::{duration, words};

/// Lines of one file that are read.
const MOST_LINES: usize = 200_000;
/// Response headers must fit into a buffer less what is kept for rewriting (tune.bufsize, tune.maxrewrite).
const BUFFER_BYTES: u64 = 16_384;
const REWRITE_BYTES: u64 = 1_024;

/// Reads the file, or all `*.cfg` of a folder in order, as `haproxy -f` does.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let mut reading = Reading::default();
    let mut paths = vec![path.to_path_buf()];
    let inside = files.glob(&path.join("*.cfg"));
    if !inside.is_empty() {
        paths = inside;
    }
    for path in paths {
        reading.file(&path, files);
    }
    reading.finish()
}

/// What `defaults` hands on and a proxy may say anew.
#[derive(Debug, Clone, Default)]
struct Settings {
    tcp: bool,
    connect: Option<Duration>,
    server: Option<Duration>,
    check_timeout: Option<Duration>,
    retries: Option<u32>,
    check: Check,
    check_port: Option<u16>,
    no_reuse: bool,
    fastcgi: bool,
    log_targets: Vec<String>,
    log_format: Option<String>,
    servers: Options,
}

/// One frontend, backend or listen.
#[derive(Debug, Default)]
struct Proxy {
    name: String,
    /// It has a log of its own: frontends and listens.
    fronts: bool,
    source: String,
    settings: Settings,
    servers: Vec<(String, String, Options)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Section {
    #[default]
    Other,
    Global,
    Defaults,
    Proxy,
}

#[derive(Debug, Default)]
struct Reading {
    section: Section,
    defaults: Settings,
    named: HashMap<String, Settings>,
    defaults_name: Option<String>,
    proxies: Vec<Proxy>,
    global_logs: Vec<String>,
    buffer_bytes: Option<u64>,
    rewrite_bytes: Option<u64>,
    server_verify_none: bool,
    files: Vec<PathBuf>,
    faults: Vec<String>,
}

impl Reading {
    fn file(&mut self, path: &Path, files: &dyn Files) {
        self.files.push(path.to_path_buf());
        let text = match files.read(path) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(why) => return self.faults.push(format!("{}: {why}", path.display())),
        };
        for (at, line) in text.lines().take(MOST_LINES).enumerate() {
            let source = format!("{}:{}", path.display(), at + 1);
            match words(line) {
                Ok(words) if !words.is_empty() => self.line(&words, source),
                Ok(_) => {}
                Err(why) => self.faults.push(format!("{source}: {why}")),
            }
        }
        self.keep_defaults();
    }

    fn line(&mut self, words: &[String], source: String) {
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        match word(0) {
            "global" => self.enter(Section::Global),
            "defaults" => self.enter_defaults(words),
            kind @ ("frontend" | "backend" | "listen") => {
                self.enter(Section::Proxy);
                let settings = self.inherited(words);
                let (name, fronts) = (word(1).to_owned(), kind != "backend");
                self.proxies.push(Proxy { name, fronts, source, settings, servers: Vec::new() });
            }
            "peers" | "resolvers" | "userlist" | "mailers" | "program" | "http-errors" | "ring" | "log-forward"
            | "cache" | "fcgi-app" | "crt-store" | "traces" | "log-profile" | "acme" | "crt-list" => {
                self.enter(Section::Other)
            }
            _ => self.inside(words, &source),
        }
    }

    fn enter(&mut self, section: Section) {
        self.keep_defaults();
        self.section = section;
    }

    /// `defaults [name] [from other]` begins anew.
    fn enter_defaults(&mut self, words: &[String]) {
        self.enter(Section::Defaults);
        let base = named_base(words).and_then(|base| self.named.get(base).cloned());
        self.defaults = base.unwrap_or_default();
        self.defaults_name = words.get(1).filter(|name| *name != "from").cloned();
    }

    fn keep_defaults(&mut self) {
        if self.section == Section::Defaults
            && let Some(name) = &self.defaults_name
        {
            self.named.insert(name.clone(), self.defaults.clone());
        }
    }

    fn inherited(&self, words: &[String]) -> Settings {
        let named = named_base(words).and_then(|base| self.named.get(base));
        named.unwrap_or(&self.defaults).clone()
    }

    fn inside(&mut self, words: &[String], source: &str) {
        match self.section {
            Section::Other => {}
            Section::Global => self.global(words),
            Section::Defaults => setting(&mut self.defaults, words),
            Section::Proxy => {
                let Some(proxy) = self.proxies.last_mut() else { return };
                match words.first().map_or("", String::as_str) {
                    "server" | "server-template" => {
                        let inherited = &proxy.settings.servers;
                        match server::read(words, inherited) {
                            Some(servers) => proxy.servers.extend(servers),
                            None => self.faults.push(format!("{source}: a server without an address")),
                        }
                    }
                    _ => setting(&mut proxy.settings, words),
                }
            }
        }
    }

    fn global(&mut self, words: &[String]) {
        let number = || words.get(1).and_then(|number| number.parse().ok());
        match words.first().map_or("", String::as_str) {
            "log" => self.global_logs.extend(words.get(1).cloned()),
            "tune.bufsize" => self.buffer_bytes = number(),
            "tune.maxrewrite" => self.rewrite_bytes = number(),
            "ssl-server-verify" => self.server_verify_none = words.get(1).is_some_and(|how| how == "none"),
            _ => {}
        }
    }

    fn finish(self) -> Configuration {
        let limit =
            self.buffer_bytes.unwrap_or(BUFFER_BYTES).saturating_sub(self.rewrite_bytes.unwrap_or(REWRITE_BYTES));
        let mut logs: Vec<LogSetting> = Vec::new();
        for proxy in self.proxies.iter().filter(|proxy| proxy.fronts) {
            for target in &proxy.settings.log_targets {
                let targets = if target == "global" { self.global_logs.clone() } else { vec![target.clone()] };
                for target in targets {
                    let setting = LogSetting {
                        target: Some(target),
                        format: proxy.settings.log_format.clone(),
                        ..LogSetting::default()
                    };
                    if !logs.contains(&setting) {
                        logs.push(setting);
                    }
                }
            }
        }
        let with_servers = self.proxies.into_iter().filter(|proxy| !proxy.servers.is_empty());
        let pools = with_servers.map(|proxy| proxy.pool(limit, self.server_verify_none)).collect();
        Configuration { pools, logs, files: self.files, faults: self.faults }
    }
}

/// The name behind `from`.
fn named_base(words: &[String]) -> Option<&str> {
    let from = words.iter().skip(1).position(|word| word == "from")?;
    words.get(from + 2).map(String::as_str)
}

/// One line of `defaults` or of a proxy.
fn setting(settings: &mut Settings, words: &[String]) {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match (word(0), word(1)) {
        ("no", "log") => settings.log_targets.clear(),
        ("no", "option") => without_option(settings, word(2)),
        ("mode", mode) => settings.tcp = mode == "tcp",
        ("timeout", "connect") => settings.connect = duration(word(2)),
        ("timeout", "server") => settings.server = duration(word(2)),
        ("timeout", "check") => settings.check_timeout = duration(word(2)),
        ("retries", count) => settings.retries = count.parse().ok(),
        ("http-reuse", how) => settings.no_reuse = how == "never",
        ("use-fcgi-app", _) => settings.fastcgi = true,
        ("log", target) if !target.is_empty() => settings.log_targets.push(target.to_owned()),
        ("log-format", format) => settings.log_format = Some(format::expanded(format)),
        ("default-server", _) => settings.servers.read(words.get(1..).unwrap_or_default()),
        ("option", option) => with_option(settings, option, words),
        ("http-check" | "tcp-check", what) => check(settings, what, words),
        _ => {}
    }
}

fn with_option(settings: &mut Settings, option: &str, words: &[String]) {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match option {
        "httplog" | "tcplog" | "httpslog" => settings.log_format = None,
        "http-server-close" | "httpclose" | "forceclose" => settings.no_reuse = true,
        "httpchk" => {
            "http".clone_into(&mut settings.check.kind);
            // `option httpchk [METHOD] URI [VERSION [headers]]`; one word alone is the URI.
            let path = if words.len() > 3 { word(3) } else { word(2) };
            settings.check.path = if path.is_empty() { "/" } else { path }.to_owned();
            let host = word(4).split_once("Host: ").map(|(_, host)| host.trim_end_matches("\\r\\n").to_owned());
            settings.check.host = host.unwrap_or_default();
        }
        "tcp-check" => "tcp".clone_into(&mut settings.check.kind),
        "ssl-hello-chk" => "ssl".clone_into(&mut settings.check.kind),
        "redis-check" | "mysql-check" | "pgsql-check" | "smtpchk" | "ldap-check" | "spop-check" | "external-check" => {
            option.trim_end_matches("-check").trim_end_matches("chk").clone_into(&mut settings.check.kind);
        }
        _ => {}
    }
}

fn without_option(settings: &mut Settings, option: &str) {
    match option {
        "httpchk" | "tcp-check" => settings.check = Check::default(),
        "http-server-close" | "httpclose" => settings.no_reuse = false,
        "httplog" | "tcplog" => settings.log_format = None,
        _ => {}
    }
}

/// `http-check send meth GET uri /x hdr Host a`, `http-check expect status 200-299`, `http-check connect port 8081`.
fn check(settings: &mut Settings, what: &str, words: &[String]) {
    let after = |key: &str| words.iter().position(|word| word == key).and_then(|at| words.get(at + 1)).cloned();
    match what {
        "send" => {
            if let Some(path) = after("uri") {
                settings.check.path = path;
            }
            let host = words
                .windows(3)
                .find(|three| matches!(three, [key, name, _] if key == "hdr" && name.eq_ignore_ascii_case("host")));
            if let Some([_, _, host]) = host {
                settings.check.host.clone_from(host);
            }
        }
        "expect" => settings.check.expects = words.get(2..).unwrap_or_default().join(" "),
        "connect" => settings.check_port = after("port").and_then(|port| port.parse().ok()),
        _ => {}
    }
}

impl Proxy {
    fn pool(self, header_limit_bytes: u64, verify_none: bool) -> Pool {
        let settings = self.settings;
        let checked = self.servers.iter().map(|(_, _, options)| options).find(|options| options.check);
        let check = checked.map(|options| {
            let kind = if settings.check.kind.is_empty() { "tcp" } else { &settings.check.kind };
            // Manual, `inter`, `fall`, `rise` and `timeout check`: 2 s, 3, 2, and the interval.
            let interval = options.interval.or(Some(Duration::from_secs(2)));
            Check {
                kind: kind.to_owned(),
                interval,
                timeout: settings.check_timeout.or(interval),
                fall: options.fall.or(Some(3)),
                rise: options.rise.or(Some(2)),
                ..settings.check.clone()
            }
        });
        let first = self.servers.first().map(|(_, _, options)| options);
        let tls = first.filter(|options| options.tls).map(|options| Tls {
            verify: options.verify.unwrap_or(!verify_none),
            any_name: options.server_name.is_none(),
            ca_file: options.ca_file.clone(),
            server_name: options.server_name.clone(),
            protocols: options.protocols.clone(),
        });
        let scheme = match first {
            _ if settings.tcp => "tcp",
            _ if settings.fastcgi => "fastcgi",
            Some(options) if options.tls => "https",
            Some(options) if options.http2 => "h2c",
            _ => "http",
        };
        let kept = if settings.no_reuse { Some(Duration::ZERO) } else { first.and_then(|options| options.kept) };
        let members =
            self.servers.into_iter().map(|(name, address, options)| options.member(name, address, settings.check_port));
        Pool {
            name: self.name,
            members: members.collect(),
            check,
            connect_timeout: settings.connect,
            send_timeout: None,
            read_timeout: settings.server,
            // `retries` counts those after the first attempt; three where nothing is said.
            tries: Some(settings.retries.unwrap_or(3).saturating_add(1)),
            scheme: scheme.to_owned(),
            keepalive_idle: kept,
            tls,
            header_limit_bytes: Some(header_limit_bytes),
            source: self.source,
        }
    }
}

#[cfg(test)]
mod tests;
