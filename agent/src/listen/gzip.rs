//! Unpacks a gzip body (RFC 1952) up to a limit, so that a small one can't become a large one.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Bytes of a member's header without its options.
const HEADER_BYTES: usize = 10;
/// Checksum and length behind the data.
const TRAILER_BYTES: usize = 8;
/// Options of the header: a header checksum, further fields, a name, a comment.
const CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// Why a body could not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not gzip, or damaged.
    Damaged,
    /// It becomes longer than is taken.
    TooLong,
}

/// Unpacks one member, to at most so many bytes.
pub fn unpack(bytes: &[u8], limit_bytes: usize) -> Result<Vec<u8>, Fault> {
    use miniz_oxide::inflate::TINFLStatus::HasMoreOutput;
    let packed = packed(bytes).ok_or(Fault::Damaged)?;
    let (data, trailer) = packed.split_at(packed.len() - TRAILER_BYTES);
    let unpacked = decompress_to_vec_with_limit(data, limit_bytes)
        .map_err(|error| if error.status == HasMoreOutput { Fault::TooLong } else { Fault::Damaged })?;
    let told = trailer.first_chunk().map(|crc| u32::from_le_bytes(*crc));
    if told == Some(crc32fast::hash(&unpacked)) { Ok(unpacked) } else { Err(Fault::Damaged) }
}

/// What stands behind the header, data and trailer.
fn packed(bytes: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    if !header.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let options = header[3];
    if options & EXTRA != 0 {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        rest = rest.get(2 + length..)?;
    }
    for text in [NAME, COMMENT] {
        if options & text != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if options & CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    (rest.len() >= TRAILER_BYTES).then_some(rest)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gzip member with this data, a name in its header.
    pub fn pack(data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, NAME, 0, 0, 0, 0, 0, 3];
        bytes.extend_from_slice(b"log\0");
        bytes.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
        bytes.extend(crc32fast::hash(data).to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes
    }

    #[test]
    fn what_was_packed_is_unpacked_and_a_bomb_is_not() {
        let data = b"{\"a\":1}\n".repeat(100);
        assert_eq!(unpack(&pack(&data), 800), Ok(data.clone()));
        assert_eq!(unpack(&pack(&data), 799), Err(Fault::TooLong));
        assert_eq!(unpack(&pack(&vec![0; 64 << 20]), 1 << 20), Err(Fault::TooLong));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_of_the_data_is_noticed() {
        let data = b"the quick brown fox".repeat(3);
        let whole = pack(&data);
        for length in 0..whole.len() {
            assert!(unpack(&whole[..length], 1 << 10).is_err(), "{length}");
        }
        for bit in 14 * 8..(whole.len() - 4) * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack(&bytes, 1 << 10).is_ok_and(|got| got == data) || unpack(&bytes, 1 << 10).is_err(), "{bit}");
        }
    }
}
