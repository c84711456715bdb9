//! The kernel log: records of /dev/kmsg and the lines that tell of trouble. Programs may write to the log too, but never as
//! facility 0, so only lines of that facility are believed; names of processes inside lines were chosen by the processes and
//! end where the kernel's own words go on. The log is the machine's: its process ids are those of the initial pid namespace.
//! Sources: Documentation/ABI/testing/dev-kmsg; mm/oom_kill.c; arch/x86/mm/fault.c; kernel/hung_task.c; net/ipv4/tcp_input.c.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Error, Result};

/// Most bytes of one record (CONSOLE_EXT_LOG_MAX in kernel/printk/printk.c is 8192).
const RECORD_BYTES: usize = 8192;

/// The log, read from what comes after opening.
#[derive(Debug)]
pub struct Kmsg {
    file: File,
}

/// One look for a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line that the kernel itself wrote.
    Line(String),
    /// A record that is none of the kernel's, or was overwritten before it was read.
    Skipped,
    /// Nothing more for now.
    Empty,
}

impl Kmsg {
    /// Opens the device at its end.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC).open(path);
        let mut file = file.map_err(|e| Error::io(path, &e))?;
        file.seek(SeekFrom::End(0)).map_err(|e| Error::io(path, &e))?;
        Ok(Self { file })
    }

    /// A second descriptor of the same open log, that is readable while there are unread records.
    pub fn readable(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// The next record; never waits.
    pub fn read(&mut self) -> io::Result<Next> {
        let mut record = [0u8; RECORD_BYTES];
        match self.file.read(&mut record) {
            Ok(0) => Ok(Next::Empty),
            Ok(n) => Ok(kernel_line(&String::from_utf8_lossy(record.get(..n).unwrap_or_default()))
                .map_or(Next::Skipped, Next::Line)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Next::Empty),
            // Records were overwritten; the next read goes on with the oldest one that is left.
            Err(e) if e.raw_os_error() == Some(nix::libc::EPIPE) => Ok(Next::Skipped),
            Err(e) => Err(e),
        }
    }
}

/// The text of a record "priority,sequence,microseconds,flags;text" whose facility (priority / 8) is the kernel's.
pub fn kernel_line(record: &str) -> Option<String> {
    let (prefix, text) = record.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    if priority >> 3 != 0 {
        return None;
    }
    // Further lines hold " KEY=value" pairs.
    text.lines().next().map(str::to_owned)
}

/// A line that tells of trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel chose a victim; what it is comes in a line of its own.
    OomChosen(OomChosen),
    /// It killed a process for lack of memory.
    OomKilled(OomKilled),
    /// Something else.
    Note {
        /// "segfault", "conntrack_full", "syn_flood", "io_error", "hung_task" or "link".
        kind: &'static str,
        /// The process that it names. 0: none.
        pid: u32,
        /// That process's name. Empty: none.
        name: String,
    },
}

/// "oom-kill:constraint=...".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OomChosen {
    /// The group whose limit was reached. Empty: the whole machine ran out.
    pub oom_cgroup: String,
    /// The victim's group.
    pub task_cgroup: String,
    /// The victim.
    pub pid: u32,
}

/// "... Killed process 12 (node) total-vm:...".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OomKilled {
    /// The victim.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What it held: anonymous, file and shared pages, bytes.
    pub rss_bytes: u64,
}

/// What a line of the kernel tells. None: nothing that matters here.
pub fn trouble(line: &str) -> Option<Trouble> {
    if let Some(rest) = line.strip_prefix("oom-kill:constraint=") {
        return Some(Trouble::OomChosen(parse_chosen(rest)));
    }
    if line.starts_with("Memory cgroup out of memory: Killed process ") || line.starts_with("Out of memory") {
        return parse_killed(line).map(Trouble::OomKilled);
    }
    if let Some((name, pid)) = fault(line) {
        return Some(Trouble::Note { kind: "segfault", pid, name });
    }
    if let Some((name, pid)) = hung(line) {
        return Some(Trouble::Note { kind: "hung_task", pid, name });
    }
    let kind = other_kind(line)?;
    Some(Trouble::Note { kind, pid: 0, name: String::new() })
}

fn parse_chosen(rest: &str) -> OomChosen {
    // The task's name comes after the groups and before pid and uid, so groups are searched from the left and ids from the right.
    let until_task = rest.find(",task=").map_or(rest, |at| &rest[..at]);
    let item =
        |name: &str| until_task.split_once(name).map(|(_, after)| after.split(',').next().unwrap_or("").to_owned());
    let pid = rest.rsplit_once(",pid=").and_then(|(_, after)| after.split(',').next()?.parse().ok());
    OomChosen {
        oom_cgroup: item(",oom_memcg=").unwrap_or_default(),
        task_cgroup: item(",task_memcg=").unwrap_or_default(),
        pid: pid.unwrap_or(0),
    }
}

