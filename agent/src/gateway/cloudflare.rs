//! Cloudflare's Logpush data set of HTTP requests: statuses 520 to 526 are the edge's own and each has one meaning; an origin
//! status of 0 means that the origin gave none. Beside it cloudflared, the tunnel's end at the origin, whose errors are in the
//! words of Go's libraries.

use super::glance::{asked, is_nothing, is_served, plain};
use super::go_error;
use super::json::Object;
use super::json::skim::{Place, skim};
use super::json_lines::{JsonLines, scaled_us, stamp_of, status, told};
use super::stamp::{self, Zone};
use super::{Attempt, Line, Notice, Origin, Reader, Record, Served, Signal, Stamp};

/// A reader of Cloudflare's log.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(JsonLines { zone: zone.clone(), record, glance, other: tunnel })
}

fn record(entry: &Object, zone: &Zone) -> Result<Record, String> {
    let Some(edge) = status(entry.text("EdgeResponseStatus"))? else {
        return Err("no EdgeResponseStatus: not an entry of HTTP requests".to_owned());
    };
    let from_origin = status(entry.text("OriginResponseStatus"))?;
    let host = told(entry, "OriginIP");
    let signal = signal(edge, from_origin, host.is_some());
    let ms = |name: &str| scaled_us(entry.text(name), 1e3).filter(|us| *us > 0);
    let attempt = |upstream| Attempt {
        upstream: Some(upstream),
        status: from_origin.filter(|status| *status > 0),
        // The edge may cover an origin's error with what it has kept.
        signal: if signal == Signal::Ok && from_origin >= Some(500) { Signal::AppStatus } else { signal },
        connect_us: ms("OriginTCPHandshakeDurationMs"),
        header_us: ms("OriginResponseHeaderReceiveDurationMs").or_else(|| ms("OriginResponseDurationMs")),
        ..Attempt::default()
    };
    let ended = stamp_of(entry.text("EdgeEndTimestamp"), zone);
    let begun = stamp_of(entry.text("EdgeStartTimestamp"), zone);
    Ok(Record {
        at: ended.or(begun),
        status: Some(edge),
        origin: origin(signal),
        signal,
        attempts: host.map(attempt).into_iter().collect(),
        duration_us: between_us(begun, ended),
        method: told(entry, "ClientRequestMethod"),
        path: told(entry, "ClientRequestURI").or_else(|| told(entry, "ClientRequestPath")),
        request_id: told(entry, "RayID"),
        client: told(entry, "ClientIP"),
        server: told(entry, "ClientRequestHost"),
        body_bytes: entry.text("EdgeResponseBodyBytes").and_then(|bytes| bytes.parse().ok()),
        ..Record::default()
    })
}

fn between_us(begun: Option<Stamp>, ended: Option<Stamp>) -> Option<u64> {
    u64::try_from(ended?.unix_us.checked_sub(begun?.unix_us)?).ok()
}

const PLACES: [Place; 9] = [
    ("", "EdgeResponseStatus"),
    ("", "OriginResponseStatus"),
    ("", "OriginIP"),
    ("", "OriginResponseHeaderReceiveDurationMs"),
    ("", "OriginResponseDurationMs"),
    ("", "EdgeEndTimestamp"),
    ("", "EdgeStartTimestamp"),
    ("", "ClientRequestMethod"),
    ("", "ClientRequestURI"),
];

/// What is counted of an entry whose origin answered well. None: it is to be read whole.
fn glance<'a>(line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
    let [edge, origin, host, header, response, ended, begun, method, uri] = skim(line, &PLACES)?;
    if !is_served(edge.text()??) || !is_served(origin.text()??) {
        return None;
    }
    let (host, ended, begun) = (plain(host)?, plain(ended)?, plain(begun)?);
    let (ended, begun) = (stamp_of(ended, zone), stamp_of(begun, zone));
    let ms = |text: Option<&str>| scaled_us(text, 1e3).filter(|us| *us > 0);
    Some(Served {
        upstream: host.filter(|host| !is_nothing(host.as_bytes())),
        took_us: ms(plain(header)?).or(ms(plain(response)?)).or(between_us(begun, ended)),
        at: ended.or(begun),
        request: asked(method, uri),
    })
}

