//! What mod_proxy calls a worker: where a URL leads and the `key=value` parameters behind it.

use std::time::Duration;

use crate::gateway::{Check, Member, Pool};

/// `retry`: how long a worker in error state is left alone.
const RETRY: Duration = Duration::from_secs(60);
/// `hcinterval` where nothing is said.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Where a URL leads.
pub(super) struct Target {
    pub scheme: &'static str,
    pub tls: bool,
    pub host: String,
    /// As log lines name it.
    pub address: String,
}

/// Whether an argument is what is passed to and not a path or a parameter.
pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("unix:") || text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['=', '/', '^']))
}

/// Reads `http://host:port/path`, `unix:/path|http://host/`, `fcgi://...`. None: it holds no address that is known beforehand.
pub(super) fn target(url: &str) -> Option<Target> {
    let (socket, url) = match url.strip_prefix("unix:") {
        Some(rest) => rest.split_once('|').map_or((Some(rest), "http://localhost"), |(path, url)| (Some(path), url)),
        None => (None, url),
    };
    let (written, rest) = url.split_once("://")?;
    let (scheme, tls, port) = match written {
        "http" | "ws" => ("http", false, 80),
        "https" | "wss" => ("https", true, 443),
        "h2c" => ("h2c", false, 80),
        "h2" => ("https", true, 443),
        "fcgi" => ("fastcgi", false, 8000),
        "scgi" => ("scgi", false, 4000),
        "uwsgi" => ("uwsgi", false, 3031),
        "ajp" => ("ajp", false, 8009),
        _ => return None,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some(path) = socket {
        return Some(Target { scheme, tls, host: authority.to_owned(), address: format!("unix:{path}") });
    }
    // `$1` of a match or `%{HTTP_HOST}` of a rule: another host for each request.
    if authority.is_empty() || authority.contains(['$', '%']) {
        return None;
    }
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, true),
        _ => (authority, false),
    };
    let address = if given { authority.to_owned() } else { format!("{authority}:{port}") };
    Some(Target { scheme, tls, host: host.trim_matches(['[', ']']).to_owned(), address })
}

/// Seconds, or with `ms`, `s`, `mi`, `h` as some parameters take.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    match text.get(digits..)? {
        "" | "s" => Some(Duration::from_secs(number)),
        "ms" => Some(Duration::from_millis(number)),
        "mi" | "min" | "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        _ => None,
    }
}

/// The parameters of one worker or of a balancer.
#[derive(Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// From the words behind a URL.
    pub(super) fn read(words: &[String]) -> Self {
        let mut parameters = Self::default();
        parameters.take(words);
        parameters
    }

    /// Takes more of them over.
    pub(super) fn take(&mut self, words: &[String]) {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        self.0.extend(pairs.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())));
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn has_status(&self, letter: char) -> bool {
        self.get("status").is_some_and(|status| {
            let (sign, letters) = match status.strip_prefix(['+', '-']) {
                Some(letters) => (status.starts_with('+'), letters),
                None => (true, status),
            };
            sign && letters.to_ascii_uppercase().contains(letter)
        })
    }

    /// What these say of the pool.
    pub(super) fn apply(&self, pool: &mut Pool) {
        if let Some(time) = self.get("timeout").and_then(seconds) {
            // A balancer's own `timeout` waits for a free worker; a worker's is for reading and writing.
            (pool.send_timeout, pool.read_timeout) = (Some(time), Some(time));
        }
        let connect = self.get("connectiontimeout").and_then(seconds);
        pool.connect_timeout = connect.or(pool.connect_timeout);
        if let Some(idle) = self.get("ttl").and_then(seconds).filter(|idle| !idle.is_zero()) {
            pool.keepalive_idle = Some(idle);
        }
        if self.get("disablereuse").is_some_and(|on| on.eq_ignore_ascii_case("on")) {
            pool.keepalive_idle = Some(Duration::ZERO);
        }
        pool.header_limit_bytes =
            self.get("responsefieldsize").and_then(|size| size.parse().ok()).or(pool.header_limit_bytes);
        if let Some(more) = self.get("maxattempts").and_then(|count| count.parse::<u32>().ok()) {
            pool.tries = Some(more.saturating_add(1));
        }
        pool.check = self.check().or_else(|| pool.check.take());
    }

    fn check(&self) -> Option<Check> {
        let method = self.get("hcmethod").filter(|method| !method.eq_ignore_ascii_case("none"))?;
        let kind = if method.eq_ignore_ascii_case("tcp") { "tcp" } else { "http" };
        Some(Check {
            kind: kind.to_owned(),
            path: self.get("hcuri").unwrap_or(if kind == "http" { "/" } else { "" }).to_owned(),
            interval: self.get("hcinterval").and_then(seconds).or(Some(CHECK_INTERVAL)),
            fall: self.get("hcfails").and_then(|count| count.parse().ok()).or(Some(1)),
            rise: self.get("hcpasses").and_then(|count| count.parse().ok()).or(Some(1)),
            expects: self.get("hcexpr").unwrap_or_default().to_owned(),
            ..Check::default()
        })
    }

    /// The worker as a pool's member.
    pub(super) fn member(&self, address: String) -> Member {
        Member {
            name: self.get("route").unwrap_or_default().to_owned(),
            address,
            backup: self.has_status('H'),
            down: self.has_status('D') || self.has_status('S'),
            max_fails: Some(1),
            fail_timeout: self.get("retry").and_then(seconds).or(Some(RETRY)),
            check_address: None,
            max_connections: self.get("max").and_then(|count| count.parse().ok()),
        }
    }
}
