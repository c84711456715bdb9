//! Journals damaged on the disk: cut anywhere, any bit flipped.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use why502::journal::{Journal, Options, Packing};

use super::{Outcome, Size, folder, on_all_processors, payload};

/// Damages that one folder takes before another begins: small enough to keep all processors busy to the end.
const PIECE: usize = 4096;

/// Frames of some records.
const PACKING: Packing = Packing { kin: |payload| payload.len() as u64 % 3, frame_bytes: 4 << 10 };

/// A journal of one segment as it was written.
struct Whole {
    /// The segment's file name.
    name: String,
    segment: Vec<u8>,
    /// What records 1, 2 and so on must be.
    payloads: Vec<Vec<u8>>,
}

impl Whole {
    /// A journal of about so many bytes.
    fn written(bytes: usize) -> Result<Self, String> {
        let dir = folder()?;
        let (journal, payloads) = filled(dir.path(), Options::default(), |journal| journal.bytes() >= bytes as u64)?;
        drop(journal);
        Self::read(dir.path(), format!("{:020}.seg", 1), payloads)
    }

    /// A journal of about so many bytes whose only segment is packed.
    fn packed(bytes: usize) -> Result<Self, String> {
        let dir = folder()?;
        let options = Options { segment_bytes: bytes as u64, packing: Some(PACKING), ..Options::default() };
        let is_closed = |journal: &Journal| journal.segments_kept().0 != journal.segments_kept().1;
        let (mut journal, mut payloads) = filled(dir.path(), options, is_closed)?;
        let ended = journal.pack_waiting().ok_or("there is nothing to pack")?;
        ended.map_err(|fault| fault.to_string())?;
        // The record that closed it stands in the next one.
        payloads.pop();
        Self::read(dir.path(), format!("{:020}.pak", 1), payloads)
    }

    fn read(dir: &Path, name: String, payloads: Vec<Vec<u8>>) -> Result<Self, String> {
        let segment = fs::read(dir.join(&name)).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { name, segment, payloads })
    }

    fn payload(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index.checked_sub(1)?).ok()?;
        self.payloads.get(at).map(Vec::as_slice)
    }

    /// Whether the records that are missing now may have stood in one frame.
    fn is_one_frame(&self, before: &[u64], now: &[u64]) -> bool {
        let missing = before.iter().filter(|index| now.binary_search(index).is_err());
        missing.filter_map(|index| self.payload(*index)).map(<[u8]>::len).sum::<usize>() <= PACKING.frame_bytes
    }

    /// Damages it so many times, one folder for each piece of that; gives the sum of what the pieces gave.
    fn damaged(
        &self,
        times: usize,
        damage: impl Fn(&Damaged, Range<usize>) -> Result<(usize, usize), String> + Sync,
    ) -> Result<(usize, usize), String> {
        on_all_processors(times.div_ceil(PIECE), |piece| {
            damage(&Damaged::new(self)?, piece * PIECE..times.min((piece + 1) * PIECE))
        })
    }
}

/// A journal with records from 1 on until it is enough, and their payloads.
fn filled(
    dir: &Path,
    options: Options,
    is_enough: impl Fn(&Journal) -> bool,
) -> Result<(Journal, Vec<Vec<u8>>), String> {
    let (mut journal, _) = Journal::open(dir, options, &mut |_| {}).map_err(|error| error.to_string())?;
    let mut payloads = Vec::new();
    while !is_enough(&journal) {
        let next = payload(payloads.len() as u64 + 1);
        journal.append(1, |out| out.extend_from_slice(&next)).map_err(|error| error.to_string())?;
        journal.commit(false).map_err(|error| error.to_string())?;
        payloads.push(next);
    }
    Ok((journal, payloads))
}

/// A folder with such a journal, to be damaged and opened over and over.
struct Damaged<'w> {
    dir: tempfile::TempDir,
    path: PathBuf,
    whole: &'w Whole,
}

impl<'w> Damaged<'w> {
    fn new(whole: &'w Whole) -> Result<Self, String> {
        let dir = folder()?;
        let path = dir.path().join(&whole.name);
        let damaged = Self { dir, path, whole };
        damaged.cut(whole.segment.len())?;
        Ok(damaged)
    }

    /// Leaves the segment's first bytes. A start may have cut or moved away what a damage before left of it.
    fn cut(&self, len: usize) -> Result<(), String> {
        let done = self.file().and_then(|file| {
            let kept = file.metadata()?.len();
            let missing = usize::try_from(kept).ok().and_then(|kept| self.whole.segment.get(kept..len));
            file.write_all_at(missing.unwrap_or_default(), kept)?;
            file.set_len(len as u64)
        });
        done.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Makes one byte another one.
    fn set(&self, at: usize, byte: u8) -> Result<(), String> {
        let done = self.file().and_then(|file| file.write_all_at(&[byte], at as u64));
        done.map_err(|error| format!("{}: {error}", self.path.display()))
    }

    fn file(&self) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(&self.path)
    }

