//! The agents' front door. A stream begins with a hello that names its host; then reports come in the order of their
//! numbers and are answered once they are durable. Acknowledgements are cumulative, so several may be folded into one.
//! A second stream of a host replaces the first. What does not keep to the rules ends its stream with a status that
//! says why; nothing that an agent sends can end anything else. It keeps nothing but the list of
//! open streams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;
use why502_proto::v1;

use crate::doors::Notices;
use crate::engine::{Handle, Refusal, Taken};
use crate::identity::enrolment;
use crate::identity::origin::{Origin, Pass};
use crate::model::{CONNECTION_LOST, FELL_IDLE};
use crate::wire::{self, Numbering, Sent, Unpacker};

mod names;
mod pace;
mod share;
mod streams;

use names::Names;
pub use pace::paced;
use share::Share;
use streams::{Entered, Streams};

/// Largest message of an agent, bytes.
pub const MESSAGE_MAX: usize = 256 << 10;
/// How long a stream may be open without a hello: it hears why it ends before its connection is closed.
const HELLO_WAIT: Duration = Duration::from_secs(5);
/// How long a stream may be silent beside twice its agent's interval.
const IDLE: Duration = Duration::from_secs(60);
/// Longest interval that lengthens it.
const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// How long an agent may leave its acknowledgements unread.
const UNREAD: Duration = Duration::from_secs(30);
/// Reports of one stream that may wait for the engine at once.
const IN_FLIGHT: usize = 16;
/// They are no more than these bytes and one report: what is large makes nobody else wait for long.
const IN_FLIGHT_BYTES: usize = MESSAGE_MAX / 2;
/// What a loaded collector asks its agents to wait.
const PAUSE: Duration = Duration::from_millis(500);

type Acks = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

/// A report that waits for the engine.
struct Pending {
    /// When its agent sent it, by the agent's clock.
    echo_us: i64,
    bytes: usize,
    answer: oneshot::Receiver<Result<Taken, Refusal>>,
}

/// The ingest service.
pub struct Ingest {
    engine: Handle,
    streams: Arc<Streams>,
    closing: watch::Receiver<bool>,
}

impl Ingest {
    /// A service that hands reports to the engine until `closing` turns true, and tells of names that two machines use.
    pub fn new(engine: Handle, notices: Arc<Notices>, closing: watch::Receiver<bool>) -> Self {
        Self { engine, streams: Arc::new(Streams::new(notices)), closing }
    }
}

