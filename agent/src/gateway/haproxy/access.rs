//! One HAProxy access line's variables, from whichever format, become a record.

use super::state::Session;
use crate::gateway::stamp::{self, Zone};
use crate::gateway::{Attempt, Record, Signal, Stamp};

/// The variables of one line by their names in the manual. Absent, empty and `-` are all None.
pub(super) trait Variables {
    /// The text of a variable.
    fn get(&self, name: &str) -> Option<String>;

    /// The text of the first variable whose name begins so (`[bc_err_str]`, `[bc_err_str,lower]`).
    fn get_like(&self, start: &str) -> Option<String>;

    /// A number; None where it is none. `+` before it (logasap, redispatch) is passed over.
    fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.trim_start_matches('+').parse().ok()
    }
}

/// The record, or None where the line has neither a state nor a status: then it is no access line.
pub(super) fn record(line: &impl Variables, zone: &Zone) -> Option<Record> {
    let state = line.get("tsc").or_else(|| line.get("ts")).or_else(|| line.get("[txn.sess_term_state]"));
    let status = line.number("ST").or_else(|| line.number("[status]"));
    if state.is_none() && status.is_none() {
        return None;
    }
    let server = line.get("s").or_else(|| line.get("[srv_name]"));
    let request = line.get("r");
    let retries = line.get("rc");
    let error_text = line.get_like("[bc_err_str");
    let session = Session {
        status,
        state: state.as_deref(),
        server: server.as_deref(),
        header_ms: line.number("Tr"),
        connect_ms: line.number("Tc"),
        retried: retries.as_deref().is_some_and(|retries| retries.trim_start_matches('+').parse().unwrap_or(0) > 0),
        bad_request: request.as_deref() == Some("<BADREQ>"),
        error_text: error_text.as_deref(),
        error_code: line.get("[bc_err]").and_then(|code| code.parse().ok()),
    };
    let signal = session.signal();
    let pool = line.get("b").or_else(|| line.get("[be_name]"));
    let duration_ms = line.number("Ta").or_else(|| line.number("Tt")).filter(|ms| *ms >= 0);
    let (method, path) = request_parts(line, request.as_deref());
    Some(Record {
        at: ended(line, zone, duration_ms),
        status: status.and_then(|status| u16::try_from(status).ok()),
        origin: session.origin(signal),
        signal,
        attempts: attempts(line, &session, signal, pool.as_deref()),
        duration_us: duration_ms.and_then(us),
        method,
        path,
        request_id: line.get("ID").or_else(|| line.get("[unique-id]")),
        client: line.get("ci").or_else(|| line.get("[src]")),
        server: line.get("ft").or_else(|| line.get("f")).map(|name| name.trim_end_matches('~').to_owned()),
        pool,
        reason: state.map(|state| error_text.map_or(state.clone(), |text| format!("{state} {text}"))),
        body_bytes: line.number("B").and_then(|bytes| u64::try_from(bytes).ok()),
        ..Record::default()
    })
}

fn us(ms: i64) -> Option<u64> {
    u64::try_from(ms).ok()?.checked_mul(1000)
}

/// HAProxy tells when a request came; with its duration that gives when it ended.
fn ended(line: &impl Variables, zone: &Zone, duration_ms: Option<i64>) -> Option<Stamp> {
    let begun = ["tr", "t", "trg", "trl", "T", "Tl"].iter().find_map(|name| {
        let text = line.get(name)?;
        stamp::clf(text.trim_matches(['[', ']', '"']).as_bytes(), zone).map(|(stamp, _)| stamp)
    });
    let begun = begun.or_else(|| stamp::unix(line.get("Ts")?.as_bytes()).map(|(stamp, _)| stamp))?;
    let ended_us = begun.unix_us.checked_add(duration_ms.unwrap_or(0).checked_mul(1000)?)?;
    Some(Stamp { unix_us: ended_us, ..begun })
}

fn request_parts(line: &impl Variables, request: Option<&str>) -> (Option<String>, Option<String>) {
    let mut words = request.filter(|request| *request != "<BADREQ>").unwrap_or("").splitn(2, ' ');
    let method = words.next().filter(|word| !word.is_empty()).map(str::to_owned).or_else(|| line.get("HM"));
    let uri = words.next().map(|rest| rest.rsplit_once(" HTTP/").map_or(rest, |(uri, _)| uri).to_owned());
    let path = uri.or_else(|| line.get("HU")).or_else(|| Some(line.get("HP")? + &line.get("HQ").unwrap_or_default()));
    (method, path)
}

/// The server's address where the format has it, else its name within its backend.
fn upstream(line: &impl Variables, pool: Option<&str>, server: &str) -> String {
    let address = line.get("si").or_else(|| line.get("[dst]")).filter(|ip| ip.parse::<std::net::IpAddr>().is_ok());
    match (address, line.number("sp"), pool) {
        (Some(ip), Some(port @ 1..=65535), _) if ip.contains(':') => format!("[{ip}]:{port}"),
        (Some(ip), Some(port @ 1..=65535), _) => format!("{ip}:{port}"),
        (_, _, Some(pool)) => format!("{pool}/{server}"),
        _ => server.to_owned(),
    }
}

fn attempts(line: &impl Variables, session: &Session, signal: Signal, pool: Option<&str>) -> Vec<Attempt> {
    let (true, Some(server)) = (session.has_server(), session.server) else { return Vec::new() };
    // No state letter but these speaks of what the server did.
    if matches!(signal, Signal::LbLocalResponse | Signal::ClientError | Signal::NoLiveUpstream) {
        return Vec::new();
    }
    let upstream = upstream(line, pool, server);
    let answered = session.header_ms.is_some_and(|ms| ms >= 0);
    let last = Attempt {
        upstream: Some(upstream.clone()),
        status: session.status.filter(|_| answered).and_then(|status| u16::try_from(status).ok()),
        signal: if signal == Signal::RetriedOk { Signal::Ok } else { signal },
        connect_us: session.connect_ms.and_then(us),
        header_us: session.header_ms.and_then(us),
        ..Attempt::default()
    };
    if !session.retried || signal != Signal::RetriedOk {
        return vec![last];
    }
    // Redispatched (`+`): the line does not say which server failed before.
    let elsewhere = line.get("rc").is_some_and(|retries| retries.starts_with('+'));
    let failed = Attempt {
        upstream: Some(upstream).filter(|_| !elsewhere),
        signal: Signal::UpstreamErrorUnspecified,
        ..Attempt::default()
    };
    vec![failed, last]
}
