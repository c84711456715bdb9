//! Traefik's configuration: the static file and the dynamic files that its file provider names, or a dynamic file alone, YAML or
//! TOML (reference of routing, HTTP and TCP services, servers' transports, access logs). What other providers tell (labels,
//! Kubernetes) stands in no file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::document::{self, Node};
use super::super::go_duration;
use crate::gateway::{Check, Configuration, Files, LogSetting, Member, Pool, Tls};

/// What Traefik takes where nothing is said.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Dynamic files of one configuration.
const MOST_FILES: usize = 256;

/// Reads the file and the dynamic files that it names.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let mut reading = Reading { files, documents: Vec::new(), configuration: Configuration::default() };
    reading.file(path);
    let provider =
        reading.documents.first().map(|(_, document)| document.at("providers.file").clone()).unwrap_or_default();
    for file in reading.named(path, &provider) {
        reading.file(&file);
    }
    reading.finish()
}

struct Reading<'f> {
    files: &'f dyn Files,
    documents: Vec<(PathBuf, Node)>,
    configuration: Configuration,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) {
        if self.configuration.files.len() >= MOST_FILES {
            return;
        }
        self.configuration.files.push(path.to_path_buf());
        let document = self
            .files
            .read(path)
            .and_then(|text| document::parse(path, &text).map_err(|why| format!("{}:{why}", path.display())));
        match document {
            Ok(document) => self.documents.push((path.to_path_buf(), document)),
            Err(why) => self.configuration.faults.push(why),
        }
    }

    /// `providers.file.filename`, or all files of `directory`.
    fn named(&self, path: &Path, provider: &Node) -> Vec<PathBuf> {
        let base = path.parent().unwrap_or(Path::new("/"));
        if let Some(file) = provider.get("filename").text() {
            return vec![base.join(file)];
        }
        let Some(folder) = provider.get("directory").text() else { return Vec::new() };
        let patterns = ["*.yml", "*.yaml", "*.toml"];
        patterns.iter().flat_map(|pattern| self.files.glob(&base.join(folder).join(pattern))).collect()
    }

    fn finish(mut self) -> Configuration {
        let main = self.documents.first().map(|(_, document)| document.clone()).unwrap_or_default();
        self.configuration.logs = logs(&main);
        let transports: Vec<&(String, Node)> =
            self.documents.iter().flat_map(|(_, document)| document.at("http.serversTransports").members()).collect();
        for (path, document) in &self.documents {
            for (name, service) in document.at("http.services").members() {
                let balancer = service.get("loadBalancer");
                let given = balancer.get("serversTransport").text();
                let named = given.and_then(|given| transports.iter().find(|(name, _)| is_named(given, name)));
                let transport = named.map_or(main.get("serversTransport"), |(_, transport)| transport);
                let mut pool = http(balancer, transport);
                pool.tries = Some(1 + self.retries(name));
                self.configuration.pools.extend(kept(pool, name, path, service));
            }
            for (name, service) in document.at("tcp.services").members() {
                let pool = tcp(service.get("loadBalancer"));
                self.configuration.pools.extend(kept(pool, name, path, service));
            }
        }
        self.configuration
    }

    /// Retries of the middleware that a router puts before the service.
    fn retries(&self, service: &str) -> u32 {
        let all = |path: &'static str| self.documents.iter().flat_map(move |(_, document)| document.at(path).members());
        let mut routers = all("http.routers")
            .filter(|(_, router)| router.get("service").text().is_some_and(|name| is_named(name, service)));
        let retry = routers.find_map(|(_, router)| {
            let used: Vec<&str> = router.get("middlewares").items().iter().filter_map(Node::text).collect();
            let mut known = all("http.middlewares");
            known.find(|(name, node)| node.get("retry").exists() && used.iter().any(|used| is_named(used, name)))
        });
        // `attempts` counts the first one too.
        retry
            .and_then(|(_, node)| node.at("retry.attempts").number::<u32>())
            .map_or(0, |attempts| attempts.saturating_sub(1))
    }
}

