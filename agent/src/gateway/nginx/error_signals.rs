//! What an error-log message means. The tables follow nginx's sources (`ngx_http_upstream.c`, `ngx_event_connect.c`,
//! `ngx_event_openssl.c`, `ngx_connection.c`, `ngx_process.c`): a message is its beginning, a phase and an error number.

use crate::gateway::Signal;

/// Whom a message speaks of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// An attempt at an upstream.
    Upstream(Signal),
    /// A client's request, no attempt.
    Request(Signal),
    /// An upstream, no request.
    Peer(Signal),
    /// The gateway itself, or nothing.
    Own(Signal),
}

use Meaning::{Own, Peer, Request, Upstream};

/// What nginx was doing with the upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Connecting,
    Handshaking,
    Sending,
    Header,
    Body,
    None,
}

/// The meaning of a message; `of_request`: the line has a connection's number.
pub(super) fn meaning(message: &str, level: &str, of_request: bool) -> Meaning {
    if level == "debug" {
        return Own(Signal::Noise);
    }
    let phase = phase(message);
    own(message, level, of_request)
        .or_else(|| checks(message))
        .or_else(|| client(message, phase))
        .or_else(|| upstream(message, phase))
        .unwrap_or_else(|| rest(message, level, of_request, phase))
}

/// Whether a message without any prefix is one of nginx's about an upstream or a request.
pub(super) fn is_known(message: &str) -> bool {
    !matches!(meaning(message, "", true), Own(_)) || message.contains("temporary file")
}

fn phase(message: &str) -> Phase {
    let Some((_, phase)) = message.rsplit_once(" while ") else { return Phase::None };
    let table = [
        ("connecting to upstream", Phase::Connecting),
        ("SSL handshaking to upstream", Phase::Handshaking),
        ("sending request to upstream", Phase::Sending),
        ("sending to upstream", Phase::Sending),
        ("reading response header from upstream", Phase::Header),
        ("reading header from upstream", Phase::Header),
        ("reading upstream", Phase::Body),
        ("reading from upstream", Phase::Body),
        ("proxying", Phase::Body),
        ("sending to client", Phase::Body),
    ];
    table.iter().find(|(words, _)| phase.starts_with(words)).map_or(Phase::None, |(_, phase)| *phase)
}

/// The number in `failed (111: Connection refused)`, `timed out (110: ...)`; those of Windows as the ones of Linux.
fn errno(message: &str) -> Option<u32> {
    Some(match written_errno(message)? {
        10_061 => 111,
        10_060 => 110,
        10_053 | 10_054 => 104,
        10_051 => 101,
        10_065 => 113,
        10_048 | 10_049 => 99,
        other => other,
    })
}

