//! A `server`, `server-template` or `default-server` line (configuration manual 5.2).

use std::path::PathBuf;
use std::time::Duration;

use super::words::duration;
use crate::gateway::Member;

/// Servers that one `server-template` can stand for.
const MOST_OF_TEMPLATE: u32 = 1024;

/// What a server's keywords set.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub check: bool,
    pub interval: Option<Duration>,
    pub fall: Option<u32>,
    pub rise: Option<u32>,
    pub tls: bool,
    pub verify: Option<bool>,
    pub ca_file: Option<PathBuf>,
    pub server_name: Option<String>,
    pub protocols: String,
    pub http2: bool,
    /// How long an idle connection is kept.
    pub kept: Option<Duration>,
    backup: bool,
    disabled: bool,
    max_connections: Option<u32>,
    check_port: Option<String>,
    check_ip: Option<String>,
}

/// The servers of a line, each with its name, address and options. None: it has no address.
pub(super) fn read(words: &[String], inherited: &Options) -> Option<Vec<(String, String, Options)>> {
    let word = |at: usize| words.get(at).map(String::as_str);
    let mut options = inherited.clone();
    if word(0) == Some("server") {
        let (name, address) = (word(1)?.to_owned(), address(word(2)?));
        options.read(words.get(3..).unwrap_or_default());
        return Some(vec![(name, address, options)]);
    }
    // `server-template prefix 5 host:port`, or `2-5`.
    let (prefix, range, address) = (word(1)?, word(2)?, address(word(3)?));
    let (from, to) = range.split_once('-').unwrap_or(("1", range));
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    options.read(words.get(4..).unwrap_or_default());
    let numbers = (from..=to).take(usize::try_from(MOST_OF_TEMPLATE).unwrap_or(1));
    Some(numbers.map(|number| (format!("{prefix}{number}"), address.clone(), options.clone())).collect())
}

/// `ipv4@10.0.0.1:80`, `::1:80`, `/run/app.sock`, `unix@/run/app.sock` in the form that readers give.
fn address(text: &str) -> String {
    if text.starts_with('/') {
        return format!("unix:{text}");
    }
    match text.split_once('@') {
        Some(("unix", path)) => return format!("unix:{path}"),
        Some(("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "mptcp" | "mptcp4" | "mptcp6", rest)) => {
            return address(rest);
        }
        _ => {}
    }
    // The last colon parts the port, also in an address of version 6 without brackets.
    match text.rsplit_once(':') {
        Some((ip, port)) if ip.contains(':') && !ip.starts_with('[') => format!("[{ip}]:{port}"),
        _ => text.to_owned(),
    }
}

impl Options {
    /// Takes a line's keywords over; `no-x` undoes `x`.
    pub(super) fn read(&mut self, words: &[String]) {
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "check" => self.check = true,
                "no-check" => self.check = false,
                "backup" => self.backup = true,
                "no-backup" => self.backup = false,
                "disabled" => self.disabled = true,
                "enabled" => self.disabled = false,
                "ssl" => self.tls = true,
                "no-ssl" => self.tls = false,
                _ if FLAGS.contains(&word) || word.starts_with("no-") || word.starts_with("force-") => {}
                _ => {
                    let value = words.next().unwrap_or("");
                    self.with_value(word, value);
                }
            }
        }
    }

    fn with_value(&mut self, word: &str, value: &str) {
        match word {
            "inter" => self.interval = duration(value),
            "fall" => self.fall = value.parse().ok(),
            "rise" => self.rise = value.parse().ok(),
            "maxconn" => self.max_connections = value.parse().ok(),
            "port" => self.check_port = Some(value.to_owned()),
            "addr" => self.check_ip = Some(value.to_owned()),
            "verify" => self.verify = Some(value != "none"),
            "ca-file" => self.ca_file = Some(PathBuf::from(value)),
            // `str(name)` is a fixed name; any other expression depends on the request.
            "sni" => self.server_name = value.strip_prefix("str(").map(|name| name.trim_end_matches(')').to_owned()),
            "verifyhost" => {
                self.server_name.get_or_insert_with(|| value.to_owned());
            }
            "ssl-min-ver" | "ssl-max-ver" => {
                self.protocols = format!("{} {word} {value}", self.protocols).trim().to_owned()
            }
            "proto" => self.http2 = value == "h2",
            "alpn" => self.http2 |= value.split(',').any(|protocol| protocol == "h2"),
            "pool-purge-delay" => self.kept = duration(value),
            "pool-max-conn" if value == "0" => self.kept = Some(Duration::ZERO),
            _ => {}
        }
    }

    /// The server in the common model.
    pub(super) fn member(&self, name: String, address: String, checks_port: Option<u16>) -> Member {
        let port = self.check_port.clone().or_else(|| checks_port.map(|port| port.to_string()));
        let (ip, own_port) = address.rsplit_once(':').unwrap_or((&address, ""));
        let elsewhere = (port.is_some() || self.check_ip.is_some()) && !address.starts_with("unix:");
        let check_address = elsewhere
            .then(|| format!("{}:{}", self.check_ip.as_deref().unwrap_or(ip), port.as_deref().unwrap_or(own_port)));
        Member {
            check_address,
            name,
            backup: self.backup,
            down: self.disabled,
            // Checks, not failed requests, take a server out; how many stands with the check.
            max_fails: None,
            fail_timeout: None,
            max_connections: self.max_connections,
            address,
        }
    }
}

/// Keywords that take no value.
const FLAGS: [&str; 21] = [
    "agent-check",
    "allow-0rtt",
    "check-reuse-pool",
    "check-send-proxy",
    "check-ssl",
    "check-via-socks4",
    "log-proto-tagged",
    "non-stick",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "ssl-reuse",
    "sslv3",
    "stick",
    "tfo",
    "tls-tickets",
    "tlsv10",
    "tlsv11",
    "tlsv12",
    "tlsv13",
];
