use std::cell::RefCell;
use std::rc::Rc;

use super::faulty::{self, Faults};
use super::*;

type Kept = Vec<(u64, Vec<u8>)>;

fn open(dir: &Path) -> (Journal, Recovery, Kept) {
    let mut kept = Vec::new();
    let (journal, recovery) =
        Journal::open(dir, Options::default(), &mut |entry| kept.push((entry.index, entry.payload.to_vec()))).unwrap();
    (journal, recovery, kept)
}

fn put(journal: &mut Journal, payload: &[u8]) -> Result<(), CommitError> {
    journal.append(1, |out| out.extend_from_slice(payload)).unwrap();
    journal.commit(true)
}

fn payload(index: u64) -> Vec<u8> {
    format!("record number {index}").into_bytes()
}

/// A journal of `count` records and the bytes of its one segment.
fn written(dir: &Path, count: u64) -> (PathBuf, Vec<u8>) {
    let (mut journal, _, _) = open(dir);
    for index in 1..=count {
        put(&mut journal, &payload(index)).unwrap();
    }
    let path = dir.join(segments::segment_name(1));
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

fn exact_prefix(kept: &Kept) -> bool {
    (1..).zip(kept).all(|(index, (at, bytes))| index == *at && *bytes == payload(index))
}

#[test]
fn records_come_back_in_order_and_numbering_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3);
    let (mut journal, recovery, kept) = open(dir.path());
    assert!(recovery.notes.is_empty() && kept.len() == 3 && exact_prefix(&kept));
    put(&mut journal, &payload(4)).unwrap();
    drop(journal);
    assert!(exact_prefix(&open(dir.path()).2));
    assert_eq!(open(dir.path()).0.records(), 4);
}

#[test]
fn cut_at_every_byte_of_the_last_records_it_opens_and_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = written(dir.path(), 4);
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (mut journal, recovery, kept) = open(dir.path());
        assert!(exact_prefix(&kept), "cut at {len}");
        let next = kept.len() as u64 + 1;
        put(&mut journal, &payload(next)).unwrap();
        drop(journal);
        let (_, again, kept) = open(dir.path());
        assert!(exact_prefix(&kept) && kept.len() as u64 == next, "cut at {len}: {recovery:?}");
        assert!(again.notes.is_empty(), "cut at {len}: the second start finds nothing to mend: {:?}", again.notes);
        let _ = fs::remove_dir_all(dir.path().join("aside"));
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn every_flipped_bit_costs_at_most_one_record_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = written(dir.path(), 4);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let (_, recovery, kept) = open(dir.path());
        assert!(kept.len() >= 3 && kept.iter().all(|(index, got)| *got == payload(*index)), "bit {bit}");
        assert_eq!(recovery.notes.len(), 1, "bit {bit}: {:?}", recovery.notes);
        let (_, _, again) = open(dir.path());
        assert_eq!(kept, again, "bit {bit}");
    }
}

#[test]
fn a_bad_tail_is_kept_in_a_file_that_the_note_names() {
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = written(dir.path(), 2);
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (_, recovery, _) = open(dir.path());
    let note = &recovery.notes[0];
    let aside = dir.path().join("aside").join(format!("{}-{}.bad", note.file, note.offset));
    assert_eq!(fs::read(aside).unwrap(), &whole[note.offset as usize..whole.len() - 1]);
}

#[test]
fn two_collectors_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _, _) = open(dir.path());
    let second = Journal::open(dir.path(), Options::default(), &mut |_| {});
    assert!(matches!(second, Err(OpenError::InUse(_))));
}

#[test]
fn segments_roll_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_age: Duration::from_secs(1000), max_bytes: 400 };
    let options = Options { segment_bytes: 100, limits, packing: None };
    let (mut journal, _) = Journal::open(dir.path(), options, &mut |_| {}).unwrap();
    for index in 1..=20 {
        put(&mut journal, &payload(index)).unwrap();
    }
    assert!(journal.retain(2).unwrap() > 0 && journal.bytes() <= 400);
    drop(journal);
    let (_, recovery, kept) = open(dir.path());
    assert!(recovery.notes.is_empty() && kept.last().unwrap().0 == 20 && kept[0].0 > 1);
}

fn faulty(dir: &Path, fail_from: u32) -> (Journal, Faults) {
    let (disk, faults) = faulty::disk();
    faults.fail_from(fail_from);
    let options = Options { segment_bytes: 150, ..Options::default() };
    (Journal::open_on(dir, options, Box::new(disk), None, &mut |_| {}).unwrap().0, faults)
}

#[test]
fn a_full_disk_at_every_write_loses_nothing_kept_and_recovers() {
    for fail_from in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, faults) = faulty(dir.path(), fail_from);
        let acked = Rc::new(RefCell::new(Vec::new()));
        for index in 1..=8 {
            match put(&mut journal, &payload(index)) {
                Ok(()) => acked.borrow_mut().push(payload(index)),
                Err(error) => assert!(matches!(error, CommitError::Full(_)), "{error}"),
            }
        }
        faults.mend();
        put(&mut journal, b"after").unwrap();
        acked.borrow_mut().push(b"after".to_vec());
        drop(journal);
        let (_, recovery, kept) = open(dir.path());
        let kept: Vec<Vec<u8>> = kept.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(kept, *acked.borrow(), "full from operation {fail_from}");
        assert!(recovery.notes.is_empty(), "{:?}", recovery.notes);
    }
}

#[test]
fn a_failed_sync_is_final_and_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, faults) = faulty(dir.path(), u32::MAX);
    faults.fail_syncs();
    assert!(matches!(put(&mut journal, b"one"), Err(CommitError::Failed(_))));
    faults.mend();
    let syncs = faults.syncs();
    assert!(matches!(put(&mut journal, b"two"), Err(CommitError::Failed(_))));
    assert_eq!(faults.syncs(), syncs);
}
