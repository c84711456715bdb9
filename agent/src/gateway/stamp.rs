//! Time stamps of log lines. Each function reads one form from the start of a text and gives the stamp and what
//! follows it, or None where the text does not begin with a possible time: an impossible date is no stamp.

mod pattern;

use jiff::civil;
use jiff::tz::TimeZone;

use super::Stamp;
pub(super) use pattern::patterned;

/// A stamp and what follows it.
pub(super) type Stamped<'a> = Option<(Stamp, &'a [u8])>;

/// The time zone of the host that wrote a log, for stamps without one.
#[derive(Debug, Clone)]
pub struct Zone(Option<TimeZone>);

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(None)
    }

    /// From the bytes of a compiled zone file such as `/etc/localtime` (tzfile(5)). None: they are not one.
    pub fn from_tzif(bytes: &[u8]) -> Option<Self> {
        TimeZone::tzif("local", bytes).ok().map(|zone| Self(Some(zone)))
    }

    /// Unix microseconds of a local time given as if it were universal.
    fn shift_us(&self, local_us: i64) -> i64 {
        let Some(zone) = &self.0 else { return local_us };
        let shifted = civil::DateTime::from_parts(civil::date(1970, 1, 1), civil::time(0, 0, 0, 0))
            .checked_add(jiff::SignedDuration::from_micros(local_us))
            .ok()
            .and_then(|local| zone.to_ambiguous_timestamp(local).compatible().ok());
        shifted.map_or(local_us, |time| time.as_microsecond())
    }
}

/// `22/Nov/2026:06:35:22 +0000` of the common log format; `.mmm` may follow the seconds and the zone may be missing,
/// as HAProxy writes it.
pub(super) fn clf<'a>(text: &'a [u8], zone: &Zone) -> Stamped<'a> {
    let mut cursor = Cursor(text);
    let day = cursor.digits(1, 2)?;
    cursor.byte(b'/')?;
    let month = cursor.month()?;
    cursor.byte(b'/')?;
    let year = cursor.digits(4, 4)?;
    cursor.byte(b':')?;
    let clock = cursor.clock()?;
    let local_us = days_us(year, month, day)? + clock.us;
    let offset = cursor.clone().numeric_zone(true).map(|(offset_us, rest)| {
        cursor = rest;
        offset_us
    });
    if offset.is_none() && matches!(cursor.0, [b' ', b'+' | b'-', b'0'..=b'9', ..]) {
        return None;
    }
    Some(finish(local_us, offset, clock.precision_us, zone, cursor))
}

/// `2026/11/22 06:35:24` of nginx's error log, a local time.
pub(super) fn slashed<'a>(text: &'a [u8], zone: &Zone) -> Stamped<'a> {
    let mut cursor = Cursor(text);
    let year = cursor.digits(4, 4)?;
    cursor.byte(b'/')?;
    let month = cursor.digits(2, 2)?;
    cursor.byte(b'/')?;
    let day = cursor.digits(2, 2)?;
    cursor.byte(b' ')?;
    let clock = cursor.clock()?;
    let local_us = days_us(year, month, day)? + clock.us;
    Some(finish(local_us, None, clock.precision_us, zone, cursor))
}

/// `2026-11-22T06:35:25.123+00:00` (RFC 3339), also with a blank for the `T`, `+0000`, or no zone at all.
pub(super) fn rfc3339<'a>(text: &'a [u8], zone: &Zone) -> Stamped<'a> {
    let mut cursor = Cursor(text);
    let year = cursor.digits(4, 4)?;
    cursor.byte(b'-')?;
    let month = cursor.digits(2, 2)?;
    cursor.byte(b'-')?;
    let day = cursor.digits(2, 2)?;
    cursor.byte(b'T').or_else(|| cursor.byte(b' ')).or_else(|| cursor.byte(b't'))?;
    let clock = cursor.clock()?;
    let local_us = days_us(year, month, day)? + clock.us;
    if cursor.byte(b'Z').or_else(|| cursor.byte(b'z')).is_some() {
        return Some((Stamp { unix_us: local_us, precision_us: clock.precision_us }, cursor.0));
    }
    let offset = cursor.clone().numeric_zone(false).map(|(offset_us, rest)| {
        cursor = rest;
        offset_us
    });
    Some(finish(local_us, offset, clock.precision_us, zone, cursor))
}

