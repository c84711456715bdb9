//! One GET over a connection that is open already.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::Stream;
use super::wire::{Noted, Notes};
use crate::gateway::Signal;

/// How the agent names itself.
const AGENT: &str = concat!("why502-agent/", env!("CARGO_PKG_VERSION"));

/// hyper's words for a header over its limits; its own test for that exists on the server's side only.
const TOO_LARGE: &str = "head is too large";

/// What to ask.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The path with its leading slash.
    pub path: &'a str,
    /// The Host header.
    pub host: &'a str,
    /// Keep the connection open after the answer.
    pub keep_alive: bool,
    /// Most bytes of the body that are kept; more are read over only up to sixteen times as many.
    pub body_limit_bytes: usize,
    /// Time for the whole exchange.
    pub limit: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// From the request to the first byte.
    pub first_byte: Duration,
    /// Length of status line and header fields as HTTP/1.1 writes them, bytes.
    pub header_bytes: u64,
    /// The body's beginning.
    pub body: Vec<u8>,
    /// The time ran out before so much of the body had come as is read.
    pub stalled: bool,
    /// Bytes that came, header and body.
    pub received_bytes: u64,
    /// The connection, where the whole body came and the peer keeps it open.
    pub idle: Option<Idle>,
}

/// No answer, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    /// What a gateway would call it.
    pub signal: Signal,
    /// In words.
    pub says: String,
    /// To the first byte, where one came.
    pub first_byte: Option<Duration>,
    /// The first bytes are those of TLS.
    pub speaks_tls: bool,
    /// Bytes that came.
    pub received_bytes: u64,
}

impl NoAnswer {
    /// One that came before the request could be sent.
    pub fn new(signal: Signal, says: String) -> Self {
        Self { signal, says, first_byte: None, speaks_tls: false, received_bytes: 0 }
    }
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub struct Idle {
    /// Kept, for the connection ends with it.
    _sender: SendRequest<Empty<Bytes>>,
    driver: Driver,
}

impl Idle {
    /// Waits until the peer closes it.
    pub async fn closed(mut self) {
        // Whether it ended by a close or a reset: it is gone.
        let _ = (&mut self.driver.0).await;
    }
}

/// The task that reads and writes; it ends with its owner.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks, and reads the answer's header and the beginning of its body.
pub async fn get(stream: Stream, ask: &Ask<'_>) -> Result<Answer, NoAnswer> {
    let began = Instant::now();
    let (io, notes) = Noted::new(stream);
    match tokio::time::timeout(ask.limit, exchange(io, ask, began, &notes)).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(&notes, began, Signal::ReadTimeout, format!("no answer within {:?}", ask.limit))),
    }
}

async fn exchange(io: Noted, ask: &Ask<'_>, began: Instant, notes: &Notes) -> Result<Answer, NoAnswer> {
    let request = Request::get(ask.path)
        .header(HOST, ask.host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, if ask.keep_alive { "keep-alive" } else { "close" })
        .body(Empty::new())
        .map_err(|error| no_answer(notes, began, Signal::Unknown, format!("can't be asked: {error}")))?;
    let failed = |error: hyper::Error| failure(notes, began, &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
    let driver = Driver(tokio::spawn(async move {
        // Its error reaches the request, too.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(failed)?;
    let first_byte = notes.seen().first_at.map_or_else(|| began.elapsed(), |at| at.duration_since(began));
    let status = response.status().as_u16();
    let header_bytes = header_bytes(&response);
    let left = ask.limit.saturating_sub(began.elapsed());
    let (body, end) = body(response, ask.body_limit_bytes, left).await;
    let idle = if end == End::Whole && ask.keep_alive { reusable(sender, driver).await } else { None };
    let received_bytes = notes.seen().received_bytes;
    Ok(Answer { status, first_byte, header_bytes, body, stalled: end == End::Stalled, received_bytes, idle })
}

/// The connection once it can take another request; none where the peer asked for its end.
async fn reusable(mut sender: SendRequest<Empty<Bytes>>, driver: Driver) -> Option<Idle> {
    sender.ready().await.ok()?;
    Some(Idle { _sender: sender, driver })
}

/// How the reading of a body ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// It broke off, or more came than is read.
    Cut,
    Stalled,
}

/// The body's beginning and how its reading ended. A body that breaks off or stalls does not undo the answer.
async fn body(response: Response<Incoming>, limit_bytes: usize, limit: Duration) -> (Vec<u8>, End) {
    let mut kept = Vec::new();
    let mut read_bytes = 0;
    let mut body = response.into_body();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return End::Cut };
            let Some(data) = frame.data_ref() else { continue };
            read_bytes += data.len();
            kept.extend(data.iter().take(limit_bytes.saturating_sub(kept.len())));
            if read_bytes > limit_bytes.saturating_mul(16) {
                return End::Cut;
            }
        }
        End::Whole
    };
    // A little less than what is left, so that an answer whose body stalls is still told as an answer.
    let end = tokio::time::timeout(limit.mul_f32(0.9), reading).await.unwrap_or(End::Stalled);
    (kept, end)
}

fn header_bytes(response: &Response<Incoming>) -> u64 {
    let reason = response.status().canonical_reason().map_or(0, str::len);
    let fields: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    // "HTTP/1.1 200 " and the ends of the status line and of the header.
    (13 + reason + 2 + fields + 2) as u64
}

fn failure(notes: &Notes, began: Instant, error: &hyper::Error) -> NoAnswer {
    let seen = notes.seen();
    let signal = if error.is_parse() && error.to_string().contains(TOO_LARGE) {
        Signal::HeaderTooBig
    } else if error.is_parse() && seen.is_http() {
        Signal::HeaderInvalid
    } else if error.is_parse() {
        Signal::ResponseInvalid
    } else {
        seen.ending()
    };
    no_answer(notes, began, signal, in_words(error))
}

fn no_answer(notes: &Notes, began: Instant, signal: Signal, says: String) -> NoAnswer {
    let seen = notes.seen();
    let first_byte = seen.first_at.map(|at| at.duration_since(began));
    NoAnswer { signal, says, first_byte, speaks_tls: seen.is_tls(), received_bytes: seen.received_bytes }
}

/// An error with its causes, in a line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let says = next.to_string();
        if !words.contains(&says) {
            words = format!("{words}: {says}");
        }
        cause = next.source();
    }
    words
}
