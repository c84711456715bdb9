//! What is configured on a host.

use serde::{Deserialize, Serialize};

/// A service as the agent's configuration names it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// The service's name.
    pub name: String,
    /// Where gateways reach it: "ip:port", "port" (any local address) or a socket path.
    pub listen: Vec<String>,
    /// True where it stands in the configuration, false where the agent found it by itself.
    pub declared: bool,
    /// The path that the agent asks for health, empty where it asks none.
    pub health_path: String,
}

/// What kind of machine a host is. What is empty or absent was not told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The distribution as it names itself.
    pub system: String,
    /// Whether a hypervisor runs it.
    pub is_virtual: Option<bool>,
    /// As its firmware calls it.
    pub model: String,
    /// What the agent is contained in.
    pub container: String,
}

/// A gateway's own configuration, as far as it was understood.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GatewayConfig {
    /// The gateway's name in agent.toml.
    pub gateway: String,
    /// Its kind, one of the contract's.
    pub kind: String,
    /// The pools of upstreams, one also for each address that is used without a pool.
    pub pools: Vec<Pool>,
    /// What could not be read or understood, one sentence each, with file and line.
    pub faults: Vec<String>,
    /// True where the configuration could be read at all.
    pub readable: bool,
    /// Since when it is so: when its files were changed, where that is known, else when it was read; unix microseconds.
    pub at_us: i64,
    /// False where the access log has no upstream or the error log is off, so that reasons get lost; see missing_log.
    pub log_has_upstream: bool,
    /// What to switch on so that the log keeps the reason: one sentence, empty where nothing is missing.
    pub missing_log: String,
}

/// Upstreams that a gateway chooses among.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// The pool's name in the gateway (nginx upstream, HAProxy backend, Envoy cluster); the address where it has none.
    pub name: String,
    /// Its members.
    pub members: Vec<PoolMember>,
    /// The gateway's active health check. Absent where it has none.
    pub check: Option<HealthCheck>,
    /// Time limits towards the members.
    pub timeouts: Option<Timeouts>,
    /// Attempts in all, the first one counted. 0: not known.
    pub tries: u32,
    /// How the gateway speaks to the members: "http", "https", "h2c", "grpc", "fastcgi", "uwsgi", "scgi", "tcp".
    pub scheme: String,
    /// How long the gateway keeps an idle connection to a member, microseconds. Absent: not known; 0: it keeps none.
    pub keepalive_idle_us: Option<u64>,
    /// TLS towards the members. Absent where plain.
    pub tls: Option<TlsSettings>,
    /// The largest response header that fits, bytes. 0: not known.
    pub header_limit_bytes: u64,
    /// Where it stands, "file:line".
    pub source: String,
}

/// One member of a pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PoolMember {
    /// Its name in the gateway (a HAProxy server), empty where it has none.
    pub name: String,
    /// As configured: "ip:port", "host:port" or a socket path "unix:/path".
    pub address: String,
    /// Taken only where no other is live.
    pub backup: bool,
    /// Switched off in the configuration.
    pub down: bool,
    /// nginx max_fails or the like. Absent: not known.
    pub max_fails: Option<u32>,
    /// For how long it is left out after that, microseconds. Absent: not known.
    pub fail_timeout_us: Option<u64>,
    /// Where the health check goes if not to `address`: "ip:port".
    pub check_address: String,
    /// Most connections at once. 0: no limit known.
    pub max_connections: u32,
}

/// A gateway's active health check.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HealthCheck {
    /// "http", "tcp", "grpc" or another word of the gateway's.
    pub kind: String,
    /// The path asked for, empty for a TCP check.
    pub path: String,
    /// Time between checks, microseconds. 0: not known.
    pub interval_us: u64,
    /// Time allowed to one check, microseconds. 0: not known.
    pub timeout_us: u64,
    /// Failures in a row that take a member out. 0: not known.
    pub fall: u32,
    /// Successes in a row that take it back. 0: not known.
    pub rise: u32,
    /// Statuses taken for healthy, as the gateway writes them ("2xx", "200-399"). Empty: its default.
    pub expects: String,
    /// Host header that the check sends. Empty: the gateway's default.
    pub host: String,
}

/// Time limits of a gateway towards its upstreams, microseconds; absent where not known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// To connect.
    pub connect_us: Option<u64>,
    /// Between two writes of a request.
    pub send_us: Option<u64>,
    /// Between two reads of an answer (to the first byte, where the gateway has such a limit).
    pub read_us: Option<u64>,
}

/// How a gateway speaks TLS to its upstreams.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TlsSettings {
    /// Whether the certificate is verified.
    pub verify: bool,
    /// The CA file it trusts, empty for its default.
    pub ca_file: String,
    /// The name it sends and verifies, empty for its default.
    pub server_name: String,
    /// Protocol versions as it writes them, empty for its default.
    pub protocols: String,
}
