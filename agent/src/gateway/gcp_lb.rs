//! Google Cloud's external and internal HTTP(S) load balancers in Cloud Logging's form. What happened stands in
//! `jsonPayload.statusDetails` (global) or `jsonPayload.proxyStatus` (regional, RFC 9209); the status code tells nothing: a
//! timeout may be a 502.

use super::glance::{asked, is_nothing, is_served, plain};
use super::json::skim::{Place, skim};
use super::json::{Object, Value};
use super::json_lines::{JsonLines, later, nothing_else, scaled_us, stamp_of, status, told};
use super::stamp::Zone;
use super::{Attempt, Origin, Reader, Record, Served, Signal};

/// A reader of the load balancer's log entries.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(JsonLines { zone: zone.clone(), record, glance, other: nothing_else })
}

fn record(entry: &Object, zone: &Zone) -> Result<Record, String> {
    let part = |name: &str| entry.get(name).and_then(Value::object);
    let empty = Object::default();
    let (request, payload) = (part("httpRequest"), part("jsonPayload").unwrap_or(&empty));
    let Some(request) = request else { return Err("no httpRequest: not a load balancer's entry".to_owned()) };
    let status = status(request.text("status"))?;
    let details = told(payload, "statusDetails");
    let proxy_status = told(payload, "proxyStatus");
    let by_proxy = || proxy_status.as_deref().and_then(proxy_error);
    let signal = details
        .as_deref()
        .map(|details| by_details(details, status))
        .or_else(by_proxy)
        .unwrap_or_else(|| by_status(status));
    let upstream = told(request, "serverIp");
    let answered = matches!(signal, Signal::Ok | Signal::AppStatus | Signal::BodyTruncated);
    let latency = request.text("latency").map(|latency| latency.trim_end_matches('s'));
    let duration_us = scaled_us(latency, 1e6);
    let labels = part("resource").and_then(|resource| resource.get("labels")).and_then(Value::object);
    let attempt = |upstream| Attempt {
        upstream: Some(upstream),
        status: status.filter(|_| answered),
        signal,
        ..Attempt::default()
    };
    Ok(Record {
        at: stamp_of(entry.text("timestamp"), zone).map(|at| later(at, duration_us)),
        status,
        origin: origin(signal),
        signal,
        attempts: upstream.map(attempt).into_iter().collect(),
        duration_us,
        method: told(request, "requestMethod"),
        path: told(request, "requestUrl"),
        request_id: told(entry, "trace"),
        client: told(request, "remoteIp"),
        pool: labels.and_then(|labels| told(labels, "backend_service_name")),
        reason: details.or(proxy_status),
        body_bytes: request.text("responseSize").and_then(|size| size.parse().ok()),
        ..Record::default()
    })
}

const PLACES: [Place; 8] = [
    ("httpRequest", "status"),
    ("httpRequest", "serverIp"),
    ("httpRequest", "latency"),
    ("httpRequest", "requestMethod"),
    ("httpRequest", "requestUrl"),
    ("jsonPayload", "statusDetails"),
    ("jsonPayload", "proxyStatus"),
    ("", "timestamp"),
];

/// What is counted of an entry that tells of nothing amiss. None: it is to be read whole.
fn glance<'a>(line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
    let [status, server, latency, method, url, details, proxy_status, time] = skim(line, &PLACES)?;
    let is_plain = match details.text()? {
        Some(details) => details == b"response_sent_by_backend",
        None => proxy_status.text()?.is_none(),
    };
    if !is_plain || !is_served(status.text()??) {
        return None;
    }
    let (server, latency, time) = (plain(server)?, plain(latency)?, plain(time)?);
    let duration_us = scaled_us(latency.map(|latency| latency.trim_end_matches('s')), 1e6);
    Some(Served {
        upstream: server.filter(|server| !is_nothing(server.as_bytes())),
        took_us: duration_us,
        at: stamp_of(time, zone).map(|at| later(at, duration_us)),
        request: asked(method, url),
    })
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::Ok | Signal::AppStatus | Signal::BodyTruncated => Origin::App,
        Signal::ClientAbort | Signal::ClientError => Origin::Client,
        Signal::StatusOnly => Origin::Unknown,
        _ => Origin::Gateway,
    }
}

fn by_status(status: Option<u16>) -> Signal {
    match status {
        None => Signal::Unknown,
        Some(..400) => Signal::Ok,
        Some(_) => Signal::StatusOnly,
    }
}

