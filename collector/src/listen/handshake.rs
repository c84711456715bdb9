//! TLS handshakes under way: at most so many at once and so many from one address, none for longer than a stated time. Where
//! there are too many, the oldest of the address that has the most gives way, not the newest: an honest one is done in
//! milliseconds and one that is held open on purpose is the one that has waited.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Guarded, Wire};
use crate::doors::{Door, Notices};
use crate::identity::Identity;
use crate::identity::certificate::Certificate;
use crate::identity::origin::{Origin, Secured};
use crate::identity::stay::Stay;

/// Handshakes under way at once. This and the two below are at most a quarter of the places each, so that those who may come
/// in always find one.
const PENDING_MAX: usize = 256;
/// Of these, from one address.
const PENDING_MAX_PER_ADDRESS: usize = 8;
/// Connections with a certificate from which nothing was let in yet, such as a hello; further ones wait.
const UNPROVEN_MAX: usize = 512;
/// And those without one: of a host that enrols, and of anybody.
const ANONYMOUS_MAX: usize = 64;
/// How long a handshake may take, and the wait for a place after it.
const LIMIT: Duration = Duration::from_secs(5);
/// The first byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The handshakes under way.
pub struct Handshakes {
    door: Door,
    pending: VecDeque<(IpAddr, AbortHandle)>,
    pending_max: usize,
    unproven: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    tell: Option<Arc<Notices>>,
}

impl Handshakes {
    /// None yet, at this door that has so many places.
    pub fn new(door: Door, places: usize, tell: Option<Arc<Notices>>) -> Self {
        let within = |most: usize| most.min(places / 4).max(1);
        let semaphore = |most| Arc::new(Semaphore::new(within(most)));
        let (unproven, anonymous) = (semaphore(UNPROVEN_MAX), semaphore(ANONYMOUS_MAX));
        Self { door, pending: VecDeque::new(), pending_max: within(PENDING_MAX), unproven, anonymous, tell }
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
        let (unproven, anonymous, tell) = (self.unproven.clone(), self.anonymous.clone(), self.tell.clone());
        let came = Instant::now();
        let task = tokio::spawn(async move {
            let shaken = tokio::time::timeout(LIMIT, async {
                let (wire, secured) = shake(stream, &identity, plain_too).await?;
                let named = secured.as_ref().is_some_and(|secured| secured.certificate.is_some());
                let unproven = if named { unproven } else { anonymous }.acquire_owned().await;
                Ok::<_, io::Error>((wire, secured, unproven.map_err(io::Error::other)?))
            });
            match shaken.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((wire, secured, unproven)) => {
                    let (identity, stay) = (Some(identity), Stay::new(came, Some(unproven)));
                    let origin = Origin { address: Some(address), identity, secured, stay };
                    let _ = accepted.send(Ok(Guarded::new(wire, origin, None, place, tell))).await;
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
        } else if self.pending.len() >= self.pending_max {
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
