//! The signals of the catalogue: what one gateway record says of one upstream attempt.

use serde::{Deserialize, Serialize};

macro_rules! signals {
    ($($variant:ident = $id:literal),+ $(,)?) => {
        /// What one gateway record says of one upstream attempt.
        #[allow(missing_docs)] // the ids are documented in the catalogue
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        pub enum Signal {
            $($variant,)+
            /// The line can't tell, or a newer agent's signal.
            #[default]
            Unknown,
        }

        impl Signal {
            /// The stable id.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ Self::Unknown => "unknown" }
            }

            /// The signal of an id; `Unknown` for any other text.
            pub fn from_id(id: &str) -> Self {
                match id { $($id => Self::$variant,)+ _ => Self::Unknown }
            }
        }
    };
}

signals! {
    Ok = "ok", AppStatus = "app_status", ConnectRefused = "connect_refused", ConnectTimeout = "connect_timeout",
    ConnectUnreachable = "connect_unreachable", ConnectFailed = "connect_failed",
    ResetBeforeHeaders = "reset_before_headers", ClosedBeforeHeaders = "closed_before_headers",
    NoResponseHeaders = "no_response_headers", ReadTimeout = "read_timeout", SendTimeout = "send_timeout",
    BodyTruncated = "body_truncated", BodyTimeout = "body_timeout", HeaderTooBig = "header_too_big",
    HeaderInvalid = "header_invalid", ResponseInvalid = "response_invalid", TlsHandshake = "tls_handshake",
    TlsVerify = "tls_verify", DnsFailure = "dns_failure", NoLiveUpstream = "no_live_upstream",
    UpstreamDisabled = "upstream_disabled", HealthCheckDown = "health_check_down", HealthCheckUp = "health_check_up",
    ServerMaint = "server_maint", QueueTimeout = "queue_timeout", UpstreamOverflow = "upstream_overflow",
    RateLimited = "rate_limited", LocalPortExhausted = "local_port_exhausted", GatewayResource = "gateway_resource",
    SocketMissing = "socket_missing", SocketPermission = "socket_permission", SocketBacklogFull = "socket_backlog_full",
    RetriedOk = "retried_ok", ClientAbort = "client_abort", ClientError = "client_error",
    LbLocalResponse = "lb_local_response", StatusOnly = "status_only", NoRoute = "no_route",
    GatewayLifecycle = "gateway_lifecycle", AppStderr = "app_stderr", Noise = "noise",
    UpstreamErrorUnspecified = "upstream_error_unspecified", KilledOnMarkdown = "killed_on_markdown",
    GatewayCrash = "gateway_crash", Continuation = "continuation",
}

impl Signal {
    /// Whether an attempt with this signal failed because of its upstream or on the way to it.
    pub fn is_failure(self) -> bool {
        !matches!(
            self,
            Self::Ok
                | Self::AppStatus
                | Self::RetriedOk
                | Self::ClientAbort
                | Self::ClientError
                | Self::LbLocalResponse
                | Self::RateLimited
                | Self::StatusOnly
                | Self::NoRoute
                | Self::HealthCheckUp
                | Self::HealthCheckDown
                | Self::ServerMaint
                | Self::UpstreamDisabled
                | Self::GatewayLifecycle
                | Self::AppStderr
                | Self::Noise
                | Self::Continuation
                | Self::Unknown
        )
    }
}
