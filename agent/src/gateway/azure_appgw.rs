//! Azure Application Gateway's access log, both versions. v2 tells what happened in `properties.error_info` and times in
//! seconds; v1 has neither, tells milliseconds and hides the member's address and status in `requestQuery`.

use super::glance::{asked, is_nothing, is_served, plain};
use super::json::skim::{Place, skim};
use super::json::{Object, Value};
use super::json_lines::{JsonLines, later, nothing_else, scaled_us, stamp_of, status, told};
use super::stamp::Zone;
use super::{Attempt, Origin, Reader, Record, Served, Signal};

/// A reader of the gateway's access log.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(JsonLines { zone: zone.clone(), record, glance, other: nothing_else })
}

fn record(entry: &Object, zone: &Zone) -> Result<Record, String> {
    let empty = Object::default();
    let nested = entry.get("properties").and_then(Value::object);
    // The table of resource-specific logs is flat and begins its names with capitals.
    let get = |name: &str| {
        let capital =
            name.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + name.get(1..).unwrap_or_default();
        nested.and_then(|inner| told(inner, name)).or_else(|| told(entry, name)).or_else(|| told(entry, &capital))
    };
    let Some(code) = get("httpStatus") else { return Err("no httpStatus: not an access log's entry".to_owned()) };
    let status = status(Some(&code))?;
    let info = get("error_info").or_else(|| get("errorInfo"));
    let query = Query(get("requestQuery").unwrap_or_default());
    let served = get("serverStatus").or_else(|| query.get("SERVER-STATUS")).and_then(|code| code.parse::<u16>().ok());
    let routed = get("serverRouted").or_else(|| query.get("SERVER-ROUTED"));
    let signal = signal(info.as_deref(), status, served, routed.is_some());
    // Only v2 names the member in a column of its own, and only v2 tells seconds.
    let unit_us = if info.is_some() || get("serverRouted").is_some() { 1e6 } else { 1e3 };
    let duration_us = scaled_us(get("timeTaken").as_deref(), unit_us);
    let header_us = scaled_us(get("serverResponseLatency").as_deref(), 1e6);
    let at =
        entry.text("timeStamp").or_else(|| entry.text("time")).or_else(|| nested.unwrap_or(&empty).text("timeStamp"));
    Ok(Record {
        at: stamp_of(at.or_else(|| entry.text("TimeGenerated")), zone).map(|at| later(at, None)),
        status,
        origin: origin(signal),
        signal,
        attempts: attempts(routed.as_deref(), signal, served, header_us),
        duration_us,
        method: get("httpMethod"),
        path: get("originalRequestUriWithArgs").or_else(|| get("requestUri")),
        request_id: get("transactionId").or_else(|| query.get("X-AzureApplicationGateway-LOG-ID")),
        client: get("clientIP").or_else(|| get("clientIp")),
        server: get("host").or_else(|| get("originalHost")),
        pool: told(entry, "backendPoolName").or_else(|| get("backendPoolName")),
        reason: info,
        body_bytes: get("sentBytes").and_then(|bytes| bytes.parse().ok()),
        ..Record::default()
    })
}

const PLACES: [Place; 10] = [
    ("properties", "httpStatus"),
    ("properties", "error_info"),
    ("properties", "serverRouted"),
    ("properties", "serverStatus"),
    ("properties", "serverResponseLatency"),
    ("properties", "timeTaken"),
    ("", "timeStamp"),
    ("", "time"),
    ("properties", "httpMethod"),
    ("properties", "originalRequestUriWithArgs"),
];

/// What is counted of an entry of v2 that tells of one member and of nothing amiss. None: it is to be read whole.
fn glance<'a>(line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
    let [status, info, routed, answer, latency, took, stamp, time, method, uri] = skim(line, &PLACES)?;
    let is_plain = info.text()?? == b"ERRORINFO_NO_ERROR" && is_served(answer.text()??);
    if !is_plain || !is_served(status.text()??) {
        return None;
    }
    let routed = plain(routed)?.filter(|routed| !is_nothing(routed.trim().as_bytes()) && !routed.contains(','))?;
    let time = plain(stamp)?.or(plain(time)?)?;
    Some(Served {
        upstream: Some(routed.trim()),
        took_us: scaled_us(plain(latency)?, 1e6).or(scaled_us(plain(took)?, 1e6)),
        at: stamp_of(Some(time), zone),
        request: asked(method, uri),
    })
}

