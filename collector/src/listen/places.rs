//! How many connections there may be: as many as the descriptors allow beside those of files, for one that can't be opened
//! ends the journal.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Connections of agents at once, where the descriptors allow it.
const AGENTS_MAX: u64 = 16_384;
/// Connections of askers at once, likewise.
const ASKERS_MAX: u64 = 256;
/// Descriptors kept for files, likewise.
const FILES: u64 = 512;

/// Places for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Of agents.
    pub agents: usize,
    /// Of askers.
    pub askers: usize,
}

impl Places {
    /// As many as the descriptors allow, after asking for as many as may be had.
    pub fn at_hand() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Self::within(FILES) };
        let wanted = hard.min(AGENTS_MAX + ASKERS_MAX + FILES).max(soft);
        Self::within(if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft })
    }

    fn within(descriptors: u64) -> Self {
        let files = FILES.min(descriptors / 2);
        let askers = ASKERS_MAX.min(descriptors / 8).max(1);
        let agents = descriptors.saturating_sub(files + askers).clamp(1, AGENTS_MAX);
        let count = |places| usize::try_from(places).unwrap_or(usize::MAX);
        Self { agents: count(agents), askers: count(askers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_always_have_their_share() {
        let places = |descriptors| Places::within(descriptors);
        assert_eq!(places(1 << 20), Places { agents: 16_384, askers: 256 });
        assert_eq!(places(1_024), Places { agents: 384, askers: 128 });
        assert_eq!(places(64), Places { agents: 24, askers: 8 });
    }
}
