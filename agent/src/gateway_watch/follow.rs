//! One log of a gateway: its tail, the reader of its lines, and what is told of both.

use std::path::PathBuf;
use std::time::Instant;

use why502_proto::v1;

use crate::budget;
use crate::gateway::{Line, Reader, Served};
use crate::sampler::{Mark, Status};
use crate::tail::{Position, Sight, Tail};

/// What a line tells.
pub enum Told<'a> {
    /// A request that its one attempt served: it is only counted.
    Served(Served<'a>),
    /// Anything.
    Line(Line),
}

/// A log that is followed and read.
pub struct Followed {
    tail: Tail,
    reader: Box<dyn Reader>,
    /// Why the log is not read in the format that was set.
    format_fault: Option<String>,
    told: Option<Status>,
    marked: Position,
}

impl Followed {
    /// Follows a log from where it was left.
    pub fn new(path: PathBuf, resume: Option<Position>, reader: Box<dyn Reader>, format_fault: Option<String>) -> Self {
        let marked = resume.clone().unwrap_or_default();
        Self { tail: Tail::new(path, resume), reader, format_fault, told: None, marked }
    }

    /// Reads on in another format.
    pub fn set_reader(&mut self, reader: Box<dyn Reader>, format_fault: Option<String>) {
        self.reader = reader;
        self.format_fault = format_fault;
    }

    /// Hands on the lines of at most one buffer. True: there may be more at once.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8], lines: &mut dyn FnMut(Told<'_>, &[u8])) -> bool {
        let reader = &mut self.reader;
        self.tail.poll(now, buffer, &mut |line| match reader.served(line) {
            Some(served) => lines(Told::Served(served), line),
            None => lines(Told::Line(reader.read(line)), line),
        })
    }

    /// Where reading stands.
    pub fn position(&self) -> Mark {
        Mark { log: self.tail.path().to_owned(), position: self.tail.position() }
    }

    /// The place up to which everything was told, if it is another one than before.
    pub fn mark(&mut self, mark: Mark) -> Option<Mark> {
        (!self.marked.is_same_place(&mark.position) && !mark.position.files.is_empty()).then(|| {
            self.marked = mark.position.clone();
            mark
        })
    }

    /// Its state, where that changed; `slow` tells that it grew faster than it was read lately.
    pub fn status(&mut self, slow: bool) -> Option<v1::SamplerStatus> {
        let lost = self.tail.counts().lost_files;
        let status = match (self.tail.sight(), &self.format_fault) {
            (Sight::Missing, _) => Status::Degraded("no such file yet; it is waited for".to_owned()),
            (Sight::Unreadable(why), _) => Status::Failed(why.clone()),
            (Sight::Following, Some(fault)) => Status::Degraded(format!("read as its default format: {fault}")),
            (Sight::Following, None) if lost > 0 => {
                Status::Degraded(format!("{lost} rotated files were gone or compressed before they were read"))
            }
            (Sight::Following, None) if slow => Status::Degraded(budget::SLOW.to_owned()),
            (Sight::Following, None) => Status::Active,
        };
        (self.told.as_ref() != Some(&status)).then(|| {
            let message = status.message(&format!("log:{}", self.tail.path().display()));
            self.told = Some(status);
            message
        })
    }
}
