//! `agent.toml` as parsed types. Text becomes these once, here; everything after may rely on them.
//! Reading finds every fault at once, each with its line and what to write instead. What may come later or is only
//! doubtful (a log that is not there yet) is a warning: `run` starts all the same.

mod address;
mod fault;
mod gateway;
mod role;
mod root;
mod section;
mod service;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::gateway::Kind;
use crate::identity::Identity;

pub use fault::Fault;

/// Most bytes of a configuration file; more is refused, so that a wrong path can't fill memory.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// A configuration that holds, with what is doubtful in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What was configured.
    pub config: Config,
    /// What does not keep the agent from running, in the order of the file.
    pub warnings: Vec<Fault>,
}

/// Reads and parses a configuration file. The error holds every fault (and the warnings) in the order of the file.
pub fn load(path: &Path) -> Result<Loaded, Vec<Fault>> {
    let file = path.display().to_string();
    let unread = |why: String| vec![Fault::of_file(&file, &why, "name a file that this user can read")];
    let size = std::fs::metadata(path).map_err(|error| unread(format!("can't be read: {error}")))?.len();
    if size > FILE_LIMIT_BYTES {
        return Err(unread(format!("is {size} bytes long, more than {FILE_LIMIT_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|error| unread(format!("can't be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| unread("is not UTF-8 text".to_owned()))?;
    parse(&file, &text)
}

/// Parses the text of a configuration file; `file` is how faults name it.
pub fn parse(file: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
    root::parse(file, text)
}

/// The name of this host and the state directory where no configuration says otherwise.
pub fn defaults() -> (String, PathBuf) {
    root::defaults()
}

/// What the agent was told to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Collectors, tried in turn: `http://host:port` or `https://host:port`.
    pub collectors: Vec<String>,
    /// The host's name.
    pub host: String,
    /// How often the host is sampled.
    pub interval: Duration,
    /// Who this host is to collectors that are spoken to over TLS.
    pub identity: Identity,
    /// Where log positions and undelivered reports are kept.
    pub state_dir: PathBuf,
    /// Most bytes of undelivered reports on disk.
    pub spool_bytes: u64,
    /// Plain text to a collector beyond loopback is accepted.
    pub insecure: bool,
    /// The applications. Empty: every process that listens on TCP becomes one.
    pub services: Vec<Service>,
    /// The load balancers.
    pub gateways: Vec<Gateway>,
}

/// An application this host runs.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, unique.
    pub name: String,
    /// Where gateways reach it. May be empty.
    pub listen: Vec<Listen>,
    /// How its processes are told. Without any rule: the processes that hold the sockets of `listen`.
    pub matcher: Matcher,
    /// How its health is asked for. None: not at all.
    pub health: Option<Health>,
    /// Its own logs.
    pub logs: Vec<PathBuf>,
    /// How it tells whether it leads. None: it does not.
    pub role: Option<Role>,
}

/// Where a gateway reaches a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// This port at any local address.
    Port(u16),
    /// This address.
    Address(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(out, "{port}"),
            Self::Address(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// How the processes of a service are told; all rules given must hold.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// Searched in the arguments joined by blanks.
    pub cmdline: Option<Regex>,
    /// The executable: a full path, or its last part.
    pub exe: Option<String>,
    /// The systemd unit, read from the cgroup path.
    pub unit: Option<String>,
    /// A file with the leader's id.
    pub pidfile: Option<PathBuf>,
}

/// A unit's name as systemd has it: one without a suffix is a service's, as for systemctl.
pub fn whole_unit(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// How a service's health is asked for.
#[derive(Debug, Clone)]
pub struct Health {
    /// The path, with its leading slash.
    pub path: String,
    /// The port. None: the first of `listen`, else the first that it listens on.
    pub port: Option<u16>,
    /// Time allowed.
    pub timeout: Duration,
    /// Time between two.
    pub interval: Duration,
    /// None: told apart by trying.
    pub scheme: Option<Scheme>,
}

/// How a service tells whether it is the leader.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// A path whose JSON answer tells it, and the field, names of nested ones parted by dots.
    pub asked: Option<(String, String)>,
    /// Searched in the lines of its logs: it leads from then on.
    pub gained: Option<regex::bytes::Regex>,
    /// Searched in the lines of its logs: it leads no longer.
    pub lost: Option<regex::bytes::Regex>,
}

/// Plain or TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// A load balancer this host runs.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its name, unique.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its access log.
    pub access_log: Option<PathBuf>,
    /// Its error log.
    pub error_log: Option<PathBuf>,
    /// Its own configuration file.
    pub config: Option<PathBuf>,
    /// Its access log's format, in its own words.
    pub format: Option<String>,
    /// Where it sends its log, instead of files or beside them.
    pub listen: Option<LogListen>,
    /// Of syslog messages only those of this program are its. None: all are.
    pub program: Option<String>,
    /// What of systemd's journal is its log, instead of files or beside them.
    pub journald: Option<Journald>,
}

/// What of systemd's journal is a gateway's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journald {
    /// The messages of this unit, as journald itself notes it.
    pub unit: Option<String>,
    /// The messages of this program, as the sender calls itself.
    pub program: Option<String>,
    /// The folder with the journal's files. None: this machine's own.
    pub folder: Option<PathBuf>,
}

impl Gateway {
    /// Whether the gateway itself runs on this host, so that what is tried from here meets what the gateway meets. One that
    /// only sends its log over the network may be anywhere.
    pub fn is_here(&self) -> bool {
        let sent_from_afar = match &self.listen {
            Some(LogListen::Udp(at) | LogListen::Tcp(at) | LogListen::Http(at)) => !at.ip().is_loopback(),
            Some(LogListen::Unixgram(_)) | None => false,
        };
        let has_files = self.access_log.is_some() || self.error_log.is_some() || self.config.is_some();
        let has_files = has_files || self.journald.is_some();
        !self.kind.is_elsewhere() && (has_files || !sent_from_afar)
    }
}

/// Where a gateway sends its log to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogListen {
    /// Syslog, a datagram a message.
    Udp(SocketAddr),
    /// Syslog, messages by octet count or by line.
    Tcp(SocketAddr),
    /// Syslog, a datagram a message, at this path.
    Unixgram(PathBuf),
    /// Pushed JSON lines.
    Http(SocketAddr),
}

impl fmt::Display for LogListen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(out, "udp://{address}"),
            Self::Tcp(address) => write!(out, "tcp://{address}"),
            Self::Unixgram(path) => write!(out, "unixgram://{}", path.display()),
            Self::Http(address) => write!(out, "http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests;
