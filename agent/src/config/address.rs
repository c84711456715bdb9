//! Addresses and URLs of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use toml::de::DeValue;

use super::value::{kind, shown};
use super::{Listen, LogListen};
use crate::identity::ENROLLED;

/// Where a gateway reaches a service, from a text or a port's number.
pub(super) fn listen(value: &DeValue<'_>) -> Result<Listen, String> {
    match value {
        DeValue::String(text) => listen_text(text.trim()),
        DeValue::Integer(number) => {
            let number = number.as_str();
            number.parse().ok().filter(|port| *port > 0).map(Listen::Port).ok_or_else(|| bad_port(number))
        }
        other => Err(format!("{} is no address", kind(other))),
    }
}

fn bad_port(text: &str) -> String {
    format!("\"{}\" is no port (1 to 65535)", shown(text))
}

fn listen_text(text: &str) -> Result<Listen, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("\"{}\" is no address", shown(text)));
    }
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.starts_with('/') {
        return Ok(Listen::Unix(PathBuf::from(path)));
    }
    let any_address = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if !any_address.is_empty() && any_address.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = any_address.parse().ok().filter(|port| *port > 0);
        return port.map(Listen::Port).ok_or_else(|| bad_port(any_address));
    }
    let address = socket(text)?;
    // Nobody is reached at the unspecified address: it can only mean "any local address".
    if address.ip().is_unspecified() { Ok(Listen::Port(address.port())) } else { Ok(Listen::Address(address)) }
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(bad_port("0")) } else { Ok(address) };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("\"{}\" has no port", shown(text)));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("\"{}\" is no address", shown(text)));
    };
    if port.parse::<u16>().is_err() {
        return Err(bad_port(port));
    }
    Err(format!("\"{}\" is a name, not an IP address", shown(host)))
}

/// A collector's URL: the URL without a trailing slash, and whether it leaves this host in plain text. One word stands for
/// the collector that this host enrolled with.
pub(super) fn collector(text: &str) -> Result<(String, bool), String> {
    let text = text.trim();
    if text == ENROLLED {
        return Ok((text.to_owned(), false));
    }
    let quoted = shown(&crate::mask::text(text));
    let (plain, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("\"{quoted}\" begins with neither http:// nor https://")),
    };
    let authority = rest.trim_end_matches('/');
    if authority.contains('@') {
        return Err(format!("\"{quoted}\" holds a user name"));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(format!("\"{quoted}\" holds a path"));
    }
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| format!("\"{quoted}\" has no port"))?;
    port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| bad_port(port))?;
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address: Option<IpAddr> = literal.unwrap_or(host).parse().ok();
    let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if address.is_none() && (!named || literal.is_some()) {
        return Err(format!("\"{quoted}\" names no host"));
    }
    let local = address.map_or(host == "localhost", |address| address.is_loopback());
    Ok((text.trim_end_matches('/').to_owned(), plain && !local))
}

/// Most bytes of a unix socket's path, unix(7).
const SOCKET_PATH_BYTES: usize = 107;

/// Where a gateway sends its log.
pub(super) fn log_listen(text: &str) -> Result<LogListen, String> {
    let text = text.trim();
    let quoted = shown(text);
    let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("\"{quoted}\" has no scheme"))?;
    let address = || {
        let authority = rest.trim_end_matches('/');
        let wildcard = authority.strip_prefix("*:").map(|port| format!("0.0.0.0:{port}"));
        socket(wildcard.as_deref().unwrap_or(authority))
    };
    match scheme {
        "udp" => address().map(LogListen::Udp),
        "tcp" => address().map(LogListen::Tcp),
        "http" => address().map(LogListen::Http),
        "unixgram" if !rest.starts_with('/') => Err(format!("\"{quoted}\" names no absolute path")),
        "unixgram" if rest.len() > SOCKET_PATH_BYTES => {
            Err(format!("\"{quoted}\" is longer than the {SOCKET_PATH_BYTES} bytes of a socket's path"))
        }
        "unixgram" => Ok(LogListen::Unixgram(PathBuf::from(rest))),
        _ => Err(format!("\"{quoted}\" has an unknown scheme")),
    }
}

/// Whether only this host can send to it.
pub(super) fn is_local(listen: &LogListen) -> bool {
    match listen {
        LogListen::Udp(address) | LogListen::Tcp(address) | LogListen::Http(address) => address.ip().is_loopback(),
        LogListen::Unixgram(_) => true,
    }
}
