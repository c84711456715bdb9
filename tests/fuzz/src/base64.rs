//! Base64 of labelled lines that are no text.

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes that a text stands for; what is no digit is passed over.
pub fn decode(coded: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0usize, 0);
    for digit in coded.bytes().filter_map(|digit| DIGITS.iter().position(|known| *known == digit)) {
        bits = (bits << 6 | digit) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}
