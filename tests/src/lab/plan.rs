//! What a story's network is made of: a gateway, applications, a client.

use super::cgroup::Limits;
use super::client::Traffic;

/// The gateway's number on the network.
pub const GATEWAY: u8 = 10;
/// The port that every application serves on.
pub const PORT: u16 = 3000;

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
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
    /// nginx's own log format, which tells neither upstream nor times; the error log has to tell.
    pub plain_log: bool,
    /// The largest answer header, KiB.
    pub header_kib: u32,
}

impl Default for Gateway {
    fn default() -> Self {
        let kind = Kind::Nginx;
        let members = Vec::new();
        Self { kind, members, retries: false, connect_s: 2, read_s: 3, keepalive: 0, plain_log: false, header_kib: 4 }
    }
}

/// What an application is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `tests/apps/node/server.js`.
    Node,
    /// `tests/apps/python/app.py` under gunicorn.
    Gunicorn,
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
    /// Further arguments of gunicorn.
    pub arguments: Vec<&'static str>,
    /// Limits of its control group.
    pub limits: Limits,
    /// Most open descriptors.
    pub nofile: Option<u64>,
    /// Started again so many milliseconds after it ended.
    pub restart_ms: Option<u64>,
    /// An agent runs on its host.
    pub has_agent: bool,
    /// It is started with the network.
    pub starts: bool,
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
            nofile: None,
            restart_ms: None,
            has_agent: true,
            starts: true,
            release: "",
        }
    }

    /// A gunicorn application.
    pub fn gunicorn(host: &'static str, number: u8, arguments: &[&'static str]) -> Self {
        Self { runtime: Runtime::Gunicorn, arguments: arguments.to_vec(), ..Self::node(host, number) }
    }

    /// With a variable of its environment.
    pub fn env(mut self, key: &'static str, value: impl ToString) -> Self {
        self.env.push((key, value.to_string()));
        self
    }

    /// Where the gateway reaches it.
    pub fn address(&self) -> String {
        format!("{}.{}:{PORT}", super::host::SERVICE.prefix, self.number)
    }
}

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
}

impl Default for Plan {
    /// Two Node.js applications behind nginx.
    fn default() -> Self {
        let apps = vec![App::node("app-1", 21), App::node("app-2", 22)];
        Self { gateway: Gateway::default(), apps, traffic: Traffic::default(), management: false }
    }
}

impl Plan {
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
