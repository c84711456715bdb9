//! Lines between the socket that they came by and the watch that reads them, oldest first and bounded by bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::tail::MAX_LINE_BYTES;

/// Most bytes of datagrams that wait, what is counted for each line included. Streams and pushes may take half of it.
const MAX_BYTES: usize = 4 << 20;
/// What is counted for a line beside its own bytes.
const LINE_BYTES: usize = 32;

/// What happened to lines and senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Datagrams that found no room.
    pub lost_lines: u64,
    /// Lines cut at 64 KiB.
    pub cut_lines: u64,
    /// Connections that were refused, because there were as many as may be, or cut for what they sent or did not send.
    pub cut_senders: u64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    counts: Counts,
    fault: Option<String>,
}

/// Shared by the socket's tasks and the watch, on one thread.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    state: Rc<RefCell<State>>,
    room: Rc<Notify>,
}

impl Inbox {
    /// Takes a message in. Without room it is left out and counted.
    pub fn offer(&self, line: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.bytes + line.len() > MAX_BYTES {
            state.counts.lost_lines += 1;
        } else {
            state.add(line);
        }
    }

    /// Takes a line in for which `room` was waited; nothing else may be waited for between the two.
    pub(super) fn put(&self, line: &[u8]) {
        self.state.borrow_mut().add(line);
    }

    /// Done once there is room for a bounded number of lines.
    pub(super) async fn room(&self) {
        loop {
            let taken = self.room.notified();
            if self.state.borrow().bytes < MAX_BYTES / 2 {
                return;
            }
            taken.await;
        }
    }

    /// Counts a sender that was refused or cut.
    pub(super) fn count_cut_sender(&self) {
        self.state.borrow_mut().counts.cut_senders += 1;
    }

    /// Says why nothing is heard, or that all is well.
    pub(super) fn set_fault(&self, fault: Option<String>) {
        self.state.borrow_mut().fault = fault;
    }

    /// Why nothing is heard. None: it is listened.
    pub fn fault(&self) -> Option<String> {
        self.state.borrow().fault.clone()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.state.borrow().counts
    }

    /// Hands on about so many bytes of lines. True: there are more.
    pub fn take(&self, mut budget_bytes: usize, lines: &mut dyn FnMut(&[u8])) -> bool {
        while budget_bytes > 0 {
            let Some(line) = self.state.borrow_mut().pop() else { break };
            budget_bytes = budget_bytes.saturating_sub(line.len() + LINE_BYTES);
            lines(&line);
        }
        self.room.notify_waiters();
        !self.state.borrow().lines.is_empty()
    }
}

impl State {
    fn add(&mut self, line: &[u8]) {
        let kept = &line[..line.len().min(MAX_LINE_BYTES)];
        self.counts.cut_lines += u64::from(kept.len() < line.len());
        self.bytes += kept.len() + LINE_BYTES;
        self.lines.push_back(kept.to_vec());
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len() + LINE_BYTES;
        Some(line)
    }
}
