//! Asking a server the way a gateway would: connect, TLS, one HTTP/1.1 request. What goes wrong is told as a signal of
//! the catalogue, with the kernel's own error. Every step has a time limit; no redirect is followed; what comes back is
//! bounded. Used by the health checks and by the probes.

mod certificate;
mod http;
mod tls;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::TcpMaxSeg};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::gateway::Signal;
use crate::kernel::tcp;

pub use certificate::Certificate;
pub use http::{Answer, Ask, Idle, NoAnswer, get};
pub use tls::{NoHandshake, Secured, TlsAsk, handshake, roots};

/// What every host must take in one packet (RFC 9293, 3.7.1): a way that passes no more passes nothing, bytes.
const SMALL_SEGMENT_BYTES: u32 = 536;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A connection of any kind.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    /// How many of its SYNs the kernel sent again before it was connected. None: it has none, or nobody knows.
    fn syns_resent(&self) -> Option<u32> {
        None
    }
}

impl Connection for UnixStream {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for TlsStream<T> {}

impl Connection for TcpStream {
    /// Asked before anything was sent over it: then nothing else can have been sent again.
    fn syns_resent(&self) -> Option<u32> {
        tcp::resent(self)
    }
}

/// A connection whose kind does not matter any more.
pub type Stream = Box<dyn Connection>;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoConnection {
    /// What a gateway would call it.
    pub signal: Signal,
    /// The kernel's error number, 0 where the time ran out first.
    pub errno: i32,
    /// In words.
    pub says: String,
}

/// Connects, and tells how long that (or its failure) took.
pub async fn connect(target: &Target, limit: Duration) -> (Result<Stream, NoConnection>, Duration) {
    connect_by(target, None, limit).await
}

/// Connects so that the peer sends only small packets, whatever size of them the way to it passes.
pub async fn connect_small(target: &Target, limit: Duration) -> Result<Stream, NoConnection> {
    connect_by(target, Some(SMALL_SEGMENT_BYTES), limit).await.0
}

async fn connect_by(
    target: &Target,
    segment_bytes: Option<u32>,
    limit: Duration,
) -> (Result<Stream, NoConnection>, Duration) {
    let began = Instant::now();
    let connected = tokio::time::timeout(limit, open(target, segment_bytes)).await;
    let result = match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(refusal(target, &error)),
        Err(_) => {
            let says = format!("no answer within {limit:?}");
            Err(NoConnection { signal: Signal::ConnectTimeout, errno: 0, says })
        }
    };
    (result, began.elapsed())
}

async fn open(target: &Target, segment_bytes: Option<u32>) -> io::Result<Stream> {
    match target {
        Target::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(bytes) = segment_bytes {
                // tcp(7): set before the connection is, it is what the peer is told to send at most.
                setsockopt(&socket, TcpMaxSeg, &bytes)?;
            }
            let stream = socket.connect(*address).await?;
            // A request is one small write: it must not wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
        Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

fn refusal(target: &Target, error: &io::Error) -> NoConnection {
    let errno = error.raw_os_error().unwrap_or(0);
    let signal = match target {
        Target::Tcp(_) => tcp_signal(Errno::from_raw(errno)),
        Target::Unix(_) => unix_signal(Errno::from_raw(errno)),
    };
    NoConnection { signal, errno, says: error.to_string() }
}

/// connect(2) and ip(7): a packet filter's "prohibited" arrives as EHOSTUNREACH on IPv4, as EACCES on IPv6 and from a
/// prohibiting route.
fn tcp_signal(errno: Errno) -> Signal {
    match errno {
        Errno::ECONNREFUSED => Signal::ConnectRefused,
        Errno::ETIMEDOUT => Signal::ConnectTimeout,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN | Errno::EACCES => {
            Signal::ConnectUnreachable
        }
        Errno::EADDRNOTAVAIL => Signal::LocalPortExhausted,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS => Signal::GatewayResource,
        _ => Signal::ConnectFailed,
    }
}

/// unix(7): EAGAIN says that the listener's backlog is full.
fn unix_signal(errno: Errno) -> Signal {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Signal::SocketMissing,
        Errno::EACCES | Errno::EPERM => Signal::SocketPermission,
        Errno::EAGAIN => Signal::SocketBacklogFull,
        Errno::ECONNREFUSED => Signal::ConnectRefused,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => Signal::GatewayResource,
        _ => Signal::ConnectFailed,
    }
}

#[cfg(test)]
pub(crate) use tls::tests::acceptor;

#[cfg(test)]
mod tests;
