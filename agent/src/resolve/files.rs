//! /etc/hosts and /etc/resolv.conf. Pure readers; what they can't read is passed over, as the C library does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Most name servers, names to search and dots, as in the C library (resolv.conf(5)).
const MOST_SERVERS: usize = 3;
const MOST_SEARCH: usize = 6;
const MOST_DOTS: usize = 15;

/// How names are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    dots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
}

impl Settings {
    /// The full names to ask for, in order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let as_is_first = name.matches('.').count() >= self.dots;
        names.insert(if as_is_first { 0 } else { names.len() }, name.to_owned());
        names
    }
}

/// The addresses that a hosts file lists for a name in small letters.
pub(super) fn addresses(hosts: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

pub(super) fn settings(text: &str, port: u16) -> Settings {
    let mut settings =
        Settings { servers: Vec::new(), search: Vec::new(), dots: 1, timeout: Duration::from_secs(2), attempts: 2 };
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or("").split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                settings.servers.extend(address.map(|address| SocketAddr::new(address, port)));
            }
            // The last of both counts.
            Some("search" | "domain") => {
                settings.search =
                    words.map(|word| word.trim_matches('.').to_owned()).filter(|w| !w.is_empty()).collect();
            }
            Some("options") => words.for_each(|word| option(&mut settings, word)),
            _ => {}
        }
    }
    settings.servers.truncate(MOST_SERVERS);
    settings.search.truncate(MOST_SEARCH);
    if settings.servers.is_empty() {
        settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    settings
}

fn option(settings: &mut Settings, word: &str) {
    let Some((key, Ok(number))) = word.split_once(':').map(|(key, value)| (key, value.parse::<usize>())) else {
        return;
    };
    match key {
        "ndots" => settings.dots = number.min(MOST_DOTS),
        // A probe has no time for the C library's 30 s.
        "timeout" => settings.timeout = Duration::from_secs(number.clamp(1, 2) as u64),
        "attempts" => settings.attempts = number.clamp(1, 5),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let hosts =
            "127.0.0.1 localhost\n10.0.0.2\tapi.internal api # the first\n#10.0.0.3 api\n::2 API\nx api\n10.0.0.2 api";
        assert_eq!(addresses(hosts, "api"), ["10.0.0.2".parse::<IpAddr>().unwrap(), "::2".parse().unwrap()]);
        assert_eq!(addresses(hosts, "first"), [] as [IpAddr; 0]);
    }

    #[test]
    fn settings_are_read_with_their_bounds() {
        let read = settings(
            "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver x\nsearch a.example. b.example\noptions ndots:5 timeout:30 attempts:1 rotate\n",
            53,
        );
        assert_eq!(read.servers, ["10.0.0.1:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()]);
        assert_eq!(read.candidates("api"), ["api.a.example", "api.b.example", "api"]);
        assert_eq!(read.candidates("a.b.c.d.e.f"), ["a.b.c.d.e.f", "a.b.c.d.e.f.a.example", "a.b.c.d.e.f.b.example"]);
        assert_eq!(read.candidates("api."), ["api"]);
        assert_eq!((read.timeout, read.attempts), (Duration::from_secs(2), 1));
        assert_eq!(settings("", 53).servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
