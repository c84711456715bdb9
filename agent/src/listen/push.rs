//! JSON lines pushed by HTTP, as cloud balancers' log exports and shippers do: any POST or PUT, one object a line or one
//! JSON array of objects, gzip or plain. The answer is 204 once the lines are in the inbox, all of them or none: 503 asks
//! the sender to try again, 400, 413 and 415 say that trying again won't help.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::stream::accept;
use super::{Inbox, SLOW_LIMIT, gzip};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 16;
/// Most lines of a body.
const MAX_LINES: usize = 20_000;
/// Most bytes of a body as it comes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Most bytes of a body once unpacked.
const MAX_UNPACKED_BYTES: usize = 4 << 20;
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// For so long a request's head may be under way; between requests too.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// For so long a push waits for room before it is turned away.
const ROOM_LIMIT: Duration = Duration::from_secs(5);

/// Takes pushes at an address until the socket fails.
pub(super) async fn run(address: SocketAddr, inbox: &Inbox) -> io::Result<Infallible> {
    let listener = TcpListener::bind(address).await?;
    inbox.set_fault(None);
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener, &mut connections, MAX_CONNECTIONS, inbox).await;
        connections.spawn_local(serve(stream, inbox.clone()));
    }
}

async fn serve(stream: TcpStream, inbox: Inbox) {
    let service = service_fn(|request| {
        let inbox = inbox.clone();
        async move { Ok::<_, Infallible>(answer(take(request, &inbox).await, &inbox)) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if served.await.is_err_and(|error| error.is_parse()) {
        inbox.count_cut_sender();
    }
}

fn answer(taken: Result<(), StatusCode>, inbox: &Inbox) -> Response<Empty<Bytes>> {
    let status = taken.err().unwrap_or(StatusCode::NO_CONTENT);
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    match status {
        StatusCode::NO_CONTENT => {}
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("5"));
        }
        _ => inbox.count_cut_sender(),
    }
    response
}

/// Takes the lines of a request, or says with which status not.
async fn take(request: Request<Incoming>, inbox: &Inbox) -> Result<(), StatusCode> {
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let packed = match request.headers().get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    };
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(SLOW_LIMIT, body).await {
        Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => return Err(StatusCode::BAD_REQUEST),
        Ok(Ok(body)) => body.to_bytes(),
    };
    tokio::time::timeout(ROOM_LIMIT, inbox.room()).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    // Only now, and without waiting in between, so that at most one body is held unpacked.
    let unpacked =
        packed.then(|| gzip::unpack(&body, MAX_UNPACKED_BYTES)).transpose().map_err(|fault| match fault {
            gzip::Fault::Damaged => StatusCode::BAD_REQUEST,
            gzip::Fault::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        })?;
    let lines = lines(unpacked.as_deref().unwrap_or(&body)).ok_or(StatusCode::BAD_REQUEST)?;
    if lines.len() > MAX_LINES {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    lines.into_iter().for_each(|line| inbox.put(line));
    Ok(())
}

/// The objects of a body. None: it is an array that is not well formed.
pub fn lines(text: &[u8]) -> Option<Vec<&[u8]>> {
    if text.trim_ascii_start().starts_with(b"[") {
        let objects: Vec<&RawValue> = serde_json::from_slice(text).ok()?;
        return Some(objects.into_iter().map(|object| object.get().as_bytes()).collect());
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    Some(lines.filter(|line| !line.is_empty()).collect())
}
