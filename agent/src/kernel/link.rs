//! Network interfaces by rtnetlink, of the network namespace that this program is in (/sys shows the one it was mounted in, which
//! may be another): a dump of all, and a socket on which the kernel tells each change at once. Source: rtnetlink(7).

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, State};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{Error, Result};

/// Multicast group bit of link changes (RTMGRP_LINK in include/uapi/linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;
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
pub struct Links {
    socket: Socket,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Links {
    /// A socket for dumps.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::new(NETLINK_ROUTE).map_err(|e| failed("open", &e))? })
    }

    /// A socket that becomes readable when an interface changes; it never waits.
    pub fn subscribe() -> Result<Self> {
        let mut links = Self::open()?;
        links.socket.bind(&SocketAddr::new(0, RTMGRP_LINK)).map_err(|e| failed("subscribe", &e))?;
        links.socket.set_non_blocking(true).map_err(|e| failed("subscribe", &e))?;
        Ok(links)
    }

    /// A second descriptor of the same socket, readable while there are untold changes.
    pub fn readable(&self) -> std::io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Changes that came since the last call. None: some were lost, only a dump tells what is now.
    pub fn changes(&self) -> Result<Option<Vec<Change>>> {
        let mut found = Vec::new();
        let mut buffer = bytes::BytesMut::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => each_message(&buffer, |payload| found.extend(change(payload))),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(Some(found)),
                Err(e) if e.raw_os_error() == Some(nix::libc::ENOBUFS) => return Ok(None),
                Err(e) => return Err(failed("receive", &e)),
            };
        }
    }

    /// All interfaces with their addresses.
    pub fn dump(&self) -> Result<Vec<Link>> {
        let mut found: HashMap<u32, Link> = HashMap::new();
        self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), |payload| {
            if let Some(Change::Is(link)) = change(payload)
                && found.len() < LINK_LIMIT
            {
                found.insert(link.index, link);
            }
        })?;
        self.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |payload| {
            let RouteNetlinkMessage::NewAddress(message) = payload else { return };
            if let (Some(link), Some(address)) = (found.get_mut(&message.header.index), address(&message))
                && link.addresses.len() < ADDRESS_LIMIT
            {
                link.addresses.push(address);
            }
        })?;
        let mut links: Vec<Link> = found.into_values().collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    fn request(&self, message: RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> Result<()> {
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|e| failed("send", &e))?;
        let mut buffer = bytes::BytesMut::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).map_err(|e| failed("receive", &e))?;
            if each_message(&buffer, &mut each) {
                return Ok(());
            }
        }
    }
}

fn failed(step: &str, error: &std::io::Error) -> Error {
    let mut error = Error::io(Path::new("rtnetlink"), error);
    error.what = format!("{step}: {}", error.what);
    error
}

/// Hands on the messages of a datagram. True: it holds the end (or the failure) of a dump.
fn each_message(mut bytes: &[u8], mut each: impl FnMut(RouteNetlinkMessage)) -> bool {
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let Some(one) = bytes.get(..length).filter(|_| length >= 16) else { return true };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(one).map(|message| message.payload) {
            Ok(NetlinkPayload::Done(_) | NetlinkPayload::Error(_)) => return true,
            Ok(NetlinkPayload::InnerMessage(inner)) => each(inner),
            // A message that this version of the crate can't read is passed over.
            Ok(_) | Err(_) => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(Change::Is(link(&message))),
        RouteNetlinkMessage::DelLink(message) => Some(Change::Gone(message.header.index, link(&message).name)),
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let admin_up = flags.contains(LinkFlags::Up);
    let mut link = Link {
        index: message.header.index,
        loopback: flags.contains(LinkFlags::Loopback),
        admin_up,
        operstate: "unknown".to_owned(),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            // While an interface is administratively down its carrier says nothing.
            LinkAttribute::Carrier(carrier) if admin_up => link.carrier = Some(*carrier != 0),
            LinkAttribute::OperState(state) => link.operstate = operstate(*state).to_owned(),
            LinkAttribute::Stats64(stats) => {
                link.rx_bad = stats.rx_errors.saturating_add(stats.rx_dropped);
                link.tx_bad = stats.tx_errors.saturating_add(stats.tx_dropped);
            }
            _ => {}
        }
    }
    link
}

/// The words of /sys/class/net/*/operstate.
fn operstate(state: State) -> &'static str {
    match state {
        State::NotPresent => "notpresent",
        State::Down => "down",
        State::LowerLayerDown => "lowerlayerdown",
        State::Testing => "testing",
        State::Dormant => "dormant",
        State::Up => "up",
        _ => "unknown",
    }
}

fn address(message: &AddressMessage) -> Option<String> {
    // IFA_LOCAL is the interface's own address where the link is point to point.
    let local =
        message.attributes.iter().find_map(|a| if let AddressAttribute::Local(ip) = a { Some(ip) } else { None });
    let any =
        message.attributes.iter().find_map(|a| if let AddressAttribute::Address(ip) = a { Some(ip) } else { None });
    local.or(any).map(ToString::to_string)
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
