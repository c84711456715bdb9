//! DNS messages: one question out, the addresses of the answer in (RFC 1035, 4; RFC 3596). Pure, and bounded: a name's
//! pointers are skipped, never followed, for only the addresses matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Record types.
pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
/// Class of the internet.
const IN: u16 = 1;
/// Recursion is desired.
const WANT_RECURSION: u16 = 0x0100;
const IS_ANSWER: u16 = 0x8000;
const IS_CUT_OFF: u16 = 0x0200;
const HEADER_BYTES: usize = 12;
/// Longest name and label, bytes (RFC 1035, 2.3.4).
const NAME_LIMIT_BYTES: usize = 253;
const LABEL_LIMIT_BYTES: usize = 63;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The response code, 0: no error.
    pub(super) code: u8,
    /// The answer did not fit.
    pub(super) cut_off: bool,
    pub(super) addresses: Vec<IpAddr>,
}

/// A question for the addresses of a name. None: it is no name.
pub(super) fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    for word in [id, WANT_RECURSION, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    if name.is_empty() || name.len() > NAME_LIMIT_BYTES {
        return None;
    }
    for label in name.split('.') {
        let sound =
            !label.is_empty() && label.len() <= LABEL_LIMIT_BYTES && label.bytes().all(|b| b.is_ascii_graphic());
        let length = u8::try_from(label.len()).ok().filter(|_| sound)?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(IN.to_be_bytes());
    Some(message)
}

/// What a message answers to a question. None: it answers another one, or can't be read.
pub(super) fn answer(message: &[u8], query: &[u8], kind: u16) -> Option<Answer> {
    let flags = word(message, 2)?;
    if message.get(..2)? != query.get(..2)? || flags & IS_ANSWER == 0 {
        return None;
    }
    let question = query.get(HEADER_BYTES..)?;
    let asked = message.get(HEADER_BYTES..HEADER_BYTES + question.len());
    if word(message, 4)? != 1 || !asked.is_some_and(|asked| asked.eq_ignore_ascii_case(question)) {
        // A server that refuses may leave the question out.
        let bare = word(message, 4)? == 0 && flags & 0x000f != 0;
        return bare.then(|| Answer { code: (flags & 0x000f) as u8, cut_off: false, addresses: Vec::new() });
    }
    let mut addresses = Vec::new();
    let mut at = query.len();
    for _ in 0..word(message, 6)? {
        let Some((found, data, next)) = record(message, at) else { break };
        if found == kind {
            addresses.extend(address(data));
        }
        at = next;
    }
    Some(Answer { code: (flags & 0x000f) as u8, cut_off: flags & IS_CUT_OFF != 0, addresses })
}

/// A record's type, its data, and where the next one begins.
fn record(message: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let at = skip_name(message, at)?;
    let data = at + 10;
    let end = data + usize::from(word(message, at + 8)?);
    Some((word(message, at)?, message.get(data..end)?, end))
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// A response code's name (RFC 1035, 4.1.1).
pub(super) fn code(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("error {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's answer to a query: the question again, then records whose name points at it.
    fn reply(query: &[u8], flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            message.extend([0xc0, 0x0c]);
            message.extend(kind.to_be_bytes());
            message.extend(IN.to_be_bytes());
            message.extend(60u32.to_be_bytes());
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn addresses_are_read_past_an_alias() {
        let query = query(7, "api.example", A).unwrap();
        let message = reply(&query, 0x8180, &[(5, b"\x03app\xc0\x10"), (A, &[10, 0, 0, 2]), (A, &[10, 0, 0, 3])]);
        let answer = answer(&message, &query, A).unwrap();
        assert_eq!(answer.addresses, ["10.0.0.2".parse::<IpAddr>().unwrap(), "10.0.0.3".parse().unwrap()]);
        assert_eq!((answer.code, answer.cut_off), (0, false));
    }

    #[test]
    fn answers_to_another_question_are_none() {
        let asked = query(7, "api.example", A).unwrap();
        let other = query(8, "api.example", A).unwrap();
        assert_eq!(answer(&reply(&other, 0x8180, &[(A, &[10, 0, 0, 2])]), &asked, A), None);
        let other = query(7, "evil.exampl", A).unwrap();
        assert_eq!(answer(&reply(&other, 0x8180, &[(A, &[10, 0, 0, 2])]), &asked, A), None);
        assert_eq!(answer(&asked, &asked, A), None);
        assert_eq!(answer(&reply(&asked, 0x8183, &[]), &asked, A).unwrap().code, 3);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_makes_it_panic() {
        let asked = query(7, "api.example", AAAA).unwrap();
        let whole = reply(&asked, 0x8180, &[(AAAA, &[0; 16]), (5, b"\xc0\x0c")]);
        for end in 0..whole.len() {
            answer(&whole[..end], &asked, AAAA);
            for value in [0, 0x3f, 0xc0, 0xff] {
                let mut changed = whole.clone();
                changed[end] = value;
                answer(&changed, &asked, AAAA);
            }
        }
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "a b", &long, &"a.".repeat(130)] {
            assert_eq!(query(1, bad, A), None, "{bad}");
        }
    }
}
