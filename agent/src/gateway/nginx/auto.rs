//! Reads access lines whose format nobody gave: JSON and logfmt by the names of their keys, and everything that begins
//! as the combined format does: combined itself, with further quoted columns, with `key=value` columns, with
//! ingress-nginx's columns of either age. What a person cut off at the beginning is not needed.

use std::borrow::Cow;
use std::net::IpAddr;

use super::fields::{Fields, Var, unescape};
use super::format::{Format, Match, closing_quote, list_end};
use crate::gateway::json::{self, Object, Value};

/// The columns that ingress-nginx adds behind the user agent, newest first (its `log-format-upstream` default).
const INGRESS_TAILS: [&str; 3] = [
    "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr \
     $upstream_response_length $upstream_response_time $upstream_status $req_id",
    "$request_length $request_time [$proxy_upstream_name] $upstream_addr $upstream_response_length \
     $upstream_response_time $upstream_status $req_id",
    "$request_length $request_time [$proxy_upstream_name] $upstream_addr $upstream_response_length \
     $upstream_response_time $upstream_status",
];

/// Formats of the stream module's documentation; it has no default.
const STREAM_FORMATS: [&str; 2] = [
    r#"$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time "$upstream_addr" "$upstream_bytes_sent" "$upstream_bytes_received" "$upstream_connect_time""#,
    "$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time",
];

/// Formats that products made of nginx come with, other than combined: Nginx Proxy Manager, APISIX, Elastic Beanstalk.
const PRODUCTS: [&str; 3] = [
    r#"[$time_local] $upstream_cache_status $upstream_status $status - $request_method $scheme $host "$request_uri" [Client $remote_addr] [Length $body_bytes_sent] [Gzip $gzip_ratio] [Sent-to $server] "$http_user_agent" "$http_referer""#,
    r#"$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent $request_time "$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time "$upstream_url""#,
    r#"$msec"$uri"$status"$request_time"$upstream_response_time"$http_x_forwarded_for"#,
];

/// The formats that are told apart by themselves.
pub(super) struct Auto {
    tails: Vec<Format>,
    streams: Vec<Format>,
    products: Vec<Format>,
}

impl Auto {
    /// Compiles the known formats.
    pub(super) fn new(stream: bool) -> Self {
        let compile = |texts: &[&str]| texts.iter().filter_map(|text| Format::compile(text).ok()).collect();
        Self {
            tails: compile(&INGRESS_TAILS),
            streams: if stream { compile(&STREAM_FORMATS) } else { Vec::new() },
            products: if stream { Vec::new() } else { compile(&PRODUCTS) },
        }
    }

    /// Reads a line, or says why it can't be.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Result<Box<Fields<'a>>, &'static str> {
        if line.trim_ascii_start().starts_with(b"{") {
            return from_json(line);
        }
        for format in &self.streams {
            if let Match::Fits(fields) = format.read(line) {
                return Ok(fields);
            }
        }
        let product = || {
            self.products.iter().find_map(|format| match format.read(line) {
                Match::Fits(fields) => Some(fields),
                Match::No | Match::TwoReadings => None,
            })
        };
        self.combined(line).or_else(|| logfmt(line)).or_else(product).ok_or("no access format known")
    }

    /// `... [time] "request" status bytes ["referer" "agent" ...] [tail]`.
    fn combined<'a>(&self, line: &'a [u8]) -> Option<Box<Fields<'a>>> {
        let mut fields = Box::<Fields>::default();
        let quote = memchr::memchr(b'"', line)?;
        let (head, rest) = (&line[..quote], &line[quote + 1..]);
        let rest = if is_request(head) {
            fields.set(Var::Request, unescape(head));
            rest
        } else {
            from_head(head, &mut fields)?;
            let end = closing_quote(rest)?;
            fields.set(Var::Request, unescape(&rest[..end]));
            &rest[end + 1..]
        };
        let rest = rest.strip_prefix(b" ")?;
        let (status, rest) = rest.split_at_checked(3)?;
        if !status.iter().all(u8::is_ascii_digit) {
            return None;
        }
        fields.set(Var::Status, Cow::Borrowed(status));
        let rest = rest.strip_prefix(b" ")?;
        let bytes_end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        let bytes = &rest[..bytes_end];
        if bytes != b"-" && !bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
        fields.set(Var::BodyBytes, Cow::Borrowed(bytes));
        self.tail(rest[bytes_end..].trim_ascii(), &mut fields);
        Some(fields)
    }

    fn tail<'a>(&self, tail: &'a [u8], fields: &mut Box<Fields<'a>>) {
        let mut rest = tail;
        while let Some(quoted) = rest.strip_prefix(b"\"") {
            let Some(end) = closing_quote(quoted) else { return };
            rest = quoted[end + 1..].trim_ascii_start();
        }
        for format in &self.tails {
            if let Match::Fits(found) = format.read(rest) {
                for var in [
                    Var::RequestTime,
                    Var::Pool,
                    Var::UpstreamAddr,
                    Var::UpstreamLength,
                    Var::ResponseTime,
                    Var::UpstreamStatus,
                    Var::RequestId,
                ] {
                    if let Some(value) = found.get(var) {
                        fields.set(var, Cow::Owned(value.to_vec()));
                    }
                }
                return;
            }
        }
        pairs(rest, fields);
    }
}

