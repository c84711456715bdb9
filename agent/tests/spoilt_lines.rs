//! Lines, streams and bodies as disks, networks and enemies spoil them, held to what the fuzz targets hold theirs to. The
//! numbers are drawn alike in each run, so that a failure comes again.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says by panicking that it failed

#[path = "../../tests/fuzz/src/lib.rs"]
mod hold;

use hold::Seed;
use why502_agent::gateway::{self, Kind, Log, Zone};

/// Formats that a glance is enough for, beside those of the seeds.
const FORMATS: [(Kind, &str); 6] = [
    (
        Kind::Nginx,
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time"#,
    ),
    (
        Kind::Nginx,
        r#"$remote_addr [$time_iso8601] "$request" $status "$upstream_addr" "$upstream_status" $upstream_response_time $request_time"#,
    ),
    (
        Kind::Apache,
        r#"%h %l %u %t "%r" %>s %b "%{User-Agent}i" %D worker=%{BALANCER_WORKER_NAME}e err="%{error-notes}n" %L"#,
    ),
    (
        Kind::Nginx,
        r#"escape=json {"time":"$time_iso8601","request":"$request","status":"$status","upstream":"$upstream_addr","took":"$upstream_response_time"}"#,
    ),
    (Kind::NginxStream, r#"$remote_addr [$time_local] $protocol $status "$upstream_addr" $upstream_session_time"#),
    (Kind::Varnish, r#"%h %{X-Forwarded-For}i %t "%r" %s %b %D "%{User-Agent}i""#),
];
/// Lines in these formats, as a gateway in front of several instances writes them.
const LINES: [&str; 41] = [
    r#"192.0.2.7 - - [22/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8" 10.0.0.2:3000 200 0.012"#,
    r#"192.0.2.7 - - [22/Nov/2026:10:00:02 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8" 10.0.0.2:3000, 10.0.0.3:3000 502, 200 0.001, 0.020"#,
    r#"192.0.2.7 [2026-11-22T10:00:01+00:00] "POST /b HTTP/1.1" 204 "unix:/run/app.sock" "204" 1.250 1.251"#,
    r#"192.0.2.7 [2026-11-22T10:00:03+00:00] "POST /b HTTP/1.1" 502 "10.0.0.2:3000" "502" 0.000 0.000"#,
    r#"192.0.2.7 - - [22/Nov/2026:06:57:57 +0000] "GET /a HTTP/1.1" 200 512 "curl/8" 12345 worker=http://10.0.0.2:3000/b err="-" -"#,
    r#"192.0.2.7 - - [22/Nov/2026:06:57:57 +0000] "GET /a HTTP/1.1" 502 512 "curl/8" 12345 worker=http://10.0.0.2:3000 err="Reason: <strong>DNS lookup failure for</strong>" x"#,
    r#"{"time":"2026-11-22T10:00:01+00:00","request":"GET /a?x=\"1\" HTTP/1.1","status":"200","upstream":"10.0.0.2:3000","took":"0.012"}"#,
    r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] TCP 200 "10.0.0.2:5432" 1.250"#,
    r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] TCP 200 "10.0.0.2:5432, 10.0.0.3:5432" 0.000, 1.250"#,
    r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] TCP 502 "10.0.0.2:5432" 0.000"#,
    r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] UDP 200 "unix:/run/db.sock" 3.001"#,
    r#"192.0.2.7 [22/Nov/2026:10:00:01 +0000] TCP 200 "-" -"#,
    r#"192.0.2.7 - [22/Nov/2026:10:00:01 +0000] "GET http://shop.example/a HTTP/1.1" 200 512 1250 "curl/8""#,
    r#"[22/Nov/2026:10:00:01 +0000] "GET http://shop.example/a HTTP/1.1" 200 1250 "-" "27 default 10.0.0.2 8080 10.0.0.9 40214 connect""#,
    r#"[22/Nov/2026:10:00:01 +0000] "GET http://shop.example/b HTTP/1.1" 304 1250 "-" "31 default fd00::2 8080 fd00::9 40214 reuse""#,
    r#"[22/Nov/2026:10:00:01 +0000] "GET http://shop.example/c HTTP/1.1" 503 1250 "first byte timeout" "27 default 10.0.0.2 8080 10.0.0.9 40214 connect""#,
    r#"[22/Nov/2026:10:00:01 +0000] "GET http://shop.example/d HTTP/1.1" 200 1250 "-" "-""#,
    r#"{"level":"info","ts":1795330776.898027,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"192.0.2.7","method":"GET","uri":"/a?b=1","headers":{"Accept":["*/*"]}},"duration":0.01,"size":5,"status":200,"upstream":"10.0.0.2:3000","upstream_latency_ms":9.5}"#,
    r#"{"level":"info","ts":"2026-11-22T10:00:01.5Z","logger":"http.log.accessory","msg":"handled request","request":{"method":"GET","uri":"/a"},"status":200}"#,
    r#"{"level":"debug","ts":1795330776.8,"logger":"http.handlers.reverse_proxy","msg":"upstream roundtrip","upstream":"10.0.0.2:3000","status":200}"#,
    r#"{"ClientHost":"192.0.2.7","DownstreamStatus":200,"Duration":12345678,"OriginStatus":200,"RequestMethod":"GET","RequestPath":"/a?b=1\u0026c=2","RetryAttempts":0,"RouterName":"shop@file","ServiceAddr":"10.0.0.2:3000","ServiceURL":{"Scheme":"http","Host":"10.0.0.2:3000"},"StartUTC":"2026-11-22T10:00:01.123456789Z","level":"info","msg":"","time":"2026-11-22T10:00:01Z"}"#,
    r#"{"DownstreamStatus":200,"Duration":12345678,"OriginStatus":0,"RetryAttempts":0,"ServiceAddr":"10.0.0.2:3000","StartLocal":"2026-11-22T10:00:01Z"}"#,
    r#"{"DownstreamStatus":200,"Duration":12345678,"OriginStatus":200,"RetryAttempts":1,"ServiceAddr":"10.0.0.2:3000","time":"2026-11-22T10:00:01Z"}"#,
    r#"{"insertId":"a","httpRequest":{"latency":"0.012345s","requestMethod":"GET","requestUrl":"https://shop.example/a","serverIp":"10.0.0.2","status":200},"jsonPayload":{"statusDetails":"response_sent_by_backend"},"resource":{"labels":{"backend_service_name":"shop"}},"timestamp":"2026-11-22T10:00:01.123456Z"}"#,
    r#"{"httpRequest":{"latency":"0.01s","requestMethod":"GET","serverIp":"10.0.0.2","status":204},"jsonPayload":{"proxyStatus":null},"timestamp":"2026-11-22T10:00:01Z"}"#,
    r#"{"httpRequest":{"latency":"1s","requestMethod":"POST","requestUrl":"http://shop.example/b","serverIp":"10.0.0.3","status":302},"jsonPayload":{"@type":"x","statusDetails":"response_sent_by_backend"},"timestamp":"2026-11-22T10:00:02Z"}"#,
    r#"{"timestamp":"2026-11-22T10:00:03.5Z","httpRequest":{"status":200,"serverIp":"10.0.0.4"},"jsonPayload":{}}"#,
    r#"{"httpRequest":{"latency":"0.01s","serverIp":"10.0.0.2","status":200},"jsonPayload":{"proxyStatus":"error=\"connection_refused\""},"timestamp":"2026-11-22T10:00:01Z"}"#,
    r#"{"httpRequest":{"status":200,"serverIp":"10.0.0.2"},"textPayload":"x","jsonPayload":{},"timestamp":"2026-11-22T10:00:01Z"}"#,
    r#"{"timeStamp":"2026-11-22T10:00:01Z","category":"ApplicationGatewayAccessLog","backendPoolName":"shop","properties":{"clientIP":"192.0.2.7","httpMethod":"GET","requestUri":"/a","requestQuery":"b=1","httpStatus":200,"timeTaken":0.012,"serverRouted":"10.0.0.4:80","serverStatus":"200","serverResponseLatency":"0.010","originalRequestUriWithArgs":"/a?b=1","error_info":"ERRORINFO_NO_ERROR"}}"#,
    r#"{"time":"2026-11-22T10:00:02Z","properties":{"httpStatus":"304","serverRouted":"10.0.0.4:80","serverStatus":"304","error_info":"ERRORINFO_NO_ERROR"}}"#,
    r#"{"timeStamp":"2026-11-22T10:00:02.5Z","properties":{"httpMethod":"POST","httpStatus":204,"originalRequestUriWithArgs":"/c\u0026d","serverRouted":"[fd00::4]:80","serverStatus":"204","error_info":"ERRORINFO_NO_ERROR"}}"#,
    r#"{"properties":{"timeStamp":"2026-11-22T10:00:02.5Z","httpStatus":101,"serverRouted":"shop.example.net:443","serverStatus":"101","error_info":"ERRORINFO_NO_ERROR"},"time":"2026-11-22T10:00:02Z"}"#,
    r#"{"time":"2026-11-22T10:00:03Z","properties":{"httpStatus":200,"serverRouted":"10.0.0.4:80, 10.0.0.5:80","serverStatus":"502, 200","error_info":"ERRORINFO_NO_ERROR"}}"#,
    r#"{"time":"2026-11-22T10:00:04Z","properties":{"httpStatus":200,"requestQuery":"SERVER-ROUTED=10.0.0.4&SERVER-STATUS=200","timeTaken":12}}"#,
    r#"{"ClientIP":"192.0.2.7","ClientRequestMethod":"GET","ClientRequestURI":"/a?b=1","EdgeEndTimestamp":"2026-11-22T10:00:01Z","EdgeResponseStatus":200,"EdgeStartTimestamp":1795341600000000000,"OriginIP":"192.0.2.10","OriginResponseStatus":200,"RayID":"8f1e"}"#,
    r#"{"EdgeResponseStatus":304,"EdgeStartTimestamp":"2026-11-22T10:00:02.5Z","OriginIP":"2001:db8::2","OriginResponseStatus":304}"#,
    r#"{"ClientRequestMethod":"POST","ClientRequestURI":"/c","EdgeEndTimestamp":1795341602500,"EdgeResponseStatus":"201","OriginIP":"192.0.2.11","OriginResponseStatus":"201","RequestHeaders":{"cf-ray":"8f1e"}}"#,
    r#"{"EdgeEndTimestamp":"2026-11-22T10:00:02Z","EdgeResponseStatus":301,"OriginIP":"192.0.2.11","OriginResponseStatus":302,"CacheCacheStatus":"dynamic"}"#,
    r#"{"EdgeEndTimestamp":"2026-11-22T10:00:03Z","EdgeResponseStatus":200,"OriginIP":"192.0.2.10","OriginResponseStatus":503}"#,
    r#"{"EdgeEndTimestamp":"2026-11-22T10:00:04Z","EdgeResponseStatus":200,"OriginIP":"","OriginResponseStatus":0,"CacheCacheStatus":"hit"}"#,
];
/// How often each input of a target is spoilt, where the environment's `WHY502_SPOILT` does not say.
const SPOILT: usize = 3;
/// Of the lines of other gateways so many are passed over before each that a reader is given.
const FOREIGN_STEP: usize = 40;
/// How often a line that is told at a glance is spoilt.
const SPOILT_GLANCES: usize = 200;
/// The kinds of which most lines are told at a glance.
const GLANCING: [Kind; 12] = [
    Kind::Nginx,
    Kind::NginxStream,
    Kind::Haproxy,
    Kind::Envoy,
    Kind::Istio,
    Kind::Apache,
    Kind::Traefik,
    Kind::Caddy,
    Kind::Varnish,
    Kind::GcpLb,
    Kind::AzureAppgw,
    Kind::Cloudflare,
];

