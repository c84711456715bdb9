//! A gateway's configuration in one model for all kinds: evidence, and the source of names and log formats.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a gateway's configuration says, as far as it was understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Configuration {
    /// Pools of upstreams; one also for each address used without a pool.
    pub pools: Vec<Pool>,
    /// Log settings found, in the order of the file.
    pub logs: Vec<LogSetting>,
    /// Every file read, included ones too: read again when one changes.
    pub files: Vec<PathBuf>,
    /// What could not be read or understood, with file and line.
    pub faults: Vec<String>,
}

/// A log that a gateway writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogSetting {
    /// The file, or how the gateway names the target. None: switched off.
    pub target: Option<String>,
    /// The access format in the gateway's own words, as `--format` takes it. None: its default.
    pub format: Option<String>,
    /// The error log's level, for an error log.
    pub level: Option<String>,
    /// An error log.
    pub is_error_log: bool,
}

/// Upstreams that a gateway chooses among.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pool {
    /// Its name; the address where it has none.
    pub name: String,
    /// Its members.
    pub members: Vec<Member>,
    /// The active health check.
    pub check: Option<Check>,
    /// Time limit to connect.
    pub connect_timeout: Option<Duration>,
    /// Time limit between two writes of a request.
    pub send_timeout: Option<Duration>,
    /// Time limit between two reads of an answer.
    pub read_timeout: Option<Duration>,
    /// Attempts in all. None: not known.
    pub tries: Option<u32>,
    /// `http`, `https`, `h2c`, `grpc`, `fastcgi`, `uwsgi`, `scgi`, `tcp`.
    pub scheme: String,
    /// How long an idle connection to a member is kept. None: not known; zero: none is kept.
    pub keepalive_idle: Option<Duration>,
    /// TLS towards the members.
    pub tls: Option<Tls>,
    /// The largest response header that fits, bytes.
    pub header_limit_bytes: Option<u64>,
    /// `file:line`.
    pub source: String,
}

/// One member of a pool.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Member {
    /// Its name in the gateway (a HAProxy server). Empty where none.
    pub name: String,
    /// `ip:port`, `host:port` or `unix:/path`.
    pub address: String,
    /// Taken only where no other is live.
    pub backup: bool,
    /// Switched off.
    pub down: bool,
    /// Failures that take it out.
    pub max_fails: Option<u32>,
    /// For how long.
    pub fail_timeout: Option<Duration>,
    /// Where the check goes if not to `address`.
    pub check_address: Option<String>,
    /// Most connections at once.
    pub max_connections: Option<u32>,
}

/// An active health check.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Check {
    /// `http`, `tcp`, `grpc`, ...
    pub kind: String,
    /// The path asked for.
    pub path: String,
    /// Time between two.
    pub interval: Option<Duration>,
    /// Time allowed.
    pub timeout: Option<Duration>,
    /// Failures that take a member out.
    pub fall: Option<u32>,
    /// Successes that take it back.
    pub rise: Option<u32>,
    /// Statuses taken for healthy, as written.
    pub expects: String,
    /// Host header.
    pub host: String,
}

/// TLS towards upstreams.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// Whether the certificate is verified.
    pub verify: bool,
    /// A trusted certificate will do whatever name it bears.
    pub any_name: bool,
    /// The CA file.
    pub ca_file: Option<PathBuf>,
    /// The name sent and verified.
    pub server_name: Option<String>,
    /// Protocol versions as written.
    pub protocols: String,
}

/// How a configuration reader gets at files: the caller reads them, so that readers stay pure.
pub trait Files {
    /// The text of a file, or why it can't be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The files that a glob pattern names, sorted.
    fn glob(&self, pattern: &Path) -> Vec<PathBuf>;
}
