//! What happened: mirror of `event.proto` with typed signals.

use serde::{Deserialize, Serialize};

use super::{ProbeResult, Signal, UnitChanged};

/// One thing that happened on or was seen from a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, unix microseconds, on the collector's time line.
    pub at_us: i64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A process of a watched service began.
    ProcessStarted(ProcessStarted),
    /// A process of a watched service ended.
    ProcessExited(ProcessExited),
    /// The kernel killed a process for lack of memory.
    OomKill(OomKill),
    /// A service's listening socket came or went.
    ListenChanged(ListenChanged),
    /// The agent asked a service for its health.
    Health(HealthResult),
    /// A line of an application's log that tells of trouble.
    LogMatch(LogMatch),
    /// A gateway's error answer.
    Failure(Failure),
    /// A gateway said something of an upstream or itself.
    Notice(GatewayNotice),
    /// The agent on a gateway's host tried an upstream itself.
    Probe(Box<ProbeResult>),
    /// A network interface went up or down.
    LinkChanged(LinkChanged),
    /// The host's clock was stepped.
    ClockStepped(ClockStepped),
    /// A kernel log line that tells of trouble.
    KernelNote(KernelNote),
    /// The agent is ending on purpose.
    AgentStopping(AgentStopping),
    /// A service began or ceased to hold its leadership.
    RoleChanged(RoleChanged),
    /// systemd said something of the unit of a watched service.
    UnitChanged(UnitChanged),
}

/// How a process's end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ExitSource {
    /// pidfd, with the kernel's own exit record.
    Pidfd,
    /// Process connector.
    Connector,
    /// It was gone at a look: the time is that of the look.
    #[default]
    Inferred,
}

/// Who made an error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// A process of a watched service began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessStarted {
    /// The service.
    pub service: String,
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent_pid: u32,
    /// When it started, unix microseconds, from its start time in /proc.
    pub started_us: i64,
    /// Its short name.
    pub name: String,
    /// Its executable's path.
    pub exe: String,
    /// What would change with a deployment: a digest of executable (device, inode, mtime), script and working directory resolved, arguments; a dash; the same of executable and folder alone. The first is left out where a title was written over the arguments. Equal: nothing changed.
    pub fingerprint: String,
    /// Its arguments, masked, at most 512 bytes.
    pub cmdline: String,
    /// True where no process of the same instance is its parent.
    pub leader: bool,
    /// True where the agent found it already running when it started itself, or tells of it once more: not a start that anybody saw.
    pub already_running: bool,
    /// What the fingerprint is made of, for people, such as "/srv/api/v42/index.js modified 2026-11-22T10:00:00Z".
    pub version_hint: String,
    /// The fingerprint was taken when the process had run for some seconds and had gone to the folder that it works in.
    pub settled: bool,
}

/// A process of a watched service ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessExited {
    /// The service.
    pub service: String,
    /// Its id.
    pub pid: u32,
    /// When it had started, unix microseconds.
    pub started_us: i64,
    /// Its short name.
    pub name: String,
    /// Exit code. Absent where a signal ended it or it is not known.
    pub exit_code: Option<u32>,
    /// The signal that ended it. Absent where it exited by itself or it is not known.
    pub signal: Option<u32>,
    /// Whether it dumped core.
    pub core_dumped: bool,
    /// How the end is known.
    pub source: ExitSource,
    /// True where no process of the same instance was its parent.
    pub leader: bool,
    /// Processes of the instance that live on.
    pub remaining: u32,
    /// Whether the instance's ports were still listened on right after. Absent where it can't be told.
    pub still_listening: Option<bool>,
    /// Its resident memory when last seen, bytes.
    pub last_rss_bytes: u64,
    /// Its parent's id when last seen.
    pub parent_pid: u32,
    /// Its parent's short name when last seen.
    pub parent_name: String,
    /// True where it, or its parent, held a listening socket when last seen.
    pub served: bool,
    /// Its fingerprint, as of a start, once it had settled. Empty where it ended before, or leads nobody.
    pub fingerprint: String,
    /// Its fingerprint as it started. Empty where nobody saw that.
    pub first_fingerprint: String,
}

