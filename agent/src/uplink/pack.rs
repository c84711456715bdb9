//! Tells a report as its difference from an earlier one of the same stream: of a host at rest little but the times changes, and
//! names need not be said again. The difference is one of bytes, so that it is exact whatever a report holds and needs no care
//! when the schema grows; the collector undoes it before anything else sees the report. The base is the last report on the
//! stream that carried a host's readings, so that a report of events between two of these spoils nothing; a new stream begins
//! without one, and so with a whole report.

use prost::Message;
use why502_proto::v1;

/// The shortest run that is worth a step where it stands in line with what was copied before.
const MIN_IN_LINE: usize = 3;
/// The shortest run that is worth a step where it stands elsewhere.
const MIN_ELSEWHERE: usize = 6;
/// Bytes by which a run elsewhere is looked up.
const KEY_BYTES: usize = 4;
/// Places of the look-up table.
const PLACES: usize = 4096;
/// A longer report is no base: both sides keep it.
pub const MAX_BASE_BYTES: usize = 32 * 1024;

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Packer {
    base_seq: u64,
    base: Vec<u8>,
    /// Where in the base a key was seen last, one more than its place; 0: nowhere.
    places: Vec<u16>,
}

impl Packer {
    /// Packs the next report of the stream.
    pub fn pack(&mut self, report: &v1::Report) -> v1::PackedReport {
        let bytes = report.encode_to_vec();
        let packed = v1::PackedReport { base_seq: self.base_seq, steps: self.steps(&bytes) };
        if report.host.is_some() && bytes.len() <= MAX_BASE_BYTES {
            self.set_base(report.seq, bytes);
        }
        packed
    }

    fn set_base(&mut self, seq: u64, bytes: Vec<u8>) {
        (self.base_seq, self.base) = (seq, bytes);
        self.places.clear();
        self.places.resize(PLACES, 0);
        for (at, window) in self.base.windows(KEY_BYTES).enumerate() {
            if let Some(place) = self.places.get_mut(place(window)) {
                *place = u16::try_from(at + 1).unwrap_or(0);
            }
        }
    }

    /// Steps of: how many bytes are new, these; how many are copied; from where, as the difference from the place in line.
    fn steps(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() / 4);
        // Up to where all is told, and where the base goes on in line with that.
        let (mut told, mut line) = (0, 0);
        let mut at = 0;
        while at < bytes.len() {
            let in_line = line + (at - told);
            let Some((from, length)) = self.run(in_line, &bytes[at..]) else {
                at += 1;
                continue;
            };
            push_new(&mut out, &bytes[told..at]);
            push_number(&mut out, length as u64);
            push_number(&mut out, zigzag(from as i64 - in_line as i64));
            at += length;
            (told, line) = (at, from + length);
        }
        if told < bytes.len() {
            push_new(&mut out, &bytes[told..]);
        }
        out
    }

    /// A run of the base that these bytes begin with: where, and how long.
    fn run(&self, in_line: usize, bytes: &[u8]) -> Option<(usize, usize)> {
        let length = common(self.base.get(in_line..).unwrap_or_default(), bytes);
        if length >= MIN_IN_LINE {
            return Some((in_line, length));
        }
        let seen = *self.places.get(place(bytes.get(..KEY_BYTES)?))?;
        let from = usize::from(seen).checked_sub(1)?;
        let length = common(self.base.get(from..).unwrap_or_default(), bytes);
        (length >= MIN_ELSEWHERE).then_some((from, length))
    }
}

fn place(key: &[u8]) -> usize {
    let key = key.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    // Fibonacci hashing: the upper bits of the product are well mixed.
    (key.wrapping_mul(0x9e37_79b1) >> 20) as usize % PLACES
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn push_new(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// As protobuf writes it.
fn push_number(out: &mut Vec<u8>, number: u64) {
    prost::encoding::encode_varint(number, out);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seq: u64, cpu: f64, service: &str) -> v1::Report {
        let host = v1::HostSample {
            at_unix_us: 1_790_000_000_000_000 + seq as i64 * 1_000_003,
            cpu_busy_ratio: Some(cpu),
            mem_total_bytes: Some(16 << 30),
            uptime_us: seq * 1_000_003,
            ..Default::default()
        };
        let instance = |n: usize| v1::InstanceSample { service: format!("{service}-{n}"), ..Default::default() };
        v1::Report { seq, host: Some(host), instances: (0..20).map(instance).collect(), ..Default::default() }
    }

    #[test]
    fn what_stays_the_same_is_not_said_again() {
        let mut packer = Packer::default();
        let whole = packer.pack(&report(1, 0.25, "orders"));
        assert!(whole.base_seq == 0 && whole.steps.len() >= report(1, 0.25, "orders").encoded_len());
        let next = packer.pack(&report(2, 0.125, "orders"));
        assert!(next.base_seq == 1 && next.steps.len() < 60, "{} bytes", next.steps.len());
        let events = packer.pack(&v1::Report { seq: 3, at_unix_us: 5, ..Default::default() });
        assert_eq!(events.base_seq, 2);
        assert_eq!(packer.pack(&report(4, 0.5, "orders")).base_seq, 2, "events are no base");
        assert!(packer.pack(&report(5, 0.5, "a longer name")).steps.len() > 200);
    }
}
