//! What a line of an application's own log tells of its trouble. The reading is pure and careful in three ways: a line of
//! an access log is a client's text and tells nothing; ordinary information tells only of a start; and a line that
//! quotes another service's failure is that service's trouble, not this one's. `AppLog` bounds what is sent: like lines
//! of ten seconds go as one with a count, and of each kind at most twenty.

mod level;
mod repeat;
mod words;

pub use repeat::AppLog;

use level::Level;

/// Bytes of a line that are read for words.
const READ_LIMIT_BYTES: usize = 8 * 1024;

/// What a line tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Memory could not be had.
    OutOfMemory,
    /// Descriptors could not be had.
    TooManyOpenFiles,
    /// A file system has no room.
    DiskFull,
    /// A master ended a worker for being slow.
    WorkerTimeout,
    /// Workers or connections of a pool are all taken.
    PoolExhausted,
    /// The instance does not hold the lock or the leadership that the request needs.
    NotLeader,
    /// A task did not end in time.
    TaskTimeout,
    /// A cache or lock service failed.
    CacheFailure,
    /// A supervisor ends the instance for failing its liveness check.
    LivenessKill,
    /// The port to listen on is taken.
    PortInUse,
    /// An exception that nothing caught, a panic.
    UncaughtException,
    /// Another service's failure.
    DependencyError,
    /// An error of no kind above.
    Error,
    /// The application began to serve.
    Starting,
}

impl Kind {
    /// Its name in the schema.
    pub fn id(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out_of_memory",
            Self::TooManyOpenFiles => "too_many_open_files",
            Self::DiskFull => "disk_full",
            Self::WorkerTimeout => "worker_timeout",
            Self::PoolExhausted => "pool_exhausted",
            Self::NotLeader => "not_leader",
            Self::TaskTimeout => "task_timeout",
            Self::CacheFailure => "cache_failure",
            Self::LivenessKill => "liveness_kill",
            Self::PortInUse => "port_in_use",
            Self::UncaughtException => "uncaught_exception",
            Self::DependencyError => "dependency_error",
            Self::Error => "error",
            Self::Starting => "starting",
        }
    }
}

/// What a line tells of; None: of no trouble.
pub fn classify(line: &[u8]) -> Option<Kind> {
    let line = line.get(..READ_LIMIT_BYTES).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let text = level::without_colours(text.trim_end());
    // A stack's frames and a record's further lines belong to the line before.
    if text.is_empty() || text.starts_with([' ', '\t']) {
        return None;
    }
    let (level, says) = level::read(&text);
    if words::is_access_line(&says) {
        return None;
    }
    let says = words::without_targets(&says);
    // Supervisors tell it as information.
    if words::tells_liveness_kill(&says) {
        return Some(Kind::LivenessKill);
    }
    if level == Some(Level::Quiet) {
        return words::tells_start(&says).then_some(Kind::Starting);
    }
    let kind = words::kind(&says);
    if words::quotes_another(&says) && !kind.is_some_and(about_itself) {
        return (level == Some(Level::Error)).then_some(Kind::DependencyError);
    }
    match (kind, level) {
        (Some(kind), _) => Some(kind),
        (None, Some(Level::Error)) => Some(Kind::Error),
        (None, None) if words::tells_start(&says) => Some(Kind::Starting),
        (None, _) => None,
    }
}

/// Troubles that nobody else's answer can be the source of.
fn about_itself(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UncaughtException | Kind::OutOfMemory | Kind::TooManyOpenFiles | Kind::DiskFull | Kind::PortInUse
    )
}

/// What the body of a 503 tells: one of the kinds by which an application says itself why it can't serve.
pub fn body_kind(body: &[u8]) -> Option<Kind> {
    let body = String::from_utf8_lossy(body.get(..READ_LIMIT_BYTES).unwrap_or(body));
    words::kind(&body).filter(|kind| matches!(kind, Kind::NotLeader | Kind::TaskTimeout | Kind::CacheFailure))
}

#[cfg(test)]
mod tests;
