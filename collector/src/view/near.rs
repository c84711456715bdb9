//! The names that somebody most likely meant who named nobody.

use std::collections::BTreeSet;

use super::View;

/// Names that are offered.
const OFFERED: usize = 3;
/// A longer text is no mistyped name, bytes.
const LONGEST: usize = 128;
/// A shorter text is part of too many names, bytes.
const LEAST_PART: usize = 3;

/// Hosts, services, gateways and upstreams whose names are like `target`, the likest first.
pub fn near(view: &View, target: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    for host in &view.hosts {
        let gateways = host.gateways.keys().chain(host.gateways.values().flat_map(|one| one.upstreams.keys()));
        known.insert(host.name.as_str());
        known.extend(host.services.keys().chain(host.instances.keys()).chain(gateways).map(String::as_str));
    }
    like(target, known)
}

/// Those of the known words that are like `wanted`, the likest first.
pub fn like<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if wanted.len() > LONGEST {
        return Vec::new();
    }
    let wanted = wanted.to_lowercase();
    let mut like: Vec<(usize, &str)> =
        known.into_iter().filter_map(|word| Some((distance(&wanted, &word.to_lowercase())?, word))).collect();
    like.sort_unstable();
    like.into_iter().take(OFFERED).map(|(_, word)| word.to_owned()).collect()
}

/// How many edits lie between two words, and more where one is but a part of the other; None: too many.
fn distance(wanted: &str, word: &str) -> Option<usize> {
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    let edits = strsim::osa_distance(wanted, word);
    let is_part = wanted.len() >= LEAST_PART && word.contains(wanted);
    match edits <= allowed {
        true => Some(edits),
        false => is_part.then_some(allowed + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_name_finds_it_and_what_is_nothing_like_one_does_not() {
        let known = ["app-1", "app-2", "checkout", "10.0.0.2:3000", "10.0.0.2:8080"];
        for (wanted, found) in [
            ("chekcout", &["checkout"][..]),
            ("Check", &["checkout"]),
            ("app-11", &["app-1", "app-2"]),
            ("10.0.0.2:3001", &["10.0.0.2:3000", "10.0.0.2:8080"]),
            ("10.0.0.2", &["10.0.0.2:3000", "10.0.0.2:8080"]),
            ("billing", &[]),
            ("xy", &[]),
        ] {
            assert_eq!(like(wanted, known), found, "{wanted}");
        }
        assert!(like(&"a".repeat(10_000), known).is_empty());
    }
}
