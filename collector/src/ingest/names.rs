//! How many things one agent may tell of. What is kept for each name is bounded elsewhere; here whoever makes up names without
//! end is found out.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use tonic::Status;
use why502_proto::v1;

use crate::wire;

/// Services, gateways, upstreams and sources that one stream may name within an hour.
const NAMES_MAX: usize = 20_000;
/// After so long it begins anew: upstreams come and go.
const HOUR: Duration = Duration::from_secs(3600);

/// The names of one stream, by their hashes: to be found out late by one that coincides does no harm.
pub struct Names {
    seen: HashSet<u64>,
    since: Instant,
}

impl Default for Names {
    fn default() -> Self {
        Self { seen: HashSet::new(), since: Instant::now() }
    }
}

impl Names {
    /// Counts what a report names; else says that it is too much.
    pub fn take(&mut self, report: &v1::Report) -> Result<(), Status> {
        if self.since.elapsed() > HOUR {
            *self = Self::default();
        }
        wire::names(report, &mut |name| {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            self.seen.insert(hasher.finish());
        });
        if self.seen.len() > NAMES_MAX {
            let why =
                format!("it names more than {NAMES_MAX} services, gateways, upstreams and sources within an hour");
            return Err(Status::resource_exhausted(why));
        }
        Ok(())
    }
}
