//! Squid as an accelerator: its native access log, `time elapsed client RESULT/status bytes method URL user HIERARCHY/peer type`. A
//! peer was reached where the hierarchy names one; whether it or Squid made an error answer the line can't tell.

use super::stamp::{self, Zone};
use super::text_lines::TextLines;
use super::{Attempt, Line, Origin, Reader, Record, Signal, Stamp};

/// A reader of the native format.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(TextLines { zone: zone.clone(), line: read, otherwise: "no line of Squid's native format" })
}

fn read(text: &str, _: Option<Stamp>, _: &Zone) -> Option<Line> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [time, elapsed, client, result, bytes, method, url, _, hierarchy, ..] = words.as_slice() else { return None };
    let (at, rest) = stamp::unix(time.as_bytes())?;
    let (result, status) = result.split_once('/')?;
    let status: u16 = status.parse().ok().filter(|_| rest.is_empty())?;
    let peer = hierarchy.split_once('/').map(|(_, peer)| peer).filter(|peer| *peer != "-");
    let signal = match status {
        _ if result.contains("_ABORTED") || status == 0 || status == 499 => Signal::ClientAbort,
        ..400 => Signal::Ok,
        _ if result.contains("DENIED") => Signal::LbLocalResponse,
        500.. => Signal::StatusOnly,
        _ if peer.is_some() => Signal::AppStatus,
        400 | 405 | 408 | 411 | 413 | 414 | 417 | 431 => Signal::ClientError,
        _ => Signal::StatusOnly,
    };
    let attempt =
        |peer: &str| Attempt { upstream: Some(peer.to_owned()), status: Some(status), signal, ..Attempt::default() };
    Some(Line::Record(Box::new(Record {
        at: Some(at),
        status: Some(status),
        origin: match signal {
            Signal::ClientAbort | Signal::ClientError => Origin::Client,
            Signal::LbLocalResponse => Origin::Gateway,
            Signal::AppStatus => Origin::App,
            _ => Origin::Unknown,
        },
        signal,
        attempts: peer.map(attempt).into_iter().collect(),
        duration_us: elapsed.parse::<u64>().ok().and_then(|ms| ms.checked_mul(1_000)),
        method: Some((*method).to_owned()),
        path: Some((*url).to_owned()),
        client: Some((*client).to_owned()),
        body_bytes: bytes.parse().ok(),
        ..Record::default()
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_peers() {
        for (result, hierarchy, signal, upstream) in [
            ("TCP_MISS/200", "FIRSTUP_PARENT/10.0.0.2", Signal::Ok, Some("10.0.0.2")),
            ("TCP_MEM_HIT/200", "HIER_NONE/-", Signal::Ok, None),
            ("TCP_MISS/503", "HIER_NONE/-", Signal::StatusOnly, None),
            ("TCP_MISS/404", "FIRSTUP_PARENT/10.0.0.2", Signal::AppStatus, Some("10.0.0.2")),
            ("TCP_DENIED/403", "HIER_NONE/-", Signal::LbLocalResponse, None),
            ("TCP_MISS_ABORTED/000", "FIRSTUP_PARENT/10.0.0.2", Signal::ClientAbort, Some("10.0.0.2")),
            ("NONE_NONE/400", "HIER_NONE/-", Signal::ClientError, None),
        ] {
            let line = format!("1795331107.563     12 198.51.100.7 {result} 260 GET http://a/ - {hierarchy} text/html");
            let Line::Record(record) = reader(&Zone::utc()).read(line.as_bytes()) else { panic!("{line}") };
            let found = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
            assert_eq!((record.signal, found, record.duration_us), (signal, upstream, Some(12_000)), "{line}");
        }
    }
}
