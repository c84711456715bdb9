//! Which cases are to be judged anew: those that a piece of news bears on, found without a look at all the others, for one
//! host may have thousands of them and everybody's reports bring news.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Case, CaseKey, Cases, Made};
use crate::model::GatewayRef;

/// Finds the cases that news bears on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct News {
    /// Those that something new bears on and that do not wait for their turn yet.
    fresh: BTreeSet<CaseKey>,
    /// Cases by the instance's host, as found when they were last judged.
    by_place: BTreeMap<String, BTreeSet<CaseKey>>,
    /// Cases whose upstream no record names: anybody's news bears on them.
    unplaced: BTreeSet<CaseKey>,
}

impl News {
    /// A case was opened.
    pub(super) fn opened(&mut self, case: &Case) {
        if case.key.upstream.is_none() {
            self.unplaced.insert(case.key.clone());
        }
    }

    /// A case was closed.
    pub(super) fn closed(&mut self, case: &Case) {
        self.fresh.remove(&case.key);
        self.unplaced.remove(&case.key);
        self.left(&case.key, case.host.as_deref());
    }

    fn left(&mut self, key: &CaseKey, place: Option<&str>) {
        let Some(place) = place else { return };
        let Some(keys) = self.by_place.get_mut(place) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.by_place.remove(place);
        }
    }

    /// Something new bears on a case.
    pub(super) fn stir(&mut self, case: &mut Case) {
        if !std::mem::replace(&mut case.waits, true) {
            self.fresh.insert(case.key.clone());
        }
    }
}

impl Cases {
    /// Something new bears on all cases.
    pub fn stir_all(&mut self) {
        self.open.values_mut().for_each(|case| self.news.stir(case));
    }

    /// Time has passed: evidence may still come for those that had a failure after a time.
    pub fn stir_recent(&mut self, after_us: i64) {
        let recent = self.open.values_mut().filter(|case| case.total.heard_us > after_us);
        recent.for_each(|case| self.news.stir(case));
    }

    /// Whether an open case is of a host's gateways or instances.
    pub fn bear_on(&self, host: &str) -> bool {
        self.by_host.contains_key(host) || self.news.by_place.contains_key(host)
    }

    /// A host has news: it bears on the cases of its gateways and of its instances, and on those that may be.
    pub fn stir_concerned(&mut self, host: &str) {
        let gateway = GatewayRef { host: host.to_owned(), ..GatewayRef::default() };
        let first = CaseKey { gateway, upstream: None, made: Made::ByGateway };
        let of_gateways = self.open.range_mut(first..).take_while(|(key, _)| key.gateway.host == host);
        of_gateways.for_each(|(_, case)| self.news.stir(case));
        let placed = self.news.by_place.get(host).into_iter().flatten();
        let others: Vec<CaseKey> = placed.chain(&self.news.unplaced).cloned().collect();
        for key in others {
            if let Some(case) = self.open.get_mut(&key) {
                self.news.stir(case);
            }
        }
    }

    /// Remembers where a case that was just judged turned out to be; before it was thought to be elsewhere.
    pub fn placed(&mut self, key: &CaseKey, before: Option<&str>) {
        let Some(case) = self.open.get(key).filter(|case| case.host.as_deref() != before) else { return };
        self.news.left(key, before);
        if let Some(host) = &case.host {
            self.news.by_place.entry(host.clone()).or_default().insert(key.clone());
        }
    }

    /// The cases that are to be judged now: those that something new bears on, of each host's gateways so many at once.
    pub fn due(&mut self, now_us: i64) -> Vec<CaseKey> {
        for key in std::mem::take(&mut self.news.fresh) {
            self.turns.entry(key.gateway.host.clone()).or_default().wait(key);
        }
        let mut due = Vec::new();
        self.turns.retain(|_, turn| turn.take(now_us, &mut due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_700_000_000_000_000;

    fn key(host: &str, upstream: Option<&str>) -> CaseKey {
        let gateway = GatewayRef { host: host.into(), name: "edge".into(), kind: "nginx".into() };
        CaseKey { gateway, upstream: upstream.map(str::to_owned), made: Made::ByGateway }
    }

    /// Cases of which each waits no more, the second placed on `app-1`.
    fn judged(keys: &[CaseKey]) -> Cases {
        let mut cases = Cases::default();
        for key in keys {
            let case = Case::new(key.clone());
            cases.news.opened(&case);
            cases.open.insert(key.clone(), case);
        }
        cases.open.get_mut(&keys[1]).unwrap().host = Some("app-1".to_owned());
        cases.placed(&keys[1], None);
        cases
    }

    /// Those that are due after news of a host.
    fn due_after(cases: &mut Cases, host: &str) -> Vec<CaseKey> {
        cases.stir_concerned(host);
        let due = cases.due(NOW_US);
        due.iter().for_each(|key| cases.open.get_mut(key).unwrap().waits = false);
        due
    }

    #[test]
    fn news_bears_on_what_is_there_or_may_be() {
        let keys = [key("lb-1", None), key("lb-2", Some("10.0.0.1:80")), key("lb-3", Some("10.0.0.2:80"))];
        let mut cases = judged(&keys);
        assert_eq!(due_after(&mut cases, "lb-3"), [keys[0].clone(), keys[2].clone()]);
        assert_eq!(due_after(&mut cases, "app-1"), keys[..2]);
        assert_eq!(due_after(&mut cases, "app-2"), keys[..1]);
        cases.open.get_mut(&keys[1]).unwrap().host = Some("app-2".to_owned());
        cases.placed(&keys[1], Some("app-1"));
        assert_eq!(due_after(&mut cases, "app-2"), keys[..2]);
        assert_eq!(due_after(&mut cases, "app-1"), keys[..1]);
        keys.iter().for_each(|key| cases.close(key));
        assert!(due_after(&mut cases, "app-2").is_empty());
        assert!(cases.news.by_place.is_empty() && cases.news.unplaced.is_empty());
    }
}