    /// Opens it with one bit flipped, and makes it whole again.
    fn flipped(&self, bit: usize) -> Result<(Vec<u64>, usize), String> {
        let (at, byte) = (bit / 8, self.whole.segment[bit / 8]);
        self.set(at, byte ^ 1 << (bit % 8))?;
        let opened = self.opened().map_err(|why| format!("bit {bit}: {why}"))?;
        self.cut(self.whole.segment.len())?;
        self.set(at, byte)?;
        Ok(opened)
    }

    /// Opens what is there; gives the numbers of the records, each of which was right, and how many faults were told.
    fn opened(&self) -> Result<(Vec<u64>, usize), String> {
        let (mut kept, mut wrong) = (Vec::new(), None);
        let opened = Journal::open(self.dir.path(), Options::default(), &mut |entry| {
            if self.whole.payload(entry.index) != Some(entry.payload) {
                wrong = Some(entry.index);
            }
            kept.push(entry.index);
        });
        let (_, recovery) = opened.map_err(|error| format!("it did not open: {error}"))?;
        let _ = fs::remove_dir_all(self.dir.path().join("aside"));
        match wrong {
            Some(index) => Err(format!("record {index} has a wrong value")),
            None => Ok((kept, recovery.notes.len())),
        }
    }
}

/// Cuts at every byte.
pub fn cut(size: Size) -> Outcome {
    let whole = Whole::written(size.pick(8 << 10, 1 << 20))?;
    let (cuts, _) = whole.damaged(whole.segment.len(), |damaged, lens| {
        damaged.cut(lens.end)?;
        let mut before = damaged.opened()?.0.len();
        for len in lens.clone().rev() {
            damaged.cut(len)?;
            let (kept, notes) = damaged.opened().map_err(|why| format!("cut at {len}: {why}"))?;
            let prefix = kept.iter().copied().eq(1..=kept.len() as u64);
            // Cutting one byte more loses at most one record more.
            if !prefix || kept.len() > before || kept.len() + 1 < before || notes > 1 {
                return Err(format!("cut at {len}: {} records, {notes} faults told, {before} before", kept.len()));
            }
            before = kept.len();
        }
        match before {
            kept if lens.start == 0 && kept > 0 => Err(format!("{kept} records in an empty file")),
            _ => Ok((lens.len(), 0)),
        }
    })?;
    Ok(format!("{cuts} cuts of {} records, {cuts} starts, each with the exact prefix", whole.payloads.len()))
}

/// Flips every bit.
pub fn flip(size: Size) -> Outcome {
    let whole = Whole::written(size.pick(2 << 10, 256 << 10))?;
    let records = whole.payloads.len();
    let (flips, lost) = whole.damaged(whole.segment.len() * 8, |damaged, bits| {
        let (flips, mut lost) = (bits.len(), 0);
        for bit in bits {
            let (kept, notes) = damaged.flipped(bit)?;
            if kept.len() + 1 < records || notes != 1 {
                return Err(format!("bit {bit}: {} of {records} records, {notes} faults told", kept.len()));
            }
            lost += records - kept.len();
        }
        Ok((flips, lost))
    })?;
    Ok(format!("{flips} bits flipped, {lost} records lost, each told, at most one a flip, 0 wrong values"))
}

/// Cuts a packed journal at every byte.
pub fn packed_cut(size: Size) -> Outcome {
    let whole = Whole::packed(size.pick(8 << 10, 128 << 10))?;
    let (cuts, _) = whole.damaged(whole.segment.len(), |damaged, lens| {
        damaged.cut(lens.end)?;
        let (mut before, mut cuts) = (damaged.opened()?.0, 0);
        for len in lens.rev().step_by(size.pick(5, 1)) {
            damaged.cut(len)?;
            let (kept, notes) = damaged.opened().map_err(|why| format!("cut at {len}: {why}"))?;
            if !whole.is_one_frame(&before, &kept) || kept.len() > before.len() || !(1..=2).contains(&notes) {
                let (now, before) = (kept.len(), before.len());
                return Err(format!("cut at {len}: {now} records, {notes} faults told, {before} before"));
            }
            (before, cuts) = (kept, cuts + 1);
        }
        Ok((cuts, 0))
    })?;
    let records = whole.payloads.len();
    Ok(format!("{cuts} cuts of {records} packed records, each with the whole frames before the cut, and told"))
}

/// Flips every bit of a packed journal.
pub fn packed_flip(size: Size) -> Outcome {
    let whole = Whole::packed(size.pick(8 << 10, 32 << 10))?;
    let all: Vec<u64> = (1..=whole.payloads.len() as u64).collect();
    let (flips, lost) = whole.damaged(whole.segment.len() * 8, |damaged, bits| {
        let (mut flips, mut lost) = (0, 0);
        for bit in bits.step_by(size.pick(17, 1)) {
            let (kept, notes) = damaged.flipped(bit)?;
            if !whole.is_one_frame(&all, &kept) || notes != 1 {
                return Err(format!("bit {bit}: {} of {} records, {notes} faults told", kept.len(), all.len()));
            }
            (lost, flips) = (lost + all.len() - kept.len(), flips + 1);
        }
        Ok((flips, lost))
    })?;
    Ok(format!(
        "{flips} bits flipped, {lost} packed records lost, never more than a frame's, each told, 0 wrong values"
    ))
}
