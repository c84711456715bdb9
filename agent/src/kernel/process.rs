//! One process by its folder in /proc. Sources: proc_pid_stat(5), proc_pid_limits(5), proc_pid_fd(5), proc_pid_cmdline(5),
//! Documentation/scheduler/sched-stats.rst. `stat` of a watched process is read through a kept descriptor: a third of the price
//! of opening it anew, and it can never be another process that got the same id.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::kept::read_record;
use super::{Error, Result, USUAL_BYTES, read_text, read_with};

/// Most threads of one process that are looked at.
pub const THREAD_LIMIT: usize = 256;
/// Most descriptors of one process that are counted or searched.
pub const FD_LIMIT: usize = 65_536;
/// Most bytes of a command line that are kept.
pub const CMDLINE_LIMIT: u64 = 4096;
/// The flag of kernel threads in `flags` (include/linux/sched.h, PF_KTHREAD).
const PF_KTHREAD: u64 = 0x0020_0000;
/// The flag of processes that are ending in `flags` (include/linux/sched.h, PF_EXITING).
const PF_EXITING: u64 = 0x0000_0004;

/// What /proc/PID/stat tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stat {
    /// Its id.
    pub pid: u32,
    /// Its short name, at most 15 bytes, chosen by the program itself.
    pub comm: String,
    /// One letter: R S D T t Z X I.
    pub state: char,
    /// Its parent's id.
    pub parent_pid: u32,
    /// A thread of the kernel itself.
    pub kernel_thread: bool,
    /// It is ending, though it may not be a zombie yet: giving back much memory takes a while.
    pub exiting: bool,
    /// CPU time used, user and system, ticks.
    pub cpu_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// When it started, ticks since boot.
    pub start_ticks: u64,
    /// Resident memory, pages.
    pub rss_pages: u64,
    /// The wait status as waitpid(2) gives it. 0 also where the reader may not know.
    pub wait_status: i32,
}

/// Parses /proc/PID/stat. The name may hold blanks and parentheses: it ends at the last one.
pub fn parse_stat(text: &str) -> std::result::Result<Stat, String> {
    let open = text.find('(').ok_or("no name")?;
    let close = text.rfind(')').filter(|close| *close > open).ok_or("no end of the name")?;
    let pid = text.get(..open).and_then(|t| t.trim().parse().ok()).ok_or("no process id")?;
    let comm = text.get(open + 1..close).unwrap_or_default().to_owned();
    // Field numbers as in the manual page, where the state is number 3 and the last one 52.
    let mut fields = [""; 50];
    let words = text.get(close + 1..).unwrap_or_default().split_ascii_whitespace();
    fields.iter_mut().zip(words).for_each(|(field, word)| *field = word);
    let field = |number: usize| {
        let word = fields.get(number - 3).copied().filter(|word| !word.is_empty());
        word.ok_or_else(|| format!("no field {number}"))
    };
    let number = |n: usize| field(n)?.parse::<u64>().map_err(|_| format!("field {n} is not a number"));
    Ok(Stat {
        pid,
        comm,
        state: field(3)?.chars().next().unwrap_or('?'),
        parent_pid: u32::try_from(number(4)?).map_err(|_| "field 4 is too large")?,
        kernel_thread: number(9)? & PF_KTHREAD != 0,
        exiting: number(9)? & PF_EXITING != 0,
        cpu_ticks: number(14)?.saturating_add(number(15)?),
        threads: u32::try_from(number(20)?).unwrap_or(u32::MAX),
        start_ticks: number(22)?,
        rss_pages: number(24)?,
        // Only since Linux 3.5.
        wait_status: field(52).ok().and_then(|f| f.parse().ok()).unwrap_or(0),
    })
}

/// A process's folder.
pub fn dir(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string())
}

/// Reads /proc/PID/stat once.
pub fn stat(proc: &Path, pid: u32) -> Result<Stat> {
    let path = dir(proc, pid).join("stat");
    let file = File::open(&path).map_err(|e| Error::io(&path, &e))?;
    read_record(&file, &path, parse_stat)
}

/// /proc/PID/stat and schedstat through kept descriptors.
#[derive(Debug)]
pub struct KeptStat {
    stat: (File, PathBuf),
    schedstat: Option<(File, PathBuf)>,
}

