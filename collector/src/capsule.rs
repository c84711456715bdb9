//! Capsules: an incident as one file that gives its verdict again anywhere, without a collector: the raw records of the
//! hosts it rests on, from before its first failure to its end, as one segment of a journal, beside a manifest that says what
//! was made of them. [`make`](make::make) draws one from the journal while that holds the records, [`Capsules`] keeps them
//! for longer. A capsule is read whole into bounded memory and never unpacked to a disk; one that is not whole is refused.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{Fold, picture};
use crate::journal::loose;
use crate::model::Incident;
use crate::view::{IncidentDoc, Stats, View, incident_doc};
use crate::wire::Incoming;

mod archive;
mod keep;
mod make;

pub use keep::{Capsules, Fault, ID_MAX, Limits};

/// How the file is laid out. Another number is another layout.
const FORMAT: u32 = 1;
/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Largest file that is read, bytes.
const FILE_MAX: u64 = 64 << 20;
/// The last time that a record may have: the end of the year 9999, unix microseconds.
const LAST_US: i64 = 253_402_300_799_999_999;

/// What a capsule says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// How the file is laid out.
    pub format: u32,
    /// The version of the collector that made it.
    pub version: String,
    /// The incident's id.
    pub incident: String,
    /// Records from then on are in it, but for those that say what was configured before.
    pub from: String,
    /// And to then.
    pub to: String,
    /// Whose records are in it.
    pub hosts: Vec<Part>,
    /// Hosts that the verdict may rest on too, left out for size or because their records are not kept any more.
    pub left_out: Vec<String>,
    /// It was too large: records that came later are left out.
    pub cut: bool,
    /// The incident as the collector told of it.
    pub verdict: IncidentDoc,
    /// What a replay said otherwise when the capsule was made; empty where it gave the same.
    pub differs: Vec<String>,
}

/// A host's part of a capsule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// The host.
    pub host: String,
    /// Its agent's version.
    pub agent_version: String,
    /// How many records.
    pub records: u64,
}

/// An incident as a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Capsule {
    /// What it says of itself.
    pub manifest: Manifest,
    /// One segment of a journal.
    journal: Vec<u8>,
}

/// What a replay of a capsule gives.
pub struct Replayed {
    /// Everything after the last record.
    pub view: View,
    /// The id of the incident that it was made of, or of the one that comes about in its place.
    pub id: Option<String>,
    /// What is otherwise than recorded.
    pub differs: Vec<String>,
}

impl Capsule {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, String> {
        let at = |why: String| format!("{}: {why}", path.display());
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| at(error.to_string()))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(at(format!("larger than a capsule may be: {} MiB", FILE_MAX >> 20)));
        }
        Self::from_bytes(&bytes).map_err(at)
    }

    /// Reads the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        archive::read(bytes)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        archive::write(self).map_err(|error| format!("pack a capsule: {error}"))
    }

    /// Folds its records again and compares.
    pub fn replay(&self) -> Result<Replayed, String> {
        let mut fold = Fold::default();
        let (mut at_us, mut fault) = (0, None);
        loose::unpack(&self.journal, &mut |entry| {
            let record = Incoming::decode(entry.payload).filter(|record| record.received_us() == entry.at_us);
            match record.filter(|_| (at_us..=LAST_US).contains(&entry.at_us)) {
                Some(record) => fold.fold(record),
                None => fault = fault.or(Some(entry.index)),
            }
            at_us = at_us.max(entry.at_us);
        })?;
        if let Some(index) = fault {
            return Err(format!("record {index} of the journal is none, or its time makes no sense"));
        }
        let view = picture(&fold.core, at_us, Stats::default());
        let said = self.find(&view).map(incident_doc);
        let differs = differences(&self.manifest.verdict, said.as_ref());
        Ok(Replayed { id: said.map(|said| said.id), differs, view })
    }

    fn find<'a>(&self, view: &'a View) -> Option<&'a Incident> {
        let recorded = &self.manifest.verdict;
        let same = |one: &&Incident| one.id == recorded.id;
        let alike = |one: &&Incident| {
            one.upstream == recorded.upstream
                && (&one.gateway.host, &one.gateway.name) == (&recorded.gateway.host, &recorded.gateway.name)
        };
        let mut incidents = view.incidents.iter().map(AsRef::as_ref);
        incidents.clone().find(same).or_else(|| incidents.find(alike))
    }
}

/// Fields that depend on other incidents than the capsule's own.
const OF_OTHERS: [&str; 2] = ["group", "changed"];

/// What is said otherwise, field by field.
fn differences(recorded: &IncidentDoc, replayed: Option<&IncidentDoc>) -> Vec<String> {
    let Some(replayed) = replayed else { return vec!["the incident does not come about".to_owned()] };
    let value = |doc: &IncidentDoc| serde_json::to_value(doc).unwrap_or_default();
    let (recorded, replayed) = (value(recorded), value(replayed));
    let fields = recorded.as_object().into_iter().flatten().filter(|(name, _)| !OF_OTHERS.contains(&name.as_str()));
    let other = fields.filter(|(name, before)| replayed.get(name.as_str()) != Some(before));
    other.map(|(name, before)| difference(name, before, replayed.get(name).unwrap_or(&Value::Null))).collect()
}

fn difference(name: &str, recorded: &Value, replayed: &Value) -> String {
    match recorded {
        Value::Array(_) | Value::Object(_) => format!("{name} is another"),
        short => format!("{name} was {short}, a replay says {replayed}"),
    }
}
