//! What a story's network is made of: a gateway, applications, a client.

use super::cgroup::Limits;
use super::client::Traffic;

/// The gateway's number on the network.
pub const GATEWAY: u8 = 10;
/// The number of the gateway between it and the applications.
pub const INNER: u8 = 11;
/// The gateway's host.
pub const GATEWAY_HOST: &str = "lb-1";
/// The host of the gateway between.
pub const INNER_HOST: &str = "mid-1";
/// The port that every application serves on.
pub const PORT: u16 = 3000;

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Apache httpd.
    Apache,
    /// Caddy.
    Caddy,
}

impl Kind {
    /// All that the lab has.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Envoy, Self::Apache, Self::Caddy];

    /// As agent.toml names it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
        }
    }

    /// The program that must be there.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apache => "apache2",
            other => other.id(),
        }
    }
}

/// A gateway's own health check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it asks for.
    pub path: &'static str,
    /// Between two checks.
    pub every_ms: u32,
    /// How long it waits for an answer.
    pub timeout_ms: u32,
    /// So many failures in a row take a member out.
    pub fall: u32,
    /// So many successes take it in again.
    pub rise: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self { path: "/health", every_ms: 500, timeout_ms: 1000, fall: 2, rise: 2 }
    }
}

/// How the gateway is set up.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Which.
    pub kind: Kind,
    /// Its members, `ip:port`. Empty: each application's.
    pub members: Vec<String>,
    /// A request that failed is given to another member.
    pub retries: bool,
    /// Seconds to connect.
    pub connect_s: u32,
    /// Seconds to wait for an answer.
    pub read_s: u32,
    /// Idle connections that are kept to the members; 0: none.
    pub keepalive: u32,
    /// The log format that it ships with, which tells neither upstream nor reason.
    pub plain_log: bool,
    /// The largest answer header, KiB, where that is a setting of its own.
    pub header_kib: u32,
    /// Its health check. None: it has none; HAProxy always has one.
    pub check: Option<Check>,
    /// It speaks TLS to the members, and trusts the first certificate that they had.
    pub tls: bool,
    /// Connections that nginx may have at once.
    pub connections: u32,
    /// Its members are the addresses of one name, looked up as requests come (nginx, Caddy).
    pub by_name: bool,
    /// Whom nginx' workers run as.
    pub user: &'static str,
    /// Its agent is told of its error log too.
    pub error_log: bool,
    /// What it speaks to its members, as nginx names it: "http", "fastcgi", "uwsgi".
    pub protocol: &'static str,
    /// The variable of nginx whose request id is logged and handed on. Empty: none.
    pub request_id: &'static str,
}

/// The name of the members that are found by name.
pub const NAME: &str = "shop.internal";
/// Where a gateway's host has a unix socket of its application.
pub const SOCKET: &str = "/srv/shop.sock";

impl Default for Gateway {
    fn default() -> Self {
        Self {
            kind: Kind::Nginx,
            members: Vec::new(),
            retries: false,
            connect_s: 2,
            read_s: 3,
            keepalive: 0,
            plain_log: false,
            header_kib: 4,
            check: None,
            tls: false,
            connections: 1024,
            by_name: false,
            user: "root",
            error_log: true,
            protocol: "http",
            request_id: "",
        }
    }
}

/// What an application is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `tests/apps/node/server.js`.
    Node,
    /// `tests/apps/python/app.py` under gunicorn.
    Gunicorn,
    /// `tests/apps/python/asgi.py` under uvicorn.
    Uvicorn,
    /// `tests/apps/python/app.py` under uWSGI, which speaks its own protocol.
    Uwsgi,
    /// `tests/apps/php/index.php` under PHP-FPM, which speaks FastCGI.
    PhpFpm,
    /// `tests/apps/ruby/config.ru` under Puma.
    Puma,
}

impl Runtime {
    /// The program that must be there.
    pub fn program(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Gunicorn => "gunicorn",
            Self::Uvicorn => "uvicorn",
            Self::Uwsgi => "uwsgi",
            // As Debian 12 names it.
            Self::PhpFpm => "php-fpm8.2",
            Self::Puma => "puma",
        }
    }

    /// What its gateway speaks to it, as nginx names it.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Uwsgi => "uwsgi",
            Self::PhpFpm => "fastcgi",
            Self::Node | Self::Gunicorn | Self::Uvicorn | Self::Puma => "http",
        }
    }

    /// What its command line is known by, as a regular expression.
    pub fn command(self) -> &'static str {
        match self {
            Self::Node => "node .*server\\\\.js",
            Self::Gunicorn => "gunicorn",
            Self::Uvicorn => "uvicorn",
            Self::Uwsgi => "uwsgi",
            Self::PhpFpm => "php-fpm",
            Self::Puma => "puma",
        }
    }
}

/// What an agent's configuration tells of an application beside its name and address.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Which processes it is. Else: who listens there.
    pub matches: bool,
    /// How its health is asked for.
    pub health: bool,
    /// Its log.
    pub log: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self { matches: true, health: true, log: true }
    }
}

