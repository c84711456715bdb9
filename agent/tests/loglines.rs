//! Every labelled log line of the corpus through the readers: the share read right per gateway must not fall.

#![allow(clippy::unwrap_used)] // a test says by panicking that it failed

use std::collections::BTreeMap;

use serde_json::Value;
use why502_agent::gateway::{self, Kind, Line, Log, Zone};

/// A labelled line.
struct Labelled {
    number: usize,
    gateway: String,
    kind: Kind,
    log: Log,
    format: Option<String>,
    raw: Vec<u8>,
    status: Option<u64>,
    upstream: Option<String>,
    signal: String,
}

/// Lines of real gateways, most of them provoked.
const SEEN: &str = include_str!("../fixtures/loglines.jsonl");
/// Lines put together from the gateways' sources, manuals and public issues: messages and frames that nobody provoked here.
const COMPOSED: &str = include_str!("../fixtures/composed_lines.jsonl");
/// Lines of programs of Debian, each behind which an upstream was dead, hung, cutting off or talking nonsense.
const PROVOKED: &str = include_str!("../fixtures/provoked_lines.jsonl");

fn corpus(text: &str) -> Vec<Labelled> {
    text.lines().enumerate().filter_map(|(at, line)| labelled(at + 1, &serde_json::from_str(line).unwrap())).collect()
}

/// None: of a gateway that is no kind.
fn labelled(number: usize, line: &Value) -> Option<Labelled> {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let gateway = text("gateway")?;
    let id = match gateway.as_str() {
        "istio-envoy" => "istio".to_owned(),
        other => other.replace('-', "_"),
    };
    let log = match line["log"].as_str()? {
        "access" => Log::Access,
        "error" => Log::Error,
        _ => Log::All,
    };
    Some(Labelled {
        number,
        kind: Kind::from_id(&id)?,
        gateway,
        log,
        format: text("format"),
        raw: text("raw_b64").map_or_else(|| text("raw").unwrap_or_default().into_bytes(), |coded| base64(&coded)),
        status: line["status"].as_u64(),
        upstream: text("upstream"),
        signal: text("signal")?,
    })
}

fn base64(coded: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for digit in coded.chars().filter_map(|digit| DIGITS.find(digit)) {
        bits = (bits << 6 | u32::try_from(digit).unwrap()) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xFF).unwrap());
        }
    }
    bytes
}

/// What the readers make of a line: signal, status, the upstream of the last attempt.
fn read(line: &Labelled) -> (String, Option<u64>, Option<String>) {
    let reader = gateway::reader(line.kind, line.log, line.format.as_deref(), &Zone::utc());
    match reader.map(|mut reader| reader.read(&line.raw)) {
        Ok(Line::Record(record)) => {
            let upstream = record.attempts.last().and_then(|attempt| attempt.upstream.clone());
            (record.signal.id().to_owned(), record.status.map(u64::from), upstream)
        }
        Ok(Line::Notice(notice)) => (notice.signal.id().to_owned(), None, notice.upstream),
        Ok(Line::Unparsed(_)) => ("unparsed".to_owned(), None, None),
        Err(fault) => (fault.to_string(), None, None),
    }
}