/// v1's `X-AzureApplicationGateway-...=...&SERVER-ROUTED=10.4.0.4&SERVER-STATUS=200`. The client's own query stands in
/// `originalRequestUriWithArgs`; should it stand here too, the gateway's part comes last.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> Option<String> {
        let parts = self.0.rsplit('&').filter_map(|part| part.split_once('='));
        parts.take(16).find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }
}

fn signal(info: Option<&str>, status: Option<u16>, served: Option<u16>, routed: bool) -> Signal {
    let by_status = |status: Option<u16>| match status {
        None => Signal::Unknown,
        Some(..400) if routed => Signal::Ok,
        Some(..400) => Signal::LbLocalResponse,
        Some(499) => Signal::ClientAbort,
        Some(_) if served.is_some() && served == status && info.is_some() => Signal::AppStatus,
        Some(400 | 405 | 408 | 411 | 413 | 414 | 417 | 431) if !routed => Signal::ClientError,
        // Only v2 would name the member, had one been asked: a firewall's or a rule's answer.
        Some(..500) if !routed && info.is_some() => Signal::LbLocalResponse,
        // v1 repeats the code that the gateway made.
        Some(_) => Signal::StatusOnly,
    };
    let Some(info) = info else { return by_status(status) };
    match info.trim_start_matches("ERRORINFO_") {
        "NO_ERROR" => by_status(status),
        "UPSTREAM_NO_LIVE" => Signal::NoLiveUpstream,
        "UPSTREAM_CLOSED_CONNECTION" => Signal::ClosedBeforeHeaders,
        "UPSTREAM_TIMED_OUT" => Signal::ReadTimeout,
        "CLIENT_CLOSED_REQUEST" | "CLIENT_TIMED_OUT" => Signal::ClientAbort,
        other if other.contains("SSL") || other.contains("CERTIFICATE") || other.contains("TLS") => {
            Signal::TlsHandshake
        }
        other if other.contains("RESOLVE") || other.contains("DNS") => Signal::DnsFailure,
        other if other.contains("CONNECT") && other.contains("UPSTREAM") => Signal::ConnectFailed,
        other if other.contains("HEADER") && other.contains("UPSTREAM") => Signal::HeaderInvalid,
        other if other.contains("UPSTREAM") => Signal::UpstreamErrorUnspecified,
        other if other.contains("INVALID") || other.contains("REQUEST") || other.contains("HTTP") => {
            Signal::ClientError
        }
        _ => Signal::LbLocalResponse,
    }
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::Ok | Signal::AppStatus => Origin::App,
        Signal::ClientAbort | Signal::ClientError => Origin::Client,
        Signal::StatusOnly | Signal::Unknown => Origin::Unknown,
        _ => Origin::Gateway,
    }
}

/// Members tried are listed with commas; the last one's end is the line's.
fn attempts(routed: Option<&str>, signal: Signal, served: Option<u16>, header_us: Option<u64>) -> Vec<Attempt> {
    if signal == Signal::NoLiveUpstream {
        return Vec::new();
    }
    let members: Vec<&str> =
        routed.unwrap_or("").split(',').map(str::trim).filter(|member| !member.is_empty()).take(16).collect();
    let last = members.len().saturating_sub(1);
    let attempt = |(at, member): (usize, &&str)| Attempt {
        upstream: Some((*member).to_owned()),
        status: served.filter(|_| at == last && matches!(signal, Signal::Ok | Signal::AppStatus)),
        signal: if at == last { signal } else { Signal::UpstreamErrorUnspecified },
        header_us: header_us.filter(|_| at == last),
        ..Attempt::default()
    };
    members.iter().enumerate().map(attempt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_info_decides() {
        assert_eq!(signal(Some("ERRORINFO_NO_ERROR"), Some(502), Some(502), true), Signal::AppStatus);
        assert_eq!(signal(Some("ERRORINFO_UPSTREAM_TIMED_OUT"), Some(504), Some(504), true), Signal::ReadTimeout);
        assert_eq!(signal(Some("ERRORINFO_UPSTREAM_NO_LIVE"), Some(502), None, false), Signal::NoLiveUpstream);
        assert_eq!(signal(None, Some(502), Some(502), true), Signal::StatusOnly);
    }

    #[test]
    fn the_first_version_hides_the_member_in_the_query() {
        let query = Query(
            "SERVER-ROUTED=evil&X-AzureApplicationGateway-CACHE-HIT=0&SERVER-ROUTED=10.4.0.4&SERVER-STATUS=200"
                .to_owned(),
        );
        assert_eq!(query.get("SERVER-ROUTED").as_deref(), Some("10.4.0.4"));
    }
}
