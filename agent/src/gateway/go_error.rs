//! Errors as Go's network and HTTP libraries word them, for the gateways written in Go (Caddy, Traefik, cloudflared). The
//! texts are those of packages net, net/http, crypto/tls and golang.org/x/net/http2; an address stands in `dial` and `read`.

use super::Signal;

/// What an error says and which address it names.
pub(super) fn classify(text: &str) -> (Signal, Option<String>) {
    // Caddy's words before the error where an upstream's name is made up anew for each request.
    let text = text.trim().trim_start_matches("making dial info: ");
    // A health check's error begins with the request it was for: `Get "http://10.0.0.1/health": dial tcp ...`.
    let text = match text.split_once("\": ") {
        Some((request, rest))
            if ["Get \"", "Head \"", "Post \"", "Put \"", "Options \""]
                .iter()
                .any(|verb| request.starts_with(verb)) =>
        {
            rest
        }
        _ => text,
    };
    // The answer's own words may stand in these, so nothing else is looked for in them.
    if let Some(signal) = malformed(text) {
        return (signal, None);
    }
    if text.contains("dial tcp: lookup ") || text.contains("dial udp: lookup ") || text.starts_with("lookup ") {
        return (Signal::DnsFailure, None);
    }
    if let Some((_, rest)) = text.split_once("dial ") {
        return dial(rest);
    }
    for (verb, timeout) in [("read ", Signal::ReadTimeout), ("write ", Signal::SendTimeout)] {
        let found = text.split_once(verb).filter(|(_, rest)| rest.starts_with("tcp ") || rest.starts_with("unix "));
        if let Some((_, rest)) = found {
            return transfer(rest, timeout);
        }
    }
    (other(text), None)
}

fn malformed(text: &str) -> Option<Signal> {
    const TEXTS: [(&str, Signal); 11] = [
        ("server response headers exceeded", Signal::HeaderTooBig),
        ("malformed HTTP ", Signal::HeaderInvalid),
        ("malformed MIME header", Signal::HeaderInvalid),
        ("multiple Content-Length headers", Signal::HeaderInvalid),
        ("bad Content-Length", Signal::HeaderInvalid),
        ("invalid Content-Length", Signal::HeaderInvalid),
        ("too many transfer encodings", Signal::HeaderInvalid),
        ("unsupported transfer encoding", Signal::HeaderInvalid),
        ("frame too large", Signal::ResponseInvalid),
        ("looked like an HTTP/1.1 header", Signal::ResponseInvalid),
        ("Unsolicited response received", Signal::ResponseInvalid),
    ];
    TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, signal)| *signal)
}

/// `tcp 10.0.0.1:80: connect: connection refused`, `unix /run/app.sock: connect: ...`, `tcp L->A: ...`.
fn dial(rest: &str) -> (Signal, Option<String>) {
    let upstream = address(rest);
    let has = |part: &str| rest.contains(part);
    // The second texts of each are those of Windows.
    let signal = if has("connection refused") || has("actively refused") {
        Signal::ConnectRefused
    } else if has("no route to host")
        || has("network is unreachable")
        || has("host is down")
        || has("host is unreachable")
    {
        Signal::ConnectUnreachable
    } else if has("i/o timeout") || has("deadline exceeded") || has("timed out") || has("did not properly respond") {
        Signal::ConnectTimeout
    } else if has("no such file or directory") {
        Signal::SocketMissing
    } else if has("permission denied") {
        Signal::SocketPermission
    } else if has("resource temporarily unavailable") {
        Signal::SocketBacklogFull
    } else if has("cannot assign requested address") || has("address already in use") {
        Signal::LocalPortExhausted
    } else if has("too many open files") || has("no buffer space") || has("cannot allocate memory") {
        Signal::GatewayResource
    } else if has("canceled") {
        Signal::ClientAbort
    } else {
        Signal::ConnectFailed
    };
    (signal, upstream)
}

/// `tcp L->A: read: connection reset by peer`.
fn transfer(rest: &str, timeout: Signal) -> (Signal, Option<String>) {
    let signal = if rest.contains("i/o timeout") || rest.contains("timed out") {
        timeout
    } else if ["reset by peer", "broken pipe", "forcibly closed"].iter().any(|text| rest.contains(text)) {
        Signal::ResetBeforeHeaders
    } else {
        Signal::NoResponseHeaders
    };
    (signal, address(rest))
}