/// `Sun Nov 22 06:43:09.123456 2026` of Apache's error log and asctime(3), a local time.
pub(super) fn asctime<'a>(text: &'a [u8], zone: &Zone) -> Stamped<'a> {
    let mut cursor = Cursor(text);
    if !cursor.0.get(..3)?.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    cursor.0 = &cursor.0[3..];
    cursor.byte(b' ')?;
    let (month, day, clock) = cursor.month_day_clock()?;
    cursor.byte(b' ')?;
    let year = cursor.digits(4, 4)?;
    let local_us = days_us(year, month, day)? + clock.us;
    Some(finish(local_us, None, clock.precision_us, zone, cursor))
}

/// Passes over `Nov 22 06:43:09` of RFC 3164. It tells no year, so it makes no stamp.
pub(super) fn skip_yearless(text: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor(text);
    cursor.month_day_clock()?;
    Some(cursor.0)
}

/// Seconds since 1970 with a fraction (`1795329325.250`), or the milliseconds, microseconds or nanoseconds that a
/// whole number of 13, 16 or 19 digits must be.
pub(super) fn unix(text: &[u8]) -> Stamped<'_> {
    let whole_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if whole_digits == 0 || whole_digits > 19 {
        return None;
    }
    let whole: i64 = std::str::from_utf8(&text[..whole_digits]).ok()?.parse().ok()?;
    let mut cursor = Cursor(&text[whole_digits..]);
    let stamp = |unix_us, precision_us| Some(Stamp { unix_us, precision_us });
    let stamp = match whole_digits {
        1..=11 => {
            let (fraction_us, precision_us) = cursor.fraction()?;
            stamp(whole.checked_mul(1_000_000)?.checked_add(fraction_us)?, precision_us)
        }
        12..=14 => {
            cursor.fraction()?;
            stamp(whole.checked_mul(1_000)?, 1_000)
        }
        15..=17 => stamp(whole, 1),
        _ => stamp(whole / 1_000, 1),
    };
    stamp.map(|stamp| (stamp, cursor.0))
}

/// The time that a whole text is, in whichever of these forms.
pub(super) fn whole(text: &[u8], zone: &Zone) -> Option<Stamp> {
    let to_the_end = |(stamp, rest): (Stamp, &[u8])| rest.is_empty().then_some(stamp);
    unix(text)
        .and_then(to_the_end)
        .or_else(|| clf(text, zone).and_then(to_the_end))
        .or_else(|| rfc3339(text, zone).and_then(to_the_end))
        .or_else(|| slashed(text, zone).and_then(to_the_end))
        .or_else(|| asctime(text, zone).and_then(to_the_end))
}

fn finish<'a>(
    local_us: i64,
    offset_us: Option<i64>,
    precision_us: u64,
    zone: &Zone,
    rest: Cursor<'a>,
) -> (Stamp, &'a [u8]) {
    let unix_us = offset_us.map_or_else(|| zone.shift_us(local_us), |offset_us| local_us - offset_us);
    (Stamp { unix_us, precision_us }, rest.0)
}

/// Microseconds from 1970 to a day of the Gregorian calendar, or None if there is no such day.
fn days_us(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + day_of_year;
    Some((days - 719_468) * 86_400_000_000)
}

/// A time of day.
struct Clock {
    us: i64,
    precision_us: u64,
}

