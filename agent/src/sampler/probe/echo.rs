//! One ICMP echo: whether the host answers at all. By the unprivileged socket where the host allows it to this user
//! (net.ipv4.ping_group_range), else by a raw one (CAP_NET_RAW), else not at all. Sources: icmp(7), RFC 792, RFC 4443.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, socket};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Tells our answer from others'.
const PAYLOAD: [u8; 8] = *b"why502\x05\x02";
const V4_REQUEST: u8 = 8;
const V4_REPLY: u8 = 0;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;
const HEADER_BYTES: usize = 8;

/// Whether the host answered in time. None: this user may not ask.
pub(super) async fn answers(to: IpAddr, limit: Duration) -> Option<bool> {
    let (socket, raw) = open(to)?;
    let address = SockaddrStorage::from(SocketAddr::new(to, 0));
    // A refusal here is an answer of the route, not of the host.
    if connect(socket.as_raw_fd(), &address).is_err() {
        return Some(false);
    }
    // Sending and receiving on a connected socket is the same for all datagram and raw ones.
    let socket = UdpSocket::from_std(socket.into()).ok()?;
    let asked = async { socket.send(&request(to)).await.is_ok() && reply(&socket, to, raw).await };
    Some(timeout(limit, asked).await.unwrap_or(false))
}

fn open(to: IpAddr) -> Option<(OwnedFd, bool)> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let own = socket(family, SockType::Datagram, flags, protocol).ok().map(|fd| (fd, false));
    own.or_else(|| Some((socket(family, SockType::Raw, flags, protocol).ok()?, true)))
}

/// An echo request. The kernel fills in the checksum of the datagram socket and of ICMPv6.
fn request(to: IpAddr) -> Vec<u8> {
    let kind = if to.is_ipv4() { V4_REQUEST } else { V6_REQUEST };
    let mut message = vec![kind, 0, 0, 0, 0x50, 0x02, 0, 1];
    message.extend(PAYLOAD);
    let sum: u32 = message.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

async fn reply(socket: &UdpSocket, to: IpAddr, raw: bool) -> bool {
    let mut buffer = [0; 256];
    // An error is an ICMP message that came back: unreachable, prohibited.
    while let Ok(length) = socket.recv(&mut buffer).await {
        if is_reply(buffer.get(..length).unwrap_or(&[]), to, raw) {
            return true;
        }
    }
    false
}

fn is_reply(packet: &[u8], to: IpAddr, raw: bool) -> bool {
    // A raw IPv4 socket hands over the IP header, too; its length stands in its first byte, in words of four bytes.
    let header = match (raw && to.is_ipv4(), packet.first()) {
        (true, Some(first)) => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let kind = if to.is_ipv4() { V4_REPLY } else { V6_REPLY };
    let message = packet.get(header..).unwrap_or(&[]);
    message.first() == Some(&kind) && message.get(HEADER_BYTES..).is_some_and(|rest| rest.starts_with(&PAYLOAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_request_adds_up() {
        let message = request("127.0.0.1".parse().unwrap());
        let sum: u32 = message.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[tokio::test]
    async fn this_host_answers_itself_where_this_user_may_ask() {
        let answered = answers("127.0.0.1".parse().unwrap(), Duration::from_secs(5)).await;
        assert_ne!(answered, Some(false));
    }
}
