//! Listening sockets, their accept queues and how many connections are established, by the sock_diag netlink family: it dumps
//! by state, so that 60,000 connections do not slow the look at ten listeners, and it alone tells the limit of an accept queue.
//! Of the network namespace that this program is in. Sources: sock_diag(7), include/uapi/linux/inet_diag.h, unix_diag.h.
//! The requests are written by hand because the filter by port needs a program (INET_DIAG_REQ_BYTECODE) that no crate makes.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc::{AF_INET, AF_UNIX};
use nix::sys::socket::SockProtocol;

use super::Result;
use super::netlink::{Netlink, attributes, push_attribute, u32_at};

/// `SOCK_DIAG_BY_FAMILY` (include/uapi/linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The older question for TCP sockets (include/uapi/linux/inet_diag.h), which alone asks for both families in one walk of the
/// kernel's tables: that of the established ones costs half a millisecond or more each, however few there are.
const TCPDIAG_GETSOCK: u16 = 18;
/// State numbers of include/net/tcp_states.h.
const TCP_ESTABLISHED: u32 = 1;
/// Those that one side has closed and that may still have something to send.
const TCP_CLOSING: [u32; 3] = [4, 8, 9];
const TCP_LISTEN: u32 = 10;
/// Request attribute that carries a filter program.
const INET_DIAG_REQ_BYTECODE: u16 = 1;
/// Instructions of that program.
const BC_JMP: u8 = 1;
const BC_S_GE: u8 = 2;
const BC_S_LE: u8 = 3;
/// Most ports that one filter names.
const PORT_LIMIT: usize = 64;
/// Most sockets that are read of one dump.
const SOCKET_LIMIT: usize = 262_144;

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket's path; abstract ones begin with '@'.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// Most that may wait (the smaller of backlog and somaxconn).
    pub queue_limit: u32,
    /// Its inode, as in the links of /proc/PID/fd.
    pub inode: u64,
}

/// Connections to one local address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connections {
    /// Established.
    pub established: u32,
    /// Of these and of those being closed: what was sent over them was sent again, and the other side's kernel has acknowledged
    /// nothing of it since.
    pub unacknowledged: u32,
}

/// Asks the kernel about sockets.
#[derive(Debug)]
pub struct Diag {
    socket: Netlink,
}

impl Diag {
    /// Opens the netlink socket; it stays in the network namespace in which it was opened.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Netlink::open(SockProtocol::NetlinkSockDiag, "sock_diag")? })
    }

    /// TCP listeners of both families.
    pub fn tcp_listeners(&mut self) -> Result<Vec<Listener>> {
        let mut found = Vec::new();
        self.dump(TCPDIAG_GETSOCK, &tcp_request(1 << TCP_LISTEN, &[]), |payload| {
            found.extend(parse_inet(payload).map(|socket| Listener {
                address: Address::Tcp(socket.local),
                queue: socket.recv_queue,
                queue_limit: socket.send_queue,
                inode: socket.inode,
            }));
        })?;
        Ok(found)
    }

    /// Unix sockets that listen and have a name. Needs the kernel's unix_diag.
    pub fn unix_listeners(&mut self) -> Result<Vec<Listener>> {
        let mut found = Vec::new();
        self.dump(SOCK_DIAG_BY_FAMILY, &unix_request(), |payload| found.extend(parse_unix(payload)))?;
        Ok(found)
    }

    /// Connections by local address, of some local ports. The kernel filters; the price is a walk of its table
    /// (some milliseconds for 100,000 connections) and an answer for each that fits.
    pub fn connections(&mut self, ports: &[u16]) -> Result<HashMap<SocketAddr, Connections>> {
        let mut counts: HashMap<SocketAddr, Connections> = HashMap::new();
        if ports.is_empty() {
            return Ok(counts);
        }
        let states = TCP_CLOSING.iter().fold(1 << TCP_ESTABLISHED, |states, state| states | 1 << state);
        self.dump(TCPDIAG_GETSOCK, &tcp_request(states, ports), |payload| {
            if let Some(socket) = parse_inet(payload) {
                let count = counts.entry(socket.local).or_default();
                count.established += u32::from(socket.state == TCP_ESTABLISHED);
                count.unacknowledged += u32::from(socket.unacknowledged);
            }
        })?;
        Ok(counts)
    }

    fn dump(&mut self, kind: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut seen = 0;
        self.socket.dump(kind, body, |_, payload| {
            seen += 1;
            if seen <= SOCKET_LIMIT {
                each(payload);
            }
        })
    }
}

