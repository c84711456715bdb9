//! Listening with limits: how many connections at once, how many that have not said a word yet and for how long, and
//! no spinning when descriptors run out. A connection's place is free again the moment it closes. Under TLS a connection
//! counts once its handshake is done; those under way are `handshake`'s.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::warn;

use crate::doors::Door;
use crate::identity::origin::Origin;

mod handshake;

use handshake::Handshakes;

/// Connections that may be open without having said a word.
const SILENT_MAX: usize = 256;
/// How long a connection may be open without a word.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that running out of descriptors does not cost a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections through a door, at most `connections` at once; further ones wait in the kernel's queue.
pub fn accept(listener: TcpListener, connections: usize, door: Door) -> ReceiverStream<io::Result<Guarded>> {
    let (accepted, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(connections));
        let silent = Arc::new(Semaphore::new(SILENT_MAX));
        let mut handshakes = Handshakes::new(door);
        let mut failing = false;
        loop {
            // Neither semaphore is ever closed.
            let Ok(place) = open.clone().acquire_owned().await else { return };
            let next = tokio::select! {
                next = listener.accept() => next,
                () = accepted.closed() => return,
            };
            match next {
                Ok((stream, address)) => {
                    failing = false;
                    let _ = stream.set_nodelay(true);
                    if handshakes.needed() {
                        handshakes.begin(stream, address, place, accepted.clone());
                        continue;
                    }
                    let Ok(silence) = silent.clone().acquire_owned().await else { return };
                    let origin = Origin { address: Some(address), identity: None, secured: None };
                    let guarded = Guarded::new(Wire::Plain(stream), origin, Some(silence), place);
                    if accepted.send(Ok(guarded)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!("accepting a connection: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that holds its place among those allowed.
pub struct Guarded {
    wire: Wire,
    origin: Origin,
    /// Until its first word: its deadline and, in plain text, its place among the silent.
    first: Option<(Pin<Box<Sleep>>, Option<OwnedSemaphorePermit>)>,
    _place: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(wire: Wire, origin: Origin, silence: Option<OwnedSemaphorePermit>, place: OwnedSemaphorePermit) -> Self {
        Self { wire, origin, first: Some((Box::pin(tokio::time::sleep(FIRST_WORD)), silence)), _place: place }
    }
}

impl Connected for Guarded {
    type ConnectInfo = Origin;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.origin.clone()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if polled.is_ready() {
            self.first = None;
        } else if let Some((deadline, _)) = &mut self.first
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
