//! `bench read`: how fast each gateway's reader goes through a log on one core, at few and at many failures. The ceiling is a
//! count of line ends; beside nginx's reader stands GoAccess, where it is installed.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;
use why502_agent::gateway::{self, Kind, Line, Log, Reader, Record, Signal, Zone};

use super::{Options, host};
use crate::lab::{Doing, Done};

/// Lines of real gateways, with their formats.
const LINES: &str = include_str!("../../../agent/fixtures/loglines.jsonl");
/// Failures in 10,000 lines.
const SHARES: [usize; 2] = [10, 2_000];
/// Mebibytes of nginx's log; the others' are a quarter of that.
const USUAL_MIB: usize = 256;
/// Lines that are not alike.
const VARIETY: usize = 10_000;

/// Reads a log of each kind, or of one.
pub fn run(arguments: &[String]) -> Done<ExitCode> {
    let options = Options::parse(arguments, &["gateway", "mib"])?;
    let bytes = options.number("mib", USUAL_MIB)? << 20;
    let wanted = options.get("gateway");
    let samples = samples()?;
    println!("{:<16}{:>10}{:>14}{:>12}{:>12}", "reader", "failures", "lines/s", "MiB/s", "of ceiling");
    for sample in samples.into_iter().filter(|sample| wanted.is_none_or(|kind| sample.kind.id() == kind)) {
        let is_nginx = sample.kind == Kind::Nginx;
        for share in SHARES {
            let log = sample.log(if is_nginx { bytes } else { bytes / 4 }, share);
            let ceiling = timed(log.len(), || memchr::memchr_iter(b'\n', &log).count());
            let mut reader = sample.reader()?;
            let speed = timed(log.len(), || read(&mut *reader, &log));
            // A reader that is fast since it reads wrong is not fast.
            let expected = (0..ceiling.lines).filter(|number| is_failing(*number, share)).count();
            if speed.lines != expected {
                return Err(format!("{}: {} of {expected} failures found", sample.kind.id(), speed.lines));
            }
            speed.print(sample.kind.id(), share, &ceiling);
            if is_nginx {
                beside(&log, share, &ceiling)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines of one gateway in one format.
struct Sample {
    kind: Kind,
    format: Option<String>,
    served: Vec<Vec<u8>>,
    failing: Vec<Vec<u8>>,
}

impl Sample {
    fn reader(&self) -> Done<Box<dyn Reader>> {
        gateway::reader(self.kind, Log::Access, self.format.as_deref(), &Zone::utc()).map_err(|fault| fault.to_string())
    }

    /// A log of about so many bytes, of which so many lines in 10,000 tell of failures.
    fn log(&self, bytes: usize, share: usize) -> Vec<u8> {
        let mut log = Vec::with_capacity(bytes + 4_096);
        for number in 0.. {
            let lines = if is_failing(number, share) { &self.failing } else { &self.served };
            let line = lines.get(number % lines.len().max(1)).map_or([].as_slice(), Vec::as_slice);
            log.extend_from_slice(line);
            log.push(b'\n');
            if log.len() >= bytes {
                break;
            }
        }
        log
    }
}

/// Lines as busy gateways write them: an answered request and one that was not, with `{n}` for a number and `{k}` for one of four.
const MADE: [(Kind, Option<&str>, &str, &str); 12] = [
    (
        Kind::Haproxy,
        None,
        r#"10.9.8.7:40112 [22/Nov/2026:06:43:09.058] fe_main shop/app{k} 0/0/1/12/13 200 5120 - - ---- 41/40/3/1/0 0/0 {Mozilla/5.0 (X11; Linux x86_64)|shop.example} "GET /items/{n}?page=2 HTTP/1.1""#,
        r#"10.9.8.7:40112 [22/Nov/2026:06:43:09.058] fe_main shop/app{k} 0/0/-1/-1/3 503 216 - - SC-- 41/40/3/1/3 0/0 {Mozilla/5.0 (X11; Linux x86_64)|shop.example} "GET /items/{n}?page=2 HTTP/1.1""#,
    ),
    (
        Kind::Envoy,
        None,
        r#"[2026-11-22T06:49:47.961Z] "GET /items/{n}?page=2 HTTP/1.1" 200 - 0 5120 13 12 "10.9.8.7" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" "50587531-212c-4096-b3a3-{n}" "shop.example" "10.0.0.{k}:3000""#,
        r#"[2026-11-22T06:49:47.961Z] "GET /items/{n}?page=2 HTTP/1.1" 503 UF 0 91 2 - "10.9.8.7" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" "50587531-212c-4096-b3a3-{n}" "shop.example" "10.0.0.{k}:3000""#,
    ),
    (
        Kind::Istio,
        None,
        r#"[2026-11-22T06:49:47.961Z] "GET /items/{n}?page=2 HTTP/1.1" 200 - via_upstream - "-" 0 5120 13 12 "10.9.8.7" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" "50587531-212c-4096-b3a3-{n}" "shop.example" "10.0.0.{k}:3000" outbound|80||shop.svc 10.0.0.9:40112 10.0.0.9:80 10.9.8.7:40112 - default"#,
        r#"[2026-11-22T06:49:47.961Z] "GET /items/{n}?page=2 HTTP/1.1" 503 UF upstream_reset_before_response_started{connection_failure} - "delayed_connect_error:_111" 0 91 2 - "10.9.8.7" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" "50587531-212c-4096-b3a3-{n}" "shop.example" "10.0.0.{k}:3000" outbound|80||shop.svc - 10.0.0.9:80 10.9.8.7:40112 - default"#,
    ),
    (
        Kind::Apache,
        Some(
            r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D worker=%{BALANCER_WORKER_NAME}e err="%{error-notes}n" %L"#,
        ),
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/1.1" 200 5120 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" 12345 worker=http://10.0.0.{k}:3000 err="-" -"#,
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/1.1" 502 5120 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" 12345 worker=http://10.0.0.{k}:3000 err="Reason: <strong>Error reading from remote server</strong>" a1b2"#,
    ),
    (
        Kind::Traefik,
        None,
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/1.1" 200 5120 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" {n} "shop@file" "http://10.0.0.{k}:3000" 13ms"#,
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/1.1" 502 11 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" {n} "shop@file" "http://10.0.0.{k}:3000" 13ms"#,
    ),
    (
        Kind::Caddy,
        None,
        r#"{"level":"info","ts":1795330776.898027,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.9.8.7","remote_port":"39003","client_ip":"10.9.8.7","proto":"HTTP/1.1","method":"GET","host":"shop.example","uri":"/items/{n}?page=2","headers":{"User-Agent":["Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"],"Accept":["*/*"]}},"bytes_read":0,"user_id":"","duration":0.0127,"size":5120,"status":200,"resp_headers":{"Via":["1.1 Caddy"],"Content-Type":["text/html"]}}"#,
        r#"{"level":"error","ts":1795330776.898027,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.9.8.7","remote_port":"39003","client_ip":"10.9.8.7","proto":"HTTP/1.1","method":"GET","host":"shop.example","uri":"/items/{n}?page=2","headers":{"User-Agent":["Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"],"Accept":["*/*"]}},"bytes_read":0,"user_id":"","duration":0.0127,"size":0,"status":502,"resp_headers":{"Server":["Caddy"]}}"#,
    ),
    (
        Kind::IngressNginx,
        None,
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/2.0" 200 5120 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" 412 0.013 [shop-web-80] [] 10.0.0.{k}:3000 5120 0.012 200 50587531212c4096b3a3"#,
        r#"10.9.8.7 - - [22/Nov/2026:06:57:57 +0000] "GET /items/{n}?page=2 HTTP/2.0" 502 552 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" 412 0.002 [shop-web-80] [] 10.0.0.{k}:3000, 10.0.0.9:3000 0, 0 0.001, 0.001 502, 502 50587531212c4096b3a3"#,
    ),
    (
        Kind::AzureAppgw,
        None,
        r#"{"timeStamp":"2026-11-22T06:57:57Z","resourceId":"/SUBSCRIPTIONS/1/RESOURCEGROUPS/SHOP/PROVIDERS/MICROSOFT.NETWORK/APPLICATIONGATEWAYS/EDGE","operationName":"ApplicationGatewayAccess","category":"ApplicationGatewayAccessLog","listenerName":"https","ruleName":"shop","backendPoolName":"shop","properties":{"instanceId":"appgw_1","clientIP":"10.9.8.7","httpMethod":"GET","requestUri":"/items/{n}","requestQuery":"page=2","userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)","httpStatus":200,"httpVersion":"HTTP/1.1","receivedBytes":412,"sentBytes":5120,"timeTaken":0.013,"transactionId":"592d1649f75a8d480a3c4dc6a975309d","sslEnabled":"on","serverRouted":"10.0.0.{k}:3000","serverStatus":"200","serverResponseLatency":"0.012","originalHost":"shop.example","originalRequestUriWithArgs":"/items/{n}?page=2","error_info":"ERRORINFO_NO_ERROR"}}"#,
        r#"{"timeStamp":"2026-11-22T06:57:57Z","resourceId":"/SUBSCRIPTIONS/1/RESOURCEGROUPS/SHOP/PROVIDERS/MICROSOFT.NETWORK/APPLICATIONGATEWAYS/EDGE","operationName":"ApplicationGatewayAccess","category":"ApplicationGatewayAccessLog","listenerName":"https","ruleName":"shop","backendPoolName":"shop","properties":{"instanceId":"appgw_1","clientIP":"10.9.8.7","httpMethod":"GET","requestUri":"/items/{n}","requestQuery":"page=2","userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)","httpStatus":502,"httpVersion":"HTTP/1.1","receivedBytes":412,"sentBytes":183,"timeTaken":0.002,"transactionId":"592d1649f75a8d480a3c4dc6a975309d","sslEnabled":"on","serverRouted":"10.0.0.{k}:3000","serverStatus":"502","serverResponseLatency":"0.001","originalHost":"shop.example","originalRequestUriWithArgs":"/items/{n}?page=2","error_info":"ERRORINFO_UPSTREAM_CLOSED_CONNECTION"}}"#,
    ),
    (
        Kind::Cloudflare,
        None,
        r#"{"ClientIP":"10.9.8.7","ClientRequestHost":"shop.example","ClientRequestMethod":"GET","ClientRequestURI":"/items/{n}?page=2","ClientRequestUserAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)","CacheCacheStatus":"dynamic","EdgeEndTimestamp":"2026-11-22T06:57:57Z","EdgeResponseBytes":5120,"EdgeResponseStatus":200,"EdgeStartTimestamp":"2026-11-22T06:57:57Z","OriginIP":"10.0.0.{k}","OriginResponseDurationMs":12,"OriginResponseStatus":200,"RayID":"8f1e5058753121"}"#,
        r#"{"ClientIP":"10.9.8.7","ClientRequestHost":"shop.example","ClientRequestMethod":"GET","ClientRequestURI":"/items/{n}?page=2","ClientRequestUserAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)","CacheCacheStatus":"dynamic","EdgeEndTimestamp":"2026-11-22T06:57:57Z","EdgeResponseBytes":5120,"EdgeResponseStatus":521,"EdgeStartTimestamp":"2026-11-22T06:57:57Z","OriginIP":"10.0.0.{k}","OriginResponseDurationMs":0,"OriginResponseStatus":0,"RayID":"8f1e5058753121"}"#,
    ),
    // These two log no request that was answered; what they say of themselves stands for it.
    (
        Kind::Linkerd,
        None,
        r#"[  1619.469625s]  INFO ThreadId(01) outbound:proxy{addr=10.43.67.169:8080}:service{ns=shop name=web port=8080}: linkerd_proxy_http::h1: Upgrade of request {n} complete"#,
        r#"[  1619.469625s]  WARN ThreadId(01) outbound:proxy{addr=10.43.67.169:8080}:service{ns=shop name=web port=8080}:endpoint{addr=10.0.0.{k}:8080}: linkerd_reconnect: Failed to connect error=connect timed out after 1s"#,
    ),
    (
        Kind::Cloudflared,
        None,
        r#"2026-11-22T06:57:57Z INF Retrying connection in up to {n}s connIndex={k} event=0 ip=198.41.192.77"#,
        r#"2026-11-22T06:57:57Z ERR  error="Unable to reach the origin service. The service may be down or it may not be responding to traffic from cloudflared: dial tcp 10.0.0.{k}:3000: connect: connection refused" connIndex=0 event=1 ingressRule=0 originService=http://10.0.0.{k}:3000"#,
    ),
    (
        Kind::Heroku,
        None,
        r#"<158>1 2026-11-22T06:57:57.834333+00:00 heroku router - - at=info method=GET path="/items/{n}?page=2" host=shop.example request_id=50587531-212c-4096-b3a3-{n} fwd="10.9.8.7" dyno=web.{k} connect=0ms service=12ms status=200 bytes=5120 protocol=https"#,
        r#"<158>1 2026-11-22T06:57:57.834333+00:00 heroku router - - at=error code=H13 desc="Connection closed without response" method=GET path="/items/{n}?page=2" host=shop.example request_id=50587531-212c-4096-b3a3-{n} fwd="10.9.8.7" dyno=web.{k} connect=1ms service=9ms status=503 bytes=0 protocol=https"#,
    ),
];

/// Whether a line of a log is one of the failing ones.
fn is_failing(number: usize, share: usize) -> bool {
    // 7,919 is prime to 10,000: each residue comes once in 10,000 lines.
    number * 7_919 % 10_000 < share
}

/// What there is to read, by kind: the commonest as busy gateways write them, the others in the format of which most lines were
/// seen.
fn samples() -> Done<Vec<Sample>> {
    let mut found: BTreeMap<(&str, Option<String>), Sample> = BTreeMap::new();
    let is_made = |kind: Kind| kind == Kind::Nginx || MADE.iter().any(|(made, ..)| *made == kind);
    for line in LINES.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let name = line["gateway"].as_str().unwrap_or_default().replace('-', "_");
        let (Some(kind), Some("access")) = (Kind::from_id(&name), line["log"].as_str()) else { continue };
        let format = line["format"].as_str().map(str::to_owned);
        let Some(raw) = line["raw"].as_str().filter(|_| !is_made(kind)) else { continue };
        let (served, failing) = (Vec::new(), Vec::new());
        let sample = found.entry((kind.id(), format.clone())).or_insert(Sample { kind, format, served, failing });
        sample.add(raw.as_bytes());
    }
    let mut samples: Vec<Sample> = std::iter::once(nginx()).chain(MADE.map(made)).collect();
    for sample in found.into_values().filter(|sample| !sample.served.is_empty() && !sample.failing.is_empty()) {
        let lines = |sample: &Sample| sample.served.len() + sample.failing.len();
        match samples.iter_mut().find(|other| other.kind == sample.kind) {
            Some(other) if lines(other) < lines(&sample) => *other = sample,
            Some(_) => {}
            None => samples.push(sample),
        }
    }
    let is_missing = |kind: Kind| samples.iter().all(|sample| sample.kind != kind);
    match Kind::ALL.into_iter().find(|(kind, _)| is_missing(*kind)) {
        Some((_, name)) => Err(format!("{name}: no answered or no failing line")),
        None => Ok(samples),
    }
}

fn made((kind, format, served, failing): (Kind, Option<&str>, &str, &str)) -> Sample {
    let fill = |line: &str| {
        let number =
            |number: usize| line.replace("{n}", &number.to_string()).replace("{k}", &(2 + number % 4).to_string());
        (0..VARIETY).map(|at| number(at).into_bytes()).collect()
    };
    Sample { kind, format: format.map(str::to_owned), served: fill(served), failing: fill(failing) }
}

impl Sample {
    fn add(&mut self, line: &[u8]) {
        let Ok(mut reader) = self.reader() else { return };
        match reader.read(line) {
            Line::Record(record) if fails(&record) => self.failing.push(line.to_vec()),
            Line::Record(record) if record.signal == Signal::Ok => self.served.push(line.to_vec()),
            Line::Record(_) | Line::Notice(_) | Line::Unparsed(_) => {}
        }
    }
}

/// As on the reference hosts, of four upstreams.
fn nginx() -> Sample {
    let served = |number: usize| {
        let line = host::log_line(number);
        let line = line.replace(" 127.0.0.1:2000 ", &format!(" 10.0.0.{}:3000 ", 2 + number % 4));
        line.trim_end().as_bytes().to_vec()
    };
    let refused = |line: Vec<u8>| {
        let line = String::from_utf8_lossy(&line).replacen("\" 200 ", "\" 502 ", 1);
        line.replacen(":3000 200 ", ":3000 502 ", 1).into_bytes()
    };
    Sample {
        kind: Kind::Nginx,
        format: Some(host::LOG_FORMAT.replace("\\\"", "\"")),
        served: (0..VARIETY).map(served).collect(),
        failing: (0..VARIETY).map(|number| refused(served(number))).collect(),
    }
}

fn fails(record: &Record) -> bool {
    // Some gateways' access lines have the status alone.
    let is_error = record.signal == Signal::StatusOnly && record.status >= Some(500);
    is_error || record.attempts.iter().any(|attempt| attempt.signal.is_failure()) || record.signal.is_failure()
}

/// As the agent does: at a glance where that is enough, else in full. Returns how many lines fail.
fn read(reader: &mut dyn Reader, log: &[u8]) -> usize {
    let mut failing = 0;
    let mut begin = 0;
    for end in memchr::memchr_iter(b'\n', log) {
        let line = &log[begin..end];
        begin = end + 1;
        match reader.served(line) {
            Some(served) => drop(black_box(served)),
            None => failing += usize::from(matches!(reader.read(line), Line::Record(record) if fails(&record))),
        }
    }
    failing
}

/// Work over some bytes.
struct Speed {
    bytes: usize,
    lines: usize,
    cpu: Duration,
}

impl Speed {
    fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / 1_048_576.0 / self.cpu.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn print(&self, name: &str, share: usize, ceiling: &Self) {
        println!(
            "{name:<16}{:>8.1} %{:>14.0}{:>12.0}{:>10.1} %",
            share as f64 / 100.0,
            ceiling.lines as f64 / self.cpu.as_secs_f64().max(f64::MIN_POSITIVE),
            self.mib_per_s(),
            100.0 * self.mib_per_s() / ceiling.mib_per_s()
        );
    }
}

/// The CPU time of this thread that the work takes; the work says how many lines it found.
fn timed(bytes: usize, work: impl FnOnce() -> usize) -> Speed {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    let before = now();
    let lines = black_box(work());
    Speed { bytes, lines, cpu: now().saturating_sub(before) }
}

/// The ceiling, and GoAccess on the same log.
fn beside(log: &[u8], share: usize, ceiling: &Speed) -> Done {
    ceiling.print("  line ends", share, ceiling);
    let dir = tempfile::tempdir().doing("folder")?;
    let path = dir.path().join("access.log");
    fs::write(&path, log).doing("access log")?;
    match goaccess(&path, dir.path(), log.len()) {
        Some(speed) => speed.print("  goaccess", share, ceiling),
        None => println!("  goaccess: skipped, it is not installed or does not run"),
    }
    Ok(())
}

fn goaccess(log: &Path, dir: &Path, bytes: usize) -> Option<Speed> {
    let before = children_cpu();
    let status = Command::new("goaccess")
        .arg(log)
        .args(["--log-format", "%h %^[%d:%t %^] \"%r\" %s %b \"%R\" \"%u\" %^", "--date-format", "%d/%b/%Y"])
        .args(["--time-format", "%H:%M:%S", "--no-progress", "--no-global-config", "-o"])
        .arg(dir.join("report.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let cpu = children_cpu().saturating_sub(before).max(Duration::from_nanos(1));
    status.success().then_some(Speed { bytes, lines: 0, cpu })
}

/// CPU time of children that ended.
fn children_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0))
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}
