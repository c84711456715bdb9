//! What Envoy writes beside access lines: the event logs of active health checks and outlier detection (JSON objects), and
//! its own application log (`[2026-11-22 06:49:47.961][12][warning][upstream] ...`).

use super::super::json::{Object, Value};
use super::super::stamp::{self, Zone};
use crate::gateway::{Notice, Signal, Stamp};

/// The notice of an event log's object. None: it is no event.
pub(super) fn of_object(object: &Object, zone: &Zone) -> Option<Notice> {
    let at = object.text("timestamp").and_then(|text| stamp::rfc3339(text.as_bytes(), zone)).map(|(at, _)| at);
    let notice = health_check(object).or_else(|| outlier(object))?;
    Some(Notice { at, pool: object.text("cluster_name").map(str::to_owned), ..notice })
}

fn health_check(object: &Object) -> Option<Notice> {
    object.get("health_checker_type")?;
    let event = |name: &str| {
        object.get(name).map(|event| {
            let told = |key: &str| event.object().and_then(|event| event.text(key)).unwrap_or("");
            // Only newer versions tell the status, and 0 where there was none.
            let status = told("http_status_code").parse().ok().filter(|status| *status > 0);
            (name.to_owned(), told("failure_type").to_owned(), status)
        })
    };
    let down = event("eject_unhealthy_event").or_else(|| event("health_check_failure_event"));
    let up = event("add_healthy_event").or_else(|| event("successful_health_check_event"));
    let (signal, (name, failure, check_status)) = match (down, up) {
        (Some(down), _) => (Signal::HealthCheckDown, down),
        (None, Some(up)) => (Signal::HealthCheckUp, up),
        (None, None) => (Signal::Noise, (String::new(), String::new(), None)),
    };
    let check_signal = match (signal, failure.as_str()) {
        (Signal::HealthCheckUp, _) => Some(Signal::Ok),
        (_, "NETWORK") => Some(Signal::UpstreamErrorUnspecified),
        (_, "NETWORK_TIMEOUT") => Some(Signal::ReadTimeout),
        (_, "ACTIVE") => Some(Signal::AppStatus),
        _ => None,
    };
    let status = check_status.map_or_else(String::new, |status: u16| format!(" {status}"));
    let says = format!("{name} {failure}{status}").trim().to_owned();
    Some(Notice { upstream: host(object), signal, check_signal, check_status, says, ..Notice::default() })
}

/// `host.socket_address` with address and port, or `host.pipe.path`.
fn host(object: &Object) -> Option<String> {
    let host = object.get("host").and_then(Value::object)?;
    if let Some(pipe) = host.get("pipe").and_then(Value::object) {
        return pipe.text("path").map(str::to_owned);
    }
    let address = host.get("socket_address").and_then(Value::object)?;
    let (ip, port) = (address.text("address")?, address.text("port_value")?);
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

fn outlier(object: &Object) -> Option<Notice> {
    let action = object.text("action")?;
    let upstream = object.text("upstream_url")?.trim_start_matches("tcp://").to_owned();
    let kind = object.text("type").unwrap_or("");
    let signal = if action.eq_ignore_ascii_case("EJECT") { Signal::UpstreamDisabled } else { Signal::HealthCheckUp };
    let check_signal = match kind {
        _ if signal == Signal::HealthCheckUp => None,
        "CONSECUTIVE_5XX" | "CONSECUTIVE_GATEWAY_FAILURE" | "5xx" | "GatewayFailure" => Some(Signal::AppStatus),
        "CONSECUTIVE_LOCAL_ORIGIN_FAILURE" | "LocalOriginFailure" => Some(Signal::ConnectFailed),
        _ => None,
    };
    Some(Notice {
        upstream: Some(upstream),
        signal,
        check_signal,
        says: format!("{action} {kind}"),
        ..Notice::default()
    })
}

/// Envoy's own log. The level and the component stand before anything else.
pub(super) fn of_text(text: &str, zone: &Zone) -> Option<Notice> {
    let (at, rest) = stamp::rfc3339(text.strip_prefix('[').unwrap_or(text).as_bytes(), zone)?;
    let rest = std::str::from_utf8(rest).ok()?;
    // Istio's proxy writes `STAMP<tab>warning<tab>envoy config ...`.
    let (level, said) = match rest.strip_prefix("][") {
        Some(rest) => rest.split_once("][").map(|(_, rest)| rest)?.split_once(']')?,
        None => rest.strip_prefix('\t')?.split_once('\t')?,
    };
    if !matches!(level, "trace" | "debug" | "info" | "warning" | "warn" | "error" | "critical" | "off") {
        return None;
    }
    Some(own(at, level, said))
}

fn own(at: Stamp, level: &str, said: &str) -> Notice {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let signal = match level {
        "critical" if has(&["Caught Segmentation fault", "Caught Aborted", "panic:", "assert failure"]) => {
            Signal::GatewayCrash
        }
        _ if has(&[
            "starting main dispatch loop",
            "shutting down",
            "exiting",
            "hot restart",
            "initializing epoch",
            "drain",
        ]) =>
        {
            Signal::GatewayLifecycle
        }
        "error" | "critical" if has(&["Too many open files"]) => Signal::GatewayResource,
        _ => Signal::Noise,
    };
    Notice { at: Some(at), signal, says: said.chars().take(512).collect(), ..Notice::default() }
}

#[cfg(test)]
mod tests {
    use super::super::super::json;
    use super::*;

    #[test]
    fn a_failed_check_tells_its_status_where_there_was_one() {
        let told = |event: &str| {
            let line = format!(
                r#"{{"health_checker_type":"HTTP","host":{{"socket_address":{{"address":"10.0.0.2","port_value":80}}}},
                "cluster_name":"app","health_check_failure_event":{event}}}"#
            );
            let notice = of_object(&json::object(line.as_bytes()).unwrap(), &Zone::utc()).unwrap();
            (notice.signal, notice.check_signal, notice.check_status)
        };
        let down = Signal::HealthCheckDown;
        assert_eq!(
            told(r#"{"failure_type":"ACTIVE","http_status_code":404}"#),
            (down, Some(Signal::AppStatus), Some(404))
        );
        assert_eq!(told(r#"{"failure_type":"ACTIVE"}"#), (down, Some(Signal::AppStatus), None));
        assert_eq!(
            told(r#"{"failure_type":"NETWORK_TIMEOUT","http_status_code":0}"#),
            (down, Some(Signal::ReadTimeout), None)
        );
    }
}
