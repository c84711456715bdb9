//! Every labelled log line of the corpus through the readers: the share read right per gateway must not fall.

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

fn corpus() -> Vec<Labelled> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/loglines.jsonl")).unwrap();
    text.lines().enumerate().filter_map(|(at, line)| labelled(at + 1, &serde_json::from_str(line).unwrap())).collect()
}

/// None: of a gateway that is no kind (Squid, lighttpd, Heroku, ...).
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
    if status != line.status && !(line.status.is_none() || line.kind == Kind::Caddy) {
        faults.push(format!("status {status:?} for {:?}", line.status));
    }
    let wanted = line.upstream.as_deref().map(|list| list.rsplit(", ").next().unwrap_or(list));
    if upstream.as_deref() != wanted {
        faults.push(format!("upstream {upstream:?} for {wanted:?}"));
    }
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Lines read otherwise than labelled, at most, per gateway.
const MOST_FAULTS: &[(&str, usize)] = &[
    ("nginx", 0),
    ("nginx-stream", 0),
    ("ingress-nginx", 0),
    // Line 259: its own `%[bc_err_str]` says "SSL handshake failure", which is more than the label's connect_failed.
    ("haproxy", 1),
    ("envoy", 0),
    ("istio-envoy", 0),
    // Line 489: the message names the worker that is disabled, the label names none.
    ("apache", 1),
    ("caddy", 0),
    ("traefik", 0),
    ("varnish", 0),
    ("aws-alb", 0),
    ("aws-clb", 0),
    ("gcp-lb", 0),
    ("azure-appgw", 0),
    ("cloudflare", 0),
];

#[test]
fn labelled_lines_are_read_right() {
    let mut shares: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for line in corpus() {
        let share = shares.entry(line.gateway.clone()).or_default();
        share.0 += 1;
        if let Some(fault) = fault(&line) {
            let raw: String = String::from_utf8_lossy(&line.raw).chars().take(200).collect();
            share.1.push(format!("  line {}: {fault}\n    {}", line.number, raw.escape_debug()));
        }
    }
    let mut worse = Vec::new();
    for (gateway, (lines, faults)) in &shares {
        println!("{gateway}: {} of {lines} right", lines - faults.len());
        faults.iter().for_each(|fault| println!("{fault}"));
        let most = MOST_FAULTS.iter().find(|(name, _)| name == gateway).map(|(_, most)| *most);
        if most.is_some_and(|most| faults.len() > most) {
            worse.push(format!("{gateway}: {} faults, {most:?} were known", faults.len()));
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}
