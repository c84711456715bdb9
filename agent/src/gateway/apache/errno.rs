//! The error number in front of a message of Apache's error log: `(111)Connection refused: `, `(EAI 3)Temporary failure in name
//! resolution: `, `(OS 10061)...: `. Numbers are errno(3)'s of the system at hand, those of APR from 20000 on
//! (`apr_errno.h`), or Windows' own.

use crate::gateway::Signal;

/// Words of strerror(3) with the number that they have on Linux: other systems number them in ways of their own (`(61)` and
/// `(146)` are both refused connections).
const WORDS: [(&str, &str); 9] = [
    ("Connection refused", "111"),
    ("Connection timed out", "110"),
    ("Operation timed out", "110"),
    ("Connection reset by peer", "104"),
    ("Broken pipe", "32"),
    ("No route to host", "113"),
    ("Network is unreachable", "101"),
    ("Permission denied", "13"),
    ("No such file or directory", "2"),
];

/// The number, as Linux has it where the words tell, and what follows.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (number, after) = text.strip_prefix('(')?.split_once(')')?;
    // Windows' numbers stand behind `OS `.
    let digits = ["EAI ", "OS "].iter().find_map(|kind| number.strip_prefix(kind)).unwrap_or(number);
    let digits = digits.trim_start_matches('-');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (words, rest) = after.split_once(": ")?;
    let known = WORDS.iter().find(|(known, _)| *known == words).map(|(_, number)| *number);
    Some((known.unwrap_or(number), rest))
}

/// How an exchange with an upstream ended; 20014 is a close without a reason.
pub(super) fn ending(number: Option<&str>, otherwise: Signal) -> Signal {
    match number {
        Some("104" | "32" | "54" | "OS 10054") => Signal::ResetBeforeHeaders,
        Some("20014" | "70014") => Signal::ClosedBeforeHeaders,
        Some("70007" | "110" | "60" | "OS 10060") => Signal::ReadTimeout,
        Some("24" | "23" | "12") => Signal::GatewayResource,
        _ => otherwise,
    }
}

/// How connecting to an upstream failed.
pub(super) fn connecting(number: Option<&str>) -> Signal {
    match number {
        Some("111" | "61" | "OS 10061") => Signal::ConnectRefused,
        Some("70007" | "110" | "60" | "OS 10060") => Signal::ConnectTimeout,
        Some("113" | "101" | "112" | "65" | "51" | "OS 10065" | "OS 10051") => Signal::ConnectUnreachable,
        Some("2") => Signal::SocketMissing,
        Some("13") => Signal::SocketPermission,
        Some("11") => Signal::SocketBacklogFull,
        Some("99") => Signal::LocalPortExhausted,
        Some("24" | "23" | "12") => Signal::GatewayResource,
        _ => Signal::ConnectFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_another_systems_number_means() {
        for (text, number) in [
            ("(111)Connection refused: AH00957", "111"),
            ("(146)Connection refused: proxy", "111"),
            ("(60)Operation timed out: proxy", "110"),
            ("(OS 10061)No connection could be made: AH00957", "OS 10061"),
            ("(EAI 3)Temporary failure in name resolution: AH00898", "EAI 3"),
            ("(-102)Unknown error -102: AH01095", "-102"),
        ] {
            assert_eq!(split(text).map(|(number, _)| number), Some(number), "{text}");
        }
        assert_eq!(split("(none)words: AH00957"), None);
        assert_eq!(connecting(Some("111")), Signal::ConnectRefused);
    }
}
