//! The process table, read as seldom and as little as will do: all of /proc is listed only by [`Table::enumerate`]; between
//! listings [`Table::advance`] asks for the id that the kernel gave out last and looks at the new ids alone. A process is read
//! once, and again while it is young (it may still call exec) and every so many listings (it may have called exec late, or its id may
//! be another's by now), a part of them at each, so that no listing costs much more than another. At most [`TABLE_LIMIT`] processes are kept; further ones are not seen.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::kernel::host::parse_loadavg;
use crate::kernel::kept::Kept;
use crate::kernel::process::{self, Stat};
use crate::kernel::{Result, cgroup, clock};

/// Most processes that are kept.
pub const TABLE_LIMIT: usize = 65_536;
/// New ids up to this many are looked at one by one; more call for a listing.
const STEP_LIMIT: u32 = 512;
/// After so many listings every process was read again.
const TURNS: u32 = 4;
/// So long after its start a process is read again at each look.
const YOUNG_US: u64 = 2_000_000;

/// Most young processes that are read again at a look.
const YOUNG_LIMIT: usize = 64;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its id.
    pub pid: u32,
    /// When it started, ticks since boot: with the id it names the process.
    pub start_ticks: u64,
    /// Its parent's id when it was read.
    pub parent_pid: u32,
    /// Its short name.
    pub comm: String,
    /// Its arguments joined by blanks. Empty for threads of the kernel and where nothing asks for them.
    pub cmdline: String,
    /// Its executable. Absent where it can't be read or nothing asks for it.
    pub exe: Option<PathBuf>,
    /// Its systemd unit. Absent where it has none or nothing asks for it.
    pub unit: Option<String>,
    /// It ended and was not reaped, or belongs to the kernel: it never matches.
    pub inert: bool,
}

/// What the matching rules ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Arguments.
    pub args: bool,
    /// Executable.
    pub exe: bool,
    /// Unit.
    pub unit: bool,
}

/// The processes of this host.
#[derive(Debug)]
pub struct Table {
    proc: PathBuf,
    needs: Needs,
    entries: HashMap<u32, Entry>,
    young: Vec<u32>,
    ahead: Vec<u32>,
    last_pid: Option<u32>,
    turn: u32,
    loadavg: Kept,
}

impl Table {
    /// An empty one.
    pub fn new(proc: &Path, needs: Needs) -> Self {
        Self {
            proc: proc.to_owned(),
            needs,
            entries: HashMap::new(),
            young: Vec::new(),
            ahead: Vec::new(),
            last_pid: None,
            turn: 0,
            loadavg: Kept::new(proc.join("loadavg")),
        }
    }

    /// All processes.
    pub fn entries(&self) -> &HashMap<u32, Entry> {
        &self.entries
    }

    /// One process.
    pub fn get(&self, pid: u32) -> Option<&Entry> {
        self.entries.get(&pid)
    }

    /// It was seen to end.
    pub fn remove(&mut self, pid: u32) {
        self.entries.remove(&pid);
    }

    /// Lists all of /proc; reads what is new, and of the others those whose turn it is. Returns what is new or changed.
    pub fn enumerate(&mut self) -> Result<Vec<u32>> {
        self.last_pid = self.newest().or(self.last_pid);
        let listed = process::pids(&self.proc)?;
        let there: HashSet<u32> = listed.iter().copied().collect();
        self.entries.retain(|pid, _| there.contains(pid));
        let mut changed = std::mem::take(&mut self.ahead);
        changed.extend(self.reread_young());
        self.turn = (self.turn + 1) % TURNS;
        let turn = self.turn;
        for pid in listed {
            if (pid % TURNS == turn || !self.entries.contains_key(&pid)) && self.read(pid) {
                changed.push(pid);
            }
        }
        Ok(changed)
    }

    /// Ids of processes that were not read yet; `read_ahead` reads some of them, so that a first listing costs less at once.
    pub fn unread(&self) -> Vec<u32> {
        let listed = process::pids(&self.proc).unwrap_or_default();
        listed.into_iter().filter(|pid| !self.entries.contains_key(pid)).collect()
    }

    /// Reads some processes. They still count as new at the next listing.
    pub fn read_ahead(&mut self, pids: &[u32]) {
        let new: Vec<u32> = pids.iter().copied().filter(|pid| self.read(*pid)).collect();
        self.ahead.extend(new);
    }

    /// Looks at ids given out since the last look and at young processes. Returns what is new or changed.
    pub fn advance(&mut self) -> Vec<u32> {
        let (Some(newest), Some(last)) = (self.newest(), self.last_pid) else {
            return self.enumerate().unwrap_or_default();
        };
        if newest < last || newest - last > STEP_LIMIT {
            // The ids began anew from the bottom, or there are too many.
            return self.enumerate().unwrap_or_default();
        }
        let mut changed = self.reread_young();
        self.last_pid = Some(newest);
        changed.extend((last + 1..=newest).filter(|pid| process::is_process(&self.proc, *pid) && self.read(*pid)));
        changed
    }

    fn newest(&mut self) -> Option<u32> {
        self.loadavg.read_with(parse_loadavg).ok().map(|load| load.last_pid)
    }

    fn reread_young(&mut self) -> Vec<u32> {
        let mut young = std::mem::take(&mut self.young);
        // The newest are the likeliest to call exec yet.
        young.drain(..young.len().saturating_sub(YOUNG_LIMIT));
        young.into_iter().filter(|pid| self.read(*pid)).collect()
    }

    /// Reads one process. True where it is new, another, or changed.
    fn read(&mut self, pid: u32) -> bool {
        let Ok(stat) = process::stat(&self.proc, pid) else { return self.entries.remove(&pid).is_some() };
        if self.entries.len() >= TABLE_LIMIT && !self.entries.contains_key(&pid) {
            return false;
        }
        let age_us =
            clock::boottime_us().saturating_sub(stat.start_ticks.saturating_mul(1_000_000) / clock::ticks_per_second());
        let entry = self.entry(stat);
        if age_us < YOUNG_US && !entry.inert {
            self.young.push(pid);
        }
        let changed = self.entries.get(&pid) != Some(&entry);
        self.entries.insert(pid, entry);
        changed
    }

    fn entry(&self, stat: Stat) -> Entry {
        let inert = stat.kernel_thread || matches!(stat.state, 'Z' | 'X');
        let mut entry = Entry {
            pid: stat.pid,
            start_ticks: stat.start_ticks,
            parent_pid: stat.parent_pid,
            comm: stat.comm,
            inert,
            ..Entry::default()
        };
        if inert {
            return entry;
        }
        if self.needs.args {
            entry.cmdline = process::args(&self.proc, entry.pid).unwrap_or_default().join(" ");
        }
        if self.needs.exe {
            entry.exe = process::link(&self.proc, entry.pid, "exe").ok();
        }
        if self.needs.unit {
            entry.unit = cgroup::memberships(&self.proc, entry.pid).ok().and_then(|m| cgroup::unit(&m));
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn finds_new_processes_without_a_listing() {
        let mut table = Table::new(Path::new("/proc"), Needs { args: true, exe: true, unit: true });
        table.enumerate().unwrap();
        let me = std::process::id();
        assert!(table.get(me).is_some_and(|entry| entry.exe.is_some() && !entry.cmdline.is_empty()));
        let mut child = Command::new("sleep").arg("1001").spawn().unwrap();
        assert!(table.advance().contains(&child.id()));
        let entry = table.get(child.id()).expect("the child").clone();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((entry.parent_pid, entry.inert), (me, false));
        table.enumerate().unwrap();
        assert!(table.get(child.id()).is_none());
    }
}
