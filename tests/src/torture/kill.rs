//! The real collector under kill -9 while agents send.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use why502_proto::v1;

use super::{Outcome, Size};
use crate::dice::Dice;
use crate::fleet::Collector;

/// Reports of one agent that may wait for their acknowledgement.
const IN_FLIGHT: u64 = 8;
/// The longest that a collector lives.
const LIFE_MS: u64 = 300;

/// Kills the collector again and again.
pub fn run(size: Size) -> Outcome {
    let (kills, agents) = (size.pick(10, 1000), size.pick(5, 50));
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let acked: Arc<Vec<AtomicU64>> = Arc::new((0..agents).map(|_| AtomicU64::new(0)).collect());
    let mut collector = Collector::start(dir.path(), (0, 0))?;
    let ports = collector.ports();
    let lost = Arc::new(Mutex::new(None));
    for agent in 0..agents {
        runtime.spawn(live(agent, collector.ingest.clone(), acked.clone(), lost.clone()));
    }
    let (mut dice, mut starts) = (Dice::new(9), Vec::new());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.below(LIFE_MS)));
        collector.kill();
        collector = Collector::start(dir.path(), ports)?;
        starts.push(collector.started_in);
    }
    drop(runtime);
    collector.kill();
    if let Some(why) = lost.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(why);
    }
    let acknowledged = check(dir.path(), &acked)?;
    starts.sort();
    let (packed, written) = segments(dir.path());
    let p99 = starts.get(starts.len() * 99 / 100).copied().unwrap_or_default();
    Ok(format!(
        "{kills} kills under {agents} agents: {acknowledged} acknowledged, 0 lost, 0 twice, in {packed} packed segments and \
         {written} others; serving again after p99 {} ms",
        p99.as_millis()
    ))
}

/// Every report that was acknowledged stands in the journal, and none twice.
fn check(dir: &std::path::Path, acked: &[AtomicU64]) -> Result<u64, String> {
    let mut taken: BTreeMap<(String, u64), u32> = BTreeMap::new();
    let read = why502::journal::read(&dir.join("store/journal"), &mut |entry| {
        let record = v1::JournalRecord::decode(entry.payload).unwrap_or_default();
        if let Some(v1::journal_record::Kind::Report(report)) = record.kind {
            *taken.entry((report.host, report.report.map_or(0, |report| report.seq))).or_default() += 1;
        }
    });
    read.map_err(|error| error.to_string())?;
    if let Some(((host, seq), times)) = taken.iter().find(|(_, times)| **times > 1) {
        return Err(format!("report {seq} of {host} was taken {times} times"));
    }
    let mut all = 0;
    for (agent, acked) in acked.iter().enumerate() {
        let up_to = acked.load(SeqCst);
        all += up_to;
        if let Some(seq) = (1..=up_to).find(|seq| !taken.contains_key(&(name(agent), *seq))) {
            return Err(format!("report {seq} of {} was acknowledged and is not there", name(agent)));
        }
    }
    Ok(all)
}

fn name(agent: usize) -> String {
    format!("app-{agent}")
}

/// So large that the collector packs segments between two kills, and may be killed while it does.
fn report(seq: u64) -> v1::Report {
    let note = v1::KernelNote { line: format!("report {seq} ").repeat(300), ..Default::default() };
    let events = vec![v1::Event { at_unix_us: 1, kind: Some(v1::event::Kind::KernelNote(note)) }];
    v1::Report { seq, events, ..Default::default() }
}

/// How many segments are packed, and how many are not.
fn segments(dir: &std::path::Path) -> (usize, usize) {
    let entries = std::fs::read_dir(dir.join("store/journal")).into_iter().flatten().flatten();
    let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    let count = |ending: &str| names.iter().filter(|name| name.to_string_lossy().ends_with(ending)).count();
    (count(".pak"), count(".seg"))
}

/// One agent: sends, connects again, sends again what was not acknowledged.
async fn live(agent: usize, ingest: String, acked: Arc<Vec<AtomicU64>>, lost: Arc<Mutex<Option<String>>>) {
    loop {
        if let Err(why) = connection(agent, &ingest, &acked[agent]).await {
            lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Until the connection ends. An error: the collector has forgotten what it acknowledged.
async fn connection(agent: usize, ingest: &str, acked: &AtomicU64) -> Result<(), String> {
    let Ok(endpoint) = Endpoint::from_shared(ingest.to_owned()) else { return Ok(()) };
    let Ok(channel) = endpoint.connect_timeout(Duration::from_secs(1)).connect().await else { return Ok(()) };
    let (out, messages) = mpsc::channel(IN_FLIGHT as usize + 1);
    let mut sent = acked.load(SeqCst);
    let hello =
        v1::Hello { host: name(agent), boot_id: "b".to_owned(), epoch: 1, next_seq: sent + 1, ..Default::default() };
    let say = |kind| v1::AgentMessage { kind: Some(kind) };
    let _ = out.send(say(v1::agent_message::Kind::Hello(hello))).await;
    let answered = v1::ingest_client::IngestClient::new(channel).stream(ReceiverStream::new(messages)).await;
    let Ok(mut acks) = answered.map(tonic::Response::into_inner) else { return Ok(()) };
    let mut greeted = false;
    while let Ok(Some(v1::CollectorMessage { ack: Some(ack) })) = acks.message().await {
        let before = acked.load(SeqCst);
        if ack.up_to_seq < before && !greeted {
            return Err(format!("{} was acknowledged up to {before}, then up to {}", name(agent), ack.up_to_seq));
        }
        greeted = true;
        acked.fetch_max(ack.up_to_seq, SeqCst);
        sent = sent.max(ack.up_to_seq);
        while sent < acked.load(SeqCst) + IN_FLIGHT {
            sent += 1;
            if out.send(say(v1::agent_message::Kind::Report(report(sent)))).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
