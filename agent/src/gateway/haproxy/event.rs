//! What HAProxy says outside of requests: health checks, servers going down and up, maintenance, lack of resources,
//! start and stop (`checks.c`, `server.c`, `proxy.c`, `backend.c`, `mworker.c`). Every text is looked for at the line's start
//! only; what stands later may come from an application.

use crate::gateway::{Notice, Signal};

/// Bytes kept of a line's own words.
const SAYS_LIMIT_BYTES: usize = 512;

/// The notice of a line without its frame. None: it is no event.
pub(super) fn read(text: &str) -> Option<Notice> {
    let text = after_level(text);
    let notice = health_check(text)
        .or_else(|| server(text))
        .or_else(|| backend_empty(text))
        .or_else(|| connect_failed(text))
        .or_else(|| gateway(text))?;
    Some(Notice { says: text.chars().take(SAYS_LIMIT_BYTES).collect(), ..notice })
}

/// Passes over `[WARNING] 279/142102 (8) : ` of standard error.
fn after_level(text: &str) -> &str {
    let levels = ["[WARNING]", "[ALERT]", "[NOTICE]", "[INFO]", "[DIAG]"];
    let Some(rest) = levels.iter().find_map(|level| text.strip_prefix(level)) else { return text };
    rest.split_once(" : ").filter(|(head, _)| head.len() < 40).map_or(rest, |(_, said)| said).trim_start()
}

/// `Health check for backup server b/s failed, reason: ..., status: 2/3 UP.`
fn health_check(text: &str) -> Option<Notice> {
    let rest = text.strip_prefix("Health check for ").or_else(|| text.strip_prefix("Agent check for "))?;
    let rest = rest.strip_prefix("backup ").unwrap_or(rest).strip_prefix("server ")?;
    let (name, rest) = rest.split_once(' ')?;
    let down = rest.starts_with("failed");
    if !down && !rest.starts_with("succeeded") && !rest.starts_with("conditionally succeeded") {
        return None;
    }
    let signal = if down { Signal::HealthCheckDown } else { Signal::HealthCheckUp };
    Some(with_reason(of_server(name, signal), rest))
}

/// `[Backup ]Server b/s is ...`
fn server(text: &str) -> Option<Notice> {
    let rest = text.strip_prefix("Backup ").unwrap_or(text).strip_prefix("Server ")?;
    let (name, rest) = rest.split_once(' ')?;
    let name = name.trim_end_matches([':', ',']);
    let said = |starts: &[&str]| starts.iter().any(|start| rest.starts_with(start));
    let resolution =
        ["DNS", "No IP for server", "resolves again", "Resolution failure"].iter().any(|word| rest.contains(word));
    let signal = if said(&["is going DOWN for maintenance", "was DOWN and now enters maintenance"]) && resolution {
        Signal::HealthCheckDown
    } else if rest.contains("maintenance") || rest.contains(" drain") || said(&["is stopping", "administratively"]) {
        Signal::ServerMaint
    } else if said(&["is DOWN", "is going DOWN"]) {
        Signal::HealthCheckDown
    } else if said(&["is UP", "is RUNNING", "is READY"]) {
        Signal::HealthCheckUp
    } else {
        return None;
    };
    let mut notice = with_reason(of_server(name, signal), rest);
    if resolution && signal == Signal::HealthCheckDown {
        notice.check_signal = Some(Signal::DnsFailure);
    }
    Some(notice)
}

fn of_server(name: &str, signal: Signal) -> Notice {
    let pool = name.split_once('/').map(|(pool, _)| pool.to_owned());
    Notice { upstream: Some(name.to_owned()), pool, signal, ..Notice::default() }
}

