//! Control groups of either version, one for each host and in it one for each of its programs, so that limits and what
//! follows from them are the kernel's own. A host sees its own group as the top, as a container does.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Doing, Done};

/// The groups of one lab: where they lie in the hierarchy of each controller, which on version 2 is one and the same.
#[derive(Debug, Clone)]
pub struct Groups {
    memory: Tree,
    cpu: Tree,
    /// None: the kernel limits nothing that is read from devices.
    io: Option<Tree>,
    /// `MAJOR:MINOR` of the disk below the story's folder. None: there is none, as below overlays.
    device: Option<String>,
    unified: bool,
}

/// A folder of groups and where its hierarchy is mounted.
#[derive(Debug, Clone)]
struct Tree {
    mount: PathBuf,
    folder: PathBuf,
}

impl Tree {
    fn below(&self, name: impl AsRef<Path>) -> Self {
        Self { mount: self.mount.clone(), folder: self.folder.join(name) }
    }
}

/// Limits of a group; None leaves one open.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Memory, MiB.
    pub memory_mib: Option<u64>,
    /// CPU time, thousandths of one CPU.
    pub cpu_milli: Option<u64>,
    /// What is read from the disk below the story's folder, bytes a second; 0 takes the limit away.
    pub read_bytes_per_s: Option<u64>,
}

impl Limits {
    /// A limit of memory alone.
    pub fn memory(mib: u64) -> Self {
        Self { memory_mib: Some(mib), ..Self::default() }
    }

    /// A limit of CPU time alone.
    pub fn cpu(milli: u64) -> Self {
        Self { cpu_milli: Some(milli), ..Self::default() }
    }

    /// A limit of reading alone.
    pub fn reads(bytes_per_s: u64) -> Self {
        Self { read_bytes_per_s: Some(bytes_per_s), ..Self::default() }
    }
}

impl Groups {
    /// Makes the lab's group below our own, or says why it can't.
    pub fn make(name: &str) -> Done<Self> {
        let groups = Self::find(name)?;
        groups.make_folders()?;
        if groups.unified {
            let parent = groups.memory.folder.parent().unwrap_or(Path::new("/"));
            hand_on(parent)?;
            hand_on(&groups.memory.folder)?;
        }
        Ok(groups)
    }

    /// Whether what is read from the disk below a folder can be limited; Err: why not.
    pub fn throttles(&self, dir: &Path) -> Done {
        self.io.as_ref().ok_or("the kernel limits no reads of control groups")?;
        device_below(dir).map(drop).ok_or(format!("{} is on no disk", dir.display()))
    }

    /// The groups of one story, named for its folder.
    pub fn below(&self, dir: &Path) -> Done<Self> {
        let name = dir.file_name().unwrap_or_default();
        let below = Self {
            memory: self.memory.below(name),
            cpu: self.cpu.below(name),
            io: self.io.as_ref().map(|tree| tree.below(name)),
            device: device_below(dir),
            unified: self.unified,
        };
        below.make_folders()?;
        if below.unified {
            hand_on(&below.memory.folder)?;
        }
        Ok(below)
    }

