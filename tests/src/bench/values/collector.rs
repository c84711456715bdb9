//! The readings in a collector of one's own: each host has a stream, and is done once all is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use why502_proto::v1;

use super::{Cost, INTERVAL, Load, folder_bytes};
use crate::fleet::Collector;
use crate::lab::{Doing, Done};

/// Reports under way of one host.
const WINDOW: usize = 64;

/// Starts one, hands it everything and ends it.
pub fn keep(load: &Arc<Load>) -> Done<Cost> {
    let dir = tempfile::tempdir().doing("folder")?;
    let collector = Collector::start(dir.path(), (0, 0))?;
    let idle = collector.cpu_seconds();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("start")?;
    runtime.block_on(async {
        let mut all: JoinSet<Done> =
            (0..load.hosts.len()).map(|host| report(load.clone(), host, collector.ingest.clone())).collect();
        while let Some(done) = all.join_next().await {
            done.doing("report")??;
        }
        Done::Ok(())
    })?;
    let cpu = Duration::from_secs_f64((collector.cpu_seconds() - idle).max(0.0));
    collector.kill();
    Ok(Cost { cpu, bytes: folder_bytes(&dir.path().join("store")) })
}

/// Reports all of one host as fast as it is taken.
async fn report(load: Arc<Load>, host: usize, ingest: String) -> Done {
    let host = load.hosts.get(host).ok_or("no such host")?;
    let channel = Endpoint::from_shared(ingest).doing("address")?.connect().await.doing("connect")?;
    let (out, messages) = mpsc::channel(WINDOW);
    let message = |kind| v1::AgentMessage { kind: Some(kind) };
    let hello = host.hello(load.began_us.unsigned_abs(), 1, INTERVAL);
    out.send(message(v1::agent_message::Kind::Hello(hello))).await.doing("greet")?;
    let mut client = v1::ingest_client::IngestClient::new(channel);
    let mut acks = client.stream(ReceiverStream::new(messages)).await.doing("greet")?.into_inner();
    let last = load.reports as u64;
    let acknowledged = async {
        while let Some(message) = acks.message().await.doing("acknowledgement")? {
            if message.ack.is_some_and(|ack| ack.up_to_seq >= last) {
                return Done::Ok(());
            }
        }
        Err("the stream ended before everything was acknowledged".to_owned())
    };
    let sent = async {
        for number in 1..=load.reports {
            let report = load.report(host, number);
            if out.send(message(v1::agent_message::Kind::Report(report))).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(sent, acknowledged).1
}
