//! What Envoy's response flags and response code details say together (access log and response code details of its
//! documentation). Details come first where a format has them; flags stand in. Neither holds text of a client's.

use crate::gateway::{Origin, Signal};

/// What a line tells, as far as its signal depends on it.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    /// Status; 0: the client got none, or no HTTP was spoken.
    pub status: Option<u16>,
    /// Response flags, short or long, joined by commas. None: the line tells none, not even `-`.
    pub flags: Option<&'a str>,
    /// Response code details.
    pub details: Option<&'a str>,
    /// The upstream's transport failure reason.
    pub reason: Option<&'a str>,
    /// The line has a place for that reason.
    pub knows_reason: bool,
    /// An upstream was chosen.
    pub has_host: bool,
    /// The TCP proxy wrote the line.
    pub is_tcp: bool,
    /// Time of the whole, milliseconds.
    pub duration_ms: Option<u64>,
    /// The upstream told no time of its own, and the client got no byte of a body.
    pub nothing_came: bool,
}

/// Long names of flags and their short ones.
const LONG: [(&str, &str); 29] = [
    ("FailedLocalHealthCheck", "LH"),
    ("NoHealthyUpstream", "UH"),
    ("UpstreamRequestTimeout", "UT"),
    ("LocalReset", "LR"),
    ("UpstreamRemoteReset", "UR"),
    ("UpstreamConnectionFailure", "UF"),
    ("UpstreamConnectionTermination", "UC"),
    ("UpstreamOverflow", "UO"),
    ("NoRouteFound", "NR"),
    ("DelayInjected", "DI"),
    ("FaultInjected", "FI"),
    ("RateLimited", "RL"),
    ("UnauthorizedExternalService", "UAEX"),
    ("RateLimitServiceError", "RLSE"),
    ("DownstreamConnectionTermination", "DC"),
    ("UpstreamRetryLimitExceeded", "URX"),
    ("StreamIdleTimeout", "SI"),
    ("InvalidEnvoyRequestHeaders", "IH"),
    ("DownstreamProtocolError", "DPE"),
    ("UpstreamProtocolError", "UPE"),
    ("UpstreamMaxStreamDurationReached", "UMSDR"),
    ("OverloadManagerTerminated", "OM"),
    ("DnsResolutionFailed", "DF"),
    ("NoClusterFound", "NC"),
    ("DurationTimeout", "DT"),
    ("ResponseFromCacheFilter", "RFCF"),
    ("NoFilterConfigFound", "NFCF"),
    ("DropOverLoad", "DO"),
    ("DownstreamRemoteReset", "DR"),
];

