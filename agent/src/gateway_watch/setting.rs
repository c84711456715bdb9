//! A gateway's own configuration as evidence: read at the start and again when one of its files changes, handed on in the
//! words of the schema, and asked for the format of the access log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use prost::Message;
use why502_proto::v1;

use super::advice::Logs;
use super::files::Disk;
use crate::config::Gateway;
use crate::gateway::{self, Configuration, Kind, LogSetting, Member, Pool, Record};
use crate::mask;

/// Between two looks at whether a file changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// The same where requests fail towards what goes by a name.
const HASTY_INTERVAL: Duration = Duration::from_millis(500);
/// The times of files lag behind the clock by up to a tick of the kernel's; the longest there is (CONFIG_HZ_100).
const CLOCK_TICK: Duration = Duration::from_millis(10);
/// The most of the pools in one message, bytes; those that do not fit are left out.
const MAX_POOLS_BYTES: usize = 150 * 1024;
/// Most faults told.
const MAX_FAULTS: usize = 50;
/// The most of one fault, bytes.
const MAX_FAULT_BYTES: usize = 300;

/// Told of a gateway whose configuration agent.toml does not name.
const NO_CONFIG: &str =
    "agent.toml does not name its `config`: its members, checks, timeouts and log formats are not known";

/// A gateway's configuration, and when its files were last changed.
#[derive(Debug)]
pub struct Setting {
    configuration: Option<Configuration>,
    changed: BTreeMap<PathBuf, Option<SystemTime>>,
    /// When its files became what they are, where that was since the look before.
    since: Option<SystemTime>,
    looked: Instant,
    looked_at: SystemTime,
    /// An error answer was logged without the upstream, in a format that is not known.
    bare_failures: bool,
}

impl Setting {
    /// Reads it, where agent.toml names one.
    pub fn read(gateway: &Gateway, now: Instant) -> Self {
        let path = gateway.config.as_deref();
        let configuration = path.and_then(|path| gateway::configuration(gateway.kind, path, &Disk));
        let read = configuration.iter().flat_map(|configuration| &configuration.files);
        let changed = read.map(PathBuf::as_path).chain(path).map(|file| (file.to_owned(), modified(file))).collect();
        Self { configuration, changed, since: None, looked: now, looked_at: SystemTime::now(), bare_failures: false }
    }

    /// Reads it again where a file changed. True: it is new.
    pub fn refresh(&mut self, gateway: &Gateway, now: Instant) -> bool {
        if now.duration_since(self.looked) < LOOK_INTERVAL {
            return false;
        }
        self.looked = now;
        let before = std::mem::replace(&mut self.looked_at, SystemTime::now());
        if self.changed.iter().all(|(file, changed)| modified(file) == *changed) {
            return false;
        }
        let read = Self { bare_failures: self.bare_failures, ..Self::read(gateway, now) };
        // A file that was moved or copied here with its times says when it was written, not since when it is here.
        let newest = read.changed.values().flatten().max().copied();
        let since = newest.filter(|newest| *newest + CLOCK_TICK >= before && *newest <= read.looked_at);
        *self = Self { since, ..read };
        true
    }

    /// Whether a record calls an upstream by a name, of which the configuration alone tells the address, and its files may be looked
    /// at again: a gateway that was just reloaded fails at once towards what is new or has moved there.
    pub fn is_doubted(&mut self, record: &Record, now: Instant) -> bool {
        if self.configuration.is_none() || now.duration_since(self.looked) < HASTY_INTERVAL {
            return false;
        }
        let mut upstreams = record.attempts.iter().filter_map(|attempt| attempt.upstream.as_deref());
        let by_name = upstreams.any(|name| name.parse::<SocketAddr>().is_err() && !name.starts_with("unix:"));
        if by_name {
            self.looked = now.checked_sub(LOOK_INTERVAL).unwrap_or(self.looked);
        }
        by_name
    }

    /// The pools, where they are known.
    pub fn pools(&self) -> &[Pool] {
        self.configuration.as_ref().map_or(&[], |configuration| &configuration.pools)
    }

    /// The access log's format: as agent.toml says, else as the gateway's configuration says of that file, or of what it
    /// sends to the address that is listened on.
    pub fn format<'a>(&'a self, gateway: &'a Gateway) -> Option<&'a str> {
        let configured = || self.access_setting(gateway).and_then(|setting| setting.format.as_deref());
        gateway.format.as_deref().or_else(configured)
    }

    fn access_setting(&self, gateway: &Gateway) -> Option<&LogSetting> {
        if gateway.access_log.is_none() && gateway.listen.is_none() && gateway.journald.is_none() {
            return None;
        }
        let settings = self.configuration.as_ref()?.logs.iter().filter(|setting| !setting.is_error_log);
        let log = gateway.access_log.as_deref();
        let mut fitting = settings.clone().filter(|setting| log.is_some_and(|log| same_log(setting, log)));
        fitting.next_back().or_else(|| {
            // What goes to syslog or a stream ends in a file that somebody else chose. Where formats differ the commonest
            // counts: the reader takes lines of other forms for those that the gateway ships with.
            let mut streams = settings.filter(|setting| is_stream(gateway.kind, setting));
            let first = streams.next()?;
            let all = streams.clone().chain([first]);
            let count = |one: &LogSetting| all.clone().filter(|other| other.format == one.format).count();
            Some(streams.fold(first, |best, next| if count(next) > count(best) { next } else { best }))
        })
    }

