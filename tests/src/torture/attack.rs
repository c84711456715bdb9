//! A collector under attack while honest hosts report: it must stay small, cut off and name who attacks, and the honest must
//! not notice. How soon they are acknowledged is printed and not judged: attackers, honest hosts and collector share the
//! processors here, which elsewhere they do not. Attackers have threads of their own, so that the honest wait for the collector
//! and not for them.

pub mod descriptors;
pub mod flood;
mod h2;
pub mod half_open;
pub mod names;
pub mod slow;

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use why502_proto::v1;
use why502_proto::v1::agent_message::Kind;

use crate::fleet::{self, Collector, Entrance, Fleet, Host, Wanted, Way};

/// Hosts that report as they should, and how often.
const HONEST: usize = 20;
const INTERVAL: Duration = Duration::from_millis(100);
/// How long they are looked at before the attack.
const CALM: Duration = Duration::from_secs(1);
/// The number of the host that comes in again and again, and of the first attacker.
const NEWCOMER: usize = 1_000;
const ATTACKER: usize = 2_000;
/// Pause after a try to come in that failed.
const RETRY: Duration = Duration::from_millis(200);
/// Nothing takes longer, or it never ends.
const DEADLINE: Duration = Duration::from_secs(30);

/// A collector over TLS and honest hosts before it.
struct Siege {
    runtime: Runtime,
    /// The attackers'.
    hostile: Runtime,
    /// Until the end.
    _dir: tempfile::TempDir,
    collector: Collector,
    entrance: Entrance,
    fleet: Fleet,
    newcomer: Way,
    calm: Latencies,
    resident: u64,
}

/// How soon 99 of 100 reports are acknowledged, and hosts let in.
struct Latencies {
    acknowledged: Duration,
    let_in: Duration,
}

/// What the honest and the collector went through during an attack.
struct Seen {
    during: Latencies,
    grown: u64,
}

impl Siege {
    /// Starts both, and looks at them before the attack.
    fn begin(descriptors: Option<u64>) -> Result<Self, String> {
        fleet::more_descriptors()?;
        let threads = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (runtime, hostile) = (threads(), threads());
        let (runtime, hostile) =
            (runtime.map_err(|error| error.to_string())?, hostile.map_err(|error| error.to_string())?);
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let collector = Collector::start_guarded(dir.path(), descriptors)?;
        let entrance = collector.entrance(dir.path())?;
        let wanted = Wanted {
            hosts: HONEST,
            interval: INTERVAL,
            lasting: Duration::ZERO,
            failures_per_second: 0.0,
            opening: HONEST,
        };
        let newcomer = entrance.way(&Host::new(NEWCOMER).name, NEWCOMER)?;
        let (fleet, calm) = runtime.block_on(async {
            let fleet = Fleet::connect(&wanted, &entrance).await?;
            let calm = look(&fleet, &newcomer, tokio::time::sleep(CALM)).await?.1;
            Ok::<_, String>((fleet, calm))
        })?;
        let resident = collector.resident_bytes();
        Ok(Self { runtime, hostile, _dir: dir, collector, entrance, fleet, newcomer, calm, resident })
    }

    /// Attacks while the honest go on. Nothing of theirs may be lost or wait for ever, no stream of theirs may end, and the
    /// collector must not grow by more than `most` bytes, not even for a moment.
    fn under<T: Send>(
        &self,
        most: u64,
        attack: impl Future<Output = Result<T, String>> + Send,
    ) -> Result<(T, Seen), String> {
        self.collector.forget_peak()?;
        let (done, during) = std::thread::scope(|scope| {
            let (tell, over) = oneshot::channel();
            scope.spawn(|| tell.send(self.hostile.block_on(attack)));
            self.runtime.block_on(look(&self.fleet, &self.newcomer, over))
        })?;
        let done = done.map_err(|_| "the attack broke off")?;
        let (done, grown) = (done?, self.collector.peak_bytes().saturating_sub(self.resident));
        self.runtime.block_on(self.fleet.all_acknowledged(DEADLINE))?;
        match (self.fleet.figures.reconnects(), grown > most) {
            (0, false) => Ok((done, Seen { during, grown })),
            (0, true) => Err(format!("the collector grew by {} MiB, at most {} were meant", grown >> 20, most >> 20)),
            (lost, _) => Err(format!("{lost} streams of honest hosts ended")),
        }
    }

