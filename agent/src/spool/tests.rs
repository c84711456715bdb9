use std::fs;
use std::path::PathBuf;

use super::*;
use crate::tail::{FilePosition, Position};

const LIMIT: u64 = 1 << 20;

fn numbering(epoch: u64) -> Numbering {
    Numbering { boot_id: "boot".into(), epoch }
}

/// A spool with a folder of its own; `restart` is a kill and a new run.
struct Run {
    dir: tempfile::TempDir,
    spool: Spool,
    epoch: u64,
    limit: u64,
}

impl Run {
    fn new(limit: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (spool, marks) = Spool::open(dir.path(), numbering(1), limit);
        assert!(spool.trouble().is_none() && marks.is_empty());
        Self { dir, spool, epoch: 1, limit }
    }

    fn restart(&mut self) -> Vec<Mark> {
        self.epoch += 1;
        let (spool, marks) = Spool::open(self.dir.path(), numbering(self.epoch), self.limit);
        self.spool = spool;
        marks
    }

    fn push(&mut self, sealed: Sealed) {
        self.spool.push(vec![sealed]);
    }

    /// What the uplink does with what is acknowledged.
    fn remove(&mut self, ending: bool) {
        if let Some(order) = self.spool.begin_removal(ending) {
            self.spool.remove_before(order);
        }
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.dir.path().join("spool")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Delivers everything, each report acknowledged: run, number and report.
    fn deliver(&mut self) -> Vec<(u64, v1::Report)> {
        let mut delivered = Vec::new();
        while !self.spool.is_empty() {
            let (numbering, first) = begin(&mut self.spool);
            let mut expected = first;
            while let Some(report) = next(&mut self.spool) {
                assert_eq!(report.seq, expected, "numbers have no gap within a connection");
                expected += 1;
                self.spool.acknowledge(report.seq);
                delivered.push((numbering.epoch, report));
            }
            assert!(expected > first, "a connection that delivers nothing");
            assert!(self.spool.is_empty() || self.spool.wants_another_connection());
        }
        delivered
    }
}

/// A new connection: whose reports it takes, and from which number on.
fn begin(spool: &mut Spool) -> (Numbering, u64) {
    let (numbering, first) = spool.first();
    spool.rewind(numbering.clone());
    ((*numbering).clone(), first)
}

fn next(spool: &mut Spool) -> Option<v1::Report> {
    spool.has_next().then(|| spool.next_report()).flatten()
}

fn events(count: usize) -> Sealed {
    let line = "x".repeat(100);
    let event =
        v1::Event { at_unix_us: 1, kind: Some(v1::event::Kind::LogMatch(v1::LogMatch { line, ..Default::default() })) };
    Sealed { report: v1::Report { events: vec![event; count], ..Default::default() }, marks: Vec::new() }
}

fn samples(at_unix_us: i64) -> Sealed {
    let instance = v1::InstanceSample { service: "s".repeat(500), ..Default::default() };
    let host = v1::HostSample { uptime_us: u64::MAX, cpus: 4, ..Default::default() };
    let report = v1::Report { at_unix_us, host: Some(host), instances: vec![instance], ..Default::default() };
    Sealed { report, marks: Vec::new() }
}

fn marked(mut sealed: Sealed, inode: u64) -> Sealed {
    let file = FilePosition { device: 1, inode, offset_bytes: 7, start: Default::default(), seen_ns: 3 };
    sealed.marks.push(Mark { log: "a.log".into(), position: Position { files: vec![file] } });
    sealed
}

fn inodes(marks: &[Mark]) -> Vec<u64> {
    marks.iter().map(|mark| mark.position.files[0].inode).collect()
}

#[test]
fn reports_are_numbered_without_gaps_and_sent_again_after_a_reconnect() {
    let mut run = Run::new(LIMIT);
    for count in 1..=3 {
        run.push(marked(events(count), count as u64));
    }
    assert_eq!(begin(&mut run.spool), (numbering(1), 1));
    let sent: Vec<(u64, usize)> =
        std::iter::from_fn(|| next(&mut run.spool)).map(|r| (r.seq, r.events.len())).collect();
    assert_eq!(sent, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(inodes(&run.spool.acknowledge(2)), [2], "the newest of each log");
    assert_eq!(begin(&mut run.spool), (numbering(1), 3));
    assert_eq!(next(&mut run.spool).map(|report| (report.seq, report.events.len())), Some((3, 3)));
    assert_eq!(run.spool.acknowledge(99).len(), 1);
    assert!(run.spool.is_empty() && next(&mut run.spool).is_none());
    run.push(events(1));
    assert_eq!(run.spool.acknowledge(99), [], "what was never sent can't be acknowledged");
    assert_eq!(next(&mut run.spool).map(|report| report.seq), Some(4));
}

#[test]
fn acknowledgements_in_the_middle_keep_the_place() {
    let mut run = Run::new(LIMIT);
    (0..5).for_each(|_| run.push(events(1)));
    begin(&mut run.spool);
    let seq = |spool: &mut Spool| next(spool).map(|report| report.seq);
    assert_eq!((seq(&mut run.spool), seq(&mut run.spool)), (Some(1), Some(2)));
    run.spool.acknowledge(1);
    assert_eq!(seq(&mut run.spool), Some(3));
    begin(&mut run.spool);
    assert_eq!(seq(&mut run.spool), Some(2));
    run.spool.acknowledge(3);
    assert_eq!(
        seq(&mut run.spool),
        Some(4),
        "an acknowledgement of the connection before may come with this one's first"
    );
}

#[test]
fn no_more_is_sent_than_the_window_holds() {
    let mut run = Run::new(64 << 20);
    (0..3 * window::MOST_SENT).for_each(|_| run.push(events(1)));
    begin(&mut run.spool);
    assert_eq!(std::iter::from_fn(|| next(&mut run.spool)).count(), window::MOST_SENT);
    run.spool.acknowledge(10);
    assert_eq!(std::iter::from_fn(|| next(&mut run.spool)).count(), 10);
    let mut run = Run::new(64 << 20);
    (0..10).for_each(|_| run.push(events(3_000)));
    begin(&mut run.spool);
    let sent = std::iter::from_fn(|| next(&mut run.spool)).count();
    assert!((2..5).contains(&sent), "{sent}");
}

#[test]
fn a_killed_agent_goes_on_with_what_it_left_under_the_numbers_it_had() {
    let mut run = Run::new(LIMIT);
    for number in 1..=600 {
        run.push(marked(events(1), number));
    }
    begin(&mut run.spool);
    (0..5).for_each(|_| drop(next(&mut run.spool)));
    run.spool.acknowledge(2);
    let marks = run.restart();
    assert_eq!(inodes(&marks).last(), Some(&600), "places are as new as what is on disk");
    run.push(events(2));
    assert_eq!(begin(&mut run.spool), (numbering(1), 1), "what a run before this one left comes first");
    assert_eq!(inodes(&run.spool.acknowledge(2)), [2], "the collector may know some of it already");
    let delivered = run.deliver();
    let numbers: Vec<(u64, u64)> = delivered.iter().map(|(epoch, report)| (*epoch, report.seq)).collect();
    assert_eq!(numbers, (3..=600).map(|seq| (1, seq)).chain([(2, 1)]).collect::<Vec<_>>());
    assert_eq!(run.spool.len(), 0);
    run.remove(true);
    assert_eq!(run.files().len(), 0);
}

#[test]
fn what_is_acknowledged_goes_from_the_disk_while_the_agent_runs() {
    let mut run = Run::new(64 << 20);
    for _ in 0..200 {
        for _ in 0..20 {
            run.push(marked(events(10), 1));
        }
        begin(&mut run.spool);
        run.deliver();
        run.remove(false);
        assert!(run.bytes() <= KEPT_BYTES + 64 * 1024, "{}", run.bytes());
    }
}

#[test]
fn samples_are_thinned_evenly_and_no_event_is_lost_while_they_last() {
    let mut run = Run::new(LIMIT);
    let mut events_pushed = 0;
    for number in 0..5_000_i64 {
        run.push(marked(samples(number), number as u64));
        if number % 50 == 0 {
            run.push(events(1));
            events_pushed += 1;
        }
    }
    assert!(run.bytes() <= LIMIT, "{}", run.bytes());
    assert_eq!(run.spool.counts().dropped_events, 0);
    let marks = run.restart();
    assert_eq!(inodes(&marks).last(), Some(&4_999));
    let delivered = run.deliver();
    assert_eq!(delivered.iter().map(|(_, report)| report.events.len()).sum::<usize>(), events_pushed);
    let kept: Vec<i64> =
        delivered.iter().filter(|(_, report)| report.host.is_some()).map(|(_, report)| report.at_unix_us).collect();
    assert!(kept.len() > 500, "{}", kept.len());
    let gaps = |kept: &[i64]| kept.windows(2).map(|two| two[1] - two[0]).max().unwrap();
    let (old, new) = kept.split_at(kept.len() / 2);
    assert!(gaps(old) <= 128 && gaps(&new[new.len() / 2..]) <= gaps(old), "{} {}", gaps(old), gaps(new));
}

#[test]
fn events_alone_go_oldest_first_and_are_counted() {
    let mut run = Run::new(LIMIT);
    for _ in 0..3_000 {
        run.push(events(10));
    }
    assert!(run.bytes() <= LIMIT);
    let dropped = run.spool.counts().dropped_events;
    let held: usize = run.deliver().iter().map(|(_, report)| report.events.len()).sum();
    assert_eq!(held as u64 + dropped, 30_000);
    assert!(dropped > 0 && held > 0);
}

#[test]
fn damage_costs_no_more_than_what_is_damaged() {
    let mut run = Run::new(LIMIT);
    for number in 1..=30 {
        run.push(marked(events(1), number));
    }
    let file = run.files().remove(0);
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        run.restart();
        let trouble = run.spool.trouble().is_some();
        let delivered = run.deliver();
        let lost = 30 - delivered.iter().filter(|(_, report)| report.events.len() == 1).count();
        assert!(lost <= 1, "byte {at}: {lost} lost");
        assert_eq!(trouble, lost > 0, "byte {at}: each loss is told");
        fs::write(&file, &whole[..at]).unwrap();
        run.restart();
        for (index, (_, report)) in run.deliver().iter().enumerate() {
            assert_eq!((report.seq, report.events.len()), (index as u64 + 1, 1), "cut at {at}: the exact beginning");
        }
    }
}

#[test]
fn what_another_version_left_stays_and_is_told() {
    let mut run = Run::new(LIMIT);
    run.push(events(1));
    let foreign = run.files().remove(0);
    let mut bytes = fs::read(&foreign).unwrap();
    let (magic, version) = (bytes[..7].to_vec(), bytes[7]);
    let at: Vec<usize> = (0..bytes.len() - 7).filter(|at| bytes[*at..].starts_with(&magic)).collect();
    at.iter().for_each(|at| bytes[at + 7] = version + 1);
    fs::write(&foreign, &bytes).unwrap();
    run.restart();
    assert!(run.spool.trouble().unwrap().contains("another agent version's"), "{:?}", run.spool.trouble());
    run.push(events(2));
    let delivered: Vec<_> = run.deliver().iter().map(|(epoch, report)| (*epoch, report.events.len())).collect();
    run.remove(true);
    assert_eq!(delivered, [(2, 2)]);
    assert_eq!(run.files(), std::slice::from_ref(&foreign), "only what is understood is removed");
    assert_eq!(fs::read(foreign).unwrap(), bytes);
}

#[test]
fn what_the_disk_does_not_take_waits_in_memory_and_then_outside() {
    let mut run = Run::new(LIMIT);
    run.push(events(100));
    let folder = run.dir.path().join("spool");
    let aside = run.dir.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let mut pushed = 1;
    while run.spool.has_room() {
        run.push(events(100));
        pushed += 1;
    }
    assert!(run.spool.is_off_disk());
    assert!(run.spool.trouble().unwrap().contains("let the agent's user write there"), "{:?}", run.spool.trouble());
    assert_eq!(run.spool.counts(), Counts::default(), "nothing is lost");
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    run.spool.flush();
    assert!(run.spool.trouble().is_none() && run.spool.has_room());
    assert_eq!(run.spool.len() as u64 + run.spool.counts().dropped_events / 100, pushed);
}

#[test]
fn a_folder_that_can_be_used_only_later_is_taken_up_with_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (mut left, _) = Spool::open(dir.path(), numbering(1), LIMIT);
    (1..=3).for_each(|_| left.push(vec![events(1)]));
    drop(left);
    let (folder, aside) = (dir.path().join("spool"), dir.path().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let (spool, _) = Spool::open(dir.path(), numbering(2), LIMIT);
    let mut run = Run { dir, spool, epoch: 2, limit: LIMIT };
    run.push(events(2));
    assert!(run.spool.is_off_disk());
    assert_eq!(begin(&mut run.spool), (numbering(2), 1));
    assert_eq!(next(&mut run.spool).map(|report| report.seq), Some(1), "it goes on in memory");
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    run.spool.flush();
    assert!(!run.spool.is_off_disk());
    let numbers: Vec<_> = run.deliver().iter().map(|(epoch, report)| (*epoch, report.seq)).collect();
    assert_eq!(numbers, [(1, 1), (1, 2), (1, 3), (2, 1)]);
}

#[test]
fn samples_that_are_acknowledged_soon_are_never_written() {
    let mut run = Run::new(LIMIT);
    begin(&mut run.spool);
    for number in 0..50 {
        run.push(samples(number));
        let report = next(&mut run.spool).unwrap();
        run.spool.acknowledge(report.seq);
    }
    assert!(run.spool.is_empty() && run.files().is_empty());
    run.push(samples(50));
    run.push(marked(events(1), 9));
    assert_eq!(run.files().len(), 1, "what must last takes what came before it along");
    run.restart();
    let told: Vec<_> = run.deliver().iter().map(|(_, report)| (report.seq, report.at_unix_us)).collect();
    assert_eq!(told, [(51, 50), (52, 0)]);
}

#[test]
fn samples_that_wait_are_written_with_the_next_event_though_they_were_sent() {
    let mut run = Run::new(LIMIT);
    begin(&mut run.spool);
    (0..3).for_each(|number| run.push(samples(number)));
    (0..2).for_each(|_| drop(next(&mut run.spool)));
    run.push(events(1));
    run.restart();
    let seqs: Vec<_> = run.deliver().iter().map(|(_, report)| report.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
}

#[test]
fn what_was_closed_together_is_there_together_or_not_at_all() {
    let mut run = Run::new(LIMIT);
    run.push(marked(events(1), 1));
    run.spool.push(vec![events(2), events(3), marked(events(4), 2)]);
    let file = run.files().remove(0);
    let whole = fs::read(&file).unwrap();
    for len in frame::SEGMENT_HEADER..=whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        let marks = run.restart();
        let told: Vec<_> = run.deliver().iter().map(|(_, report)| report.events.len()).collect();
        let wanted: (&[usize], &[u64]) = match told.len() {
            0 => (&[], &[]),
            1 => (&[1], &[1]),
            _ => (&[1, 2, 3, 4], &[2]),
        };
        assert_eq!((&*told, &*inodes(&marks)), wanted, "cut at {len}");
    }
}

#[test]
fn a_wide_hole_in_the_numbers_takes_a_connection_of_its_own() {
    let mut run = Run::new(LIMIT);
    begin(&mut run.spool);
    run.push(events(1));
    let first = next(&mut run.spool).unwrap();
    assert_eq!(first.seq, 1);
    for number in 0..1_000 {
        run.push(samples(number));
        let report = next(&mut run.spool).unwrap();
        run.spool.acknowledge(report.seq);
    }
    run.push(events(2));
    run.restart();
    let told: Vec<_> = run.deliver().iter().map(|(_, report)| (report.seq, report.events.len())).collect();
    assert_eq!(told, [(1, 1), (1_002, 2)]);
    run.restart();
    begin(&mut run.spool);
    run.spool.acknowledge(1_002);
    assert!(run.spool.is_empty(), "a collector that knows all of it says so once");
}

#[test]
fn what_is_written_while_places_are_kept_is_not_removed_with_what_went_before() {
    let mut run = Run::new(64 << 20);
    begin(&mut run.spool);
    for _ in 0..100 {
        run.push(marked(events(10), 1));
        let report = next(&mut run.spool).unwrap();
        run.spool.acknowledge(report.seq);
    }
    let order = run.spool.begin_removal(false).unwrap();
    run.push(marked(events(1), 2));
    run.spool.remove_before(order);
    assert_eq!(run.spool.len(), 1);
    let marks = run.restart();
    assert_eq!((inodes(&marks), run.deliver().len()), (vec![2], 1));
}
