//! Messages that never end, that are larger than they may be, and that are small and become large.

use std::time::{Duration, Instant};

use prost::Message;
use tokio::task::JoinSet;
use why502_proto::v1;
use why502_proto::v1::agent_message::Kind;

use super::{ATTACKER, DEADLINE, RETRY, Siege, greet, h2};
use crate::fleet::{Host, Way};
use crate::torture::{Outcome, Size};

/// Largest message that is taken, bytes.
const MESSAGE_MAX: usize = 256 << 10;
/// Pause between two bytes.
const BETWEEN: Duration = Duration::from_millis(500);
/// Whoever was let in can drip for so long at least; who is closed earlier was turned away in the throng, and tries again.
const LET_IN: Duration = Duration::from_secs(15);
/// How much the collector may grow, bytes.
const MOST: u64 = 96 << 20;

/// Sends what is too large, at once, and in full what is endless, from many hosts.
pub fn run(size: Size) -> Outcome {
    let endless = size.pick(0, 1_000);
    let siege = Siege::begin(None)?;
    let hosts: Vec<String> = (0..4 + endless).map(|number| Host::new(ATTACKER + number).name).collect();
    let ways: Result<Vec<Way>, String> =
        (0..).zip(&hosts).map(|(number, host)| siege.entrance.way(host, ATTACKER + number)).collect();
    let ways = ways?;
    let ((ends, longest, stay), seen) = siege.under(MOST, async {
        let large = too_large(&ways[0]).await?;
        let bomb = bomb(&ways[1]).await?;
        let compressed = by_hand(&ways[2], ATTACKER + 2, h2::framed(1, &[0x1f; 64])).await?;
        let announced = by_hand(&ways[3], ATTACKER + 3, announced()).await?;
        let mut dripping = JoinSet::new();
        for (number, way) in ways.into_iter().enumerate().skip(4) {
            dripping.spawn(drip(way, number));
        }
        let mut longest = Duration::ZERO;
        while let Some(held) = dripping.join_next().await {
            longest = longest.max(held.map_err(|error| error.to_string())??);
        }
        // Both stay until it is known who they are.
        Ok((format!("\"{large}\", \"{bomb}\""), longest, [compressed, announced]))
    })?;
    siege.all_named(&hosts[..4])?;
    drop(stay);
    let endless = match endless {
        0 => String::new(),
        many => format!("{many} endless messages cut off after {:.1} s at most; ", longest.as_secs_f64()),
    };
    Ok(format!(
        "too large, a bomb, compressed, announced too large: each cut off and its host named ({ends}); {endless}{}",
        siege.figures(&seen)
    ))
}

/// One message larger than is taken.
async fn too_large(way: &Way) -> Result<String, String> {
    let mut stream = greet(way, &Host::new(ATTACKER)).await?;
    let note = v1::KernelNote { line: "x".repeat(MESSAGE_MAX), ..Default::default() };
    let event = v1::Event { at_unix_us: 0, kind: Some(v1::event::Kind::KernelNote(note)) };
    stream.send(Kind::Report(v1::Report { seq: 1, events: vec![event], ..Default::default() })).await;
    Ok(stream.end().await?.message().to_owned())
}

/// A report that is packed to a few bytes and would become larger than any.
async fn bomb(way: &Way) -> Result<String, String> {
    let mut stream = greet(way, &Host::new(ATTACKER + 1)).await?;
    let event = v1::event::Kind::KernelNote(v1::KernelNote { line: "x".repeat(30_000), ..Default::default() });
    let base = v1::Report {
        seq: 1,
        host: Some(v1::HostSample::default()),
        events: vec![v1::Event { at_unix_us: 0, kind: Some(event) }],
        ..Default::default()
    };
    let base = base.encode_to_vec();
    let length = |bytes: usize| varint(bytes as u64);
    let whole = [length(base.len()), base.clone()].concat();
    stream.send(Kind::Packed(v1::PackedReport { base_seq: 0, steps: whole })).await;
    // Nothing new, all of the base, from as far back as the copy before went: over and over.
    let back = varint((base.len() as u64) * 2 - 1);
    let again = [vec![0], length(base.len()), back].concat();
    let steps = [vec![0], length(base.len()), vec![0], again.repeat(100_000 / 8)].concat();
    stream.send(Kind::Packed(v1::PackedReport { base_seq: 1, steps })).await;
    Ok(stream.end().await?.message().to_owned())
}

fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number, &mut bytes);
    bytes
}

/// The beginning of a message that says it is as large as can be said.
fn announced() -> Vec<u8> {
    [&[0][..], &u32::MAX.to_be_bytes(), &[7; 32]].concat()
}

/// Says hello, and then something.
async fn by_hand(way: &Way, number: usize, bytes: Vec<u8>) -> Result<h2::Wire, String> {
    let mut wire = said_hello(way, number).await?;
    wire.write(&h2::data(1, &bytes)).await;
    Ok(wire)
}

async fn said_hello(way: &Way, number: usize) -> Result<h2::Wire, String> {
    let hello = Kind::Hello(Host::new(number).hello(1, 1, Duration::from_secs(1)));
    let hello = h2::message(&v1::AgentMessage { kind: Some(hello) });
    // Where a thousand come at once some are turned away, and try again.
    let begun = async {
        loop {
            let wire = match way.open().await {
                Ok(stream) => h2::Wire::begin(stream).await,
                Err(error) => Err(error),
            };
            match wire {
                Ok(wire) => break wire,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    let begun = tokio::time::timeout(DEADLINE, begun).await;
    let mut wire = begun.map_err(|_| format!("attacker {number} is never let in"))?;
    wire.write(&[h2::open(1), h2::data(1, &hello)].concat()).await;
    Ok(wire)
}

/// Lets a message drip until it is cut off; how long that went on.
async fn drip(way: Way, number: usize) -> Result<Duration, String> {
    let until = Instant::now() + 2 * DEADLINE;
    loop {
        match dripped(&way, number).await? {
            held if held >= LET_IN => return Ok(held),
            _ if Instant::now() > until => return Err(format!("attacker {number} is never let in")),
            _ => tokio::time::sleep(RETRY).await,
        }
    }
}

/// A message as large as may be, a byte at a time.
async fn dripped(way: &Way, number: usize) -> Result<Duration, String> {
    let mut wire = said_hello(way, ATTACKER + number).await?;
    let began = Instant::now();
    let length = (MESSAGE_MAX as u32 - 1).to_be_bytes();
    wire.write(&h2::data(1, &[&[0][..], &length].concat())).await;
    while wire.write(&h2::data(1, b"x")).await {
        if began.elapsed() > 2 * DEADLINE {
            return Err(format!("attacker {number} goes on for ever"));
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(began.elapsed())
}
