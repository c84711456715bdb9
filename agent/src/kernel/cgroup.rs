//! Control groups of both versions and of hosts that mount both: a process's groups come from /proc/PID/cgroup, joined with the
//! mounts that this program sees in /proc/self/mountinfo; no path is assumed. Every reading is optional: a controller may be
//! missing, the group may lie outside of what a container shows, and it may be removed at any moment.
//! Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/{memory,freezer-subsystem,pids}.rst, scheduler/sched-bwc.rst.

use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::pressure::{self, Stall};
use super::{Result, process, read_number, read_text, read_with};

/// Limits at or above this are no limits: v1 writes the largest page-aligned number instead of a word.
const NO_LIMIT: u64 = 1 << 60;
/// Most levels from a group to its root that are looked at.
const DEPTH_LIMIT: usize = 32;
/// Most processes of a group that are listed.
const PROCS_LIMIT: usize = 4096;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Version 2 (one for all controllers).
    pub unified: bool,
    /// Controllers of a v1 hierarchy, or "name=systemd".
    pub controllers: Vec<String>,
    /// The group that is mounted here.
    pub root: String,
    /// Where.
    pub mount: PathBuf,
}

/// The hierarchies among mounts.
pub fn hierarchies(mounts: &[Mount]) -> Vec<Hierarchy> {
    let cgroups = mounts.iter().filter(|m| m.kind == "cgroup" || m.kind == "cgroup2");
    let hierarchy = |m: &Mount| Hierarchy {
        unified: m.kind == "cgroup2",
        controllers: m.options.split(',').map(str::to_owned).collect(),
        root: m.root.clone(),
        mount: PathBuf::from(&m.path),
    };
    cgroups.map(hierarchy).collect()
}

/// One line of /proc/PID/cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Controllers of the hierarchy; empty for version 2.
    pub controllers: Vec<String>,
    /// The group's path below the hierarchy's root, as this program's cgroup namespace shows it.
    pub path: String,
}

/// Parses /proc/PID/cgroup.
pub fn parse_memberships(text: &str) -> Vec<Membership> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
        // A group that was removed while the process is still in it.
        let path = parts.next()?.trim_end_matches(" (deleted)").to_owned();
        Some(Membership { controllers, path })
    };
    text.lines().take(64).filter_map(line).collect()
}

/// The groups that a process is in.
pub fn memberships(proc: &Path, pid: u32) -> Result<Vec<Membership>> {
    read_with(&process::dir(proc, pid).join("cgroup"), |text| Ok(parse_memberships(text)))
}

/// The systemd unit that a process belongs to: the innermost ".service" on its path in systemd's own hierarchy or in version 2.
pub fn unit(memberships: &[Membership]) -> Option<String> {
    let own =
        memberships.iter().filter(|m| m.controllers.is_empty() || m.controllers.iter().any(|c| c == "name=systemd"));
    let names = own.filter_map(|m| m.path.rsplit('/').find(|part| part.ends_with(".service") && part.len() > 8));
    // A user's manager is itself a service; what runs in it is not part of it.
    names.map(str::to_owned).find(|name| !name.starts_with("user@"))
}

/// A directory of a group and the top of its hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The group's directory.
    pub dir: PathBuf,
    /// Where its hierarchy is mounted.
    pub top: PathBuf,
    /// Version 2.
    pub unified: bool,
}

impl Place {
    /// The group and those above it, innermost first.
    fn levels(&self) -> impl Iterator<Item = &Path> {
        self.dir.ancestors().take_while(|dir| dir.starts_with(&self.top)).take(DEPTH_LIMIT)
    }

    fn number(&self, name: &str) -> Option<u64> {
        read_number(&self.dir.join(name)).ok()
    }
}

/// Where the readings of one process's groups are found. Equal for processes of the same groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Group {
    /// The path that names it to people: that of its memory group, else that of its unit.
    pub path: String,
    /// Memory.
    pub memory: Option<Place>,
    /// CPU quota.
    pub cpu: Option<Place>,
    /// Number of processes.
    pub pids: Option<Place>,
    /// Freezer.
    pub freezer: Option<Place>,
    /// The group of version 2, for pressure.
    pub unified: Option<Place>,
}

impl Group {
    /// Whether both count and limit memory at the same place. Unknown places are never the same.
    pub fn shares_memory_with(&self, other: &Self) -> bool {
        self.memory.is_some() && self.memory == other.memory
    }
}

