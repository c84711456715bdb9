//! Messages of a syslog stream, RFC 6587: `LENGTH <PRI>...` by octet count, everything else by line. Pure.

use crate::tail::MAX_LINE_BYTES;

/// Most digits of an octet count.
const COUNT_DIGITS: usize = 7;

/// Cuts a stream into messages. It holds at most one of them, and that cut at 64 KiB.
#[derive(Debug, Default)]
pub struct Deframer {
    held: Vec<u8>,
    rest: Rest,
}

/// What is passed over: the rest of a message that was handed on cut.
#[derive(Debug, Default, PartialEq)]
enum Rest {
    #[default]
    None,
    Bytes(usize),
    Line,
}

/// How a message begins that is held.
enum Begin {
    /// Too little is there to tell.
    Unknown,
    Line,
    /// Behind so many bytes stands a message so long.
    Counted(usize, usize),
}

impl Deframer {
    /// Takes what came in and hands on the messages that it completes. One longer than 64 KiB is handed on one byte longer
    /// than that, so that it shows.
    pub fn feed(&mut self, mut bytes: &[u8], messages: &mut dyn FnMut(&[u8])) {
        while !bytes.is_empty() {
            bytes = match self.rest {
                Rest::None => self.hold(bytes, messages),
                Rest::Bytes(left) => {
                    let passed = left.min(bytes.len());
                    self.rest = if passed == left { Rest::None } else { Rest::Bytes(left - passed) };
                    &bytes[passed..]
                }
                Rest::Line => match memchr::memchr(b'\n', bytes) {
                    Some(end) => {
                        self.rest = Rest::None;
                        &bytes[end + 1..]
                    }
                    None => &[],
                },
            };
        }
    }

    /// A message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        !self.held.is_empty() || self.rest != Rest::None
    }

    /// The stream ended: what stands there without its end is a line.
    pub fn finish(&mut self, messages: &mut dyn FnMut(&[u8])) {
        if !self.held.is_empty() && self.rest == Rest::None {
            messages(&self.held);
        }
        self.held.clear();
    }

    /// Adds to the message that is held; returns what is left for the next one.
    fn hold<'b>(&mut self, bytes: &'b [u8], messages: &mut dyn FnMut(&[u8])) -> &'b [u8] {
        match begin(&self.held) {
            Begin::Unknown => {
                self.held.extend_from_slice(&bytes[..1]);
                // A message may end with this very byte.
                match begin(&self.held) {
                    Begin::Line if bytes[0] == b'\n' => self.end_line(messages),
                    Begin::Counted(head, 1) => {
                        messages(&self.held[head..]);
                        self.held.clear();
                    }
                    _ => {}
                }
                &bytes[1..]
            }
            Begin::Line => {
                let end = memchr::memchr(b'\n', bytes);
                let text = &bytes[..end.unwrap_or(bytes.len())];
                let room = (MAX_LINE_BYTES + 1).saturating_sub(self.held.len());
                self.held.extend_from_slice(&text[..text.len().min(room)]);
                if let Some(end) = end {
                    self.held.push(b'\n');
                    self.end_line(messages);
                    return &bytes[end + 1..];
                }
                if text.len() > room {
                    messages(&self.held);
                    self.held.clear();
                    self.rest = Rest::Line;
                }
                &[]
            }
            Begin::Counted(head, length) => {
                let kept = length.min(MAX_LINE_BYTES + 1);
                let wanted = (head + kept - self.held.len()).min(bytes.len());
                self.held.extend_from_slice(&bytes[..wanted]);
                if self.held.len() == head + kept {
                    messages(&self.held[head..]);
                    self.held.clear();
                    self.rest = if length > kept { Rest::Bytes(length - kept) } else { Rest::None };
                }
                &bytes[wanted..]
            }
        }
    }

    fn end_line(&mut self, messages: &mut dyn FnMut(&[u8])) {
        let line = self.held.strip_suffix(b"\n").unwrap_or(&self.held);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            messages(line);
        }
        self.held.clear();
    }
}

/// A count is told from a line that begins with a number by the `<` of the message behind it.
fn begin(held: &[u8]) -> Begin {
    let digits = held.iter().take(COUNT_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > COUNT_DIGITS || held.first() == Some(&b'0') {
        return Begin::Line;
    }
    match held.get(digits..digits + 2) {
        _ if held.len() == digits => Begin::Unknown,
        None if digits > 0 && held[digits] == b' ' => Begin::Unknown,
        Some(b" <") if digits > 0 => {
            let length = std::str::from_utf8(&held[..digits]).ok().and_then(|count| count.parse().ok());
            Begin::Counted(digits + 1, length.unwrap_or(1))
        }
        _ => Begin::Line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a stream that arrives in pieces of this size.
    fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut deframer = Deframer::default();
        for bytes in stream.chunks(piece) {
            deframer.feed(bytes, &mut |message| found.push(message.to_vec()));
            assert!(deframer.held.len() <= MAX_LINE_BYTES + 16);
        }
        deframer.finish(&mut |message| found.push(message.to_vec()));
        found
    }

    #[test]
    fn both_framings_in_one_stream_and_in_pieces_of_any_size() {
        let stream = b"11 <134>a: b\nc<13>line one\r\n\n203.0.113.9 - - x\n42 answers\n6 <1>2 x<9>last";
        for piece in 1..=stream.len() {
            let found = messages(stream, piece);
            let found: Vec<_> = found.iter().map(|message| String::from_utf8_lossy(message)).collect();
            assert_eq!(
                found,
                ["<134>a: b\nc", "<13>line one", "203.0.113.9 - - x", "42 answers", "<1>2 x", "<9>last"],
                "{piece}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_message_is_whole() {
        let mut stream = vec![b'a'; 3 * MAX_LINE_BYTES];
        stream.extend_from_slice(b"\nshort\n200000 <");
        stream.extend(vec![b'b'; 199_999]);
        stream.extend_from_slice(b"5 <1>zz5 <1>yy");
        for piece in [1, 7, 4_096, stream.len()] {
            let found = messages(&stream, piece);
            let lengths: Vec<usize> = found.iter().map(Vec::len).collect();
            assert_eq!(lengths, [MAX_LINE_BYTES + 1, 5, MAX_LINE_BYTES + 1, 5, 5], "{piece}");
            assert_eq!(found[4], b"<1>yy");
        }
    }

    #[test]
    fn strange_counts_are_lines() {
        for stream in ["0 <a>\n", "12345678 <a>\n", "7\n", "12 x\n", "12  <\n"] {
            assert_eq!(messages(stream.as_bytes(), 1), [stream.trim_end().as_bytes()], "{stream}");
        }
    }
}