impl Answer<'_> {
    /// What the line as a whole says, retries left aside.
    pub(super) fn signal(&self) -> Signal {
        let flags = self.flags.unwrap_or("");
        let short = |flag| LONG.iter().find(|(long, _)| *long == flag).map_or(flag, |(_, short)| *short);
        let mut told = flags.split(',').map(|flag| short(flag.trim())).filter_map(|flag| self.by_flag(flag));
        // A retry that its circuit breaker forbids is told by UO beside what had failed before.
        let by_flags = told.clone().find(|signal| *signal != Signal::UpstreamOverflow).or_else(|| told.next());
        match (self.details, by_flags) {
            (Some("via_upstream"), None | Some(Signal::UpstreamOverflow)) => self.served(),
            (_, Some(signal)) => signal,
            (Some(details), None) if details != "-" => self.by_details(details),
            _ => self.by_status(),
        }
    }

    /// Who made the status.
    pub(super) fn origin(&self, signal: Signal) -> Origin {
        match signal {
            Signal::Ok | Signal::RetriedOk | Signal::AppStatus | Signal::BodyTruncated | Signal::BodyTimeout => {
                Origin::App
            }
            Signal::ClientAbort | Signal::ClientError => Origin::Client,
            Signal::StatusOnly | Signal::Unknown => Origin::Unknown,
            _ => Origin::Gateway,
        }
    }

    /// None: the flag does not say why (`-`, `URX`, `DI`).
    fn by_flag(&self, flag: &str) -> Option<Signal> {
        Some(match flag {
            "UF" => self.connect_failure(),
            "UC" | "LR" => self.or_in_body(Signal::NoResponseHeaders, Signal::BodyTruncated),
            "UR" => self.or_in_body(Signal::ResetBeforeHeaders, Signal::BodyTruncated),
            "UPE" => self.or_in_body(Signal::ResponseInvalid, Signal::BodyTruncated),
            "SI" if self.status == Some(408) => Signal::ClientError,
            "UT" | "SI" | "UMSDR" => self.or_in_body(Signal::ReadTimeout, Signal::BodyTimeout),
            "UH" => Signal::NoLiveUpstream,
            "UO" => Signal::UpstreamOverflow,
            "DF" => Signal::DnsFailure,
            "NR" | "NC" => Signal::NoRoute,
            "DC" | "DR" => Signal::ClientAbort,
            "DPE" | "IH" => Signal::ClientError,
            "RL" | "DO" | "UDO" => Signal::RateLimited,
            "OM" => Signal::GatewayResource,
            "LH" | "FI" | "UAEX" | "RLSE" | "NFCF" | "DT" | "RFCF" => Signal::LbLocalResponse,
            _ => return None,
        })
    }

    /// A failure after the answer's headers had gone to the client leaves the application's status. To a client of gRPC Envoy
    /// tells its own failures with status 200 too.
    fn or_in_body(&self, before: Signal, after: Signal) -> Signal {
        let says = |what: &str| self.details.is_some_and(|details| details.contains(what));
        if says("after_response_started") {
            after
        } else if says("before_response_started") || self.nothing_came {
            before
        } else if self.status.is_some_and(|status| (1..400).contains(&status)) {
            after
        } else {
            before
        }
    }

    fn by_details(&self, details: &str) -> Signal {
        let inner = details.split_once('{').map_or("", |(_, inner)| inner);
        match details {
            "via_upstream" => self.served(),
            "no_healthy_upstream" => Signal::NoLiveUpstream,
            "route_not_found" | "cluster_not_found" => Signal::NoRoute,
            "response_timeout"
            | "upstream_response_timeout"
            | "upstream_per_try_timeout"
            | "upstream_per_try_idle_timeout"
            | "stream_idle_timeout"
            | "max_duration_timeout"
            | "upstream_max_stream_duration_reached" => self.or_in_body(Signal::ReadTimeout, Signal::BodyTimeout),
            "request_overall_timeout" | "request_header_timeout" | "missing_host_header" | "low_version" => {
                Signal::ClientError
            }
            "dns_resolution_failure" => Signal::DnsFailure,
            "overload" => Signal::GatewayResource,
            "local_rate_limited" | "request_rate_limited" | "rate_limited" => Signal::RateLimited,
            _ if details.starts_with("downstream_") => Signal::ClientAbort,
            _ if details.starts_with("http1.") || details.starts_with("http2.") || details.starts_with("http3.") => {
                Signal::ClientError
            }
            _ if details.starts_with("upstream_reset") => self.by_reset(inner),
            // `request_payload_too_large`, `absolute_path_rejected` and the like: the request itself was bad.
            _ if matches!(self.status, Some(400 | 405 | 408 | 411 | 413 | 414 | 417 | 431)) => Signal::ClientError,
            _ => Signal::LbLocalResponse,
        }
    }

    /// The reset's own reason, in braces.
    fn by_reset(&self, inner: &str) -> Signal {
        let begins = |words: &[&str]| words.iter().any(|word| inner.replace(' ', "_").starts_with(word));
        if begins(&[
            "connection_failure",
            "remote_connection_failure",
            "local_connection_failure",
            "connection_timeout",
        ]) {
            self.connect_failure()
        } else if begins(&["overflow"]) {
            Signal::UpstreamOverflow
        } else if begins(&["protocol_error"]) {
            self.or_in_body(Signal::ResponseInvalid, Signal::BodyTruncated)
        } else if begins(&["remote_reset", "remote_refused"]) {
            self.or_in_body(Signal::ResetBeforeHeaders, Signal::BodyTruncated)
        } else {
            self.or_in_body(Signal::NoResponseHeaders, Signal::BodyTruncated)
        }
    }

    fn served(&self) -> Signal {
        if self.status.is_some_and(|status| status >= 400) { Signal::AppStatus } else { Signal::Ok }
    }

    /// Neither flag nor details: without either in the line, a status says nothing of who made it.
    fn by_status(&self) -> Signal {
        let client_fault = matches!(self.status, Some(400 | 405 | 408 | 411 | 413 | 414 | 417 | 431));
        match self.status {
            None => Signal::Unknown,
            Some(..400) if self.has_host => Signal::Ok,
            Some(_) if self.has_host && self.flags.is_some() => Signal::AppStatus,
            Some(1..400) => Signal::LbLocalResponse,
            Some(_) if client_fault && !self.has_host => Signal::ClientError,
            Some(_) => Signal::StatusOnly,
        }
    }

    fn connect_failure(&self) -> Signal {
        let said = self.reason.or(self.details).unwrap_or("").replace('_', " ");
        if said.contains("TLS error") || said.contains("CERTIFICATE") {
            return if said.contains("CERTIFICATE VERIFY FAILED") { Signal::TlsVerify } else { Signal::TlsHandshake };
        }
        if let Some((_, error)) = said.split_once("connect error: ") {
            return by_errno(error);
        }
        let waited = self.duration_ms.unwrap_or(0);
        let timeout = said.contains("connection timeout")
            || self.details.is_some_and(|details| details.contains("connection_timeout"))
            // An error of the system's would be named here; none is, and it took a while.
            || self.knows_reason && self.reason.is_none() && waited >= 900
            // All the time of a TCP session that never was is the time to connect. Neighbours are given up after 3 s.
            || self.is_tcp && waited >= 900 && !(3000..3200).contains(&waited);
        if timeout { Signal::ConnectTimeout } else { Signal::ConnectFailed }
    }
}

