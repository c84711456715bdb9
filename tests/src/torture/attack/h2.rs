//! HTTP/2 by hand, for clients that do what no library would let them do.

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use why502_proto::v1;

use crate::fleet::Io;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// The call of agents.
const PATH: &str = "/why502.v1.Ingest/Stream";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

/// Opens a call of the agents' service.
pub fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields())
}

/// The same, with fields that go on in further frames for ever.
pub fn open_without_end(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &fields())
}

/// A further piece of them: nothing.
pub fn go_on(stream: u32) -> Vec<u8> {
    frame(CONTINUATION, 0, stream, &[])
}

/// The fields of a call, each as RFC 7541 writes one that is not kept.
fn fields() -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let (post, http, path, authority, content_type, new) = (0x83, 0x86, 0x04, 0x01, [0x0f, 0x10], 0x00);
    [
        vec![post, http, path],
        text(PATH),
        vec![authority],
        text("localhost"),
        content_type.to_vec(),
        text("application/grpc"),
        vec![new],
        text("te"),
        text("trailers"),
    ]
    .concat()
}

/// A message as gRPC frames it.
pub fn message(message: &v1::AgentMessage) -> Vec<u8> {
    framed(0, &prost::Message::encode_to_vec(message))
}

/// Bytes as gRPC frames them, with its mark of compression.
pub fn framed(compressed: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[compressed][..], &length.to_be_bytes(), bytes].concat()
}

/// A connection on which frames are written; what comes back is read away.
pub struct Wire {
    write: WriteHalf<Box<dyn Io>>,
    closed: tokio::task::JoinHandle<()>,
}

impl Wire {
    /// Begins HTTP/2.
    pub async fn begin(stream: Box<dyn Io>) -> std::io::Result<Self> {
        let (read, mut write) = tokio::io::split(stream);
        let closed = tokio::spawn(read_away(read));
        write.write_all(&[PREFACE, &settings()].concat()).await?;
        write.flush().await?;
        Ok(Self { write, closed })
    }

    /// Writes frames. False: the connection is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        !self.closed.is_finished() && self.write.write_all(bytes).await.is_ok() && self.write.flush().await.is_ok()
    }

    /// Waits until the other side closes.
    pub async fn closed(self) {
        // The task does nothing that could fail.
        let _ = self.closed.await;
    }
}

async fn read_away(mut read: ReadHalf<Box<dyn Io>>) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = read.read(&mut bytes).await {}
}
