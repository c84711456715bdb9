//! Which way the kernel would send to an address, and what it knows of the next hop's link address, by rtnetlink: one
//! question, one answer, of the network namespace that this program is in. Source: rtnetlink(7).

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::{Error, Result};

/// The kernel answers while it takes the request; what is not there after this long does not come.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);

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
pub struct Routes {
    socket: Socket,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

impl Routes {
    /// Opens the socket.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(|error| failed("open", &error))?;
        socket.bind(&SocketAddr::new(0, 0)).map_err(|error| failed("bind", &error))?;
        socket.set_non_blocking(true).map_err(|error| failed("open", &error))?;
        Ok(Self { socket })
    }

    /// The way to an address (`ip route get`).
    pub fn to(&self, address: IpAddr) -> Result<Route> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        match self.ask(RouteNetlinkMessage::GetRoute(message))? {
            Err(errno) => Ok(Route::Refused(errno)),
            Ok(RouteNetlinkMessage::NewRoute(route)) => Ok(found(&route)),
            Ok(_) => Err(Error::parse(Path::new("rtnetlink"), "an answer that is no route")),
        }
    }

    /// The state of a neighbour's link address (`ip neigh get`) in the kernel's words; None where it knows of none.
    pub fn neighbour(&self, address: IpAddr, index: u32) -> Result<Option<&'static str>> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = index;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        }));
        match self.ask(RouteNetlinkMessage::GetNeighbour(message))? {
            Ok(RouteNetlinkMessage::NewNeighbour(entry)) => Ok(Some(state(entry.header.state))),
            _ => Ok(None),
        }
    }

    fn ask(&self, message: RouteNetlinkMessage) -> Result<std::result::Result<RouteNetlinkMessage, Errno>> {
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|error| failed("send", &error))?;
        let mut buffer = bytes::BytesMut::with_capacity(16 * 1024);
        let began = Instant::now();
        loop {
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && began.elapsed() < ANSWER_LIMIT => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(failed("receive", &error)),
            }
        }
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer);
        match answer.map_err(|error| Error::parse(Path::new("rtnetlink"), error.to_string()))?.payload {
            NetlinkPayload::InnerMessage(inner) => Ok(Ok(inner)),
            NetlinkPayload::Error(error) => Ok(Err(Errno::from_raw(error.code.map_or(0, |code| -code.get())))),
            _ => Err(Error::parse(Path::new("rtnetlink"), "an answer that is none")),
        }
    }
}

fn failed(step: &str, error: &std::io::Error) -> Error {
    let mut error = Error::io(Path::new("rtnetlink"), error);
    error.what = format!("{step}: {}", error.what);
    error
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn found(route: &RouteMessage) -> Route {
    let mut index = 0;
    let mut via = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(number) => index = *number,
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => via = Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => via = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    Route::Found { index, via }
}

/// The words of `ip neigh`, in small letters.
fn state(state: NeighbourState) -> &'static str {
    match state {
        NeighbourState::Incomplete => "incomplete",
        NeighbourState::Reachable => "reachable",
        NeighbourState::Stale => "stale",
        NeighbourState::Delay => "delay",
        NeighbourState::Probe => "probe",
        NeighbourState::Failed => "failed",
        NeighbourState::Noarp => "noarp",
        NeighbourState::Permanent => "permanent",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_on_the_link() {
        let routes = Routes::open().unwrap();
        let Route::Found { index, via } = routes.to("127.0.0.1".parse().unwrap()).unwrap() else { panic!("no route") };
        assert_eq!((index, via), (1, None));
    }

    #[test]
    fn an_unknown_neighbour_is_none() {
        let routes = Routes::open().unwrap();
        assert_eq!(routes.neighbour("192.0.2.1".parse().unwrap(), 1).unwrap(), None);
    }
}
