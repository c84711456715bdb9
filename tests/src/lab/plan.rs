//! What a story's network is made of: a gateway, applications, a client.

use super::cgroup::Limits;
use super::client::Traffic;

mod gateway;

pub use gateway::{Check, Gateway, Kind};

/// The gateway's number on the network.
pub const GATEWAY: u8 = 10;
/// The number of the gateway between it and the applications.
pub const INNER: u8 = 11;
/// The number of another gateway before the same applications.
pub const BESIDE: u8 = 12;
/// The gateway's host.
pub const GATEWAY_HOST: &str = "lb-1";
/// The host of the gateway between.
pub const INNER_HOST: &str = "mid-1";
/// The host of another gateway before the same applications.
pub const BESIDE_HOST: &str = "lb-2";
/// The port that every application serves on.
pub const PORT: u16 = 3000;
/// The name of the members that are found by name.
pub const NAME: &str = "shop.internal";
/// Where a gateway's host has a unix socket of its application.
pub const SOCKET: &str = "/srv/shop.sock";

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
    /// The gateway reaches it over IPv6.
    pub ipv6: bool,
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
            ipv6: false,
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
        if self.ipv6 {
            return format!("[{}{}]:{PORT}", super::host::SERVICE.prefix_v6, self.number);
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
    /// Another gateway of that kind, on a host of its own, stands between the gateway and the applications.
    pub inner: Option<Kind>,
    /// Another gateway, on a host of its own, stands before the same applications.
    pub beside: Option<Gateway>,
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
            inner: None,
            beside: None,
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

    /// Whether any application is reached over IPv6.
    pub fn ipv6(&self) -> bool {
        self.apps.iter().any(|app| app.ipv6)
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
