//! Syslog by TCP: bounded connections, each cut into messages. A sender whose lines find no room is made to wait.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::frame::Deframer;
use super::{Inbox, SLOW_LIMIT};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// For so long a connection may be silent between messages.
const IDLE_LIMIT: Duration = Duration::from_secs(3_600);
/// Pause after a connection could not be taken, as where descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Takes streams at an address until the socket fails.
pub(super) async fn run(address: SocketAddr, inbox: &Inbox) -> io::Result<Infallible> {
    let listener = TcpListener::bind(address).await?;
    inbox.set_fault(None);
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener, &mut connections, MAX_CONNECTIONS, inbox).await;
        let inbox = inbox.clone();
        connections.spawn_local(async move {
            if !take(stream, &inbox).await {
                inbox.count_cut_sender();
            }
        });
    }
}

/// The next connection, while there are fewer than `most`; others are closed at once.
pub(super) async fn accept(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    most: usize,
    inbox: &Inbox,
) -> TcpStream {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < most => return stream,
            Ok(_) => inbox.count_cut_sender(),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Takes one stream to its end. False: it was cut.
async fn take(mut stream: TcpStream, inbox: &Inbox) -> bool {
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut limit = Instant::now() + IDLE_LIMIT;
    loop {
        let Ok(read) = timeout_at(limit, stream.read(&mut buffer)).await else { return !deframer.is_partial() };
        let length = read.unwrap_or(0);
        inbox.room().await;
        let mut ended = 0;
        let mut offer = |message: &[u8]| {
            ended += 1;
            inbox.put(message);
        };
        if length == 0 {
            deframer.finish(&mut offer);
            return true;
        }
        let was_partial = deframer.is_partial();
        deframer.feed(&buffer[..length], &mut offer);
        match (deframer.is_partial(), was_partial && ended == 0) {
            (false, _) => limit = Instant::now() + IDLE_LIMIT,
            // The time of a message runs from its beginning, however many pieces it comes in.
            (true, false) => limit = Instant::now() + SLOW_LIMIT,
            (true, true) => {}
        }
    }
}
