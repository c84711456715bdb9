//! Who this host is to its collectors: its key, which is made here and never leaves, the certificate that names it, and the
//! roots that it trusts. They lie in files that are read anew for each connection; `keep` renews the certificate and tells when
//! they changed. Nothing of it is written beyond the state directory.

mod enroll;
mod files;
mod keep;
mod key;
mod pinned;
mod reach;
mod tls;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

pub use enroll::{Enrolment, enroll};
pub use keep::keep;
pub use reach::{CONNECT_LIMIT, reach, refusal};

/// The folder of a host's identity below its state directory, where none is configured.
const DIR: &str = "identity";

/// Where a host's identity lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The roots to trust in a collector. None: the system's.
    pub ca: Option<PathBuf>,
    /// The host's certificate and its key. None: it shows none.
    pub pair: Option<Pair>,
    /// The agent keeps all of it itself: it enrolled, and renews the certificate.
    pub own: bool,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, PEM, with what stands between it and a root.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Identity {
    /// That of a state directory, as enrolment leaves it.
    pub fn in_state_dir(state_dir: &Path) -> Self {
        let (ca, pair) = own_files(state_dir);
        Self { ca: Some(ca), pair: Some(pair), own: true }
    }
}

/// Where enrolment puts the roots, and the certificate and the key.
fn own_files(state_dir: &Path) -> (PathBuf, Pair) {
    let dir = state_dir.join(DIR);
    (dir.join("ca.pem"), Pair { cert: dir.join("cert.pem"), key: dir.join("key.pem") })
}

/// An identity, and word of each change of its files.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Where it lies.
    pub identity: Identity,
    /// Marked as changed whenever its files did.
    pub changes: watch::Receiver<()>,
}