/// `, reason: R, code: N, info: "...", check duration: Dms`: in this order, each read where it must stand.
fn with_reason(mut notice: Notice, text: &str) -> Notice {
    let Some((_, after)) = text.split_once(", reason: ") else { return notice };
    let end = [", code: ", ", info: ", ", check duration: ", ". ", ", status: "]
        .iter()
        .filter_map(|mark| after.find(mark))
        .min();
    let (reason, mut rest) = after.split_at(end.unwrap_or(after.len()));
    if let Some(code) = rest.strip_prefix(", code: ") {
        let digits = code.bytes().take_while(u8::is_ascii_digit).count();
        let (code, after) = code.split_at(digits);
        notice.check_status = code.parse().ok();
        rest = after;
    }
    let info = rest.strip_prefix(", info: \"").map(|info| info.split("\", check duration: ").next().unwrap_or(info));
    let duration = rest.rsplit_once("check duration: ").and_then(|(_, after)| after.split_once("ms"));
    notice.check_us = duration.and_then(|(ms, _)| ms.parse::<u64>().ok()).and_then(|ms| ms.checked_mul(1000));
    notice.check_signal = check_signal(reason.trim_end_matches('.'), info.unwrap_or(""));
    notice
}

fn check_signal(reason: &str, info: &str) -> Option<Signal> {
    let errno = |otherwise| {
        const TEXTS: [(&str, Signal); 8] = [
            ("Connection refused", Signal::ConnectRefused),
            ("No route to host", Signal::ConnectUnreachable),
            ("Network is unreachable", Signal::ConnectUnreachable),
            ("Network unreachable", Signal::ConnectUnreachable),
            ("No such file or directory", Signal::SocketMissing),
            ("Permission denied", Signal::SocketPermission),
            ("Connection reset by peer", Signal::ResetBeforeHeaders),
            ("timed out", Signal::ConnectTimeout),
        ];
        TEXTS.iter().find(|(text, _)| info.contains(text)).map_or(otherwise, |(_, signal)| *signal)
    };
    Some(match reason {
        "Layer4 connection problem" => errno(Signal::ConnectFailed),
        "Socket error" => errno(Signal::NoResponseHeaders),
        "Layer4 timeout" => Signal::ConnectTimeout,
        "Layer6 invalid response" => Signal::TlsHandshake,
        // A handshake that nobody answers tells no more of TLS than a request that nobody answers.
        "Layer6 timeout" | "Layer7 timeout" | "External check timeout" => Signal::ReadTimeout,
        "Layer7 wrong status" => Signal::AppStatus,
        "Layer7 invalid response" => Signal::ResponseInvalid,
        "Health analyze" | "External check error" => Signal::UpstreamErrorUnspecified,
        "Resolution failure" => Signal::DnsFailure,
        _ if reason.contains("passed") => Signal::Ok,
        _ => return None,
    })
}

/// `backend b has no server available!`, quoted on standard error. The backend stands for all its servers.
fn backend_empty(text: &str) -> Option<Notice> {
    let rest = ["backend ", "proxy ", "listener "].iter().find_map(|kind| text.strip_prefix(kind))?;
    let (name, _) = rest.split_once(" has no server available")?;
    let name = name.trim_matches('\'').to_owned();
    Some(Notice { upstream: Some(name.clone()), pool: Some(name), signal: Signal::NoLiveUpstream, ..Notice::default() })
}

/// `Connect() failed for backend b: no free ports.`
fn connect_failed(text: &str) -> Option<Notice> {
    let (name, why) = text.strip_prefix("Connect() failed for backend ")?.split_once(": ")?;
    let signal = match why {
        _ if why.contains("unix socket, check backlog") => Signal::SocketBacklogFull,
        _ if why.contains("no free ports") || why.contains("local address already in use") => {
            Signal::LocalPortExhausted
        }
        _ => Signal::ConnectFailed,
    };
    // The text names only the backend; it is the upstream as far as the line tells.
    Some(Notice { upstream: Some(name.to_owned()), pool: Some(name.to_owned()), signal, ..Notice::default() })
}

