//! Descriptors that become readable, as tasks wait for them.

use std::future::pending;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime wait for a descriptor. None: there is none, or it can't be waited for.
pub fn wakeful(fd: Option<OwnedFd>) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and the registration owns it.
    #[allow(unsafe_code)]
    let registered = unsafe { AsyncFd::register_with_interest(fd?, Interest::READABLE) };
    registered.ok()
}

/// Waits until it is readable; for ever where there is none. The readiness is cleared before the caller reads all there is, so
/// what comes meanwhile wakes it again.
pub async fn ready(fd: Option<&AsyncFd<OwnedFd>>) {
    match fd {
        Some(fd) => match fd.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}
