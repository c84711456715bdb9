//! Takes a gateway's log lines from a socket: syslog datagrams and streams, and pushed JSON lines. Opened only where
//! agent.toml says so.
//!
//! What came in waits in an [`Inbox`], bounded in bytes, until the gateway's watch takes it. A stream or a push waits for
//! room there, so that its sender keeps the lines; a datagram can't be made to wait, so it is left out and counted. What
//! peers send is data: it chooses nothing but what stands in its line. Connections are bounded, and one that does not
//! finish what it began is cut.

mod frame;
mod gzip;
mod inbox;
mod push;
mod socket;
mod stream;

use std::time::Duration;

pub use frame::Deframer;
pub use gzip::unpack as unpack_gzip;
pub use inbox::{Counts, Inbox};
pub use push::lines as pushed_lines;

use crate::config::LogListen;

/// Between two tries to open the socket.
const RETRY: Duration = Duration::from_secs(5);
/// For so long a message or a request may be under way.
const SLOW_LIMIT: Duration = Duration::from_secs(30);

/// Listens for ever; a socket that can't be opened is tried again, and the inbox says why.
pub async fn run(listen: LogListen, inbox: Inbox) {
    loop {
        let failed = match &listen {
            LogListen::Udp(address) => socket::udp(*address, &inbox).await,
            LogListen::Unixgram(path) => socket::unixgram(path, &inbox).await,
            LogListen::Tcp(address) => stream::run(*address, &inbox).await,
            LogListen::Http(address) => push::run(*address, &inbox).await,
        };
        let fault = failed.map_or_else(|error| error.to_string(), |never| match never {});
        tracing::warn!("listening on {listen}: {fault}");
        inbox.set_fault(Some(fault));
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests;