/// Numbers that look drawn at random (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % limit.max(1)
    }
}

/// A line with one to three things amiss: an end torn off, a byte changed, left out or put in, a sign that means something
/// to readers put in, the end or the whole of another line, or a gap.
fn spoil(line: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const SPLINTERS: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"{",
        b"[",
        b",",
        b", ",
        b" : ",
        b", client: ",
        b", upstream: \"",
        b"\xFF\xFE",
        b"\0\0\0",
        b"\\u12",
        b"-",
        b".",
        b"0",
        b"9",
    ];
    let mut spoilt = line.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(spoilt.len() + 1);
        match numbers.below(8) {
            0 => spoilt.truncate(at),
            1 => drop(spoilt.drain(..at)),
            2 if at < spoilt.len() => spoilt[at] ^= 1 << numbers.below(8),
            3 => spoilt.splice(at..at, SPLINTERS[numbers.below(SPLINTERS.len())].iter().copied()).for_each(drop),
            4 => spoilt.extend_from_slice(&other[numbers.below(other.len() + 1)..]),
            5 => drop(spoilt.splice(at..at, other.iter().copied())),
            6 if at < spoilt.len() => drop(spoilt.remove(at)),
            _ => {
                let end = (at + numbers.below(40)).min(spoilt.len());
                drop(spoilt.drain(at..end));
            }
        }
    }
    spoilt
}

