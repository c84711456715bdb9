//! Mounts and the room on them. Sources: proc_pid_mountinfo(5), statvfs(3). File systems across a network are named but their
//! room is never asked for: a server that is gone would hold the caller for ever.

use std::path::{Path, PathBuf};

use super::{Error, Result, process, read_with};

/// Most mounts of one process that are looked at.
pub const MOUNT_LIMIT: usize = 2048;

/// File systems that are no place to write data to, or that live in the kernel.
const PSEUDO: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "pidfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];
/// File systems across a network.
const REMOTE: &[&str] =
    &["9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"];

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// "major:minor" of the device.
    pub device: String,
    /// The part of the file system that is mounted here.
    pub root: String,
    /// Where, as the process sees it.
    pub path: String,
    /// Mounted read-only, here or as a whole.
    pub read_only: bool,
    /// The file system's type.
    pub kind: String,
    /// Options of the file system as a whole; for v1 control groups the controllers.
    pub options: String,
}

impl Mount {
    /// Programs write data to it and asking for its room can't hang.
    pub fn holds_data(&self) -> bool {
        let base = self.kind.as_str();
        let in_kernel_tree = ["/proc", "/sys"].iter().any(|top| Path::new(&self.path).starts_with(top));
        // A FUSE file system may be served by a program or a host that is gone.
        !PSEUDO.contains(&base) && !REMOTE.contains(&base) && !base.starts_with("fuse.") && !in_kernel_tree
    }
}

/// Parses mountinfo. Lines that can't be understood are left out.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().take(MOUNT_LIMIT).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // A variable number of optional fields ends with a lone dash.
    let (before, after) = line.split_once(" - ")?;
    let mut first = before.split(' ').skip(2);
    let (device, root, path, here) = (first.next()?, first.next()?, first.next()?, first.next()?);
    let mut second = after.split(' ');
    let (kind, _source, options) = (second.next()?, second.next()?, second.next().unwrap_or(""));
    let ro = |list: &str| list.split(',').any(|option| option == "ro");
    Some(Mount {
        device: device.to_owned(),
        root: unescape(root),
        path: unescape(path),
        read_only: ro(here) || ro(options),
        kind: kind.to_owned(),
        options: options.to_owned(),
    })
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The mounts that a process sees.
pub fn of_process(proc: &Path, pid: u32) -> Result<Vec<Mount>> {
    read_with(&process::dir(proc, pid).join("mountinfo"), |text| Ok(parse(text)))
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Its size, bytes.
    pub total_bytes: u64,
    /// Free for unprivileged writers, bytes.
    pub available_bytes: u64,
    /// Inodes; 0 where it does not count them.
    pub total_inodes: u64,
    /// Inodes free for unprivileged writers.
    pub available_inodes: u64,
}

/// The room at a path.
#[allow(clippy::unnecessary_cast)] // the C types differ between platforms
pub fn room(path: &Path) -> Result<Room> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|e| Error::io(path, &e.into()))?;
    let unit = stat.fragment_size() as u64;
    Ok(Room {
        total_bytes: (stat.blocks() as u64).saturating_mul(unit),
        available_bytes: (stat.blocks_available() as u64).saturating_mul(unit),
        total_inodes: stat.files() as u64,
        available_inodes: stat.files_available() as u64,
    })
}

/// A path of a process as this program can reach it: the process may live in another mount namespace or below another root.
pub fn reach(proc: &Path, pid: u32, path: &str) -> PathBuf {
    let root = process::dir(proc, pid).join("root");
    let other = std::fs::read_link(&root).is_ok_and(|target| target != Path::new("/"))
        || process::link(proc, pid, "ns/mnt").ok() != std::fs::read_link(proc.join("self/ns/mnt")).ok();
    if other { root.join(path.trim_start_matches('/')) } else { PathBuf::from(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo() {
        let mounts = parse(include_str!("../../fixtures/kernel/6.18/mountinfo"));
        let data: Vec<&str> =
            mounts.iter().filter(|m| m.holds_data() && !m.read_only).map(|m| m.path.as_str()).collect();
        assert_eq!(data, ["/dev/shm", "/", "/dev/shm"]);
        let v1 = mounts.iter().find(|m| m.path == "/sys/fs/cgroup/memory").unwrap();
        assert_eq!((v1.kind.as_str(), v1.options.as_str(), v1.root.as_str()), ("cgroup", "rw,memory", "/"));
        let odd = parse(
            "36 35 98:0 /m\\0401 /mnt\\011a rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\nbroken\n",
        );
        assert_eq!((odd.len(), odd[0].root.as_str(), odd[0].path.as_str()), (1, "/m 1", "/mnt\ta"));
    }

    #[test]
    fn asks_for_room() {
        let room = room(Path::new("/")).unwrap();
        assert!(room.total_bytes >= room.available_bytes && room.total_bytes > 0);
        assert_eq!(reach(Path::new("/proc"), std::process::id(), "/x"), Path::new("/x"));
    }
}