/// An error as text or as Linux's number, whichever the version writes.
fn by_errno(error: &str) -> Signal {
    const ERRORS: [(&str, &str, Signal); 12] = [
        ("111", "Connection refused", Signal::ConnectRefused),
        ("113", "No route to host", Signal::ConnectUnreachable),
        ("113", "Host is unreachable", Signal::ConnectUnreachable),
        ("101", "Network is unreachable", Signal::ConnectUnreachable),
        ("101", "Network unreachable", Signal::ConnectUnreachable),
        ("110", "Connection timed out", Signal::ConnectTimeout),
        ("110", "Operation timed out", Signal::ConnectTimeout),
        ("2", "No such file or directory", Signal::SocketMissing),
        ("13", "Permission denied", Signal::SocketPermission),
        ("11", "Resource temporarily unavailable", Signal::SocketBacklogFull),
        ("99", "Cannot assign requested address", Signal::LocalPortExhausted),
        ("24", "Too many open files", Signal::GatewayResource),
    ];
    let number = error.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or("");
    let known = ERRORS.iter().find(|(errno, text, _)| error.starts_with(text) || *errno == number);
    known.map_or(Signal::ConnectFailed, |(_, _, signal)| *signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(status: u16, flags: &str, details: &str) -> Signal {
        let details = Some(details).filter(|details| !details.is_empty());
        Answer { status: Some(status), flags: Some(flags), details, has_host: true, ..Answer::default() }.signal()
    }

    #[test]
    fn an_overflow_beside_a_failure_only_forbade_a_retry() {
        let reset = "upstream_reset_before_response_started";
        assert_eq!(signal(503, "UO,UF", &format!("{reset}{{connection_timeout}}")), Signal::ConnectTimeout);
        assert_eq!(signal(503, "UO", "via_upstream"), Signal::AppStatus);
        assert_eq!(signal(503, "UO", &format!("{reset}{{overflow}}")), Signal::UpstreamOverflow);
    }

    #[test]
    fn details_make_flags_precise() {
        let reset = "upstream_reset_before_response_started";
        assert_eq!(
            signal(503, "UF", &format!("{reset}{{connection_failure,delayed_connect_error:_111}}")),
            Signal::ConnectRefused
        );
        assert_eq!(signal(503, "UF", &format!("{reset}{{connection_timeout}}")), Signal::ConnectTimeout);
        assert_eq!(signal(503, "-", &format!("{reset}{{connection failure}}")), Signal::ConnectFailed);
        assert_eq!(signal(503, "UF,URX", ""), Signal::ConnectFailed);
        assert_eq!(signal(503, "URX", "via_upstream"), Signal::AppStatus);
        assert_eq!(signal(504, "UpstreamRequestTimeout,UpstreamRetryLimitExceeded", ""), Signal::ReadTimeout);
        assert_eq!(
            signal(200, "UC", "upstream_reset_after_response_started{connection_termination}"),
            Signal::BodyTruncated
        );
        assert_eq!(
            signal(200, "UC", &format!("{reset}{{connection_termination}}")),
            Signal::NoResponseHeaders,
            "as gRPC's clients are told"
        );
        assert_eq!(signal(0, "DC", "downstream_remote_disconnect"), Signal::ClientAbort);
        assert_eq!(signal(403, "-", "rbac_access_denied_matched_policy[none]"), Signal::LbLocalResponse);
    }
}
