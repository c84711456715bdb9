//! The fields behind an error-log message, in nginx's order: client, server, request, subrequest, upstream, host,
//! referrer (`ngx_http_log_error_handler`), for streams client, server, upstream and bytes; Kong adds the request's
//! id. Request, host and referrer are a client's raw text.

/// What may follow the upstream.
const BEHIND_UPSTREAM: [&str; 4] = [", host: \"", ", referrer: \"", ", request_id: \"", ", bytes from/to client:"];

/// A message and its fields.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tail<'a> {
    pub message: &'a str,
    pub client: Option<&'a str>,
    pub server: Option<&'a str>,
    pub request: Option<&'a str>,
    /// `ip:port`, `unix:/path` or a group's name.
    pub upstream: Option<&'a str>,
    pub host: Option<&'a str>,
    /// The upstream is written as nginx never writes it.
    pub forged: bool,
}

/// Splits the text behind the connection's number.
pub(super) fn split(text: &str) -> Tail<'_> {
    let Some((message, rest)) = text.split_once(", client: ").or_else(|| text.split_once(", udp client: ")) else {
        return Tail { message: text, ..Tail::default() };
    };
    let mut tail = Tail { message, ..Tail::default() };
    let (client, rest) = rest.split_once(", ").unwrap_or((rest, ""));
    tail.client = Some(client).filter(|client| !client.is_empty() && !client.contains(['"', ' ']));
    let Some(rest) = rest.strip_prefix("server: ") else { return tail };
    let (server, rest) =
        match [", request: \"", ", upstream: \"", ", host: \""].iter().filter_map(|f| rest.find(f)).min() {
            Some(end) => (&rest[..end], &rest[end..]),
            None => (rest, ""),
        };
    tail.server = Some(server).filter(|server| !server.is_empty() && !server.contains('"'));
    quoted(rest, &mut tail);
    tail
}

/// `, request: "R", subrequest: "S", upstream: "U", host: "H", referrer: "F"`, each but the first may be missing.
fn quoted<'a>(rest: &'a str, tail: &mut Tail<'a>) {
    let Some(after_request) = rest.strip_prefix(", request: \"") else {
        if let Some(fields) = behind(rest) {
            fields.keep(tail);
        }
        return;
    };
    let ends: Vec<usize> = request_ends(after_request);
    let proper = |end: &&usize| {
        let request = &after_request[..**end];
        request
            .rsplit_once(" HTTP/")
            .is_some_and(|(_, version)| matches!(version, "0.9" | "1.0" | "1.1" | "2.0" | "3.0"))
    };
    let mut readings = readings(after_request, ends.iter().filter(proper));
    if readings.is_empty() {
        readings = self::readings(after_request, ends.iter().filter(|end| !after_request[..**end].contains('"')));
    }
    let Some((request, first)) = readings.first() else { return };
    tail.request = Some(request);
    first.keep(tail);
    // A request or referrer that holds a whole set of fields: which upstream is the true one can't be told.
    if readings.iter().any(|(_, other)| other.upstream != first.upstream) {
        tail.upstream = None;
    }
}

fn readings<'a, 'e>(text: &'a str, ends: impl Iterator<Item = &'e usize>) -> Vec<(&'a str, Behind<'a>)> {
    ends.filter_map(|end| behind(&text[end + 1..]).map(|fields| (&text[..*end], fields))).take(8).collect()
}

/// The quotes at which a request may end: those that another field or the line's end follows.
fn request_ends(text: &str) -> Vec<usize> {
    let followed = |after: &str| {
        after.is_empty()
            || [", subrequest: \"", ", upstream: \""].iter().any(|field| after.starts_with(field))
            || BEHIND_UPSTREAM.iter().any(|field| after.starts_with(field))
    };
    text.match_indices('"').map(|(at, _)| at).filter(|at| followed(&text[at + 1..])).take(64).collect()
}

/// What stands behind the request.
#[derive(Debug, Clone, Copy, Default)]
struct Behind<'a> {
    upstream: Option<&'a str>,
    host: Option<&'a str>,
    forged: bool,
}

impl<'a> Behind<'a> {
    fn keep(self, tail: &mut Tail<'a>) {
        tail.upstream = self.upstream;
        tail.host = self.host;
        tail.forged = self.forged;
    }
}

/// Reads the fields behind the request to the end of the line, which may be cut. None: they don't fit.
fn behind(rest: &str) -> Option<Behind<'_>> {
    let mut fields = Behind::default();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix(", subrequest: \"") {
        let Some(end) = inner.find('"') else { return Some(fields) };
        rest = &inner[end + 1..];
    }
    if let Some(inner) = rest.strip_prefix(", upstream: \"") {
        let Some(end) = upstream_end(inner) else { return Some(fields) };
        let url = &inner[..end];
        fields.upstream = address(url);
        fields.forged = fields.upstream.is_none() && url.contains(":/");
        rest = &inner[end + 1..];
    }
    if let Some(inner) = rest.strip_prefix(", host: \"") {
        let Some(end) = inner.find('"') else { return Some(fields) };
        let host = &inner[..end];
        if host.contains([' ', ',']) {
            return None;
        }
        fields.host = Some(host);
        rest = &inner[end + 1..];
    }
    // A line may be cut within a field's name.
    let cut = ", upstream: \"".starts_with(rest) || BEHIND_UPSTREAM.iter().any(|field| field.starts_with(rest));
    let goes_on = BEHIND_UPSTREAM[1..].iter().any(|field| rest.starts_with(field));
    (rest.is_empty() || cut || goes_on).then_some(fields)
}