    /// Waits until `why502 status` says of each of these hosts that it was cut off; what it says of the first.
    fn all_named(&self, hosts: &[String]) -> Result<String, String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let status = self.collector.document("/v1/status")?;
            let notices = status["doors"]["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
            let said = |host: &String| {
                let of_host = notices.iter().filter(|one| one["host"].as_str() == Some(host));
                let mut cut_off = of_host.filter_map(|one| one["says"].as_str()?.strip_prefix("was cut off: "));
                cut_off.next().map(str::to_owned)
            };
            match hosts.iter().find(|host| said(host).is_none()) {
                None => return Ok(hosts.first().and_then(said).unwrap_or_default()),
                Some(host) if Instant::now() > end => {
                    return Err(format!("{host} attacked and status does not name it: {notices:?}"));
                }
                Some(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The figures as they are printed.
    fn figures(&self, seen: &Seen) -> String {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let Latencies { acknowledged, let_in } = self.calm;
        format!(
            "honest hosts, p99 before and meanwhile: acknowledged after {:.0} and {:.0} ms, let in after {:.0} and {:.0} ms, \
             none lost; memory {} MiB, at most {:.1} more",
            ms(acknowledged),
            ms(seen.during.acknowledged),
            ms(let_in),
            ms(seen.during.let_in),
            self.resident >> 20,
            seen.grown as f64 / 1_048_576.0
        )
    }
}

/// How soon the honest are answered while something goes on, and until the newcomer of that time is in; one that is never
/// let in is an error.
async fn look<T>(fleet: &Fleet, newcomer: &Way, meanwhile: impl Future<Output = T>) -> Result<(T, Latencies), String> {
    // What was timed before does not count.
    fleet.figures.p99();
    let over = Cell::new(false);
    let going_on = async {
        let done = meanwhile.await;
        over.set(true);
        Ok(done)
    };
    let (done, mut took) = tokio::try_join!(going_on, come_in_until(&over, newcomer))?;
    took.sort_unstable();
    let let_in = took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default();
    Ok((done, Latencies { acknowledged: fleet.figures.p99(), let_in }))
}

/// Comes in again and again, at least once; how long each took.
async fn come_in_until(over: &Cell<bool>, way: &Way) -> Result<Vec<Duration>, String> {
    let (host, mut took) = (Host::new(NEWCOMER), Vec::new());
    while took.is_empty() || !over.get() {
        let began = Instant::now();
        let in_time = tokio::time::timeout(DEADLINE, come_in(way, &host)).await;
        in_time.map_err(|_| "an honest host is never let in".to_owned())?;
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(took)
}

/// Tries until it is let in, as agents do.
async fn come_in(way: &Way, host: &Host) {
    while greet(way, host).await.is_err() {
        tokio::time::sleep(RETRY).await;
    }
}

/// A host's stream that was let in.
struct Greeted {
    out: mpsc::Sender<v1::AgentMessage>,
    acks: Streaming<v1::CollectorMessage>,
    /// The reports that the collector has already.
    up_to: u64,
}

/// Comes in and says hello, until that is answered.
async fn greet(way: &Way, host: &Host) -> Result<Greeted, String> {
    let channel = way.connect().await?;
    let (out, messages) = mpsc::channel(8);
    let hello = Kind::Hello(host.hello(1, 1, Duration::from_secs(1)));
    let refused = |status: Status| format!("{} is not let in: {}", host.name, status.message());
    out.send(v1::AgentMessage { kind: Some(hello) }).await.map_err(|_| "the stream is gone")?;
    let stream = v1::ingest_client::IngestClient::new(channel).stream(ReceiverStream::new(messages)).await;
    let mut acks = stream.map_err(refused)?.into_inner();
    let first = acks.message().await.map_err(refused)?.and_then(|message| message.ack);
    let up_to = first.ok_or_else(|| format!("{} is not answered", host.name))?.up_to_seq;
    Ok(Greeted { out, acks, up_to })
}

impl Greeted {
    /// Sends a message. False: the stream has ended.
    async fn send(&self, kind: Kind) -> bool {
        self.out.send(v1::AgentMessage { kind: Some(kind) }).await.is_ok()
    }

    /// Waits until all reports up to this one are acknowledged, however slowly. False: the stream ended before.
    async fn acknowledged(&mut self, up_to: u64) -> Result<bool, String> {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.acks.message()).await;
            let Ok(Some(message)) = next.map_err(|_| "reports are not acknowledged")? else { return Ok(false) };
            if message.ack.is_some_and(|ack| ack.up_to_seq >= up_to) {
                return Ok(true);
            }
        }
    }

    /// Why it ended.
    async fn end(&mut self) -> Result<Status, String> {
        let ended = async {
            loop {
                match self.acks.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::ok("closed"),
                    Err(status) => return status,
                }
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.map_err(|_| "the stream never ends".to_owned())
    }
}
