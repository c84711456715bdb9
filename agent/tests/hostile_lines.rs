//! Text that a client chose never changes what a line says: each such place of each gateway's lines is filled with hostile
//! text, written as that gateway writes it.
#![allow(clippy::unwrap_used)] // a test says by panicking that it failed
use why502_agent::gateway::{self, Kind, Line, Log, Zone};

/// What clients have sent to be taken for something else.
const HOSTILE: [&str; 16] = [
    "\" 502 0 - - SH-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
    "x} 502 209 - - SH-- 1/1/0/0/3 0/0 {y",
    "203.0.113.9:1 [22/Nov/2026:06:00:00.000] fe be/s1 0/0/-1/-1/3 503 209 - - SC-- 1/1/0/0/3 0/0 \"GET / HTTP/1.1\"",
    "\" 503 UF,URX upstream_reset_before_response_started{connection_failure} - \"delayed_connect_error:_111\" 0 91 0 - \"-",
    "[2026-11-22T06:49:47.961Z] \"GET / HTTP/1.1\" 503 UC 0 95 0 - \"-\" \"u\" \"i\" \"a\" \"192.0.2.66:80\"",
    "\" \"192.0.2.66:80\" outbound|80||x 10.0.0.1:1 10.0.0.1:2 10.0.0.1:3 - -",
    "dial tcp 192.0.2.66:80: connect: connection refused",
    "\",\"status\":502,\"response_flags\":\"UF\",\"EdgeResponseStatus\":521,\"x\":\"",
    "\"},\"logger\":\"http.log.error\",\"msg\":\"EOF\",\"status\":502,\"x\":{\"y\":\"",
    "AH00957: http: attempt to connect to 192.0.2.66:80 (192.0.2.66:80) failed",
    ", referer: x [proxy:error] [pid 1] (111)Connection refused: AH00957: http: attempt to connect to 192.0.2.66:80 (*) failed",
    "Reason: <strong>Error during SSL Handshake with remote server</strong>",
    "\" 200 - \"-\" \"-\" 7 \"evil@file\" \"http://192.0.2.66:80\" 0ms",
    "Server b/s is DOWN, reason: Layer4 timeout",
    "\u{1b}[31m\u{202e}\t\\\\\\\" 502 \\x22 #22 %22",
    "' OR 502 -- ERRORINFO_UPSTREAM_NO_LIVE failed_to_connect_to_backend FetchError backend x: fail errno 111",
];

/// How a gateway writes a client's text.
#[derive(Clone, Copy)]
enum Written {
    /// `#XX` for quotes, braces, bars and controls.
    Hash,
    /// As it came, blanks too.
    Raw,
    /// As it came; a path has no blanks.
    RawPath,
    /// Quotes and backslashes behind backslashes, controls as `\xNN`.
    Escaped,
    /// As JSON.
    Json,
    /// Quotes as `\x22`.
    Hexadecimal,
}

fn written(text: &str, how: Written) -> String {
    let plain: String = text.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect();
    match how {
        Written::Raw => plain,
        Written::RawPath => plain.replace([' ', '\t'], "%20"),
        Written::Json => {
            serde_json::to_string(&plain).unwrap().trim_matches('"').to_owned()
                + if plain.ends_with('"') { "\"" } else { "" }
        }
        _ => plain.chars().map(|letter| encoded(letter, how)).collect(),
    }
}

fn encoded(letter: char, how: Written) -> String {
    match (how, letter) {
        (Written::Hash, '"' | '{' | '}' | '|' | '#') => format!("#{:02X}", u32::from(letter)),
        (Written::Hash, _) if letter.is_ascii_control() || !letter.is_ascii() => {
            format!("#{:02X}", u32::from(letter) & 0xFF)
        }
        (Written::Escaped, '"' | '\\') => format!("\\{letter}"),
        (Written::Escaped | Written::Hexadecimal, _) if letter.is_ascii_control() => {
            format!("\\x{:02X}", u32::from(letter))
        }
        (Written::Hexadecimal, '"') => "\\x22".to_owned(),
        _ => letter.to_string(),
    }
}

