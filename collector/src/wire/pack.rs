//! Undoes the packing of reports: a packed report is the difference from an earlier one of its stream. What comes out is a
//! report like any other, before anything else sees it: the journal holds whole reports only.

use prost::Message;
use why502_proto::v1;

use super::{Refused, Sent};

/// The largest report that may come out, bytes: as large as one that comes whole.
const REPORT_MAX: usize = 256 << 10;
/// The largest report that is kept as a base, bytes.
const BASE_MAX: usize = 32 << 10;

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Unpacker {
    base_seq: u64,
    base: Vec<u8>,
}

impl Unpacker {
    /// Unpacks the next report of the stream.
    pub fn unpack(&mut self, packed: &v1::PackedReport) -> Result<Sent, Refused> {
        if packed.base_seq != self.base_seq {
            let (wants, has) = (packed.base_seq, self.base_seq);
            return Err(Refused(format!("a report is packed against report {wants}, the last one kept is {has}")));
        }
        let bytes = unpack(&self.base, &packed.steps).ok_or_else(|| Refused("a packed report is broken".to_owned()))?;
        let report = v1::Report::decode(bytes.as_slice())
            .map_err(|fault| Refused(format!("a packed report is no report: {fault}")))?;
        if report.host.is_some() && bytes.len() <= BASE_MAX {
            self.base_seq = report.seq;
            self.base.clone_from(&bytes);
        }
        Ok(Sent { report, bytes })
    }
}

/// Follows the steps: so many new bytes, these; so many copied, from where, as the difference from the place in line.
fn unpack(base: &[u8], mut steps: &[u8]) -> Option<Vec<u8>> {
    // Nearly as large as the one before: it need not grow on the way.
    let mut out = Vec::with_capacity((base.len() + steps.len()).min(REPORT_MAX));
    let mut line = 0usize;
    while !steps.is_empty() {
        let new = usize::try_from(number(&mut steps)?).ok()?;
        let bytes = steps.get(..new).filter(|_| out.len() + new <= REPORT_MAX)?;
        out.extend_from_slice(bytes);
        steps = steps.get(new..)?;
        if steps.is_empty() {
            break;
        }
        let length = usize::try_from(number(&mut steps)?).ok()?;
        let from = line.checked_add(new)?.checked_add_signed(unzigzag(number(&mut steps)?))?;
        let end = from.checked_add(length)?;
        out.extend_from_slice(base.get(from..end).filter(|_| out.len() + length <= REPORT_MAX)?);
        line = end;
    }
    Some(out)
}

fn number(steps: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(steps).ok()
}

fn unzigzag(number: u64) -> isize {
    ((number >> 1) as i64 ^ -((number & 1) as i64)) as isize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_steps_and_refuses_broken_ones() {
        let base = b"one two three four";
        // "x", "two " from 4 (the place in line is 1: 3 ahead), then "y" and "three" in line but for the "y".
        let steps = [1, b'x', 4, 6, 1, b'y', 5, 1];
        assert_eq!(unpack(base, &steps).unwrap(), b"xtwo ythree");
        assert_eq!(unpack(base, &[]).unwrap(), b"");
        for broken in [
            &[5, b'x'][..],
            &[0, 19, 0],
            &[0, 1, 1],
            &[0, 1],
            &[0xff; 12],
            &[0, 2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(unpack(base, broken), None, "{broken:?}");
        }
    }

    #[test]
    fn little_can_not_become_more_than_a_report() {
        let base = vec![0; BASE_MAX];
        let copy = [0, 0x80, 0x80, 2, 0xff, 0xff, 3];
        let mut steps = vec![0, 0x80, 0x80, 2, 0];
        for _ in 0..7 {
            steps.extend_from_slice(&copy);
        }
        assert_eq!(unpack(&base, &steps).map(|bytes| bytes.len()), Some(REPORT_MAX));
        steps.extend_from_slice(&copy);
        assert_eq!(unpack(&base, &steps), None);
    }

    #[test]
    fn another_base_is_refused() {
        let packed = v1::PackedReport { base_seq: 7, steps: vec![] };
        assert!(Unpacker::default().unpack(&packed).unwrap_err().to_string().contains("against report 7"));
    }
}