/// `remote_addr - user [time] ` before the request: the client is the first word and the time the last brackets.
fn from_head<'a>(head: &'a [u8], fields: &mut Fields<'a>) -> Option<()> {
    let head = head.strip_suffix(b"] ")?;
    let bracket = memchr::memrchr(b'[', head)?;
    fields.set(Var::TimeLocal, Cow::Borrowed(&head[bracket + 1..]));
    let mut words = head[..bracket].split(|byte| *byte == b' ');
    let first = words.next()?;
    // `host address - user [time]`
    let is_address = |word: &&[u8]| std::str::from_utf8(word).is_ok_and(|word| word.parse::<IpAddr>().is_ok());
    let client = match words.next().filter(is_address) {
        Some(address) if words.next() == Some(b"-") => {
            fields.set(Var::Host, Cow::Borrowed(first));
            address
        }
        _ => first,
    };
    fields.set(Var::Client, Cow::Borrowed(client));
    Some(())
}

/// `METHOD /path HTTP/1.1`, the rest of a line whose beginning was cut off with its quote.
fn is_request(text: &[u8]) -> bool {
    let mut words = text.split(|byte| *byte == b' ');
    let method = words.next().is_some_and(|word| !word.is_empty() && word.iter().all(u8::is_ascii_uppercase));
    method && words.next_back().is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// Whole lines of `key=value`.
fn logfmt(line: &[u8]) -> Option<Box<Fields<'_>>> {
    let first = line.split(|byte| *byte == b' ').next()?;
    memchr::memchr(b'=', first)?;
    let mut fields = Box::<Fields>::default();
    pairs(line, &mut fields);
    fields.get(Var::Status)?;
    Some(fields)
}

/// `key=value`, `key="quoted value"` and `key=a, b : c`. What is neither is passed over.
fn pairs<'a>(text: &'a [u8], fields: &mut Fields<'a>) {
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let key_end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"_.-".contains(byte)));
        let Some(key_end) = key_end.filter(|end| *end > 0 && matches!(rest[*end], b'=' | b':')) else {
            rest = skip(rest);
            continue;
        };
        let key = String::from_utf8_lossy(&rest[..key_end]);
        let value = &rest[key_end + 1..];
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let Some(end) = closing_quote(quoted) else { return };
                (&quoted[..end], &quoted[end + 1..])
            }
            None => value.split_at(list_end(value)),
        };
        fields.set_by_key(&key, unescape(value));
        rest = after.strip_prefix(b",").unwrap_or(after).trim_ascii_start();
    }
    fields.settle();
}

/// Passes over one word or quoted text.
fn skip(text: &[u8]) -> &[u8] {
    let after = match text.strip_prefix(b"\"") {
        Some(quoted) => closing_quote(quoted).map_or(&[][..], |end| &quoted[end + 1..]),
        None => memchr::memchr(b' ', text).map_or(&[][..], |end| &text[end + 1..]),
    };
    after.trim_ascii_start()
}

fn from_json(line: &[u8]) -> Result<Box<Fields<'_>>, &'static str> {
    let object = json::object(line)?;
    let mut fields = Box::<Fields>::default();
    members(&object, "", &mut fields);
    fields.settle();
    if fields.get(Var::Status).is_some() { Ok(fields) } else { Err("JSON without a status") }
}