    fn find(name: &str) -> Done<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").doing("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup").doing("/proc/self/cgroup")?;
        let place = |controller: &str| -> Option<Tree> {
            let mount = v1_mount(&mounts, controller)?;
            let path = own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                parts.next()?.split(',').any(|one| one == controller).then(|| parts.next()).flatten()
            })?;
            let below = mount.join(path.trim_start_matches('/'));
            let folder = if below.is_dir() { below } else { mount.clone() };
            Some(Tree { mount, folder }.below(name))
        };
        if let (Some(memory), Some(cpu)) = (place("memory"), place("cpu")) {
            let io = place("blkio").filter(|tree| tree.mount.join(READS).exists());
            return Ok(Self { memory, cpu, io, device: None, unified: false });
        }
        let mount = v2_mount(&mounts).ok_or("no memory and cpu controllers are mounted")?;
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        let tree = Tree { folder: mount.join(name), mount };
        let io = controllers.split_whitespace().any(|one| one == "io").then(|| tree.clone());
        Ok(Self { memory: tree.clone(), cpu: tree, io, device: None, unified: true })
    }

    fn trees(&self) -> Vec<&Tree> {
        if self.unified {
            return vec![&self.memory];
        }
        [&self.memory, &self.cpu].into_iter().chain(&self.io).collect()
    }

    fn make_folders(&self) -> Done {
        self.trees().into_iter().try_for_each(|tree| make_folder(&tree.folder))
    }

    /// Makes a host's group; returns the folders that its process 1 enters, which are the top for all that it starts.
    pub fn host(&self, host: &str) -> Done<Vec<PathBuf>> {
        let trees = self.trees().into_iter().map(|tree| tree.below(host).folder);
        let folders: Vec<PathBuf> = trees.collect();
        folders.iter().try_for_each(|folder| make_folder(folder))?;
        if self.unified {
            // It may have been up before; a group that hands controllers on takes no process.
            folders.iter().for_each(|folder| CONTROLLERS.iter().for_each(|one| drop(switch(folder, '-', one))));
        }
        Ok(folders)
    }

    /// Makes a group of a host's program and sets its limits; returns its folders as the host sees them.
    pub fn group(&self, host: &str, name: &str, limits: Limits) -> Done<Vec<PathBuf>> {
        let inner = Path::new(host).join(name);
        self.trees().into_iter().try_for_each(|tree| make_folder(&tree.below(&inner).folder))?;
        self.limit(host, name, limits)?;
        Ok(self.trees().into_iter().map(|tree| tree.mount.join(name)).collect())
    }

    /// Changes the limits of the group of a host's program.
    pub fn limit(&self, host: &str, name: &str, limits: Limits) -> Done {
        let inner = Path::new(host).join(name);
        let (memory, cpu) = (self.memory.below(&inner).folder, self.cpu.below(&inner).folder);
        let put = |path: PathBuf, text: String| fs::write(&path, text).doing(&path.display().to_string());
        if let Some(mib) = limits.memory_mib {
            let file = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
            put(memory.join(file), (mib << 20).to_string())?;
        }
        if let Some(milli) = limits.cpu_milli {
            let (period_us, quota_us) = (100_000, milli * 100);
            if self.unified {
                put(cpu.join("cpu.max"), format!("{quota_us} {period_us}"))?;
            } else {
                put(cpu.join("cpu.cfs_period_us"), period_us.to_string())?;
                put(cpu.join("cpu.cfs_quota_us"), quota_us.to_string())?;
            }
        }
        if let Some(rate) = limits.read_bytes_per_s {
            let io = self.io.as_ref().ok_or("no control group for devices")?.below(&inner).folder;
            let device = self.device.as_ref().ok_or("the lab's folder is on no disk")?;
            match (self.unified, rate) {
                (true, 0) => put(io.join("io.max"), format!("{device} rbps=max"))?,
                (true, _) => put(io.join("io.max"), format!("{device} rbps={rate}"))?,
                (false, _) => put(io.join(READS), format!("{device} {rate}"))?,
            }
        }
        Ok(())
    }

    /// Removes the lab's groups; their processes have ended, though the kernel may need a moment to notice.
    pub fn remove(&self) {
        for tree in self.trees() {
            let _ = super::wait_for("cgroup", std::time::Duration::from_secs(3), || remove_below(&tree.folder).ok());
        }
    }
}

/// The file of version 2 that says which controllers the groups below have.
const SUBTREE: &str = "cgroup.subtree_control";

/// The file of version 1 that limits how fast a device is read.
const READS: &str = "blkio.throttle.read_bps_device";

/// Controllers that the groups need, the last where the kernel has it.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "io"];

/// Lets the groups below a folder of version 2 have limits.
fn hand_on(folder: &Path) -> Done {
    let [memory, cpu, io] = CONTROLLERS;
    switch(folder, '+', memory).doing(SUBTREE)?;
    switch(folder, '+', cpu).doing(SUBTREE)?;
    let _ = switch(folder, '+', io);
    Ok(())
}

