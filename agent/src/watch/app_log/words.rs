//! The words by which runtimes, servers and libraries tell of their trouble. Facts gathered from their documentation and
//! sources; each row is one way to say it. Linear-time patterns only.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use crate::pattern;

use super::Kind;

/// What is searched for, the gravest and most telling first.
const RULES: &[(Kind, &str)] = &[
    // V8, the JVM, Go, C++, PHP, .NET, Ruby, Python, ENOMEM.
    (
        Kind::OutOfMemory,
        r"(?i)javascript heap out of memory|allocation failed - javascript heap|outofmemory(?:error|exception)|runtime: out of memory|std::bad_alloc|allowed memory size of \d+ bytes exhausted|\bnomemoryerror\b|failed to allocate memory|cannot allocate memory|\benomem\b|memory allocation of \d+ bytes failed|(?-i:(?:^|\s)MemoryError(?:$|:|\s))",
    ),
    (Kind::TooManyOpenFiles, r"(?i)\bemfile\b|\benfile\b|too many open files"),
    (Kind::DiskFull, r"(?i)no space left on device|\benospc\b|disk quota exceeded|\bedquot\b|database or disk is full"),
    // gunicorn, uWSGI, PHP-FPM, Puma, Unicorn, Hypnotoad.
    (
        Kind::WorkerTimeout,
        r"(?i)\bworker timeout\b|\bharakiri\b|execution timed out \([\d.]+ sec\)|terminating timed out worker|worker=\d+ pid:\d+ timeout|has no heartbeat \(\d+ seconds\), restarting",
    ),
    // PHP-FPM, HikariCP, SQLAlchemy, knex, Rails, PostgreSQL, MySQL, uWSGI, Tomcat, Apache, Java executors.
    (
        Kind::PoolExhausted,
        r"(?i)server reached (?:pm\.)?max_?children|reached max_children setting|server reached maxrequestworkers|hikaripool.*(?:not available|timed out)|queuepool limit|timeout acquiring a connection|(?:connection|thread|worker|db|database|session)[ -]?pool (?:is |was )?(?:exhausted|full|timed? ?out|at capacity)|pool exhausted|could not obtain a (?:database )?connection|(?:timed out|timeout).{0,30}acquir\w* .{0,20}connection|remaining connection slots are reserved|sorry, too many clients already|too many connections|listen queue of socket .* full|all threads \(\d+\) are currently busy|rejectedexecutionexception|no (?:more |free |idle )+(?:workers|threads|connections) available",
    ),
    (
        Kind::NotLeader,
        r"(?i)\bnot (?:the |a |currently (?:the )?|cluster )?(?:leader|primary|master)\b|\bnotleader|no longer (?:the )?(?:leader|primary|master)|(?:does|do|did) ?n[o']?t (?:currently )?(?:hold|own|have) the (?:\w+ )?(?:lock|lease)|lost (?:the )?(?:leadership|leader lock|lock|lease)|lock (?:is )?(?:held by|not held)|\b(?:lock|lease|leadership)\b.{0,60}\bheld by (?:another|a different|some other)\b|(?:could not|couldn't|cannot|can't|failed to|unable to) (?:acquire|obtain|renew) (?:the |a )?(?:[\w-]+ )?(?:lock|lease|leadership)\b|\bnot (?:the )?(?:holder|owner) of the (?:lock|lease)",
    ),
    // What failed stands near the word for the cache; Redis and Memcached are also known by their ports.
    (
        Kind::CacheFailure,
        r"(?i)econnrefused [\w.:\[\]]*:(?:6379|11211|26379)\b|redis\.exceptions\.\w*error|redisconnectionexception|redis connection to \S+ failed|\bmisconf redis|\bclusterdown\b|can't write against a read only replica|(?:\bcache|caching|redis|memcached?|lock service|lock server|lock store|etcd|zookeeper|consul)\b.{0,60}(?:fail|unavailable|unreachable|refused|timed? ?out|is down|\bdown\b|lost|error|not available|can't be reached|cannot be reached)|(?:fail\w*|refused|timed? ?out|error|unable|cannot|can't|could not|lost)\b.{0,60}(?:\bcache\b|redis|memcached?|lock service|lock server|etcd|zookeeper)",
    ),
    (
        Kind::TaskTimeout,
        r"(?i)\b(?:task|job|worker task|background task)\b.{0,60}(?:timed out|time[d-]? ?out\b|exceeded (?:its |the )?(?:time ?limit|deadline)|deadline exceeded)|timed out (?:waiting for|while running) (?:the |a )?(?:task|job)|tasktimeout|timelimitexceeded",
    ),
    (
        Kind::PortInUse,
        r"(?i)\beaddrinuse\b|address (?:is )?already in use|port (?:\d+ )?(?:is |was )?already (?:in use|allocated)|only one usage of each socket address",
    ),
    (
        Kind::UncaughtException,
        r#"(?i)\buncaught\b|\bunhandled(?: ?promise)? ?(?:rejection|exception|error)|triggerUncaughtException|(?-i:^Traceback \(most recent call last\))|(?-i:^panic: )|(?-i:^fatal error: )|(?-i:^goroutine \d+ \[running\])|thread '[^']*' (?:\(\d+\) )?panicked at|exception in thread "|terminate called after throwing|segmentation fault|\bcore dumped\b|exception in (?:asgi|wsgi) application|error handling request /|(?-i:^\s*throw (?:err|er|new )\b)"#,
    ),
];

