//! One host that makes up names: services, processes, gateways, upstreams, sources, each only once.

use why502_proto::v1;
use why502_proto::v1::agent_message::Kind;

use super::{ATTACKER, Siege, greet};
use crate::fleet::{Host, Way, now_us};
use crate::torture::{Outcome, Size};

/// Names in a report.
const IN_REPORT: usize = 1_000;
/// How much the collector may grow, bytes: a little, and where the host sent more than 24 MiB of records also by what drawing
/// a capsule of it takes, which holds so many twice, and the past that they are replayed into.
const MOST: (u64, u64) = (64 << 20, 256 << 20);

/// Sends them all, coming in again whenever it is cut off.
pub fn run(size: Size) -> Outcome {
    let names = size.pick(25_000, 1_000_000);
    let siege = Siege::begin(None)?;
    let host = Host::new(ATTACKER);
    let way = siege.entrance.way(&host.name, ATTACKER)?;
    let (cuts, seen) = siege.under(size.pick(MOST.0, MOST.1), send_all(&way, &host, (names / IN_REPORT) as u64))?;
    if cuts == 0 {
        return Err(format!("{names} names and it was never cut off"));
    }
    let said = siege.all_named(&[host.name])?;
    let (took, bytes) = siege.collector.ask("/v1/instances")?;
    Ok(format!(
        "{names} names from one host: cut off {cuts} times and named ({said}); instances told in {} ms, {} KiB; {}",
        took.as_millis(),
        bytes >> 10,
        siege.figures(&seen)
    ))
}

/// Sends reports 1 to `reports` until all are taken; gives how often it was cut off.
async fn send_all(way: &Way, host: &Host, reports: u64) -> Result<u64, String> {
    let (mut cuts, mut before) = (0, 0);
    loop {
        let mut stream = greet(way, host).await?;
        let next = stream.up_to + 1;
        if next > reports {
            return Ok(cuts);
        }
        if cuts > 0 && next == before {
            return Err(format!("report {next} is never taken"));
        }
        before = next;
        let out = stream.out.clone();
        let sending = tokio::spawn(async move {
            for seq in next..=reports {
                let message = v1::AgentMessage { kind: Some(Kind::Report(report(seq))) };
                if out.send(message).await.is_err() {
                    return;
                }
            }
        });
        cuts += u64::from(!stream.acknowledged(reports).await?);
        sending.abort();
    }
}

fn report(seq: u64) -> v1::Report {
    let parts = IN_REPORT as u64 / 5;
    let numbers = || (0..parts).map(move |number| seq * parts + number);
    let process = |number| v1::ProcessSample { pid: 7, name: format!("process-{number}"), ..Default::default() };
    let instance = |number| v1::InstanceSample {
        service: format!("service-{number}"),
        process_count: 1,
        processes: vec![process(number)],
        ..Default::default()
    };
    let upstream = |number| v1::UpstreamSample {
        gateway: "edge".to_owned(),
        upstream: address(number, 3000),
        answered: 1,
        from_unix_us: now_us(),
        to_unix_us: now_us(),
        ..Default::default()
    };
    let source = |number| v1::LogSource {
        gateway: format!("gateway-{number}"),
        source: format!("/var/log/{number}.log"),
        ..Default::default()
    };
    let failure = |number| {
        let attempt = v1::Attempt {
            upstream: address(number, 4000),
            status: 502,
            signal: "connect_refused".to_owned(),
            ..Default::default()
        };
        let failure = v1::Failure {
            gateway: "edge".to_owned(),
            status: 502,
            origin: v1::Origin::Gateway.into(),
            signal: "connect_refused".to_owned(),
            attempts: vec![attempt],
            ..Default::default()
        };
        v1::Event { at_unix_us: now_us(), kind: Some(v1::event::Kind::Failure(failure)) }
    };
    v1::Report {
        seq,
        at_unix_us: now_us(),
        instances: numbers().map(instance).collect(),
        upstreams: numbers().map(upstream).collect(),
        sources: numbers().map(source).collect(),
        events: numbers().map(failure).collect(),
        ..Default::default()
    }
}

fn address(number: u64, port: u16) -> String {
    let [.., high, middle, low] = number.to_be_bytes();
    format!("10.{high}.{middle}.{low}:{port}")
}
