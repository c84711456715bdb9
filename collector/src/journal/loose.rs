//! One segment in memory: a journal that is carried elsewhere, as capsules do. Nothing of it is mended: what is not whole
//! is refused.

use super::frame::{Entry, SegmentHeader, encode, scan};
use super::segments::segment_name;

/// Index of the first record.
const FIRST: u64 = 1;
/// What its checksums begin with. It need not be random: a damaged segment is not searched for records that are good.
const SALT: u64 = 0;

/// The name under which a folder's journal has such a segment.
pub fn name() -> String {
    segment_name(FIRST)
}

/// A segment of these records, each with its time; no payload is above [`super::MAX_PAYLOAD`].
pub fn pack<'a>(records: impl IntoIterator<Item = (i64, &'a [u8])>) -> Vec<u8> {
    let mut bytes = SegmentHeader { first: FIRST, salt: SALT }.encode().to_vec();
    for (index, (at_us, payload)) in (FIRST..).zip(records) {
        encode(SALT, index, at_us, payload, &mut bytes);
    }
    bytes
}

/// Shows every record of a segment in order; gives how many there are, or what is wrong with it.
pub fn unpack(bytes: &[u8], visit: &mut dyn FnMut(Entry<'_>)) -> Result<u64, String> {
    let Some((header, true)) = SegmentHeader::decode(bytes) else {
        return Err("the journal's header is damaged or of another version".to_owned());
    };
    let mut records = 0;
    let found = scan(bytes, header, 0, |entry| {
        records += 1;
        visit(entry);
    });
    let damaged = found.bad.first().map(|bad| bad.offset);
    match damaged.or((found.valid_len < bytes.len()).then_some(found.valid_len)) {
        Some(offset) => Err(format!("the journal is damaged at offset {offset}")),
        None => Ok(records),
    }
}
