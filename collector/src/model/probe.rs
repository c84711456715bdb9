//! What an agent on a gateway's host found when it tried an upstream itself.

use serde::{Deserialize, Serialize};

/// The agent on a gateway's host tried an upstream itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The gateway's name.
    pub gateway: String,
    /// The upstream as in failures.
    pub upstream: String,
    /// Name resolution, where the upstream is configured by name.
    pub lookup: Option<NameLookup>,
    /// The route that the kernel would take. Absent where not asked.
    pub route: Option<RouteLookup>,
    /// TCP connects, in order: several, so that a lossy way shows.
    pub connects: Vec<ConnectTry>,
    /// Another port of the same host that was tried to see whether the host answers at all. Absent where not needed.
    pub other_port: Option<ConnectTry>,
    /// ICMP echo to the host: answered or not. Absent where not tried.
    pub echo_answered: Option<bool>,
    /// The neighbour entry of the next hop: "reachable", "stale", "failed", "incomplete" ... Empty where not read.
    pub neighbour: String,
    /// One HTTP request. Absent where connecting failed.
    pub http: Option<HttpTry>,
    /// How long the instance kept an idle connection before it closed it, microseconds. Absent where not measured (or it outlived the measurement, see idle_kept_us).
    pub idle_close_us: Option<u64>,
    /// How long an idle connection was held without being closed, microseconds. Absent where not measured.
    pub idle_kept_us: Option<u64>,
    /// TLS as the gateway would speak it. Absent where the gateway speaks plain.
    pub tls: Option<TlsTry>,
    /// The same request once more, by packets of at most 536 bytes each, begun and ended while the first was still waited for. Absent
    /// where that was answered in time.
    pub small_packets: Option<HttpTry>,
}

/// A name lookup.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NameLookup {
    /// The name.
    pub name: String,
    /// Addresses found.
    pub addresses: Vec<String>,
    /// Why none was. Empty where some were.
    pub error: String,
}

/// A route lookup (RTM_GETROUTE).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RouteLookup {
    /// The kernel has a route.
    pub found: bool,
    /// Its interface, empty where none.
    pub interface: String,
    /// Its next hop, empty where on the link.
    pub via: String,
    /// The kernel's error where none was found, such as "ENETUNREACH".
    pub error: String,
}

/// One TCP connect.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConnectTry {
    /// Where to.
    pub address: String,
    /// "connected", or a signal: connect_refused, connect_timeout, connect_unreachable, local_port_exhausted, socket_missing, ...
    pub outcome: String,
    /// The errno, 0 where none.
    pub errno: i32,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// Of one that connected: how many SYNs had found no answer before (TCP_INFO). None: not known.
    pub syns_resent: Option<u32>,
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HttpTry {
    /// "GET /health", as asked.
    pub request: String,
    /// Status of the answer. 0: none.
    pub status: u32,
    /// What became of it, a signal; "ok" or "app_status" where answered, "body_timeout" where its body did not go on.
    pub signal: String,
    /// Time to the first byte, microseconds. Absent where none came.
    pub first_byte_us: Option<u64>,
    /// Bytes of the answer's header. 0: not told.
    pub header_bytes: u64,
    /// In words, where it failed.
    pub error: String,
    /// Bytes that came, as far as they were read: about the first 4,096 of the body. 0: none, or not told.
    pub received_bytes: u64,
}

/// One TLS handshake.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TlsTry {
    /// It succeeded.
    pub ok: bool,
    /// Why it did not.
    pub error: String,
    /// The certificate's last valid moment, unix seconds. 0: no certificate seen.
    pub not_after_unix_s: i64,
    /// Names in the certificate, at most 16.
    pub names: Vec<String>,
    /// The peer answered in plain text.
    pub plain_answer: bool,
}
