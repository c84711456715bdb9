use why502_proto::v1;

use super::*;
use crate::journal::Options;

fn numbering() -> Numbering {
    Numbering { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 1 }
}

fn hello() -> Incoming {
    let hello = v1::Hello { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 1, ..Default::default() };
    wire::hello(hello).unwrap()
}

fn report(seq: u64) -> Incoming {
    wire::report(&numbering(), v1::Report { seq, ..Default::default() }).unwrap()
}

fn spawn(dir: &Path) -> (Handle, oneshot::Receiver<Result<(), String>>) {
    Engine::open(dir, Options::default()).unwrap().spawn().unwrap()
}

#[tokio::test]
async fn reports_are_taken_once_in_order_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    assert_eq!(engine.take(hello()).await.unwrap().up_to, 0);
    assert_eq!(engine.take(report(1)).await.unwrap().up_to, 1);
    assert_eq!(engine.take(report(1)).await.unwrap().up_to, 1);
    assert_eq!(engine.take(report(3)).await, Err(Refusal::Gap { awaited: 2 }));
    engine.stop().await;
    end.await.unwrap().unwrap();
    let (engine, _end) = spawn(dir.path());
    assert_eq!(engine.take(hello()).await.unwrap().up_to, 1);
    assert_eq!(engine.take(report(1)).await.unwrap().up_to, 1);
    assert_eq!(engine.take(report(2)).await.unwrap().up_to, 2);
}

#[tokio::test]
async fn a_host_whose_stream_the_journal_leaves_open_is_not_connected_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    engine.take(hello()).await.unwrap();
    engine.stop().await;
    end.await.unwrap().unwrap();
    assert!(engine.view().hosts[0].connected);
    let (engine, _end) = spawn(dir.path());
    let mut views = engine.views();
    views.wait_for(|view| view.hosts.iter().all(|host| !host.connected)).await.unwrap();
    assert_eq!(engine.view().hosts.len(), 1);
}

#[tokio::test]
async fn a_stopped_engine_answers_that_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    engine.stop().await;
    end.await.unwrap().unwrap();
    assert_eq!(engine.take(hello()).await, Err(Refusal::Stopped));
}

#[tokio::test]
async fn what_was_live_is_what_a_replay_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    engine.take(hello()).await.unwrap();
    for seq in 1..=50 {
        engine.take(report(seq)).await.unwrap();
    }
    engine.stop().await;
    end.await.unwrap().unwrap();
    let mut fold = Fold::default();
    journal::read(dir.path(), &mut |entry| drop(fold.fold_bytes(entry.payload))).unwrap();
    let live = engine.view();
    let replayed = picture(&fold.core, live.at_us, live.stats.clone());
    assert_eq!(*live, replayed);
}

/// A report with a failing upstream and a log line that makes it `bytes` large.
fn failing_report(host: &str, seq: u64, bytes: usize) -> Incoming {
    let numbering = Numbering { host: host.to_owned(), ..numbering() };
    let at_unix_us = 1_700_000_000_000_000 + seq as i64;
    let attempt = v1::Attempt { upstream: "10.0.0.9:1".into(), signal: "connect_refused".into(), ..Default::default() };
    let failure = v1::Failure {
        gateway: "edge".into(),
        status: 502,
        signal: "connect_refused".into(),
        attempts: vec![attempt],
        line: "x".repeat(bytes),
        ..Default::default()
    };
    let kind = Some(v1::event::Kind::Failure(failure));
    let host = v1::HostSample { at_unix_us, load1: Some(seq as f64), ..Default::default() };
    let events = vec![v1::Event { at_unix_us, kind }];
    let report = v1::Report { seq, at_unix_us, host: Some(host), events, ..Default::default() };
    wire::report(&numbering, report).unwrap()
}

async fn take_failures(engine: &Handle, numbers: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<i64> {
    let mut times = Vec::new();
    for seq in numbers {
        times.push(engine.take(failing_report("app-1", seq, bytes)).await.unwrap().received_us);
    }
    times
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(std::fs::copy(entry.path(), target)) }
    }
}

