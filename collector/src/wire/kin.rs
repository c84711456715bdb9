//! Which records of the journal are alike: those of one host. Told by a glance at a record's bytes, for all of a
//! segment's are asked when it is packed, and by the host's name alone, for whoever looks for them afterwards. Packed segments are sorted by
//! it, so it never changes.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Fields of a journal's record that hold a host's: what an agent said first, a report, a stream's end.
const OF_HOSTS: std::ops::RangeInclusive<u32> = 2..=4;
/// The field of each of them that names the host.
const HOST: u32 = 1;

/// The kin of a record, by its bytes.
pub fn kin(record: &[u8]) -> u64 {
    let host = text_in(record, OF_HOSTS).and_then(|record| text_in(record, HOST..=HOST));
    hash(host.unwrap_or_default())
}

/// The kin of a host's records; of those that are nobody's alone where it has no name.
pub fn kin_of(host: &str) -> u64 {
    hash(host.as_bytes())
}

/// The bytes of the first of these fields.
fn text_in(mut message: &[u8], fields: std::ops::RangeInclusive<u32>) -> Option<&[u8]> {
    while !message.is_empty() {
        let (field, wire) = decode_key(&mut message).ok()?;
        if wire == WireType::LengthDelimited && fields.contains(&field) {
            let len = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            return message.get(..len);
        }
        skip_field(wire, field, &mut message, DecodeContext::default()).ok()?;
    }
    None
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use why502_proto::v1;

    use super::*;
    use crate::wire::{self, Numbering};

    #[test]
    fn a_record_is_of_the_kin_of_its_host() {
        let numbering = Numbering { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 7 };
        let report = wire::report(&numbering, v1::Report { seq: 1, ..Default::default() }).unwrap();
        let hello = wire::hello(v1::Hello { host: "app-1".to_owned(), ..Default::default() }).unwrap();
        for mut record in [report, hello, wire::stream_ended("app-1", "reset")] {
            record.stamp(1_700_000_000_000_000);
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(kin(&bytes), kin_of("app-1"));
        }
        let mut tick = Vec::new();
        wire::tick().encode(&mut tick);
        assert_eq!(kin(&tick), kin_of(""));
        assert_eq!(kin(b"\xff\xff"), kin_of(""));
        assert_eq!(kin_of("app-1"), 0xf674_32a4_5808_f146, "it stands in files");
    }
}
