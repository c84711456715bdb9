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
    journal::read(dir.path(), &mut |entry| fold.fold_bytes(entry.payload)).unwrap();
    let live = engine.view();
    let replayed = picture(&fold.core, live.at_us, live.stats.clone());
    assert_eq!(*live, replayed);
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
