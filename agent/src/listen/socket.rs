//! Syslog by datagram: each is one message.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{UdpSocket, UnixDatagram};

use super::Inbox;
use crate::tail::MAX_LINE_BYTES;

/// What the kernel is asked to hold for a socket while the agent is busy, bytes; it may give less.
const KERNEL_BYTES: usize = 4 << 20;

/// Takes datagrams at an address until the socket fails.
pub(super) async fn udp(address: SocketAddr, inbox: &Inbox) -> io::Result<Infallible> {
    let socket = UdpSocket::bind(address).await?;
    begin(&socket, inbox);
    let mut buffer = buffer();
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => inbox.offer(message(&buffer[..length])),
            Err(error) if is_of_peer(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes datagrams at a path until the socket fails. Whoever may look into its folder may send.
pub(super) async fn unixgram(path: &Path, inbox: &Inbox) -> io::Result<Infallible> {
    remove_stale(path)?;
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    begin(&socket, inbox);
    let mut buffer = buffer();
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => inbox.offer(message(&buffer[..length])),
            Err(error) if is_of_peer(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn begin(socket: &impl AsFd, inbox: &Inbox) {
    // Without the privilege the kernel cuts this to its own limit, which is as good as there is.
    if setsockopt(socket, sockopt::RcvBufForce, &KERNEL_BYTES).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &KERNEL_BYTES);
    }
    inbox.set_fault(None);
}

/// One byte more than is kept, so that it shows what was cut.
fn buffer() -> Vec<u8> {
    vec![0; MAX_LINE_BYTES + 1]
}

fn message(datagram: &[u8]) -> &[u8] {
    datagram.strip_suffix(b"\n").unwrap_or(datagram)
}

fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | Interrupted)
}

/// Removes the socket that an agent before this one left. One that somebody listens on stays, and so does anything else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("something that is no socket stands there: remove it or name another path"));
    }
    if std::os::unix::net::UnixDatagram::unbound()?.connect(path).is_ok() {
        return Err(io::Error::other("another program listens there: stop it or name another path"));
    }
    fs::remove_file(path)
}
