//! A JSON object that was cut (by a terminal, a syslog limit, a full disk) is closed again behind its last whole member, so
//! that what it did tell can be read. Members before the cut are untouched: nothing is guessed.

/// Levels of nesting that are followed.
const MOST_LEVELS: usize = 32;

/// The object with its missing end. None: it is not cut, is too deep, or nothing whole is left.
pub(super) fn cut_object(line: &[u8]) -> Option<Vec<u8>> {
    let mut open: Vec<u8> = Vec::new();
    let mut whole: Option<(usize, Vec<u8>)> = None;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (true, _) => {}
            (false, b'{' | b'[') if open.len() == MOST_LEVELS => return None,
            (false, b'{') => open.push(b'}'),
            (false, b'[') => open.push(b']'),
            (false, b'}' | b']') if open.pop()? != *byte || open.is_empty() => return None,
            (false, b',') => whole = Some((at, open.clone())),
            _ => {}
        }
    }
    let (end, open) = whole?;
    let mut mended = line.get(..end)?.to_vec();
    mended.extend(open.iter().rev());
    Some(mended)
}

#[cfg(test)]
mod tests {
    use super::cut_object;

    fn mended(line: &str) -> Option<String> {
        cut_object(line.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn closes_behind_the_last_whole_member() {
        assert_eq!(
            mended(r#"{"a":1,"b":{"c":"x,}","d":"y","e"#).as_deref(),
            Some(r#"{"a":1,"b":{"c":"x,}","d":"y"}}"#)
        );
        assert_eq!(mended(r#"{"a":[1,{"b":"\",\"#).as_deref(), Some(r#"{"a":[1]}"#));
    }

    #[test]
    fn leaves_alone_what_is_not_cut() {
        for line in [r#"{"a":1}"#, r#"{"a":1,"a":2}"#, r#"{"a":1}}"#, "{", "x", &"{".repeat(5000)] {
            assert_eq!(mended(line), None, "{line}");
        }
    }
}
