//! Entering namespaces: a process that unshares them, starts process 1 inside, and ends with it. Both die with their
//! parent, so that nothing outlives the lab however it ends.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{getgid, getuid};

use super::{Doing, Done, cgroup};

/// Network, processes, mounts: what a story has for itself.
pub const STORY: &str = "story";
/// The same and the host name: what a host has for itself.
pub const HOST: &str = "host";
/// A host after a reboot: its uptime begins anew, and it has another boot id.
pub const REBOOTED: &str = "rebooted";
/// Set where journals are recorded.
pub const RECORDS: &str = "WHY502_LAB_RECORDS";
/// `CLONE_NEWTIME`, clocks of their own for the processes that are started.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// Unshares what `role` has for itself, starts this program with `arguments` as process 1, prints its number as the
/// parent sees it, waits.
pub fn enter(role: &str, arguments: &[String]) -> Done<ExitCode> {
    die_with_parent()?;
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if role != STORY {
        flags |= CloneFlags::CLONE_NEWUTS;
    }
    let (uid, gid) = (getuid(), getgid());
    if role == STORY && !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).doing("unshare the user namespace")?;
        std::fs::write("/proc/self/setgroups", "deny").doing("/proc/self/setgroups")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).doing("/proc/self/uid_map")?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).doing("/proc/self/gid_map")?;
    }
    unshare(flags).doing("unshare namespaces")?;
    if role == REBOOTED {
        unshare(NEW_TIME).doing("unshare the time namespace")?;
        let up_s = clock_gettime(ClockId::CLOCK_BOOTTIME).doing("uptime")?.tv_sec();
        let offsets = format!("boottime -{up_s} 0\nmonotonic -{up_s} 0\n");
        std::fs::write("/proc/self/timens_offsets", offsets).doing("/proc/self/timens_offsets")?;
    }
    let own = std::env::current_exe().doing("own path")?;
    let mut child = Command::new(own).args(arguments).spawn().doing("start process 1")?;
    if role != STORY {
        println!("{}", child.id());
        std::io::stdout().flush().doing("standard output")?;
    }
    let status = child.wait().doing("wait for process 1")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Also takes back the lab's own blocking of signals, which programs inherit.
fn die_with_parent() -> Done {
    SigSet::all().thread_unblock().doing("unblock signals")?;
    set_pdeathsig(Signal::SIGKILL).doing("PR_SET_PDEATHSIG")
}

const NONE: Option<&str> = None;

/// What process 1 of a story does first: dies with its parent, and sees its own processes and interfaces under /proc and /sys.
pub fn settle() -> Done {
    own_proc()?;
    own_sys()
}

/// What process 1 of a host does first: the same, and it is in the groups whose folders are given, with nothing above.
pub fn settle_host(role: &str, groups: &[String]) -> Done {
    own_proc()?;
    // Shared memory is named by process ids, which are the same on every host.
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("size=16m")).doing("mount /dev/shm")?;
    if std::env::var_os(RECORDS).is_some() {
        hide_kernel_log()?;
    }
    if role == REBOOTED {
        other_boot_id()?;
    }
    cgroup::enter(groups)?;
    unshare(CloneFlags::CLONE_NEWCGROUP).doing("unshare the cgroup namespace")?;
    let hierarchies = cgroup::mounted()?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE).doing("mount /sys")?;
    if hierarchies.iter().all(|one| one.at != Path::new(cgroup::TOP)) {
        mount(Some("tmpfs"), cgroup::TOP, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).doing(cgroup::TOP)?;
    }
    for one in hierarchies {
        let doing = format!("mount {} at {}", one.kind, one.at.display());
        std::fs::create_dir_all(&one.at).doing(&doing)?;
        let (kind, options) = (Some(one.kind.as_str()), Some(one.options.as_str()));
        mount(kind, &one.at, kind, MsFlags::empty(), options).doing(&doing)?;
    }
    Ok(())
}

/// The kernel's log is the machine's: what is kept of a story must not hold what else runs there.
fn hide_kernel_log() -> Done {
    const LOG: &str = "/dev/kmsg";
    mount(Some(LOG), LOG, NONE, MsFlags::MS_BIND, NONE).doing(LOG)?;
    let no_devices = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV;
    mount(NONE, LOG, NONE, no_devices, NONE).doing(LOG)
}

fn other_boot_id() -> Done {
    let id = std::fs::read("/proc/sys/kernel/random/uuid").doing("a boot id")?;
    let file = tempfile::NamedTempFile::new().doing("a boot id")?;
    std::fs::write(file.path(), id).doing("a boot id")?;
    mount(Some(file.path()), "/proc/sys/kernel/random/boot_id", NONE, MsFlags::MS_BIND, NONE).doing("bind the boot id")
}

fn own_proc() -> Done {
    die_with_parent()?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).doing("make mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NONE).doing("mount /proc")
}

/// A /sys that shows this network namespace, with the machine's control groups in their place.
fn own_sys() -> Done {
    let folder = tempfile::tempdir().doing("folder for /sys")?;
    let aside = folder.path();
    let had_groups = mount(Some("/sys/fs/cgroup"), aside, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).is_ok();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE).doing("mount /sys")?;
    if had_groups {
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(aside), "/sys/fs/cgroup", NONE, bind, NONE).doing("bind /sys/fs/cgroup")?;
        nix::mount::umount2(aside, nix::mount::MntFlags::MNT_DETACH).doing("unmount the other /sys/fs/cgroup")?;
    }
    Ok(())
}

/// What this program does where the lab started it anew for one of its parts. None: a person called it.
pub fn internal(arguments: &[String]) -> Option<Done<ExitCode>> {
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &text[..] {
        ["--enter", role, ..] => Some(enter(role, &arguments[2..])),
        ["--probe"] => Some(settle().map(|()| ExitCode::SUCCESS)),
        ["--init", role, name, ..] => Some(super::init::serve(role, name, &arguments[3..])),
        _ => None,
    }
}

/// Whether this machine lets us have namespaces of our own.
pub fn possible() -> Done {
    let own = std::env::current_exe().doing("own path")?;
    let out = Command::new(own).args(["--enter", STORY, "--probe"]).output().doing("start a probe")?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()) }
}
