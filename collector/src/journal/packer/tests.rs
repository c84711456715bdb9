use std::path::PathBuf;

use super::super::*;
use super::*;
use crate::journal::faulty;
use crate::journal::segments::SegmentFile;

type Kept = Vec<(Place, i64, Vec<u8>)>;

/// Records are of four kins, told by their number's remainder.
const PACKING: Packing =
    Packing { kin: |payload| u64::from(payload.last().copied().unwrap_or(0) % 4), frame_bytes: 120 };

fn options() -> Options {
    Options { segment_bytes: 1200, packing: Some(PACKING), ..Options::default() }
}

/// Records that are written.
const RECORDS: usize = 50;
/// Most records of a frame.
const FRAME: usize = 120 / 23;

/// A text, a message with a reading, and a number: 23 bytes, as an agent's report might be.
fn payload(index: u64) -> Vec<u8> {
    [b"\x0a\x05app-1\x12\x09\x09\xcd\xcc\xcc\xcc\xcc\xcc\x00\x40\x25", &[index as u8; 4][..]].concat()
}

fn open(dir: &Path) -> (Journal, Recovery, Kept) {
    let mut kept = Vec::new();
    let (journal, recovery) = Journal::open(dir, options(), &mut |entry| {
        assert_eq!(entry.payload, payload(entry.index), "record {}", entry.index);
        kept.push((entry.place, entry.at_us, entry.payload.to_vec()));
    })
    .unwrap();
    (journal, recovery, kept)
}

/// Two closed segments and one that is written.
fn written(dir: &Path) -> (Journal, Kept) {
    let (mut journal, _, _) = open(dir);
    let mut kept = Vec::new();
    for index in 1..=RECORDS as u64 {
        journal.append(index as i64 * 10, |out| out.extend_from_slice(&payload(index))).unwrap();
        journal.commit(true).unwrap();
        kept.push((journal.placed()[0], index as i64 * 10, payload(index)));
    }
    assert_eq!(journal.segments.len(), 3);
    (journal, kept)
}

fn pack_first(dir: &Path) -> Packed {
    pack(dir, 1, PACKING, &mut FileSystem, &|| true).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains('.')).collect();
    names.sort();
    names
}

#[test]
fn a_packed_segment_gives_the_same_records_in_the_same_places() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, kept) = written(dir.path());
    drop(journal);
    let packed = pack_first(dir.path());
    assert!(packed.after < packed.before, "{packed:?}");
    let (mut journal, recovery, again) = open(dir.path());
    assert_eq!((again, recovery.notes), (kept.clone(), vec![]));
    let mut reader = Reader::new(dir.path());
    for (place, _, payload) in &kept {
        assert_eq!(reader.payload(*place, (PACKING.kin)(payload)).unwrap(), *payload);
    }
    assert!(reader.payload(kept[0].0, 77).is_err(), "no such kin is there");
    journal.append(1, |out| out.extend_from_slice(&payload(RECORDS as u64 + 1))).unwrap();
    journal.commit(true).unwrap();
    assert_eq!(journal.records(), RECORDS as u64 + 1);
}

#[test]
fn closed_segments_are_packed_one_by_one_and_counted_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, kept) = written(dir.path());
    let before = journal.bytes();
    assert!(journal.pack().is_none(), "it has only begun");
    let packed: Vec<Packed> = std::iter::from_fn(|| journal.pack_waiting()).map(Result::unwrap).collect();
    assert_eq!(packed.len(), 2);
    let gained: u64 = packed.iter().map(|packed| packed.before - packed.after).sum();
    assert_eq!(journal.bytes(), before - gained);
    let on_disk = segments::list(dir.path()).unwrap();
    let bytes: u64 = on_disk.iter().map(|file| fs::metadata(&file.path).unwrap().len()).sum();
    assert_eq!(
        (on_disk.iter().map(|file| file.packed).collect::<Vec<_>>(), bytes),
        (vec![true, true, false], journal.bytes())
    );
    drop(journal);
    let (mut journal, _, again) = open(dir.path());
    assert_eq!(again, kept);
    journal.options.limits.max_bytes = journal.segments[1].bytes + journal.segments[2].bytes;
    assert_eq!(journal.retain(1).unwrap(), 1, "what it is now counts, not what it was");
    assert_eq!(segments::list(dir.path()).unwrap().len(), 2);
}

#[test]
fn a_bookmark_stays_good_while_what_is_before_it_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, kept) = written(dir.path());
    let bookmark = journal.bookmark().unwrap().unwrap();
    drop(journal);
    let place = bookmark.place.segment;
    for first in segments::list(dir.path()).unwrap().iter().map(|SegmentFile { first, .. }| *first) {
        pack(dir.path(), first, PACKING, &mut FileSystem, &|| true).unwrap();
        assert!(bookmark.fits(dir.path()));
    }
    assert!(segments::facts(dir.path(), place).is_some());
    let after = Bookmark { place: kept[45].0, next_index: 46, ..bookmark.clone() };
    let mut seen = Vec::new();
    let opened = Journal::open_on(dir.path(), options(), Box::new(FileSystem), Some(&after), &mut |entry| {
        seen.push(entry.index);
    });
    assert_eq!((seen, opened.unwrap().0.records()), ((46..=50).collect::<Vec<u64>>(), 50));
    let path = dir.path().join(packed_name(1));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(!bookmark.fits(dir.path()), "it is cut");
}

