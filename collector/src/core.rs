//! The pure core: the fold of journal records into fleet, cases and incidents.
//! Owns no clock, no file, no thread: the same records give the same incidents, here and in a replay.

use std::sync::Arc;

use crate::fleet::Fleet;
use crate::model::{HostState, Incident, Record};

/// The fold's state.
#[derive(Debug, Default)]
pub struct Core {
    fleet: Fleet,
    incidents: Vec<Arc<Incident>>,
    revision: u64,
}

impl Core {
    /// An empty core.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &Record) {
        self.fleet.apply(record);
    }

    /// Every host in the order of its name.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<HostState>> {
        self.fleet.hosts().map(|(_, entry)| &entry.state)
    }

    /// Open incidents and the resolved ones that are kept, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Arc<Incident>> {
        self.incidents.iter()
    }

    /// Rises whenever an incident is opened or changed.
    pub fn incidents_revision(&self) -> u64 {
        self.revision
    }
}
