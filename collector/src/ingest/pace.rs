//! How long a message may be under way. An agent sends each as a whole; one that comes byte by byte keeps a stream, a buffer
//! and a place for as long as it likes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;

/// How long a message may be waited for from its first byte to its last.
const MESSAGE: Duration = Duration::from_secs(20);
/// What stands before each message, bytes: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Limits how long each message of a request may take.
pub fn paced(request: Request<Body>) -> Request<Body> {
    request.map(|body| Body::new(Paced { body, pace: Pace::default(), waits_since: None, alarm: None }))
}

struct Paced {
    body: Body,
    pace: Pace,
    /// Since when it waits for the agent: what this collector needs itself does not count.
    waits_since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Where in which message the bytes are.
#[derive(Default)]
struct Pace {
    prefix: [u8; PREFIX],
    have: usize,
    /// Bytes of the message that are to come.
    left: usize,
    /// How long the message under way has been waited for.
    waited: Duration,
}

impl Pace {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = &bytes[passed..];
            if passed == 0 {
                let taken = (PREFIX - self.have).min(bytes.len());
                self.prefix[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < PREFIX {
                    return;
                }
                let [_, length @ ..] = self.prefix;
                (self.have, self.left) = (0, u32::from_be_bytes(length) as usize);
            }
            if self.left == 0 {
                self.waited = Duration::ZERO;
            }
        }
    }

    /// A message is under way that is not whole.
    fn is_amid(&self) -> bool {
        self.have > 0 || self.left > 0
    }
}

impl Paced {
    /// Nothing is there: whether too much time went by so. Else this wakes when it is too much.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.pace.is_amid() {
            return false;
        }
        // An alarm that is set to this moment rings a little later, and would be set anew whenever it does.
        if self.pace.waited >= MESSAGE {
            return true;
        }
        let now = Instant::now();
        self.waits_since = Some(now);
        let until = now + MESSAGE.saturating_sub(self.pace.waited);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        alarm.as_mut().reset(until);
        alarm.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(since) = self.waits_since.take() {
            self.pace.waited += since.elapsed();
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending if self.is_late(cx) => {
                let why = format!("a message took longer than {} s to come", MESSAGE.as_secs());
                return Poll::Ready(Some(Err(Status::deadline_exceeded(why))));
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.pace.see(data);
                }
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which nothing comes.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn who_took_too_long_is_cut_off_at_the_first_look() {
        let mut message = Pace::default();
        message.see(&[0]);
        let mut paced = Paced { body: Body::new(Silent), pace: message, waits_since: None, alarm: None };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut paced).poll_frame(&mut cx).is_pending());
        paced.pace.waited = MESSAGE;
        let Poll::Ready(Some(Err(late))) = Pin::new(&mut paced).poll_frame(&mut cx) else { panic!("it waits on") };
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
    }

    #[test]
    fn a_message_is_under_way_from_its_first_byte_to_its_last() {
        let mut pace = Pace::default();
        let message = |len: usize| [&[0][..], &u32::try_from(len).unwrap().to_be_bytes(), &vec![9; len]].concat();
        let all = [message(0), message(3), message(300), message(0)].concat();
        for cut in 1..40 {
            all.chunks(cut).for_each(|piece| pace.see(piece));
            assert!(!pace.is_amid(), "in pieces of {cut}");
        }
        for byte in &message(10)[..14] {
            pace.see(&[*byte]);
            pace.waited += Duration::from_secs(1);
            assert!(pace.is_amid());
        }
        assert_eq!(pace.waited, Duration::from_secs(14));
        pace.see(&[9]);
        assert_eq!((pace.is_amid(), pace.waited), (false, Duration::ZERO));
    }
}
