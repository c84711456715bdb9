//! `bench values`: what it costs to take and keep the same readings, in the collector (over gRPC, journal synced, folded) and in
//! VictoriaMetrics, where it is installed: CPU and bytes on the disk.

mod collector;
mod lines;
mod victoria;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use why502_proto::v1;

use super::Options;
use crate::fleet::{Host, now_us};
use crate::lab::Done;

/// Hosts, and reports of each.
const USUAL: (usize, usize) = (200, 300);
/// Between two reports of a host.
const INTERVAL: Duration = Duration::from_secs(1);
/// The application's main process.
const PID: u32 = 4_000;

/// The readings of a fleet over a stretch that ends now.
struct Load {
    hosts: Vec<Host>,
    reports: usize,
    began_us: i64,
}

/// What was seen.
struct Cost {
    cpu: Duration,
    bytes: u64,
}

/// Has both keep the same readings.
pub fn run(arguments: &[String]) -> Done<ExitCode> {
    let options = Options::parse(arguments, &["hosts", "reports"])?;
    let load = Arc::new(Load::new(options.number("hosts", USUAL.0)?, options.number("reports", USUAL.1)?));
    let values = load.values();
    println!("{} hosts, {} reports of each, 1 s apart: {values} values", load.hosts.len(), load.reports);
    println!("{:<18}{:>22}{:>14}", "", "CPU s per million", "bytes each");
    let ours = collector::keep(&load)?;
    ours.print("why502", values);
    let Some(theirs) = victoria::keep(&load)? else {
        println!("victoria-metrics: skipped, it is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    theirs.print("victoria-metrics", values);
    let ratio = |ours: f64, theirs: f64| ours / theirs.max(f64::MIN_POSITIVE);
    println!(
        "{:<18}{:>22.2}{:>14.2}",
        "ratio",
        ratio(ours.cpu.as_secs_f64(), theirs.cpu.as_secs_f64()),
        ratio(ours.bytes as f64, theirs.bytes as f64)
    );
    Ok(ExitCode::SUCCESS)
}

impl Cost {
    fn print(&self, name: &str, values: usize) {
        let values = values as f64;
        let cpu = self.cpu.as_secs_f64() * 1e6 / values;
        println!("{name:<18}{cpu:>22.2}{:>14.2}", self.bytes as f64 / values);
    }
}

impl Load {
    fn new(hosts: usize, reports: usize) -> Self {
        let hosts = (0..).map(Host::new).filter(|host| !host.is_gateway()).take(hosts).collect();
        let began_us = now_us() - i64::try_from(reports).unwrap_or(0) * 1_000_000;
        Self { hosts, reports, began_us }
    }

    /// The report of a number, from 1, as if it had been made in its time.
    fn report(&self, host: &Host, number: usize) -> v1::Report {
        let at_unix_us = self.began_us + i64::try_from(number).unwrap_or(0) * 1_000_000;
        let seq = number as u64;
        let mut report =
            v1::Report { seq, at_unix_us, collector_offset_us: Some(0), ..host.sample(seq, INTERVAL, PID) };
        report.host.iter_mut().for_each(|sample| sample.at_unix_us = at_unix_us);
        report.instances.iter_mut().for_each(|sample| sample.at_unix_us = at_unix_us);
        report.events.iter_mut().for_each(|event| event.at_unix_us = at_unix_us);
        report
    }

    fn values(&self) -> usize {
        let Some(host) = self.hosts.first() else { return 0 };
        // All hosts have the same readings in the report of a number.
        let each: usize =
            (1..=self.reports).map(|number| lines::Lines::of(host, &self.report(host, number)).values).sum();
        each * self.hosts.len()
    }
}

/// Bytes of all files in a folder.
fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
