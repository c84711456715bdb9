//! What holds of everything that reads a gateway's lines, whatever comes in. The fuzz targets hold it against what the fuzzer
//! makes up, the agent's tests against the seeds and against seeds that were spoilt.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use why502_agent::gateway::{self, Kind, Line, Log, Reader, Signal, Zone};
use why502_agent::listen::{Deframer, pushed_lines, unpack_gzip};
use why502_agent::tail::MAX_LINE_BYTES;

/// Labelled lines, one JSON object each.
const FIXTURES: [&str; 3] = [
    include_str!("../../../agent/fixtures/loglines.jsonl"),
    include_str!("../../../agent/fixtures/composed_lines.jsonl"),
    include_str!("../../../agent/fixtures/provoked_lines.jsonl"),
];
const LOGS: [Log; 3] = [Log::Access, Log::Error, Log::All];
/// What is made of a line may be so much longer, as `Debug` writes it: a list of upstreams becomes attempts with all their fields.
const SWELLING: usize = 256;
/// What is made of a line is no longer than this, however long the line is.
const MOST_SHOWN_BYTES: usize = 4 << 20;
/// Most bytes that a pushed body may unpack to.
const MOST_UNPACKED_BYTES: usize = 1 << 20;
/// A pushed body, packed by gzip.
const PACKED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xabVrMIO\x0dJ-.\xc8\xcf+N\x0d.I,)-V\xb2250\xd2Q\xf2/\xcaL\xcf\xccC\x972\xa8\xe5\x02\x00\xcf\xb2\xc7\xf34\x00\x00\x00";

/// A line of a gateway, with the format that it was written in.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The gateway's kind.
    pub kind: Kind,
    /// The gateway's own log-format setting. None: one that it ships with.
    pub format: Option<String>,
    /// The line.
    pub line: Vec<u8>,
}

impl Seed {
    fn read(labelled: &Value) -> Option<Self> {
        let id = match labelled["gateway"].as_str()? {
            "istio-envoy" => "istio".to_owned(),
            other => other.replace('-', "_"),
        };
        let line = match labelled["raw_b64"].as_str() {
            Some(coded) => STANDARD.decode(coded).ok()?,
            None => labelled["raw"].as_str()?.as_bytes().to_vec(),
        };
        Some(Self { kind: Kind::from_id(&id)?, format: labelled["format"].as_str().map(str::to_owned), line })
    }

    /// As the fuzz targets take it: the format, a line end, the line; without a format the line alone.
    pub fn input(&self) -> Vec<u8> {
        let format = self.format.iter().flat_map(|format| format.bytes().chain([b'\n']));
        format.chain(self.line.iter().copied()).collect()
    }
}

/// All lines of the fixtures.
pub fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let labelled = FIXTURES.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).ok());
        labelled.filter_map(|labelled| Seed::read(&labelled?)).collect()
    })
}

/// The inputs to begin from, of each target by its name.
pub fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let lines = seeds().iter().map(|seed| (seed.kind.id(), seed.input()));
    lines
        .chain(streams().map(|stream| ("syslog_stream", stream)))
        .chain(bodies().map(|body| ("http_push", body)))
        .collect()
}

/// Streams of ten lines, framed by octet count and by line in turn; the first byte is the size of the pieces it comes in.
pub fn streams() -> impl Iterator<Item = Vec<u8>> {
    seeds().chunks(10).enumerate().map(|(at, seeds)| {
        let mut stream = vec![at.to_le_bytes()[0]];
        for (number, seed) in seeds.iter().enumerate() {
            let message = [b"<134>nginx: ", seed.line.as_slice()].concat();
            if number % 2 == 0 {
                stream.extend(format!("{} ", message.len()).bytes().chain(message));
            } else {
                stream.extend(message.into_iter().chain([b'\n']));
            }
        }
        stream
    })
}

/// Bodies of ten objects, as lines and as an array, and a packed one.
pub fn bodies() -> impl Iterator<Item = Vec<u8>> {
    let objects: Vec<&[u8]> =
        seeds().iter().map(|seed| seed.line.as_slice()).filter(|line| line.starts_with(b"{")).collect();
    let bodies: Vec<Vec<u8>> = objects
        .chunks(10)
        .flat_map(|some| [some.join(b"\n".as_slice()), [b"[".as_slice(), &some.join(b",".as_slice()), b"]"].concat()])
        .chain([PACKED.to_vec()])
        .collect();
    bodies.into_iter()
}

/// Holds the target of a name to its promises over an input.
pub fn target(name: &str, input: &[u8]) {
    match (Kind::from_id(name), name) {
        (Some(kind), _) => reader(kind, input),
        (None, "syslog_stream") => syslog_stream(input),
        (None, _) => http_push(input),
    }
}

