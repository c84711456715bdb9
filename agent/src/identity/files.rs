//! The files of an identity: replaced whole, the key readable for its owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::dial::Certificate;

/// Most bytes of a file that is read: certificates and keys are small.
const LIMIT_BYTES: u64 = 1 << 20;

/// Replaces a file, readable for its owner only: the old text or the new, whatever happens in between.
pub fn replace(path: &Path, text: &[u8]) -> Result<(), String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    // What a crash left behind may have other rights.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(told)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(told)?;
    fs::rename(&fresh, path).and_then(|()| File::open(dir)?.sync_all()).map_err(told)
}

/// Gives what root made to the owner of another file. Nobody else gives anything away.
pub fn give_to(path: &Path, owner: &fs::Metadata) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let found = fs::metadata(path).map_err(told)?;
    if (found.uid(), found.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(told)
}

/// Reads a file; the error names it.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(told)?.len() > LIMIT_BYTES {
        return Err(format!("{}: too large", path.display()));
    }
    fs::read(path).map_err(told)
}

/// The certificate in a file; None where there is none that can be read.
pub fn certificate(path: &Path) -> Option<Certificate> {
    Certificate::parse(&CertificateDer::from_pem_slice(&read(path).ok()?).ok()?)
}

/// What tells one version of a file from the next.
pub type Stamp = (u64, i64, i64);

/// What the file is now; None where there is none.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec()))
}
