//! Reports that come again and again and out of order: what is taken is what a clean run takes.

use prost::Message;
use why502::engine::{Engine, Handle, Refusal};
use why502::journal::{self, Options};
use why502::wire::{self, Incoming, Numbering};
use why502_proto::v1;

use super::{Outcome, Size, folder};
use crate::dice::Dice;

const HOSTS: u64 = 20;

/// Sends each report several times in a random order, and compares with having sent each once.
pub fn run(size: Size) -> Outcome {
    let submissions = size.pick(20_000, 1_000_000);
    let per_host = submissions / HOSTS / 5;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let clean = runtime.block_on(taken(per_host, false, submissions))?;
    let torn = runtime.block_on(taken(per_host, true, submissions))?;
    if clean.records != torn.records {
        return Err(format!("{} bytes from the clean run, {} from the other", clean.records.len(), torn.records.len()));
    }
    Ok(format!(
        "{} reports submitted {} times, {} refused as too early, {} as taken before: the records are byte for byte the \
         same, {} bytes",
        per_host * HOSTS,
        torn.submitted,
        torn.early,
        torn.submitted - torn.early - per_host * HOSTS,
        torn.records.len()
    ))
}

struct Taken {
    /// Every record without its time of receipt, by host.
    records: Vec<u8>,
    submitted: u64,
    early: u64,
}

async fn taken(per_host: u64, torn: bool, submissions: u64) -> Result<Taken, String> {
    let dir = folder()?;
    let engine = Engine::open(dir.path(), Options::default()).map_err(|error| error.to_string())?;
    let (handle, end) = engine.spawn().map_err(|error| error.to_string())?;
    let (submitted, early) = match torn {
        true => submit_torn(&handle, per_host, submissions).await?,
        false => submit_clean(&handle, per_host).await?,
    };
    handle.stop().await;
    end.await.map_err(|_| "the engine died")??;
    let mut by_host = vec![Vec::new(); HOSTS as usize];
    let read = journal::read(dir.path(), &mut |entry| {
        let Ok(mut record) = v1::JournalRecord::decode(entry.payload) else { return };
        record.received_unix_us = 0;
        if let Some(v1::journal_record::Kind::Report(report)) = &record.kind
            && let Some(host) = report.host.strip_prefix("app-").and_then(|number| number.parse::<usize>().ok())
        {
            by_host[host].extend_from_slice(&record.encode_to_vec());
        }
    });
    read.map_err(|error| error.to_string())?;
    Ok(Taken { records: by_host.concat(), submitted, early })
}

fn report(host: u64, seq: u64) -> Result<Incoming, String> {
    let numbering = Numbering { host: format!("app-{host}"), boot_id: "b".to_owned(), epoch: 1 };
    let sample = v1::HostSample { at_unix_us: seq as i64, load1: Some(seq as f64), ..Default::default() };
    let report = v1::Report { seq, host: Some(sample), ..Default::default() };
    wire::report(&numbering, report).map_err(|error| error.to_string())
}

async fn submit_clean(handle: &Handle, per_host: u64) -> Result<(u64, u64), String> {
    for seq in 1..=per_host {
        for host in 0..HOSTS {
            handle.take(report(host, seq)?).await.map_err(|refusal| refusal.to_string())?;
        }
    }
    Ok((per_host * HOSTS, 0))
}

async fn submit_torn(handle: &Handle, per_host: u64, submissions: u64) -> Result<(u64, u64), String> {
    let mut dice = Dice::new(502);
    let mut up_to = vec![0; HOSTS as usize];
    let (mut submitted, mut early) = (0, 0);
    while submitted < submissions || up_to.iter().any(|up_to| *up_to < per_host) {
        let host = dice.below(HOSTS);
        let done: u64 = up_to[host as usize];
        // One of those near the next: mostly taken before, sometimes it, sometimes too early.
        let seq = (done + 3).saturating_sub(dice.below(8)).clamp(1, per_host);
        submitted += 1;
        match handle.take(report(host, seq)?).await {
            Ok(taken) if taken.up_to >= done => up_to[host as usize] = taken.up_to,
            Ok(taken) => return Err(format!("acknowledged {}, then {done}", taken.up_to)),
            Err(Refusal::Gap { awaited }) if awaited == done + 1 => early += 1,
            Err(refusal) => return Err(refusal.to_string()),
        }
    }
    Ok((submitted, early))
}
