use super::*;

use crate::sampler::Observed;
use why502_proto::v1::event::Kind as EventKind;

fn id(line: &str) -> &'static str {
    classify(line.as_bytes()).map_or("", Kind::id)
}

/// Lines as runtimes, servers and libraries write them, with what they tell of.
const LINES: &[(&str, &str)] = &[
    // Liveness kills, told as information by supervisors.
    (
        "liveness_kill",
        "I1122 14:32:01.120000       1 kuberuntime_manager.go:1041] Message for Container of pod: container=\"api\" Container api failed liveness probe, will be restarted",
    ),
    ("liveness_kill", "Nov 22 14:32:01 app-1 systemd[1]: api.service: Watchdog timeout (limit 10s)!"),
    (
        "liveness_kill",
        "14:32:01 Container /api (4f1c) found to be unhealthy - Restarting container now with 10s timeout",
    ),
    ("liveness_kill", "error  : 'api' failed protocol test [HTTP] at [10.0.0.2]:3000, 'api' trying to restart"),
    ("", "INFO liveness probe answered"),
    // Levels.
    ("error", "2026-11-22T14:32:01.120Z ERROR could not load order 17"),
    ("error", "[2026-11-22 14:32:01 +0000] [4242] [ERROR] Exception in worker process"),
    ("error", r#"{"level":50,"time":1763821921120,"pid":1,"msg":"could not load order"}"#),
    ("error", r#"{"level":"error","message":"could not load order"}"#),
    ("error", r#"{"severity":"CRITICAL","message":"giving up"}"#),
    ("error", r#"{"levelno":40,"message":"could not load order"}"#),
    ("error", "time=2026-11-22T14:32:01Z level=error msg=\"could not load order\""),
    ("error", "Error: could not load order"),
    ("error", "2026/11/22 14:32:01 error: could not load order"),
    ("error", "E1122 14:32:01.120000       1 server.go:42] could not load order"),
    ("error", "FATAL: could not load order"),
    ("error", "TypeError: Cannot read properties of undefined (reading 'id')"),
    ("error", "java.lang.IllegalStateException: no order"),
    ("error", "\u{1b}[31mERROR\u{1b}[0m could not load order"),
    ("error", "Nov 22, 2026 2:32:01 PM SEVERE: could not load order"),
    ("", "2026-11-22T14:32:01.120Z INFO loaded order 17"),
    ("", "2026-11-22T14:32:01.120Z WARN slow order 17"),
    ("", r#"{"level":30,"msg":"error page rendered","error":"none"}"#),
    ("", "loaded 3 orders, no error found"),
    ("", "[DEBUG] error handling is on"),
    ("", "    at Object.<anonymous> (/srv/index.js:1:7)"),
    ("", "\tat com.example.Main.main(Main.java:5)"),
    ("", ""),
    // Nothing caught it.
    ("uncaught_exception", "Uncaught Error: boom"),
    ("uncaught_exception", "Uncaught TypeError: x is not a function"),
    (
        "uncaught_exception",
        "[UnhandledPromiseRejection: This error originated either by throwing inside of an async function]",
    ),
    ("uncaught_exception", "Traceback (most recent call last):"),
    ("uncaught_exception", "panic: runtime error: invalid memory address or nil pointer dereference"),
    ("uncaught_exception", "goroutine 1 [running]:"),
    ("uncaught_exception", "thread 'main' panicked at src/main.rs:4:5:"),
    ("uncaught_exception", "Exception in thread \"main\" java.lang.NullPointerException"),
    ("uncaught_exception", "PHP Fatal error:  Uncaught Exception: boom in /srv/index.php:3"),
    ("uncaught_exception", "terminate called after throwing an instance of 'std::runtime_error'"),
    ("uncaught_exception", "ERROR:    Exception in ASGI application"),
    // Memory, descriptors, disk.
    ("out_of_memory", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
    ("out_of_memory", "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space"),
    ("out_of_memory", "MemoryError"),
    ("out_of_memory", "fatal error: runtime: out of memory"),
    ("out_of_memory", "OSError: [Errno 12] Cannot allocate memory"),
    (
        "out_of_memory",
        "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes)",
    ),
    ("too_many_open_files", "Error: EMFILE: too many open files, open '/tmp/a'"),
    ("too_many_open_files", "accept tcp [::]:3000: accept4: too many open files; retrying in 5ms"),
    ("too_many_open_files", "OSError: [Errno 24] Too many open files"),
    ("disk_full", "Error: ENOSPC: no space left on device, write"),
    ("disk_full", "OSError: [Errno 28] No space left on device: '/var/lib/api/a'"),
    ("", "AH10124: (28)No space left on device: header too large"),
    ("error", "Error: ENOSPC: System limit for number of file watchers reached, watch '/srv'"),
    // Workers and pools.
    ("worker_timeout", "[2026-11-22 14:32:01 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:4242)"),
    ("worker_timeout", "Sun Nov 22 14:32:01 2026 - *** HARAKIRI ON WORKER 1 (pid: 42, try: 1) ***"),
    (
        "worker_timeout",
        "[22-Nov-2026 14:32:01] WARNING: [pool www] child 42, script '/srv/a.php' execution timed out (30.2 sec), terminating",
    ),
    ("worker_timeout", "[7] ! Terminating timed out worker (Worker 0 failed to check in within 60 seconds): 42"),
    (
        "pool_exhausted",
        "[22-Nov-2026 14:32:01] WARNING: [pool www] server reached pm.max_children setting (5), consider raising it",
    ),
    ("pool_exhausted", "HikariPool-1 - Connection is not available, request timed out after 30000ms."),
    (
        "pool_exhausted",
        "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection timed out",
    ),
    ("pool_exhausted", "KnexTimeoutError: Knex: Timeout acquiring a connection. The pool is probably full."),
    ("pool_exhausted", "*** uWSGI listen queue of socket \"127.0.0.1:3000\" (fd: 3) full !!! (101/100) ***"),
    ("pool_exhausted", "ERROR connection pool exhausted"),
    // Why it answers 503.
    ("not_leader", "ERROR 503 not leader: this instance does not hold the lock"),
    ("not_leader", "WARN request refused: not the leader"),
    ("not_leader", "ERROR could not acquire lock orders-writer, held by another instance"),
    ("not_leader", "E1126 14:32:01 leaderelection.go:330] failed to renew lease shop/writer: timed out"),
    ("error", "ERROR: could not obtain lock on row in relation \"orders\""),
    ("not_leader", r#"{"level":"warn","msg":"answering 503: lock is held by app-2"}"#),
    ("", "INFO not the leader, standing by"),
    ("task_timeout", "ERROR task rebuild-index timed out after 30s, answering 503"),
    ("task_timeout", "ERROR task timed out"),
    ("cache_failure", "Error: connect ECONNREFUSED 127.0.0.1:6379"),
    ("cache_failure", "redis.exceptions.ConnectionError: Error 111 connecting to 127.0.0.1:6379. Connection refused."),
    ("cache_failure", "ERROR cache unavailable, answering 503"),
    ("cache_failure", "ERROR lock service failed: answering 503"),
    ("", "INFO cache error rate 0"),
    // Ports and starts.
    ("port_in_use", "Error: listen EADDRINUSE: address already in use 0.0.0.0:3000"),
    ("port_in_use", "[ERROR] Connection in use: ('0.0.0.0', 3000): [Errno 98] Address already in use"),
    ("starting", "[2026-11-22 14:32:01 +0000] [7] [INFO] Listening at: http://0.0.0.0:3000 (7)"),
    ("starting", "[2026-11-22 14:32:01 +0000] [9] [INFO] Booting worker with pid: 9"),
    ("starting", "listening on port 3000"),
    ("starting", r#"{"level":30,"msg":"Server listening at http://0.0.0.0:3000"}"#),
    ("starting", "INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)"),
    ("starting", "2026-11-22 INFO Started Application in 3.2 seconds (process running for 4.1)"),
    // Another service's trouble.
    ("dependency_error", "ERROR payments answered 502 Bad Gateway"),
    ("dependency_error", "ERROR request to http://inventory/items failed: status 503 Service Unavailable"),
    (
        "dependency_error",
        r#"{"level":"error","msg":"call to billing failed","err":{"message":"Request failed with status code 502","name":"AxiosError"}}"#,
    ),
    ("dependency_error", "ERROR upstream inventory returned 503: not leader"),
    ("", "WARN payments answered 502 Bad Gateway, trying again"),
    // Text that clients choose.
    (
        "",
        "10.0.0.9 - - [22/Nov/2026:14:32:01 +0000] \"GET /?q=OutOfMemoryError HTTP/1.1\" 200 12 \"-\" \"ERROR panic: EMFILE\"",
    ),
    ("", "GET /search?q=Uncaught%20Error 200 12ms"),
    ("", "::1 - POST /ENOSPC 500 3.1 ms"),
    ("error", "ERROR while serving GET /EMFILE/ENOSPC/panic"),
    ("", r#"{"level":"info","msg":"request","path":"/?q=EMFILE","userAgent":"Uncaught Error"}"#),
    ("error", r#"{"level":"error","msg":"request failed","path":"/?q=EMFILE"}"#),
];

#[test]
fn each_line_tells_what_it_tells() {
    let wrong: Vec<_> = LINES
        .iter()
        .filter(|(wanted, line)| id(line) != *wanted)
        .map(|(wanted, line)| (*wanted, id(line), *line))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn bodies_tell_why_a_503_was_given() {
    let kind = |body: &str| body_kind(body.as_bytes());
    assert_eq!(kind("{\"error\":\"this instance does not hold the lock\"}"), Some(Kind::NotLeader));
    assert_eq!(kind("task timed out"), Some(Kind::TaskTimeout));
    assert_eq!(kind("cache service failed"), Some(Kind::CacheFailure));
    assert_eq!(kind("Service Unavailable"), None);
    assert_eq!(kind("java.lang.OutOfMemoryError"), None);
}

fn sent(observed: &[Observed]) -> Vec<(&str, u32, i64)> {
    observed.iter().map(one).collect()
}

fn one(observed: &Observed) -> (&str, u32, i64) {
    let Observed::Event(event) = observed else { panic!("no event") };
    let Some(EventKind::LogMatch(found)) = &event.kind else { panic!("no log match") };
    (found.line.as_str(), found.repeats, event.at_unix_us)
}

const NOW_US: i64 = 1_795_357_921_000_000;

#[test]
fn like_lines_of_a_stretch_go_as_two() {
    let mut log = AppLog::new("api", "/var/log/api/app.log");
    assert_eq!(sent(&log.line(b"ERROR order 1", NOW_US)), [("ERROR order 1", 0, NOW_US)]);
    for number in 2..100 {
        let at = NOW_US + number * 1000;
        assert_eq!(sent(&log.line(format!("ERROR order {number}").as_bytes(), at)), []);
    }
    assert_eq!(sent(&log.line(b"ERROR password=x", NOW_US + 200_000)), [("ERROR password=***", 0, NOW_US + 200_000)]);
    assert_eq!(sent(&log.flush(NOW_US + 9_999_999)), []);
    assert_eq!(sent(&log.flush(NOW_US + 10_000_000)), [("ERROR order 99", 97, NOW_US + 99_000)]);
    assert_eq!(sent(&log.flush(NOW_US + 30_000_000)), []);
}

#[test]
fn of_one_kind_at_most_twenty_go_in_a_stretch() {
    let mut log = AppLog::new("api", "app.log");
    let words: Vec<String> =
        (0..100u8).map(|n| format!("ERROR {}{}", (b'a' + n / 10) as char, (b'a' + n % 10) as char)).collect();
    let immediate: usize = words.iter().map(|line| log.line(line.as_bytes(), NOW_US).len()).sum();
    assert_eq!(immediate, 20);
    assert_eq!(log.line(b"panic: boom", NOW_US).len(), 1, "another kind has its own room");
    let held = log.flush(NOW_US + 10_000_000);
    assert_eq!(sent(&held), [("ERROR jj", 79, NOW_US)]);
}

#[test]
fn a_lines_own_time_counts_where_it_can_be_right() {
    let at = |line: &str| {
        let observed = AppLog::new("api", "app.log").line(line.as_bytes(), NOW_US);
        sent(&observed)[0].2 - NOW_US
    };
    assert_eq!(at("2026-11-22T14:31:59.500Z ERROR x"), -1_500_000);
    assert_eq!(at("2026-11-22T15:32:00,250+01:00 ERROR x"), -750_000);
    assert_eq!(at(r#"{"level":50,"time":1795357920000,"msg":"x"}"#), -1_000_000);
    assert_eq!(at("1999-11-22T14:31:59.500Z ERROR x"), 0);
    assert_eq!(at("2026-11-22 14:31:59 ERROR x"), 0, "its zone is not told");
}

#[test]
fn no_bytes_make_it_panic() {
    let mut log = AppLog::new("api", "app.log");
    for byte in [0, b'\t', b'\n', 0x1b, b' ', b'"', b'\\', b'a', b'{', 0x7f, 0x80, 0xc3, 0xff] {
        log.line(&[byte; 300], NOW_US);
        log.line(&[b"ERROR ".as_slice(), &[byte; 70_000]].concat(), NOW_US);
    }
    let long = log.flush(NOW_US * 2);
    assert!(sent(&long).iter().all(|(line, _, _)| line.len() <= 1024));
}
