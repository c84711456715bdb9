//! The kernel log as it grows. The lines of one kill for lack of memory become one record; other trouble becomes notes, each
//! kind at most [`NOTE_LIMIT`] times in [`NOTE_STRETCH`]. What the log held before opening is never told.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kernel::kmsg::{Kmsg, Next, OomChosen, Trouble, trouble};
use crate::sampler::Status;

/// Most records that are read at once, so that a flood does not hold up the rest.
const BURST_LIMIT: usize = 512;
/// Most notes of one kind in a stretch.
const NOTE_LIMIT: u32 = 10;
/// That stretch.
const NOTE_STRETCH: Duration = Duration::from_secs(10);
/// Most bytes of a note's line.
const LINE_BYTES: usize = 512;

/// What the log told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A process was killed for lack of memory. The id is that of the initial pid namespace.
    Killed {
        /// The victim.
        pid: u32,
        /// Its name.
        name: String,
        /// What it held, bytes.
        rss_bytes: u64,
        /// The group whose limit was reached. Empty: the machine ran out, or it is not told.
        oom_cgroup: String,
        /// The victim's group. Empty where not told.
        task_cgroup: String,
    },
    /// Other trouble.
    Note {
        /// Its kind.
        kind: &'static str,
        /// The line.
        line: String,
        /// The process that it names, 0: none.
        pid: u32,
        /// That process's name.
        name: String,
    },
}

/// Follows the log.
#[derive(Debug)]
pub struct KernelLog {
    kmsg: Option<Kmsg>,
    status: Status,
    chosen: OomChosen,
    notes: HashMap<&'static str, (Instant, u32)>,
}

impl KernelLog {
    /// Opens the log at its end.
    pub fn open(path: &Path) -> Self {
        let (kmsg, status) = match Kmsg::open(path) {
            Ok(kmsg) => (Some(kmsg), Status::Active),
            Err(error) => {
                (None, Status::Unavailable(format!("{error}; needs CAP_SYSLOG and, in a container, the device")))
            }
        };
        Self { kmsg, status, chosen: OomChosen::default(), notes: HashMap::new() }
    }

    /// How well it sees.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// It can be read at all.
    pub fn readable_at_all(&self) -> bool {
        self.kmsg.is_some()
    }

    /// A descriptor that is readable while there are unread records. None where the log can't be read.
    pub fn readable(&self) -> Option<OwnedFd> {
        self.kmsg.as_ref()?.readable().ok()
    }

    /// What came since the last call. True: there may be more.
    pub fn read(&mut self) -> (Vec<Told>, bool) {
        let mut told = Vec::new();
        for _ in 0..BURST_LIMIT {
            let Some(kmsg) = &mut self.kmsg else { return (told, false) };
            match kmsg.read() {
                Ok(Next::Line(line)) => told.extend(self.line(&line, Instant::now())),
                Ok(Next::Skipped) => {}
                Ok(Next::Empty) => return (told, false),
                Err(error) => {
                    self.status = Status::Failed(format!("the kernel log: {error}"));
                    self.kmsg = None;
                }
            }
        }
        (told, true)
    }

    /// One line of the kernel.
    fn line(&mut self, line: &str, now: Instant) -> Option<Told> {
        match trouble(line)? {
            Trouble::OomChosen(chosen) => {
                self.chosen = chosen;
                None
            }
            Trouble::OomKilled(killed) => {
                // Where a whole group is killed, the other victims' lines follow the chosen one's.
                let chosen = self.chosen.clone();
                Some(Told::Killed {
                    pid: killed.pid,
                    name: killed.name,
                    rss_bytes: killed.rss_bytes,
                    oom_cgroup: chosen.oom_cgroup,
                    task_cgroup: if chosen.pid == killed.pid { chosen.task_cgroup } else { String::new() },
                })
            }
            Trouble::Note { kind, pid, name } => {
                let (since, count) = self.notes.entry(kind).or_insert((now, 0));
                if now.duration_since(*since) >= NOTE_STRETCH {
                    (*since, *count) = (now, 0);
                }
                *count += 1;
                (*count <= NOTE_LIMIT).then(|| Told::Note {
                    kind,
                    line: crate::mask::line(line.as_bytes(), LINE_BYTES),
                    pid,
                    name,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    fn log() -> KernelLog {
        KernelLog { kmsg: None, status: Status::Active, chosen: OomChosen::default(), notes: HashMap::new() }
    }

    #[test]
    fn joins_the_lines_of_a_kill() {
        let mut log = log();
        let text = include_str!("../../fixtures/kernel/6.18/kmsg_oom_memcg");
        let told: Vec<Told> = text.lines().filter_map(|line| log.line(line, Instant::now())).collect();
        let expected = Told::Killed {
            pid: 4242,
            name: "node".into(),
            rss_bytes: 525_200 * 1024,
            oom_cgroup: "/lab/app".into(),
            task_cgroup: "/lab/app/inner".into(),
        };
        assert_eq!(told, [expected]);
    }

    #[test]
    fn a_flood_of_one_kind_is_cut_and_comes_back() {
        let (mut log, start) = (log(), Instant::now());
        let full = "nf_conntrack: nf_conntrack: table full, dropping packet";
        let told = (0..100).filter_map(|_| log.line(full, start)).count();
        assert_eq!(told, NOTE_LIMIT as usize);
        assert!(log.line("a[1]: segfault at 0 ip 0", start).is_some(), "another kind is told");
        assert!(log.line(full, start + NOTE_STRETCH).is_some());
    }

    #[test]
    fn what_programs_write_and_what_was_there_is_not_told() {
        let path = Path::new("/dev/kmsg");
        let mut log = KernelLog::open(path);
        let Ok(mut device) = OpenOptions::new().write(true).open(path) else { return };
        if !log.readable_at_all() {
            return;
        }
        device.write_all(b"<3>nf_conntrack: nf_conntrack: table full, dropping packet (a test writes this)").unwrap();
        let (told, _) = log.read();
        assert!(!told.iter().any(|told| matches!(told, Told::Note { line, .. } if line.contains("a test writes"))));
    }
}
