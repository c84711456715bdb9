//! Apache's error log: `[stamp] [module:level] [pid N:tid M] (errno)text: [client A] AHnnnnn: message, referer: R`. The parts
//! in front come in the order of `ErrorLogFormat` and may be missing; the message's number says what happened and the error
//! number how. The referer is the client's, raw, at the end; it is cut off before anything is looked for.

use super::super::stamp::{self, Zone};
use super::access::worker_address;
use super::errno;
use crate::gateway::{Attempt, Line, Notice, Origin, Record, Signal, Stamp};

/// The parts of one line.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub at: Option<Stamp>,
    pub module: &'a str,
    pub level: &'a str,
    /// `N:tid M`, which tells lines of one request that stand together.
    pub process: &'a str,
    pub client: Option<&'a str>,
    pub remote: Option<&'a str>,
    pub log_id: Option<&'a str>,
    pub errno: Option<&'a str>,
    /// `AHnnnnn`, or empty.
    pub number: &'a str,
    pub message: &'a str,
}

/// Takes a line apart. None: it does not begin as one of the error log.
pub(super) fn parts<'a>(text: &'a str, zone: &Zone) -> Option<Parts<'a>> {
    let mut parts = Parts::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some((inner, after)) = rest.strip_prefix('[').and_then(bracketed) {
            if !parts.bracket(inner, zone) && parts.module.is_empty() && parts.level.is_empty() && parts.at.is_none() {
                return None;
            }
            rest = after;
        } else if let Some(after) = parts.error_number(rest) {
            rest = after;
        } else {
            break;
        }
    }
    let number = rest.split(": ").next().filter(|word| is_number(word));
    // An `ErrorLogFormat` may leave all out that stands in brackets.
    if parts.level.is_empty() && number.is_none() {
        return None;
    }
    if let Some(number) = number {
        parts.number = number;
        rest = rest.get(number.len() + 2..).unwrap_or("");
    }
    parts.message = rest.split(", referer: ").next().unwrap_or(rest);
    if number.is_none() {
        let said = parts.message.trim_start_matches("proxy: ");
        parts.number = UNNUMBERED.iter().find(|(start, _)| said.starts_with(start)).map_or("", |(_, number)| number);
    }
    Some(parts)
}