/// What is wrong with the reading of a line, or None.
fn fault(line: &Labelled) -> Option<String> {
    let (signal, status, upstream) = read(line);
    if line.signal == "unparsed" || line.signal == "forged" {
        // A forged line may also be read as what it pretends: only the missing access record gives it away.
        let right = signal == line.signal || (line.signal == "forged" && signal != "ok");
        return (!right).then(|| format!("{signal} for {}", line.signal));
    }
    let mut faults = Vec::new();
    if signal != line.signal {
        faults.push(format!("signal {signal} for {}", line.signal));
    }
    if status != line.status && line.status.is_some() {
        faults.push(format!("status {status:?} for {:?}", line.status));
    }
    let wanted = line.upstream.as_deref().map(|list| list.rsplit(", ").next().unwrap_or(list));
    if upstream.as_deref() != wanted {
        faults.push(format!("upstream {upstream:?} for {wanted:?}"));
    }
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Lines that are read otherwise than labelled, and why.
const KNOWN: &[(usize, &str)] = &[
    (259, "the line's own error text says that the handshake failed, which says more than the label"),
    (489, "the line names the worker that is put into error state, the label leaves it out"),
];

#[test]
fn labelled_lines_are_read_right() {
    let mut shares: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut worse = Vec::new();
    for line in corpus(SEEN) {
        let share = shares.entry(line.gateway.clone()).or_default();
        share.0 += 1;
        let Some(fault) = fault(&line) else { continue };
        share.1 += 1;
        if !KNOWN.iter().any(|(number, _)| *number == line.number) {
            let raw: String = String::from_utf8_lossy(&line.raw).chars().take(200).collect();
            worse.push(format!("line {} ({}): {fault}: {}", line.number, line.gateway, raw.escape_debug()));
        }
    }
    for (gateway, (lines, faults)) in &shares {
        println!("{gateway}: {} of {lines} right", lines - faults);
    }
    assert_eq!(shares.len(), Kind::ALL.len(), "lines of every kind");
    assert!(worse.is_empty(), "{worse:#?}");
}

#[test]
fn composed_lines_are_read_right() {
    let lines = corpus(COMPOSED);
    let faults: Vec<String> =
        lines.iter().filter_map(|line| Some(format!("line {}: {}", line.number, fault(line)?))).collect();
    assert!(lines.len() > 400, "{} lines", lines.len());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn provoked_lines_are_read_right() {
    let lines = corpus(PROVOKED);
    let faults: Vec<String> =
        lines.iter().filter_map(|line| Some(format!("line {}: {}", line.number, fault(line)?))).collect();
    assert!(lines.len() > 60, "{} lines", lines.len());
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A small generator of numbers (xorshift64*), so that a failure can be had again from its seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % below.max(1)
    }
}

/// A line as disks, networks and enemies spoil it.
fn spoil(line: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const SPLINTERS: [&[u8]; 12] = [
        b"\"",
        b"\\",
        b"{",
        b"[",
        b", ",
        b" : ",
        b", client: ",
        b", upstream: \"",
        b"\xFF\xFE",
        b"\0\0\0",
        b"\\u12",
        b"-",
    ];
    let mut spoilt = line.to_vec();
    for _ in 0..=numbers.next(3) {
        let at = numbers.next(spoilt.len() + 1);
        match numbers.next(7) {
            0 => spoilt.truncate(at),
            1 => drop(spoilt.drain(..at)),
            2 if at < spoilt.len() => spoilt[at] ^= 1 << numbers.next(8),
            3 => spoilt.splice(at..at, SPLINTERS[numbers.next(SPLINTERS.len())].iter().copied()).for_each(drop),
            4 => spoilt.extend_from_slice(&other[numbers.next(other.len() + 1)..]),
            5 => drop(spoilt.splice(at..at, other.iter().copied())),
            _ => {
                let end = (at + numbers.next(40)).min(spoilt.len());
                drop(spoilt.drain(at..end));
            }
        }
    }
    spoilt
}

/// What can be made of a line is no more than this many bytes, however long the line is.
const MOST_SHOWN_BYTES: usize = 4 << 20;

#[test]
fn no_line_makes_a_reader_panic_or_swell() {
    let corpus = corpus(SEEN);
    let mut numbers = Numbers(0x5EED_0502);
    let mut lines: Vec<Vec<u8>> = vec![
        "{\"a\":".repeat(200_000).into_bytes(),
        "[".repeat(1 << 20).into_bytes(),
        vec![b'"'; 60_000],
        "a, ".repeat(20_000).into_bytes(),
        " : ".repeat(20_000).into_bytes(),
        ", client: ".repeat(6_000).into_bytes(),
        vec![0xFF; 1 << 20],
        b"2026/11/22 06:35:24 [error] 1#1: *1 ".repeat(1_000),
    ];
    for (at, line) in corpus.iter().enumerate() {
        let other = &corpus[numbers.next(corpus.len())].raw;
        lines.extend((0..3).map(|_| spoil(&line.raw, other, &mut numbers)));
        if at % 200 == 0 {
            lines.push(line.raw.iter().copied().cycle().take(1 << 20).collect());
        }
    }
    for (kind, id) in Kind::ALL {
        let formats = corpus.iter().filter(|line| line.kind == kind).map(|line| line.format.clone());
        let mut formats: Vec<Option<String>> = formats.chain([None]).collect();
        formats.sort();
        formats.dedup();
        for format in formats {
            let Ok(mut reader) = gateway::reader(kind, Log::All, format.as_deref(), &Zone::utc()) else { continue };
            for line in &lines {
                let shown = format!("{:?}", reader.read(line));
                let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                assert!(shown.len() < MOST_SHOWN_BYTES, "{id} {format:?}: {} bytes of {text:?}", shown.len());
            }
        }
    }
}
