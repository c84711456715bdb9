//! What one line of a gateway's log says.

macro_rules! signals {
    ($($variant:ident = $id:literal),+ $(,)?) => {
        /// What one gateway record says of one upstream attempt: the signals of the catalogue.
        #[allow(missing_docs)] // the ids are documented in the catalogue
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum Signal {
            $($variant,)+
            /// The line can't tell.
            #[default]
            Unknown,
        }

        impl Signal {
            /// The stable id.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ Self::Unknown => "unknown" }
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

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// It tells of a client's request or of an attempt for one.
    Record(Box<Record>),
    /// It tells of an upstream or of the gateway itself, of no client's request.
    Notice(Box<Notice>),
    /// It can't be read; why.
    Unparsed(String),
}

/// Which log a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// One line a request.
    Access,
    /// The gateway's own words.
    Error,
    /// Both in one file: each line is told by itself.
    All,
}

/// Who made an error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The record can't tell.
    #[default]
    Unknown,
    /// The application.
    App,
    /// This gateway.
    Gateway,
    /// Another gateway behind this one.
    InnerGateway,
    /// The client.
    Client,
}

/// A time as a log line gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Unix microseconds. Stamps without a zone are taken as the host's local time by the reader's offset.
    pub unix_us: i64,
    /// How fine it is, microseconds: 1_000_000 where only seconds are told.
    pub precision_us: u64,
}

/// What a line tells of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// When the line says it was, for access records the end of the request.
    pub at: Option<Stamp>,
    /// True for a line of an error log.
    pub from_error_log: bool,
    /// A later line tells the same of its request: this one is no failure of its own.
    pub told_again: bool,
    /// Status given to the client. None: not told.
    pub status: Option<u16>,
    /// Who made it.
    pub origin: Origin,
    /// What the line as a whole says.
    pub signal: Signal,
    /// Attempts in order.
    pub attempts: Vec<Attempt>,
    /// From the request's first byte to the answer's last, microseconds.
    pub duration_us: Option<u64>,
    /// Method.
    pub method: Option<String>,
    /// Path with query as logged; masked where it leaves the agent.
    pub path: Option<String>,
    /// Request id or trace id.
    pub request_id: Option<String>,
    /// Client's address as logged.
    pub client: Option<String>,
    /// The connection's number (nginx `*N`, `$connection`), to join access and error lines.
    pub connection: Option<u64>,
    /// The process and thread that wrote the line: lines of one request that stand together share them.
    pub thread: Option<String>,
    /// Virtual host or server name.
    pub server: Option<String>,
    /// Pool, backend or cluster where the line names one.
    pub pool: Option<String>,
    /// The gateway's own words for the reason.
    pub reason: Option<String>,
    /// Bytes of the body sent to the client.
    pub body_bytes: Option<u64>,
}

impl Record {
    /// How long an attempt of this request took, microseconds: the whole of it, else until its header came, else the request
    /// that it alone served.
    pub fn took_us(&self, attempt: &Attempt) -> Option<u64> {
        let is_alone = self.attempts.len() == 1;
        attempt.response_us.or(attempt.header_us).or(self.duration_us.filter(|_| is_alone))
    }
}

/// One try at one upstream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attempt {
    /// `ip:port`, `[ip6]:port`, `unix:/path`, or the name that the line gives. None: the line names none.
    pub upstream: Option<String>,
    /// Status of this attempt.
    pub status: Option<u16>,
    /// What became of it.
    pub signal: Signal,
    /// Time to connect, microseconds.
    pub connect_us: Option<u64>,
    /// Time to the header, microseconds.
    pub header_us: Option<u64>,
    /// Time of the whole attempt, microseconds.
    pub response_us: Option<u64>,
    /// Bytes that came from the upstream.
    pub received_bytes: Option<u64>,
    /// Whether a kept connection was used.
    pub reused_connection: Option<bool>,
}

/// All that is counted of a request that its one attempt served: neither the answer nor the attempt has a status of 400 or above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served<'a> {
    /// As in attempts. None: the gateway answered by itself, or the line does not tell.
    pub upstream: Option<&'a str>,
    /// As `Record::took_us` of its attempt, microseconds.
    pub took_us: Option<u64>,
    /// The end of the request.
    pub at: Option<Stamp>,
    /// What was asked for.
    pub request: Option<Asked<'a>>,
}

/// A request as a line tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Asked<'a> {
    /// `GET /path HTTP/1.1`.
    Line(&'a [u8]),
    /// Apart.
    Parts {
        /// `GET`.
        method: &'a [u8],
        /// `/path`.
        path: &'a [u8],
    },
}

impl<'a> Asked<'a> {
    /// The path of a GET. None: another method, or a path in which something is escaped.
    pub fn path_of_get(self) -> Option<&'a str> {
        let path = match self {
            Self::Line(line) => std::str::from_utf8(line.strip_prefix(b"GET ")?).ok()?.rsplit_once(" HTTP/")?.0,
            Self::Parts { method: b"GET", path } => std::str::from_utf8(path).ok()?,
            Self::Parts { .. } => return None,
        };
        Some(path).filter(|path| !path.contains('\\'))
    }
}

/// What a line tells of an upstream or of the gateway itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notice {
    /// When.
    pub at: Option<Stamp>,
    /// The upstream, as in attempts. None: it speaks of the gateway itself.
    pub upstream: Option<String>,
    /// Its pool.
    pub pool: Option<String>,
    /// What it says.
    pub signal: Signal,
    /// In its own words.
    pub says: String,
    /// Status that a health check saw.
    pub check_status: Option<u16>,
    /// What a health check met.
    pub check_signal: Option<Signal>,
    /// How long the check took, microseconds.
    pub check_us: Option<u64>,
}

/// Reads the lines of one log. A reader may keep state from line to line (a record that spans several lines), bounded.
pub trait Reader: Send {
    /// Reads one line, without its end of line.
    fn read(&mut self, line: &[u8]) -> Line;

    /// What is counted of a line that tells of a request which its one attempt served, where that can be told at a glance.
    /// None: `read` it.
    fn served<'a>(&'a mut self, line: &'a [u8]) -> Option<Served<'a>> {
        let _ = line;
        None
    }
}