impl KeptStat {
    /// Opens them. A kernel may have no schedstat.
    pub fn open(proc: &Path, pid: u32) -> Result<Self> {
        let open = |name: &str| {
            let path = dir(proc, pid).join(name);
            File::open(&path).map_err(|e| Error::io(&path, &e)).map(|file| (file, path))
        };
        Ok(Self { stat: open("stat")?, schedstat: open("schedstat").ok() })
    }

    /// Reads the stat again. Gone for ever once the process was reaped, also where its id was given to another.
    pub fn read(&self) -> Result<Stat> {
        read_record(&self.stat.0, &self.stat.1, parse_stat)
    }

    /// As the function of this name.
    pub fn run_delay_ns(&self) -> Option<u64> {
        let (file, path) = self.schedstat.as_ref()?;
        read_record(file, path, parse_schedstat).ok()
    }
}

/// Time that the main thread waited for a CPU since it began, nanoseconds (second number of schedstat).
pub fn run_delay_ns(proc: &Path, pid: u32) -> Option<u64> {
    read_with(&dir(proc, pid).join("schedstat"), parse_schedstat).ok()
}

/// Parses /proc/PID/schedstat.
pub fn parse_schedstat(text: &str) -> std::result::Result<u64, String> {
    text.split_ascii_whitespace().nth(1).and_then(|w| w.parse().ok()).ok_or_else(|| "no second number".to_owned())
}

/// Processes in /proc, threads not among them.
pub fn pids(proc: &Path) -> Result<Vec<u32>> {
    let entries = fs::read_dir(proc).map_err(|e| Error::io(proc, &e))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Whether an id is that of a process and not of one of its further threads, whose folders exist but are not listed.
pub fn is_process(proc: &Path, pid: u32) -> bool {
    read_text(&dir(proc, pid).join("status")).is_ok_and(|text| tgid(&text) == Some(pid))
}

/// The process that /proc/PID/status speaks of.
pub fn tgid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// The user that a process runs as (owner of its folder). Absent once it is gone.
pub fn uid(proc: &Path, pid: u32) -> Option<u32> {
    fs::metadata(dir(proc, pid)).ok().map(|meta| meta.uid())
}

/// A process's arguments, at most [`CMDLINE_LIMIT`] bytes of them. Empty for kernel threads and zombies.
pub fn args(proc: &Path, pid: u32) -> Result<Vec<String>> {
    let path = dir(proc, pid).join("cmdline");
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let file = File::open(&path).map_err(|e| Error::io(&path, &e))?;
    file.take(CMDLINE_LIMIT).read_to_end(&mut bytes).map_err(|e| Error::io(&path, &e))?;
    Ok(parse_cmdline(&bytes))
}

/// Parses /proc/PID/cmdline. A program that rewrote its title (nginx) leaves one argument with trailing zeros.
pub fn parse_cmdline(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let text = bytes.get(..end).unwrap_or_default();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

/// Where a link in a process's folder points: `exe`, `cwd`, `root`, `ns/net` ...
pub fn link(proc: &Path, pid: u32, name: &str) -> Result<PathBuf> {
    let path = dir(proc, pid).join(name);
    fs::read_link(&path).map_err(|e| Error::io(&path, &e))
}

/// The soft limit of open descriptors. None: unlimited.
pub fn fd_limit(proc: &Path, pid: u32) -> Result<Option<u64>> {
    read_with(&dir(proc, pid).join("limits"), parse_fd_limit)
}

/// Parses /proc/PID/limits.
pub fn parse_fd_limit(text: &str) -> std::result::Result<Option<u64>, String> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no line \"Max open files\"")?;
    match line.split_ascii_whitespace().next() {
        Some("unlimited") => Ok(None),
        Some(word) => word.parse().map(Some).map_err(|_| format!("not a number: {word:.20}")),
        None => Err("no soft limit".into()),
    }
}