/// `struct inet_diag_req`, and a filter where ports are named.
fn tcp_request(states: u32, ports: &[u16]) -> Vec<u8> {
    // No family, no prefixes, nothing extra.
    let mut out = vec![0; 4];
    // struct inet_diag_sockid: 48 bytes, of which only the cookie matters in a dump; all ones: any.
    out.extend_from_slice(&[0; 40]);
    out.extend_from_slice(&[0xff; 8]);
    out.extend_from_slice(&states.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    if !ports.is_empty() {
        push_attribute(&mut out, INET_DIAG_REQ_BYTECODE, &port_filter(ports));
    }
    out
}

/// A program that accepts sockets whose local port is one of these: for each port `at least p`, `at most p`, then a jump to the
/// end. An instruction tells how far to go on success and on failure; arriving exactly at the end accepts, four bytes beyond
/// refuses (`inet_diag_bc_run` in net/ipv4/inet_diag.c).
fn port_filter(ports: &[u16]) -> Vec<u8> {
    /// Two comparisons of eight bytes and a jump of four.
    const BLOCK: usize = 20;
    let ports = ports.get(..PORT_LIMIT).unwrap_or(ports);
    let total = ports.len() * BLOCK;
    let mut out = Vec::with_capacity(total);
    for (i, port) in ports.iter().enumerate() {
        let last = i + 1 == ports.len();
        // From the first comparison to the next block, or beyond the end.
        let miss = if last { BLOCK + 4 } else { BLOCK };
        for (code, miss) in [(BC_S_GE, miss), (BC_S_LE, miss - 8)] {
            push_op(&mut out, code, 8, miss);
            push_op(&mut out, 0, 0, usize::from(*port));
        }
        push_op(&mut out, BC_JMP, 4, total - (i * BLOCK + 16));
    }
    out
}

/// `struct inet_diag_bc_op`.
fn push_op(out: &mut Vec<u8>, code: u8, yes: u8, no: usize) {
    out.extend_from_slice(&[code, yes]);
    out.extend_from_slice(&u16::try_from(no).unwrap_or(u16::MAX).to_ne_bytes());
}

/// `struct unix_diag_req`: listening ones, with name (1) and queue (0x10).
fn unix_request() -> Vec<u8> {
    let mut out = vec![AF_UNIX as u8, 0, 0, 0];
    out.extend_from_slice(&(1u32 << TCP_LISTEN).to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&0x11u32.to_ne_bytes());
    out.extend_from_slice(&[0xff; 8]);
    out
}

/// `struct inet_diag_msg` as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InetSocket {
    local: SocketAddr,
    state: u32,
    unacknowledged: bool,
    recv_queue: u32,
    send_queue: u32,
    inode: u64,
}

fn parse_inet(bytes: &[u8]) -> Option<InetSocket> {
    let family = i32::from(*bytes.first()?);
    let port = u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?);
    let ip = if family == AF_INET {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(8..12)?).ok()?))
    } else {
        // What came by IPv4 to a socket of IPv6 is written as IPv4, as its gateway names it.
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(8..24)?).ok()?)).to_canonical()
    };
    // 1: what was sent is sent again; 4: nothing could be sent, and the other side is asked again. Each answer sets the count of
    // either to nothing (tcp_ack in net/ipv4/tcp_input.c).
    let (timer, again) = (*bytes.get(2)?, *bytes.get(3)?);
    Some(InetSocket {
        local: SocketAddr::new(ip, port),
        state: u32::from(*bytes.get(1)?),
        unacknowledged: matches!(timer, 1 | 4) && again > 0,
        recv_queue: u32_at(bytes, 56)?,
        send_queue: u32_at(bytes, 60)?,
        inode: u64::from(u32_at(bytes, 68)?),
    })
}

/// `struct unix_diag_msg` with its attributes UNIX_DIAG_NAME (0) and UNIX_DIAG_RQLEN (4).
fn parse_unix(bytes: &[u8]) -> Option<Listener> {
    let inode = u64::from(u32_at(bytes, 4)?);
    let (mut name, mut queues) = (None, (0, 0));
    for (kind, value) in attributes(bytes.get(16..)?) {
        match kind {
            0 => name = Some(unix_name(value)),
            4 => queues = (u32_at(value, 0)?, u32_at(value, 4)?),
            _ => {}
        }
    }
    Some(Listener { address: Address::Unix(name?), queue: queues.0, queue_limit: queues.1, inode })
}

fn unix_name(bytes: &[u8]) -> String {
    match bytes {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        name => String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn sees_listeners_and_queues() {
        let mut diag = Diag::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let _waits = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
            let found = diag.tcp_listeners().unwrap();
            let found = found.iter().find(|l| l.address == Address::Tcp(address)).expect("our listener");
            assert_eq!(found.queue, 2);
            assert!(found.queue_limit >= 100 && found.inode > 0);
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            let _noise = TcpStream::connect(other.local_addr().unwrap()).unwrap();
            for ports in [vec![address.port()], vec![1, address.port(), 2], vec![3, address.port()]] {
                let connections = diag.connections(&ports).unwrap();
                let two = Connections { established: 2, unacknowledged: 0 };
                assert_eq!(connections, HashMap::from([(address, two)]), "filter {ports:?}");
            }
        }
    }

    #[test]
    fn sees_unix_listeners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        let found = Diag::open().unwrap().unix_listeners().unwrap();
        let address = Address::Unix(path.to_str().unwrap().to_owned());
        let found = found.iter().find(|l| l.address == address).expect("our listener");
        assert_eq!(found.queue, 1);
    }

    #[test]
    fn what_is_sent_again_and_again_is_not_acknowledged() {
        let told = |state: u8, timer: u8, again: u8| {
            let mut bytes = [0; 72];
            bytes[..4].copy_from_slice(&[AF_INET as u8, state, timer, again]);
            let socket = parse_inet(&bytes).unwrap();
            (socket.state, socket.unacknowledged)
        };
        assert_eq!(told(1, 1, 2), (TCP_ESTABLISHED, true));
        assert_eq!(told(8, 4, 3), (TCP_CLOSING[1], true));
        assert!(!told(1, 1, 0).1, "it was sent just now");
        assert!(!told(1, 2, 5).1, "keepalive");
    }

    #[test]
    fn refuses_what_is_cut() {
        assert_eq!(parse_inet(&[2; 30]), None);
        assert!(parse_unix(&[1; 17]).is_none());
    }
}
