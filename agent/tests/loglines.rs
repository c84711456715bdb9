//! Every labelled log line of the corpus through the readers: the share read right per gateway must not fall.

#![allow(clippy::unwrap_used)] // a test says by panicking that it failed

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use why502_agent::gateway::{self, Kind, Line, Log, Zone};

/// A labelled line.
#[derive(Clone)]
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
        raw: text("raw_b64")
            .map_or_else(|| text("raw").unwrap_or_default().into_bytes(), |coded| STANDARD.decode(coded).unwrap()),
        status: line["status"].as_u64(),
        upstream: text("upstream"),
        signal: text("signal")?,
    })
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

/// What collectors of logs put before a line.
const FRAMES: [&str; 11] = [
    "2026-11-22T06:43:09.123456789Z stderr F ",
    "[pod/gw-7d9f4-x2z/proxy] ",
    "gw-7d9f4-x2z proxy ",
    "gw-1  | ",
    "\u{1b}[36mgw-1  |\u{1b}[0m ",
    "Nov 22 06:43:09 lb-1 gateway[42]: ",
    "2026-11-22T06:43:09+0200 lb-1 gateway[42]: ",
    "Sun 2026-11-22 06:43:09 CET lb-1 gateway[42]: ",
    "<134>Nov 22 06:43:09 lb-1 gateway[42]: ",
    "<134>1 2026-11-22T06:43:09Z lb-1 gateway 42 - - ",
    "\u{feff}",
];

/// A line in one of the frames, or as Docker's json-file driver keeps it.
fn framed(frame: usize, raw: &[u8]) -> Vec<u8> {
    match (FRAMES.get(frame), std::str::from_utf8(raw)) {
        (Some(before), _) => [before.as_bytes(), raw].concat(),
        (None, Ok(text)) => format!(r#"{{"log":{},"stream":"stderr"}}"#, Value::from(format!("{text}\n"))).into_bytes(),
        (None, Err(_)) => raw.to_vec(),
    }
}

#[test]
fn labelled_lines_are_read_alike_in_the_frames_of_collectors() {
    let mut other = Vec::new();
    for line in [SEEN, COMPOSED, PROVOKED].into_iter().flat_map(corpus) {
        // Lines that are in an object already, and those that only their own beginning marks.
        if line.raw.starts_with(b"{\"log\"") || line.raw.starts_with(b"{\"version\"") || line.signal == "continuation" {
            continue;
        }
        let wanted = read(&line);
        for frame in (0..3).map(|at| (line.number + 5 * at) % (FRAMES.len() + 1)) {
            let framed = Labelled { raw: framed(frame, &line.raw), ..line.clone() };
            let found = read(&framed);
            if found != wanted {
                other.push(format!("{found:?} for {wanted:?}: {}", framed.raw.escape_ascii()));
            }
        }
    }
    assert!(other.is_empty(), "{} lines: {other:#?}", other.len());
}
