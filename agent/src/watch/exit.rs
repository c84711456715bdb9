//! Processes that end. Each watched process has a process descriptor in one epoll set, whose own descriptor is readable while any
//! of them has ended. How it ended is told by the kernel's exit record (Linux 6.15 and later, once the parent has reaped it), for
//! a process that nobody has reaped yet by its wait status in /proc/PID/stat, where this user may read that; else not at all.
//! At most [`WATCH_LIMIT`] processes are watched so (fewer where descriptors are short); the rest is found gone at the next look.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};

use crate::kernel::pidfd::{self, End};
use crate::kernel::{process, read_text};
use crate::sampler::Status;

/// Most processes that are watched.
pub const WATCH_LIMIT: usize = 2048;

/// The set of watched processes.
#[derive(Debug)]
pub struct ExitWatch {
    proc: PathBuf,
    epoll: Epoll,
    watched: HashMap<u32, OwnedFd>,
    limit: usize,
    tells: bool,
    missing: Option<String>,
    root: bool,
}

/// What is known of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// How it ended.
    Ended(End),
    /// It ended and its parent has not reaped it; ask again shortly.
    NotYet,
    /// It ended, and how will never be told.
    Never,
}

impl ExitWatch {
    /// An empty set.
    pub fn new(proc: &Path) -> io::Result<Self> {
        let release = read_text(&proc.join("sys/kernel/osrelease")).unwrap_or_default();
        let descriptors =
            getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
        Ok(Self {
            proc: proc.to_owned(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watched: HashMap::new(),
            limit: WATCH_LIMIT.min(descriptors / 3),
            tells: pidfd::tells_exit_status(&release),
            missing: None,
            root: nix::unistd::geteuid().is_root(),
        })
    }

    /// A descriptor that is readable while a watched process has ended.
    pub fn readable(&self) -> io::Result<OwnedFd> {
        self.epoll.0.try_clone()
    }

    /// How well it sees.
    pub fn status(&self) -> Status {
        if let Some(why) = &self.missing {
            return Status::Unavailable(format!(
                "processes can't be watched for their end: {why}; pidfd_open needs Linux 5.3"
            ));
        }
        if !self.tells && !self.root {
            return Status::Degraded(
                "exit codes and signals of other users' processes are not known: needs Linux 6.15, or root".to_owned(),
            );
        }
        if !self.tells {
            return Status::Degraded(
                "the exit code is lost where a process is reaped at once: needs Linux 6.15".to_owned(),
            );
        }
        if self.watched.len() >= self.limit {
            return Status::Degraded(format!(
                "only {} processes are watched for their end; raise the agent's limit of open files",
                self.limit
            ));
        }
        Status::Active
    }

    /// Watches a process. False where it could not be, for want of the process or of room.
    pub fn watch(&mut self, pid: u32) -> bool {
        if self.watched.contains_key(&pid) {
            return true;
        }
        if self.watched.len() >= self.limit {
            return false;
        }
        let opened = pidfd::open(pid).and_then(|fd| {
            self.epoll.add(fd.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, u64::from(pid)))?;
            Ok(fd)
        });
        match opened {
            Ok(fd) => {
                self.missing = None;
                self.watched.insert(pid, fd);
                true
            }
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => false,
            Err(error) => {
                self.missing = Some(error.to_string());
                false
            }
        }
    }

    /// Whether the end of a process will be told.
    pub fn watches(&self, pid: u32) -> bool {
        self.watched.contains_key(&pid)
    }

    /// Processes that have ended since the last call; each is told once and stays known until it is forgotten.
    pub fn ended(&mut self) -> Vec<u32> {
        let mut events = [EpollEvent::empty(); 64];
        let mut ended = Vec::new();
        while let Ok(n @ 1..) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            for event in events.iter().take(n) {
                let Ok(pid) = u32::try_from(event.data()) else { continue };
                if let Some(fd) = self.watched.get(&pid) {
                    // A process that ended stays readable for ever.
                    let _gone = self.epoll.delete(fd.as_fd());
                    ended.push(pid);
                }
            }
        }
        ended
    }

    /// How a process ended.
    pub fn how(&self, pid: u32) -> Known {
        let Some(fd) = self.watched.get(&pid) else { return Known::Never };
        if self.tells
            && let Ok(Some(status)) = pidfd::exit_status(fd.as_fd())
        {
            return Known::Ended(End::from_wait_status(status));
        }
        match process::stat(&self.proc, pid) {
            // A status of 0 may also mean that this user may not know.
            Ok(stat) if matches!(stat.state, 'Z' | 'X') && (stat.wait_status != 0 || self.may_know(pid)) => {
                Known::Ended(End::from_wait_status(stat.wait_status))
            }
            Ok(stat) if matches!(stat.state, 'Z' | 'X') => Known::NotYet,
            // Reaped between the two looks: the record is there now, if this kernel has one.
            _ if self.tells => pidfd::exit_status(fd.as_fd())
                .ok()
                .flatten()
                .map_or(Known::Never, |s| Known::Ended(End::from_wait_status(s))),
            _ => Known::Never,
        }
    }

    /// ptrace(2) allows root and the same user to read the status.
    fn may_know(&self, pid: u32) -> bool {
        self.root || process::uid(&self.proc, pid) == Some(nix::unistd::geteuid().as_raw())
    }

    /// Lets go of a process.
    pub fn forget(&mut self, pid: u32) {
        if let Some(fd) = self.watched.remove(&pid) {
            // Not in the set any more where its end was told.
            let _gone = self.epoll.delete(fd.as_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::*;

    fn end_of(watch: &mut ExitWatch, child: &Child) -> Known {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !watch.ended().contains(&child.id()) {
            assert!(Instant::now() < deadline, "the end should be seen");
            std::thread::yield_now();
        }
        watch.how(child.id())
    }

    #[test]
    fn tells_how_before_and_after_reaping() {
        let mut watch = ExitWatch::new(Path::new("/proc")).unwrap();
        for (script, end) in
            [("exit 3", End::Code(3)), ("exit 0", End::Code(0)), ("kill -9 $$", End::Signal { number: 9, core: false })]
        {
            let mut child = Command::new("sh").args(["-c", &format!("sleep 0.05; {script}")]).spawn().unwrap();
            assert!(watch.watch(child.id()) && watch.watches(child.id()));
            assert_eq!(end_of(&mut watch, &child), Known::Ended(end), "{script}, a zombie");
            child.wait().unwrap();
            if watch.tells {
                assert_eq!(watch.how(child.id()), Known::Ended(end), "{script}, reaped");
            }
            assert!(watch.ended().is_empty(), "each end is told once");
            watch.forget(child.id());
            assert_eq!(watch.how(child.id()), Known::Never);
        }
    }

    #[test]
    fn refuses_what_is_gone() {
        let mut watch = ExitWatch::new(Path::new("/proc")).unwrap();
        assert!(!watch.watch(0x3fff_fff0));
        assert!(matches!(watch.status(), Status::Active | Status::Degraded(_)));
    }
}