impl ProcessExited {
    /// In words.
    pub fn how(&self) -> String {
        match (self.signal, self.exit_code) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "end seen, code not known".to_owned(),
        }
    }

    /// Whether this end took the instance off its ports: nothing of it was left to serve.
    pub fn took_down(&self) -> bool {
        match self.still_listening {
            Some(listening) => !listening && (self.served || self.leader || self.remaining == 0),
            None => self.remaining == 0,
        }
    }
}

/// The kernel killed a process for lack of memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OomKill {
    /// The service it belonged to, empty where to none that is watched.
    pub service: String,
    /// The victim's id as the source tells it. 0: not told (a counter).
    pub pid: u32,
    /// The victim's name, empty where not told.
    pub name: String,
    /// Control group whose limit was reached or whose counter rose; empty where the whole host ran out.
    pub cgroup: String,
    /// Resident memory of the victim, bytes. 0: not told.
    pub rss_bytes: u64,
    /// The limit, bytes. 0: not told.
    pub limit_bytes: u64,
    /// True where a cgroup's own counter tells it, false where a kernel log line does.
    pub from_counter: bool,
    /// Kills counted at once.
    pub kills: u32,
}

/// A service's listening socket came or went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ListenChanged {
    /// The service.
    pub service: String,
    /// The socket's address.
    pub address: String,
    /// True: it listens now; false: it no longer does.
    pub listening: bool,
}

/// The agent asked a service for its health from its own host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HealthResult {
    /// The service.
    pub service: String,
    /// What was asked, without query: "http://10.0.0.2:3000/health".
    pub url: String,
    /// Status of the answer. 0: none.
    pub status: u32,
    /// Time to connect, microseconds. Absent where it did not.
    pub connect_us: Option<u64>,
    /// Time to the first byte of the answer, microseconds. Absent where none came.
    pub first_byte_us: Option<u64>,
    /// Why it failed, one of the signals (connect_refused, read_timeout, ...). Empty where an answer came.
    pub signal: String,
    /// The failure in words. Empty where an answer came.
    pub error: String,
    /// Time limit of the check, microseconds.
    pub timeout_us: u64,
    /// First words of an answer that is not healthy, masked, at most 256 bytes.
    pub body: String,
    /// True where only a TCP connect was tried because no health path is configured.
    pub connect_only: bool,
}

/// A line of an application's log that tells of trouble.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogMatch {
    /// The service.
    pub service: String,
    /// The file.
    pub file: String,
    /// What it tells of, such as "error", "uncaught_exception", "out_of_memory", "too_many_open_files", "disk_full", "worker_timeout", "pool_exhausted", "not_leader", "task_timeout", "cache_failure", "port_in_use".
    pub kind: String,
    /// The line, masked, at most 1,024 bytes.
    pub line: String,
    /// Like lines in the same stretch that were not sent, this one not counted.
    pub repeats: u32,
}

/// A gateway's error answer, or an attempt that failed before another served.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The gateway's name.
    pub gateway: String,
    /// Status given to the client. 0: not told.
    pub status: u32,
    /// Who made the status.
    pub origin: Origin,
    /// What the record as a whole says, a signal of the catalogue.
    pub signal: Signal,
    /// Attempts in order. Empty where no upstream was chosen or the format does not tell.
    pub attempts: Vec<Attempt>,
    /// Time from request to the end of the answer, microseconds. Absent where not told.
    pub duration_us: Option<u64>,
    /// The request's method, empty where not told.
    pub method: String,
    /// The request's path without query, masked, at most 256 bytes.
    pub path: String,
    /// The request id, empty where not told.
    pub request_id: String,
    /// How fine the record's own time is, microseconds.
    pub precision_us: u64,
    /// True where only an error log tells of it: no access record stands beside it (yet), so it may be forged.
    pub unconfirmed: bool,
    /// The record, masked, at most 1,024 bytes.
    pub line: String,
    /// The gateway's own words for the reason, from its error log or its record. Empty where it gave none.
    pub reason: String,
    /// The pool's name where the record tells it.
    pub pool: String,
    /// When the agent read the line, its clock, unix microseconds.
    pub read_us: i64,
    /// Response body length that the gateway logged, bytes. Absent where not told.
    pub body_bytes: Option<u64>,
    /// Like failures of the same gateway, upstream, status and signal that were not sent one by one, this one not counted.
    pub repeats: u32,
}

