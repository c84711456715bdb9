//! Process descriptors: they become readable when the process ends, whoever its parent is, and never speak of another process
//! that got the same id. Sources: pidfd_open(2), include/uapi/linux/pidfd.h (PIDFD_GET_INFO; PIDFD_INFO_EXIT since Linux 6.15,
//! told once the parent has reaped it).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// `mask` bit: tell the exit status.
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// Bytes of `struct pidfd_info` as first published (PIDFD_INFO_SIZE_VER0).
const INFO_BYTES: usize = 64;

/// Opens a process descriptor, close-on-exec.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the call takes two plain numbers and no memory; what it returns is a new descriptor that nobody else owns.
    #[allow(unsafe_code)]
    let opened = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        Errno::result(fd).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    };
    opened.map_err(io::Error::from)
}

/// The wait status of the process behind a descriptor, once it was reaped. None: it still runs, or is not reaped yet, or
/// the kernel is older than 6.15.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    // Eight-byte words, so that the kernel's structure is aligned.
    let mut words = [0u64; INFO_BYTES / 8];
    words[0] = PIDFD_INFO_EXIT;
    // SAFETY: the request's number carries the size of `words`, so the kernel writes no further than its end.
    #[allow(unsafe_code)]
    let done = unsafe {
        Errno::result(libc::ioctl(
            pidfd.as_raw_fd(),
            nix::request_code_readwrite!(0xFF, 11, INFO_BYTES),
            words.as_mut_ptr(),
        ))
    };
    done?;
    // `exit_code` is the second half of the last word: bytes 60 to 64.
    let bytes = words[INFO_BYTES / 8 - 1].to_ne_bytes();
    let code = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    Ok((words[0] & PIDFD_INFO_EXIT != 0).then_some(code))
}

/// Whether this kernel tells exit statuses of processes that are no children, from its release such as "6.18.44-fc".
pub fn tells_exit_status(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

/// How a process ended, from a wait status as waitpid(2) gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with a code.
    Code(u32),
    /// A signal ended it.
    Signal {
        /// Its number.
        number: u32,
        /// Core was dumped.
        core: bool,
    },
}

impl End {
    /// From a wait status.
    pub fn from_wait_status(status: i32) -> Self {
        let status = status as u32;
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            number => Self::Signal { number, core: status & 0x80 != 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wait_for_end(fd: &OwnedFd) {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)).unwrap(), 1, "the child should end");
    }

    #[test]
    fn tells_code_and_signal_after_reaping() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let fd = open(child.id()).unwrap();
        wait_for_end(&fd);
        child.wait().unwrap();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        if tells_exit_status(&release) {
            assert_eq!(exit_status(fd.as_fd()).unwrap().map(End::from_wait_status), Some(End::Code(7)));
        }
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let fd = open(child.id()).unwrap();
        if tells_exit_status(&release) {
            assert_eq!(exit_status(fd.as_fd()).unwrap(), None);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if tells_exit_status(&release) {
            let end = exit_status(fd.as_fd()).unwrap().map(End::from_wait_status);
            assert_eq!(end, Some(End::Signal { number: 9, core: false }));
        }
    }

    #[test]
    fn reads_wait_statuses() {
        assert_eq!(End::from_wait_status(1792), End::Code(7));
        assert_eq!(End::from_wait_status(139), End::Signal { number: 11, core: true });
        assert!(tells_exit_status("6.18.44-fc-v669") && tells_exit_status("7.0.0") && tells_exit_status("6.15-rc1"));
        assert!(!tells_exit_status("6.14.9") && !tells_exit_status("5.15.0-91") && !tells_exit_status(""));
    }
}
