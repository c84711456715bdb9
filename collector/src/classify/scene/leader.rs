//! Who held a service's leadership when requests failed, as its instances told.

use super::Scene;
use crate::model::Evidence;

/// An instance that holds its service's leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Its host.
    pub host: &'a str,
    /// The service.
    pub service: &'a str,
    /// Since when.
    pub since_us: i64,
}

impl<'a> Scene<'a> {
    /// The one instance that holds the leadership when requests fail last; None where there is none or several do.
    pub fn leader(&'a self) -> Option<Holder<'a>> {
        let mut holders = self.holders(self.failures.last_us);
        if holders.len() == 1 { holders.pop() } else { None }
    }

    /// Whether this instance told that it is not the leader when requests began to fail.
    pub fn is_follower(&self) -> bool {
        let role = self.host.zip(self.place.service.as_deref());
        let role = role.and_then(|(host, service)| host.history.role_at(service, self.failures.first_us));
        role.is_some_and(|(leader, _)| !leader)
    }

    /// Who held the leadership when requests began to fail: one, nobody, or several who claim it.
    pub fn leadership(&self) -> Option<Evidence> {
        let at_us = self.failures.first_us;
        let service = self.place.service.as_deref()?;
        let holders = self.holders(at_us);
        let told = |holder: &Holder| format!("{} (for {} s)", holder.host, (at_us - holder.since_us) / 1_000_000);
        let says = match holders.as_slice() {
            [] => self.gap(service, at_us)?,
            [one] => format!("{service} on {} held the leadership then", told(one)),
            several => {
                let names: Vec<String> = several.iter().map(told).collect();
                format!("several claimed the leadership of {service} at once: {}", names.join(", "))
            }
        };
        let host = holders.first().map_or(self.host_name(), |holder| holder.host).to_owned();
        Some(Evidence { at_us, host, source: "role", says })
    }

    fn holders(&self, at_us: i64) -> Vec<Holder<'_>> {
        let Some(service) = self.place.service.as_deref() else { return Vec::new() };
        let holds = self.fleet.hosts().filter_map(|(host, entry)| {
            let (leader, since_us) = entry.history.role_at(service, at_us)?;
            leader.then_some(Holder { host, service, since_us })
        });
        holds.collect()
    }

    /// A time in which nobody held it: who lost it before, who gained it after. None where no instance tells its role.
    fn gap(&self, service: &str, at_us: i64) -> Option<String> {
        let changes: Vec<(i64, bool, &str)> = self
            .fleet
            .hosts()
            .flat_map(|(host, entry)| {
                entry.history.roles(service).map(|(at_us, leader)| (at_us, leader, host.as_str()))
            })
            .collect();
        let lost = changes.iter().filter(|(lost_us, leader, _)| !leader && *lost_us <= at_us).max()?;
        let before = format!("{} told {} s before that it is not the leader", lost.2, (at_us - lost.0) / 1_000_000);
        let gained = changes.iter().filter(|(gained_us, leader, _)| *leader && *gained_us > at_us).min();
        let after = gained.map_or_else(
            || "and nobody has gained it since".to_owned(),
            |(gained_us, _, host)| format!("{host} gained it {} s after", (gained_us - at_us) / 1_000_000),
        );
        Some(format!("nobody held the leadership of {service} then: {before}, {after}"))
    }
}