/// Exceptions: what looks like a kind and is another thing.
const NOT: &[(Kind, &str)] = &[
    // Apache says so of a header that is too large, and of its semaphores; Node of its file watchers.
    (Kind::DiskFull, r"(?i)\bAH10124\b|file watchers|semaphore|sem(?:get|ctl)|couldn't (?:create|grab) the \w* ?mutex"),
    // An exception's own name in a class path, and tests of the words.
    (
        Kind::UncaughtException,
        r"(?i)\b(?:no|0|without) (?:uncaught|unhandled)\b|UncaughtExceptionHandler (?:set|installed|registered)",
    ),
    // A database's locks are no leadership.
    (Kind::NotLeader, r"(?i)\block on (?:row|relation|tuple|table|transaction)\b"),
    (Kind::CacheFailure, r"(?i)cache (?:miss|hit)\b|\bno cache error"),
];

/// nginx-like and plain access lines: a method, a target and a status.
const ACCESS: &str = r#"(?:"|'|\s|^)(?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS|CONNECT|TRACE) \S+(?: HTTP/[\d.]+)?["']?(?:\s+-+>?|\s*=>|\s*→)?\s*(?:status=)?[1-5]\d\d\b"#;
/// A request's method and target inside a sentence.
const TARGET: &str = r"\b(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS) [/\S]\S*";
/// A status of the 5xx kind that somebody gave.
const QUOTED: &str = r"(?i)\b(?:status(?: ?code)?|http(?:/[\d.]+)?|answered|returned|responded|replied|said|says|got|received|error|response)\b\W+(?:(?:with|a|an|an? error|status|code|http|error|response|of|was|is)\W+){0,4}(?:50[0-4]\b|bad gateway|service unavailable|gateway time-?out|internal server error)";
/// Words that make that somebody another service.
const OTHERS: &str = r"(?i)https?://|\b(?:upstream|downstream|remote|dependency|response from|answer from|reply from|request to|call(?:ing|ed)? (?:to )?|fetch(?:ing|ed)?|axioserror|httperror|feignexception|webclientresponseexception|requests\.exceptions)\b";
/// "payments answered 502": a name, then the verb.
const SUBJECT: &str = r"(?i)\b([a-z][\w.-]*)\s+(?:has |have )?(?:answered|returned|responded|replied|said|says)\b";
/// Subjects that are the application itself.
const ITSELF: [&str; 14] = [
    "we",
    "i",
    "it",
    "request",
    "handler",
    "endpoint",
    "and",
    "was",
    "has",
    "server",
    "app",
    "application",
    "instance",
    "client",
];

