//! Against files that systemd's own writer made, `systemd-journal-remote`.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

const WRITER: &str = "/usr/lib/systemd/systemd-journal-remote";
const BOOT: &str = "4d2b2f6c5f0f4f0b9a6d1a2b3c4d5e6f";
/// 2026-11-22T10:00:00Z.
const BEGIN_US: u64 = 1_795_341_600_000_000;
/// More than twice what is looked at between two looks at the folder.
const STEP: Duration = Duration::from_secs(5);

/// A message, and of which unit and program.
pub(crate) struct Said<'a> {
    pub unit: &'a str,
    pub program: &'a str,
    pub message: Vec<u8>,
}

fn said(number: u64) -> Said<'static> {
    Said { unit: "haproxy.service", program: "haproxy", message: format!("line {number}").into_bytes() }
}

/// An export stream of messages, each a second after the one before.
fn exported(first: u64, all: &[Said<'_>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (number, said) in (first..).zip(all) {
        let at_us = BEGIN_US + number * 1_000_000;
        stream.extend(format!("__REALTIME_TIMESTAMP={at_us}\n__MONOTONIC_TIMESTAMP={}\n", number + 1).bytes());
        stream.extend(format!("_BOOT_ID={BOOT}\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER={}\n", said.program).bytes());
        stream.extend(format!("_SYSTEMD_UNIT={}\nMESSAGE\n", said.unit).bytes());
        stream.extend((said.message.len() as u64).to_le_bytes());
        stream.extend(said.message.iter().copied().chain(*b"\n\n"));
    }
    stream
}