/// The folded state of the journal in `dir` as a start finds it, and how many records it read for that.
fn started(dir: &Path) -> (Vec<u8>, u64) {
    let engine = Engine::open(dir, Options::default()).unwrap();
    let read = engine.journal.records() - engine.checkpoint_at;
    (postcard::to_stdvec(&engine.state).unwrap(), read)
}

#[tokio::test]
async fn a_checkpoint_and_what_came_after_it_give_what_the_whole_journal_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    engine.take(hello()).await.unwrap();
    take_failures(&engine, 1..=50, 10).await;
    engine.stop().await;
    end.await.unwrap().unwrap();
    let (engine, _end) = spawn(dir.path());
    take_failures(&engine, 51..=80, 10).await;
    // What a kill leaves behind.
    let killed = tempfile::tempdir().unwrap();
    copy(dir.path(), killed.path());
    let (folded, read) = started(killed.path());
    assert!((30..40).contains(&read), "{read} records after the checkpoint");
    std::fs::remove_file(Checkpoint::path(killed.path())).unwrap();
    let (whole, read) = started(killed.path());
    assert!(read > 80 && folded == whole, "{read} records in all");
}

#[test]
fn what_took_long_to_read_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), Options::default(), &mut |_| {}).unwrap();
    for number in 0..CHECKPOINT_RECORDS {
        journal.append(number as i64, |out| wire::tick().encode(out)).unwrap();
    }
    journal.commit(true).unwrap();
    drop(journal);
    // It was killed as it wrote, so there is no segment to go on from.
    let segment = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segment = segment.filter(|path| path.extension().is_some_and(|ending| ending == "seg"));
    let mut torn = std::fs::File::options().append(true).open(segment.next().unwrap()).unwrap();
    std::io::Write::write_all(&mut torn, &[1; 9]).unwrap();
    let (folded, _) = started(dir.path());
    assert_eq!(started(dir.path()), (folded, 0), "it was killed before its first tick");
}

#[tokio::test]
async fn a_checkpoint_that_is_broken_or_of_another_journal_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    take_failures(&engine, 1..=20, 10).await;
    engine.stop().await;
    end.await.unwrap().unwrap();
    let (whole, read) = started(dir.path());
    assert_eq!(read, 0);
    let path = Checkpoint::path(dir.path());
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // On a busy machine a tick may be among the reports.
    let (again, all) = started(dir.path());
    assert!(again == whole && all >= 20, "{all} records");
    for at in [0, 12, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(started(dir.path()), (whole.clone(), all), "byte {at} flipped");
    }
    for len in [0, 10, 17, good.len() / 2] {
        std::fs::write(&path, &good[..len]).unwrap();
        assert_eq!(started(dir.path()), (whole.clone(), all), "cut to {len} bytes");
    }
    let other = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(other.path());
    engine.take(hello()).await.unwrap();
    engine.stop().await;
    end.await.unwrap().unwrap();
    std::fs::remove_file(Checkpoint::path(other.path())).unwrap();
    let without = started(other.path());
    std::fs::write(Checkpoint::path(other.path()), good).unwrap();
    assert!(without.1 > 0 && started(other.path()) == without);
}

/// Waits until the first segment, which is large enough to be closed by a start, is packed.
async fn first_is_packed(dir: &Path) {
    let written = dir.join("00000000000000000001.seg");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while written.exists() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!written.exists() && written.with_extension("pak").exists());
}

#[tokio::test]
async fn each_host_of_a_packed_past_is_told_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    let hosts: Vec<String> = (0..9).map(|number| format!("app-{number}")).collect();
    let mut middle_us = 0;
    for seq in 1..=20 {
        for (_, host) in (10..).zip(&hosts).filter(|(last, _)| seq <= *last) {
            let taken = engine.take(failing_report(host, seq, 10_000)).await.unwrap();
            middle_us = if seq == 5 { taken.received_us } else { middle_us };
        }
    }
    engine.stop().await;
    end.await.unwrap().unwrap();
    let (engine, _end) = spawn(dir.path());
    first_is_packed(dir.path()).await;
    let told = |at_us| {
        let states = engine.past.states(&hosts, at_us).unwrap();
        states.iter().map(|host| (host.name.clone(), host.sample.as_ref().unwrap().load1)).collect::<Vec<_>>()
    };
    let in_the_middle: Vec<_> = hosts.iter().map(|host| (host.clone(), Some(5.0))).collect();
    let in_the_end: Vec<_> = (10..).zip(&hosts).map(|(last, host)| (host.clone(), Some(f64::from(last)))).collect();
    assert_eq!((told(middle_us), told(i64::MAX)), (in_the_middle, in_the_end));
}

