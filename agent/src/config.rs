//! `agent.toml` as parsed types. Text becomes these once, here; everything after may rely on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::gateway::Kind;

/// What the agent was told to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Collectors, tried in turn: `http://host:port` or `https://host:port`.
    pub collectors: Vec<String>,
    /// The host's name.
    pub host: String,
    /// How often the host is sampled.
    pub interval: Duration,
    /// Where log positions and undelivered reports are kept.
    pub state_dir: PathBuf,
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
    /// Where it sends its log instead of files: `udp://`, `tcp://`, `unixgram://`, `http://`.
    pub listen: Option<String>,
}
