//! Disks that forget, fill up and fail, below a journal and below a whole engine.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use why502::engine::{Engine, Handle, Refusal};
use why502::journal::{Journal, Limits, Options, Packing};
use why502::wire::{self, Incoming, Numbering};
use why502_proto::v1;

use super::disk::{Faults, Faulty};
use super::{Outcome, Size, folder, payload};
use crate::dice::Dice;

/// How soon it must take reports again once there is space.
const RECOVERY: Duration = Duration::from_secs(5);

/// Frames of a few records.
const PACKING: Packing = Packing { kin: |payload| payload.len() as u64 % 3, frame_bytes: 3 << 10 };

/// Segments so small that a few records fill one.
fn options() -> Options {
    let limits = Limits { max_age: Duration::from_secs(3600), max_bytes: 1 << 30 };
    Options { segment_bytes: 4096, limits, packing: Some(PACKING) }
}

/// Drops unsynced writes over many seeds, several times in each.
pub fn power_loss(size: Size) -> Outcome {
    let seeds = size.pick(300, 10_000);
    let (mut records, mut forgotten, mut packed) = (0, 0, 0);
    for seed in 0..seeds {
        let dir = folder()?;
        let mut dice = Dice::new(seed);
        let mut durable = 0;
        for life in 0..4 {
            let faults = Faults::default();
            durable = one_life(dir.path(), &faults, durable, &mut dice, &mut packed)
                .map_err(|why| format!("seed {seed}, life {life}: {why}"))?;
            forgotten += faults.power_loss(&mut dice).map_err(|error| error.to_string())?;
        }
        records += durable;
    }
    Ok(format!(
        "{seeds} seeds, 4 losses each: {records} records committed, 0 lost; {forgotten} unsynced bytes dropped; {packed} \
         segments packed"
    ))
}

/// Opens the journal, checks what it holds, appends, packs; gives the number of the last record that is durable.
fn one_life(dir: &Path, faults: &Faults, durable: u64, dice: &mut Dice, packed: &mut u64) -> Result<u64, String> {
    let (mut next, mut wrong) = (1, None);
    let opened = Journal::open_on(dir, options(), Box::new(Faulty(faults.clone())), None, &mut |entry| {
        if entry.index != next || entry.payload != payload(entry.index) {
            wrong = Some(entry.index);
        }
        next = entry.index + 1;
    });
    let (mut journal, _) = opened.map_err(|error| error.to_string())?;
    if let Some(index) = wrong {
        return Err(format!("record {index} is not the one that was written"));
    }
    if next <= durable {
        return Err(format!("{durable} records were committed, {} are there", next - 1));
    }
    // What the start found is durable now too.
    let mut durable = next - 1;
    for _ in 0..1 + dice.below(30) {
        for _ in 0..1 + dice.below(4) {
            journal.append(1, |out| out.extend_from_slice(&payload(next))).map_err(|error| error.to_string())?;
            next += 1;
        }
        let sync = dice.below(3) == 0;
        journal.commit(sync).map_err(|error| error.to_string())?;
        if sync {
            durable = next - 1;
        }
    }
    *packed += pack(&mut journal, faults, dice);
    Ok(durable)
}

/// Packs some of what is closed, in one life of three; it may fail at any step. Gives how many were packed.
fn pack(journal: &mut Journal, faults: &Faults, dice: &mut Dice) -> u64 {
    if dice.below(3) > 0 {
        return 0;
    }
    let steps = dice.below(12) as u32;
    faults.room((steps < 6).then_some(steps));
    let packed = (0..dice.below(4)).filter(|_| journal.pack_waiting().is_some_and(|ended| ended.is_ok())).count();
    // This one is broken off, if there is one left.
    drop(journal.pack());
    packed as u64
}