/// Whether a process that is ending still shows where it was. In hierarchies of version 1 the kernel shows it at the root from the
/// moment when it begins to end (`proc_cgroup_show` in kernel/cgroup/cgroup.c), which with much memory is long before it is a zombie.
pub fn shown_while_exiting(memberships: &[Membership]) -> bool {
    memberships.iter().all(|m| m.controllers.is_empty())
}

/// Joins memberships with the mounted hierarchies.
pub fn locate(memberships: &[Membership], hierarchies: &[Hierarchy]) -> Group {
    let v1 = |controller: &str| {
        let member = memberships.iter().find(|m| m.controllers.iter().any(|c| c == controller))?;
        let mount = hierarchies.iter().find(|h| !h.unified && h.controllers.iter().any(|c| c == controller))?;
        place(&member.path, mount)
    };
    let unified = memberships.iter().find(|m| m.controllers.is_empty());
    let v2 = unified.and_then(|m| hierarchies.iter().filter(|h| h.unified).find_map(|h| place(&m.path, h)));
    let either = |controller: &str| v1(controller).or_else(|| v2.clone());
    let path_of = |wanted: &dyn Fn(&Membership) -> bool| {
        memberships.iter().find(|m| wanted(m)).map(|m| m.path.clone()).filter(|path| path != "/")
    };
    let path = path_of(&|m| m.controllers.iter().any(|c| c == "memory"))
        .or_else(|| path_of(&|m| m.controllers.is_empty()))
        .or_else(|| path_of(&|m| m.controllers.iter().any(|c| c == "name=systemd")));
    Group {
        path: path.unwrap_or_else(|| "/".to_owned()),
        memory: either("memory"),
        cpu: either("cpu"),
        pids: either("pids"),
        freezer: either("freezer"),
        unified: v2,
    }
}

/// A path of a membership below a mount that may show only a part of the hierarchy (a container's own bind mount).
fn place(path: &str, hierarchy: &Hierarchy) -> Option<Place> {
    // "/.." stands for groups outside of this program's cgroup namespace.
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let below = Path::new(path).strip_prefix(&hierarchy.root).ok();
    // Without a cgroup namespace a container's mount may show "/docker/ID" as its root while the path is already relative to it.
    let below = below.or_else(|| Path::new(path).strip_prefix("/").ok())?;
    let dir = if below.as_os_str().is_empty() { hierarchy.mount.clone() } else { hierarchy.mount.join(below) };
    Some(Place { dir, top: hierarchy.mount.clone(), unified: hierarchy.unified })
}

/// What a group's files tell at one moment. Everything may be absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Memory in use less file cache that could be dropped at once (inactive_file), bytes.
    pub mem_bytes: Option<u64>,
    /// The smallest memory limit on the way to the root, bytes.
    pub mem_limit_bytes: Option<u64>,
    /// Processes of this very group that were killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// CPU bandwidth, of the level with the smallest quota.
    pub cpu: Option<Bandwidth>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Most that there may be.
    pub pids_limit: Option<u64>,
    /// Frozen.
    pub frozen: Option<bool>,
    /// Stalls for CPU, memory and devices; version 2 only.
    pub stalls: [Option<Stall>; 3],
}

/// CPU bandwidth control of one level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bandwidth {
    /// The level's directory: counters of another level can't be compared.
    pub dir: PathBuf,
    /// Quota over period, CPUs.
    pub quota: f64,
    /// Periods in which something ran.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled: u64,
    /// Time throttled, microseconds.
    pub throttled_us: u64,
}

impl Group {
    /// Reads everything.
    pub fn read(&self) -> Reading {
        let (pids, pids_limit) = self.pids.as_ref().map_or((None, None), read_pids);
        let stall = |name: &str| {
            let place = self.unified.as_ref()?;
            read_with(&place.dir.join(name), pressure::parse).ok()
        };
        Reading {
            mem_bytes: self.memory.as_ref().and_then(read_usage),
            mem_limit_bytes: self.mem_limit_bytes(),
            oom_kills: self.oom_kills(),
            cpu: self.cpu.as_ref().and_then(read_bandwidth),
            pids,
            pids_limit,
            frozen: self.freezer.as_ref().and_then(read_frozen),
            // The root's stalls are the host's.
            stalls: match &self.unified {
                Some(place) if place.dir != place.top => {
                    [stall("cpu.pressure"), stall("memory.pressure"), stall("io.pressure")]
                }
                _ => [None; 3],
            },
        }
    }

