//! Listening with limits: how many connections at once, how many that have not said a word yet and for how long, and
//! no spinning when descriptors run out. A connection's place is free again the moment it closes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

/// Connections that may be open without having said a word.
const SILENT_MAX: usize = 256;
/// How long a connection may be open without a word.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// Pause after a failed accept, so that running out of descriptors does not cost a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections, at most `connections` at once; further ones wait in the kernel's queue.
pub fn accept(listener: TcpListener, connections: usize) -> ReceiverStream<io::Result<Guarded>> {
    let (accepted, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let open = Arc::new(Semaphore::new(connections));
        let silent = Arc::new(Semaphore::new(SILENT_MAX));
        let mut failing = false;
        loop {
            // Neither semaphore is ever closed.
            let Ok(place) = open.clone().acquire_owned().await else { return };
            let Ok(silence) = silent.clone().acquire_owned().await else { return };
            let next = tokio::select! {
                next = listener.accept() => next,
                () = accepted.closed() => return,
            };
            match next {
                Ok((stream, _)) => {
                    failing = false;
                    let _ = stream.set_nodelay(true);
                    let first = Some((Box::pin(tokio::time::sleep(FIRST_WORD)), silence));
                    if accepted.send(Ok(Guarded { stream, first, _place: place })).await.is_err() {
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

/// A connection that holds its place among those allowed.
pub struct Guarded {
    stream: TcpStream,
    /// Until its first word: its deadline and its place among the silent.
    first: Option<(Pin<Box<Sleep>>, OwnedSemaphorePermit)>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Guarded {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
