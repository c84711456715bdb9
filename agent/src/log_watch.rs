//! Follows the logs of one application: its tails, the readers that find lines of trouble, and the places up to which both
//! have told. Nothing else of an application's log leaves the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;

use crate::budget::{self, Budget};
use crate::clock::unix_now_us;
use crate::config::Service;
use crate::sampler::{Observed, Status};
use crate::tail::{BUFFER_BYTES, Group, Positions, Sight};
use crate::watch::app_log::AppLog;
use crate::watch::role::RoleLog;

/// Between two looks where nothing new was found: a part of a second, so that these looks fall together with others.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two places told.
const MARK_INTERVAL: Duration = Duration::from_secs(5);

/// One log of a service, or the logs of a pattern.
pub struct LogWatch {
    service: String,
    logs: Group,
    /// By the path of the log.
    readers: BTreeMap<PathBuf, AppLog>,
    role: Option<RoleLog>,
    told: Option<Status>,
    marked_at: Option<Instant>,
}

impl LogWatch {
    /// Takes a log up where it was left.
    pub fn new(service: &Service, log: &Path, positions: &Positions, now: Instant) -> Self {
        let patterns = service.role.as_ref().filter(|role| role.gained.is_some() || role.lost.is_some());
        Self {
            service: service.name.clone(),
            logs: Group::new(log.to_owned(), positions, now),
            readers: BTreeMap::new(),
            role: patterns.map(|role| RoleLog::new(&service.name, role.gained.clone(), role.lost.clone())),
            told: None,
            marked_at: None,
        }
    }

    /// Reads what is new and tells of it. True: there is more to read at once.
    fn round(&mut self, now: Instant, stopping: bool, buffer: &mut [u8], out: &mut Vec<Observed>) -> bool {
        let Self { service, logs, readers, role, .. } = self;
        let now_us = unix_now_us();
        let before = out.len();
        let more = logs.poll(now, buffer, &mut |path, line| {
            if !readers.contains_key(path) {
                readers.insert(path.to_owned(), AppLog::new(service, &path.to_string_lossy()));
            }
            out.extend(readers.get_mut(path).into_iter().flat_map(|reader| reader.line(line, now_us)));
            out.extend(role.as_mut().and_then(|role| role.line(line, now_us)));
        });
        readers.values_mut().for_each(|reader| out.extend(reader.flush(now_us)));
        let due = stopping
            || self.logs.has_unmarked()
            || out.len() > before
            || self.marked_at.is_none_or(|at| now.duration_since(at) >= MARK_INTERVAL);
        if due {
            let marks = self.logs.mark(self.logs.positions());
            if !marks.is_empty() {
                self.marked_at = Some(now);
            }
            out.extend(marks.into_iter().map(Observed::Mark));
            let logs = &self.logs;
            self.readers.retain(|path, _| logs.sights().any(|(log, _)| log == path));
        }
        let status = self.status();
        if self.told.as_ref() != Some(&status) {
            out.push(Observed::Status(status.message(&format!("log:{}", self.logs.name().display()))));
            self.told = Some(status);
        }
        more
    }

    fn status(&self) -> Status {
        let mut sights = self.logs.sights().map(|(_, sight)| sight);
        if let Some(why) = sights.find_map(|sight| match sight {
            Sight::Unreadable(why) => Some(why),
            Sight::Following | Sight::Missing => None,
        }) {
            return Status::Failed(why.clone());
        }
        match self.logs.sights().any(|(_, sight)| *sight == Sight::Following) {
            true => Status::Active,
            false => Status::Degraded("no such file yet; it is waited for".to_owned()),
        }
    }
}

/// Follows logs until told to stop.
pub async fn run(mut logs: Vec<LogWatch>, out: mpsc::Sender<Vec<Observed>>, mut stop: Receiver<bool>, budget: Budget) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut told = Vec::new();
    loop {
        let stopping = *stop.borrow();
        let (mut more, mut rest) = (false, Duration::ZERO);
        for log in &mut logs {
            let (log_has_more, needs) = budget.spend(|| log.round(Instant::now(), stopping, &mut buffer, &mut told));
            (more, rest) = (more | log_has_more, rest.max(needs));
            // Whole, with its places: a report must not end between a line and the place behind it.
            if !told.is_empty() && out.send(std::mem::take(&mut told)).await.is_err() {
                return;
            }
        }
        if more && (stopping || rest.is_zero()) {
            tokio::task::yield_now().await;
            continue;
        }
        if stopping {
            return;
        }
        if !budget::rest(rest, (!more).then_some(LOOK_INTERVAL), &mut stop).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use why502_proto::v1;

    use super::*;
    use crate::config::{Matcher, Role};

    fn service() -> Service {
        let role = Role { gained: regex::bytes::Regex::new("became leader").ok(), ..Role::default() };
        let (listen, matcher, logs) = (vec![], Matcher::default(), vec![]);
        Service { name: "api".into(), listen, matcher, health: None, logs, role: Some(role) }
    }

    #[test]
    fn a_line_of_trouble_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let append = |text: &str| {
            OpenOptions::new().append(true).create(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("ERROR what stood there before\n");
        let mut watch = LogWatch::new(&service(), &path, &Positions::load(dir.path()).0, Instant::now());
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut told = Vec::new();
        let now = Instant::now();
        while watch.round(now, false, &mut buffer, &mut told) {}
        append("INFO all is well\nERROR Too many open files\nINFO became leader\n");
        while watch.round(now, false, &mut buffer, &mut told) {}
        let leads = |observed: &&Observed| matches!(observed, Observed::Event(v1::Event { kind: Some(v1::event::Kind::RoleChanged(change)), .. }) if change.leader);
        assert_eq!(told.iter().filter(leads).count(), 1, "{told:?}");
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
