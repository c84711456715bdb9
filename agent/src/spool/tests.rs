use super::*;
use crate::tail::Position;

fn brief(bytes: usize, bytes_without_samples: usize, has_events: bool) -> Brief {
    Brief { bytes, bytes_without_samples, has_events }
}

fn events(count: usize) -> Sealed {
    let line = "x".repeat(100);
    let event =
        v1::Event { at_unix_us: 1, kind: Some(v1::event::Kind::LogMatch(v1::LogMatch { line, ..Default::default() })) };
    Sealed { report: v1::Report { events: vec![event; count], ..Default::default() }, marks: Vec::new() }
}

fn samples() -> Sealed {
    let host = v1::HostSample { uptime_us: u64::MAX, cpus: 4, ..Default::default() };
    Sealed { report: v1::Report { host: Some(host), ..Default::default() }, marks: Vec::new() }
}

fn marked(mut sealed: Sealed, inode: u64) -> Sealed {
    let file = crate::tail::FilePosition { device: 1, inode, offset_bytes: 0, start: Default::default(), seen_ns: 0 };
    sealed.marks.push(Mark { log: "a.log".into(), position: Position { files: vec![file] } });
    sealed
}

#[test]
fn nothing_is_thinned_without_need() {
    assert_eq!(plan(&[brief(10, 10, true), brief(10, 0, false)], 0), []);
    assert_eq!(plan(&[], 100), []);
}

#[test]
fn samples_are_thinned_evenly_before_anything_else() {
    let briefs =
        [brief(10, 2, false), brief(10, 2, true), brief(10, 2, false), brief(10, 2, false), brief(10, 2, false)];
    assert_eq!(plan(&briefs, 1), [Action::Drop(0)]);
    assert_eq!(plan(&briefs, 20), [Action::Drop(0), Action::Drop(3)], "every second one first");
    assert_eq!(plan(&briefs, 30), [Action::Drop(0), Action::Drop(3), Action::Drop(2)]);
}

#[test]
fn samples_beside_events_go_next_and_the_oldest_events_last() {
    let briefs = [brief(10, 4, true), brief(10, 10, true), brief(10, 2, false), brief(10, 4, true)];
    assert_eq!(plan(&briefs, 11), [Action::Drop(2), Action::Strip(0)]);
    assert_eq!(plan(&briefs, 22), [Action::Drop(2), Action::Strip(0), Action::Strip(3)]);
    assert_eq!(plan(&briefs, 23), [Action::Drop(2), Action::Strip(3), Action::Drop(0)]);
    assert_eq!(plan(&briefs, usize::MAX).len(), 4, "everything may go, nothing more");
}

#[test]
fn reports_are_numbered_without_gaps_and_sent_again_after_a_reconnect() {
    let mut spool = Spool::new(1 << 20);
    for count in 1..=3 {
        spool.push(marked(events(count), count as u64));
    }
    let sent: Vec<(u64, usize)> = std::iter::from_fn(|| spool.next_report()).map(|r| (r.seq, r.events.len())).collect();
    assert_eq!(sent, [(1, 1), (2, 2), (3, 3)]);
    let marks = spool.acknowledge(2);
    assert_eq!(
        marks.iter().map(|mark| mark.position.files[0].inode).collect::<Vec<_>>(),
        [2],
        "the newest of each log"
    );
    spool.rewind();
    assert_eq!(spool.first_seq(), 3);
    assert_eq!(spool.next_report().map(|report| (report.seq, report.events.len())), Some((3, 3)));
    assert_eq!(spool.acknowledge(99).len(), 1);
    assert!(spool.is_empty() && spool.first_seq() == 4 && spool.next_report().is_none());
    spool.push(events(1));
    assert_eq!(spool.acknowledge(99), [], "what was never sent can't be acknowledged");
    assert_eq!(spool.next_report().map(|report| report.seq), Some(4));
}

#[test]
fn acknowledgements_in_the_middle_keep_the_place() {
    let mut spool = Spool::new(1 << 20);
    (0..5).for_each(|_| spool.push(events(1)));
    assert_eq!(spool.next_report().map(|report| report.seq), Some(1));
    assert_eq!(spool.next_report().map(|report| report.seq), Some(2));
    spool.acknowledge(1);
    assert_eq!(spool.next_report().map(|report| report.seq), Some(3));
    spool.rewind();
    assert_eq!(spool.next_report().map(|report| report.seq), Some(2));
    spool.acknowledge(3);
    assert_eq!(spool.next_report().map(|report| report.seq), Some(4));
}

#[test]
fn no_more_is_sent_than_the_window_holds() {
    let mut spool = Spool::new(64 << 20);
    (0..2 * WINDOW_REPORTS).for_each(|_| spool.push(events(1)));
    assert_eq!(std::iter::from_fn(|| spool.next_report()).count(), WINDOW_REPORTS);
    spool.acknowledge(10);
    assert_eq!(std::iter::from_fn(|| spool.next_report()).count(), 10);

    let mut spool = Spool::new(64 << 20);
    (0..10).for_each(|_| spool.push(events(3_000)));
    let sent = std::iter::from_fn(|| spool.next_report()).count();
    assert!((2..5).contains(&sent), "{sent}");
}

#[test]
fn the_limit_holds_and_events_outlive_samples() {
    let mut spool = Spool::new(64 * 1024);
    for number in 0..5_000_u64 {
        spool.push(marked(samples(), number));
        if number % 100 == 0 {
            spool.push(events(1));
        }
        assert!(spool.bytes <= spool.limit_bytes);
    }
    assert_eq!(spool.counts().dropped_events, 0);
    assert!(spool.counts().thinned_reports > 4_000);
    let mut sent = 0;
    let mut marks = Vec::new();
    while let Some(report) = spool.next_report() {
        sent += report.events.len();
        marks = spool.acknowledge(report.seq);
    }
    assert_eq!(sent, 50);
    assert_eq!(marks.last().map(|mark| mark.position.files[0].inode), Some(4_999), "the newest place survives");
    assert_eq!(spool.bytes, 0);
}

#[test]
fn events_are_given_up_last_and_counted() {
    let mut spool = Spool::new(64 * 1024);
    for _ in 0..100 {
        let mut both = events(10);
        both.report.host = samples().report.host;
        spool.push(both);
    }
    let held: usize = spool.queue.iter().map(|entry| entry.events).sum();
    assert_eq!(held as u64 + spool.counts().dropped_events, 1_000);
    assert!(spool.counts().dropped_events > 0 && held > 0 && spool.bytes <= spool.limit_bytes);
    assert!(spool.queue.front().unwrap().bytes_without_samples == spool.queue.front().unwrap().bytes());
}

#[test]
fn what_was_sent_is_never_thinned() {
    let mut spool = Spool::new(16 * 1024);
    spool.push(samples());
    let first = spool.next_report().unwrap();
    (0..500).for_each(|_| spool.push(events(1)));
    spool.rewind();
    assert_eq!(spool.next_report(), Some(first));
}