fn switch(folder: &Path, way: char, controller: &str) -> std::io::Result<()> {
    fs::write(folder.join(SUBTREE), format!("{way}{controller}"))
}

/// `MAJOR:MINOR` of the whole disk that a folder lies on: limits count for disks, not for their partitions.
fn device_below(dir: &Path) -> Option<String> {
    let number = fs::metadata(dir).ok()?.st_dev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let of_device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let disk = if of_device.join("partition").exists() { of_device.parent()? } else { of_device.as_path() };
    Some(fs::read_to_string(disk.join("dev")).ok()?.trim().to_owned())
}

fn make_folder(folder: &Path) -> Done {
    fs::create_dir_all(folder).doing(&folder.display().to_string())
}

/// Puts this process into the group whose folders are given.
pub fn enter(folders: &[String]) -> Done {
    folders.iter().try_for_each(|folder| fs::write(Path::new(folder).join("cgroup.procs"), "0").doing(folder))
}

/// A hierarchy as it is mounted: where, of which version, with which options.
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
    /// "cgroup" or "cgroup2".
    pub kind: String,
    /// Controllers or name, as mount(2) takes them.
    pub options: String,
}

/// What is mounted at `/sys/fs/cgroup` and below, each place once.
pub fn mounted() -> Done<Vec<Mounted>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").doing("/proc/self/mountinfo")?;
    let all = mounts.lines().rev().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let at = PathBuf::from(head.split(' ').nth(4)?);
        let [kind, _, options] = tail.splitn(3, ' ').collect::<Vec<_>>()[..] else { return None };
        let known = ["cgroup", "cgroup2"].contains(&kind) && at.starts_with(TOP);
        known.then(|| Mounted { at, kind: kind.to_owned(), options: mount_options(kind, options) })
    });
    let mut seen: Vec<Mounted> = Vec::new();
    for one in all {
        if seen.iter().all(|other| other.at != one.at) {
            seen.push(one);
        }
    }
    seen.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(seen)
}

/// Where control groups are looked for.
pub const TOP: &str = "/sys/fs/cgroup";

/// Of the options that mountinfo shows, those that say which hierarchy of version 1 it is.
fn mount_options(kind: &str, shown: &str) -> String {
    if kind == "cgroup2" {
        return String::new();
    }
    let other = |option: &&str| !["rw", "ro", "xattr", "noprefix", "clone_children"].contains(option);
    let own: Vec<&str> = shown.split(',').filter(other).filter(|option| !option.starts_with("release_agent")).collect();
    match own[..] {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        _ => own.join(","),
    }
}

/// What process 1 of a host does once its group is the top: goes into a group below it, so that on version 2 others may have
/// limits.
pub fn go_home(home: &[String]) -> Done {
    enter(home)?;
    let tops = home.iter().filter_map(|folder| Path::new(folder).parent());
    tops.filter(|top| top.join(SUBTREE).exists()).try_for_each(hand_on)
}

fn remove_below(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the groups of labs that are no more.
pub fn remove_stale() {
    let Ok(groups) = Groups::find("x") else { return };
    for parent in groups.trees().into_iter().filter_map(|tree| tree.folder.parent()) {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(pid) = name.strip_prefix("why502-lab-") else { continue };
            if !Path::new("/proc").join(pid).exists() {
                let _ = remove_below(&entry.path());
            }
        }
    }
}

/// Where a version 1 controller is mounted: proc_pid_mountinfo(5), super options behind the type.
fn v1_mount(mounts: &str, controller: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (head, rest) = line.split_once(" - cgroup ")?;
        rest.split(' ').nth(1)?.split(',').any(|one| one == controller).then_some(())?;
        head.split(' ').nth(4).map(PathBuf::from)
    })
}

fn v2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (head, _) = line.split_once(" - cgroup2 ")?;
        let at = PathBuf::from(head.split(' ').nth(4)?);
        let has = fs::read_to_string(at.join("cgroup.controllers")).ok()?;
        (has.contains("memory") && has.contains("cpu")).then_some(at)
    })
}