fn written_errno(message: &str) -> Option<u32> {
    // The last one is nginx's: a file's name before it holds what a client asked for.
    let at = ["failed (", "timed out (", "resolved ("]
        .iter()
        .find_map(|words| message.rfind(words).map(|at| at + words.len()))?;
    message[at..].split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Numbers of Linux, and of the BSDs where they differ (they never mean another failure to connect on Linux).
fn connect(errno: Option<u32>, unix: bool) -> Signal {
    match errno {
        Some(111 | 61) => Signal::ConnectRefused,
        Some(110 | 60) => Signal::ConnectTimeout,
        Some(100 | 101 | 112 | 113 | 51 | 64 | 65) => Signal::ConnectUnreachable,
        Some(99 | 49) => Signal::LocalPortExhausted,
        Some(104 | 54) => Signal::ResetBeforeHeaders,
        Some(2) if unix => Signal::SocketMissing,
        Some(13) => Signal::SocketPermission,
        Some(11 | 35) if unix => Signal::SocketBacklogFull,
        _ => Signal::ConnectFailed,
    }
}

/// The gateway's own life.
fn own(message: &str, level: &str, of_request: bool) -> Option<Meaning> {
    let begins = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    if message.contains("exited on signal") || message.contains("exited with fatal code") {
        return Some(Own(Signal::GatewayCrash));
    }
    if of_request {
        return None;
    }
    let lifecycle = message.contains("worker_connections are not enough")
        || begins(&[
            "accept4() failed",
            "accept() failed",
            "signal ",
            "reconfiguring",
            "start ",
            "gracefully shutting",
        ])
        || begins(&["exiting", "exit", "worker process ", "cache ", "bind() to ", "still could not bind", "reopening"])
        || begins(&["using inherited sockets", "changing binary", "new binary", "using the ", "built by ", "nginx/"])
        || (begins(&["malloc(", "posix_memalign(", "mmap(", "fork() failed", "socketpair() failed", "open socket #"]))
        || matches!(level, "emerg" | "alert" | "notice" | "crit");
    let check = message.contains("health check") || message.contains("check peer") || message.contains("check ");
    (lifecycle && !check).then_some(Own(Signal::GatewayLifecycle))
}

/// Active checks: nginx Plus, and upstream_check_module of Tengine.
fn checks(message: &str) -> Option<Meaning> {
    let begins = |word| message.starts_with(word);
    if begins("peer is unhealthy") || begins("disable check peer") {
        return Some(Peer(Signal::HealthCheckDown));
    }
    if begins("peer is healthy") || begins("enable check peer") {
        return Some(Peer(Signal::HealthCheckUp));
    }
    if message.starts_with("upstream server temporarily disabled") {
        return Some(Peer(Signal::UpstreamDisabled));
    }
    check_signal(message).map(|_| Peer(Signal::Noise))
}

/// What a single check of upstream_check_module met.
pub(super) fn check_signal(message: &str) -> Option<Signal> {
    let table = [
        ("check time out with peer", Signal::ReadTimeout),
        ("check protocol ", Signal::ResponseInvalid),
        ("send() to peer", Signal::ConnectFailed),
        ("recv() failed with peer", Signal::ResetBeforeHeaders),
    ];
    table.iter().find(|(words, _)| message.starts_with(words)).map(|(_, signal)| *signal)
}

/// The group in `... of peer 192.0.2.1:80 in upstream "app"`.
pub(super) fn check_pool(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" in upstream \"")?;
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

/// The address that a message itself names: `connect() to A failed`, `peer: A`, `of peer A in upstream`.
pub(super) fn address(message: &str) -> Option<&str> {
    let rest = message
        .strip_prefix("connect() to ")
        .and_then(|rest| rest.split_once(" failed").map(|(address, _)| address))
        .or_else(|| message.split_once("peer: ").map(|(_, rest)| rest))
        .or_else(|| message.split_once(" of peer ").map(|(_, rest)| rest))?;
    let address = rest.split([' ', ',']).next()?;
    (!address.is_empty() && !address.contains('"')).then_some(address)
}

/// The client's doing, and what the gateway answers by rule.
fn client(message: &str, phase: Phase) -> Option<Meaning> {
    let begins = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    if message.starts_with("FastCGI sent in stderr") {
        return Some(Upstream(Signal::AppStderr));
    }
    if message.contains("client prematurely closed connection") || begins(&["client closed ", "client canceled"]) {
        return Some(Request(Signal::ClientAbort));
    }
    if message.starts_with("client timed out") {
        let left = message.ends_with("while sending to client") || message.contains("while keepalive");
        return Some(Request(if left { Signal::ClientAbort } else { Signal::ClientError }));
    }
    if begins(&["client sent ", "client intended ", "client SSL certificate", "rejected SSL"]) {
        return Some(Request(Signal::ClientError));
    }
    if begins(&["limiting requests, dry run", "limiting connections, dry run", "delaying request"]) {
        return Some(Own(Signal::Noise));
    }
    if begins(&["limiting requests", "limiting connections"]) {
        return Some(Request(Signal::RateLimited));
    }
    if (message.contains(" could not be resolved (") && phase == Phase::None) || begins(&["no resolver defined"]) {
        return Some(Upstream(Signal::DnsFailure))
            .filter(|_| !begins(&["open()", "\""]))
            .map(|_| Request(Signal::DnsFailure));
    }
    // EMFILE, ENOSPC: of the files that nginx keeps bodies in.
    let of_file = begins(&["open() ", "pwrite() ", "pwritev() ", "write() "]);
    if of_file && matches!(errno(message), Some(24 | 28)) {
        return Some(Request(Signal::GatewayResource));
    }
    let by_rule = ["auth request unexpected status", "access forbidden by rule", "directory index of", "open() "];
    let more =
        ["rewrite or internal redirection cycle", "invalid URL prefix", "user \"", "no user/password", "stat() "];
    if begins(&by_rule) || begins(&more) || (message.starts_with('"') && message.contains("is not found (")) {
        return Some(Request(Signal::LbLocalResponse));
    }
    // A request that was answered: only the goodbye went wrong.
    if message.starts_with("SSL_shutdown() failed") {
        return Some(Own(Signal::Noise));
    }
    if phase == Phase::None && message.contains(" while resolving") {
        return Some(Own(Signal::DnsFailure));
    }
    let ours = ["recv() failed", "send() failed", "writev() failed", "sendfile() failed", "readv() failed", "SSL_"];
    let to_client = phase == Phase::None || message.ends_with("while sending to client");
    if begins(&ours) && to_client {
        let tls = message.starts_with("SSL_do_handshake");
        return Some(Request(if tls { Signal::ClientError } else { Signal::ClientAbort }));
    }
    None
}

/// Attempts at upstreams.
fn upstream(message: &str, phase: Phase) -> Option<Meaning> {
    let begins = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    let body = phase == Phase::Body;
    if message.starts_with("no live upstreams") {
        return Some(Upstream(Signal::NoLiveUpstream));
    }
    if begins(&["connect() ", "kevent() reported that connect()", "/dev/poll reported that connect()"]) {
        return Some(Upstream(connect(errno(message), message.contains("unix:"))));
    }
    if begins(&["upstream timed out", "connection timed out", "kevent() reported about", "upstream timeout"]) {
        return Some(Upstream(match phase {
            Phase::Connecting => Signal::ConnectTimeout,
            Phase::Handshaking => Signal::TlsHandshake,
            Phase::Sending => Signal::SendTimeout,
            Phase::Body => Signal::BodyTimeout,
            Phase::Header | Phase::None => Signal::ReadTimeout,
        }));
    }
    if message.starts_with("upstream SSL certificate") || (phase == Phase::Handshaking && is_verification(message)) {
        return Some(Upstream(Signal::TlsVerify));
    }
    if phase == Phase::Handshaking {
        return Some(Upstream(Signal::TlsHandshake));
    }
    if begins(&["upstream prematurely closed", "upstream closed", "peer shutdown SSL", "peer closed connection"]) {
        return Some(Upstream(if body { Signal::BodyTruncated } else { Signal::ClosedBeforeHeaders }));
    }
    if begins(&["upstream sent ", "upstream rejected "]) {
        return Some(sent(message, body));
    }
    let calls = ["recv() failed", "recvmsg() failed", "readv() failed", "send() failed", "writev() failed"];
    if begins(&calls)
        || begins(&[
            "WSARecv() failed",
            "WSASend() failed",
            "sendfile() failed",
            "SSL_",
            "SSL shutdown",
            "read() failed",
            "write() failed",
        ])
    {
        return Some(Upstream(transfer(message, phase)));
    }
    None
}

fn is_verification(message: &str) -> bool {
    message.contains("certificate verify") || message.contains("certificate does not match")
}

/// `upstream sent too big header` and its kin.
fn sent(message: &str, body: bool) -> Meaning {
    let what = message.strip_prefix("upstream sent ").unwrap_or(message);
    let begins = |words: &[&str]| words.iter().any(|word| what.starts_with(word));
    if begins(&["more data than specified", "data after final chunk", "too much data"]) {
        return Own(Signal::Noise);
    }
    // HTTP/2's ways to end one request (RST_STREAM) and to end them all.
    if begins(&["upstream rejected request"]) {
        return Upstream(if body { Signal::BodyTruncated } else { Signal::ResetBeforeHeaders });
    }
    if begins(&["goaway"]) {
        return Upstream(if body { Signal::BodyTruncated } else { Signal::ClosedBeforeHeaders });
    }
    let header = ["invalid header", "no valid HTTP/", "duplicate header", "invalid status", "\"Content-Length\" and"];
    let more = ["unknown \"Transfer-Encoding\"", "invalid \"Content-Length\"", "duplicate \"", "response with both"];
    Upstream(if begins(&["too big header"]) {
        Signal::HeaderTooBig
    } else if begins(&header) || begins(&more) {
        Signal::HeaderInvalid
    } else if body || begins(&["invalid chunked response"]) {
        Signal::BodyTruncated
    } else {
        Signal::ResponseInvalid
    })
}

/// A call on the connection to the upstream failed.
fn transfer(message: &str, phase: Phase) -> Signal {
    match (phase, errno(message)) {
        (Phase::Body, Some(110 | 60)) => Signal::BodyTimeout,
        (Phase::Body, _) => Signal::BodyTruncated,
        (Phase::Connecting, number) => connect(number, false),
        (_, Some(110 | 60)) => Signal::ReadTimeout,
        (_, Some(104 | 103 | 54 | 32 | 10053 | 10054)) => Signal::ResetBeforeHeaders,
        (_, Some(113 | 101 | 100 | 112)) => Signal::ConnectUnreachable,
        // OpenSSL tells a failed system call by its text alone.
        _ if message.contains("Connection reset by peer") || message.contains("Broken pipe") => {
            Signal::ResetBeforeHeaders
        }
        _ if message.contains("unexpected eof") => Signal::ClosedBeforeHeaders,
        _ => Signal::NoResponseHeaders,
    }
}

/// What no table knows.
fn rest(message: &str, level: &str, of_request: bool, phase: Phase) -> Meaning {
    match phase {
        // ENOMEM, ENFILE, EMFILE: no try was made, for want of something of nginx's own.
        Phase::Connecting if message.contains("worker_connections") || matches!(errno(message), Some(12 | 23 | 24)) => {
            Upstream(Signal::GatewayResource)
        }
        Phase::Connecting if message.contains(" failed (") => Upstream(Signal::ConnectFailed),
        Phase::Connecting | Phase::Sending | Phase::Header if matches!(level, "error" | "crit" | "alert") => {
            Upstream(Signal::UpstreamErrorUnspecified)
        }
        _ if !of_request && matches!(level, "emerg" | "alert" | "notice") => Own(Signal::GatewayLifecycle),
        _ => Own(Signal::Noise),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        for (message, wanted) in [
            (
                "connect() to 192.0.2.2:80 failed (101: Network is unreachable) while connecting to upstream",
                Upstream(Signal::ConnectUnreachable),
            ),
            (
                "upstream timed out (110: Operation timed out) while SSL handshaking to upstream",
                Upstream(Signal::TlsHandshake),
            ),
            ("upstream timed out (110: x) while sending request to upstream", Upstream(Signal::SendTimeout)),
            ("upstream prematurely closed connection while sending to client", Upstream(Signal::BodyTruncated)),
            ("send() failed (104: x) while sending request to upstream", Upstream(Signal::ResetBeforeHeaders)),
            (
                "writev() failed (32: Broken pipe) while sending request to upstream",
                Upstream(Signal::ResetBeforeHeaders),
            ),
            ("recv() failed (104: x) while reading client request line", Request(Signal::ClientAbort)),
            (
                "SSL_do_handshake() failed (SSL: error:x:certificate verify failed) while SSL handshaking to upstream",
                Upstream(Signal::TlsVerify),
            ),
            ("SSL_do_handshake() failed (SSL: error:x) while SSL handshaking", Request(Signal::ClientError)),
            (
                "peer closed connection in SSL handshake while SSL handshaking to upstream",
                Upstream(Signal::TlsHandshake),
            ),
            (
                "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time while reading response header from upstream",
                Upstream(Signal::HeaderInvalid),
            ),
            (
                "upstream sent unexpected FastCGI record: 3 while reading response header from upstream",
                Upstream(Signal::ResponseInvalid),
            ),
            (
                "upstream rejected request with error 7 while reading response header from upstream",
                Upstream(Signal::ResetBeforeHeaders),
            ),
            (
                "upstream sent goaway with error 0 while reading response header from upstream",
                Upstream(Signal::ClosedBeforeHeaders),
            ),
            (
                "connect() failed (10061: No connection could be made) while connecting to upstream",
                Upstream(Signal::ConnectRefused),
            ),
            (
                "recv() failed (111: Connection refused) while resolving, resolver: 127.0.0.11:53",
                Own(Signal::DnsFailure),
            ),
            (
                "SSL_write() failed (SSL: error:80000068:system library::Connection reset by peer) while sending request to upstream",
                Upstream(Signal::ResetBeforeHeaders),
            ),
            (
                "WSARecv() failed (10054: x) while reading response header from upstream",
                Upstream(Signal::ResetBeforeHeaders),
            ),
            ("12 worker_connections are not enough while connecting to upstream", Upstream(Signal::GatewayResource)),
            (
                "socket() failed (24: Too many open files) while connecting to upstream",
                Upstream(Signal::GatewayResource),
            ),
            ("app could not be resolved (110: Operation timed out)", Request(Signal::DnsFailure)),
            ("limiting requests, excess: 0.5 by zone \"z\"", Request(Signal::RateLimited)),
            ("limiting requests, dry run, excess: 0.5 by zone \"z\"", Own(Signal::Noise)),
            (
                "open() \"/srv/connect() failed (111: x) while connecting to upstream\" failed (2: No such file)",
                Request(Signal::LbLocalResponse),
            ),
            ("an upstream response is buffered to a temporary file /x while reading upstream", Own(Signal::Noise)),
        ] {
            assert_eq!(meaning(message, "error", true), wanted, "{message}");
        }
    }

    #[test]
    fn the_gateway_itself() {
        for (message, level, wanted) in [
            ("worker process 7 exited on signal 11 (core dumped)", "alert", Own(Signal::GatewayCrash)),
            ("worker process 7 exited with code 0", "notice", Own(Signal::GatewayLifecycle)),
            ("host not found in upstream \"x\" in /etc/nginx/nginx.conf:3", "emerg", Own(Signal::GatewayLifecycle)),
            ("conflicting server name \"a\" on 0.0.0.0:80, ignored", "warn", Own(Signal::Noise)),
            ("disable check peer: 10.0.0.2:80 ", "error", Peer(Signal::HealthCheckDown)),
        ] {
            assert_eq!(meaning(message, level, false), wanted, "{message}");
        }
        let plus =
            "peer is unhealthy while connecting to upstream, health check \"\" of peer 10.0.0.2:80 in upstream \"app\"";
        assert_eq!(meaning(plus, "warn", false), Peer(Signal::HealthCheckDown));
        assert_eq!((address(plus), check_pool(plus).as_deref()), (Some("10.0.0.2:80"), Some("app")));
    }
}
