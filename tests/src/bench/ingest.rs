//! `bench ingest`: how many readings of processes one core of the collector takes: over gRPC, in the journal, synced, and folded.
//!
//! Hosts of many watched processes report as agents do, packed. Every reading that counts stands in a report with all its fields;
//! of the fields that did not change since the report before, nothing goes over the wire but that they are to be copied. All
//! is made and packed before the collector is asked to take it, so that it is kept busy.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use prost::Message;
use tokio::task::JoinSet;
use why502_agent::uplink::pack::Packer;
use why502_proto::v1;

use super::{Options, meter, stream};
use crate::fleet::{Collector, Host, now_us};
use crate::lab::{Doing, Done};

/// Hosts, and reports of each: what a host may send at once (4 MiB of whole reports) is not used up.
const USUAL: (usize, usize) = (100, 200);
/// Between two reports of a host.
const INTERVAL: Duration = Duration::from_secs(1);
/// Services of a host, and processes of each: no more than 16 of one are ever told.
const SERVICES: u32 = 20;
const PROCESSES: u32 = 12;
/// The first process.
const PID: u32 = 4_000;

/// One host's side of it.
struct Told {
    hello: v1::Hello,
    reports: Vec<v1::PackedReport>,
}

/// Has a collector take the readings of a fleet.
pub fn run(arguments: &[String]) -> Done<ExitCode> {
    let options = Options::parse(arguments, &["hosts", "reports"])?;
    let (hosts, reports) = (options.number("hosts", USUAL.0)?, options.number("reports", USUAL.1)?);
    let all: Vec<Told> =
        (0..).map(Host::new).filter(|host| !host.is_gateway()).take(hosts).map(|host| told(&host, reports)).collect();
    let each = SERVICES * PROCESSES;
    let samples = hosts as u64 * reports as u64 * u64::from(each);
    let wire: usize = all.iter().flat_map(|one| &one.reports).map(Message::encoded_len).sum();
    println!("{hosts} hosts, {reports} reports of each, {each} processes in a report: {samples} process samples sent");
    let dir = tempfile::tempdir().doing("folder")?;
    let collector = Collector::start(dir.path(), (0, 0))?;
    let spent = || meter::cpu(collector.pid()).ok_or("the collector has ended");
    let (before, began) = (spent()?, Instant::now());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("start")?;
    let last = reports as u64;
    runtime.block_on(async {
        let tell = |one: Told| {
            let reports = one.reports.into_iter().map(v1::agent_message::Kind::Packed);
            stream::tell(collector.ingest.clone(), one.hello, reports, last)
        };
        let mut streams: JoinSet<Done> = all.into_iter().map(tell).collect();
        while let Some(done) = streams.join_next().await {
            done.doing("report")??;
        }
        Done::Ok(())
    })?;
    let (wall, cpu) = (began.elapsed(), spent()?.saturating_sub(before));
    let count = samples as f64;
    println!(
        "acknowledged: all {samples}, in {:.1} s, with {:.1} s of the collector's CPU",
        wall.as_secs_f64(),
        cpu.as_secs_f64()
    );
    println!("process samples a second per core: {:.0}", count / cpu.as_secs_f64().max(f64::MIN_POSITIVE));
    println!("on the wire: {:.1} bytes a process sample, all else of the reports counted", wire as f64 / count);
    println!("memory at the end: {} MiB", meter::rss_bytes(collector.pid()) >> 20);
    collector.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// All that a host sends, as if the last of it were of now.
fn told(host: &Host, reports: usize) -> Told {
    let began_us = now_us() - i64::try_from(reports).unwrap_or(0) * 1_000_000;
    let mut packer = Packer::default();
    let report = |number: usize| {
        let seq = number as u64;
        let at_unix_us = began_us + i64::try_from(number).unwrap_or(0) * 1_000_000;
        let mut report =
            v1::Report { seq, at_unix_us, collector_offset_us: Some(0), ..host.sample(seq, INTERVAL, PID) };
        report.host.iter_mut().for_each(|sample| sample.at_unix_us = at_unix_us);
        report.events.iter_mut().for_each(|event| event.at_unix_us = at_unix_us);
        report.instances = (0..SERVICES).map(|service| instance(seq, service, at_unix_us)).collect();
        report
    };
    let reports = (1..=reports).map(|number| packer.pack(&report(number))).collect();
    Told { hello: host.hello(began_us.unsigned_abs(), 1, INTERVAL), reports }
}

fn instance(tick: u64, service: u32, at_unix_us: i64) -> v1::InstanceSample {
    let first = PID + service * PROCESSES;
    v1::InstanceSample {
        service: format!("service-{service}"),
        at_unix_us,
        process_count: PROCESSES,
        processes: (0..PROCESSES).map(|child| process(tick, first, child)).collect(),
        listeners_known: true,
        unit: format!("service-{service}.service"),
        ..Default::default()
    }
}

/// One process in four did something in a second and has other readings than before; the others slept.
fn process(tick: u64, first: u32, child: u32) -> v1::ProcessSample {
    let pid = first + child;
    let turn = tick + u64::from(pid);
    let busy = turn.is_multiple_of(4);
    v1::ProcessSample {
        pid,
        parent_pid: if child == 0 { 1 } else { first },
        started_unix_us: 1_700_000_000_000_000 + i64::from(pid),
        name: "worker".to_owned(),
        state: "S".to_owned(),
        cpu_ratio: Some(if busy { (turn % 97) as f64 / 970.0 } else { 0.0 }),
        run_delay_ratio: Some(if busy { (turn % 13) as f64 / 9_000.0 } else { 0.0 }),
        rss_bytes: (60 << 20) + turn / 4 % 32 * 4096,
        threads: 11,
        fds: Some(40 + (turn / 4 % 9) as u32),
        fd_limit: Some(65_536),
        leader: child == 0,
        ..Default::default()
    }
}
