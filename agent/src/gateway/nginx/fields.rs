//! The values of one access line, whatever form it had: by nginx's variable names, by the key names that people give
//! them in JSON and logfmt, in one array.

use std::borrow::Cow;

macro_rules! variables {
    ($($variant:ident = $($name:literal)|+),+ $(,)?) => {
        /// What an access line may tell.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Var { $($variant,)+ }

        impl Var {
            /// How many there are.
            pub(super) const COUNT: usize = [$(Self::$variant),+].len();

            /// The one that a variable of nginx's log_format fills.
            pub(super) fn of_variable(name: &str) -> Option<Self> {
                match name { $($($name)|+ => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

variables! {
    Status = "status",
    Client = "remote_addr" | "the_real_ip",
    TimeLocal = "time_local",
    TimeIso = "time_iso8601",
    Msec = "msec",
    Request = "request",
    Method = "request_method",
    RequestUri = "request_uri",
    Uri = "uri" | "document_uri",
    RequestTime = "request_time" | "session_time",
    BodyBytes = "body_bytes_sent",
    Bytes = "bytes_sent",
    UpstreamAddr = "upstream_addr",
    UpstreamStatus = "upstream_status",
    ConnectTime = "upstream_connect_time",
    HeaderTime = "upstream_header_time" | "upstream_first_byte_time",
    ResponseTime = "upstream_response_time" | "upstream_session_time",
    UpstreamReceived = "upstream_bytes_received",
    UpstreamLength = "upstream_response_length",
    Pool = "proxy_upstream_name",
    ProxyHost = "proxy_host",
    RequestId = "request_id" | "req_id" | "http_x_request_id",
    Connection = "connection",
    ServerName = "server_name",
    Host = "host" | "http_host",
}

impl Var {
    /// Key names of JSON and logfmt, in lower case without anything but letters and digits. The variables' own names
    /// are among them; the rest is what published formats use.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "status"
            | "statuscode"
            | "st"
            | "code"
            | "responsestatus"
            | "responsecode"
            | "httpstatus"
            | "httpstatuscode"
            | "httpresponsestatuscode"
            | "responsestatuscode" => Self::Status,
            "remoteaddr" | "client" | "clientip" | "remoteip" | "clientaddr" | "ip" | "clientaddress" => Self::Client,
            "timelocal" => Self::TimeLocal,
            "timeiso8601" | "time" | "timestamp" | "ts" | "t" | "datetime" | "date" | "accesstime" => Self::TimeIso,
            "msec" | "ms" => Self::Msec,
            "request" | "requestline" | "req" => Self::Request,
            "requestmethod" | "method" | "m" | "verb" | "httpmethod" | "httprequestmethod" => Self::Method,
            "requesturi" | "url" | "requesturl" | "originalurl" => Self::RequestUri,
            "uri" | "path" | "u" | "documenturi" | "requestpath" => Self::Uri,
            "requesttime" | "rt" | "sessiontime" | "reqtime" => Self::RequestTime,
            "bodybytessent" | "bytes" | "size" | "bodybytes" => Self::BodyBytes,
            "bytessent" => Self::Bytes,
            "upstreamaddr" | "upstream" | "upstreamhost" | "upstreamserver" | "upstreamaddress" | "upstreamip"
            | "upaddr" | "backend" | "backendaddr" => Self::UpstreamAddr,
            "upstreamstatus"
            | "us"
            | "upstatus"
            | "upstreamcode"
            | "upstreamstatuscode"
            | "upstreamresponsestatus"
            | "backendstatus" => Self::UpstreamStatus,
            "upstreamconnecttime" | "uct" | "upstreamconnect" | "connecttime" | "upct" => Self::ConnectTime,
            "upstreamheadertime" | "uht" | "upstreamheader" | "headertime" | "upht" | "upstreamfirstbytetime" => {
                Self::HeaderTime
            }
            "upstreamresponsetime" | "urt" | "upstreamtime" | "upstreamresptime" | "uprt" | "upstreamsessiontime" => {
                Self::ResponseTime
            }
            "upstreambytesreceived" | "ubr" => Self::UpstreamReceived,
            "upstreamresponselength" | "url2" | "upstreamlength" => Self::UpstreamLength,
            "proxyupstreamname" | "upstreamname" | "pool" => Self::Pool,
            "proxyhost" => Self::ProxyHost,
            "requestid" | "rid" | "reqid" | "xrequestid" => Self::RequestId,
            "connection" | "conn" | "connectionid" => Self::Connection,
            "servername" => Self::ServerName,
            "host" | "httphost" | "vhost" | "domain" | "authority" => Self::Host,
            _ => return None,
        })
    }
}

/// The values of one line.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'a> {
    values: [Option<Cow<'a, [u8]>>; Var::COUNT],
    /// The value of a key `ua` that may be an upstream's group or a user agent.
    doubtful: Option<Cow<'a, [u8]>>,
    /// The line has the key `us`, so that its `ua` is of the same family.
    short_keys: bool,
}

impl<'a> Fields<'a> {
    /// A value as logged, without the format's escapes; None where the line has no such field.
    pub(super) fn get(&self, var: Var) -> Option<&[u8]> {
        self.values[var as usize].as_deref()
    }

    /// A value that says something: neither empty nor `-`.
    pub(super) fn said(&self, var: Var) -> Option<&[u8]> {
        self.get(var).filter(|value| !matches!(*value, b"" | b"-"))
    }

    /// The same as text.
    pub(super) fn text(&self, var: Var) -> Option<String> {
        self.said(var).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Keeps the first value of each.
    pub(super) fn set(&mut self, var: Var, value: Cow<'a, [u8]>) {
        self.values[var as usize].get_or_insert(value);
    }

    /// Keeps a value under the name that a person gave it. `ua` is the upstream's address to some and the user agent
    /// to others, so there the value must look like an address; else `settle` decides.
    /// False: the name is not known.
    pub(super) fn set_by_key(&mut self, key: &str, value: Cow<'a, [u8]>) -> bool {
        let key: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        self.short_keys |= key == "us";
        // `ups_addr` and the like.
        let key = key
            .strip_prefix("ups")
            .filter(|rest| !rest.starts_with("tream"))
            .map_or(key.clone(), |rest| format!("upstream{rest}"));
        let var = match key.as_str() {
            "ua" if !is_address_list(&value) => {
                self.doubtful.get_or_insert(value);
                return true;
            }
            "ua" => Some(Var::UpstreamAddr),
            "addr" => is_address_list(&value).then_some(Var::UpstreamAddr),
            _ => Var::of_key(&key),
        };
        if let Some(var) = var {
            self.set(var, value);
        }
        var.is_some()
    }

    /// After the last key: a `ua` beside a `us` is the upstream's, and no address where no peer was live. Where the
    /// line names the upstream elsewhere it is the client's.
    pub(super) fn settle(&mut self) {
        if self.short_keys
            && let Some(value) = self.doubtful.take().filter(|value| !value.contains(&b'/'))
        {
            self.set(Var::UpstreamAddr, value);
        }
    }
}

/// `10.0.0.2:3000, unix:/run/a.sock : -` and the like.
fn is_address_list(value: &[u8]) -> bool {
    value.split(|byte| *byte == b' ').map(|item| item.strip_suffix(b",").unwrap_or(item)).all(|item| {
        let port = item.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        matches!(item, b"-" | b":" | b"")
            || item.starts_with(b"unix:")
            || (item.len() > port.len() && !port.is_empty() && port.iter().all(u8::is_ascii_digit))
    })
}

/// A value without the escapes of `escape=default` (`\xNN`) and `escape=json`.
pub(super) fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        let hex = |digits: Option<&[u8]>| {
            digits?.iter().try_fold(0u32, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
        };
        rest = &rest[at + 1..];
        let taken = match rest.first() {
            Some(b'x') if hex(rest.get(1..3)).is_some() => {
                plain.extend(hex(rest.get(1..3)).and_then(|code| u8::try_from(code).ok()));
                3
            }
            Some(b'u') if hex(rest.get(1..5)).is_some() => {
                let code = hex(rest.get(1..5)).and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                5
            }
            Some(other) => {
                plain.push(match other {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    other => *other,
                });
                1
            }
            None => 0,
        };
        rest = &rest[taken..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"C:\x5CUsers\x5C\x22x\x22").as_ref(), br#"C:\Users\"x""#);
        assert_eq!(unescape(br#"a\"b\u001Bc\n\\"#).as_ref(), b"a\"b\x1Bc\n\\");
        assert_eq!(unescape(br"cut\x5").as_ref(), b"cutx5");
        assert_eq!(unescape(b"\\").as_ref(), b"");
    }

    #[test]
    fn ua_is_an_address_only_where_it_looks_like_one() {
        for (value, known) in [("192.0.2.1:80, [::1]:81 : -", true), ("curl/8.5.0", false), ("unix:/a", true)] {
            let mut fields = Fields::default();
            fields.set_by_key("ua", Cow::Borrowed(value.as_bytes()));
            assert_eq!(fields.get(Var::UpstreamAddr).is_some(), known, "{value}");
        }
    }
}
