//! What is folded from the journal, and nothing else: the same records give the same state, live, in a replay, and from
//! a checkpoint on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::numbering::Numberings;
use crate::core::Core;
use crate::fleet::Fleet;
use crate::model::{HostState, Record};
use crate::view::{Stats, View};
use crate::wire::{Converter, Cuts, Incoming, Memory};

/// The whole state.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Fold {
    /// Fleet, cases, incidents.
    pub core: Core,
    converter: Converter,
    pub(super) numberings: Numberings,
}

impl Fold {
    /// Folds the bytes of a journalled record; gives the host whose it is, empty where it is nobody's alone. None: it is no
    /// record of this schema.
    pub fn fold_bytes(&mut self, bytes: &[u8]) -> Option<String> {
        let incoming = Incoming::decode(bytes)?;
        let host = incoming.host().unwrap_or_default().to_owned();
        self.fold(incoming);
        Some(host)
    }

    /// Folds a journalled record.
    pub fn fold(&mut self, incoming: Incoming) {
        self.numberings.fold(&incoming.key());
        self.apply(incoming);
    }

    /// What had to be bounded so far.
    pub fn cuts(&self) -> Cuts {
        self.converter.cuts()
    }

    pub(super) fn apply(&mut self, incoming: Incoming) {
        if let Some(record) = self.converter.convert(incoming) {
            self.core.apply(&record);
        }
    }
}

/// The fold of one host's records alone, from some moment on.
pub struct HostFold {
    name: String,
    fleet: Fleet,
    converter: Converter,
}

impl HostFold {
    /// A host's present state as bytes. None: the host is not known.
    pub fn pack(fold: &Fold, name: &str) -> Option<Vec<u8>> {
        let state = fold.core.host(name)?;
        postcard::to_stdvec(&(state, fold.converter.memory(name))).ok()
    }

    /// Goes on from such bytes.
    pub fn unpack(bytes: &[u8]) -> postcard::Result<Self> {
        let (state, memory): (Arc<HostState>, Memory) = postcard::from_bytes(bytes)?;
        let name = state.name.clone();
        Ok(Self { converter: Converter::remembering(&name, memory), fleet: Fleet::of(state), name })
    }

    /// Folds the bytes of one of its records and gives the record.
    pub fn apply(&mut self, bytes: &[u8]) -> Option<Record> {
        let record = self.converter.convert(Incoming::decode(bytes)?)?;
        self.fleet.apply(&record);
        Some(record)
    }

    /// The host as it is now.
    pub fn state(&self) -> Option<&Arc<HostState>> {
        self.fleet.host(&self.name).map(|entry| &entry.state)
    }
}

/// The core as readers see it.
pub fn picture(core: &Core, at_us: i64, stats: Stats) -> View {
    let (hosts, incidents) = (core.hosts().cloned().collect(), core.incidents().cloned().collect());
    View { at_us, kept_since_us: None, hosts, incidents, book: core.book().clone(), stats }
}