    /// The smallest memory limit on the way to the root, bytes.
    pub fn mem_limit_bytes(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        let name = if place.unified { "memory.max" } else { "memory.limit_in_bytes" };
        // "max" is no number and thus no limit.
        place.levels().filter_map(|dir| read_number(&dir.join(name)).ok()).filter(|limit| *limit < NO_LIMIT).min()
    }

    /// Processes of this group that were killed for lack of memory since it was made. The kernel counts a victim in its own
    /// group, whichever group's limit was reached, and before the signal is sent.
    pub fn oom_kills(&self) -> Option<u64> {
        let place = self.memory.as_ref()?;
        let names: &[&str] =
            if place.unified { &["memory.events.local", "memory.events"] } else { &["memory.oom_control"] };
        names.iter().find_map(|name| counter(&read_text(&place.dir.join(name)).ok()?, "oom_kill"))
    }

    /// Processes in its memory group (not in those below it).
    pub fn procs(&self) -> Vec<u32> {
        let Some(place) = &self.memory else { return Vec::new() };
        let text = read_text(&place.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().take(PROCS_LIMIT).filter_map(|line| line.parse().ok()).collect()
    }
}

/// A line "name number" of a flat keyed file.
fn counter(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

fn read_usage(place: &Place) -> Option<u64> {
    let (usage, cache) = if place.unified {
        ("memory.current", "inactive_file")
    } else {
        ("memory.usage_in_bytes", "total_inactive_file")
    };
    let stat = read_text(&place.dir.join("memory.stat")).unwrap_or_default();
    Some(place.number(usage)?.saturating_sub(counter(&stat, cache).unwrap_or(0)))
}

fn read_bandwidth(place: &Place) -> Option<Bandwidth> {
    let quota = |dir: &Path| {
        if place.unified {
            return parse_cpu_max(&read_text(&dir.join("cpu.max")).ok()?);
        }
        // Without a quota the file holds -1, which is not read as a number.
        let quota = read_number(&dir.join("cpu.cfs_quota_us")).ok()?;
        let period = read_number(&dir.join("cpu.cfs_period_us")).ok().filter(|period| *period > 0)?;
        Some(quota as f64 / period as f64)
    };
    let limited = place.levels().filter_map(|dir| Some((dir, quota(dir)?)));
    let (dir, quota) = limited.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let stat = read_text(&dir.join("cpu.stat")).ok()?;
    let throttled_us =
        counter(&stat, "throttled_usec").or_else(|| counter(&stat, "throttled_time").map(|ns| ns / 1000));
    Some(Bandwidth {
        dir: dir.to_owned(),
        quota,
        periods: counter(&stat, "nr_periods")?,
        throttled: counter(&stat, "nr_throttled")?,
        throttled_us: throttled_us?,
    })
}

/// Parses cpu.max: "50000 100000" or "max 100000".
pub fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

/// Of the innermost level that has a limit; without one, of the group itself.
fn read_pids(place: &Place) -> (Option<u64>, Option<u64>) {
    let limited = place.levels().find_map(|dir| Some((dir, read_number(&dir.join("pids.max")).ok()?)));
    match limited {
        Some((dir, limit)) => (read_number(&dir.join("pids.current")).ok(), Some(limit)),
        None => (place.number("pids.current"), None),
    }
}

fn read_frozen(place: &Place) -> Option<bool> {
    if place.unified {
        return counter(&read_text(&place.dir.join("cgroup.events")).ok()?, "frozen").map(|n| n != 0);
    }
    Some(read_text(&place.dir.join("freezer.state")).ok()?.trim() == "FROZEN")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::mount;
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn finds_the_groups_of_a_hybrid_host() {
        let hierarchies = hierarchies(&mount::parse(include_str!("../../fixtures/kernel/6.18/mountinfo")));
        let text =
            "9:name=systemd:/system.slice/api.service\n4:memory:/docker/ab\n2:cpuacct:/\n1:cpu:/docker/ab\n0::/\n";
        let members = parse_memberships(text);
        let group = locate(&members, &hierarchies);
        assert_eq!(group.path, "/docker/ab");
        assert_eq!(group.memory.unwrap().dir, Path::new("/sys/fs/cgroup/memory/docker/ab"));
        assert_eq!(group.unified.unwrap().dir, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(unit(&members).as_deref(), Some("api.service"));
        assert_eq!(unit(&parse_memberships("0::/user.slice/user-0.slice/user@0.service/app.slice\n")), None);
    }

    #[test]
    fn joins_paths_with_a_containers_mount() {
        let whole = Hierarchy { unified: true, controllers: vec![], root: "/".into(), mount: "/c".into() };
        let part = Hierarchy { root: "/docker/ab".into(), ..whole.clone() };
        let dir = |path: &str, h: &Hierarchy| place(path, h).map(|p| p.dir);
        assert_eq!(dir("/docker/ab/x", &whole), Some("/c/docker/ab/x".into()));
        assert_eq!(dir("/docker/ab/x", &part), Some("/c/x".into()));
        assert_eq!(dir("/docker/ab", &part), Some("/c".into()));
        assert_eq!(dir("/x", &part), Some("/c/x".into()));
        assert_eq!(dir("/../other", &whole), None);
    }

    #[test]
    fn reads_version_2_with_a_limit_above() {
        let top = tempfile::tempdir().unwrap();
        let (pod, leaf) = (top.path().join("pod"), top.path().join("pod/app"));
        write(
            &pod,
            &[
                ("memory.max", "536870912\n"),
                ("cpu.max", "50000 100000\n"),
                ("pids.max", "100\n"),
                ("pids.current", "9\n"),
            ],
        );
        write(&pod, &[("cpu.stat", "usage_usec 5\nnr_periods 10\nnr_throttled 4\nthrottled_usec 250000\n")]);
        write(
            &leaf,
            &[("memory.max", "max\n"), ("memory.current", "5000\n"), ("memory.stat", "anon 1\ninactive_file 1000\n")],
        );
        write(&leaf, &[("memory.events", "oom 9\noom_kill 9\n"), ("memory.events.local", "oom 1\noom_kill 2\n")]);
        write(
            &leaf,
            &[("cpu.max", "max 100000\n"), ("pids.max", "max\n"), ("cgroup.events", "populated 1\nfrozen 1\n")],
        );
        write(&leaf, &[("cpu.pressure", "some avg10=0 total=77\n")]);
        let members = parse_memberships("0::/pod/app\n");
        let tree = Hierarchy { unified: true, controllers: vec![], root: "/".into(), mount: top.path().into() };
        let reading = locate(&members, &[tree]).read();
        let cpu = Bandwidth { dir: pod, quota: 0.5, periods: 10, throttled: 4, throttled_us: 250_000 };
        let expected = Reading {
            mem_bytes: Some(4000),
            mem_limit_bytes: Some(536_870_912),
            oom_kills: Some(2),
            cpu: Some(cpu),
            pids: Some(9),
            pids_limit: Some(100),
            frozen: Some(true),
            stalls: [Some(Stall { some_us: 77, full_us: None }), None, None],
        };
        assert_eq!(reading, expected);
    }

    #[test]
    fn reads_version_1() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("app");
        write(&dir, &[("memory.limit_in_bytes", "1048576\n"), ("memory.usage_in_bytes", "5000\n")]);
        write(
            &dir,
            &[("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), ("freezer.state", "THAWED\n")],
        );
        write(&dir, &[("cpu.cfs_quota_us", "200000\n"), ("cpu.cfs_period_us", "100000\n")]);
        write(&dir, &[("cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 5000000\n")]);
        write(top.path(), &[("memory.limit_in_bytes", "9223372036854771712\n"), ("cpu.cfs_quota_us", "-1\n")]);
        let controllers = ["memory", "cpu", "freezer", "pids"].map(str::to_owned).to_vec();
        let tree = Hierarchy { unified: false, controllers, root: "/".into(), mount: top.path().into() };
        let reading = locate(&parse_memberships("3:memory,cpu,freezer,pids:/app\n"), &[tree]).read();
        assert_eq!(
            (reading.mem_limit_bytes, reading.oom_kills, reading.frozen),
            (Some(1_048_576), Some(3), Some(false))
        );
        assert_eq!(reading.cpu.map(|cpu| (cpu.quota, cpu.throttled_us)), Some((2.0, 5000)));
    }
}
