//! Connections that are begun and go no further: each of the steps that a host takes until it is known, and not the next.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::{ATTACKER, DEADLINE, Siege, h2};
use crate::fleet::{Host, Io, Way};
use crate::torture::{Outcome, Size};

/// Attackers' addresses.
const ADDRESSES: usize = 100;
/// Connections that are begun at once, and the pause after them.
const WAVE: usize = 50;
const PAUSE: Duration = Duration::from_millis(50);
/// Each must be closed so soon.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// How much the collector may grow, bytes.
const MOST: u64 = 64 << 20;

/// How far a connection goes.
#[derive(Debug, Clone, Copy)]
enum Half {
    /// It is there.
    Tcp,
    /// The beginning of a TLS record.
    Record,
    /// TLS, and then nothing.
    Tls,
    /// Half of what HTTP/2 begins with.
    Preface,
    /// HTTP/2 of a host with a certificate, and nothing is asked for.
    NoStream,
    /// The host's call, and it does not say hello.
    NoHello,
    /// It says hello, a byte at a time.
    SlowHello,
}

const ALL: [Half; 7] =
    [Half::Tcp, Half::Record, Half::Tls, Half::Preface, Half::NoStream, Half::NoHello, Half::SlowHello];

/// Begins them all and waits until each is closed.
pub fn run(size: Size) -> Outcome {
    let count = size.pick(700, 5_000);
    let siege = Siege::begin(None)?;
    let (stranger, host) = (siege.entrance.stranger(ATTACKER)?, Host::new(ATTACKER));
    let known = siege.entrance.way(&host.name, ATTACKER)?;
    let (longest, seen) = siege.under(MOST, async {
        let mut begun = JoinSet::new();
        for number in 0..count {
            let (half, from) = (ALL[number % ALL.len()], ATTACKER + number / ALL.len() % ADDRESSES);
            let with_certificate = matches!(half, Half::NoStream | Half::NoHello | Half::SlowHello);
            let way = if with_certificate { &known } else { &stranger }.moved(&siege.entrance, from);
            begun.spawn(hold(half, way));
            if number % WAVE == WAVE - 1 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let mut longest = Duration::ZERO;
        while let Some(held) = begun.join_next().await {
            longest = longest.max(held.map_err(|error| error.to_string())??);
        }
        Ok(longest)
    })?;
    let said = siege.all_named(&[host.name])?;
    let (held_s, figures) = (longest.as_secs_f64(), siege.figures(&seen));
    if longest > CLOSED_WITHIN {
        return Err(format!("one of {count} half open was closed only after {held_s:.1} s; {figures}"));
    }
    Ok(format!(
        "{count} half open in {} ways, all closed after {held_s:.1} s at most, the host that had a certificate named \
         ({said}); {figures}",
        ALL.len()
    ))
}

/// Begins a connection and gives how long it was there before it was closed.
async fn hold(half: Half, way: Way) -> Result<Duration, String> {
    let began = Instant::now();
    let held = tokio::time::timeout(DEADLINE, async {
        // One that is closed before it has come so far is closed.
        let _ = begin_and_wait(half, &way).await;
    });
    held.await.map_err(|_| format!("{half:?}: never closed"))?;
    Ok(began.elapsed())
}

async fn begin_and_wait(half: Half, way: &Way) -> io::Result<()> {
    match half {
        Half::Tcp => wait(Box::new(way.tcp().await?), &[]).await,
        Half::Record => wait(Box::new(way.tcp().await?), &[0x16, 3, 1, 2, 0]).await,
        Half::Tls => wait(way.open().await?, &[]).await,
        Half::Preface => wait(way.open().await?, &h2::PREFACE[..12]).await,
        Half::NoStream => wait(way.open().await?, &[h2::PREFACE, &h2::settings()].concat()).await,
        Half::NoHello => wait(way.open().await?, &[h2::PREFACE, &h2::settings(), &h2::open(1)].concat()).await,
        Half::SlowHello => {
            let mut wire = h2::Wire::begin(way.open().await?).await?;
            wire.write(&[h2::open(1), h2::data(1, &[0, 0, 0, 1, 0])].concat()).await;
            while wire.write(&h2::data(1, b"h")).await {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        }
    }
}

/// Says something, and then nothing until the other side closes.
async fn wait(mut stream: Box<dyn Io>, says: &[u8]) -> io::Result<()> {
    stream.write_all(says).await?;
    stream.flush().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