#[test]
fn the_fuzz_targets_hold_over_their_seeds_and_over_seeds_that_were_spoilt() {
    let mut numbers = Numbers(0x5EED_0502);
    let inputs = hold::inputs();
    let mut targets: Vec<&str> = inputs.iter().map(|(target, _)| *target).collect();
    targets.dedup();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), Kind::ALL.len() + 2, "seeds of every target: {targets:?}");
    inputs.iter().for_each(|(target, input)| hold::target(target, input));
    let rounds = std::env::var("WHY502_SPOILT").map_or(SPOILT, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds {
        for (target, input) in &inputs {
            let (_, other) = &inputs[numbers.below(inputs.len())];
            hold::target(target, &spoil(input, other, &mut numbers));
        }
    }
}

#[test]
fn every_reader_holds_over_the_lines_of_all_gateways_and_over_very_long_ones() {
    let seeds = hold::seeds();
    let mut long: Vec<Vec<u8>> = vec![
        "{\"a\":".repeat(200_000).into_bytes(),
        "[".repeat(1 << 20).into_bytes(),
        vec![b'"'; 60_000],
        "a, ".repeat(20_000).into_bytes(),
        " : ".repeat(20_000).into_bytes(),
        ", client: ".repeat(6_000).into_bytes(),
        vec![0xFF; 1 << 20],
        b"2026/11/22 06:35:24 [error] 1#1: *1 ".repeat(1_000),
    ];
    let mut numbers = Numbers(0x5EED_0503);
    let foreign = seeds.iter().step_by(FOREIGN_STEP).map(|seed| {
        let other = &seeds[numbers.below(seeds.len())];
        spoil(&seed.line, &other.line, &mut numbers)
    });
    let foreign: Vec<Vec<u8>> = foreign.collect();
    long.extend(seeds.iter().step_by(300).map(|seed| seed.line.iter().copied().cycle().take(1 << 20).collect()));
    for (kind, _) in Kind::ALL {
        for format in formats(seeds, kind) {
            foreign.iter().for_each(|line| hold::read(kind, format, line));
        }
        long.iter().for_each(|line| hold::read(kind, None, line));
    }
}

