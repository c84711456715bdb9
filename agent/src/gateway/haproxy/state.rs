//! What HAProxy's session state at disconnection says: the two letters of who ended the session and in which phase
//! (configuration manual 8.5), with the server, the timers and the connection's error text where a format has it.

use crate::gateway::{Origin, Signal};

/// What a line tells of a session, as far as its signal depends on it.
#[derive(Debug, Default)]
pub(super) struct Session<'a> {
    /// Status given to the client; -1 and 0 stand for none.
    pub status: Option<i64>,
    /// Termination state of two or four letters.
    pub state: Option<&'a str>,
    /// The server's name. Names in angle brackets (`<NOSRV>`, `<STATS>`) are none.
    pub server: Option<&'a str>,
    /// `%Tr`, milliseconds; -1: no complete header came.
    pub header_ms: Option<i64>,
    /// `%Tc`, milliseconds; -1: no connection was established.
    pub connect_ms: Option<i64>,
    /// `%rc` above zero, or `+`: the request went to another server.
    pub retried: bool,
    /// The request could not be parsed (`<BADREQ>`).
    pub bad_request: bool,
    /// `%[bc_err_str]`.
    pub error_text: Option<&'a str>,
    /// `%[bc_err]`.
    pub error_code: Option<u32>,
}

impl Session<'_> {
    /// Whether a server was chosen.
    pub(super) fn has_server(&self) -> bool {
        self.server.is_some_and(|server| !server.starts_with('<'))
    }

    /// What the line as a whole says.
    pub(super) fn signal(&self) -> Signal {
        let mut letters = self.state.unwrap_or("").chars();
        let (Some(who), Some(phase)) = (letters.next(), letters.next()) else { return self.without_state() };
        let cookie = letters.next();
        match (who, phase) {
            ('-', '-') if !self.has_server() => Signal::LbLocalResponse,
            ('-', '-') => self.served(cookie),
            ('C', 'R') | ('c', 'R' | 'H') if self.is_client_fault() => Signal::ClientError,
            ('C' | 'c', _) => Signal::ClientAbort,
            ('L', _) | ('P', 'T') => Signal::LbLocalResponse,
            ('P', 'R') if self.bad_request || self.is_client_fault() => Signal::ClientError,
            ('P', 'R' | 'Q') | ('I' | 'U' | 'K', _) => Signal::LbLocalResponse,
            ('R', _) | ('P', 'C') => Signal::GatewayResource,
            ('D', _) => Signal::KilledOnMarkdown,
            ('s', 'Q') => Signal::QueueTimeout,
            ('S' | 's', _) if !self.has_server() => Signal::NoLiveUpstream,
            ('S', 'C') => self.connect_failure(),
            ('s', 'C') => Signal::ConnectTimeout,
            ('S', 'H') => Signal::NoResponseHeaders,
            ('s', 'H') => Signal::ReadTimeout,
            ('P', 'H') => Signal::ResponseInvalid,
            ('S' | 'P', 'D' | 'L') => Signal::BodyTruncated,
            ('s', 'D' | 'L') => Signal::BodyTimeout,
            _ => Signal::StatusOnly,
        }
    }

    /// Who made the status.
    pub(super) fn origin(&self, signal: Signal) -> Origin {
        match signal {
            Signal::StatusOnly | Signal::Unknown => Origin::Unknown,
            Signal::ClientAbort | Signal::ClientError => Origin::Client,
            Signal::Ok | Signal::RetriedOk | Signal::AppStatus | Signal::BodyTruncated | Signal::BodyTimeout => {
                Origin::App
            }
            _ => Origin::Gateway,
        }
    }

    fn is_client_fault(&self) -> bool {
        matches!(self.status, Some(400 | 405 | 408 | 411 | 413 | 414 | 417 | 431))
    }

    fn served(&self, cookie: Option<char>) -> Signal {
        match self.status {
            Some(400..) => Signal::AppStatus,
            // A cookie named a server that is down, so another one served (third letter D).
            _ if self.retried || cookie == Some('D') => Signal::RetriedOk,
            _ => Signal::Ok,
        }
    }

    /// A format without a state still tells by timers and server whether the application answered.
    fn without_state(&self) -> Signal {
        match (self.status, self.server.is_some(), self.header_ms) {
            (None, ..) => Signal::Unknown,
            (Some(503), true, _) if !self.has_server() => Signal::NoLiveUpstream,
            (Some(..400), true, Some(0..)) if self.has_server() => self.served(None),
            (Some(400..), true, Some(0..)) if self.has_server() => Signal::AppStatus,
            (Some(500..), ..) if self.has_server() && self.connect_ms == Some(-1) => self.connect_failure(),
            (Some(504), ..) if self.has_server() && self.header_ms == Some(-1) => Signal::ReadTimeout,
            (Some(502), ..) if self.has_server() && self.header_ms == Some(-1) => Signal::NoResponseHeaders,
            (Some(1..400), ..) => Signal::Ok,
            _ if self.is_client_fault() && !self.has_server() => Signal::ClientError,
            _ => Signal::StatusOnly,
        }
    }

    /// The connection's own error where the format has it. Texts first: they are the same in all versions, numbers are not.
    fn connect_failure(&self) -> Signal {
        const TEXTS: [(&str, Signal); 15] = [
            ("ECONNREFUSED", Signal::ConnectRefused),
            ("EHOSTUNREACH", Signal::ConnectUnreachable),
            ("ENETUNREACH", Signal::ConnectUnreachable),
            ("ETIMEDOUT", Signal::ConnectTimeout),
            ("Out of local source ports", Signal::LocalPortExhausted),
            ("Source port range exhausted", Signal::LocalPortExhausted),
            ("Local source address already in use", Signal::LocalPortExhausted),
            ("Can't bind to source address", Signal::GatewayResource),
            ("Too many sockets on the", Signal::GatewayResource),
            ("Out of system buffers", Signal::GatewayResource),
            ("Server presented an SSL certificate different", Signal::TlsVerify),
            ("certificate not trusted", Signal::TlsVerify),
            ("CA chain cannot be verified", Signal::TlsVerify),
            ("SSL handshake", Signal::TlsHandshake),
            ("SSL fatal error", Signal::TlsHandshake),
        ];
        let by_text = self.error_text.and_then(|text| TEXTS.iter().find(|(part, _)| text.contains(part)));
        match (by_text, self.error_code) {
            (Some((_, signal)), _) => *signal,
            (None, Some(7 | 9 | 10)) => Signal::LocalPortExhausted,
            (None, Some(1..=4 | 8)) => Signal::GatewayResource,
            (None, Some(32 | 33)) => Signal::TlsVerify,
            (None, Some(34)) => Signal::TlsHandshake,
            (None, Some(46)) => Signal::ConnectRefused,
            (None, Some(48)) => Signal::ConnectUnreachable,
            _ => Signal::ConnectFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(state: &str, server: &str, status: i64) -> Signal {
        Session { status: Some(status), state: Some(state), server: Some(server), ..Session::default() }.signal()
    }

    #[test]
    fn states_of_the_manual() {
        assert_eq!(signal("SC--", "s1", 503), Signal::ConnectFailed);
        assert_eq!(signal("SC--", "<NOSRV>", 503), Signal::NoLiveUpstream);
        assert_eq!(signal("sQ--", "<NOSRV>", 503), Signal::QueueTimeout);
        assert_eq!(signal("sQ--", "s1", 503), Signal::QueueTimeout);
        assert_eq!(signal("DH--", "s1", 502), Signal::KilledOnMarkdown);
        assert_eq!(signal("CD--", "s1", 200), Signal::ClientAbort);
        assert_eq!(signal("cR--", "<NOSRV>", 408), Signal::ClientError);
        assert_eq!(signal("CR--", "<NOSRV>", -1), Signal::ClientAbort);
        assert_eq!(signal("PR--", "<NOSRV>", 403), Signal::LbLocalResponse);
        assert_eq!(signal("RC--", "s1", 503), Signal::GatewayResource);
        assert_eq!(signal("----", "<STATS>", 200), Signal::LbLocalResponse);
        assert_eq!(signal("PD--", "s1", 200), Signal::BodyTruncated);
    }

    #[test]
    fn the_error_text_makes_a_failed_connection_precise() {
        let session =
            |text| Session { state: Some("SC"), server: Some("s"), error_text: Some(text), ..Session::default() };
        assert_eq!(session("SSL handshake failure").signal(), Signal::TlsHandshake);
        assert_eq!(session("ECONNREFUSED returned by OS").signal(), Signal::ConnectRefused);
        assert_eq!(session("Out of local source ports on the system").signal(), Signal::LocalPortExhausted);
        assert_eq!(session("General socket error").signal(), Signal::ConnectFailed);
    }
}
