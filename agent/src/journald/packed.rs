//! Fields that journald packed, as it does with those longer than 512 bytes.

use std::fmt;
use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

/// How a field is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By xz, as systemd did up to 245 where lz4 was not built in. Not read here: its decoder would cost more than it is worth.
    Xz,
    /// By lz4: the length, then one block.
    Lz4,
    /// By zstd: one frame.
    Zstd,
}

/// Most bytes of a field packed by lz4, which can only be unpacked as a whole.
const MAX_LZ4_BYTES: usize = 1 << 20;

impl Packing {
    /// By the flags of a data object.
    pub fn of(flags: u8) -> Self {
        match flags & 0b111 {
            0 => Self::None,
            0b010 => Self::Lz4,
            0b100 => Self::Zstd,
            _ => Self::Xz,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "nothing",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The first bytes of a field, at most so many. Err: it can't be unpacked.
pub fn unpack(packing: Packing, stored: Vec<u8>, most: usize) -> Result<Vec<u8>, Packing> {
    let unpacked = match packing {
        Packing::None => Some(stored),
        Packing::Xz => None,
        Packing::Lz4 => lz4(&stored),
        Packing::Zstd => zstd(&stored, most),
    };
    let mut unpacked = unpacked.ok_or(packing)?;
    unpacked.truncate(most);
    Ok(unpacked)
}

fn lz4(stored: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = stored.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_LZ4_BYTES)?;
    lz4_flex::block::decompress(block, length).ok()
}

fn zstd(stored: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    StreamingDecoder::new(stored).ok()?.take(most as u64).read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}
