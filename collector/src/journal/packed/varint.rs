//! Numbers of variable length, least significant seven bits first, always in the fewest bytes.

/// Appends a number.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Puts a number before what stands at `at` and after.
pub fn insert(out: &mut Vec<u8>, at: usize, number: u64) {
    if number <= 0x7f {
        return out.insert(at, number as u8);
    }
    let mut bytes = Vec::with_capacity(10);
    put(&mut bytes, number);
    out.splice(at..at, bytes);
}

/// Takes the number that the bytes begin with. None: they begin with none, or one in more bytes than it needs.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    match bytes.split_first() {
        // Nearly all of them.
        Some((byte, rest)) if *byte <= 0x7f => {
            *bytes = rest;
            Some(u64::from(*byte))
        }
        _ => take_long(bytes),
    }
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        number |= part << (7 * at);
        if byte & 0x80 == 0 {
            let is_shortest = (*byte != 0 || at == 0) && (at < 9 || *byte == 1);
            *bytes = &bytes[at + 1..];
            return is_shortest.then_some(number);
        }
    }
    None
}

/// A difference as a number that is small where the difference is, whatever its sign.
pub fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64 >> 63) as u64)
}

/// The difference again.
pub fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_way_to_be_written() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            let mut rest = bytes.as_slice();
            assert_eq!((take(&mut rest), rest.len()), (Some(number), 0));
            assert_eq!(unzigzag(zigzag(number)), number);
            let mut inserted = b"ab".to_vec();
            insert(&mut inserted, 1, number);
            assert_eq!(inserted, [b"a", bytes.as_slice(), b"b"].concat());
        }
        for bytes in [&[0x80, 0][..], &[0x80], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
        }
    }
}