const START: &str = r"(?i)\b(?:listening|now listening|listens|running|started|ready) (?:on|at) (?:port |address |socket |http|https|tcp|unix|\[|\d|:|0\.0|\*|localhost|/)|\blistening at: |booting worker with pid|starting gunicorn|\bserver (?:has )?started\b|started server process|application startup complete|uvicorn running on|ready for connections|ready to handle connections|\bstarted \w+ in [\d.]+ seconds|tomcat started on|fpm is running, pid|spawned uwsgi (?:worker|master)|serving flask app|starting development server|worker \d+ booted|puma starting|listening for connections|serving http on|waitress - serving|hypercorn|application started\b|server listening";

/// kubelet, systemd, Docker's swarm, autoheal, ECS, Nomad, monit, superlance.
const LIVENESS_KILL: &str = r"(?i)failed (?:its )?(?:liveness|startup) probe, will be restarted|\bliveness probe failed\b.{0,200}restart|: watchdog timeout \(limit |\bunhealthy container\b|found to be unhealthy - restarting|failed container health checks|healthcheck: check .{1,80} unhealthy for .{1,40} restarting|'[^']{1,80}' trying to restart\b|httpok: .{0,120}\brestarting\b";

static KINDS: LazyLock<Option<RegexSet>> = LazyLock::new(|| pattern::compile_all(RULES.iter().map(|(_, rule)| *rule)));
static EXCEPTIONS: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| pattern::compile_all(NOT.iter().map(|(_, rule)| *rule)));
static ACCESS_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(ACCESS));
static TARGETS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(TARGET));
static QUOTES: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(QUOTED));
static OTHER: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(OTHERS));
static SUBJECTS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(SUBJECT));
static STARTS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(START));
static LIVENESS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern::compile(LIVENESS_KILL));

fn matches(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// The first kind whose words stand in a text.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let found = KINDS.as_ref()?.matches(text);
    if !found.matched_any() {
        return None;
    }
    let excluded: Vec<Kind> =
        EXCEPTIONS.as_ref()?.matches(text).into_iter().filter_map(|at| Some(NOT.get(at)?.0)).collect();
    let mut kinds = found.into_iter().filter_map(|at| Some(RULES.get(at)?.0));
    kinds.find(|kind| !excluded.contains(kind))
}

/// Whether a text is a line of an access log.
pub(super) fn is_access_line(text: &str) -> bool {
    matches(&ACCESS_LINE, text)
}

/// A text without the targets of requests, which clients choose.
pub(super) fn without_targets(text: &str) -> Cow<'_, str> {
    TARGETS.as_ref().map_or(Cow::Borrowed(text), |targets| targets.replace_all(text, "$1"))
}

/// Whether a text tells of another service's failure.
pub(super) fn quotes_another(text: &str) -> bool {
    let subject = || {
        let found = SUBJECTS.as_ref().and_then(|subjects| subjects.captures(text));
        found.is_some_and(|found| !ITSELF.contains(&found[1].to_ascii_lowercase().as_str()))
    };
    matches(&QUOTES, text) && (matches(&OTHER, text) || subject())
}

/// Whether a supervisor tells that it ends the application for failing its liveness check.
pub(super) fn tells_liveness_kill(text: &str) -> bool {
    matches(&LIVENESS, text)
}

/// Whether a text tells that the application began to serve.
pub(super) fn tells_start(text: &str) -> bool {
    matches(&STARTS, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(KINDS.is_some() && EXCEPTIONS.is_some() && ACCESS_LINE.is_some() && TARGETS.is_some());
        assert!(LIVENESS.is_some() && QUOTES.is_some() && OTHER.is_some() && SUBJECTS.is_some() && STARTS.is_some());
    }
}
