//! TLS handshakes under way: at most so many at once, few that linger from one address, none for longer than a stated time.
//! Where there are too many, the oldest of the address that has the most gives way: one that is held open on purpose is the one
//! that has waited. A fleet that comes back at once has too many as well, and they are all young: then nobody is ended who is
//! about to be done, and whoever comes too many is turned away and tries again. Their arithmetic is done by threads of its own,
//! half as many as there are processors: those who are in already never stand in line behind those who want in.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{Guarded, Wire};
use crate::doors::{Door, Notices};
use crate::identity::Identity;
use crate::identity::certificate::Certificate;
use crate::identity::origin::{Origin, Secured};
use crate::identity::stay::Stay;

/// Handshakes under way at once. This and the two below are at most a quarter of the places each, so that those who may come
/// in always find one.
const PENDING_MAX: usize = 256;
/// Of these, from one address and lingering.
const LINGERING_MAX_PER_ADDRESS: usize = 8;
/// One that takes longer lingers; on a busy collector an honest one may take so long.
const LINGERS: Duration = Duration::from_millis(250);
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
    pending: VecDeque<(Pending, AbortHandle)>,
    pending_max: usize,
    unproven: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    tell: Option<Arc<Notices>>,
    threads: Threads,
}

/// The threads that do the arithmetic. They have no clock and wait for nothing: what a connection waits for stays with those who
/// serve it.
struct Threads(Option<Runtime>);

/// One under way.
#[derive(Debug, Clone, Copy)]
struct Pending {
    address: IpAddr,
    since: Instant,
}

/// What becomes of one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It may begin.
    There,
    /// It may begin instead of this one.
    InsteadOf(usize),
    /// It may not.
    Nowhere,
}

impl Handshakes {
    /// None yet, at this door that has so many places.
    pub fn new(door: Door, places: usize, tell: Option<Arc<Notices>>) -> Self {
        let within = |most: usize| most.min(places / 4).max(1);
        let semaphore = |most| Arc::new(Semaphore::new(within(most)));
        let (unproven, anonymous) = (semaphore(UNPROVEN_MAX), semaphore(ANONYMOUS_MAX));
        let threads = if door.identity().is_some() { Threads::start() } else { Threads(None) };
        Self { door, pending: VecDeque::new(), pending_max: within(PENDING_MAX), unproven, anonymous, tell, threads }
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
        let came = Instant::now();
        if !self.make_room(address.ip(), came) {
            debug!("too many handshakes: {address} is turned away");
            return;
        }
        let plain_too = matches!(self.door, Door::Either(_));
        let (unproven, anonymous, tell) = (self.unproven.clone(), self.anonymous.clone(), self.tell.clone());
        let shaking = self.threads.run(shake(stream, identity.clone(), plain_too));
        let task = tokio::spawn(async move {
            let shaken = tokio::time::timeout(LIMIT, async {
                let (wire, secured) = done(shaking).await?;
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
        self.pending.push_back((Pending { address: address.ip(), since: came }, task.abort_handle()));
    }

    /// Ends one where one more would be too many. False: that one more may not begin.
    fn make_room(&mut self, address: IpAddr, now: Instant) -> bool {
        self.pending.retain(|(_, task)| !task.is_finished());
        let pending: Vec<Pending> = self.pending.iter().map(|(one, _)| *one).collect();
        let room = room(&pending, self.pending_max, address, now);
        if let Room::InsteadOf(at) = room
            && let Some((_, task)) = self.pending.remove(at)
        {
            task.abort();
        }
        room != Room::Nowhere
    }
}

impl Threads {
    fn start() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let started = Builder::new_multi_thread().worker_threads(threads).thread_name("handshakes").build();
        // Those who serve do it too, where the machine has no thread left.
        Self(started.inspect_err(|error| warn!("threads for handshakes: {error}")).ok())
    }

    /// Does one, unless what it gives is dropped before.
    fn run<T: Send + 'static>(&self, shaking: impl Future<Output = T> + Send + 'static) -> JoinSet<T> {
        let mut one = JoinSet::new();
        match &self.0 {
            Some(threads) => one.spawn_on(shaking, threads.handle()),
            None => one.spawn(shaking),
        };
        one
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

/// What a handshake gave.
async fn done<T: 'static>(mut shaking: JoinSet<io::Result<T>>) -> io::Result<T> {
    match shaking.join_next().await {
        Some(Ok(shaken)) => shaken,
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Whether one of an address may begin beside those under way, oldest first.
fn room(pending: &[Pending], pending_max: usize, address: IpAddr, now: Instant) -> Room {
    let lingers = |one: &Pending| now.duration_since(one.since) > LINGERS;
    let oldest_of = |address| pending.iter().position(|one| one.address == address);
    if pending.iter().filter(|one| one.address == address && lingers(one)).count() >= LINGERING_MAX_PER_ADDRESS {
        return oldest_of(address).map_or(Room::There, Room::InsteadOf);
    }
    if pending.len() < pending_max {
        return Room::There;
    }
    let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
    pending.iter().for_each(|one| *of_address.entry(one.address).or_default() += 1);
    let own = of_address.get(&address).copied().unwrap_or_default();
    let most = of_address.iter().max_by_key(|(_, count)| **count);
    let crowded = most.and_then(|(crowded, count)| Some((oldest_of(*crowded)?, *count)));
    match crowded {
        // Whoever has many gives way to one who has few, at once.
        Some((at, count)) if count > own + 1 => Room::InsteadOf(at),
        _ => pending.iter().position(lingers).map_or(Room::Nowhere, Room::InsteadOf),
    }
}

async fn shake(stream: TcpStream, identity: Arc<Identity>, plain_too: bool) -> io::Result<(Wire, Option<Secured>)> {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MAX: usize = 20;

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from(u32::try_from(number).unwrap()).into()
    }

    /// Whether there is room for one of `number` beside one each of the addresses, all of that age.
    fn room_beside(addresses: impl Iterator<Item = usize>, age_ms: u64, number: usize) -> Room {
        let since = Instant::now();
        let pending: Vec<Pending> = addresses.map(|one| Pending { address: address(one), since }).collect();
        room(&pending, MAX, address(number), since + Duration::from_millis(age_ms))
    }

    #[test]
    fn a_fleet_that_comes_back_at_once_ends_nobody_of_it() {
        assert_eq!(room_beside(0..MAX - 1, 10, 99), Room::There);
        assert_eq!(room_beside(0..MAX, 10, 99), Room::Nowhere);
        // Behind one address, too.
        assert_eq!(room_beside((0..MAX - 1).map(|_| 7), 10, 7), Room::There);
        assert_eq!(room_beside((0..MAX).map(|_| 7), 10, 7), Room::Nowhere);
    }

    #[test]
    fn who_lingers_gives_way() {
        assert_eq!(room_beside(0..MAX, 300, 99), Room::InsteadOf(0));
        assert_eq!(room_beside((0..LINGERING_MAX_PER_ADDRESS).map(|_| 7), 300, 7), Room::InsteadOf(0));
        assert_eq!(room_beside((0..LINGERING_MAX_PER_ADDRESS).map(|_| 7), 300, 8), Room::There);
    }

    #[test]
    fn who_has_many_gives_way_to_who_has_few() {
        assert_eq!(room_beside([1, 2].into_iter().chain((2..MAX).map(|_| 7)), 10, 99), Room::InsteadOf(2));
    }
}
