//! Addresses as gateways and hosts write them, made comparable.

use std::net::{IpAddr, SocketAddr};

/// Where an upstream is reached or a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port. IPv4 addresses mapped into IPv6 are unmapped.
    Ip(SocketAddr),
    /// A unix socket's path.
    Unix(String),
    /// A port of any local address (`"3000"` in a service's `listen`).
    Port(u16),
    /// A host name with a port, or a bare name (a pool, a server).
    Name(String, Option<u16>),
}

impl Address {
    /// Reads `ip:port`, `[ip6]:port`, `unix:/path`, `/path`, `port`, `name:port` or a name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::Unix(format!("/{}", path.trim_start_matches('/').trim_end_matches(':')));
        }
        if text.starts_with('/') || text.starts_with('@') {
            return Self::Unix(text.to_owned());
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()));
        }
        if let Ok(port) = text.parse::<u16>() {
            return Self::Port(port);
        }
        match text.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
            Some((name, Ok(port))) => match name.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => Self::Ip(SocketAddr::new(ip.to_canonical(), port)),
                Err(_) => Self::Name(name.to_owned(), Some(port)),
            },
            _ => Self::Name(text.to_owned(), None),
        }
    }

    /// Whether a socket bound to `self` receives what is sent to `target`.
    pub fn covers(&self, target: &Self) -> bool {
        match (self, target) {
            (Self::Ip(bound), Self::Ip(wanted)) => bound.port() == wanted.port() && takes(bound.ip(), wanted.ip()),
            (Self::Port(port), Self::Ip(wanted)) => *port == wanted.port(),
            (Self::Unix(bound), Self::Unix(wanted)) => bound == wanted,
            _ => false,
        }
    }

    /// The port, where it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            Self::Port(port) => Some(*port),
            Self::Name(_, port) => *port,
            Self::Unix(_) => None,
        }
    }

    /// The IP address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            _ => None,
        }
    }
}

/// One way to write an address; what is none stands as it is.
pub fn canonical(text: &str) -> String {
    match Address::parse(text) {
        Address::Ip(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{path}"),
        _ => text.to_owned(),
    }
}

/// Whether a socket bound to an IP address takes what is sent to another. All of IPv4 is no IPv6; `[::]` takes both
/// unless it was told otherwise, which is not seen.
fn takes(bound: IpAddr, wanted: IpAddr) -> bool {
    match bound {
        IpAddr::V4(any) if any.is_unspecified() => wanted.is_ipv4(),
        IpAddr::V6(any) if any.is_unspecified() => true,
        bound => bound == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_address() {
        assert_eq!(Address::parse("10.0.0.2:3000"), Address::Ip("10.0.0.2:3000".parse().unwrap()));
        assert_eq!(Address::parse("[::ffff:10.0.0.2]:3000"), Address::parse("10.0.0.2:3000"));
        assert_eq!(Address::parse("unix:///run/a.sock"), Address::Unix("/run/a.sock".into()));
        assert_eq!(Address::parse("api.internal:80"), Address::Name("api.internal".into(), Some(80)));
        assert_eq!(Address::parse("backend"), Address::Name("backend".into(), None));
        assert!(Address::parse("0.0.0.0:3000").covers(&Address::parse("10.0.0.2:3000")));
        assert!(Address::parse("[::]:3000").covers(&Address::parse("10.0.0.2:3000")));
        assert!(Address::parse("[::]:3000").covers(&Address::parse("[fd00::2]:3000")));
        assert!(!Address::parse("0.0.0.0:3000").covers(&Address::parse("[fd00::2]:3000")), "nothing listens there");
        assert!(!Address::parse("127.0.0.1:3000").covers(&Address::parse("10.0.0.2:3000")));
        assert!(Address::parse("3000").covers(&Address::parse("10.0.0.2:3000")));
    }
}