/// Holds a reader to its promises over an input as [`Seed::input`] makes it.
pub fn reader(kind: Kind, input: &[u8]) {
    let end = input.iter().rposition(|byte| *byte == b'\n');
    let format = end.map(|end| String::from_utf8_lossy(&input[..end]));
    read(kind, format.as_deref(), &input[end.map_or(0, |end| end + 1)..]);
}

/// Holds a reader to its promises over one line: it does not panic, what it makes of the line is bounded, a glance says what
/// the whole reading says, and the next line is read as if this one had not been there.
pub fn read(kind: Kind, format: Option<&str>, line: &[u8]) {
    for log in LOGS {
        let Ok(mut reader) = gateway::reader(kind, log, format, &Zone::utc()) else { return };
        a_glance_agrees(&mut *reader, line);
        let shown = format!("{:?}", reader.read(line)).len();
        let most = MOST_SHOWN_BYTES.min(4_096 + SWELLING * line.len());
        assert!(shown <= most, "{}: {shown} bytes of {}", kind.id(), excerpt(line));
        the_next_line_is_read(&mut *reader, kind, log, format, line);
    }
}

/// Holds a glance at a line against the whole reading of it. True: the line was told at a glance.
pub fn a_glance_agrees(reader: &mut dyn Reader, line: &[u8]) -> bool {
    let Some(served) = reader.served(line) else { return false };
    let (upstream, at, took_us) = (served.upstream.map(str::to_owned), served.at, served.took_us);
    let shown = excerpt(line);
    let Line::Record(record) = reader.read(line) else { panic!("a glance saw a record: {shown}") };
    assert_eq!((record.signal, record.at), (Signal::Ok, at), "{shown}");
    assert!(record.attempts.len() <= 1 && record.status.is_some_and(|status| status < 400), "{shown}");
    let attempt = record.attempts.first().cloned().unwrap_or_default();
    assert_eq!(attempt.upstream, upstream, "{shown}");
    if upstream.is_some() {
        assert_eq!(attempt.signal, Signal::Ok, "{shown}");
        assert!(attempt.status.is_none_or(|status| status < 400), "{shown}");
        assert_eq!(record.took_us(&attempt), took_us, "{shown}");
    }
    true
}

/// A line that begins with its own time or address belongs to nothing before it.
fn the_next_line_is_read(reader: &mut dyn Reader, kind: Kind, log: Log, format: Option<&str>, line: &[u8]) {
    let fits = |seed: &&Seed| seed.kind == kind && seed.format.as_deref() == format;
    let Some(next) = seeds().iter().find(fits) else { return };
    let Ok(mut fresh) = gateway::reader(kind, log, format, &Zone::utc()) else { return };
    assert_eq!(reader.read(&next.line), fresh.read(&next.line), "{} after {}", kind.id(), excerpt(line));
}

fn excerpt(line: &[u8]) -> String {
    line[..line.len().min(400)].escape_ascii().to_string()
}

/// Holds the framing of a syslog stream to its promises: whatever pieces it comes in, the same messages come out, none longer
/// than what shows that it was cut, and together no more than came in. The first byte is the size of the pieces.
pub fn syslog_stream(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    let whole = messages(stream, stream.len());
    assert_eq!(messages(stream, usize::from(*piece)), whole, "in pieces of {piece}: {}", excerpt(stream));
    assert!(whole.iter().all(|message| !message.is_empty() && message.len() <= MAX_LINE_BYTES + 1));
    assert!(whole.iter().map(Vec::len).sum::<usize>() <= stream.len());
    for message in whole {
        let program = gateway::syslog_program(&message);
        assert!(program.is_none_or(|program| !program.is_empty()), "{}", excerpt(&message));
    }
}

fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut deframer, mut found) = (Deframer::default(), Vec::new());
    for bytes in stream.chunks(piece.max(1)) {
        deframer.feed(bytes, &mut |message| found.push(message.to_vec()));
    }
    deframer.finish(&mut |message| found.push(message.to_vec()));
    found
}

/// Holds the reading of a pushed body to its promises: a packed one stays within its limit, and its lines are
/// together no more than the body.
pub fn http_push(input: &[u8]) {
    let unpacked = unpack_gzip(input, MOST_UNPACKED_BYTES);
    assert!(unpacked.as_ref().map_or(0, Vec::len) <= MOST_UNPACKED_BYTES);
    for body in [Some(input), unpacked.as_deref().ok()].into_iter().flatten() {
        let Some(lines) = pushed_lines(body) else { continue };
        assert!(lines.iter().all(|line| !line.is_empty()), "{}", excerpt(body));
        assert!(lines.iter().map(|line| line.len()).sum::<usize>() <= body.len(), "{}", excerpt(body));
    }
}