impl Failure {
    /// When it was, by its record's time. A log that tells only seconds: the moment the agent read the line is nearer, where it
    /// fits the line's own second.
    pub fn sharpened_us(&self, at_us: i64) -> i64 {
        let coarse = self.precision_us >= 1_000_000;
        let late_us = self.read_us - at_us;
        if coarse && (0..=1_500_000).contains(&late_us) { self.read_us } else { at_us }
    }

    /// When its request began, by its record's time: what the gateway was configured with then is what it went by.
    pub fn began_us(&self, at_us: i64) -> i64 {
        self.sharpened_us(at_us).saturating_sub_unsigned(self.duration_us.unwrap_or(0))
    }
}

/// One try of a gateway at one upstream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// "ip:port", "unix:/path", or the name that the record gives (resolved by the configuration where it can be).
    pub upstream: String,
    /// Status of this attempt. 0: not told.
    pub status: u32,
    /// What became of it, a signal of the catalogue.
    pub signal: Signal,
    /// Time to connect, microseconds. Absent where not told or not connected.
    pub connect_us: Option<u64>,
    /// Time to the answer's header, microseconds. Absent where not told or none came.
    pub header_us: Option<u64>,
    /// Time of the whole attempt, microseconds. Absent where not told.
    pub response_us: Option<u64>,
    /// Bytes that came from the upstream. Absent where not told.
    pub received_bytes: Option<u64>,
    /// Whether a kept connection was used. Absent where not told.
    pub reused_connection: Option<bool>,
    /// Other attempts that the same upstream answered in the middle part of this one's time: a fifth of it, and at least a
    /// quarter of a second, is left out at both ends. Absent where it lasted under a second or the log does not tell.
    pub answered_meanwhile: Option<u32>,
}

/// A gateway said something of an upstream or of itself that is no client's request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GatewayNotice {
    /// The gateway's name.
    pub gateway: String,
    /// The upstream, empty where it speaks of itself.
    pub upstream: String,
    /// A signal of the catalogue: health_check_down, health_check_up, upstream_disabled, server_maint, gateway_lifecycle, gateway_crash, ...
    pub signal: Signal,
    /// The check's or the gateway's own words, masked, at most 512 bytes.
    pub says: String,
    /// Status that a health check saw. 0: not told.
    pub check_status: u32,
    /// What a health check met, a signal (connect_refused, read_timeout, app_status, ...). Empty where not told.
    pub check_signal: String,
    /// How long the check took, microseconds. Absent where not told.
    pub check_us: Option<u64>,
    /// Pool of the upstream, empty where not told.
    pub pool: String,
}

/// A network interface went up or down.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkChanged {
    /// The interface.
    pub interface: String,
    /// Up now.
    pub up: bool,
    /// "carrier" or "admin": what changed.
    pub what: String,
}

/// The host's clock was stepped against its monotonic clock.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClockStepped {
    /// By how much, microseconds; positive: forward.
    pub by_us: i64,
}

/// A kernel log line that tells of trouble.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KernelNote {
    /// What it tells of: "segfault", "conntrack_full", "syn_flood", "io_error", "hung_task", "link".
    pub kind: String,
    /// The line, at most 512 bytes.
    pub line: String,
    /// The process it names, 0 where none.
    pub pid: u32,
    /// The service that this process belongs to, empty where to none.
    pub service: String,
}

/// The agent is ending on purpose, so its silence is not the host's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AgentStopping {
    /// Why: "SIGTERM", "SIGINT".
    pub why: String,
}

/// An instance began or ceased to hold its service's leadership, as it tells itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RoleChanged {
    /// The service.
    pub service: String,
    /// True: it holds it now.
    pub leader: bool,
    /// Where it is told: "GET /health: leader = true", or the line of the log.
    pub says: String,
}
