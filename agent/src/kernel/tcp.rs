//! What the kernel tells of one TCP connection. Source: tcp(7), TCP_INFO.

use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;

mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    sockopt_impl!(
        /// The state of a connection.
        Info,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        libc::tcp_info
    );
}

/// Segments that were sent again over a connection, SYNs with them. None: it is no TCP socket.
pub fn resent(socket: &impl AsFd) -> Option<u32> {
    getsockopt(socket, option::Info).ok().map(|info: libc::tcp_info| info.tcpi_total_retrans)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_connection_on_this_host_sends_nothing_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(resent(&stream), Some(0));
        assert_eq!(resent(&UnixStream::pair().unwrap().0), None);
    }
}
