//! Squid as an accelerator: its native access log, `time elapsed client RESULT/status bytes method URL user HIERARCHY/peer type`, its
//! combined one, and the words of cache.log. A peer was reached where the hierarchy names one; whether it or Squid made an
//! error answer an access line can't tell, and where no peer was alive it names none.

use std::sync::LazyLock;

use super::apache::{access, format};
use super::stamp::{self, Zone};
use super::template::Template;
use super::text_lines::{TextLines, notice, told};
use super::{Attempt, Line, Notice, Origin, Reader, Record, Signal, Stamp};

/// A reader of all of Squid's logs.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(TextLines { zone: zone.clone(), line: read, otherwise: "no line of Squid's logs" })
}

fn read(text: &str, _: Option<Stamp>, zone: &Zone) -> Option<Line> {
    native(text).or_else(|| own(text, zone)).or_else(|| combined(text, zone))
}

/// Up to the answer's size it is the common format.
static COMBINED: LazyLock<Template> = LazyLock::new(|| format::parse(format::COMMON).with_open_end());

/// `logformat combined`, whose end names the result and how the peer was chosen, without its address.
fn combined(text: &str, zone: &Zone) -> Option<Line> {
    let (_, result) = text.rsplit_once(' ')?;
    result
        .split_once(':')
        .filter(|(result, _)| result.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))?;
    let fields = COMBINED.read(text.as_bytes()).ok()?;
    access::record(&fields, zone).map(|record| Line::Record(Box::new(record)))
}

/// cache.log: `stamp| words`, with `kidN` between them where there are workers; what belongs to such a line follows indented.
fn own(text: &str, zone: &Zone) -> Option<Line> {
    if text.starts_with("    ") {
        return Some(notice(None, Signal::Continuation, text.trim_start()));
    }
    let (at, rest) = stamp::slashed(text.as_bytes(), zone)?;
    let (worker, said) = std::str::from_utf8(rest).ok()?.split_once("| ")?;
    (worker.is_empty() || worker.starts_with(" kid")).then(|| meaning(Some(at), said))
}

fn meaning(at: Option<Stamp>, said: &str) -> Line {
    let peer = |signal, name: &str| {
        let upstream = Some(name.trim().to_owned());
        Line::Notice(Box::new(Notice { at, upstream, signal, says: said.to_owned(), ..Notice::default() }))
    };
    const LIFE: [&str; 5] =
        ["Starting Squid", "Preparing for shutdown", "Squid Cache", "Reconfiguring", "Process Roles"];
    let invalid = said.split_once("HTTP: Invalid Response: ").map(|(_, why)| why);
    if let Some(address) = said.strip_prefix("TCP connection to ").and_then(|rest| rest.strip_suffix(" failed")) {
        return told(
            at,
            Signal::ConnectFailed,
            address.rsplit_once('/').map(|(host, port)| format!("{host}:{port}")),
            said,
        );
    }
    match invalid {
        Some(why) if why.starts_with("No object data") => told(at, Signal::NoResponseHeaders, None, said),
        Some(why) if why.starts_with("Bad header") => told(at, Signal::HeaderInvalid, None, said),
        Some(_) => told(at, Signal::ResponseInvalid, None, said),
        None => match said.split_once(" Parent: ") {
            Some(("Detected DEAD", name)) => peer(Signal::UpstreamDisabled, name),
            Some(("Detected REVIVED", name)) => peer(Signal::HealthCheckUp, name),
            _ if said.starts_with("FATAL:") => notice(at, Signal::GatewayCrash, said),
            _ if LIFE.iter().any(|words| said.starts_with(words)) => notice(at, Signal::GatewayLifecycle, said),
            _ => notice(at, Signal::Noise, said),
        },
    }
}

fn native(text: &str) -> Option<Line> {
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