/// Adds messages to a file. False: the writer is not here.
pub(crate) fn write(file: &Path, environment: &[(&str, &str)], first: u64, all: &[Said<'_>]) -> bool {
    if !Path::new(WRITER).exists() {
        eprintln!("skipped: {WRITER} is not here");
        return false;
    }
    let mut writer = Command::new(WRITER)
        .args(["--split-mode=none", "-o"])
        .args([file.as_os_str(), "-".as_ref()])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(&exported(first, all)).unwrap();
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn journal(dir: &Path, positions: &Positions) -> Journal {
    let wanted = Wanted { all: vec!["_SYSTEMD_UNIT=haproxy.service".to_owned()], fields: vec!["MESSAGE"] };
    Journal::new("journald:haproxy.service".to_owned(), vec![dir.to_owned()], wanted, positions)
}

/// The messages that are new.
fn read(journal: &mut Journal, now: &mut Instant) -> Vec<String> {
    let mut found = Vec::new();
    // A look that finds another file is followed by one that finds none.
    for _ in 0..4 {
        *now += STEP;
        while journal.poll(*now, &mut |entry| found.push(message(&entry))) {}
    }
    found
}

fn message(entry: &Entry) -> String {
    String::from_utf8_lossy(entry.values[0].as_ref().unwrap()).into_owned()
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}

fn none_yet() -> (tempfile::TempDir, Positions) {
    let dir = tempfile::tempdir().unwrap();
    let (positions, _) = Positions::load(&dir.path().join("state"));
    (dir, positions)
}

#[test]
fn messages_of_the_unit_alone_in_both_modes_and_packed() {
    let long = format!("long {}", "a message of many words ".repeat(400));
    let other = |message: &str| Said { unit: "ssh.service", program: "sshd", message: message.into() };
    for compact in ["0", "1"] {
        for packing in ["zstd", "lz4", "none"] {
            let (dir, positions) = none_yet();
            let mut journal = journal(dir.path(), &positions);
            let mut now = Instant::now();
            assert!(read(&mut journal, &mut now).is_empty() && *journal.sight() == Sight::Missing);
            let long = Said { message: long.clone().into_bytes(), ..said(0) };
            let all = [other("line of another"), said(1), long, other("again"), said(4)];
            let environment = [("SYSTEMD_JOURNAL_COMPACT", compact), ("SYSTEMD_JOURNAL_COMPRESS", packing)];
            if !write(&dir.path().join("system.journal"), &environment, 0, &all) {
                return;
            }
            let found = read(&mut journal, &mut now);
            assert_eq!(found.len(), 3, "compact {compact}, {packing}: {:?} {:?}", journal.sight(), journal.counts());
            assert_eq!((found[0].as_str(), found[2].as_str()), ("line 1", "line 4"));
            assert_eq!(found[1], String::from_utf8_lossy(&all[2].message));
            assert_eq!((journal.sight(), journal.counts()), (&Sight::Following, Counts::default()));
        }
    }
}

#[test]
fn each_entry_tells_when_it_was_written() {
    let (dir, positions) = none_yet();
    let mut journal = journal(dir.path(), &positions);
    let mut now = Instant::now();
    assert!(read(&mut journal, &mut now).is_empty());
    if !write(&dir.path().join("system.journal"), &[], 3, &[said(3)]) {
        return;
    }
    let mut found = Vec::new();
    while journal.poll(now + STEP, &mut |entry| found.push((entry.at_us, message(&entry)))) {}
    assert_eq!(found, [(BEGIN_US + 3_000_000, "line 3".to_owned())]);
}

#[test]
fn nothing_is_missed_or_told_twice_across_rotations_and_restarts() {
    let (dir, mut positions) = none_yet();
    let file = dir.path().join("system.journal");
    let all = |numbers: std::ops::Range<u64>| numbers.map(said).collect::<Vec<_>>();
    if !write(&file, &[], 0, &all(0..10)) {
        return;
    }
    let mut now = Instant::now();
    let mut first = journal(dir.path(), &positions);
    assert_eq!(read(&mut first, &mut now), lines(0..0), "what stood there before is not told");
    write(&file, &[], 10, &all(10..20));
    assert_eq!(read(&mut first, &mut now), lines(10..20));
    // As journald rotates: the rest goes to the old file before the new one begins.
    write(&file, &[], 20, &all(20..30));
    fs::rename(&file, dir.path().join("system@1.journal")).unwrap();
    write(&file, &[], 30, &all(30..40));
    assert_eq!(read(&mut first, &mut now), lines(20..40));
    let marks = first.mark(first.positions());
    assert!(first.mark(first.positions()).is_empty(), "no news");
    marks.into_iter().for_each(|mark| positions.set(mark));
    drop(first);
    // While nobody looked: more in that file, and two rotations.
    write(&file, &[], 40, &all(40..45));
    fs::rename(&file, dir.path().join("system@2.journal")).unwrap();
    write(&file, &[], 45, &all(45..50));
    fs::rename(&file, dir.path().join("system@3.journal")).unwrap();
    write(&file, &[], 50, &all(50..55));
    let mut second = journal(dir.path(), &positions);
    assert_eq!(read(&mut second, &mut now), lines(40..55));
    assert_eq!(second.counts(), Counts::default());
    // The file that was read last is gone: what came later is told, and that some may be lost.
    second.mark(second.positions()).into_iter().for_each(|mark| positions.set(mark));
    drop(second);
    fs::remove_file(&file).unwrap();
    write(&file, &[], 60, &all(60..62));
    let mut third = journal(dir.path(), &positions);
    assert_eq!(read(&mut third, &mut now), lines(60..62));
    assert_eq!(third.counts().lost_files, 1);
}

#[test]
fn a_damaged_file_is_left_and_never_panics_or_hangs() {
    let (dir, positions) = none_yet();
    let file = dir.path().join("system.journal");
    if !write(&file, &[], 0, &(0..40).map(said).collect::<Vec<_>>()) {
        return;
    }
    let whole = fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut random = 7_u64;
    let mut told = 0;
    for round in 0..150 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(random >> 20).unwrap() % used;
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (random % 8),
            _ => bytes[at & !7..(at & !7) + 8].fill(random.to_le_bytes()[7]),
        }
        // Most damage in the first bytes is of the header: the arrays and entries behind it must have their share.
        let damaged = dir.path().join("damaged").join("system.journal");
        fs::create_dir_all(damaged.parent().unwrap()).unwrap();
        let mut journal = journal(damaged.parent().unwrap(), &positions);
        let mut now = Instant::now();
        journal.poll(now, &mut |_| {});
        fs::write(&damaged, &bytes).unwrap();
        let found = read(&mut journal, &mut now);
        assert!(found.len() <= 40, "{round}: {}", found.len());
        told += found.len();
        fs::remove_file(&damaged).unwrap();
    }
    assert!(told > 150, "{told} messages of damaged files");
}

#[test]
fn what_is_no_journal_is_told() {
    let (dir, positions) = none_yet();
    let mut journal = journal(dir.path(), &positions);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.path().join("system.journal"))
        .unwrap()
        .write_all(&[7; 4_096])
        .unwrap();
    let mut now = Instant::now();
    assert!(read(&mut journal, &mut now).is_empty());
    let Sight::Unreadable(why) = journal.sight() else { panic!("{:?}", journal.sight()) };
    assert!(why.contains("system.journal") && why.contains("no journal file"), "{why}");
}
