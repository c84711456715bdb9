//! Netlink sockets: requests with their numbers, dumps message by message, and attributes taken apart. What the messages say is
//! for the modules that ask. Sources: netlink(7), include/uapi/linux/netlink.h.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use super::{Error, Result};

/// `struct nlmsghdr`: length, kind, flags, number, port.
const HEADER_BYTES: usize = 16;
/// The kernel fills datagrams of a dump up to 32 KiB where the reader has room (`netlink_recvmsg`).
const BUFFER_BYTES: usize = 32 * 1024;

/// A socket to one part of the kernel, of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    /// The part's name, for errors.
    part: &'static str,
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket.
    pub fn open(protocol: SockProtocol, part: &'static str) -> Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|errno| failed(part, "open", errno))?;
        Ok(Self { part, fd, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Opens a socket that the kernel tells of changes in some groups (a bit for each); it never waits.
    pub fn subscribe(protocol: SockProtocol, part: &'static str, groups: u32) -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let subscribed = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
            .and_then(|fd| bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map(|()| fd));
        let fd = subscribed.map_err(|errno| failed(part, "subscribe", errno))?;
        Ok(Self { part, fd, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// A second descriptor of the same socket, readable while something waits.
    pub fn readable(&self) -> io::Result<OwnedFd> {
        self.fd.as_fd().try_clone_to_owned()
    }

    /// Asks for all there is; each answer's kind and payload are handed on.
    pub fn dump(&mut self, kind: u16, body: &[u8], mut each: impl FnMut(u16, &[u8])) -> Result<()> {
        self.request(kind, NLM_F_DUMP, body)?;
        loop {
            let received = self.receive()?;
            let end = messages(self.buffer.get(..received).unwrap_or_default(), |message| match message {
                Message::Other { sequence, kind, payload } if sequence == self.sequence => {
                    each(kind, payload);
                    None
                }
                Message::End { sequence, errno } if sequence == self.sequence => Some(errno),
                Message::Broken => Some(Some(Errno::EBADMSG)),
                // What is left of an earlier dump that broke off.
                Message::Other { .. } | Message::End { .. } => None,
            });
            match end {
                None => {}
                Some(None) => return Ok(()),
                Some(Some(errno)) => return Err(failed(self.part, "dump", errno)),
            }
        }
    }

    /// Asks one thing: the answer's kind and payload, or the kernel's refusal.
    pub fn ask(&mut self, kind: u16, body: &[u8]) -> Result<std::result::Result<(u16, Vec<u8>), Errno>> {
        self.request(kind, 0, body)?;
        loop {
            let received = self.receive()?;
            let answer = messages(self.buffer.get(..received).unwrap_or_default(), |message| match message {
                Message::Other { sequence, kind, payload } if sequence == self.sequence => {
                    Some(Ok((kind, payload.to_vec())))
                }
                Message::End { sequence, errno } if sequence == self.sequence => {
                    Some(Err(errno.unwrap_or(Errno::ENODATA)))
                }
                Message::Broken => Some(Err(Errno::EBADMSG)),
                Message::Other { .. } | Message::End { .. } => None,
            });
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// Hands on what waits at a subscribed socket. False: some was lost, for the socket's buffer was full.
    pub fn told(&mut self, mut each: impl FnMut(u16, &[u8])) -> Result<bool> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(received) => {
                    messages(self.buffer.get(..received).unwrap_or_default(), |message| {
                        if let Message::Other { kind, payload, .. } = message {
                            each(kind, payload);
                        }
                        None::<()>
                    });
                }
                Err(Errno::EAGAIN) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Ok(false),
                Err(errno) => return Err(failed(self.part, "receive", errno)),
            }
        }
    }

    fn request(&mut self, kind: u16, flags: i32, body: &[u8]) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER_BYTES + body.len();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&((NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        let sent = send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty());
        sent.map(drop).map_err(|errno| failed(self.part, "send", errno))
    }

    /// The kernel answers while it takes a request, so this does not wait.
    fn receive(&mut self) -> Result<usize> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                received => return received.map_err(|errno| failed(self.part, "receive", errno)),
            }
        }
    }
}

fn failed(part: &str, step: &str, errno: Errno) -> Error {
    let mut error = Error::io(Path::new(part), &errno.into());
    error.what = format!("{step}: {}", error.what);
    error
}

/// One message of a datagram.
enum Message<'a> {
    /// Data.
    Other {
        /// The number of the request that it answers.
        sequence: u32,
        /// Its kind.
        kind: u16,
        /// All behind the header.
        payload: &'a [u8],
    },
    /// The end of a dump, or a refusal.
    End {
        /// The number of the request that it answers.
        sequence: u32,
        /// The kernel's error.
        errno: Option<Errno>,
    },
    /// A length beyond what was received.
    Broken,
}

/// Walks the messages of a datagram until `each` has what it wants.
fn messages<T>(mut bytes: &[u8], mut each: impl FnMut(Message<'_>) -> Option<T>) -> Option<T> {
    while let (Some(length), Some(kind), Some(sequence)) = (u32_at(bytes, 0), u16_at(bytes, 4), u32_at(bytes, 8)) {
        let length = length as usize;
        let message = match bytes.get(HEADER_BYTES..length) {
            None => return each(Message::Broken),
            Some(payload) => match i32::from(kind) {
                NLMSG_DONE => Message::End { sequence, errno: None },
                NLMSG_ERROR => Message::End { sequence, errno: refusal(payload) },
                _ => Message::Other { sequence, kind, payload },
            },
        };
        if let Some(found) = each(message) {
            return Some(found);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// `struct nlmsgerr` begins with the negative error.
fn refusal(payload: &[u8]) -> Option<Errno> {
    let Some(code) = u32_at(payload, 0) else { return Some(Errno::EBADMSG) };
    (code != 0).then(|| Errno::from_raw((code as i32).wrapping_neg()))
}

/// Attributes (`struct rtattr`): kind and value of each.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two upper bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
        Some((kind & 0x3fff, value))
    })
}

/// An attribute as the kernel reads it.
pub fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&u16::try_from(4 + value.len()).unwrap_or(0).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A number of the kernel's structures, in this machine's byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// As `u16_at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// As `u16_at`.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// An address as netlink carries it: 4 or 16 bytes, by its family.
pub fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(std::net::IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(std::net::IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_datagrams_and_attributes_apart() {
        let mut datagram = Vec::new();
        for (kind, body) in [(16u16, [1u8; 5].as_slice()), (2, &(-13i32).to_ne_bytes())] {
            datagram.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
            datagram.extend_from_slice(&kind.to_ne_bytes());
            datagram.extend_from_slice(&[0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
            datagram.extend_from_slice(body);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        let mut seen = Vec::new();
        let refused = messages(&datagram, |message| match message {
            Message::Other { sequence, kind, payload } => {
                seen.push((sequence, kind, payload.len()));
                None
            }
            Message::End { errno, .. } => errno,
            Message::Broken => None,
        });
        assert_eq!((seen, refused), (vec![(7, 16, 5)], Some(Errno::EACCES)));
        assert!(messages(&[255; 20], |message| matches!(message, Message::Broken).then_some(())).is_some());

        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 3, b"eth0\0");
        push_attribute(&mut bytes, 1 | 0x8000, &[9]);
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(3, b"eth0\0".as_slice()), (1, &[9])]);
        assert_eq!(attributes(&[200, 0, 1, 0, 1]).count(), 0, "a length beyond the end");
    }
}
