//! A connection that remembers what came over it: the first bytes and when, and how it ended. An HTTP or TLS library
//! tells only that it failed; these tell a reset from a close, and plain text from TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;
use crate::gateway::Signal;

/// First bytes that are remembered.
const FIRST_BYTES: usize = 16;

/// What came over a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) first: Vec<u8>,
    pub(super) first_at: Option<Instant>,
    /// All bytes that came.
    pub(super) received_bytes: u64,
    /// The peer said that it sends no more.
    pub(super) closed: bool,
    /// The kernel's error of the last read or write.
    pub(super) errno: Option<i32>,
}

impl Seen {
    /// What a gateway would say of a connection that ended like this before a complete header.
    pub(super) fn ending(&self) -> Signal {
        match self.errno.map(Errno::from_raw) {
            Some(Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED) => Signal::ResetBeforeHeaders,
            Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => Signal::NoResponseHeaders,
            _ if self.closed => Signal::ClosedBeforeHeaders,
            _ => Signal::NoResponseHeaders,
        }
    }

    /// The peer's first bytes are those of a TLS record: an alert or a handshake (RFC 8446, 5.1).
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.first.as_slice(), [0x15 | 0x16, 0x03, ..])
    }

    /// The peer's first bytes are those of an HTTP/1 answer.
    pub(super) fn is_http(&self) -> bool {
        self.first.starts_with(b"HTTP/")
    }
}

/// Shared with the library that drives the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Seen>>);

impl Notes {
    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn failed(&self, error: &io::Error) {
        self.note(|seen| seen.errno = seen.errno.or(error.raw_os_error()));
    }
}

/// A connection with its notes.
pub(super) struct Noted {
    stream: Stream,
    notes: Notes,
}

impl Noted {
    pub(super) fn new(stream: Stream) -> (Self, Notes) {
        let notes = Notes::default();
        (Self { stream, notes: notes.clone() }, notes)
    }
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or(&[]);
                self.notes.note(|seen| match new {
                    [] => seen.closed |= room,
                    new => {
                        seen.received_bytes += new.len() as u64;
                        seen.first_at = seen.first_at.or_else(|| Some(Instant::now()));
                        let wanted = FIRST_BYTES.saturating_sub(seen.first.len());
                        seen.first.extend(new.iter().take(wanted));
                    }
                });
            }
            Poll::Ready(Err(error)) => self.notes.failed(error),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Err(error)) = &written {
            self.notes.failed(error);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
