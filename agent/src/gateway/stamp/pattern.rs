//! Times in a form that a gateway's own setting gives, in the manner of strftime(3).

use super::{Cursor, Stamp, Zone, days_us};

/// The parts of a time as they are found.
#[derive(Default)]
struct Parts {
    date: [i64; 3],
    clock: [i64; 3],
    fraction_us: i64,
    /// Digits of the fraction, up to six.
    fraction_digits: u32,
    offset_us: Option<i64>,
    unix_s: Option<i64>,
}

/// The time that a text is by a pattern (`%Y-%m-%dT%H:%M:%S.%3f`). None: it has another form, or the pattern has parts that
/// are not known here.
pub(in crate::gateway) fn patterned(text: &[u8], pattern: &str, zone: &Zone) -> Option<Stamp> {
    let (mut cursor, mut parts) = (Cursor(text), Parts { date: [1970, 1, 1], ..Parts::default() });
    read(&mut cursor, pattern, &mut parts)?;
    if !cursor.0.is_empty() {
        return None;
    }
    let precision_us = 1_000_000 / 10_u64.pow(parts.fraction_digits);
    let unix_us = match parts.unix_s {
        Some(seconds) => seconds.checked_mul(1_000_000)?.checked_add(parts.fraction_us)?,
        None => {
            let ([year, month, day], [hour, minute, second]) = (parts.date, parts.clock);
            let local_us =
                days_us(year, month, day)? + ((hour * 60 + minute) * 60 + second) * 1_000_000 + parts.fraction_us;
            parts.offset_us.map_or_else(|| zone.shift_us(local_us), |offset_us| local_us - offset_us)
        }
    };
    Some(Stamp { unix_us, precision_us })
}

fn read(cursor: &mut Cursor<'_>, pattern: &str, parts: &mut Parts) -> Option<()> {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            cursor.0 = cursor.0.strip_prefix(letter.encode_utf8(&mut [0; 4]).as_bytes())?;
            continue;
        }
        match letters.next()? {
            'Y' => parts.date[0] = cursor.digits(4, 4)?,
            'm' => parts.date[1] = cursor.digits(2, 2)?,
            'b' | 'h' => parts.date[1] = cursor.month()?,
            'd' => parts.date[2] = cursor.digits(2, 2)?,
            'e' => {
                let _ = cursor.byte(b' ');
                parts.date[2] = cursor.digits(1, 2)?;
            }
            'H' => parts.clock[0] = cursor.digits(2, 2).filter(|hour| *hour < 24)?,
            'M' => parts.clock[1] = cursor.digits(2, 2).filter(|minute| *minute < 60)?,
            'S' => parts.clock[2] = cursor.digits(2, 2).filter(|second| *second <= 60)?,
            'F' => read(cursor, "%Y-%m-%d", parts)?,
            'T' => read(cursor, "%H:%M:%S", parts)?,
            's' => parts.unix_s = Some(cursor.digits(1, 11)?),
            'f' => fraction(cursor, 9, parts)?,
            digits @ '1'..='9' if letters.next()? == 'f' => {
                fraction(cursor, usize::try_from(digits.to_digit(10)?).ok()?, parts)?;
            }
            'a' => cursor.0 = cursor.0.get(3..)?,
            'z' => zone(cursor, parts)?,
            'Z' => {
                let name = cursor.0.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'+').count();
                if matches!(&cursor.0[..name], b"UTC" | b"GMT" | b"Z") {
                    parts.offset_us = Some(0);
                }
                cursor.0 = &cursor.0[name..];
            }
            '%' => cursor.byte(b'%')?,
            _ => return None,
        }
    }
    Some(())
}

fn fraction(cursor: &mut Cursor<'_>, digits: usize, parts: &mut Parts) -> Option<()> {
    let number = cursor.digits(digits, digits)?;
    let digits = u32::try_from(digits).ok()?;
    parts.fraction_digits = digits.min(6);
    parts.fraction_us = if digits > 6 { number / 10_i64.pow(digits - 6) } else { number * 10_i64.pow(6 - digits) };
    Some(())
}

fn zone(cursor: &mut Cursor<'_>, parts: &mut Parts) -> Option<()> {
    let (offset_us, rest) = cursor.clone().numeric_zone(false)?;
    parts.offset_us = Some(offset_us);
    *cursor = rest;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_say_where_the_parts_stand() {
        let sunday_us = 1_795_329_325_000_000;
        for (pattern, text, wanted) in [
            ("%d/%m/%YT%H:%M:%S%z %s", "22/11/2026T06:35:25+0000 1795329325", Some((sunday_us, 1_000_000))),
            ("%Y-%m-%dT%H:%M:%S.%3fZ", "2026-11-22T06:35:25.250Z", Some((sunday_us + 250_000, 1_000))),
            ("%F %T.%9f", "2026-11-22 06:35:25.250000999", Some((sunday_us + 250_000, 1))),
            ("%e/%b/%Y:%H:%M:%S %z", "22/Nov/2026:07:35:25 +0100", Some((sunday_us, 1_000_000))),
            ("%a %b %d %H:%M:%S %Y %Z", "Sun Nov 22 06:35:25 2026 UTC", Some((sunday_us, 1_000_000))),
            ("%s.%6f", "1795329325.250000", Some((sunday_us + 250_000, 1))),
            ("%Y", "202", None),
            ("%Y", "20261", None),
            ("%F %T", "2026-02-30 06:35:25", None),
            ("%q", "x", None),
        ] {
            let stamp = patterned(text.as_bytes(), pattern, &Zone::utc());
            assert_eq!(stamp.map(|stamp| (stamp.unix_us, stamp.precision_us)), wanted, "{pattern}: {text}");
        }
    }
}
