//! How far a rollout is: which agents run which version, who is behind, who is silent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

document! {
    /// Versions and silences across the fleet.
    RolloutDoc {
        /// Agents by version, the 20 most frequent; the others together as "other", those that tell none as "unknown".
        versions: BTreeMap<String, u64>,
        /// How many are older than the collector.
        behind_count: u64,
        /// They, by name, at most 50.
        behind: Vec<BehindDoc>,
        /// How many are silent.
        silent_count: u64,
        /// They, silent for the longest time first, at most 50.
        silent: Vec<SilentDoc>,
    }
}

document! {
    /// An agent that is older than the collector.
    BehindDoc {
        /// Its host.
        host: String,
        /// Its version.
        version: String,
    }
}

document! {
    /// A host that is silent though nobody stopped its agent.
    SilentDoc {
        /// Its name.
        host: String,
        /// When it was last heard.
        since: String,
    }
}
