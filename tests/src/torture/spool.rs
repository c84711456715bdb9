//! The agent's spool: damaged on the disk, and away from its collector for a day.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use why502_agent::report::Sealed;
use why502_agent::spool::{Numbering, Spool};
use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::{Outcome, Size, folder, on_all_processors};
use crate::dice::Dice;

fn numbering(epoch: u64) -> Numbering {
    Numbering { boot_id: "boot".to_owned(), epoch }
}

fn sealed(report: v1::Report) -> Vec<Sealed> {
    vec![Sealed { report, marks: Vec::new() }]
}

/// A report with one event: what it must be is told by its number.
fn report(seq: u64) -> v1::Report {
    let mut dice = Dice::new(seq);
    let line = (0..40 + dice.below(400)).map(|_| char::from(b'a' + dice.below(26) as u8)).collect();
    let kind = Some(Kind::LogMatch(v1::LogMatch { line, ..Default::default() }));
    v1::Report { events: vec![v1::Event { at_unix_us: seq as i64, kind }], ..Default::default() }
}

/// A folder of one segment, to be damaged.
struct Damaged<'r> {
    state: tempfile::TempDir,
    segment: PathBuf,
    whole: &'r [u8],
    limit: u64,
    /// What reports 1, 2 and so on must be.
    reports: &'r [v1::Report],
}

impl<'r> Damaged<'r> {
    fn new(limit: u64, whole: &'r [u8], reports: &'r [v1::Report]) -> Result<Self, String> {
        let state = folder()?;
        let segment = state.path().join("spool").join(format!("{:020}.seg", 1));
        let made = fs::create_dir_all(state.path().join("spool")).and_then(|()| fs::write(&segment, whole));
        made.map_err(|error| error.to_string())?;
        Ok(Self { state, segment, whole, limit, reports })
    }

    /// Leaves only its first bytes. What a start before found no segment in is gone and written again.
    fn cut(&self, len: usize) -> Result<(), String> {
        let done = match File::options().write(true).open(&self.segment) {
            Ok(file) => file.set_len(len as u64),
            Err(_) => fs::write(&self.segment, &self.whole[..len]),
        };
        done.map_err(|error| error.to_string())
    }

    /// Makes one byte another one.
    fn set(&self, at: usize, byte: u8) -> Result<(), String> {
        let segment = File::options().write(true).open(&self.segment);
        segment.and_then(|segment| segment.write_all_at(&[byte], at as u64)).map_err(|error| error.to_string())
    }

    /// What a start makes of it: the numbers of the reports, each of which was right, and whether a loss is told.
    fn opened(&self) -> Result<(Vec<u64>, bool), String> {
        let (mut spool, _) = Spool::open(self.state.path(), numbering(2), self.limit);
        let told = spool.trouble().is_some();
        let kept = delivered(&mut spool)?;
        let kept: Vec<v1::Report> = kept.into_iter().filter(|report| !report.events.is_empty()).collect();
        match kept.iter().find(|kept| !self.is_right(kept)) {
            Some(wrong) => Err(format!("report {} has a wrong value", wrong.seq)),
            None => Ok((kept.iter().map(|report| report.seq).collect(), told)),
        }
    }

    fn is_right(&self, kept: &v1::Report) -> bool {
        let index = kept.seq.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.reports.get(index)).is_some_and(|right| right.events == kept.events)
    }
}

/// Acknowledges everything that waits.
fn delivered(spool: &mut Spool) -> Result<Vec<v1::Report>, String> {
    let mut all = Vec::new();
    while !spool.is_empty() {
        let before = all.len();
        let (numbering, _) = spool.first();
        spool.rewind(numbering);
        while let Some(report) = spool.next_report() {
            spool.acknowledge(report.seq);
            all.push(report);
        }
        if all.len() == before {
            return Err(format!("{} reports wait and none is given", spool.len()));
        }
    }
    Ok(all)
}

/// The segments of a spool that holds about so many bytes, and the reports in them.
fn written(bytes: u64, limit: u64) -> Result<(Vec<Vec<u8>>, Vec<v1::Report>), String> {
    let state = folder()?;
    let (mut spool, _) = Spool::open(state.path(), numbering(1), limit);
    let mut reports = Vec::new();
    while files_bytes(state.path()) < bytes {
        let next = report(reports.len() as u64 + 1);
        spool.push(sealed(next.clone()));
        reports.push(next);
    }
    Ok((files(state.path())?, reports))
}

/// Damages each segment of a spool by itself, on all processors: how often in all, and what it gave.
fn each_damaged(
    (bytes, limit): (u64, u64),
    damage: impl Fn(&Damaged) -> Result<(usize, usize), String> + Sync,
) -> Result<(usize, usize), String> {
    let (segments, reports) = written(bytes, limit)?;
    on_all_processors(segments.len(), |piece| damage(&Damaged::new(limit, &segments[piece], &reports)?))
}

fn files(state: &Path) -> Result<Vec<Vec<u8>>, String> {
    let entries = fs::read_dir(state.join("spool")).map_err(|error| error.to_string())?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).map_err(|error| error.to_string())).collect()
}

