//! A gateway as a story wants it.

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
    /// Varnish.
    Varnish,
}

impl Kind {
    /// Those that written stories are told of.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Envoy, Self::Apache, Self::Caddy];

    /// As agent.toml names it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
            Self::Varnish => "varnish",
        }
    }

    /// The program that must be there.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apache => "apache2",
            Self::Varnish => "varnishd",
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
    /// It hands bytes on and reads no request (HAProxy).
    pub is_tcp: bool,
    /// The variable of nginx whose request id is logged and handed on. Empty: none.
    pub request_id: &'static str,
}

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
            is_tcp: false,
            request_id: "",
        }
    }
}