/// One application on a host of its own.
#[derive(Debug, Clone)]
pub struct App {
    /// Its host.
    pub host: &'static str,
    /// Its host's number on the network.
    pub number: u8,
    /// What it is made with.
    pub runtime: Runtime,
    /// Its environment, beside what the world gives it.
    pub env: Vec<(&'static str, String)>,
    /// Further arguments of its server; of PHP-FPM settings of its pool.
    pub arguments: Vec<&'static str>,
    /// Limits of its control group.
    pub limits: Limits,
    /// A disk of its own of that size at `disk` in its host's folder, KiB.
    pub disk_kib: Option<u64>,
    /// Most open descriptors.
    pub nofile: Option<u64>,
    /// Started again so many milliseconds after it ended.
    pub restart_ms: Option<u64>,
    /// An agent runs on its host.
    pub has_agent: bool,
    /// What the agent is told of it.
    pub told: Told,
    /// It is started with the network.
    pub starts: bool,
    /// The certificate that it speaks TLS with (Node.js only), one of `CERTIFICATES`. Empty: plain.
    pub certificate: &'static str,
    /// It listens on `SOCKET` instead of a port (Node.js only); its host must be the gateway's.
    pub socket: bool,
    /// Its health answer tells whether it leads, and its agent is told so.
    pub tells_role: bool,
    /// The release that runs (Node.js only): a copy of the script under its name. Empty: the script itself.
    pub release: &'static str,
}

impl App {
    /// A Node.js application on the host `app-N`.
    pub fn node(host: &'static str, number: u8) -> Self {
        Self {
            host,
            number,
            runtime: Runtime::Node,
            env: Vec::new(),
            arguments: Vec::new(),
            limits: Limits::default(),
            disk_kib: None,
            nofile: None,
            restart_ms: None,
            has_agent: true,
            told: Told::default(),
            starts: true,
            certificate: "",
            socket: false,
            tells_role: false,
            release: "",
        }
    }

    /// A gunicorn application.
    pub fn gunicorn(host: &'static str, number: u8, arguments: &[&'static str]) -> Self {
        Self::of(Runtime::Gunicorn, host, number, arguments)
    }

    /// A uvicorn application.
    pub fn uvicorn(host: &'static str, number: u8, arguments: &[&'static str]) -> Self {
        Self::of(Runtime::Uvicorn, host, number, arguments)
    }

    /// An application made with anything.
    pub fn of(runtime: Runtime, host: &'static str, number: u8, arguments: &[&'static str]) -> Self {
        Self { runtime, arguments: arguments.to_vec(), ..Self::node(host, number) }
    }

    /// With a variable of its environment.
    pub fn env(mut self, key: &'static str, value: impl ToString) -> Self {
        self.env.push((key, value.to_string()));
        self
    }

    /// Where the gateway reaches it.
    pub fn address(&self) -> String {
        if self.socket {
            return format!("unix:{SOCKET}");
        }
        format!("{}.{}:{PORT}", super::host::SERVICE.prefix, self.number)
    }
}

/// Certificates of one name and two keys. A gateway that speaks TLS trusts the first.
pub const CERTIFICATES: [&str; 2] = ["first", "second"];

/// The whole network.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway.
    pub gateway: Gateway,
    /// The applications.
    pub apps: Vec<App>,
    /// What the client asks for.
    pub traffic: Traffic,
    /// Agents report over a network of their own.
    pub management: bool,
    /// Another nginx, on a host of its own, stands between the gateway and the applications.
    pub inner: bool,
    /// How often agents sample, seconds.
    pub interval_s: u32,
    /// Hosts whose clocks are wrong, and by how many seconds they are ahead.
    pub clocks: Vec<(&'static str, i32)>,
}

impl Default for Plan {
    /// Two Node.js applications behind nginx.
    fn default() -> Self {
        let apps = vec![App::node("app-1", 21), App::node("app-2", 22)];
        Self {
            gateway: Gateway::default(),
            apps,
            traffic: Traffic::default(),
            management: false,
            inner: false,
            interval_s: 2,
            clocks: Vec::new(),
        }
    }
}

impl Plan {
    /// How many seconds a host's clock is ahead, where it is wrong.
    pub fn clock(&self, host: &str) -> Option<i32> {
        self.clocks.iter().find(|(of, _)| *of == host).map(|(_, ahead_s)| *ahead_s)
    }

    /// With the first application changed.
    pub fn first(mut self, change: impl FnOnce(App) -> App) -> Self {
        let first = self.apps.remove(0);
        self.apps.insert(0, change(first));
        self
    }

    /// With the gateway changed.
    pub fn gateway(mut self, change: impl FnOnce(&mut Gateway)) -> Self {
        change(&mut self.gateway);
        self
    }

    /// With the traffic changed.
    pub fn traffic(mut self, change: impl FnOnce(&mut Traffic)) -> Self {
        change(&mut self.traffic);
        self
    }
}
