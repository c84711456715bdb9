//! Listening with limits: how many connections at once, how many that have not said a word yet and for how long, how long one
//! may stay on which nothing is open that was let in, how much work it may make beside what it carries, and no spinning when
//! descriptors run out. A connection's place is free again the moment it closes. Under TLS a connection
//! counts once its handshake is done; those under way are `handshake`'s.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::warn;

use crate::doors::{Door, Notices};
use crate::identity::origin::Origin;
use crate::identity::stay::Stay;

mod frames;
mod handshake;
mod places;

use frames::Frames;
use handshake::Handshakes;
pub use places::Places;

/// Connections that may be open without having said a word.
const SILENT_MAX: usize = 256;
/// How long a connection in plain text may be open without a word.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How long a connection may be open without anything on it that was let in, its handshake counted: it is closed within ten
/// seconds, on a machine that is busy.
const IDLE: Duration = Duration::from_secs(8);
/// Pause after a failed accept, so that running out of descriptors does not cost a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections through a door, at most `connections` at once; further ones wait in the kernel's queue. Where there is
/// somebody to `tell`, connections that cost more than they carry are cut off and told.
pub fn accept(
    listener: TcpListener,
    connections: usize,
    door: Door,
    tell: Option<Arc<Notices>>,
) -> ReceiverStream<io::Result<Guarded>> {
    let (accepted, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(connections));
        let silent = Arc::new(Semaphore::new(SILENT_MAX));
        let mut handshakes = Handshakes::new(door, connections, tell.clone());
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
                    let stay = Stay::new(Instant::now(), None);
                    let origin = Origin { address: Some(address), identity: None, secured: None, stay };
                    let guarded = Guarded::new(Wire::Plain(stream), origin, Some(silence), place, tell.clone());
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
    /// It has said a word.
    spoken: bool,
    /// Until then its place among the silent, in plain text.
    silence: Option<OwnedSemaphorePermit>,
    /// Wakes it when it may not stay any longer.
    alarm: Pin<Box<Sleep>>,
    /// What it costs, and who is told where that is too much.
    watched: Option<(Frames, Arc<Notices>)>,
    _place: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(
        wire: Wire,
        origin: Origin,
        silence: Option<OwnedSemaphorePermit>,
        place: OwnedSemaphorePermit,
        tell: Option<Arc<Notices>>,
    ) -> Self {
        let alarm = Box::pin(tokio::time::sleep(FIRST_WORD));
        let watched = tell.map(|notices| (Frames::new(Instant::now()), notices));
        Self { wire, origin, spoken: false, silence, alarm, watched, _place: place }
    }

    /// Until when it may stay. None: something holds it. What ends writes, and who writes looks at this again.
    fn until(&self) -> Option<Instant> {
        let idle_since = self.origin.stay.idle_since()?;
        let silent = !self.spoken && matches!(self.wire, Wire::Plain(_));
        Some(idle_since + if silent { FIRST_WORD } else { IDLE })
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(until) = self.until() else { return false };
        if self.alarm.deadline() != until {
            self.alarm.as_mut().reset(until);
        }
        self.alarm.as_mut().poll(cx).is_ready()
    }

    /// Tells of a host that came in and said nothing that could be let in.
    fn tell_of_silence(&self) {
        let (host, address) = self.origin.names();
        let Some((_, notices)) = self.watched.as_ref().filter(|_| !host.is_empty() && self.origin.stay.is_unproven())
        else {
            return;
        };
        warn!("connection of host {host:?} from {address} is cut off: it has not said hello for {} s", IDLE.as_secs());
        notices.tell(host, format!("was cut off: it came in and did not say hello within {} s", IDLE.as_secs()));
    }

    /// Looks at what was read. False: it is too much, which is told.
    fn bear(&mut self, read: &[u8]) -> bool {
        let Some((frames, notices)) = &mut self.watched else { return true };
        let borne = frames.bear(read, Instant::now());
        if !borne {
            let (host, address) = self.origin.names();
            warn!("connection of host {host:?} from {address} is cut off: a flood of frames that carry nothing");
            notices.tell(host, "was cut off: a flood of frames that carry nothing".to_owned());
        }
        borne
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
        if self.is_over(cx) {
            self.tell_of_silence();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let polled = match &mut self.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if polled.is_ready() {
            (self.spoken, self.silence) = (true, None);
            if !self.bear(&buf.filled()[before..]) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
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