fn by_details(details: &str, status: Option<u16>) -> Signal {
    match details {
        "response_sent_by_backend" if status.is_some_and(|status| status >= 400) => Signal::AppStatus,
        "response_sent_by_backend"
        | "response_from_cache"
        | "response_from_cache_validated"
        | "byte_range_caching"
        | "websocket_closed" => Signal::Ok,
        "failed_to_connect_to_backend" => Signal::ConnectFailed,
        "failed_to_pick_backend" => Signal::NoLiveUpstream,
        "backend_timeout" => Signal::ReadTimeout,
        "backend_connection_closed_before_data_sent_to_client" => Signal::NoResponseHeaders,
        "backend_connection_closed_after_partial_response_sent" => Signal::BodyTruncated,
        "backend_response_headers_too_long" => Signal::HeaderTooBig,
        "backend_response_corrupted"
        | "backend_early_response_with_non_error_status"
        | "error_uncompressing_gzipped_body"
        | "backend_interim_response_not_supported"
        | "aborted_request_due_to_backend_early_response"
        | "websocket_handshake_failed"
        | "cannot_parse_backend_response" => Signal::ResponseInvalid,
        "failed_to_negotiate_alpn" => Signal::TlsHandshake,
        "ssl_certificate_san_verification_failed" | "ssl_certificate_chain_verification_failed" => Signal::TlsVerify,
        "client_disconnected_before_any_response"
        | "client_disconnected_after_partial_response"
        | "client_timed_out"
        | "early_client_eof" => Signal::ClientAbort,
        "throttled_by_security_policy" | "server_overloaded" => Signal::RateLimited,
        "headers_too_long"
        | "body_not_allowed"
        | "http_version_not_supported"
        | "invalid_request_headers"
        | "length_required"
        | "malformed_chunk"
        | "malformed_chunked_body"
        | "missing_host"
        | "multiple_iap_policies"
        | "request_body_too_large"
        | "required_body_but_no_content_length"
        | "secure_url_rejected"
        | "unsupported_100_continue"
        | "unsupported_method"
        | "upgrade_header_rejected"
        | "uri_too_long"
        | "request_timed_out" => Signal::ClientError,
        "config_not_found" | "request_loop_detected" => Signal::NoRoute,
        "failed_to_resolve_backend_hostname" | "invalid_external_origin_endpoint" => Signal::DnsFailure,
        _ => Signal::LbLocalResponse,
    }
}

/// `error="http_response_timeout"; details="response_timeout"`: the error types of RFC 9209, part 2.3.
fn proxy_error(proxy_status: &str) -> Option<Signal> {
    let (_, rest) = proxy_status.split_once("error=")?;
    let error = rest.trim_start_matches('"').split(['"', ';', ',']).next()?;
    Some(match error {
        "dns_timeout" | "dns_error" => Signal::DnsFailure,
        "destination_not_found" => Signal::NoRoute,
        "destination_unavailable" => Signal::NoLiveUpstream,
        "destination_ip_unroutable" => Signal::ConnectUnreachable,
        "destination_ip_prohibited" | "http_request_denied" => Signal::LbLocalResponse,
        "connection_refused" => Signal::ConnectRefused,
        "connection_terminated" => Signal::NoResponseHeaders,
        "connection_timeout" => Signal::ConnectTimeout,
        "connection_read_timeout" | "http_response_timeout" => Signal::ReadTimeout,
        "connection_write_timeout" => Signal::SendTimeout,
        "connection_limit_reached" => Signal::UpstreamOverflow,
        "tls_protocol_error" | "tls_alert_received" => Signal::TlsHandshake,
        "tls_certificate_error" => Signal::TlsVerify,
        "http_request_error" => Signal::ClientError,
        "http_response_incomplete" => Signal::BodyTruncated,
        "http_response_header_section_size" | "http_response_header_size" => Signal::HeaderTooBig,
        "http_protocol_error" | "http_upgrade_failed" => Signal::ResponseInvalid,
        _ if error.starts_with("http_response_") => Signal::ResponseInvalid,
        _ => Signal::LbLocalResponse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regional_balancers_tell_a_proxy_status() {
        assert_eq!(proxy_error("error=\"connection_refused\"; details=\"x\""), Some(Signal::ConnectRefused));
        assert_eq!(proxy_error("envoy; error=http_response_timeout"), Some(Signal::ReadTimeout));
        assert_eq!(proxy_error("received-status=502"), None);
    }

    #[test]
    fn the_code_does_not_decide() {
        for code in [502, 503] {
            assert_eq!(by_details("backend_timeout", Some(code)), Signal::ReadTimeout);
        }
        assert_eq!(by_details("denied_by_security_policy", Some(403)), Signal::LbLocalResponse);
    }
}
