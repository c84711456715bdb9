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

pub use enroll::{Enrolment, enroll, is_enrolled};
pub use keep::keep;
pub use reach::{CONNECT_LIMIT, reach, refusal};

/// The folder of a host's identity below its state directory, where none is configured.
const DIR: &str = "identity";

/// Written instead of a collector's address: the one that this host enrolled with, as soon as it has.
pub const ENROLLED: &str = "enrolled";
/// Keeps its address, beside the certificate.
const COLLECTOR: &str = "collector";

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

    /// The address of the collector that this host enrolled with.
    fn enrolled_with(&self) -> Result<String, String> {
        let none =
            || "this host is not enrolled: on the collector, why502 token create tells what to run here".to_owned();
        let pair = self.pair.as_ref().filter(|_| self.own).ok_or_else(none)?;
        let kept = files::read(&pair.cert.with_file_name(COLLECTOR)).map_err(|_| none())?;
        String::from_utf8(kept).map(|url| url.trim().to_owned()).map_err(|_| none())
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