#[tokio::test]
async fn past_states_are_told_as_they_were_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, end) = spawn(dir.path());
    engine.take(hello()).await.unwrap();
    // Large enough that several blocks fill.
    let mut times = take_failures(&engine, 1..=60, 20_000).await;
    engine.stop().await;
    end.await.unwrap().unwrap();
    let (engine, _end) = spawn(dir.path());
    times.extend(take_failures(&engine, 61..=100, 20_000).await);
    first_is_packed(dir.path()).await;
    let state = |at_us: i64| engine.past.states(&["app-1".to_owned()], at_us).unwrap().pop();
    for (seq, at_us) in (1..).zip(&times) {
        let host = state(*at_us).unwrap();
        let newest = times.iter().rposition(|other| other == at_us).unwrap() + 1;
        assert_eq!(host.sample.as_ref().unwrap().load1, Some(newest as f64), "after report {seq}");
        assert_eq!(host.gateways["edge"].upstreams["10.0.0.9:1"].failed, newest as u64);
    }
    assert_eq!(state(times[0] - 3_600_000_000), None);
    let (from_us, to_us) = (times[70], times[75]);
    let mut seen = 0;
    engine
        .past
        .records(&mut engine.past.files(), "app-1", from_us, to_us, &mut |record, _| {
            assert!((from_us..=to_us).contains(&record.received_us));
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, times.iter().filter(|at_us| (from_us..=to_us).contains(*at_us)).count());
    let newest = state(i64::MAX).unwrap();
    // What is acknowledged stands in the view a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while engine.view().hosts[0].last_heard_us != newest.last_heard_us && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(*newest, *engine.view().hosts[0]);
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_can_not_keep_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, faults) = journal::faulty::disk();
    let engine = Engine::open_on(dir.path(), Options::default(), Box::new(disk)).unwrap();
    let (engine, end) = engine.spawn().unwrap();
    engine.take(hello()).await.unwrap();
    engine.take(report(1)).await.unwrap();
    faults.fail_from(0);
    assert_eq!(engine.take(report(2)).await, Err(Refusal::Full));
    assert_eq!(engine.take(report(1)).await.unwrap().up_to, 1, "what is durable is still acknowledged");
    faults.mend();
    assert_eq!(engine.take(report(2)).await.unwrap().up_to, 2);
    engine.stop().await;
    end.await.unwrap().unwrap();
    assert_eq!(spawn(dir.path()).0.take(hello()).await.unwrap().up_to, 2);
}

#[tokio::test]
async fn a_failed_sync_ends_the_engine_and_nothing_of_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, faults) = journal::faulty::disk();
    let engine = Engine::open_on(dir.path(), Options::default(), Box::new(disk)).unwrap();
    let (engine, end) = engine.spawn().unwrap();
    engine.take(hello()).await.unwrap();
    faults.fail_syncs();
    assert_eq!(engine.take(report(1)).await, Err(Refusal::Stopped));
    assert!(end.await.unwrap().unwrap_err().contains("journal"));
}

#[tokio::test]
async fn one_sync_serves_many_reports() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, faults) = journal::faulty::disk();
    let engine = Engine::open_on(dir.path(), Options::default(), Box::new(disk)).unwrap();
    let (engine, _end) = engine.spawn().unwrap();
    engine.take(hello()).await.unwrap();
    let before = faults.syncs();
    let mut answers = Vec::new();
    for seq in 1..=400 {
        answers.push(engine.submit(report(seq)).await);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert!(faults.syncs() - before < 200, "{} syncs for 400 reports", faults.syncs() - before);
}
