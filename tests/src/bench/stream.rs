//! One host's stream to a collector, as fast as that takes it.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use why502_proto::v1;

use crate::lab::{Doing, Done};

/// Reports under way of one host.
const WINDOW: usize = 64;

/// Greets, reports all of it, and is done once the report of this number is acknowledged.
pub async fn tell(
    ingest: String,
    hello: v1::Hello,
    reports: impl Iterator<Item = v1::agent_message::Kind>,
    last: u64,
) -> Done {
    let channel = Endpoint::from_shared(ingest).doing("address")?.connect().await.doing("connect")?;
    let (out, messages) = mpsc::channel(WINDOW);
    let message = |kind| v1::AgentMessage { kind: Some(kind) };
    out.send(message(v1::agent_message::Kind::Hello(hello))).await.doing("greet")?;
    let mut client = v1::ingest_client::IngestClient::new(channel);
    let mut acks = client.stream(ReceiverStream::new(messages)).await.doing("greet")?.into_inner();
    let acknowledged = async {
        while let Some(message) = acks.message().await.doing("acknowledgement")? {
            if message.ack.is_some_and(|ack| ack.up_to_seq >= last) {
                return Done::Ok(());
            }
        }
        Err("the stream ended before everything was acknowledged".to_owned())
    };
    let sent = async {
        for report in reports {
            if out.send(message(report)).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(sent, acknowledged).1
}
