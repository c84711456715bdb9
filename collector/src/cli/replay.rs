//! `replay`: folds a journal again, without changing it and without a collector.

use std::path::Path;

use super::{EXIT_NOTHING, EXIT_OK, Fault, print_answer};
use crate::engine::{Fold, picture};
use crate::journal;
use crate::view::{self, IncidentFilter, Question, Stats, View};

/// Prints the incidents that the journal in `dir` gives.
pub fn run(dir: &Path, json: bool) -> Result<u8, Fault> {
    let view = fold(dir)?;
    let question = Question::Incidents(IncidentFilter::default());
    let answer = view::answer(&view, &question).map_err(|bad| Fault::Usage(bad.to_string()))?;
    print_answer("incidents", &answer.json, json)?;
    Ok(if answer.found { EXIT_OK } else { EXIT_NOTHING })
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
