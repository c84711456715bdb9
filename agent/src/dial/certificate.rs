//! The two things of an X.509 certificate that explain a refusal: until when it holds and for which names (RFC 5280, 4.1).
//! A pure reader of DER; what it can't read is left out, for the TLS library has judged the certificate already.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Most names that are kept.
const MOST_NAMES: usize = 16;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// Its first valid moment, unix seconds. 0: not read.
    pub not_before_unix_s: i64,
    /// Its last valid moment, unix seconds. 0: not read.
    pub not_after_unix_s: i64,
    /// The names and addresses it is for, at most 16.
    pub names: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` of a TBSCertificate: its version.
const VERSION: u8 = 0xa0;
/// `[3]` of a TBSCertificate: its extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

impl Certificate {
    /// Reads one; None where it has not the form of one.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, mut rest, _) = element(certificate)?;
        if rest.first() == Some(&VERSION) {
            rest = element(rest)?.2;
        }
        let rest = skip(rest, INTEGER)?; // serial number
        let rest = skip(rest, SEQUENCE)?; // signature algorithm
        let rest = skip(rest, SEQUENCE)?; // issuer
        let (_, validity, rest) = element(rest)?;
        let (begin_tag, begin, after) = element(validity)?;
        let (end_tag, end, _) = element(after)?;
        Some(Self {
            not_before_unix_s: time(begin_tag, begin).unwrap_or(0),
            not_after_unix_s: time(end_tag, end).unwrap_or(0),
            names: names(rest).unwrap_or_default(),
        })
    }
}

/// A DER element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short if short < 0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn skip(der: &[u8], tag: u8) -> Option<&[u8]> {
    element(der).filter(|(found, _, _)| *found == tag).map(|(_, _, rest)| rest)
}

/// UTCTime "YYMMDDhhmmssZ" (years 1950 to 2049) or GeneralizedTime "YYYYMMDDhhmmssZ".
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let year = number(0, year_digits)?;
    let year = if tag == UTC_TIME { year + if year < 50 { 2000 } else { 1900 } } else { year };
    let two = |at: usize| i8::try_from(number(year_digits + at, year_digits + at + 2)?).ok();
    let civil = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

fn names(mut rest: &[u8]) -> Option<Vec<String>> {
    while let Some((tag, content, after)) = element(rest) {
        if tag == EXTENSIONS {
            let (_, mut extensions, _) = element(content)?;
            while let Some((_, extension, after)) = element(extensions) {
                if let Some(names) = alternative_names(extension) {
                    return Some(names);
                }
                extensions = after;
            }
        }
        rest = after;
    }
    None
}

fn alternative_names(extension: &[u8]) -> Option<Vec<String>> {
    let (tag, id, mut rest) = element(extension)?;
    if tag != OBJECT_ID || id != SUBJECT_ALT_NAME {
        return None;
    }
    while let Some((tag, content, after)) = element(rest) {
        rest = after;
        if tag != OCTETS {
            continue;
        }
        let (_, mut general, _) = element(content)?;
        let mut names = Vec::new();
        while let Some((tag, name, after)) = element(general).filter(|_| names.len() < MOST_NAMES) {
            names.extend(general_name(tag, name));
            general = after;
        }
        return Some(names);
    }
    None
}

fn general_name(tag: u8, name: &[u8]) -> Option<String> {
    match tag {
        DNS_NAME => Some(String::from_utf8_lossy(name.get(..253).unwrap_or(name)).into_owned()),
        IP_ADDRESS => match name.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(name).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(name).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}
