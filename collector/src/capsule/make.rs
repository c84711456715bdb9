//! Draws a capsule from what the journal still holds: for each host how it was before, then its records as they are.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::archive::JOURNAL_MAX;
use super::{Capsule, FORMAT, Manifest, Part, VERSION};
use crate::engine::{Past, PastError, Raw};
use crate::journal::loose;
use crate::model::{HostState, Incident};
use crate::view::{View, incident_doc, involved, stamp};
use crate::wire::{self, Incoming};

/// Evidence is drawn from so long before the first failure at the most, and a little longer is kept, microseconds.
const BEFORE_US: i64 = 25 * 60 * 1_000_000;
/// An incident that goes on for longer is kept so far, microseconds.
const LASTS_MAX_US: i64 = 6 * 3600 * 1_000_000;
/// Most hosts.
const HOSTS_MAX: usize = 16;
/// Most bytes of records; what frames them comes on top.
const RECORDS_MAX: usize = (JOURNAL_MAX / 2) as usize;
/// The gateway's and the instance's host: without their records there is nothing to judge.
const NEEDED: usize = 2;
/// The end of a process is reported so long after it at the most, microseconds.
const TOLD_WITHIN_US: i64 = 120 * 1_000_000;

/// Makes the capsule of an incident, as far as its records are kept; a replay tells whether they are enough.
pub fn make(past: &Past, view: &View, incident: &Incident) -> Result<Capsule, PastError> {
    let from_us = incident.first_seen_us.saturating_sub(BEFORE_US);
    let last_us = incident.first_seen_us.saturating_add(LASTS_MAX_US);
    let to_us = incident.resolved_us.unwrap_or(view.at_us);
    let mut drawn = Drawn { to_us: to_us.min(last_us), cut: to_us > last_us, ..Drawn::default() };
    let hosts = involved(view, incident);
    for (place, host) in hosts.iter().enumerate().take(HOSTS_MAX) {
        let needed = place < NEEDED.min(hosts.len());
        let share = if needed { NEEDED - place } else { 1 };
        let wanted = Wanted { host, service: incident.service.as_deref(), from_us, needed };
        drawn.host(past, &wanted, (RECORDS_MAX - drawn.bytes) / share)?;
    }
    drawn.left_out.extend(hosts.into_iter().skip(HOSTS_MAX));
    past.shared_raw(from_us, drawn.to_us, &mut |raw| drawn.shared.push(raw))?;
    Ok(drawn.capsule(from_us, incident))
}

/// A host's records that are wanted.
struct Wanted<'a> {
    host: &'a str,
    /// The incident's service, whose ends count however long ago.
    service: Option<&'a str>,
    from_us: i64,
    needed: bool,
}

/// What was drawn so far.
#[derive(Default)]
struct Drawn {
    records: Vec<Raw>,
    shared: Vec<Raw>,
    bytes: usize,
    to_us: i64,
    cut: bool,
    parts: Vec<Part>,
    left_out: Vec<String>,
}

impl Drawn {
    /// Draws a host's records, at most `most` bytes of them: from a host that is needed those that came first.
    fn host(&mut self, past: &Past, wanted: &Wanted<'_>, most: usize) -> Result<(), PastError> {
        let (mut own, mut bytes, mut full) = (Vec::new(), 0, false);
        let before = past.raw(wanted.host, wanted.from_us, self.to_us, &mut |raw: Raw| {
            bytes += raw.payload.len();
            full = bytes > most;
            if full {
                return ControlFlow::Break(());
            }
            own.push(raw);
            ControlFlow::Continue(())
        });
        let before = match before {
            Ok(Some(before)) if !full || wanted.needed => before,
            Err(error) if wanted.needed => return Err(error),
            _ => {
                self.left_out.push(wanted.host.to_owned());
                return Ok(());
            }
        };
        if full {
            self.cut = true;
            self.to_us = own.last().map_or(wanted.from_us, |last| last.at_us);
        }
        let part = Part {
            host: wanted.host.to_owned(),
            agent_version: before.agent_version.clone(),
            records: own.len() as u64,
        };
        self.parts.push(part);
        self.bytes += bytes.min(most);
        self.records.extend(ends_before(past, wanted, &before));
        self.records.extend(beginning(&before, &own));
        self.records.append(&mut own);
        Ok(())
    }