/// `name`, or `name@file` as other providers call it.
fn is_named(used: &str, name: &str) -> bool {
    used == name || used.strip_suffix("@file") == Some(name)
}

fn kept(mut pool: Pool, name: &str, path: &Path, service: &Node) -> Option<Pool> {
    // Access lines name services so.
    pool.name = format!("{name}@file");
    pool.source = document::source(path, service).into_owned();
    (!pool.members.is_empty()).then_some(pool)
}

fn http(balancer: &Node, transport: &Node) -> Pool {
    let limit = |name: &str| transport.get("forwardingTimeouts").get(name).text().and_then(duration);
    let mut pool = Pool {
        scheme: "http".to_owned(),
        connect_timeout: limit("dialTimeout").or(Some(DIAL_TIMEOUT)),
        // Zero, which it is where nothing is said, waits without end.
        read_timeout: limit("responseHeaderTimeout").filter(|limit| !limit.is_zero()),
        keepalive_idle: limit("idleConnTimeout").or(Some(IDLE_TIMEOUT)),
        ..Pool::default()
    };
    let mut secure = false;
    for server in balancer.get("servers").items() {
        let Some((scheme, rest)) = server.get("url").text().and_then(|url| url.split_once("://")) else { continue };
        let host = rest.split('/').next().unwrap_or_default();
        secure |= scheme == "https";
        if scheme == "h2c" {
            "h2c".clone_into(&mut pool.scheme);
        }
        let port = if scheme == "https" { 443 } else { 80 };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        pool.members.push(Member { address, ..Member::default() });
    }
    if secure {
        "https".clone_into(&mut pool.scheme);
        let authorities = transport.get("rootCAs");
        pool.tls = Some(Tls {
            verify: !transport.get("insecureSkipVerify").is_true(),
            any_name: false,
            ca_file: authorities.items().first().unwrap_or(authorities).text().map(PathBuf::from),
            server_name: transport.get("serverName").text().map(str::to_owned),
            protocols: String::new(),
        });
    }
    pool.check =
        Some(balancer.get("healthCheck")).filter(|check| check.exists()).map(|node| check(node, &mut pool.members));
    pool
}

fn check(node: &Node, members: &mut [Member]) -> Check {
    if let Some(port) = node.get("port").number::<u16>() {
        for member in members {
            member.check_address = member.address.rsplit_once(':').map(|(host, _)| format!("{host}:{port}"));
        }
    }
    let kind = if node.get("mode").text() == Some("grpc") { "grpc" } else { "http" };
    Check {
        kind: kind.to_owned(),
        path: node.get("path").owned(),
        interval: node.get("interval").text().and_then(duration).or(Some(CHECK_INTERVAL)),
        timeout: node.get("timeout").text().and_then(duration).or(Some(CHECK_TIMEOUT)),
        // One check decides.
        fall: Some(1),
        rise: Some(1),
        expects: node.get("status").text().unwrap_or("200-399").to_owned(),
        host: node.get("hostname").owned(),
    }
}

fn tcp(balancer: &Node) -> Pool {
    let addresses = balancer.get("servers").items().iter().filter_map(|server| server.get("address").text());
    let members = addresses.map(|address| Member { address: address.to_owned(), ..Member::default() });
    Pool {
        scheme: "tcp".to_owned(),
        connect_timeout: Some(DIAL_TIMEOUT),
        members: members.collect(),
        tries: Some(1),
        ..Pool::default()
    }
}

