//! The real program under kill -9.

use std::collections::BTreeMap;

use prost::Message;
use why502_proto::v1;
use why502_proto::v1::journal_record::Kind;

use super::agent::{Agent, Program, hello, report};

/// The same numbers at every run, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Sends as many reports as the dice say, reads some of the acknowledgements; gives the highest number sent and acked.
async fn one_life(ingest: &str, acked: u64, sent: u64, dice: &mut Dice) -> (u64, u64) {
    let (mut agent, up_to) = Agent::connect(ingest, hello("app-1", acked + 1)).await;
    assert!(up_to >= acked, "acknowledged up to {acked}, after the restart only {up_to} are there");
    let mut acked = up_to.max(acked);
    let last = (acked + 1 + dice.below(60)).max(sent);
    for seq in acked + 1..=last {
        let event = v1::Event { at_unix_us: seq as i64, kind: None };
        if !agent.send(report(seq, vec![event])).await {
            break;
        }
        if dice.below(4) == 0 {
            acked = acked.max(agent.next_ack().await.unwrap());
        }
    }
    (acked, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_a_hundred_times_nothing_acknowledged_is_lost_and_nothing_is_taken_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x5020);
    let (mut acked, mut sent) = (0, 0);
    for _ in 0..100 {
        let program = Program::start(dir.path());
        (acked, sent) = one_life(&program.ingest, acked, sent, &mut dice).await;
        program.kill();
    }
    let mut taken: BTreeMap<u64, u32> = BTreeMap::new();
    let recovery = why502::journal::read(&dir.path().join("store/journal"), &mut |entry| {
        let record = v1::JournalRecord::decode(entry.payload).unwrap();
        if let Some(Kind::Report(report)) = record.kind {
            *taken.entry(report.report.unwrap().seq).or_default() += 1;
        }
    });
    recovery.unwrap();
    assert!(taken.values().all(|times| *times == 1), "taken twice: {taken:?}");
    assert!((1..=acked).all(|seq| taken.contains_key(&seq)), "acknowledged up to {acked}: {taken:?}");
    assert!(acked > 500 && taken.keys().max().is_some_and(|last| *last <= sent));
}