/// Open descriptors. The folder's size tells their number since Linux 6.2; before, they are counted up to [`FD_LIMIT`]. `trusted`
/// tells that the folder was read before.
pub fn fd_count(proc: &Path, pid: u32, trusted: bool) -> Result<u32> {
    let path = dir(proc, pid).join("fd");
    let counted = fs::metadata(&path).map_err(|e| Error::io(&path, &e))?.len();
    if trusted && counted > 0 {
        return Ok(u32::try_from(counted).unwrap_or(u32::MAX));
    }
    // The size needs no privilege, but is trusted only where the folder itself may be read, as on older kernels.
    let entries = fs::read_dir(&path).map_err(|e| Error::io(&path, &e))?;
    let number = if counted > 0 { counted } else { entries.take(FD_LIMIT).count() as u64 };
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Inodes of the sockets that a process holds.
pub fn socket_inodes(proc: &Path, pid: u32) -> Result<Vec<u64>> {
    let path = dir(proc, pid).join("fd");
    let entries = fs::read_dir(&path).map_err(|e| Error::io(&path, &e))?;
    let targets = entries.take(FD_LIMIT).filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets.filter_map(|target| parse_socket_link(target.to_str()?)).collect())
}

/// The inode in "socket:[123]".
pub fn parse_socket_link(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Threads by state, such as "S:11 D:1", the first [`THREAD_LIMIT`] of them.
pub fn thread_states(proc: &Path, pid: u32) -> Result<String> {
    let path = dir(proc, pid).join("task");
    let entries = fs::read_dir(&path).map_err(|e| Error::io(&path, &e))?;
    let mut counts = std::collections::BTreeMap::<char, u32>::new();
    for entry in entries.take(THREAD_LIMIT).flatten() {
        if let Ok(stat) = read_with(&entry.path().join("stat"), parse_stat) {
            *counts.entry(stat.state).or_default() += 1;
        }
    }
    Ok(counts.iter().map(|(state, n)| format!("{state}:{n}")).collect::<Vec<_>>().join(" "))
}

/// Where a process waits in the kernel. Empty where it does not or the reader may not know ("0").
pub fn wchan(proc: &Path, pid: u32) -> String {
    let name = read_text(&dir(proc, pid).join("wchan")).unwrap_or_default();
    if name == "0" { String::new() } else { name.chars().take(64).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_with_an_odd_name() {
        let text = include_str!("../../fixtures/kernel/6.18/pid_stat_odd_name");
        let stat = parse_stat(text).unwrap();
        assert_eq!(stat.comm, "a) S 1 (b");
        assert_eq!((stat.state, stat.threads), ('S', 1));
        assert!(parse_stat("12 (x").is_err());
        assert!(parse_stat("12 (x) S 1").is_err());
    }

    #[test]
    fn reads_stat_of_node() {
        let stat = parse_stat(include_str!("../../fixtures/kernel/6.18/pid_stat_zombie")).unwrap();
        assert_eq!((stat.state, stat.wait_status), ('Z', 7 << 8));
    }

    #[test]
    fn reads_arguments() {
        assert_eq!(parse_cmdline(b"node\0index.js\0"), ["node", "index.js"]);
        assert_eq!(parse_cmdline(b"nginx: master process nginx\0\0\0"), ["nginx: master process nginx"]);
        assert_eq!(parse_cmdline(b"a\0\0b\0"), ["a", "", "b"]);
        assert!(parse_cmdline(b"").is_empty());
    }

    #[test]
    fn reads_small_things() {
        assert_eq!(parse_socket_link("socket:[12345]"), Some(12345));
        assert_eq!(parse_socket_link("pipe:[12345]"), None);
        assert_eq!(parse_schedstat("117074 81091 2\n"), Ok(81091));
        let limits = include_str!("../../fixtures/kernel/6.18/pid_limits");
        assert_eq!(parse_fd_limit(limits), Ok(Some(20000)));
        assert_eq!(
            parse_fd_limit("Max open files            unlimited            unlimited            files\n"),
            Ok(None)
        );
        assert_eq!(tgid("Name:\tx\nTgid:\t12\nNgid:\t0\n"), Some(12));
    }

    #[test]
    fn reads_itself() {
        let (proc, me) = (Path::new("/proc"), std::process::id());
        let kept = KeptStat::open(proc, me).unwrap();
        assert_eq!(kept.read().unwrap().pid, me);
        assert_eq!(kept.read().unwrap().start_ticks, stat(proc, me).unwrap().start_ticks);
        assert!(fd_count(proc, me, false).unwrap() >= 3 && fd_count(proc, me, true).unwrap() >= 3);
        assert!(is_process(proc, me));
        assert!(thread_states(proc, me).unwrap().contains(':'));
        assert!(pids(proc).unwrap().contains(&me));
        assert!(stat(proc, 0x7fff_fff0).unwrap_err().gone());
    }
}