/// The remote address after the network's name.
fn address(rest: &str) -> Option<String> {
    let (network, rest) = rest.split_once(' ')?;
    let address = rest.split(": ").next()?.trim();
    let address = address.rsplit_once("->").map_or(address, |(_, remote)| remote);
    match network {
        "unix" => Some(format!("unix:{address}")),
        _ => address.contains(':').then(|| address.to_owned()),
    }
}

/// A client that went away, in the words of net/http, of golang.org/x/net/http2's server, and of quic-go, whose streams lead to
/// clients alone: no gateway here speaks HTTP/3 to its upstreams unless it is told to.
const CLIENT_GONE: [&str; 6] = [
    "context canceled",
    "client disconnected",
    "http2: stream closed",
    "canceled by remote with error code",
    "canceled with error code",
    "H3_REQUEST_CANCELLED",
];

fn other(text: &str) -> Signal {
    let has = |part: &str| text.contains(part);
    if has("failed to verify certificate") || has("x509:") {
        Signal::TlsVerify
    } else if has("tls: ")
        || has("TLS handshake timeout")
        || has("HTTP response to HTTPS client")
        || has("remote error: tls")
    {
        Signal::TlsHandshake
    } else if CLIENT_GONE.iter().any(|part| has(part)) {
        Signal::ClientAbort
    } else if has("timeout awaiting response headers")
        || has("deadline exceeded")
        || has("Client.Timeout")
        || has("i/o timeout")
    {
        Signal::ReadTimeout
    } else if has("no upstreams available") || has("no available server") {
        Signal::NoLiveUpstream
    } else if has("no such host") || has("server misbehaving") {
        Signal::DnsFailure
    } else if has("connection refused") {
        Signal::ConnectRefused
    } else if has("reset by peer") || has("broken pipe") || has("stream error") {
        Signal::ResetBeforeHeaders
    } else if has("EOF") || has("server closed idle connection") || has("GOAWAY") {
        Signal::ClosedBeforeHeaders
    } else if has("connection lost") || has("connection broken") || has("use of closed network connection") {
        Signal::NoResponseHeaders
    } else if has("too many open files") {
        Signal::GatewayResource
    } else {
        Signal::UpstreamErrorUnspecified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_libraries() {
        for (text, signal, upstream) in [
            (
                "dial tcp [2001:db8::11]:9999: connect: connection refused",
                Signal::ConnectRefused,
                Some("[2001:db8::11]:9999"),
            ),
            (
                "dialing backend: dial unix /run/p.sock: connect: permission denied",
                Signal::SocketPermission,
                Some("unix:/run/p.sock"),
            ),
            (
                "dial tcp: lookup x on 192.0.2.53:53: read udp 10.0.0.1:5->192.0.2.53:53: i/o timeout",
                Signal::DnsFailure,
                None,
            ),
            ("dial tcp 10.0.0.1:80: i/o timeout", Signal::ConnectTimeout, Some("10.0.0.1:80")),
            (
                "dial tcp 10.0.0.9:0->10.0.0.1:80: connect: cannot assign requested address",
                Signal::LocalPortExhausted,
                Some("10.0.0.1:80"),
            ),
            (
                "read tcp 10.0.0.2:1->10.0.0.1:80: read: connection reset by peer",
                Signal::ResetBeforeHeaders,
                Some("10.0.0.1:80"),
            ),
            ("write tcp 10.0.0.2:1->10.0.0.1:80: write: broken pipe", Signal::ResetBeforeHeaders, Some("10.0.0.1:80")),
            (
                "net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"tls: x509: EOF\"",
                Signal::HeaderInvalid,
                None,
            ),
            (
                "Get \"http://10.0.0.1/health\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                Signal::ReadTimeout,
                None,
            ),
            ("http: server gave HTTP response to HTTPS client", Signal::TlsHandshake, None),
            (
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Signal::TlsVerify,
                None,
            ),
            ("http2: server sent GOAWAY and closed the connection; LastStreamID=1", Signal::ClosedBeforeHeaders, None),
            ("unexpected EOF", Signal::ClosedBeforeHeaders, None),
            ("context canceled", Signal::ClientAbort, None),
            ("http2: stream closed", Signal::ClientAbort, None),
            ("stream 4 canceled by remote with error code 268", Signal::ClientAbort, None),
            ("stream error: stream ID 3; INTERNAL_ERROR; received from peer", Signal::ResetBeforeHeaders, None),
        ] {
            assert_eq!(classify(text), (signal, upstream.map(str::to_owned)), "{text}");
        }
    }
}