/// Reads from the front of a text.
#[derive(Clone)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == wanted).then(|| self.0 = rest)
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn month(&mut self) -> Option<i64> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.0.get(..3)?;
        let index = NAMES.chunks(3).position(|month| month == name)?;
        self.0 = &self.0[3..];
        i64::try_from(index + 1).ok()
    }

    fn month_day_clock(&mut self) -> Option<(i64, i64, Clock)> {
        let month = self.month()?;
        self.byte(b' ')?;
        // A day below ten is padded with a blank.
        let _ = self.byte(b' ');
        let day = self.digits(1, 2)?;
        self.byte(b' ')?;
        Some((month, day, self.clock()?))
    }

    fn clock(&mut self) -> Option<Clock> {
        let hour = self.digits(2, 2)?;
        self.byte(b':')?;
        let minute = self.digits(2, 2)?;
        self.byte(b':')?;
        let second = self.digits(2, 2)?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (fraction_us, precision_us) = self.fraction()?;
        Some(Clock { us: ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction_us, precision_us })
    }

    /// `.123`, `,123` or nothing: microseconds and how fine they are.
    fn fraction(&mut self) -> Option<(i64, u64)> {
        let [b'.' | b',', b'0'..=b'9', ..] = self.0 else { return Some((0, 1_000_000)) };
        let digits = self.0[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (mut us, mut precision_us) = (0, 1_000_000);
        for digit in self.0[1..=digits].iter().take(6) {
            precision_us /= 10;
            us += i64::from(digit - b'0') * precision_us;
        }
        self.0 = &self.0[1 + digits..];
        Some((us, u64::try_from(precision_us).ok()?))
    }

    /// `+0100`, `-05:30`, after a blank if `spaced`: microseconds east of Greenwich.
    fn numeric_zone(mut self, spaced: bool) -> Option<(i64, Self)> {
        if spaced {
            self.byte(b' ')?;
        }
        let sign = match self.0.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hour = self.digits(2, 2)?;
        let _ = self.byte(b':');
        let minute = self.digits(2, 2)?;
        (hour < 24 && minute < 60).then_some((sign * (hour * 60 + minute) * 60_000_000, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUNDAY_US: i64 = 1_795_329_322_000_000; // 2026-11-22T06:35:22Z

    fn us(stamped: Stamped) -> Option<i64> {
        stamped.map(|(stamp, _)| stamp.unix_us)
    }

    #[test]
    fn all_forms_give_the_same_time() {
        let utc = Zone::utc();
        assert_eq!(us(clf(b"22/Nov/2026:06:35:22 +0000", &utc)), Some(SUNDAY_US));
        assert_eq!(us(clf(b"22/Nov/2026:01:05:22 -0530] rest", &utc)), Some(SUNDAY_US));
        assert_eq!(us(clf(b"22/Nov/2026:06:35:22.125] fe", &utc)), Some(SUNDAY_US + 125_000));
        assert_eq!(us(slashed(b"2026/11/22 06:35:22 [error]", &utc)), Some(SUNDAY_US));
        assert_eq!(us(rfc3339(b"2026-11-22T07:35:22+01:00", &utc)), Some(SUNDAY_US));
        assert_eq!(us(rfc3339(b"2026-11-22 06:35:22,5Z", &utc)), Some(SUNDAY_US + 500_000));
        assert_eq!(us(asctime(b"Sun Nov 22 06:35:22.000007 2026] [", &utc)), Some(SUNDAY_US + 7));
        assert_eq!(us(unix(b"1795329322.5")), Some(SUNDAY_US + 500_000));
        assert_eq!(us(unix(b"1795329322000")), Some(SUNDAY_US));
        assert_eq!(us(unix(b"1795329322000000000")), Some(SUNDAY_US));
    }

    #[test]
    fn what_follows_is_given_back() {
        let (stamp, rest) = rfc3339(b"2026-11-22T06:35:22.153022Z - haproxy", &Zone::utc()).unwrap();
        assert_eq!((stamp.precision_us, rest), (1, b" - haproxy".as_slice()));
        assert_eq!(skip_yearless(b"Nov  2 06:43:09 haproxy[1]:"), Some(b" haproxy[1]:".as_slice()));
    }

    #[test]
    fn impossible_times_are_none() {
        let utc = Zone::utc();
        assert!(clf(b"31/Feb/2026:25:61:61 +9999", &utc).is_none());
        assert!(clf(b"22/Nov/2026:06:35:22 +9999", &utc).is_none());
        assert!(slashed(b"2026/02/29 00:00:00", &utc).is_none());
        assert!(rfc3339(b"2026-13-01T00:00:00Z", &utc).is_none());
        assert!(unix(b"-").is_none() && unix(b"99999999999999999999").is_none());
    }

    #[test]
    fn stamps_without_a_zone_are_local() {
        // A compiled zone file of one fixed type: two hours east, no changes (version 1 of tzfile(5)).
        let mut file = b"TZif".to_vec();
        file.extend([0; 16]);
        for count in [0u32, 0, 0, 0, 1, 5] {
            file.extend(count.to_be_bytes());
        }
        file.extend(7200i32.to_be_bytes());
        file.extend([0, 0]);
        file.extend(b"EEET\0");
        let zone = Zone::from_tzif(&file).unwrap();
        assert_eq!(us(slashed(b"2026/11/22 08:35:22", &zone)), Some(SUNDAY_US));
        assert_eq!(us(clf(b"22/Nov/2026:06:35:22 +0000", &zone)), Some(SUNDAY_US));
        assert!(Zone::from_tzif(b"no zone file").is_none());
    }
}
