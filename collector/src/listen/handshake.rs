//! TLS handshakes under way: at most so many at once and so many from one address, none for longer than a stated time. Where
//! there are too many, the oldest of the address that has the most gives way, not the newest: an honest one is done in
//! milliseconds and one that is held open on purpose is the one that has waited.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Guarded, Wire};
use crate::doors::Door;
use crate::identity::Identity;
use crate::identity::certificate::Certificate;
use crate::identity::origin::{Origin, Secured};

/// Handshakes under way at once.
const PENDING_MAX: usize = 256;
/// Of these, from one address.
const PENDING_MAX_PER_ADDRESS: usize = 8;
/// How long a handshake may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The first byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The handshakes under way.
pub struct Handshakes {
    door: Door,
    pending: VecDeque<(IpAddr, AbortHandle)>,
}

impl Handshakes {
    /// None yet, at this door.
    pub fn new(door: Door) -> Self {
        Self { door, pending: VecDeque::new() }
    }

    /// Whether this door needs any.
    pub fn needed(&self) -> bool {
        self.door.identity().is_some()
    }

    /// Begins one, and hands the connection on when it is done.
    pub fn begin(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        accepted: mpsc::Sender<io::Result<Guarded>>,
    ) {
        let Some(identity) = self.door.identity().cloned() else { return };
        self.make_room(address.ip());
        let plain_too = matches!(self.door, Door::Either(_));
        let task = tokio::spawn(async move {
            let shaken = tokio::time::timeout(LIMIT, shake(stream, &identity, plain_too)).await;
            match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((wire, secured)) => {
                    let origin = Origin { address: Some(address), identity: Some(identity), secured };
                    let _ = accepted.send(Ok(Guarded::new(wire, origin, None, place))).await;
                }
                // Anybody can make these: not worth a line each.
                Err(error) => debug!("handshake with {address}: {error}"),
            }
        });
        self.pending.push_back((address.ip(), task.abort_handle()));
    }

    /// Ends one where one more would be too many.
    fn make_room(&mut self, address: IpAddr) {
        self.pending.retain(|(_, task)| !task.is_finished());
        if let Some((_, task)) = self.too_many(address).and_then(|at| self.pending.remove(at)) {
            task.abort();
        }
    }

    /// Which one has to go before one of this address may begin.
    fn too_many(&self, address: IpAddr) -> Option<usize> {
        let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
        self.pending.iter().for_each(|(one, _)| *of_address.entry(*one).or_default() += 1);
        let crowded = if of_address.get(&address).is_some_and(|count| *count >= PENDING_MAX_PER_ADDRESS) {
            address
        } else if self.pending.len() >= PENDING_MAX {
            *of_address.iter().max_by_key(|(_, count)| **count)?.0
        } else {
            return None;
        };
        self.pending.iter().position(|(one, _)| *one == crowded)
    }
}

async fn shake(stream: TcpStream, identity: &Arc<Identity>, plain_too: bool) -> io::Result<(Wire, Option<Secured>)> {
    if plain_too {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] != TLS_HANDSHAKE {
            return Ok((Wire::Plain(stream), None));
        }
    }
    let stream = TlsAcceptor::from(identity.tls()).accept(stream).await?;
    let sent = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = match sent {
        Some(der) => {
            let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "a certificate that can't be read");
            Some(Arc::new(Certificate::read(der).ok_or_else(unreadable)?))
        }
        None => None,
    };
    Ok((Wire::Tls(Box::new(stream)), Some(Secured { certificate })))
}
