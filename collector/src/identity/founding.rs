//! The first moment of a collector that is its own CA: the folder, the administrator's token, the root. `why502 ca init` asks for
//! it, and so does a collector that starts for the first time and would else be open to its network.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::authority::Authority;
use super::{now_s, registry};

/// What was made.
pub struct Founded {
    /// What agents pin.
    pub pin: String,
    /// The file with the administrator's token.
    pub token: PathBuf,
}

/// Makes the CA in a folder that holds none. The root comes last: while there is none, nothing was made yet.
pub fn found(dir: &Path) -> Result<Founded, String> {
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
    Authority::must_be_none(dir)?;
    let token = registry::first_token(dir, now_s())?;
    Authority::create(dir)?;
    give_to_owner(dir)?;
    let authority = Authority::load(dir)?.ok_or_else(|| format!("{} holds no CA", dir.display()))?;
    Ok(Founded { pin: authority.pin(), token })
}

/// What root makes belongs to whom the store belongs, whose collector shall read it. Nobody else gives anything away.
pub fn give_to_owner(dir: &Path) -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    let store = fs::metadata(dir.parent().unwrap_or(dir)).map_err(told)?;
    let made = fs::read_dir(dir).map_err(told)?.flatten().map(|entry| entry.path());
    for path in made.chain([dir.to_owned()]) {
        let found = fs::metadata(&path).map_err(told)?;
        if (found.uid(), found.gid()) != (store.uid(), store.gid()) {
            chown(&path, Some(store.uid()), Some(store.gid())).map_err(told)?;
        }
    }
    Ok(())
}
