//! Which way the kernel would send to an address, and what it knows of the next hop's link address, by rtnetlink: one
//! question, one answer, of the network namespace that this program is in. Source: rtnetlink(7).

use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{AF_INET, AF_INET6};
use nix::sys::socket::SockProtocol;

use super::netlink::{self, Netlink, attributes, push_attribute, u16_at, u32_at};
use super::{Error, Result};

/// Kinds of messages (include/uapi/linux/rtnetlink.h).
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// Attributes of routes.
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// The attribute of neighbours that names the address (include/uapi/linux/neighbour.h).
const NDA_DST: u16 = 1;
/// Bytes of `struct rtmsg`; those of `struct ndmsg` are as many.
const HEADER_BYTES: usize = 12;

/// The way to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// There is one.
    Found {
        /// The interface's number.
        index: u32,
        /// The next hop. None: the address is on the link.
        via: Option<IpAddr>,
    },
    /// There is none; the kernel's error.
    Refused(Errno),
}

/// A socket for questions.
#[derive(Debug)]
pub struct Routes {
    socket: Netlink,
}

impl Routes {
    /// Opens the socket.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Netlink::open(SockProtocol::NetlinkRoute, "rtnetlink")? })
    }

    /// The way to an address (`ip route get`).
    pub fn to(&mut self, address: IpAddr) -> Result<Route> {
        let mut body = vec![family(address), if address.is_ipv4() { 32 } else { 128 }];
        body.resize(HEADER_BYTES, 0);
        push_address(&mut body, RTA_DST, address);
        match self.socket.ask(RTM_GETROUTE, &body)? {
            Err(errno) => Ok(Route::Refused(errno)),
            Ok((RTM_NEWROUTE, payload)) => Ok(parse_route(&payload)),
            Ok(_) => Err(Error::parse(Path::new("rtnetlink"), "an answer that is no route")),
        }
    }

    /// The state of a neighbour's link address (`ip neigh get`) in the kernel's words; None where it knows of none.
    pub fn neighbour(&mut self, address: IpAddr, index: u32) -> Result<Option<&'static str>> {
        let mut body = vec![family(address), 0, 0, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        body.resize(HEADER_BYTES, 0);
        push_address(&mut body, NDA_DST, address);
        match self.socket.ask(RTM_GETNEIGH, &body)? {
            Ok((RTM_NEWNEIGH, payload)) => Ok(u16_at(&payload, 8).map(state)),
            _ => Ok(None),
        }
    }
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    family as u8
}

fn push_address(body: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => push_attribute(body, kind, &v4.octets()),
        IpAddr::V6(v6) => push_attribute(body, kind, &v6.octets()),
    }
}

fn parse_route(payload: &[u8]) -> Route {
    let mut index = 0;
    let mut via = None;
    for (kind, value) in attributes(payload.get(HEADER_BYTES..).unwrap_or_default()) {
        match kind {
            RTA_OIF => index = u32_at(value, 0).unwrap_or(0),
            RTA_GATEWAY => via = netlink::address(value),
            _ => {}
        }
    }
    Route::Found { index, via }
}

/// The words of `ip neigh`, in small letters (NUD_* in include/uapi/linux/neighbour.h).
fn state(state: u16) -> &'static str {
    match state {
        0x01 => "incomplete",
        0x02 => "reachable",
        0x04 => "stale",
        0x08 => "delay",
        0x10 => "probe",
        0x20 => "failed",
        0x40 => "noarp",
        0x80 => "permanent",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_on_the_link() {
        let mut routes = Routes::open().unwrap();
        let Route::Found { index, via } = routes.to("127.0.0.1".parse().unwrap()).unwrap() else { panic!("no route") };
        assert_eq!((index, via), (1, None));
    }

    #[test]
    fn an_unknown_neighbour_is_none() {
        let mut routes = Routes::open().unwrap();
        assert_eq!(routes.neighbour("192.0.2.1".parse().unwrap(), 1).unwrap(), None);
    }
}
