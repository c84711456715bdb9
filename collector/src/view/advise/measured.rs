//! What was measured of the services behind a pool, of the worst of its members.

use super::{Addresses, GatewayState, Pool, View};
use crate::model::HostState;

/// What was measured of a pool's members.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The services behind it.
    pub services: Vec<String>,
    /// The slowest good health answer, microseconds.
    pub health_us: Option<u64>,
    /// How many were measured.
    pub health_count: usize,
    /// The path that an agent asks for health.
    pub health_path: Option<String>,
    /// The longest time from one of the last starts to listening, microseconds.
    pub start_us: Option<u64>,
    /// The slowest answer that this gateway logged within a day, microseconds.
    pub slowest_us: Option<u64>,
    /// The shortest time for which an idle connection was kept, microseconds.
    pub idle_close_us: Option<u64>,
    /// The largest response header that a probe saw within a day, bytes.
    pub header_bytes: Option<u64>,
}

impl Measured {
    /// Of the members of a pool of a gateway.
    pub fn of(view: &View, addresses: &Addresses<'_>, gateway: &GatewayState, pool: &Pool) -> Self {
        let mut measured = Self::default();
        for member in &pool.members {
            if let Some(totals) = gateway.upstreams.get(&member.address) {
                measured.slowest_us = measured.slowest_us.max(totals.slowest_us.at(view.at_us));
                measured.header_bytes = measured.header_bytes.max(totals.header_bytes.at(view.at_us));
                let idle_us = [measured.idle_close_us, totals.idle_close_us].into_iter().flatten().min();
                measured.idle_close_us = idle_us;
            }
            let Some((service, host)) = addresses.place(&member.address) else { continue };
            if !measured.services.iter().any(|known| known == service) {
                measured.services.push(service.to_owned());
            }
            if let Some(host) = view.hosts.iter().find(|known| known.name == host) {
                measured.add_instance(host, service);
            }
        }
        measured
    }

    fn add_instance(&mut self, host: &HostState, service: &str) {
        let path = host.services.get(service).map(|config| config.health_path.clone());
        self.health_path = self.health_path.take().or(path.filter(|path| !path.is_empty()));
        let Some(instance) = host.instances.get(service) else { return };
        self.health_us = self.health_us.max(instance.health_times_us.iter().max().copied());
        self.health_count += instance.health_times_us.len();
        self.start_us = self.start_us.max(instance.start_times_us.iter().max().copied());
    }
}
