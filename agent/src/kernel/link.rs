//! Network interfaces by rtnetlink, of the network namespace that this program is in (/sys shows the one it was mounted in, which
//! may be another): a dump of all, and a socket on which the kernel tells each change at once. Source: rtnetlink(7).

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use nix::sys::socket::SockProtocol;

use super::Result;
use super::netlink::{self, Netlink, attributes, u32_at, u64_at};

/// Multicast group bit of link changes (RTMGRP_LINK in include/uapi/linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;
/// Kinds of messages (include/uapi/linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// Attributes of links (include/uapi/linux/if_link.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_STATS64: u16 = 23;
const IFLA_CARRIER: u16 = 33;
/// Attributes of addresses (include/uapi/linux/if_addr.h).
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Flags of links (include/uapi/linux/if.h).
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
/// Most interfaces that are kept.
const LINK_LIMIT: usize = 1024;
/// Most addresses of one interface that are kept.
const ADDRESS_LIMIT: usize = 64;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The loopback interface.
    pub loopback: bool,
    /// Administratively up.
    pub admin_up: bool,
    /// Physical link present. Absent where the kernel does not tell.
    pub carrier: Option<bool>,
    /// Operational state in the kernel's words.
    pub operstate: String,
    /// Received packets dropped or in error, since it was made.
    pub rx_bad: u64,
    /// Sent packets dropped or in error, since it was made.
    pub tx_bad: u64,
    /// Its addresses, without prefix length.
    pub addresses: Vec<String>,
}

/// What the kernel told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there, as it is now.
    Is(Link),
    /// It is gone; its number and name.
    Gone(u32, String),
}

/// A socket for dumps, or one that is told of changes.
#[derive(Debug)]
pub struct Links {
    socket: Netlink,
}

impl Links {
    /// A socket for dumps.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Netlink::open(SockProtocol::NetlinkRoute, "rtnetlink")? })
    }

    /// A socket that becomes readable when an interface changes; it never waits.
    pub fn subscribe() -> Result<Self> {
        Ok(Self { socket: Netlink::subscribe(SockProtocol::NetlinkRoute, "rtnetlink", RTMGRP_LINK)? })
    }

    /// A second descriptor of the same socket, readable while there are untold changes.
    pub fn readable(&self) -> std::io::Result<OwnedFd> {
        self.socket.readable()
    }

    /// Changes that came since the last call. None: some were lost, only a dump tells what is now.
    pub fn changes(&mut self) -> Result<Option<Vec<Change>>> {
        let mut found = Vec::new();
        let whole = self.socket.told(|kind, payload| found.extend(parse_change(kind, payload)))?;
        Ok(whole.then_some(found))
    }

    /// All interfaces with their addresses.
    pub fn dump(&mut self) -> Result<Vec<Link>> {
        let mut found: HashMap<u32, Link> = HashMap::new();
        self.socket.dump(RTM_GETLINK, &[0; LINK_BYTES], |kind, payload| {
            if let Some(Change::Is(link)) = parse_change(kind, payload)
                && found.len() < LINK_LIMIT
            {
                found.insert(link.index, link);
            }
        })?;
        self.socket.dump(RTM_GETADDR, &[0; ADDRESS_BYTES], |kind, payload| {
            if kind == RTM_NEWADDR
                && let Some((index, address)) = parse_address(payload)
                && let Some(link) = found.get_mut(&index)
                && link.addresses.len() < ADDRESS_LIMIT
            {
                link.addresses.push(address);
            }
        })?;
        let mut links: Vec<Link> = found.into_values().collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }
}

fn parse_change(kind: u16, payload: &[u8]) -> Option<Change> {
    let link = parse_link(payload)?;
    match kind {
        RTM_NEWLINK => Some(Change::Is(link)),
        RTM_DELLINK => Some(Change::Gone(link.index, link.name)),
        _ => None,
    }
}

/// `struct ifinfomsg` (index at 4, flags at 8) and its attributes.
fn parse_link(payload: &[u8]) -> Option<Link> {
    let flags = u32_at(payload, 8)?;
    let admin_up = flags & IFF_UP != 0;
    let mut link = Link {
        index: u32_at(payload, 4)?,
        loopback: flags & IFF_LOOPBACK != 0,
        admin_up,
        operstate: "unknown".to_owned(),
        ..Link::default()
    };
    for (kind, value) in attributes(payload.get(LINK_BYTES..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned(),
            // While an interface is administratively down its carrier says nothing.
            IFLA_CARRIER if admin_up => link.carrier = value.first().map(|carrier| *carrier != 0),
            IFLA_OPERSTATE => link.operstate = operstate(value.first().copied()).to_owned(),
            // `struct rtnl_link_stats64`: errors are its fifth and sixth number, drops its seventh and eighth.
            IFLA_STATS64 => {
                let sum = |errors, drops| {
                    u64_at(value, errors).unwrap_or(0).saturating_add(u64_at(value, drops).unwrap_or(0))
                };
                (link.rx_bad, link.tx_bad) = (sum(32, 48), sum(40, 56));
            }
            _ => {}
        }
    }
    Some(link)
}

/// The words of /sys/class/net/*/operstate (RFC 2863; include/uapi/linux/if.h).
fn operstate(state: Option<u8>) -> &'static str {
    match state {
        Some(1) => "notpresent",
        Some(2) => "down",
        Some(3) => "lowerlayerdown",
        Some(4) => "testing",
        Some(5) => "dormant",
        Some(6) => "up",
        _ => "unknown",
    }
}

/// `struct ifaddrmsg` (index at 4) and its attributes: the interface's number and its own address.
fn parse_address(payload: &[u8]) -> Option<(u32, String)> {
    let value = |wanted| attributes(payload.get(ADDRESS_BYTES..)?).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
    // IFA_LOCAL is the interface's own address where the link is point to point.
    let address = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS)).and_then(netlink::address)?;
    Some((u32_at(payload, 4)?, address.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_loopback_interface() {
        let links = Links::open().unwrap().dump().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert!(lo.loopback);
        assert!(!lo.admin_up || lo.addresses.iter().any(|a| a == "127.0.0.1"));
        assert_eq!(Links::subscribe().unwrap().changes().unwrap(), Some(vec![]));
    }
}
