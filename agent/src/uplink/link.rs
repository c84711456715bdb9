//! One connection to a collector: the stream of reports out, the stream of acknowledgements in.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use why502_proto::v1;
use why502_proto::v1::ingest_client::IngestClient;

use super::pack::Packer;
use crate::identity::{CONNECT_LIMIT, Identity, reach, refusal};

/// How long a connection that broke is listened to for the reason.
const LAST_WORD: Duration = Duration::from_millis(200);
/// Messages between the uplink and the connection; the spool holds the rest.
const OUTBOUND: usize = 4;
/// The largest message sent, bytes: what collectors take.
const MAX_SENT_BYTES: usize = 256 * 1024;
/// The largest message taken, bytes: acknowledgements are small.
const MAX_TAKEN_BYTES: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub struct Link {
    outbound: mpsc::Sender<v1::AgentMessage>,
    inbound: Streaming<v1::CollectorMessage>,
    /// Packs reports, once the collector has said that it takes packed ones.
    packer: Option<Packer>,
}

/// What a connection brings.
#[derive(Debug)]
pub enum Change {
    /// There is room for one more message.
    Room,
    /// The collector acknowledged.
    Ack(v1::Ack),
    /// It is lost; why.
    Lost(String),
}

impl Link {
    /// Connects and says hello.
    pub async fn open(collector: String, identity: Identity, hello: v1::Hello) -> Result<Self, String> {
        match tokio::time::timeout(CONNECT_LIMIT, Self::open_unbounded(&collector, &identity, hello)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
        }
    }

    async fn open_unbounded(collector: &str, identity: &Identity, hello: v1::Hello) -> Result<Self, String> {
        let channel = reach(collector, identity).await?;
        let mut client = IngestClient::new(channel)
            .max_encoding_message_size(MAX_SENT_BYTES)
            .max_decoding_message_size(MAX_TAKEN_BYTES);
        let (outbound, messages) = mpsc::channel(OUTBOUND);
        // Before the call: a collector may read the hello before it lets the agent in.
        let hello = v1::AgentMessage { kind: Some(v1::agent_message::Kind::Hello(hello)) };
        outbound.try_send(hello).map_err(|error| error.to_string())?;
        let inbound =
            client.stream(ReceiverStream::new(messages)).await.map_err(|status| refusal(&status))?.into_inner();
        Ok(Self { outbound, inbound, packer: None })
    }

    /// The next thing that happens; room is of interest only where there is something to send.
    pub async fn next(&mut self, wants_room: bool) -> Change {
        let room = tokio::select! {
            message = self.inbound.message() => return match message {
                Ok(Some(message)) => match message.ack {
                    Some(ack) => {
                        if ack.takes_packed {
                            self.packer.get_or_insert_default();
                        }
                        Change::Ack(ack)
                    }
                    None => Change::Lost("it sent an empty message".to_owned()),
                },
                Ok(None) => Change::Lost("it ended the stream".to_owned()),
                Err(status) => Change::Lost(refusal(&status)),
            },
            // Given back at once: nobody else sends, so it stays free.
            room = self.outbound.reserve(), if wants_room => room.is_ok(),
        };
        if room { Change::Room } else { self.why_lost().await }
    }

    /// A collector that ends a stream says why; that may lie unread where sending fails first.
    async fn why_lost(&mut self) -> Change {
        match tokio::time::timeout(LAST_WORD, self.inbound.message()).await {
            Ok(Err(status)) => Change::Lost(refusal(&status)),
            _ => Change::Lost("the connection broke".to_owned()),
        }
    }

    /// Sends a report. False: there was no room after all.
    pub fn send(&mut self, report: v1::Report) -> bool {
        let kind = match &mut self.packer {
            Some(packer) => v1::agent_message::Kind::Packed(packer.pack(&report)),
            None => v1::agent_message::Kind::Report(report),
        };
        self.outbound.try_send(v1::AgentMessage { kind: Some(kind) }).is_ok()
    }
}
