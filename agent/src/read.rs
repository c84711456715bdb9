//! The body of `why502-agent read`: what the agent makes of a gateway's log, one JSON object a line, in order. It keeps
//! one line at a time and never stops for what a line holds.

use std::io::{self, BufRead, ErrorKind, Write};

use serde::Serialize;

use crate::gateway::{self, Kind, LINE_LIMIT_BYTES, Line, Log, Notice, Record, Stamp, Zone};

/// The compiled zone of this host, tzfile(5).
const LOCAL_ZONE: &str = "/etc/localtime";

/// Reads `input` to its end and writes one object a line to `output`. A reader of the output that has gone away is no
/// error; a format that can't be compiled is one of kind `InvalidInput`.
pub fn run(
    kind: Kind,
    log: Log,
    format: Option<&str>,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut reader = gateway::reader(kind, log, format, &host_zone())
        .map_err(|fault| io::Error::new(ErrorKind::InvalidInput, fault))?;
    let mut line = Vec::new();
    let mut number = 0;
    while next_line(input, &mut line)? {
        number += 1;
        match write(output, number, &reader.read(&line)) {
            Err(fault) if fault.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    match output.flush() {
        Err(fault) if fault.kind() == ErrorKind::BrokenPipe => Ok(()),
        flushed => flushed,
    }
}

/// The host's time zone; universal time where it can't be read.
pub fn host_zone() -> Zone {
    std::fs::read(LOCAL_ZONE).ok().and_then(|bytes| Zone::from_tzif(&bytes)).unwrap_or_else(Zone::utc)
}

/// The next line without its newline. Of an over-long one so much is kept as shows that it is.
fn next_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = match input.fill_buf() {
            Err(fault) if fault.kind() == ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let text = &chunk[..end.unwrap_or(chunk.len())];
        let room = (LINE_LIMIT_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&text[..text.len().min(room)]);
        let used = text.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Parsed {
        line: u64,
        parsed: bool,
        at: Option<String>,
        status: Option<u16>,
        signal: &'static str,
        attempts: Vec<ShownAttempt<'a>>,
    },
    Unparsed {
        line: u64,
        parsed: bool,
        why: &'a str,
    },
}

#[derive(Serialize)]
struct ShownAttempt<'a> {
    upstream: Option<&'a str>,
    status: Option<u16>,
    signal: &'static str,
}

fn write(output: &mut dyn Write, number: u64, line: &Line) -> io::Result<()> {
    let shown = match line {
        Line::Record(record) => of_record(number, record),
        Line::Notice(notice) => of_notice(number, notice),
        Line::Unparsed(why) => Shown::Unparsed { line: number, parsed: false, why },
    };
    serde_json::to_writer(&mut *output, &shown).map_err(io::Error::from)?;
    output.write_all(b"\n")
}

fn of_record(line: u64, record: &Record) -> Shown<'_> {
    let attempts = record.attempts.iter().map(|attempt| ShownAttempt {
        upstream: attempt.upstream.as_deref(),
        status: attempt.status,
        signal: attempt.signal.id(),
    });
    Shown::Parsed {
        line,
        parsed: true,
        at: record.at.and_then(time),
        status: record.status,
        signal: record.signal.id(),
        attempts: attempts.collect(),
    }
}

fn of_notice(line: u64, notice: &Notice) -> Shown<'_> {
    let signal = notice.signal.id();
    let attempt = |upstream| ShownAttempt { upstream: Some(upstream), status: notice.check_status, signal };
    Shown::Parsed {
        line,
        parsed: true,
        at: notice.at.and_then(time),
        status: None,
        signal,
        attempts: notice.upstream.as_deref().map(attempt).into_iter().collect(),
    }
}

/// RFC 3339 in universal time, with milliseconds where the line has them.
fn time(stamp: Stamp) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(stamp.unix_us).ok()?;
    Some(if stamp.precision_us >= 1_000_000 { format!("{time:.0}") } else { format!("{time:.3}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<serde_json::Value> {
        let mut output = Vec::new();
        run(Kind::Nginx, Log::All, None, &mut io::BufReader::with_capacity(7, input), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn one_object_a_line_in_order() {
        let refused = "2026/11/22 06:40:39 [error] 29#31: *94 connect() failed (111: Connection refused) while connecting \
            to upstream, client: 198.51.100.7, server: s, request: \"GET / HTTP/1.1\", upstream: \"http://10.0.0.2:3000/\"";
        let mut input = b"garbage\n\n".to_vec();
        input.extend([b'a'; 100_000]);
        input.extend(format!("\n{refused}").bytes());
        let lines = read(&input);
        assert_eq!(lines.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(lines[..3].iter().all(|line| line["parsed"] == false && line["why"].is_string()));
        assert_eq!(lines[2]["why"], "longer than 64 KiB");
        let attempt = serde_json::json!([{"upstream": "10.0.0.2:3000", "status": null, "signal": "connect_refused"}]);
        assert_eq!((&lines[3]["signal"], &lines[3]["attempts"]), (&"connect_refused".into(), &attempt));
        assert!(lines[3]["status"].is_null());
    }

    #[test]
    fn times_are_universal_and_no_finer_than_told() {
        let stamp = |precision_us| Stamp { unix_us: 1_795_329_322_250_000, precision_us };
        assert_eq!(time(stamp(1_000_000)).as_deref(), Some("2026-11-22T06:35:22Z"));
        assert_eq!(time(stamp(1_000)).as_deref(), Some("2026-11-22T06:35:22.250Z"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(ErrorKind::BrokenPipe.into())
            }
        }
        assert!(run(Kind::Nginx, Log::All, None, &mut &b"x\n"[..], &mut Gone).is_ok());
        let fault = run(Kind::Nginx, Log::All, Some("$"), &mut &b""[..], &mut Gone).unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::InvalidInput);
    }
}