fn report(seq: u64) -> Result<Incoming, String> {
    let numbering = Numbering { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 1 };
    let note = v1::KernelNote { line: "x".repeat(300), ..Default::default() };
    let events = vec![v1::Event { at_unix_us: 1, kind: Some(v1::event::Kind::KernelNote(note)) }];
    wire::report(&numbering, v1::Report { seq, events, ..Default::default() }).map_err(|error| error.to_string())
}

type Ended = oneshot::Receiver<Result<(), String>>;

fn engine(dir: &Path, faults: &Faults) -> Result<(Handle, Ended), String> {
    let disk = Box::new(Faulty(faults.clone()));
    let engine = Engine::open_on(dir, options(), disk).map_err(|error| error.to_string())?;
    engine.spawn().map_err(|error| error.to_string())
}

fn wait<T>(what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(what)
}

/// The disk is full from each write on.
pub fn disk_full(size: Size) -> Outcome {
    let writes = size.pick(40, 400);
    let mut slowest = Duration::ZERO;
    for write in 0..writes {
        let recovered = wait(full_at(write)).map_err(|why| format!("full from write {write}: {why}"))?;
        slowest = slowest.max(recovered);
    }
    Ok(format!(
        "full at each of {writes} writes: 0 acknowledged lost; goes on at most {} ms after there is space",
        slowest.as_millis()
    ))
}

async fn full_at(write: u32) -> Result<Duration, String> {
    let (dir, faults) = (folder()?, Faults::default());
    let (handle, end) = engine(dir.path(), &faults)?;
    faults.room(Some(write));
    let mut acked = 0;
    loop {
        match handle.take(report(acked + 1)?).await {
            Ok(taken) => acked = taken.up_to,
            Err(Refusal::Full) => break,
            Err(refusal) => return Err(format!("after report {acked}: {refusal}")),
        }
    }
    faults.room(None);
    let began = Instant::now();
    while let Err(refusal) = handle.take(report(acked + 1)?).await {
        if refusal != Refusal::Full || began.elapsed() > RECOVERY {
            return Err(format!("with space again: {refusal}"));
        }
    }
    let recovered = began.elapsed();
    handle.stop().await;
    end.await.map_err(|_| "the engine died")??;
    let (again, _end) = engine(dir.path(), &Faults::default())?;
    let up_to = again.take(report(1)?).await.map_err(|refusal| refusal.to_string())?.up_to;
    match up_to == acked + 1 {
        true => Ok(recovered),
        false => Err(format!("{} reports were acknowledged, {up_to} are there", acked + 1)),
    }
}

/// A sync fails.
pub fn sync_fails(size: Size) -> Outcome {
    let rounds = size.pick(30, 500);
    for round in 0..rounds {
        wait(sync_fails_after(round % 50)).map_err(|why| format!("after {} reports: {why}", round % 50))?;
    }
    Ok(format!("{rounds} failed syncs: 0 tried again, 0 acknowledged, 0 acknowledged before lost"))
}

async fn sync_fails_after(reports: u64) -> Result<(), String> {
    let (dir, faults) = (folder()?, Faults::default());
    let (handle, end) = engine(dir.path(), &faults)?;
    for seq in 1..=reports {
        handle.take(report(seq)?).await.map_err(|refusal| refusal.to_string())?;
    }
    faults.syncs_fail(true);
    let before = faults.syncs();
    if let Ok(taken) = handle.take(report(reports + 1)?).await {
        return Err(format!("acknowledged up to {}", taken.up_to));
    }
    faults.syncs_fail(false);
    if end.await.map_err(|_| "the engine died")?.is_ok() {
        return Err("the engine ended as if nothing were wrong".to_owned());
    }
    if faults.syncs() > before + 1 {
        return Err(format!("{} syncs after the failed one", faults.syncs() - before - 1));
    }
    let (again, _end) = engine(dir.path(), &Faults::default())?;
    let next = reports + 1;
    let up_to = again.take(report(next)?).await.map_err(|refusal| refusal.to_string())?.up_to;
    if up_to == next { Ok(()) } else { Err(format!("{up_to} reports are there, not {next}")) }
}
