//! One connection to a collector: the stream of reports out, the stream of acknowledgements in.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::transport::{Channel, Endpoint, Uri};
use why502_proto::v1;
use why502_proto::v1::ingest_client::IngestClient;

use super::pack::Packer;
use crate::resolve::Resolver;

/// Most time to connect and to be let in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A collector that does not answer for this plus `KEEPALIVE_LIMIT` is taken for gone.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Time to answer a keepalive ping.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);
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

/// Connects to the first address of a collector that answers. Its name is looked up here: the C library's own lookup loads
/// plug-ins, which a static program can't.
async fn reach(collector: &str) -> Result<Channel, String> {
    let origin: Uri = collector.parse().map_err(|error| format!("{collector}: {error}"))?;
    let host = origin.host().ok_or_else(|| format!("{collector} names no host"))?;
    let port = origin.port_u16().unwrap_or(80);
    let addresses = Resolver::default().lookup(host, CONNECT_LIMIT).await?;
    let mut failed = format!("{host} has no address");
    for address in addresses {
        let endpoint = Endpoint::from_shared(format!("http://{}", SocketAddr::new(address, port)))
            .map_err(|error| chain(&error))?
            .origin(origin.clone())
            .connect_timeout(CONNECT_LIMIT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_LIMIT)
            .keep_alive_while_idle(true);
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) => failed = chain(&error),
        }
    }
    Err(failed)
}

impl Link {
    /// Connects and says hello.
    pub async fn open(collector: String, hello: v1::Hello) -> Result<Self, String> {
        match tokio::time::timeout(CONNECT_LIMIT, Self::open_unbounded(&collector, hello)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no answer within {} s", CONNECT_LIMIT.as_secs())),
        }
    }

    async fn open_unbounded(collector: &str, hello: v1::Hello) -> Result<Self, String> {
        if collector.starts_with("https://") {
            return Err("https:// is not supported yet: write http://, on a network that you trust".to_owned());
        }
        let channel = reach(collector).await?;
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
        tokio::select! {
            message = self.inbound.message() => match message {
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
            room = self.outbound.reserve(), if wants_room => match room {
                // Given back at once: nobody else sends, so it stays free.
                Ok(_) => Change::Room,
                Err(_) => Change::Lost("the connection broke".to_owned()),
            },
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

/// An error with its causes after colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some layers repeat the words of the one below.
        let says = error.to_string();
        if !text.ends_with(&says) {
            text = format!("{text}: {says}");
        }
        cause = error.source();
    }
    text
}

fn refusal(status: &tonic::Status) -> String {
    use std::error::Error;
    let cause = status.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    format!("{} ({}){cause}", status.message(), status.code())
}