#[test]
fn what_is_not_among_the_newest_is_passed_over_where_it_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, kept) = written(dir.path());
    drop(journal);
    let newest = |bytes| Bookmark::before_newest(dir.path(), bytes);
    assert_eq!(newest(0), None, "the first is not packed");
    pack_first(dir.path());
    pack(dir.path(), kept[25].0.segment, PACKING, &mut FileSystem, &|| true).unwrap();
    assert_eq!(newest(1 << 20), None, "all is small enough");
    for (bytes, from) in [(0, kept[49].0.segment), (2_000, kept[25].0.segment)] {
        let after = newest(bytes).unwrap();
        let mut seen = Vec::new();
        let opened = Journal::open_on(dir.path(), options(), Box::new(FileSystem), Some(&after), &mut |entry| {
            seen.push(entry.index);
        });
        let (mut journal, recovery) = opened.unwrap();
        assert_eq!((seen, recovery.notes), ((from..=50).collect::<Vec<u64>>(), vec![]));
        assert_eq!((journal.records(), journal.segments.len()), (50, 3));
        assert_eq!(journal.retain(500).unwrap(), 0, "what was passed over is kept");
    }
}

/// The first segment, packed, and its bytes.
fn packed(dir: &Path) -> (PathBuf, Vec<u8>) {
    drop(written(dir));
    pack_first(dir);
    let path = dir.join(packed_name(1));
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

#[test]
fn cut_at_every_byte_it_opens_with_whole_frames_and_tells() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = packed(dir.path());
    let mut before = RECORDS;
    for len in (0..whole.len()).rev() {
        fs::write(&path, &whole[..len]).unwrap();
        let (_, recovery, kept) = open(dir.path());
        assert!(kept.len() <= before && kept.len() + FRAME >= before, "cut at {len}: {} of {before}", kept.len());
        assert!((1..=3).contains(&recovery.notes.len()), "cut at {len}: {:?}", recovery.notes);
        before = kept.len();
        let _ = fs::remove_dir_all(dir.path().join("aside"));
    }
}

#[test]
fn every_flipped_bit_costs_at_most_one_frame_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = packed(dir.path());
    // Each byte, and of it another bit than of the one before; `torture journal-flip` flips them all.
    for bit in (0..whole.len() * 8).step_by(9) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let (_, recovery, kept) = open(dir.path());
        assert!(kept.len() + FRAME >= RECORDS, "bit {bit}: {} records", kept.len());
        // What is missing between two segments is told too.
        assert!((1..=2).contains(&recovery.notes.len()), "bit {bit}: {:?}", recovery.notes);
        let _ = fs::remove_dir_all(dir.path().join("aside"));
    }
}

#[test]
fn wherever_packing_ends_one_of_both_is_there() {
    for step in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let (journal, kept) = written(dir.path());
        drop(journal);
        let (mut disk, faults) = faulty::disk();
        faults.fail_from(step);
        let ended = pack(dir.path(), 1, PACKING, &mut disk, &|| true);
        assert_eq!(ended.is_ok(), step == 4, "step {step}: {ended:?}");
        let both = dir.path().join(packed_name(1)).exists() && dir.path().join(segment_name(1)).exists();
        assert_eq!(both, step == 3);
        let mut read = 0;
        crate::journal::read(dir.path(), &mut |_| read += 1).unwrap();
        assert_eq!(read, RECORDS, "step {step}: another process reads each once");
        assert_eq!(open(dir.path()).2, kept, "step {step}");
        let ours = files(dir.path()).into_iter().filter(|name| name.starts_with("00000000000000000001")).count();
        assert_eq!(ours, 1, "step {step}: {:?}", files(dir.path()));
    }
}

#[test]
fn a_packed_segment_that_is_not_whole_does_not_count_beside_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, kept) = written(dir.path());
    drop(journal);
    let written = fs::read(dir.path().join(segment_name(1))).unwrap();
    pack_first(dir.path());
    let path = dir.path().join(packed_name(1));
    let bytes = fs::read(&path).unwrap();
    for len in [0, 10, bytes.len() - 1] {
        fs::write(dir.path().join(segment_name(1)), &written).unwrap();
        fs::write(&path, &bytes[..len]).unwrap();
        assert_eq!(open(dir.path()).2, kept, "cut at {len}");
        assert!(!path.exists());
    }
}

#[test]
fn a_damaged_segment_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path()));
    let path = dir.path().join(segment_name(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(pack(dir.path(), 1, PACKING, &mut FileSystem, &|| true), Err(Fault::Other(_))));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