/// The gateway itself.
fn gateway(text: &str) -> Option<Notice> {
    let notice = |signal| Some(Notice { signal, ..Notice::default() });
    let starts = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if starts(&["Proxy "]) && (text.contains("FD limit") || text.contains("reached system memory limit")) {
        return notice(Signal::GatewayResource);
    }
    if text.contains("exited with code ")
        && (starts(&["Current worker", "Former worker", "Former program", "A worker", "worker "]))
    {
        let code =
            text.split("exited with code ").nth(1).map_or("", |code| code.split([' ', '.']).next().unwrap_or(""));
        // 0 by itself, 130 and 143 by a signal that asked for it.
        return notice(if matches!(code, "0" | "130" | "143") {
            Signal::GatewayLifecycle
        } else {
            Signal::GatewayCrash
        });
    }
    let lifecycle = [
        "Proxy ",
        "Stopping ",
        "Stopped ",
        "Pausing ",
        "Resuming ",
        "Paused ",
        "Starting ",
        "New worker",
        "New program",
        "Loading success",
        "Loading failure",
        "haproxy version",
        "path to executable",
        "Exiting Master",
        "All workers exited",
        "Reexecuting Master",
        "Initializing new worker",
        "config : ",
        "[haproxy.main()]",
        "[/usr",
        "parsing [",
        "Received SIG",
        "Soft-stop",
        "Some tasks resisted",
        "Memory stats dump",
        "Dumping stats",
        "Reloading",
        "Previous worker",
        "Some configuration options",
        "Fatal errors found",
        "Error(s) found",
        "sendmsg()/writev() failed",
    ];
    if starts(&lifecycle) {
        return notice(Signal::GatewayLifecycle);
    }
    // `b/s changed its IP from 10.0.0.1 to 10.0.0.2 by dns/ns1.`
    let changed = text.split_once(" changed its ").filter(|(name, _)| name.contains('/') && !name.contains(' '));
    changed.map(|(name, _)| of_server(name, Signal::Noise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_tells_its_reason_code_and_time() {
        let notice = read(
            "Server checked/web3 is DOWN, reason: Layer7 wrong status, code: 500, info: \"Internal, code: 200\", check \
             duration: 3ms. 10 active and 0 backup servers left.",
        )
        .unwrap();
        assert_eq!(notice.upstream.as_deref(), Some("checked/web3"));
        assert_eq!((notice.signal, notice.check_signal), (Signal::HealthCheckDown, Some(Signal::AppStatus)));
        assert_eq!((notice.check_status, notice.check_us), (Some(500), Some(3000)));
    }

    #[test]
    fn a_handshake_that_nobody_answers_is_no_failed_one() {
        let met = |reason| {
            let line = format!("Server b/s is DOWN, reason: {reason}, check duration: 540ms. 1 active servers left.");
            read(&line).and_then(|notice| notice.check_signal)
        };
        assert_eq!(met("Layer6 timeout"), Some(Signal::ReadTimeout));
        assert_eq!(met("Layer6 invalid response, info: \"SSL handshake failure\""), Some(Signal::TlsHandshake));
    }

    #[test]
    fn servers_change_state_in_many_words() {
        for (text, signal) in [
            ("Backup Server b/s is DOWN via b/t. 0 active", Signal::HealthCheckDown),
            ("Server b/s is UP/READY (leaving forced maintenance).", Signal::ServerMaint),
            ("Server b/s is going DOWN for maintenance (DNS timeout status). 0 active", Signal::HealthCheckDown),
            (
                "Health check for backup server b/s succeeded, reason: Layer4 check passed, check duration: 1ms, status: 1/2 DOWN.",
                Signal::HealthCheckUp,
            ),
            (
                "Proxy web reached process FD limit (maxsock=1024). Please check 'ulimit-n' and restart.",
                Signal::GatewayResource,
            ),
            ("[ALERT]    (1) : Current worker (8) exited with code 139 (Segmentation fault)", Signal::GatewayCrash),
            ("[NOTICE]   (1) : New worker (12) forked", Signal::GatewayLifecycle),
        ] {
            assert_eq!(read(text).map(|notice| notice.signal), Some(signal), "{text}");
        }
        assert!(read("Server down? GET /Server b/s is DOWN").is_none());
    }
}