/// Members by the whole path of their names, then by the shorter ends of it; the outer ones first. What holds a
/// client's headers is passed over.
fn members(object: &Object<'_>, path: &str, fields: &mut Fields<'_>) {
    let whole = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in &object.0 {
        match value {
            Value::Object(_) => {}
            Value::Null => member(&whole(key), b"-", fields),
            Value::Bare(text) | Value::Text(text) => member(&whole(key), text.as_bytes(), fields),
            Value::List(items) => {
                let texts: Vec<&str> = items.iter().filter_map(Value::text).collect();
                member(&whole(key), texts.join(", ").as_bytes(), fields);
            }
        }
    }
    for (key, value) in &object.0 {
        let foreign = ["headers", "cookies", "args", "query"].contains(&key.to_ascii_lowercase().as_str());
        if let (Some(inner), false) = (value.object(), foreign) {
            members(inner, &whole(key), fields);
        }
    }
}

fn member(path: &str, value: &[u8], fields: &mut Fields<'_>) {
    let mut name = path;
    while !fields.set_by_key(name, Cow::Owned(value.to_vec())) {
        match name.split_once('.') {
            Some((_, shorter)) => name = shorter,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> [Option<String>; 3] {
        let auto = Auto::new(false);
        let fields = auto.read(line.as_bytes()).unwrap();
        [Var::Status, Var::UpstreamAddr, Var::UpstreamStatus].map(|var| fields.text(var))
    }

    fn some(texts: [&str; 3]) -> [Option<String>; 3] {
        texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn formats_are_told_apart() {
        let combined = r#"192.0.2.1 - bob [22/Nov/2026:06:35:22 +0000] "GET / HTTP/1.1" 502 157 "-" "x""#;
        assert_eq!(values(combined), some(["502", "", ""]));
        assert_eq!(values(&format!("{combined} \"10.1.1.1\"")), some(["502", "", ""]));
        let pairs = format!("{combined} rt=0.1 ua=\"a:1, b:2\" us=\"502, 200\" x y=1");
        assert_eq!(values(&pairs), some(["502", "a:1, b:2", "502, 200"]));
        let proxied = r#"a.example.com 192.0.2.1 - - [22/Nov/2026:06:35:22 +0000] "GET / HTTP/2.0" 502 157 "-" "x" "10.1.1.1:80""#;
        // The last column may as well be what a client sent as X-Forwarded-For.
        assert_eq!(values(proxied), some(["502", "", ""]));
        let auto = Auto::new(false);
        let fields = auto.read(proxied.as_bytes()).unwrap();
        assert_eq!(fields.text(Var::Client).as_deref(), Some("192.0.2.1"));
        assert_eq!(fields.text(Var::Host).as_deref(), Some("a.example.com"));
        let manager = r#"[22/Nov/2026:06:35:22 +0000] - 502 502 - GET https a.example.com "/x" [Client 192.0.2.1] [Length 154] [Gzip -] [Sent-to app] "x" "-""#;
        assert_eq!(values(manager), some(["502", "", "502"]));
        let apisix = r#"192.0.2.1 - - [22/Nov/2026:06:35:22 +0000] a.example.com:9080 "GET /x HTTP/1.1" 502 154 0.001 "-" "x" a:1 502 0.000 "http://a.example.com:9080""#;
        assert_eq!(values(apisix), some(["502", "a:1", "502"]));
        assert_eq!(values(r#"1795329789.311"/x"502"0.023"0.023"192.0.2.1"#), some(["502", "", ""]));
        let old = r#"192.0.2.1 - [192.0.2.1] - - [12/Jul/2019:14:28:22 +0000] "POST /X HTTP/2.0" 502 0 "-" "x" 6 4.7 [up] a:80, a:80 0, 0 6.0, 6.7 504, 502 14f"#;
        assert_eq!(values(old), some(["502", "a:80, a:80", "504, 502"]));
        let cut = r#"GET /webapp/ HTTP/1.1" 502 150 "-" "x" 667 0.001 [default-webapp-8000] [] a:1 0 0.000 502 06"#;
        assert_eq!(values(cut), some(["502", "a:1", "502"]));
        assert_eq!(values(r#"ts="x" status="502" upstream="a:1" x="" y="" z="""#), some(["502", "a:1", ""]));
        let logfmt = r#"ts=x status=502 upstream="a:1" upstream_status="502" urt=0.1, 0.2"#;
        assert_eq!(values(logfmt), some(["502", "a:1", "502"]));
        let json = r#"{"nginx":{"status":502,"upstream":{"addr":"a:1","status":["502","200"]}},"ua":"curl"}"#;
        assert_eq!(values(json), some(["502", "a:1", "502, 200"]));
    }

    #[test]
    fn what_is_no_access_line_is_refused() {
        for line in ["{\"a\":1}", "hello", "a=b", "x \"GET / HTTP/1.1\" 5020 1", "\"", "= = ="] {
            assert!(Auto::new(false).read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