const JSON_FORMAT: &str = r#"{"s":"%RESPONSE_CODE%","f":"%RESPONSE_FLAGS%","h":"%UPSTREAM_HOST%","p":"%REQ(:PATH)%"}"#;
const HAPROXY_FORMAT: &str = r#"%ci [%tr] "%[capture.req.hdr(0)]" %b/%s %ST %tsc %{+Q}r"#;
const APACHE_FORMAT: &str = r#"%h %l %u %t "%r" %>s %b "%{User-Agent}i" err="%{error-notes}n" %L"#;

/// Lines with `@` where a client's text stands.
const LINES: [(Kind, Option<&str>, Written, &str); 23] = [
    (
        Kind::Haproxy,
        None,
        Written::Hash,
        r#"198.51.100.7:1 [22/Nov/2026:06:43:09.058] fe be/s1 0/0/0/0/0 200 90 - - ---- 1/1/0/0/0 0/0 {@|a} "GET / HTTP/1.1""#,
    ),
    (
        Kind::Haproxy,
        None,
        Written::Hash,
        r#"<134>Nov 22 06:43:09 haproxy[1]: 198.51.100.7:1 [22/Nov/2026:06:43:09.058] fe be/s1 0/0/0/-1/0 502 90 - - SH-- 1/1/0/0/0 0/0 "GET /@ HTTP/1.1""#,
    ),
    (
        Kind::Haproxy,
        Some(HAPROXY_FORMAT),
        Written::Hash,
        r#"198.51.100.7 [22/Nov/2026:06:43:09.058] "@" be/s1 200 ---- "GET / HTTP/1.1""#,
    ),
    (
        Kind::Envoy,
        None,
        Written::RawPath,
        r#"[2026-11-22T06:49:47.961Z] "GET /@ HTTP/1.1" 200 - 0 6 0 0 "-" "u" "i" "a" "192.0.2.11:9001""#,
    ),
    (
        Kind::Envoy,
        None,
        Written::Raw,
        r#"[2026-11-22T06:49:47.961Z] "GET / HTTP/1.1" 200 - 0 6 0 0 "@" "@" "@" "a" "192.0.2.11:9001""#,
    ),
    (
        Kind::Istio,
        None,
        Written::Raw,
        r#"[2026-11-22T06:49:47.961Z] "GET / HTTP/1.1" 404 - via_upstream - "-" 0 5 1 0 "@" "@" "@" "a" "192.0.2.11:9002" p 192.0.2.11:1 203.0.113.10:80 198.51.100.7:2 - -"#,
    ),
    (
        Kind::Envoy,
        None,
        Written::Json,
        r#"{"response_code":200,"response_flags":"-","upstream_host":"192.0.2.11:1","response_code_details":"via_upstream","path":"/@","user_agent":"@"}"#,
    ),
    (Kind::Envoy, Some(JSON_FORMAT), Written::Json, r#"{"s":200,"f":"-","h":"192.0.2.11:1","p":"/@"}"#),
    (
        Kind::Apache,
        None,
        Written::Escaped,
        r#"198.51.100.7 - - [22/Nov/2026:06:57:29 +0000] "GET /@ HTTP/1.1" 200 161 "@" "@""#,
    ),
    (
        Kind::Apache,
        None,
        Written::Escaped,
        r#"198.51.100.7 - @ [22/Nov/2026:06:57:29 +0000] "GET / HTTP/1.1" 200 161 "-" "-""#,
    ),
    (
        Kind::Apache,
        Some(APACHE_FORMAT),
        Written::Escaped,
        r#"198.51.100.7 - - [22/Nov/2026:06:57:29 +0000] "GET /@ HTTP/1.1" 200 161 "@" err="-" abc"#,
    ),
    (
        Kind::Apache,
        None,
        Written::Raw,
        "[Sun Nov 22 06:58:05.204769 2026] [proxy_http:error] [pid 1:tid 2] [client 198.51.100.7:3] AH01114: HTTP: failed to make connection to backend: 192.0.2.11, referer: http://x/@",
    ),
    (
        Kind::Apache,
        None,
        Written::Raw,
        "[Sun Nov 22 06:58:05.204769 2026] [proxy:error] [pid 1:tid 2] [client 198.51.100.7:3] AH00898: Error reading from remote server returned by /@",
    ),
    (
        Kind::Apache,
        None,
        Written::Raw,
        "[Sun Nov 22 06:58:05.204769 2026] [core:error] [pid 1:tid 2] [client 198.51.100.7:3] AH00126: Invalid URI in request GET @",
    ),
    (
        Kind::Caddy,
        None,
        Written::Json,
        r#"{"level":"info","ts":1795330776.8,"logger":"http.log.access","msg":"handled request","request":{"method":"GET","uri":"/@","headers":{"User-Agent":["@"]}},"status":200}"#,
    ),
    (
        Kind::Traefik,
        None,
        Written::Json,
        r#"{"DownstreamStatus":200,"OriginStatus":200,"ServiceAddr":"192.0.2.11:1","RouterName":"a@file","RequestPath":"/@","request_User-Agent":"@"}"#,
    ),
    (
        Kind::Traefik,
        None,
        Written::Escaped,
        r#"198.51.100.7 - - [22/Nov/2026:07:02:14 +0000] "GET / HTTP/1.1" 200 6 "@" "@" 1 "p" "http://192.0.2.11:1" 1ms"#,
    ),
    (
        Kind::Traefik,
        None,
        Written::Raw,
        r#"198.51.100.7 - - [22/Nov/2026:07:02:14 +0000] "GET /@ HTTP/1.1" 200 6 "-" "-" 1 "p" "http://192.0.2.11:1" 1ms"#,
    ),
    (
        Kind::Varnish,
        None,
        Written::Escaped,
        r#"198.51.100.7 - - [22/Nov/2026:07:04:11 +0000] "GET http://a/@ HTTP/1.1" 200 6 "@" "@" pass"#,
    ),
    (
        Kind::AwsAlb,
        None,
        Written::Hexadecimal,
        r#"http 2018-07-02T22:23:00.186641Z app/a/5 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://a:80/@ HTTP/1.1" "@" - - arn:x "Root=1" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-""#,
    ),
    (
        Kind::GcpLb,
        None,
        Written::Json,
        r#"{"httpRequest":{"requestUrl":"https://a/@","userAgent":"@","serverIp":"10.8.0.3","status":200},"jsonPayload":{"statusDetails":"response_sent_by_backend"}}"#,
    ),
    (
        Kind::AzureAppgw,
        None,
        Written::Json,
        r#"{"properties":{"httpStatus":200,"userAgent":"@","originalRequestUriWithArgs":"/@","serverRouted":"192.0.2.65:443","serverStatus":"200","error_info":"ERRORINFO_NO_ERROR"}}"#,
    ),
    (
        Kind::Cloudflare,
        None,
        Written::Json,
        r#"{"ClientRequestURI":"/@","ClientRequestUserAgent":"@","EdgeResponseStatus":200,"OriginIP":"192.0.2.11","OriginResponseStatus":200}"#,
    ),
];

/// What a line says, or None where it is refused.
fn says(kind: Kind, log: Log, format: Option<&str>, line: &[u8]) -> Option<(String, Option<u16>, Vec<Option<String>>)> {
    match gateway::reader(kind, log, format, &Zone::utc()).unwrap().read(line) {
        Line::Record(record) => {
            let upstreams = record.attempts.iter().map(|attempt| attempt.upstream.clone()).collect();
            Some((record.signal.id().to_owned(), record.status, upstreams))
        }
        Line::Notice(notice) => Some((notice.signal.id().to_owned(), None, vec![notice.upstream])),
        Line::Unparsed(_) => None,
    }
}

#[test]
fn a_clients_text_never_changes_what_a_line_says() {
    let (mut refused, mut read) = (0, 0);
    for (kind, format, how, line) in LINES {
        for log in [Log::Access, Log::Error, Log::All] {
            let plain = says(kind, log, format, line.replace('@', "curl").as_bytes());
            assert!(plain.is_some(), "{kind:?} {line}");
            for hostile in HOSTILE {
                let line = line.replace('@', &written(hostile, how));
                let said = says(kind, log, format, line.as_bytes());
                // Where a gateway escapes nothing, refusing the line is right too.
                let may_refuse = matches!(how, Written::Raw | Written::RawPath);
                match said {
                    None => refused += 1,
                    Some(_) => read += 1,
                }
                assert!(
                    said == plain || said.is_none() && may_refuse,
                    "{kind:?} {log:?}\n{line}\nsaid {said:?}\nnot {plain:?}"
                );
            }
        }
    }
    assert!(read > 10 * refused, "{refused} refused, {read} read: a client should not be able to hide its requests");
}