/// The formats that lines of a kind were written in, and none.
fn formats(seeds: &[Seed], kind: Kind) -> Vec<Option<&str>> {
    let of_kind = seeds.iter().filter(|seed| seed.kind == kind).map(|seed| seed.format.as_deref());
    let mut formats: Vec<Option<&str>> = of_kind.chain([None]).collect();
    formats.sort_unstable();
    formats.dedup();
    formats
}

#[test]
fn a_glance_agrees_with_the_whole_reading_on_labelled_and_on_spoilt_lines() {
    let seeds = hold::seeds();
    let lines: Vec<&[u8]> = seeds
        .iter()
        .map(|seed| seed.line.as_slice())
        .chain(LINES.map(str::as_bytes))
        .filter(|line| !line.is_empty())
        .collect();
    let mut numbers = Numbers(502);
    for kind in GLANCING {
        let own = FORMATS.into_iter().filter(|(own, _)| *own == kind).map(|(_, format)| Some(format));
        let (mut glances, mut of_spoilt) = (0, 0);
        for format in formats(seeds, kind).into_iter().chain(own) {
            let Ok(mut reader) = gateway::reader(kind, Log::Access, format, &Zone::utc()) else { continue };
            for line in &lines {
                let fits = hold::a_glance_agrees(&mut *reader, line);
                glances += usize::from(fits);
                // Of a line that does not fit, hardly any spoilt form does.
                for _ in 0..if fits { SPOILT_GLANCES } else { 1 } {
                    let spoilt = spoil(line, lines[numbers.below(lines.len())], &mut numbers);
                    of_spoilt += usize::from(hold::a_glance_agrees(&mut *reader, &spoilt));
                }
            }
        }
        let told = format!("{}: {glances} lines and {of_spoilt} spoilt ones were told at a glance", kind.id());
        println!("{told}");
        assert!(glances >= 4 && of_spoilt >= 50, "{told}");
    }
}
