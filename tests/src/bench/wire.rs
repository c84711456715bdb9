//! A hop between agent and collector that counts the bytes each way and sees when the first report is acknowledged.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use prost::Message;
use why502_proto::v1::CollectorMessage;

use crate::lab::{Doing, Done};

/// What went over the hop.
#[derive(Default)]
pub struct Wire {
    /// Bytes from agent to collector: HTTP/2 with all its frames, without the headers of TCP and IP.
    pub up_bytes: AtomicU64,
    /// Bytes back.
    pub down_bytes: AtomicU64,
    /// When the first report was acknowledged.
    pub first_ack: OnceLock<Instant>,
}

impl Wire {
    /// Listens, and passes each connection on to the collector.
    pub fn to(collector: SocketAddr) -> Done<(SocketAddr, Arc<Self>)> {
        let listener = TcpListener::bind("127.0.0.1:0").doing("listen for the agent")?;
        let at = listener.local_addr().doing("own address")?;
        let wire = Arc::new(Self::default());
        let counted = wire.clone();
        thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                // An agent that finds nobody tries again by itself.
                let _ = counted.clone().pass(agent, collector);
            }
        });
        Ok((at, wire))
    }

    fn pass(self: Arc<Self>, agent: TcpStream, collector: SocketAddr) -> std::io::Result<()> {
        let collector = TcpStream::connect(collector)?;
        agent.set_nodelay(true)?;
        collector.set_nodelay(true)?;
        let (from, to, wire) = (agent.try_clone()?, collector.try_clone()?, self.clone());
        thread::spawn(move || copy(from, to, |bytes| count(&wire.up_bytes, bytes)));
        let mut frames = Frames::default();
        thread::spawn(move || {
            copy(collector, agent, |bytes| {
                count(&self.down_bytes, bytes);
                if self.first_ack.get().is_none() && frames.acknowledged(bytes) {
                    let _ = self.first_ack.set(Instant::now());
                }
            });
        });
        Ok(())
    }
}

fn count(counter: &AtomicU64, bytes: &[u8]) {
    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..read).unwrap_or_default();
        see(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    // Whoever waits for more learns that none comes.
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

/// HTTP/2 frames (RFC 9113, part 4.1) put together from what TCP brings.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    /// Whether one of the frames that are whole by now acknowledges a report.
    fn acknowledged(&mut self, bytes: &[u8]) -> bool {
        const HEADER: usize = 9;
        const DATA: u8 = 0;
        self.0.extend_from_slice(bytes);
        let mut found = false;
        while let Some([a, b, c, kind]) = self.0.first_chunk::<4>() {
            let end = HEADER + u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some(frame) = self.0.get(HEADER..end) else { break };
            // A message of gRPC stands behind one byte of flags and four of length.
            let message =
                frame.get(5..).filter(|_| *kind == DATA).and_then(|bytes| CollectorMessage::decode(bytes).ok());
            found |= message.and_then(|message| message.ack).is_some_and(|ack| ack.up_to_seq > 0);
            self.0.drain(..end);
        }
        found
    }
}
