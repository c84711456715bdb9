//! Control groups of either version, one for each host, so that limits and what follows from them are the kernel's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Doing, Done};

/// The groups of one lab: the folders, one for each controller on version 1, one for all on version 2.
#[derive(Debug, Clone)]
pub struct Groups {
    memory: PathBuf,
    cpu: PathBuf,
    unified: bool,
}

/// Limits of a group; None leaves one open.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Memory, MiB.
    pub memory_mib: Option<u64>,
    /// CPU time, thousandths of one CPU.
    pub cpu_milli: Option<u64>,
}

impl Groups {
    /// Makes the lab's group below our own, or says why it can't.
    pub fn make(name: &str) -> Done<Self> {
        let groups = Self::find(name)?;
        for folder in groups.folders() {
            fs::create_dir_all(folder).doing(&folder.display().to_string())?;
        }
        if groups.unified {
            let parent = groups.memory.parent().unwrap_or(Path::new("/"));
            for folder in [parent, &groups.memory] {
                fs::write(folder.join("cgroup.subtree_control"), "+memory +cpu").doing("cgroup.subtree_control")?;
            }
        }
        Ok(groups)
    }

    /// The groups of one story, named for its folder.
    pub fn below(&self, dir: &Path) -> Done<Self> {
        let name = dir.file_name().unwrap_or_default();
        let below = Self { memory: self.memory.join(name), cpu: self.cpu.join(name), unified: self.unified };
        for folder in below.folders() {
            fs::create_dir_all(folder).doing(&folder.display().to_string())?;
        }
        if below.unified {
            fs::write(below.memory.join("cgroup.subtree_control"), "+memory +cpu").doing("cgroup.subtree_control")?;
        }
        Ok(below)
    }

    fn find(name: &str) -> Done<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").doing("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup").doing("/proc/self/cgroup")?;
        let place = |controller: &str| -> Option<PathBuf> {
            let mount = v1_mount(&mounts, controller)?;
            let path = own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                parts.next()?.split(',').any(|one| one == controller).then(|| parts.next()).flatten()
            })?;
            let below = mount.join(path.trim_start_matches('/'));
            Some(if below.is_dir() { below } else { mount })
        };
        if let (Some(memory), Some(cpu)) = (place("memory"), place("cpu")) {
            return Ok(Self { memory: memory.join(name), cpu: cpu.join(name), unified: false });
        }
        let root = v2_mount(&mounts).ok_or("no memory and cpu controllers are mounted")?;
        Ok(Self { memory: root.join(name), cpu: root.join(name), unified: true })
    }

    fn folders(&self) -> Vec<&PathBuf> {
        if self.unified { vec![&self.memory] } else { vec![&self.memory, &self.cpu] }
    }

    /// Makes a group in the lab's and sets its limits; returns the folders that a process is put into.
    pub fn group(&self, name: &str, limits: Limits) -> Done<Vec<PathBuf>> {
        let (memory, cpu) = (self.memory.join(name), self.cpu.join(name));
        for folder in [&memory, &cpu] {
            fs::create_dir_all(folder).doing(&folder.display().to_string())?;
        }
        self.limit(name, limits)?;
        Ok(if self.unified { vec![memory] } else { vec![memory, cpu] })
    }

    /// Changes a group's limits.
    pub fn limit(&self, name: &str, limits: Limits) -> Done {
        let (memory, cpu) = (self.memory.join(name), self.cpu.join(name));
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
        Ok(())
    }

    /// Removes the lab's groups; their processes have ended, though the kernel may need a moment to notice.
    pub fn remove(&self) {
        for folder in self.folders() {
            let _ = super::wait_for("cgroup", std::time::Duration::from_secs(3), || remove_below(folder).ok());
        }
    }
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
    for parent in groups.folders().into_iter().filter_map(|folder| folder.parent()) {
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
