//! Journals damaged on the disk: cut anywhere, any bit flipped.

use std::fs;
use std::path::{Path, PathBuf};

use why502::journal::{Journal, Options, Packing};

use super::{Outcome, Size, folder, payload};

/// A journal of about so many bytes: its only segment, that segment's bytes, and where each record ends in it.
fn written(dir: &Path, bytes: usize) -> Result<(PathBuf, Vec<u8>), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let (mut journal, _) = Journal::open(dir, Options::default(), &mut |_| {}).map_err(|error| told(&error))?;
    for index in 1.. {
        journal.append(1, |out| out.extend_from_slice(&payload(index))).map_err(|error| told(&error))?;
        journal.commit(false).map_err(|error| told(&error))?;
        if journal.bytes() >= bytes as u64 {
            break;
        }
    }
    drop(journal);
    let path = dir.join(format!("{:020}.seg", 1));
    let whole = fs::read(&path).map_err(|error| told(&error))?;
    Ok((path, whole))
}

/// Frames of some records.
const PACKING: Packing = Packing { kin: |payload| payload.len() as u64 % 3, frame_bytes: 4 << 10 };

/// A journal of about so many bytes whose only segment is packed; that, and its bytes.
fn packed(dir: &Path, bytes: usize) -> Result<(PathBuf, Vec<u8>), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let options = Options { segment_bytes: bytes as u64, packing: Some(PACKING), ..Options::default() };
    let (mut journal, _) = Journal::open(dir, options, &mut |_| {}).map_err(|error| told(&error))?;
    for index in 1.. {
        journal.append(1, |out| out.extend_from_slice(&payload(index))).map_err(|error| told(&error))?;
        journal.commit(false).map_err(|error| told(&error))?;
        let (oldest, newest) = journal.segments_kept();
        if oldest != newest {
            break;
        }
    }
    let ended = journal.pack_waiting().ok_or("there is nothing to pack")?;
    ended.map_err(|fault| told(&fault))?;
    let (_, newest) = journal.segments_kept();
    drop(journal);
    fs::remove_file(dir.join(format!("{newest:020}.seg"))).map_err(|error| told(&error))?;
    let path = dir.join(format!("{:020}.pak", 1));
    let whole = fs::read(&path).map_err(|error| told(&error))?;
    Ok((path, whole))
}

/// Whether the records that are missing now may have stood in one frame.
fn is_one_frame(before: &[u64], now: &[u64]) -> bool {
    let missing: Vec<u64> = before.iter().copied().filter(|index| now.binary_search(index).is_err()).collect();
    missing.iter().map(|index| payload(*index).len()).sum::<usize>() <= PACKING.frame_bytes
}

/// Opens what is there; gives the numbers of the records, each of which was right, and how many faults were told.
fn opened(dir: &Path) -> Result<(Vec<u64>, usize), String> {
    let (mut kept, mut wrong) = (Vec::new(), None);
    let opened = Journal::open(dir, Options::default(), &mut |entry| {
        if entry.payload != payload(entry.index) {
            wrong = Some(entry.index);
        }
        kept.push(entry.index);
    });
    let (_, recovery) = opened.map_err(|error| format!("it did not open: {error}"))?;
    match wrong {
        Some(index) => Err(format!("record {index} has a wrong value")),
        None => Ok((kept, recovery.notes.len())),
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// Cuts at every byte.
pub fn cut(size: Size) -> Outcome {
    let dir = folder()?;
    let (path, whole) = written(dir.path(), size.pick(8 << 10, 1 << 20))?;
    let (all, _) = opened(dir.path())?;
    let mut before = all.len() as u64;
    for len in (0..whole.len()).rev() {
        put(&path, &whole[..len])?;
        let (kept, notes) = opened(dir.path()).map_err(|why| format!("cut at {len}: {why}"))?;
        let prefix = kept.iter().copied().eq(1..=kept.len() as u64);
        // Cutting one byte more loses at most one record more.
        if !prefix || (kept.len() as u64) > before || (kept.len() as u64) + 1 < before || notes > 1 {
            return Err(format!("cut at {len}: {} records, {notes} faults told, {before} before", kept.len()));
        }
        before = kept.len() as u64;
        let _ = fs::remove_dir_all(dir.path().join("aside"));
    }
    if before != 0 {
        return Err(format!("{before} records in an empty file"));
    }
    Ok(format!("{} cuts of {} records, {} starts, each with the exact prefix", whole.len(), all.len(), whole.len()))
}

/// Flips every bit.
pub fn flip(size: Size) -> Outcome {
    let dir = folder()?;
    let (path, whole) = written(dir.path(), size.pick(2 << 10, 256 << 10))?;
    let records = opened(dir.path())?.0.len();
    let mut lost = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        put(&path, &bytes)?;
        let (kept, notes) = opened(dir.path()).map_err(|why| format!("bit {bit}: {why}"))?;
        if kept.len() + 1 < records || notes != 1 {
            return Err(format!("bit {bit}: {} of {records} records, {notes} faults told", kept.len()));
        }
        lost += records - kept.len();
        let _ = fs::remove_dir_all(dir.path().join("aside"));
    }
    Ok(format!("{} bits flipped, {lost} records lost, each told, 0 wrong values", whole.len() * 8))
}

/// Cuts a packed journal at every byte.
pub fn packed_cut(size: Size) -> Outcome {
    let dir = folder()?;
    let (path, whole) = packed(dir.path(), size.pick(8 << 10, 128 << 10))?;
    let (all, _) = opened(dir.path())?;
    let (mut before, mut starts) = (all.clone(), 0);
    for len in (0..whole.len()).rev().step_by(size.pick(5, 1)) {
        put(&path, &whole[..len])?;
        let (kept, notes) = opened(dir.path()).map_err(|why| format!("cut at {len}: {why}"))?;
        if !is_one_frame(&before, &kept) || kept.len() > before.len() || !(1..=2).contains(&notes) {
            let (now, before) = (kept.len(), before.len());
            return Err(format!("cut at {len}: {now} records, {notes} faults told, {before} before"));
        }
        (before, starts) = (kept, starts + 1);
        let _ = fs::remove_dir_all(dir.path().join("aside"));
        // A packed segment that lost its header was set aside, and a fresh one begun.
        let _ = fs::remove_file(&path);
    }
    Ok(format!("{starts} cuts of {} packed records, each with the whole frames before the cut, and told", all.len()))
}

/// Flips every bit of a packed journal.
pub fn packed_flip(size: Size) -> Outcome {
    let dir = folder()?;
    let (path, whole) = packed(dir.path(), size.pick(8 << 10, 32 << 10))?;
    let (all, _) = opened(dir.path())?;
    let (mut lost, mut flips) = (0, 0);
    for bit in (0..whole.len() * 8).step_by(size.pick(17, 1)) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        put(&path, &bytes)?;
        let (kept, notes) = opened(dir.path()).map_err(|why| format!("bit {bit}: {why}"))?;
        if !is_one_frame(&all, &kept) || notes != 1 {
            return Err(format!("bit {bit}: {} of {} records, {notes} faults told", kept.len(), all.len()));
        }
        (lost, flips) = (lost + all.len() - kept.len(), flips + 1);
        let _ = fs::remove_dir_all(dir.path().join("aside"));
    }
    Ok(format!(
        "{flips} bits flipped, {lost} packed records lost, never more than a frame's, each told, 0 wrong values"
    ))
}
