//! A generated fleet in front of a collector.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use why502::view::parse_duration;
use why502_tests::fleet::{self, Collector, Wanted};

const USAGE: &str = "\
usage: fleet [--hosts N] [--interval 1s] [--for 60s] [--failures N_PER_SECOND] [--collector URL [--api URL]]

Without --collector it starts one of its own, and besides what the hosts see it measures that one's memory and CPU, the
time of its answers while they go on reporting, and how long it takes from kill -9 and a new start until it serves again.";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("fleet: {fault}");
            ExitCode::from(2)
        }
    }
}

struct Arguments {
    wanted: Wanted,
    collector: Option<String>,
    api: String,
}

fn run(arguments: &[String]) -> Result<(), String> {
    if why502_tests::told_usage(arguments, USAGE) {
        return Ok(());
    }
    let Arguments { wanted, collector, api } = parse(arguments)?;
    fleet::more_descriptors()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("start: {error}"))?;
    match collector {
        Some(ingest) => {
            print!("{}", runtime.block_on(fleet::run(&wanted, &ingest, &api))?.figures);
            Ok(())
        }
        None => measure(&runtime, &wanted),
    }
}

/// A collector of its own, measured.
fn measure(runtime: &tokio::runtime::Runtime, wanted: &Wanted) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| format!("temporary folder: {error}"))?;
    let collector = Collector::start(dir.path(), (0, 0))?;
    let empty = collector.resident_bytes();
    let fleet = runtime.block_on(fleet::run(wanted, &collector.ingest, &collector.api))?;
    print!("{}", fleet.figures);
    let grown = collector.resident_bytes().saturating_sub(empty) / 1024;
    println!("memory: {} KiB a connected host, {} MiB in all", grown / wanted.hosts as u64, grown / 1024);
    println!("cpu: {:.1} s for {} s", collector.cpu_seconds(), wanted.lasting.as_secs());
    println!("journal: {} MiB", folder_bytes(&dir.path().join("store")) >> 20);
    questions(&collector)?;
    drop(fleet);
    let ports = collector.ports();
    collector.kill();
    let again = Collector::start(dir.path(), ports)?;
    println!("kill -9, then serving after {} ms", again.started_in.as_millis());
    Ok(())
}

fn questions(collector: &Collector) -> Result<(), String> {
    let at = why502::view::stamp(fleet::now_us() - 5_000_000);
    let paths = [
        "/v1/status".to_owned(),
        "/v1/hosts".to_owned(),
        format!("/v1/hosts?at={at}"),
        "/v1/why?target=app-00001".to_owned(),
        format!("/v1/why?target=app-00001&at={at}"),
        "/v1/timeline?target=app-00001&since=5m".to_owned(),
        format!("/v1/timeline?target=app-00001&since=5m&at={at}"),
        "/v1/incidents".to_owned(),
    ];
    for path in paths {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..5 {
            let (took, len) = collector.ask(&path)?;
            times.push(took);
            bytes = len;
        }
        times.sort();
        println!("answer: {path}: {:.1} ms, {} KiB", times[2].as_secs_f64() * 1000.0, bytes >> 10);
    }
    Ok(())
}

fn folder_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let minute = Duration::from_secs(60);
    let interval = Duration::from_secs(1);
    let mut wanted =
        Wanted { hosts: 100, interval, lasting: minute, failures_per_second: 1.0, opening: fleet::OPENING };
    let (mut collector, mut api) = (None, "http://127.0.0.1:5021".to_owned());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = rest.next().ok_or(format!("{argument} needs a value; see --help"))?;
        let bad = |why: String| format!("{argument} {value}: {why}");
        let time = || {
            let us = parse_duration(value).map_err(|error| bad(error.to_string()))?;
            Ok::<_, String>(Duration::from_micros(us.unsigned_abs()))
        };
        match argument.as_str() {
            "--hosts" => wanted.hosts = value.parse().map_err(|error| bad(format!("{error}")))?,
            "--interval" => wanted.interval = time()?,
            "--for" => wanted.lasting = time()?,
            "--failures" => wanted.failures_per_second = value.parse().map_err(|error| bad(format!("{error}")))?,
            "--collector" => collector = Some(value.clone()),
            "--api" => api.clone_from(value),
            _ => return Err(format!("unknown argument {argument}; see --help")),
        }
    }
    if wanted.hosts < 2 || wanted.interval.is_zero() {
        return Err("at least 2 hosts and an interval above 0 are needed".to_owned());
    }
    Ok(Arguments { wanted, collector, api })
}