fn parse_killed(line: &str) -> Option<OomKilled> {
    let (_, rest) = line.split_once("Killed process ")?;
    let (pid, rest) = rest.split_once(' ')?;
    // Kernels before 4.19 end the name with ") total-vm", later ones too; a comma follows it where the group is killed as a whole.
    let (name, sizes) = rest.rsplit_once(" total-vm:")?;
    let name = name.trim_end_matches(',').strip_prefix('(')?.strip_suffix(')')?;
    let kib = |item: &str| {
        sizes.split_once(item).and_then(|(_, after)| after.split("kB").next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let rss_bytes = (kib("anon-rss:") + kib("file-rss:") + kib("shmem-rss:")) * 1024;
    Some(OomKilled { pid: pid.trim_end_matches(',').parse().ok()?, name: name.to_owned(), rss_bytes })
}

/// "node[12]: segfault at 0 ip ...", "traps: node[12] general protection fault ip:...", "traps: node[12] trap invalid opcode ip:...".
fn fault(line: &str) -> Option<(String, u32)> {
    let line = line.strip_prefix("traps: ").unwrap_or(line);
    let words = [
        "]: segfault at ",
        "] general protection fault ip:",
        "] general protection ip:",
        "] trap ",
        ": unhandled page fault ",
    ];
    let end = words.iter().find_map(|words| line.find(words))?;
    let (name, pid) = line.get(..end)?.rsplit_once('[')?;
    (name.len() <= 15).then(|| Some((name.to_owned(), pid.trim_end_matches(']').parse().ok()?)))?
}

/// "INFO: task node:12 blocked for more than 120 seconds."
fn hung(line: &str) -> Option<(String, u32)> {
    let rest = line.strip_prefix("INFO: task ")?;
    let (task, _) = rest.rsplit_once(" blocked for more than ")?;
    let (name, pid) = task.rsplit_once(':')?;
    Some((name.to_owned(), pid.parse().ok()?))
}

fn other_kind(line: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|w| line.contains(w));
    if has(&["nf_conntrack: table full", "ip_conntrack: table full"]) {
        Some("conntrack_full")
    } else if has(&["Possible SYN flooding on port"]) {
        Some("syn_flood")
    } else if has(&["I/O error, dev ", "Buffer I/O error on dev", "EXT4-fs error", "XFS (", "critical medium error"])
        && has(&["rror"])
    {
        Some("io_error")
    } else if has(&["Link is Down", "Link is down", "link down", "NETDEV WATCHDOG"]) {
        Some("link")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believes_only_the_kernel() {
        assert_eq!(kernel_line("6,1,5,-;eth0: Link is Down\n SUBSYSTEM=net\n").as_deref(), Some("eth0: Link is Down"));
        assert_eq!(kernel_line("12,1,5,-;oom-kill:constraint=X\n"), None);
        assert_eq!(kernel_line("rubbish"), None);
    }

    #[test]
    fn reads_an_oom_kill_of_a_group() {
        let lines: Vec<_> =
            include_str!("../../fixtures/kernel/6.18/kmsg_oom_memcg").lines().filter_map(trouble).collect();
        let chosen = OomChosen { oom_cgroup: "/lab/app".into(), task_cgroup: "/lab/app/inner".into(), pid: 4242 };
        let killed = OomKilled { pid: 4242, name: "node".into(), rss_bytes: (524_000 + 1200) * 1024 };
        assert_eq!(lines, [Trouble::OomChosen(chosen), Trouble::OomKilled(killed)]);
    }

    #[test]
    fn reads_odd_names_and_older_wordings() {
        let chosen = trouble(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=9,pid=12,uid=0",
        );
        assert_eq!(
            chosen,
            Some(Trouble::OomChosen(OomChosen { oom_cgroup: String::new(), task_cgroup: "/a".into(), pid: 12 }))
        );
        let killed = |line: &str| match trouble(line) {
            Some(Trouble::OomKilled(killed)) => (killed.pid, killed.name, killed.rss_bytes),
            other => panic!("{other:?}"),
        };
        let line = "Out of memory: Killed process 12 (a) total-vm:1kB) total-vm:10kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0";
        assert_eq!(killed(line), (12, "a) total-vm:1kB".into(), 4096));
        let line = "Memory cgroup out of memory: Killed process 7 (ps) total-vm:10kB, anon-rss:1kB, file-rss:1kB, shmem-rss:1kB";
        assert_eq!(killed(line), (7, "ps".into(), 3072));
        assert_eq!(trouble("Out of memory: a program said so"), None);
    }

    #[test]
    fn reads_other_trouble() {
        let note = |line: &str| match trouble(line) {
            Some(Trouble::Note { kind, pid, name }) => (kind, pid, name),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(
            note("node[12]: segfault at 0 ip 0055 sp 007f error 4 in node[400000+1]"),
            ("segfault", 12, "node".into())
        );
        assert_eq!(
            note("traps: a[b[77] general protection fault ip:7f sp:7f error:0 in x"),
            ("segfault", 77, "a[b".into())
        );
        assert_eq!(note("traps: node[5] trap invalid opcode ip:55 sp:7f error:0"), ("segfault", 5, "node".into()));
        assert_eq!(
            note("INFO: task jbd2/sda:2:123 blocked for more than 120 seconds."),
            ("hung_task", 123, "jbd2/sda:2".into())
        );
        assert_eq!(note("nf_conntrack: nf_conntrack: table full, dropping packet").0, "conntrack_full");
        assert_eq!(
            note("TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:3000. Sending cookies.").0,
            "syn_flood"
        );
        assert_eq!(note("I/O error, dev sda, sector 5 op 0x0:(READ)").0, "io_error");
        assert_eq!(note("e1000e 0000:00:1f.6 eth0: NIC Link is Down").0, "link");
        assert_eq!(trouble("eth0: renamed from veth1"), None);
    }
}