    /// A failure was read that names no upstream. True: this is news worth telling.
    pub fn saw_bare_failure(&mut self, gateway: &Gateway) -> bool {
        let nginx = matches!(gateway.kind, Kind::Nginx | Kind::IngressNginx | Kind::NginxStream);
        let known = nginx && (self.format(gateway).is_some() || self.access_setting(gateway).is_some());
        !known && !std::mem::replace(&mut self.bare_failures, true)
    }

    /// As the schema's message.
    pub fn message(&self, gateway: &Gateway, at_unix_us: i64) -> v1::GatewayConfig {
        let unnamed = gateway.config.is_none() && gateway::has_configuration(gateway.kind);
        let unnamed = unnamed.then(|| NO_CONFIG.to_owned());
        let faults = self.configuration.iter().flat_map(|configuration| &configuration.faults).chain(&unnamed);
        let missing_log = self.missing_log(gateway);
        let mut message = v1::GatewayConfig {
            gateway: gateway.name.clone(),
            kind: gateway.kind.id().to_owned(),
            pools: self.pools().iter().map(pool).collect(),
            faults: faults.take(MAX_FAULTS).map(|fault| mask::line(fault.as_bytes(), MAX_FAULT_BYTES)).collect(),
            readable: self.configuration.as_ref().is_some_and(|configuration| !configuration.files.is_empty()),
            at_unix_us,
            log_has_upstream: missing_log.is_empty(),
            missing_log: missing_log.to_owned(),
            changed_unix_us: self.since.map_or(0, unix_us),
        };
        let whole = message.pools.len();
        let mut bytes = 0;
        let fitting = message.pools.iter().take_while(|pool| {
            bytes += pool.encoded_len() + 5;
            bytes <= MAX_POOLS_BYTES
        });
        message.pools.truncate(fitting.count());
        if message.pools.len() < whole {
            message.faults.push(format!("only the first {} of {whole} pools are kept", message.pools.len()));
        }
        message
    }

    /// What to switch on so that the logs keep the reason. Empty: nothing is missing, as far as is known.
    pub fn missing_log(&self, gateway: &Gateway) -> &'static str {
        let settings = self.configuration.iter().flat_map(|configuration| &configuration.logs);
        let logs = Logs {
            gateway,
            format: self.format(gateway),
            configured: self.access_setting(gateway).is_some(),
            errors: settings.filter(|setting| setting.is_error_log).collect(),
            bare_failures: self.bare_failures,
        };
        logs.missing()
    }
}

fn unix_us(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Whether a log setting means this file, whatever links lead to it or if it is written relative to a prefix.
fn same_log(setting: &LogSetting, log: &Path) -> bool {
    let Some(target) = setting.target.as_deref().map(Path::new) else { return false };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    target == log
        || target.is_relative() && log.ends_with(target)
        || real(target).is_some_and(|path| real(log) == Some(path))
}

/// Whether a log setting names no file: syslog, a standard stream, another program. HAProxy knows nothing else.
fn is_stream(kind: Kind, setting: &LogSetting) -> bool {
    let target = setting.target.as_deref().unwrap_or_default();
    let marks = ["/dev/", "syslog", "|", "stdout", "stderr"];
    !target.is_empty() && (kind == Kind::Haproxy || marks.iter().any(|mark| target.starts_with(mark)))
}

fn us(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

fn pool(pool: &Pool) -> v1::Pool {
    let check = pool.check.as_ref().map(|check| v1::HealthCheck {
        kind: check.kind.clone(),
        path: check.path.clone(),
        interval_us: us(check.interval).unwrap_or(0),
        timeout_us: us(check.timeout).unwrap_or(0),
        fall: check.fall.unwrap_or(0),
        rise: check.rise.unwrap_or(0),
        expects: check.expects.clone(),
        host: check.host.clone(),
    });
    let tls = pool.tls.as_ref().map(|tls| v1::TlsSettings {
        verify: tls.verify,
        ca_file: tls.ca_file.as_ref().map_or_else(String::new, |file| file.display().to_string()),
        server_name: tls.server_name.clone().unwrap_or_default(),
        protocols: tls.protocols.clone(),
    });
    v1::Pool {
        name: pool.name.clone(),
        members: pool.members.iter().map(member).collect(),
        check,
        timeouts: Some(v1::Timeouts {
            connect_us: us(pool.connect_timeout),
            send_us: us(pool.send_timeout),
            read_us: us(pool.read_timeout),
        }),
        tries: pool.tries.unwrap_or(0),
        scheme: pool.scheme.clone(),
        keepalive_idle_us: us(pool.keepalive_idle),
        tls,
        header_limit_bytes: pool.header_limit_bytes.unwrap_or(0),
        source: pool.source.clone(),
    }
}

fn member(member: &Member) -> v1::PoolMember {
    v1::PoolMember {
        name: member.name.clone(),
        address: member.address.clone(),
        backup: member.backup,
        down: member.down,
        max_fails: member.max_fails,
        fail_timeout_us: us(member.fail_timeout),
        check_address: member.check_address.clone().unwrap_or_default(),
        max_connections: member.max_connections.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
