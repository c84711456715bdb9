//! Descriptors that run out: by more connections than there is room for, and by a limit that sinks below what is open.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{ATTACKER, DEADLINE, Siege, come_in};
use crate::bench::meter;
use crate::fleet::{Collector, Host};
use crate::torture::{Outcome, Size};

/// What the collector gets.
const LIMIT: u64 = 256;
/// How long a crowd stays.
const STAY: Duration = Duration::from_secs(1);
/// How much it may grow, bytes.
const MOST: u64 = 64 << 20;

/// Crowds both doors, then takes the descriptors away for a while.
pub fn run(size: Size) -> Outcome {
    let (crowd, away) = (size.pick(500, 5_000), size.pick(Duration::from_secs(1), Duration::from_secs(20)));
    let siege = Siege::begin(Some(LIMIT))?;
    let stranger = siege.entrance.stranger(ATTACKER)?;
    let api = siege.collector.api.trim_start_matches("http://").to_owned();
    let (crowded, seen) = siege.under(MOST, async {
        let mut coming = JoinSet::new();
        for number in 0..crowd {
            let (way, api) = (stranger.moved(&siege.entrance, ATTACKER + number % 100), api.clone());
            coming.spawn(async move { (way.tcp().await, TcpStream::connect(api).await) });
        }
        let crowd = tokio::time::timeout(DEADLINE, coming.join_all()).await;
        // They stay until the honest were looked at for a while.
        let _crowd = crowd.map_err(|_| "connections wait for ever".to_owned())?;
        tokio::time::sleep(STAY).await;
        Ok(siege.collector.descriptors())
    })?;
    let ([calm, without], back) = siege.runtime.block_on(without_descriptors(&siege, away))?;
    siege.runtime.block_on(siege.fleet.all_acknowledged(DEADLINE))?;
    if siege.fleet.figures.reconnects() > 0 {
        return Err("streams of honest hosts ended while there was no descriptor".to_owned());
    }
    Ok(format!(
        "{} connections at limit {LIMIT}: {crowded} descriptors open; none to be had for {} s: {without:.1} % of a core, {calm:.1} % before, \
         open streams went on, a host let in {} ms after there were some again; {}",
        2 * crowd,
        away.as_secs(),
        back.as_millis(),
        siege.figures(&seen)
    ))
}

/// Takes the descriptors away while hosts want in; the share of a core that the collector used
/// before and then, and how soon one was in after.
async fn without_descriptors(siege: &Siege, away: Duration) -> Result<([f64; 2], Duration), String> {
    let collector = &siege.collector;
    let calm = percent(collector, away).await?;
    limit(collector, 1)?;
    let mut waiting = JoinSet::new();
    for number in 0..20 {
        let host = Host::new(ATTACKER + 1 + number);
        let way = siege.entrance.way(&host.name, ATTACKER + 1 + number)?;
        waiting.spawn(async move { come_in(&way, &host).await });
    }
    let without = percent(collector, away).await?;
    limit(collector, LIMIT)?;
    let began = Instant::now();
    let in_time = tokio::time::timeout(DEADLINE, waiting.join_next()).await;
    in_time
        .map_err(|_| "nobody is let in any more".to_owned())?
        .ok_or("nobody waited")?
        .map_err(|error| error.to_string())?;
    Ok(([calm, without], began.elapsed()))
}

/// The share of a core that the collector uses over a time, percent.
async fn percent(collector: &Collector, over: Duration) -> Result<f64, String> {
    let used = || meter::cpu(collector.pid()).ok_or("the collector is gone");
    let before = used()?;
    tokio::time::sleep(over).await;
    Ok(used()?.saturating_sub(before).as_secs_f64() / over.as_secs_f64() * 100.0)
}

/// Sets how many descriptors it may have from now on; what is open stays.
fn limit(collector: &Collector, descriptors: u64) -> Result<(), String> {
    let mut program = Command::new("prlimit");
    program.arg("--pid").arg(collector.pid().to_string()).arg(format!("--nofile={descriptors}:{LIMIT}"));
    match program.status().map_err(|error| format!("prlimit: {error}"))? {
        status if status.success() => Ok(()),
        status => Err(format!("prlimit: {status}")),
    }
}