/// The access log, and Traefik's own, in which the reasons stand.
fn logs(main: &Node) -> Vec<LogSetting> {
    let mut logs = Vec::new();
    let target = |node: &Node| Some(node.get("filePath").text().unwrap_or("/dev/stdout").to_owned());
    // An empty `accessLog: {}` switches it on; one that is null does too, as a key alone is written.
    if main.members().iter().any(|(key, _)| document::same_key(key, "accessLog")) {
        logs.push(LogSetting { target: target(main.get("accessLog")), ..LogSetting::default() });
    }
    let log = main.get("log");
    let level = log.get("level").text().unwrap_or("ERROR").to_ascii_lowercase();
    logs.push(LogSetting { target: target(log), level: Some(level), is_error_log: true, ..LogSetting::default() });
    logs
}

/// Go's durations; a number alone is seconds.
fn duration(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs).or_else(|| go_duration::parse(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Few(&'static [(&'static str, &'static str)]);

    impl Files for Few {
        fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
            let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "no such file".to_owned())
        }

        fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
            let names = self.0.iter().map(|(name, _)| PathBuf::from(name));
            let ending = pattern.extension();
            names.filter(|name| name.parent() == pattern.parent() && name.extension() == ending).collect()
        }
    }

    const DYNAMIC: &str = include_str!("../../../fixtures/gateway/traefik-dynamic.yml");

    #[test]
    fn a_static_file_leads_to_dynamic_ones() {
        let files = Few(&[
            (
                "/etc/traefik/traefik.toml",
                "[accessLog]\nfilePath = \"/var/log/access.log\"\n[log]\nlevel = \"DEBUG\"\n[providers.file]\ndirectory = \"dynamic\"\n\
                 [serversTransport.forwardingTimeouts]\ndialTimeout = \"4s\"\nresponseHeaderTimeout = 20\n",
            ),
            ("/etc/traefik/dynamic/a.yml", DYNAMIC),
            ("/etc/traefik/dynamic/b.toml", "[[tcp.services.db.loadBalancer.servers]]\naddress = \"10.0.0.7:5432\"\n"),
        ]);
        let configuration = configuration(Path::new("/etc/traefik/traefik.toml"), &files);
        assert_eq!((configuration.files.len(), configuration.faults.len()), (3, 0));
        let names: Vec<&str> = configuration.pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["api@file", "secure@file", "db@file"]);
        let api = &configuration.pools[0];
        let addresses: Vec<&str> = api.members.iter().map(|member| member.address.as_str()).collect();
        assert_eq!(addresses, ["10.0.0.2:3000", "10.0.0.3:80"]);
        assert_eq!(
            (api.connect_timeout, api.read_timeout),
            (Some(Duration::from_secs(4)), Some(Duration::from_secs(20)))
        );
        assert_eq!((api.tries, api.members[0].check_address.as_deref()), (Some(4), Some("10.0.0.2:8081")));
        let check = api.check.as_ref().unwrap();
        assert_eq!((check.path.as_str(), check.interval), ("/health", Some(Duration::from_secs(10))));
        assert_eq!((check.timeout, check.host.as_str()), (Some(Duration::from_millis(1_500)), "api.internal"));
        assert_eq!(api.source, "/etc/traefik/dynamic/a.yml:14");
        let logs: Vec<_> = configuration.logs.iter().map(|log| (log.target.as_deref(), log.level.as_deref())).collect();
        assert_eq!(logs, [(Some("/var/log/access.log"), None), (Some("/dev/stdout"), Some("debug"))]);
    }

    #[test]
    fn transports_have_limits_and_tls_of_their_own() {
        let configuration = configuration(Path::new("/d.yml"), &Few(&[("/d.yml", DYNAMIC)]));
        let secure = &configuration.pools[1];
        let tls = secure.tls.as_ref().unwrap();
        assert_eq!((tls.verify, tls.server_name.as_deref()), (true, Some("app.internal")));
        assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/etc/ssl/ca.pem")));
        assert_eq!((secure.scheme.as_str(), secure.members[0].address.as_str()), ("https", "10.0.0.4:8443"));
        assert_eq!((secure.connect_timeout, secure.read_timeout), (Some(Duration::from_secs(2)), None));
        assert_eq!(secure.keepalive_idle, Some(Duration::from_secs(90)));
    }
}