/// Cuts at every byte, from the end.
pub fn cut(size: Size) -> Outcome {
    // A 64th of the limit is a segment.
    let sizes = size.pick((4 << 10, 1 << 20), (1 << 20, 2 << 20));
    let (cuts, reports) = each_damaged(sizes, |damaged| {
        let (all, _) = damaged.opened()?;
        let mut before = all.len();
        for len in (0..damaged.whole.len()).rev() {
            damaged.cut(len)?;
            let (kept, _) = damaged.opened().map_err(|why| format!("cut at {len}: {why}"))?;
            if kept[..] != all[..kept.len()] || kept.len() > before || kept.len() + 1 < before {
                return Err(format!("cut at {len}: {} reports, {before} before", kept.len()));
            }
            before = kept.len();
        }
        match before {
            0 => Ok((damaged.whole.len(), all.len())),
            _ => Err(format!("{before} reports in an empty file")),
        }
    })?;
    Ok(format!("{cuts} cuts of {reports} reports, {cuts} starts, each with the exact prefix"))
}

/// Flips every bit.
pub fn flip(size: Size) -> Outcome {
    let sizes = size.pick((1 << 10, 1 << 20), (256 << 10, 1 << 20));
    let (bits, lost) = each_damaged(sizes, |damaged| {
        let (all, _) = damaged.opened()?;
        let mut lost = 0;
        for bit in 0..damaged.whole.len() * 8 {
            let (at, byte) = (bit / 8, damaged.whole[bit / 8]);
            damaged.set(at, byte ^ 1 << (bit % 8))?;
            let (kept, told) = damaged.opened().map_err(|why| format!("bit {bit}: {why}"))?;
            damaged.set(at, byte)?;
            let gone = all.len() - kept.len();
            if gone > 1 || told != (gone > 0) {
                return Err(format!("bit {bit}: {gone} of {} reports lost, told: {told}", all.len()));
            }
            lost += gone;
        }
        Ok((damaged.whole.len() * 8, lost))
    })?;
    Ok(format!("{bits} bits flipped, {lost} reports lost, each told, at most one a flip, 0 wrong values"))
}

/// What a second of a host gives: samples, and now and then a failure or an exit.
fn second(at: i64) -> Vec<v1::Report> {
    let mut dice = Dice::new(at as u64);
    let mut instance = |number: usize| v1::InstanceSample {
        service: format!("service-{number}"),
        at_unix_us: at,
        processes: vec![v1::ProcessSample {
            name: (0..80).map(|_| char::from(b'a' + dice.below(26) as u8)).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let instances = (0..12).map(&mut instance).collect();
    let host = Some(v1::HostSample { uptime_us: at as u64, cpus: 4, ..Default::default() });
    let mut reports = vec![v1::Report { at_unix_us: at, host, instances, ..Default::default() }];
    let mut event = |kind| {
        let events = vec![v1::Event { at_unix_us: at, kind: Some(kind) }];
        reports.push(v1::Report { at_unix_us: at, events, ..Default::default() });
    };
    if at % 10 == 0 {
        let line = "x".repeat(200);
        event(Kind::Failure(v1::Failure { gateway: "edge".to_owned(), status: 502, line, ..Default::default() }));
    }
    if at % 60 == 0 {
        event(Kind::ProcessExited(v1::ProcessExited { pid: at as u32, ..Default::default() }));
    }
    reports
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// A day without a collector, told by a report a second, and the restart after it.
pub fn away(size: Size) -> Outcome {
    let (seconds, limit) = size.pick((5_400, 4 << 20), (86_400, 64 << 20));
    let state = folder()?;
    let (mut spool, _) = Spool::open(state.path(), numbering(1), limit);
    let (began, before_kib, mut most) = (Instant::now(), resident_kib(), 0);
    for at in 1..=seconds {
        second(at).into_iter().for_each(|report| spool.push(sealed(report)));
        if at % 30 == 0 {
            spool.flush();
            most = most.max(files_bytes(state.path()));
        }
    }
    let (took, grown_kib) = (began.elapsed(), resident_kib().saturating_sub(before_kib));
    spool.flush();
    let counts = spool.counts();
    drop(spool);
    let (mut spool, _) = Spool::open(state.path(), numbering(2), limit);
    let told = delivered(&mut spool)?;
    let of = |is: fn(&Kind) -> bool| {
        told.iter().flat_map(|report| &report.events).filter(|event| event.kind.as_ref().is_some_and(is)).count()
    };
    let failures = of(|kind| matches!(kind, Kind::Failure(_)));
    let exits = of(|kind| matches!(kind, Kind::ProcessExited(_)));
    if (failures as i64, exits as i64, counts.dropped_events) != (seconds / 10, seconds / 60, 0) || most > limit {
        return Err(format!("{failures} failures and {exits} exits of {seconds} s, {most} bytes, {counts:?}"));
    }
    let kept: Vec<i64> = told.iter().filter(|report| report.host.is_some()).map(|report| report.at_unix_us).collect();
    let widest = kept.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0);
    Ok(format!(
        "{seconds} s away: {failures} failures and {exits} exits, 0 missing; {} samples kept, at most {widest} s apart; at \
         most {:.1} of {} MiB on disk, {:.1} MiB of memory, {:.0} us of time a second",
        kept.len(),
        most as f64 / f64::from(1 << 20),
        limit >> 20,
        grown_kib as f64 / 1024.0,
        took.as_secs_f64() * 1e6 / seconds as f64
    ))
}

fn files_bytes(state: &Path) -> u64 {
    let entries = fs::read_dir(state.join("spool")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}
