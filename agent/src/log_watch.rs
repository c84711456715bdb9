//! Follows the logs of one application: its tail, the reader that finds lines of trouble, and the place up to which both
//! have told. Nothing else of an application's log leaves the host.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;

use crate::budget::Budget;
use crate::sampler::{Mark, Observed, Status, unix_now_us};
use crate::tail::{BUFFER_BYTES, Position, Positions, Sight, Tail};
use crate::watch::app_log::AppLog;

/// Between two looks where nothing new was found.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Between two places told.
const MARK_INTERVAL: Duration = Duration::from_secs(5);

/// One log of a service.
pub struct LogWatch {
    tail: Tail,
    reader: AppLog,
    told: Option<Status>,
    marked: Position,
    marked_at: Option<Instant>,
}

impl LogWatch {
    /// Takes a log up where it was left.
    pub fn new(service: &str, log: &Path, positions: &Positions) -> Self {
        let resume = positions.get(log);
        Self {
            marked: resume.clone().unwrap_or_default(),
            tail: Tail::new(log.to_owned(), resume),
            reader: AppLog::new(service, &log.to_string_lossy()),
            told: None,
            marked_at: None,
        }
    }

    /// Reads what is new and tells of it. True: there is more to read at once.
    fn round(&mut self, now: Instant, stopping: bool, buffer: &mut [u8], out: &mut Vec<Observed>) -> bool {
        let Self { tail, reader, .. } = self;
        let now_us = unix_now_us();
        let before = out.len();
        let more = tail.poll(now, buffer, &mut |line| out.extend(reader.line(line, now_us)));
        out.extend(reader.flush(now_us));
        let due =
            stopping || out.len() > before || self.marked_at.is_none_or(|at| now.duration_since(at) >= MARK_INTERVAL);
        let position = self.tail.position();
        if due && !position.files.is_empty() && !position.is_same_place(&self.marked) {
            (self.marked, self.marked_at) = (position.clone(), Some(now));
            out.push(Observed::Mark(Mark { log: self.tail.path().to_owned(), position }));
        }
        let status = match self.tail.sight() {
            Sight::Following => Status::Active,
            Sight::Missing => Status::Degraded("no such file yet; it is waited for".to_owned()),
            Sight::Unreadable(why) => Status::Failed(why.clone()),
        };
        if self.told.as_ref() != Some(&status) {
            out.push(Observed::Status(status.message(&format!("log:{}", self.tail.path().display()))));
            self.told = Some(status);
        }
        more
    }
}

/// Follows logs until told to stop.
pub async fn run(mut logs: Vec<LogWatch>, out: mpsc::Sender<Observed>, mut stop: Receiver<bool>, budget: Budget) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut told = Vec::new();
    loop {
        let stopping = *stop.borrow();
        let (mut more, mut rest) = (false, Duration::ZERO);
        for log in &mut logs {
            let (log_has_more, needs) = budget.spend(|| log.round(Instant::now(), stopping, &mut buffer, &mut told));
            (more, rest) = (more | log_has_more, rest.max(needs));
            for observed in told.drain(..) {
                if out.send(observed).await.is_err() {
                    return;
                }
            }
        }
        if more && (stopping || rest.is_zero()) {
            tokio::task::yield_now().await;
            continue;
        }
        if stopping {
            return;
        }
        let pause = if more { rest } else { rest.max(LOOK_INTERVAL) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use why502_proto::v1;

    use super::*;

    #[test]
    fn a_line_of_trouble_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let append = |text: &str| {
            OpenOptions::new().append(true).create(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("ERROR what stood there before\n");
        let mut watch = LogWatch::new("api", &path, &Positions::load(dir.path()).0);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut told = Vec::new();
        let now = Instant::now();
        while watch.round(now, false, &mut buffer, &mut told) {}
        append("INFO all is well\nERROR Too many open files\n");
        while watch.round(now, false, &mut buffer, &mut told) {}
        let kinds = told.iter().filter_map(|observed| match observed {
            Observed::Event(v1::Event { kind: Some(v1::event::Kind::LogMatch(found)), .. }) => {
                Some(found.kind.as_str())
            }
            _ => None,
        });
        assert_eq!(kinds.collect::<Vec<_>>(), ["too_many_open_files"]);
        let end = std::fs::metadata(&path).unwrap().len();
        let Some(Observed::Mark(mark)) = told.last() else { panic!("{told:?}") };
        assert_eq!(mark.position.files[0].offset_bytes, end);
    }
}
