//! The readings in a collector of one's own: each host has a stream, and is done once all is acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use tokio::task::JoinSet;
use why502_proto::v1;

use super::super::stream;
use super::{Cost, INTERVAL, Load, folder_bytes};
use crate::fleet::Collector;
use crate::lab::{Doing, Done};

/// How long packing may take.
const PACKED_WITHIN: Duration = Duration::from_secs(120);

/// Starts one, hands it everything and ends it; then starts it again, so that it packs what it wrote, and ends it.
pub fn keep(load: &Arc<Load>) -> Done<Cost> {
    let dir = tempfile::tempdir().doing("folder")?;
    let before = spent()?;
    let collector = Collector::start(dir.path(), (0, 0))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("start")?;
    runtime.block_on(async {
        let mut all: JoinSet<Done> =
            (0..load.hosts.len()).map(|host| report(load.clone(), host, collector.ingest.clone())).collect();
        while let Some(done) = all.join_next().await {
            done.doing("report")??;
        }
        Done::Ok(())
    })?;
    collector.stop()?;
    let taking = spent()?.saturating_sub(before);
    let store = dir.path().join("store");
    let journal = store.join("journal");
    let written = segments(&journal);
    let collector = Collector::start(dir.path(), (0, 0))?;
    wait_packed(&written)?;
    collector.stop()?;
    let cpu = spent()?.saturating_sub(before);
    let parts =
        [("checkpoint", file_bytes(&journal.join("checkpoint"))), ("past", folder_bytes(&journal.join("past")))];
    let told: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {:.1} MiB", mib(*bytes))).collect();
    let seconds = (taking.as_secs_f64(), cpu.saturating_sub(taking).as_secs_f64());
    println!(
        "why502: {:.1} s of CPU to take, {:.1} to start again and pack; of the bytes {}",
        seconds.0,
        seconds.1,
        told.join(", ")
    );
    Ok(Cost { cpu, bytes: folder_bytes(&store) })
}

/// CPU of every program that was started here and has ended.
fn spent() -> Done<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).doing("CPU time")?;
    let us = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
    Ok(Duration::from_micros(us(usage.user_time()) + us(usage.system_time())))
}

/// The segments that a start has packed: it goes on with a smaller one.
fn segments(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal).into_iter().flatten().flatten().map(|entry| entry.path());
    let written = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "seg");
    entries.filter(written).filter(|path| file_bytes(path) >= 1 << 20).collect()
}

/// Waits until every one of these is packed.
fn wait_packed(segments: &[PathBuf]) -> Done {
    let began = Instant::now();
    while segments.iter().any(|path| path.exists()) {
        if began.elapsed() > PACKED_WITHIN {
            return Err("the collector does not pack its journal".to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Reports all of one host as fast as it is taken.
async fn report(load: Arc<Load>, host: usize, ingest: String) -> Done {
    let host = load.hosts.get(host).ok_or("no such host")?;
    let hello = host.hello(load.began_us.unsigned_abs(), 1, INTERVAL);
    let reports = (1..=load.reports).map(|number| v1::agent_message::Kind::Report(load.report(host, number)));
    stream::tell(ingest, hello, reports, load.reports as u64).await
}
