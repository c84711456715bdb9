//! `replay`: folds a journal or a capsule again, without changing it and without a collector.

use std::path::Path;

use super::{EXIT_NOTHING, EXIT_OK, Fault, print_answer};
use crate::capsule::{Capsule, VERSION};
use crate::engine::{Fold, picture};
use crate::journal;
use crate::view::{self, IncidentFilter, IncidentsDoc, Question, ReplayDoc, Stats, View};

/// Prints the incidents that the journal in a folder gives, or the one that the capsule in a file does.
pub fn run(path: &Path, json: bool) -> Result<u8, Fault> {
    if path.is_file() { capsule(path, json) } else { folder(path, json) }
}

fn folder(dir: &Path, json: bool) -> Result<u8, Fault> {
    let view = fold(dir)?;
    let question = Question::Incidents(IncidentFilter::default());
    let answer = view::answer(&view, &question).map_err(|bad| Fault::Usage(bad.to_string()))?;
    print_answer("incidents", &answer.json, json)?;
    Ok(if answer.found { EXIT_OK } else { EXIT_NOTHING })
}

fn capsule(path: &Path, json: bool) -> Result<u8, Fault> {
    let capsule = Capsule::load(path)
        .map_err(|why| Fault::Usage(format!("{why}; why502 incident export writes what this reads")))?;
    let replayed = capsule.replay().map_err(|why| Fault::Usage(format!("{}: {why}", path.display())))?;
    let recorded = &capsule.manifest;
    let target = replayed.id.clone().unwrap_or_else(|| recorded.incident.clone());
    let doc = view::why_document(&replayed.view, &target, None, 0).map_err(|bad| Fault::Usage(bad.to_string()))?;
    let replay = ReplayDoc {
        recorded_by: recorded.version.clone(),
        replayed_by: VERSION.to_owned(),
        cause: recorded.verdict.cause.clone(),
        confidence: recorded.verdict.confidence,
        same: replayed.differs.is_empty(),
        differs: replayed.differs,
        differed_when_made: recorded.differs.clone(),
        left_out: recorded.left_out.clone(),
        cut: recorded.cut,
    };
    let found = !doc.incidents.is_empty();
    let answer = view::Answer::new(&IncidentsDoc { replay: Some(replay), ..doc }, found);
    print_answer("why", &answer.json, json)?;
    Ok(if found { EXIT_OK } else { EXIT_NOTHING })
}

/// The view after the last record of the journal in `dir`.
fn fold(dir: &Path) -> Result<View, Fault> {
    let inner = dir.join("journal");
    let dir = if inner.is_dir() { inner.as_path() } else { dir };
    let mut state = Fold::default();
    let mut at_us = 0;
    let recovery = journal::read(dir, &mut |entry| {
        at_us = entry.at_us;
        state.fold_bytes(entry.payload);
    });
    let recovery = recovery.map_err(|error| Fault::Usage(format!("{}: {error}", dir.display())))?;
    for note in &recovery.notes {
        eprintln!("why502: {}: {} bytes at offset {}: {}", note.file, note.bytes, note.offset, note.what);
    }
    if recovery.records == 0 {
        return Err(Fault::Usage(format!("{}: no journal there", dir.display())));
    }
    Ok(picture(&state.core, at_us, Stats::default()))
}