#[tonic::async_trait]
impl v1::ingest_server::Ingest for Ingest {
    type StreamStream = ReceiverStream<Result<v1::CollectorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let origin = enrolment::origin(&request)?;
        let peer = origin.address.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        let (acks, out) = mpsc::channel(4);
        let (engine, streams, closing) = (self.engine.clone(), self.streams.clone(), self.closing.clone());
        tokio::spawn(async move {
            let inbound = request.into_inner();
            let unpacker = Unpacker::default();
            let mut session = Session { engine, acks, closing, inbound, unpacker, names: Names::default() };
            if let Err(refused) = session.run(&streams, &origin, &peer).await {
                info!("agent at {peer}: stream ended: {:?}", refused.message());
                let _ = tokio::time::timeout(UNREAD, session.acks.send(Err(refused))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

struct Session {
    engine: Handle,
    acks: Acks,
    closing: watch::Receiver<bool>,
    inbound: Streaming<v1::AgentMessage>,
    unpacker: Unpacker,
    names: Names,
}

/// A host that was let in.
struct Guest<'a> {
    numbering: &'a Numbering,
    peer: &'a str,
    streams: &'a Streams,
    /// How long it may be silent.
    idle: Duration,
    replaced: oneshot::Receiver<()>,
    pass: Pass,
    share: Share,
    /// Nothing is read from it until then.
    held_until: Option<Instant>,
}

impl Guest<'_> {
    /// Takes what it sent off its share.
    fn spend(&mut self, bytes: usize) {
        let Some(spell) = self.share.spend(bytes, Instant::now()) else { return };
        self.held_until = Some(spell.until);
        if spell.untold {
            self.streams.slowed(&self.numbering.host, self.peer);
        }
    }
}

/// How a stream ended.
enum End {
    Closed,
    Lost,
    Idle,
    Unread,
    Replaced,
    Stopping,
    Refused(Status),
    /// What the agent sent does not keep to the rules.
    Fault(Status),
}

impl End {
    fn words(&self) -> &'static str {
        match self {
            Self::Closed => "closed by agent",
            Self::Lost => CONNECTION_LOST,
            Self::Idle => FELL_IDLE,
            Self::Unread => "acknowledgements not read",
            Self::Replaced => "replaced by a newer stream",
            Self::Stopping => "collector stopping",
            Self::Refused(_) => "refused",
            Self::Fault(_) => "cut off",
        }
    }

    fn status(self) -> Result<(), Status> {
        match self {
            Self::Closed | Self::Lost => Ok(()),
            Self::Refused(status) | Self::Fault(status) => Err(status),
            Self::Replaced => Err(Status::aborted("a newer stream of this host replaced this one")),
            Self::Stopping => Err(Status::unavailable("the collector is stopping")),
            Self::Idle | Self::Unread => Err(Status::deadline_exceeded(self.words())),
        }
    }
}

impl Session {
    async fn run(&mut self, streams: &Streams, origin: &Origin, peer: &str) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO_WAIT, self.inbound.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("no hello in time"))??;
        let Some(v1::AgentMessage { kind: Some(v1::agent_message::Kind::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let (echo_us, interval_us) = (hello.at_unix_us, hello.interval_us);
        let numbering = wire::numbering(&hello);
        let hello = wire::hello(hello).map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        let pass = origin.pass(&numbering.host).map_err(|why| streams.turn_away(&numbering.host, peer, why))?;
        // Before the agent hears that it is over, the connection may go.
        let _held = origin.stay.hold();
        let Entered { id, replaced, share } = streams.enter(&numbering, peer);
        let idle = idle_limit(interval_us);
        let mut guest = Guest { numbering: &numbering, peer, streams, idle, replaced, pass, share, held_until: None };
        let end = match self.engine.take(hello).await {
            Ok(taken) => {
                info!("agent of {:?} connected from {peer}, taken up to {}", numbering.host, taken.up_to);
                match self.acknowledge(taken, echo_us).await {
                    Ok(()) => self.reports(&mut guest).await,
                    Err(end) => end,
                }
            }
            Err(refusal) => End::Refused(status(&refusal)),
        };
        if let End::Fault(why) = &end {
            guest.share.forfeit(Instant::now());
            streams.cut_off(&numbering.host, peer, why.message());
        }
        if streams.leave(&numbering.host, id) {
            info!("stream of {:?} ended: {}", numbering.host, end.words());
            self.engine.tell(wire::stream_ended(&numbering.host, end.words())).await;
        }
        end.status()
    }

    /// Takes reports until the stream ends.
    async fn reports(&mut self, guest: &mut Guest<'_>) -> End {
        let mut waiting: VecDeque<Pending> = VecDeque::new();
        let mut closing = self.closing.clone();
        let mut open = true;
        while open || !waiting.is_empty() {
            let room = open && guest.held_until.is_none() && has_room(&waiting);
            tokio::select! {
                message = tokio::time::timeout(guest.idle, self.inbound.message()), if room => {
                    match self.accept(guest, message, &mut waiting).await {
                        Ok(true) => {}
                        Ok(false) => open = false,
                        Err(end) => return end,
                    }
                }
                answer = first_answer(&mut waiting), if !waiting.is_empty() => {
                    if let Err(end) = self.settle(answer, &mut waiting).await {
                        return end;
                    }
                }
                () = over(guest.held_until), if open => guest.held_until = None,
                _ = &mut guest.replaced => return End::Replaced,
                () = closed(&mut closing) => return End::Stopping,
                why = guest.pass.over() => return End::Refused(Status::permission_denied(why)),
            }
        }
        End::Closed
    }

    /// Hands a message to the engine. False: the agent has closed its side.
    async fn accept(
        &mut self,
        guest: &mut Guest<'_>,
        message: Result<Result<Option<v1::AgentMessage>, Status>, tokio::time::error::Elapsed>,
        waiting: &mut VecDeque<Pending>,
    ) -> Result<bool, End> {
        let message = match message {
            Err(_) => return Err(End::Idle),
            Ok(Err(status)) if is_fault_of_agent(&status) => return Err(End::Fault(status)),
            Ok(Err(_)) => return Err(End::Lost),
            Ok(Ok(None)) => return Ok(false),
            Ok(Ok(Some(message))) => message,
        };
        let refused = |refused: wire::Refused| End::Fault(Status::invalid_argument(refused.to_string()));
        let sent = match message.kind {
            Some(v1::agent_message::Kind::Report(report)) => Sent::from(report),
            Some(v1::agent_message::Kind::Packed(packed)) => self.unpacker.unpack(&packed).map_err(refused)?,
            Some(v1::agent_message::Kind::Hello(_)) | None => {
                return Err(End::Fault(Status::invalid_argument("after the hello only reports may come")));
            }
        };
        self.names.take(sent.report()).map_err(End::Fault)?;
        let echo_us = sent.report().at_unix_us;
        let report = wire::report(guest.numbering, sent).map_err(refused)?;
        let bytes = report.encoded_len();
        guest.spend(bytes);
        waiting.push_back(Pending { echo_us, bytes, answer: self.engine.submit(report).await });
        Ok(true)
    }

    /// Acknowledges the first answer and all that came with it.
    async fn settle(
        &mut self,
        (mut echo_us, first): (i64, Result<Taken, Refusal>),
        waiting: &mut VecDeque<Pending>,
    ) -> Result<(), End> {
        let mut taken = first.map_err(|refusal| End::Refused(status(&refusal)))?;
        let mut refused = None;
        while let Some(next) = waiting.front_mut() {
            match next.answer.try_recv() {
                Ok(Ok(newer)) => (taken, echo_us) = (newer, next.echo_us),
                Ok(Err(refusal)) => refused = Some(refusal),
                Err(_) => break,
            }
            waiting.pop_front();
        }
        self.acknowledge(taken, echo_us).await?;
        refused.map_or(Ok(()), |refusal| Err(End::Refused(status(&refusal))))
    }

    async fn acknowledge(&mut self, taken: Taken, echo_unix_us: i64) -> Result<(), End> {
        let Taken { up_to: up_to_seq, received_us: at_unix_us, missed_some } = taken;
        let pause_us = if self.engine.loaded() { PAUSE.as_micros() as u64 } else { 0 };
        let ack = v1::Ack { up_to_seq, at_unix_us, pause_us, echo_unix_us, takes_packed: true, missed_some };
        match tokio::time::timeout(UNREAD, self.acks.send(Ok(v1::CollectorMessage { ack: Some(ack) }))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Lost),
            Err(_) => Err(End::Unread),
        }
    }
}

/// Whether one more report may be read while these wait.
fn has_room(waiting: &VecDeque<Pending>) -> bool {
    waiting.len() < IN_FLIGHT && waiting.iter().map(|one| one.bytes).sum::<usize>() < IN_FLIGHT_BYTES
}

/// Done at a time; without one, never.
async fn over(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The answer to the report that has waited longest. It stays in the list until it is there, so that waiting for it
/// may be broken off.
async fn first_answer(waiting: &mut VecDeque<Pending>) -> (i64, Result<Taken, Refusal>) {
    match waiting.front_mut() {
        Some(first) => {
            let answered = (first.echo_us, (&mut first.answer).await.unwrap_or(Err(Refusal::Stopped)));
            waiting.pop_front();
            answered
        }
        None => std::future::pending().await,
    }
}

/// Done once the collector stops.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

fn idle_limit(interval_us: u64) -> Duration {
    IDLE + 2 * Duration::from_micros(interval_us).min(INTERVAL_MAX)
}

/// Whether the agent sent something wrong, as against a connection that broke.
fn is_fault_of_agent(status: &Status) -> bool {
    use tonic::Code;
    let faults =
        [Code::OutOfRange, Code::InvalidArgument, Code::ResourceExhausted, Code::Unimplemented, Code::DeadlineExceeded];
    let unreadable = || ["decode", "compress"].iter().any(|what| status.message().contains(what));
    faults.contains(&status.code()) || (status.code() == Code::Internal && unreadable())
}

fn status(refusal: &Refusal) -> Status {
    let words = refusal.to_string();
    match refusal {
        Refusal::Gap { .. } => Status::out_of_range(words),
        Refusal::Full | Refusal::TooManyHosts => Status::resource_exhausted(words),
        Refusal::TooLarge => Status::invalid_argument(words),
        Refusal::Stopped => Status::unavailable(words),
    }
}