fn signal(edge: u16, from_origin: Option<u16>, has_host: bool) -> Signal {
    match (edge, from_origin) {
        (499, _) => Signal::ClientAbort,
        (521, _) => Signal::ConnectRefused,
        (522, _) => Signal::ConnectTimeout,
        (523, _) => Signal::ConnectUnreachable,
        (524, _) => Signal::ReadTimeout,
        (525, _) => Signal::TlsHandshake,
        (526, _) => Signal::TlsVerify,
        (520, Some(1..)) => Signal::ResponseInvalid,
        (520, _) => Signal::NoResponseHeaders,
        // The origin's name does not resolve or its tunnel is down: which one stands on the page alone.
        (530, _) => Signal::NoLiveUpstream,
        (..400, Some(1..)) => Signal::Ok,
        (_, Some(status @ 400..)) if status == edge => Signal::AppStatus,
        (500.., Some(0)) if has_host => Signal::UpstreamErrorUnspecified,
        (500.., None | Some(0)) => Signal::StatusOnly,
        (400 | 405 | 408 | 411 | 413 | 414 | 417 | 431, None | Some(0)) => Signal::ClientError,
        (429, None | Some(0)) => Signal::RateLimited,
        _ => Signal::LbLocalResponse,
    }
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::Ok | Signal::AppStatus => Origin::App,
        Signal::ClientAbort | Signal::ClientError => Origin::Client,
        Signal::StatusOnly => Origin::Unknown,
        _ => Origin::Gateway,
    }
}

/// `STAMP ERR  error="Unable to reach the origin service. ...: GO ERROR" ... originService=http://10.0.0.1:80`.
fn tunnel(body: &[u8], zone: &Zone) -> Option<Line> {
    let text = std::str::from_utf8(body).ok()?;
    let (at, rest) = stamp::rfc3339(text.as_bytes(), zone)?;
    let rest = std::str::from_utf8(rest).ok()?.trim_start();
    let (level, said) = rest.split_once(' ')?;
    if !matches!(level, "DBG" | "INF" | "WRN" | "ERR" | "FTL" | "PNC") {
        return None;
    }
    let said = said.trim_start();
    let Some(error) =
        said.strip_prefix("error=\"Unable to reach the origin service.").and_then(|rest| rest.split('"').next())
    else {
        let notice =
            Notice { at: Some(at), signal: Signal::Noise, says: said.chars().take(512).collect(), ..Notice::default() };
        return Some(Line::Notice(Box::new(notice)));
    };
    let (signal, address) =
        go_error::classify(error.split_once("from cloudflared: ").map_or(error, |(_, error)| error));
    let service = said.rsplit_once("originService=").and_then(|(_, service)| service.split(' ').next());
    let service = service.map(|service| service.split_once("://").map_or(service, |(_, host)| host).to_owned());
    let upstream = address.or(service);
    Some(Line::Record(Box::new(Record {
        at: Some(at),
        from_error_log: true,
        origin: Origin::Gateway,
        signal,
        attempts: vec![Attempt { upstream, signal, ..Attempt::default() }],
        reason: Some(error.chars().take(512).collect()),
        ..Record::default()
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_own_statuses_have_one_meaning_each() {
        assert_eq!(signal(521, Some(0), true), Signal::ConnectRefused);
        assert_eq!(signal(530, Some(0), false), Signal::NoLiveUpstream);
        assert_eq!(signal(502, Some(502), true), Signal::AppStatus);
        assert_eq!(signal(502, Some(0), true), Signal::UpstreamErrorUnspecified);
        assert_eq!(signal(302, Some(0), false), Signal::LbLocalResponse);
        assert_eq!(signal(200, Some(200), true), Signal::Ok);
    }
}