/// The end of an upstream's URL: its path is the client's and may hold quotes.
fn upstream_end(text: &str) -> Option<usize> {
    let ends = |after: &str| after.is_empty() || BEHIND_UPSTREAM.iter().any(|field| after.starts_with(field));
    text.match_indices('"').map(|(at, _)| at).find(|at| ends(&text[at + 1..])).or_else(|| text.find('"'))
}

/// The address in `http://192.0.2.11:9007/path`, `fastcgi://unix:/run/a.sock:`, `192.0.2.11:9027`.
pub(super) fn address(url: &str) -> Option<&str> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        _ if url.starts_with("unix:") => url,
        Some(_) => return None,
        None if url.contains(":/") => return None,
        None => url,
    };
    let address = match rest.strip_prefix("unix:") {
        Some(path) => &rest[..path.find(':').map_or(rest.len(), |end| "unix:".len() + end)],
        None => rest.split(['/', '?']).next().unwrap_or_default(),
    };
    let plain = !address.is_empty() && address.len() <= 255 && !address.contains(['"', ' ', ',', '\\']);
    plain.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, wanted) in [
            ("http://192.0.2.11:9007/p", Some("192.0.2.11:9007")),
            ("https://[2001:db8::11]:9008/v?x", Some("[2001:db8::11]:9008")),
            ("http://unix:/run/gw/denied.sock:/unix-denied", Some("unix:/run/gw/denied.sock")),
            ("uwsgi://unix:///tmp/.s:", Some("unix:///tmp/.s")),
            ("fastcgi://192.0.2.11:9070", Some("192.0.2.11:9070")),
            ("unix:/run/missing.sock", Some("unix:/run/missing.sock")),
            ("192.0.2.12:8080", Some("192.0.2.12:8080")),
            ("http://backends/", Some("backends")),
            ("http:/192.0.2.66:8080/", None),
            ("", None),
        ] {
            assert_eq!(address(url), wanted, "{url}");
        }
    }

    const HEAD: &str = "connect() failed (111: x) while connecting to upstream, client: 192.0.2.7, server: s";

    #[test]
    fn what_a_client_writes_into_its_fields_is_no_upstream() {
        let upstream = |fields: &str| split(&format!("{HEAD}{fields}")).upstream.map(str::to_owned);
        let truth = r#", upstream: "http://192.0.2.11:80/a", host: "h""#;
        let fake = r#"", upstream: "http://192.0.2.66:80/", host: "h"#;
        let some = Some("192.0.2.11:80".to_owned());
        assert_eq!(upstream(&format!(r#", request: "GET /a HTTP/1.1"{truth}"#)), some);
        assert_eq!(upstream(&format!(r#", request: "GET /a HTTP/1.1"{truth}, referrer: "http://x/{fake}""#)), some);
        assert_eq!(upstream(&format!(r#", request: "GET /a{fake} HTTP/1.1"{truth}"#)), some);
        // Both readings are whole: neither is taken.
        let whole = format!(r#", request: "GET /a HTTP/1.1"{truth}, referrer: "x HTTP/1.1{fake}""#);
        assert_eq!(upstream(&whole), None);
        assert!(split(&format!(r#"{HEAD}, request: "GET / HTTP/1.1", upstream: "http:/192.0.2.66:80/""#)).forged);
    }

    #[test]
    fn kong_ends_with_the_requests_id() {
        let id = r#", request_id: "4a8f9c6b5e2d4c1f""#;
        let upstream = r#", request: "GET / HTTP/1.1", upstream: "http://192.0.2.11:80/""#;
        for rest in ["", r#", host: "h""#, r#", host: "h", referrer: "http://x/""#] {
            assert_eq!(split(&format!("{HEAD}{upstream}{rest}{id}")).upstream, Some("192.0.2.11:80"), "{rest}");
        }
    }

    #[test]
    fn streams_and_subrequests() {
        let stream = r#", upstream: "192.0.2.11:9027", bytes from/to client:0/0, bytes from/to upstream:0/0"#;
        assert_eq!(split(&format!("{HEAD}{stream}")).upstream, Some("192.0.2.11:9027"));
        let udp = stream.replace("client:0/0", "client:40/0");
        let head = HEAD.replace(", client", ", udp client");
        assert_eq!(split(&format!("{head}{udp}")).upstream, Some("192.0.2.11:9027"));
        let auth = r#", request: "GET / HTTP/1.1", subrequest: "/authz", upstream: "http://a:1/authz", host: "h""#;
        assert_eq!(split(&format!("{HEAD}{auth}")).upstream, Some("a:1"));
    }
}