/// `AHnnnnn`.
fn is_number(word: &str) -> bool {
    word.strip_prefix("AH").is_some_and(|digits| digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// How messages begin that version 2.2 wrote without the numbers that they have since, and mod_proxy_cluster's.
const UNNUMBERED: [(&str, &str); 17] = [
    ("error reading status line from remote server", "AH01102"),
    ("DNS lookup failure for", "AH00898"),
    ("Error during SSL Handshake", "AH00898"),
    ("Error reading from remote server", "AH00898"),
    ("Corrupt status line returned", "AH00898"),
    ("HTTP: failed to make connection to backend", "AH01114"),
    ("HTTPS: failed to make connection to backend", "AH01114"),
    ("AJP: failed to make connection to backend", "AH00896"),
    ("BALANCER: (balancer://", "AH01170"),
    ("CLUSTER: (balancer://", "AH01170"),
    ("ap_proxy_connect_backend disabling worker", "AH00959"),
    ("read response failed from", "AH00878"),
    ("dialog to ", "AH00893"),
    ("ajp_ilink_receive() can't receive header", "AH01030"),
    ("ajp_read_header: ajp_ilink_receive failed", "AH00992"),
    ("pass request body failed to", "AH01097"),
    ("server reached MaxClients", "AH00161"),
];

/// What stands in the bracket at the front; `[client [::1]:80]` has brackets inside.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let end = text
        .match_indices(']')
        .find(|(at, _)| text.get(..*at).is_some_and(|inner| inner.matches('[').count() == inner.matches(']').count()));
    let (at, _) = end?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

impl<'a> Parts<'a> {
    /// Whether the text in the bracket is known.
    fn bracket(&mut self, inner: &'a str, zone: &Zone) -> bool {
        const LEVELS: [&str; 16] = [
            "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1", "trace2", "trace3",
            "trace4", "trace5", "trace6", "trace7", "trace8",
        ];
        let (module, level) = inner.split_once(':').unwrap_or(("", inner));
        if self.level.is_empty() && LEVELS.contains(&level) && !module.contains(' ') {
            (self.module, self.level) = (module, level);
        } else if let Some(process) = inner.strip_prefix("pid ") {
            self.process = process;
        } else if let Some(client) = inner.strip_prefix("client ") {
            self.client = Some(client);
        } else if let Some(remote) = inner.strip_prefix("remote ") {
            self.remote = Some(remote);
        } else if let Some(at) = stamp_of(inner, zone) {
            self.at = Some(at);
        } else if !self.level.is_empty() && !inner.contains(' ') {
            self.log_id.get_or_insert(inner);
        } else {
            return false;
        }
        true
    }

    fn error_number(&mut self, text: &'a str) -> Option<&'a str> {
        let (number, rest) = errno::split(text).filter(|_| self.errno.is_none())?;
        self.errno = Some(number);
        Some(rest)
    }

    fn ending(&self, otherwise: Signal) -> Signal {
        errno::ending(self.errno, otherwise)
    }

    fn connecting(&self) -> Signal {
        errno::connecting(self.errno)
    }

    /// What the line says. `before` is the attempt that an earlier line of this request told of.
    pub(super) fn line(&self, before: Option<&Attempt>) -> Line {
        let connects = matches!(self.number, "AH00957" | "AH02454" | "");
        if let Some(line) = self.connect().filter(|_| connects) {
            return line;
        }
        if self.module == "proxy_hcheck" {
            return self.health_check();
        }
        if let Some(signal) = self.of_gateway() {
            let worker = self.message.split_once("worker (").and_then(|(_, rest)| rest.split_once(')'));
            return self.notice(
                signal,
                worker.filter(|(worker, _)| worker.contains("://")).map(|(worker, _)| worker_address(worker)),
                None,
            );
        }
        let (signal, upstream) = self.of_request(before.map(|attempt| attempt.signal));
        // The line has no address where it follows the one that has.
        let upstream = upstream.or_else(|| before.and_then(|attempt| attempt.upstream.clone()));
        let mut line = self.record(signal, upstream);
        if let Line::Record(record) = &mut line {
            // The proxy sums up what it has just told.
            record.told_again = before.is_some() && matches!(self.number, "AH00898" | "AH01106");
        }
        line
    }

    /// `SCHEME: attempt to connect to A (B) failed`, also of a Unix domain socket; a scheme that begins with HC is a check's.
    fn connect(&self) -> Option<Line> {
        let (scheme, rest) = self.message.split_once(": attempt to connect to ")?;
        let address = rest.split(" (").next().unwrap_or(rest);
        let upstream = match address.strip_prefix("Unix domain socket ") {
            Some(path) => format!("unix:{path}"),
            None => address.to_owned(),
        };
        let signal = self.connecting();
        if scheme.trim_start_matches("proxy: ").starts_with("HC") {
            return Some(self.notice(Signal::HealthCheckDown, Some(upstream), Some(signal)));
        }
        let mut line = self.record(signal, Some(upstream));
        if let Line::Record(record) = &mut line {
            // It stands before the request is known; the proxy's own line (AH01114) follows with the request.
            record.told_again = self.client.is_none() && self.number == "AH00957";
        }
        Some(line)
    }

    /// `Health check DISABLING worker (U)`, `Health check GET Status (0) for U.`; 0 is OK. All else is how checks are run.
    fn health_check(&self) -> Line {
        let says = |text: &str| self.message.contains(text);
        let signal = if says("ENABLING") || says(" Status (0) for ") {
            Signal::HealthCheckUp
        } else if says("DISABLING") || says(" Status (") {
            Signal::HealthCheckDown
        } else {
            Signal::Noise
        };
        let worker = self.message.split(['(', ' ']).find(|word| word.contains("://"));
        self.notice(signal, worker.map(|worker| worker_address(worker.trim_end_matches([')', '.']))), None)
    }

    /// What a line says of one request.
    fn of_request(&self, before: Option<Signal>) -> (Signal, Option<String>) {
        let says = |start: &str| self.message.trim_start_matches("proxy: ").starts_with(start);
        let after = |start: &str| {
            self.message.split_once(start).and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned)
        };
        let body = if self.errno == Some("70007") { Signal::BodyTimeout } else { Signal::BodyTruncated };
        let signal = match self.number {
            "AH01102" => self.ending(Signal::NoResponseHeaders),
            "AH00898" | "AH01516" if says("DNS lookup failure for") => Signal::DnsFailure,
            "AH00898" if says("Error during SSL Handshake") => Signal::TlsHandshake,
            "AH00898" if says("Error reading from remote server") => Signal::NoResponseHeaders,
            "AH00898" if says("Corrupt status line") => Signal::HeaderInvalid,
            "AH00898" if says("Timeout on 100-Continue") => Signal::ReadTimeout,
            "AH00898" => Signal::UpstreamErrorUnspecified,
            // They follow AH00957, which has the number.
            "AH01114" | "AH01079" | "AH03352" => before.unwrap_or(Signal::ConnectFailed),
            "AH00896" | "AH00887" | "AH00860" => Signal::ConnectFailed,
            // AJP, web sockets, SCGI and uwsgi, each by a number of its own.
            _ if says("failed to make connection to backend: ") => before.unwrap_or(Signal::ConnectFailed),
            "AH10404" => self.ending(Signal::HeaderInvalid),
            "AH01106" => before.unwrap_or(Signal::HeaderInvalid),
            "AH01070" | "AH02429" | "AH02430" | "AH01107" => Signal::HeaderInvalid,
            "AH10124" => Signal::HeaderTooBig,
            "AH01110" | "AH01590" | "AH02608" => body,
            // 20014 is what the TLS filter gives back; a plain connection has a number of the system's.
            "AH01084" if self.errno == Some("20014") => Signal::TlsHandshake,
            "AH01084" => self.ending(Signal::UpstreamErrorUnspecified),
            // It follows AH01084 and has no number of its own.
            "AH01097" => before.unwrap_or(Signal::TlsHandshake),
            "AH03351" => self.ending(Signal::UpstreamErrorUnspecified),
            "AH01067" | "AH01075" => self.ending(Signal::ClosedBeforeHeaders),
            "AH01068" | "AH01069" => Signal::ResponseInvalid,
            "AH00878" | "AH00892" | "AH00893" | "AH00992" | "AH01030" | "AH00868" => {
                self.ending(Signal::NoResponseHeaders)
            }
            "AH01170" | "AH01171" | "AH01167" => Signal::NoLiveUpstream,
            "AH01071" | "AH01215" => Signal::AppStderr,
            "AH01095" | "AH01382" => Signal::ClientAbort,
            "AH01630" | "AH01797" | "AH01144" => Signal::LbLocalResponse,
            "AH00126" | "AH00565" | "AH00566" | "AH02032" | "AH10244" | "AH03488" | "AH02034" => Signal::ClientError,
            "AH00961" | "AH01961" => Signal::TlsHandshake,
            _ => self.of_module().unwrap_or_else(|| self.of_tls()),
        };
        let upstream = match self.number {
            "AH01084" | "AH01097" | "AH03351" => after("pass request body failed to "),
            "AH00878" => after("read response failed from "),
            // A worker on a Unix domain socket has no address here.
            _ => after("error reading status line from remote server ")
                .filter(|address| !address.starts_with("httpd-UDS")),
        };
        let upstream = upstream.or_else(|| self.remote.filter(|_| signal == Signal::TlsVerify).map(str::to_owned));
        (signal, upstream)
    }

    /// Modules that speak to an application in ways of their own: mod_fcgid, mod_fastcgi, mod_wsgi and CGI.
    fn of_module(&self) -> Option<Signal> {
        let says = |text: &str| self.message.starts_with(text);
        Some(match () {
            () if says("malformed header from script") => Signal::HeaderInvalid,
            () if says("Premature end of script headers") || says("End of script output before headers") => {
                self.ending(Signal::ClosedBeforeHeaders)
            }
            () if says("mod_fcgid: read data timeout") => Signal::ReadTimeout,
            () if says("mod_fcgid: error reading data") => self.ending(Signal::NoResponseHeaders),
            () if says("mod_fcgid: can't apply process slot") => Signal::UpstreamOverflow,
            () if says("FastCGI: failed to connect to server") => self.connecting(),
            () if says("FastCGI: comm with server") && self.message.contains("idle timeout") => Signal::ReadTimeout,
            () if says("FastCGI: comm with server") => self.ending(Signal::NoResponseHeaders),
            () if says("FastCGI: incomplete headers") => Signal::ClosedBeforeHeaders,
            () if says("Truncated or oversized response headers received from daemon process") => {
                Signal::ClosedBeforeHeaders
            }
            () if says("Timeout when reading response headers from daemon process") => Signal::ReadTimeout,
            () if self.message.contains("Unable to connect to WSGI daemon process") => self.connecting(),
            () => return None,
        })
    }

    /// mod_ssl towards an upstream (`[remote A]`); towards a client it says nothing of one.
    fn of_tls(&self) -> Signal {
        const VERIFY: [&str; 5] = ["AH02039", "AH02411", "AH02004", "AH02005", "AH02040"];
        if self.client.is_some() || self.module != "ssl" && self.remote.is_none() {
            return Signal::Noise;
        }
        match self.number {
            number if VERIFY.contains(&number) => Signal::TlsVerify,
            "AH02003" | "AH01997" => Signal::TlsHandshake,
            "" if self.message.starts_with("SSL Library Error") => {
                if self.message.contains("certificate verify failed") {
                    Signal::TlsVerify
                } else {
                    Signal::TlsHandshake
                }
            }
            _ => Signal::Noise,
        }
    }

    /// What a line says of the gateway or of an upstream beyond one request.
    fn of_gateway(&self) -> Option<Signal> {
        let says = |part: &str| self.message.contains(part);
        match self.number {
            "AH00959" | "AH01174" | "AH00940" | "AH01177" => Some(Signal::UpstreamDisabled),
            "" if says("disabled connection for") => Some(Signal::UpstreamDisabled),
            "AH00161" | "AH00484" | "AH00485" | "AH00288" | "AH00286" | "AH03490" | "AH10159" => {
                Some(Signal::GatewayResource)
            }
            "AH00051" | "AH00052" | "AH00050" => Some(Signal::GatewayCrash),
            "" if says("exit signal ") && self.client.is_none() => Some(Signal::GatewayCrash),
            "AH00163" | "AH00489" | "AH00292" | "AH00094" | "AH00169" | "AH00171" | "AH00173" | "AH00491"
            | "AH00492" | "AH00493" | "AH00494" | "AH00072" | "AH00020" | "AH00098" | "AH00170" | "AH00295"
            | "AH00297" | "AH00298" => Some(Signal::GatewayLifecycle),
            _ if self.client.is_none() && matches!(self.errno, Some("24" | "23" | "12")) => {
                Some(Signal::GatewayResource)
            }
            _ if self.client.is_none() && matches!(self.level, "emerg" | "alert") => Some(Signal::GatewayLifecycle),
            _ => None,
        }
    }

    fn record(&self, signal: Signal, upstream: Option<String>) -> Line {
        let chosen = signal.is_failure() && !matches!(signal, Signal::DnsFailure | Signal::NoLiveUpstream);
        let (client, port) = match self.client.map(|client| (client, client.rsplit_once(':'))) {
            Some((_, Some((ip, port)))) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (Some(ip), port.parse().ok())
            }
            Some((client, _)) => (Some(client), None),
            None => (None, None),
        };
        let pool = self.message.strip_prefix("balancer://").and_then(|rest| rest.split(": ").next());
        Line::Record(Box::new(Record {
            at: self.at,
            from_error_log: true,
            origin: match signal {
                Signal::ClientAbort | Signal::ClientError => Origin::Client,
                Signal::BodyTruncated | Signal::BodyTimeout | Signal::AppStderr => Origin::App,
                Signal::Noise => Origin::Unknown,
                _ => Origin::Gateway,
            },
            signal,
            attempts: if chosen { vec![Attempt { upstream, signal, ..Attempt::default() }] } else { Vec::new() },
            path: returned_by(self.message),
            client: client.map(|ip| ip.trim_matches(['[', ']']).to_owned()),
            connection: port,
            thread: (!self.process.is_empty()).then(|| self.process.to_owned()),
            request_id: self.log_id.map(str::to_owned),
            pool: pool.map(str::to_owned),
            reason: Some(bounded(self.message)),
            ..Record::default()
        }))
    }

    fn notice(&self, signal: Signal, upstream: Option<String>, check_signal: Option<Signal>) -> Line {
        let pool = self.message.strip_prefix("balancer://").and_then(|rest| rest.split(": ").next()).map(str::to_owned);
        let notice = Notice {
            at: self.at,
            upstream,
            pool,
            signal,
            check_signal,
            says: bounded(self.message),
            ..Notice::default()
        };
        Line::Notice(Box::new(notice))
    }
}

/// `... returned by /path` and `... returned by /path (GET)`: the path is the client's.
fn returned_by(message: &str) -> Option<String> {
    let (_, path) = message.split_once(" returned by ")?;
    let path = path.rsplit_once(" (").filter(|(_, method)| method.ends_with(')')).map_or(path, |(path, _)| path);
    Some(path.to_owned())
}

fn stamp_of(text: &str, zone: &Zone) -> Option<Stamp> {
    let bytes = text.as_bytes();
    let stamped = stamp::asctime(bytes, zone).or_else(|| stamp::rfc3339(bytes, zone));
    stamped.or_else(|| stamp::slashed(bytes, zone)).map(|(at, _)| at)
}

fn bounded(text: &str) -> String {
    text.chars().take(512).collect()
}