    /// Puts the records in the order in which they came.
    fn capsule(self, from_us: i64, incident: &Incident) -> Capsule {
        let mut records = self.records;
        let of_people = |raw: &Raw| Incoming::decode(&raw.payload).is_none_or(|record| record.is_of_people());
        records.extend(self.shared.into_iter().filter(|raw| !of_people(raw)));
        records.retain(|raw| raw.at_us <= self.to_us);
        records.sort_by_key(|raw| (raw.at_us, raw.place.segment, raw.place.offset));
        let manifest = Manifest {
            format: FORMAT,
            version: VERSION.to_owned(),
            incident: incident.id.clone(),
            from: stamp(from_us),
            to: stamp(self.to_us),
            hosts: self.parts,
            left_out: self.left_out,
            cut: self.cut,
            verdict: incident_doc(incident),
            differs: Vec::new(),
        };
        let journal = loose::pack(records.iter().map(|raw| (raw.at_us, raw.payload.as_slice())));
        // The replay needs room of its own.
        drop(records);
        let mut capsule = Capsule { manifest, journal };
        capsule.manifest.differs = capsule.replay().map_or_else(|why| vec![why], |replayed| replayed.differs);
        capsule
    }
}

/// A host as it was before its records, as records.
fn beginning(before: &HostState, own: &[Raw]) -> Vec<Raw> {
    let epoch = own.iter().find_map(|raw| Incoming::decode(&raw.payload)?.epoch());
    wire::base(before, epoch.unwrap_or_default()).iter().map(raw).collect()
}

/// The newest ends of the service's processes from before, however long ago: why it was not running.
fn ends_before(past: &Past, wanted: &Wanted<'_>, before: &Arc<HostState>) -> Vec<Raw> {
    let ended =
        wanted.service.and_then(|service| Some((service, before.instances.get(service)?.last_exit.as_ref()?.0)));
    let Some((service, at_us)) = ended else { return Vec::new() };
    let mut ends = Vec::new();
    let last_us = at_us.saturating_add(TOLD_WITHIN_US).min(wanted.from_us - 1);
    // Records of then that are not kept any more are missed by the replay, which tells.
    let _ = past.raw(wanted.host, at_us, last_us, &mut |told| {
        ends.extend(wire::only_ends(&told.payload, service).as_ref().map(raw));
        ControlFlow::Continue(())
    });
    ends
}

/// A record that stands in no journal: it comes before all that came at once with it.
fn raw(record: &Incoming) -> Raw {
    let mut payload = Vec::new();
    record.encode(&mut payload);
    Raw { at_us: record.received_us(), place: Default::default(), payload }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::engine::Engine;
    use crate::journal::Options;

    /// One journal of the corpus in so many is tried: all take a minute.
    const STEP: usize = 8;

    /// Opens a copy of a recorded journal.
    fn opened(recorded: &Path) -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(recorded).unwrap().map(Result::unwrap) {
            if entry.path().extension().is_some_and(|kind| kind == "seg") {
                fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
            }
        }
        let engine = Engine::open(dir.path(), Options::default()).unwrap();
        (dir, engine)
    }

    #[test]
    fn the_capsules_of_recorded_incidents_give_their_verdicts_again() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
        let (mut incidents, mut faults, mut bytes) = (0, Vec::new(), 0);
        let folders = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
        folders.sort();
        for folder in folders.iter().step_by(STEP) {
            let (_dir, engine) = opened(&folder.join("journal"));
            let (past, view) = engine.opened();
            for incident in &view.incidents {
                let capsule = make(&past, &view, incident).unwrap();
                incidents += 1;
                bytes += capsule.to_bytes().unwrap().len();
                let told = capsule.manifest.differs.iter().map(|line| format!("{}: {line}", folder.display()));
                faults.extend(told);
            }
        }
        println!("{incidents} capsules made and replayed, {} KiB each", bytes / incidents / 1024);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
