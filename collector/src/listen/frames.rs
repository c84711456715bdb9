//! What an HTTP/2 connection costs beside what it carries. Pings, settings, streams that are opened and reset, messages in
//! tiny pieces: each makes work and brings nothing, and the protocol allows any number of them. An agent needs a few a minute.

use tokio::time::Instant;

/// Such frames that may come at once.
const BURST: f64 = 2_000.0;
/// And so many a second for ever.
const PER_SECOND: f64 = 200.0;
/// A piece of a message that is no larger is one of them, bytes.
const TINY: usize = 16;
/// What a client sends before its first frame, bytes.
const PREFACE: usize = 24;
/// The head of a frame, bytes: three of length, kind, flags, stream.
const HEAD: usize = 9;
/// Kinds of frames: pieces of messages; the end of a stream by force; further pieces of a call's fields.
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
/// The flag of the last piece of a stream, which often has nothing in it.
const END_STREAM: u8 = 1;
/// What a stream's end by force, a further piece of fields, and an empty piece that is not the last count for: each undoes work
/// that was done for it, begs for more room, or is worth nothing at all. HTTP/2's own guards end such a connection a little
/// later, and tell nobody.
const DEAR: u32 = 50;

/// Counts the frames of one connection.
pub struct Frames {
    /// The head of the next one, as far as it has come.
    head: [u8; HEAD],
    have: usize,
    /// Bytes until it begins.
    skip: usize,
    /// What the costly ones add up to, less what time has made good.
    spent: f64,
    at: Instant,
}

impl Frames {
    /// None have come.
    pub fn new(now: Instant) -> Self {
        Self { head: [0; HEAD], have: 0, skip: PREFACE, spent: 0.0, at: now }
    }

    /// Looks at what came in. False: it is too much.
    pub fn bear(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let mut costly = 0_u32;
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                costly += self.next();
            }
        }
        costly == 0 || self.spend(f64::from(costly), now)
    }

    /// Begins a frame whose head is whole; what it counts for.
    fn next(&mut self) -> u32 {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.have = 0;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            RST_STREAM | CONTINUATION => DEAR,
            DATA if self.skip == 0 && flags & END_STREAM == 0 => DEAR,
            DATA if self.skip > TINY => 0,
            _ => 1,
        }
    }

    fn spend(&mut self, costly: f64, now: Instant) -> bool {
        let made_good = now.duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.at = now;
        self.spent = (self.spent - made_good).max(0.0) + costly;
        self.spent <= BURST
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let len = u32::try_from(payload).unwrap().to_be_bytes();
        [&len[1..], &[kind, 0, 0, 0, 0, 1], &vec![7; payload]].concat()
    }

    fn begun(now: Instant) -> Frames {
        let mut frames = Frames::new(now);
        assert!(frames.bear(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
        frames
    }

    #[test]
    fn messages_cost_nothing_and_floods_end() {
        let now = Instant::now();
        let (mut frames, message) = (begun(now), frame(DATA, 300));
        assert!((0..100_000).all(|_| frames.bear(&message, now)));
        let kinds = [
            (6, 8, 1),
            (4, 0, 1),
            (1, 40, 1),
            (DATA, 0, DEAR),
            (DATA, TINY, 1),
            (RST_STREAM, 4, DEAR),
            (CONTINUATION, 0, DEAR),
        ];
        for (kind, payload, costs) in kinds {
            let (mut frames, costly) = (begun(now), frame(kind, payload));
            let borne = (0..100_000).take_while(|_| frames.bear(&costly, now)).count();
            assert_eq!(borne, BURST as usize / costs as usize, "kind {kind}");
        }
    }

    #[test]
    fn what_comes_slowly_is_borne_however_it_is_cut() {
        let mut now = Instant::now();
        let (mut frames, pings) = (begun(now), frame(6, 8).repeat(100));
        for _ in 0..100 {
            assert!(pings.chunks(5).all(|piece| frames.bear(piece, now)));
            now += Duration::from_millis(500);
        }
        assert!(!frames.bear(&pings.repeat(21), now));
    }
}
