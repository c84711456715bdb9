//! Floods of what HTTP/2 lets anybody send without end, each by a host that is enrolled.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{ATTACKER, DEADLINE, Siege, h2};
use crate::fleet::{Host, Way};
use crate::torture::{Outcome, Size};

/// Frames that are written at once.
const AT_ONCE: u32 = 100;
/// How much the collector may grow, bytes.
const MOST: u64 = 64 << 20;

/// What there are floods of.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Pings,
    Settings,
    /// Streams that are opened and reset.
    Resets,
    /// Pieces of a message with nothing in them.
    EmptyData,
    /// Pieces of a call's fields with nothing in them.
    Continuations,
}

const ALL: [Flood; 5] = [Flood::Pings, Flood::Settings, Flood::Resets, Flood::EmptyData, Flood::Continuations];

impl Flood {
    /// What comes before it.
    fn prelude(self) -> Vec<u8> {
        match self {
            Self::EmptyData => h2::open(1),
            Self::Continuations => h2::open_without_end(1),
            Self::Pings | Self::Settings | Self::Resets => Vec::new(),
        }
    }

    fn frame(self, number: u32) -> Vec<u8> {
        let stream = 2 * number + 1;
        match self {
            Self::Pings => h2::ping(),
            Self::Settings => h2::settings(),
            Self::Resets => [h2::open(stream), h2::reset(stream)].concat(),
            Self::EmptyData => h2::data(1, &[]),
            Self::Continuations => h2::go_on(1),
        }
    }
}

/// Floods again and again, each flood until it is cut off.
pub fn run(size: Size) -> Outcome {
    let lasting = size.pick(Duration::from_secs(1), Duration::from_secs(60));
    let siege = Siege::begin(None)?;
    let hosts: Vec<String> = (0..ALL.len()).map(|number| Host::new(ATTACKER + number).name).collect();
    let ways: Result<Vec<Way>, String> =
        (0..).zip(&hosts).map(|(number, host)| siege.entrance.way(host, ATTACKER + number)).collect();
    let ways = ways?;
    let ((cuts, frames, longest), seen) = siege.under(MOST, async {
        let mut floods = JoinSet::new();
        for (flood, way) in ALL.into_iter().zip(ways) {
            floods.spawn(again_and_again(flood, way, Instant::now() + lasting));
        }
        let (mut cuts, mut frames, mut longest) = (0, 0, Duration::ZERO);
        while let Some(flooded) = floods.join_next().await {
            let (times, sent, held) = flooded.map_err(|error| error.to_string())??;
            (cuts, frames, longest) = (cuts + times, frames + sent, longest.max(held));
        }
        Ok((cuts, frames, longest))
    })?;
    let said = siege.all_named(&hosts)?;
    Ok(format!(
        "{} floods cut off {cuts} times after {frames} frames, after {:.1} s at most, each host named ({said}); {}",
        ALL.len(),
        longest.as_secs_f64(),
        siege.figures(&seen)
    ))
}

/// How often a flood was cut off, how many frames it sent, and the longest that it lasted.
async fn again_and_again(flood: Flood, way: Way, until: Instant) -> Result<(u64, u64, Duration), String> {
    let (mut cuts, mut frames, mut longest) = (0, 0, Duration::ZERO);
    while Instant::now() < until || cuts == 0 {
        let began = Instant::now();
        let flooded = tokio::time::timeout(DEADLINE, once(flood, &way)).await;
        frames += flooded.map_err(|_| format!("{flood:?}: never cut off"))?;
        (cuts, longest) = (cuts + 1, longest.max(began.elapsed()));
    }
    Ok((cuts, frames, longest))
}

/// Floods until that is cut off; gives the frames that were sent.
async fn once(flood: Flood, way: &Way) -> u64 {
    let Ok(stream) = way.open().await else { return 0 };
    let Ok(mut wire) = h2::Wire::begin(stream).await else { return 0 };
    let mut sent = 0;
    let mut going = wire.write(&flood.prelude()).await;
    while going {
        let frames: Vec<u8> = (sent..sent + AT_ONCE).flat_map(|number| flood.frame(number)).collect();
        sent += AT_ONCE;
        going = wire.write(&frames).await;
    }
    wire.closed().await;
    u64::from(sent)
}
