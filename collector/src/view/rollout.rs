//! How far a rollout is, for `status`: who runs which version, who is behind the collector, who has fallen silent.

use std::collections::BTreeMap;

use super::View;
use super::document::{BehindDoc, RolloutDoc, SilentDoc, stamp};
use super::fleet::host_state;

/// Versions that are told apart.
const VERSIONS_MAX: usize = 20;
/// Hosts in each list.
const HOSTS_MAX: usize = 50;

/// The rollout of a view, as a collector of version `own` sees it.
pub fn rollout_doc(view: &View, own: &str) -> RolloutDoc {
    let counts = versions(view);
    let is_behind = |version: &str| numbers(version).zip(numbers(own)).is_some_and(|(theirs, own)| theirs < own);
    let old: BTreeMap<&str, u64> =
        counts.iter().map(|(version, count)| (*version, *count)).filter(|(version, _)| is_behind(version)).collect();
    let behind = view.hosts.iter().filter(|host| old.contains_key(host.agent_version.as_str()));
    let mut silent: Vec<_> = view.hosts.iter().filter(|host| host_state(host) == "silent").collect();
    silent.sort_by_key(|host| host.last_heard_us);
    RolloutDoc {
        behind_count: old.values().sum(),
        versions: told(counts),
        behind: behind
            .take(HOSTS_MAX)
            .map(|host| BehindDoc { host: host.name.clone(), version: host.agent_version.clone() })
            .collect(),
        silent_count: silent.len() as u64,
        silent: silent
            .into_iter()
            .take(HOSTS_MAX)
            .map(|host| SilentDoc { host: host.name.clone(), since: stamp(host.last_heard_us) })
            .collect(),
    }
}

/// Agents by version.
fn versions(view: &View) -> BTreeMap<&str, u64> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for host in &view.hosts {
        *counts.entry(&host.agent_version).or_default() += 1;
    }
    counts
}

/// The counts as they are told. The texts come from outside, so that no more of them are told apart than a fleet has on purpose.
fn told(counts: BTreeMap<&str, u64>) -> BTreeMap<String, u64> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut told = BTreeMap::new();
    for (at, (version, count)) in counts.into_iter().enumerate() {
        let name = match version {
            _ if at >= VERSIONS_MAX => "other",
            "" => "unknown",
            _ => version,
        };
        *told.entry(name.to_owned()).or_default() += count;
    }
    told
}

/// A version such as 0.10.2 as numbers, which have an order; what follows them does not count. None where it is no version.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Vec<u64>> = plain.split('.').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::HostState;

    fn view(hosts: &[(&str, &str, bool, i64)]) -> View {
        let host = |(name, version, connected, last_heard_us): &(&str, &str, bool, i64)| {
            Arc::new(HostState {
                name: (*name).to_owned(),
                agent_version: (*version).to_owned(),
                connected: *connected,
                last_heard_us: *last_heard_us,
                ..HostState::default()
            })
        };
        View { hosts: hosts.iter().map(host).collect(), ..View::default() }
    }

    #[test]
    fn who_is_behind_is_told_by_numbers_and_not_by_letters() {
        let fleet =
            [("a", "0.9.9", true, 1), ("b", "0.10.0", true, 1), ("c", "0.11.0-rc1", true, 1), ("d", "", true, 1)];
        let doc = rollout_doc(&view(&fleet), "0.10.0");
        assert_eq!(doc.behind.iter().map(|one| one.host.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(doc.versions.get("unknown"), Some(&1));
        assert_eq!((doc.versions.len(), doc.behind_count, doc.silent_count), (4, 1, 0));
    }

    #[test]
    fn the_longest_silence_comes_first_and_lists_have_an_end() {
        let names: Vec<String> = (0..60).map(|number| format!("h{number}")).collect();
        let fleet: Vec<_> = names.iter().zip(0..).map(|(name, at)| (name.as_str(), "0.0.1", false, 100 - at)).collect();
        let doc = rollout_doc(&view(&fleet), "0.1.0");
        assert_eq!((doc.silent_count, doc.silent.len(), doc.silent[0].host.as_str()), (60, 50, "h59"));
        assert_eq!((doc.behind_count, doc.behind.len()), (60, 50));
    }

    #[test]
    fn versions_from_outside_are_bounded() {
        let names: Vec<String> = (0..60).map(|number| format!("1.0.{number}")).collect();
        let fleet: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), true, 1)).collect();
        let doc = rollout_doc(&view(&fleet), "1.0.0");
        assert_eq!((doc.versions.len(), doc.versions.get("other")), (21, Some(&40)));
    }
}
