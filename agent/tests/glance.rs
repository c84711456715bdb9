//! What is counted at a glance must be what the whole reading says: over every labelled line, and over such lines spoilt.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says by panicking that it failed

use serde_json::Value;
use why502_agent::gateway::{self, Kind, Line, Log, Reader, Signal, Zone};

const SEEN: &str = include_str!("../fixtures/loglines.jsonl");
const COMPOSED: &str = include_str!("../fixtures/composed_lines.jsonl");
/// Formats that a glance is enough for, beside those of the lines.
const FORMATS: [&str; 2] = [
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $upstream_addr $upstream_status $upstream_response_time"#,
    r#"$remote_addr [$time_iso8601] "$request" $status "$upstream_addr" "$upstream_status" $upstream_response_time $request_time"#,
];
/// Lines in these formats, as a gateway in front of several instances writes them.
const LINES: [&str; 4] = [
    r#"192.0.2.7 - - [22/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8" 10.0.0.2:3000 200 0.012"#,
    r#"192.0.2.7 - - [22/Nov/2026:10:00:02 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl/8" 10.0.0.2:3000, 10.0.0.3:3000 502, 200 0.001, 0.020"#,
    r#"192.0.2.7 [2026-11-22T10:00:01+00:00] "POST /b HTTP/1.1" 204 "unix:/run/app.sock" "204" 1.250 1.251"#,
    r#"192.0.2.7 [2026-11-22T10:00:03+00:00] "POST /b HTTP/1.1" 502 "10.0.0.2:3000" "502" 0.000 0.000"#,
];
/// Times that each line is spoilt.
const SPOILT: usize = 60;

/// Numbers that look drawn at random, the same in each run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit.max(1)
    }
}

/// A line with one thing amiss: a byte changed, left out or put in, an end torn off, or the end of another line.
fn spoil(line: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    const TELLING: &[u8] = b"0123459-, :\"\\./\x00\xff";
    let at = draw.below(line.len());
    let byte = TELLING[draw.below(TELLING.len())];
    let mut spoilt = line.to_vec();
    match draw.below(5) {
        0 => spoilt[at] = byte,
        1 => drop(spoilt.remove(at)),
        2 => spoilt.insert(at, byte),
        3 => spoilt.truncate(at),
        _ => {
            spoilt.truncate(at);
            spoilt.extend_from_slice(&other[draw.below(other.len())..]);
        }
    }
    spoilt
}

/// True: the line was told at a glance, and rightly so.
fn agree(reader: &mut dyn Reader, line: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(line);
    let Some(served) = reader.served(line) else { return false };
    let (upstream, status) = (served.upstream.map(str::to_owned), served.status);
    let (at, response_us) = (served.at, served.response_us);
    let Line::Record(record) = reader.read(line) else { panic!("no record: {shown}") };
    assert_eq!((record.signal, record.at), (Signal::Ok, at), "{shown}");
    assert!(record.attempts.len() <= 1 && record.status.is_some_and(|status| status < 400), "{shown}");
    let attempt = record.attempts.first().cloned().unwrap_or_default();
    assert_eq!(attempt.upstream, upstream, "{shown}");
    if upstream.is_some() {
        assert_eq!((attempt.signal, attempt.status), (Signal::Ok, Some(status)), "{shown}");
        assert_eq!(attempt.response_us, response_us, "{shown}");
    }
    true
}

#[test]
fn a_glance_agrees_with_the_whole_reading_on_labelled_and_on_spoilt_lines() {
    let labelled: Vec<Value> =
        [SEEN, COMPOSED].into_iter().flat_map(str::lines).map(|line| serde_json::from_str(line).unwrap()).collect();
    let access = |line: &&Value| line["gateway"] == "nginx" && line["log"] == "access";
    let nginx: Vec<&Value> = labelled.iter().filter(access).collect();
    let mut formats: Vec<&str> = nginx.iter().filter_map(|line| line["format"].as_str()).chain(FORMATS).collect();
    formats.sort_unstable();
    formats.dedup();
    let lines: Vec<&[u8]> =
        labelled.iter().filter_map(|line| line["raw"].as_str()).chain(LINES).map(str::as_bytes).collect();
    let mut draw = Draw(502);
    let (mut glances, mut of_spoilt) = (0, 0);
    for format in formats {
        let mut reader = gateway::reader(Kind::Nginx, Log::Access, Some(format), &Zone::utc()).unwrap();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let fits = agree(&mut *reader, line);
            glances += usize::from(fits);
            // Of a line that does not fit, hardly any spoilt form does.
            for _ in 0..if fits { SPOILT * 10 } else { SPOILT / 20 } {
                let spoilt = spoil(line, lines[draw.below(lines.len())], &mut draw);
                of_spoilt += usize::from(agree(&mut *reader, &spoilt));
            }
        }
    }
    assert!(glances > 10 && of_spoilt > 1_000, "{glances} lines and {of_spoilt} spoilt ones were told at a glance");
}
