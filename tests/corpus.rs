//! Recorded incidents, replayed: each folder of `tests/corpus` holds the journal of one lab story and `label.json`, what
//! must be said of it. `why502 replay` folds the journal again and the lab's own comparison judges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use why502_tests::lab::label;
use why502_tests::programs;

/// Largest journal of the corpus, bytes: it is to be read, copied and kept for ever.
const JOURNAL_BYTES: u64 = 200 << 10;

fn recorded() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: Vec<PathBuf> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn journal_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap()).fold(0, |sum, entry| {
        let inner = entry.path();
        sum + if inner.is_dir() {
            journal_bytes(&folder.join("journal").join(entry.file_name()))
        } else {
            entry.metadata().unwrap().len()
        }
    })
}

#[test]
fn every_recorded_incident_is_judged_as_labelled() {
    let mut wrong = Vec::new();
    let from = Instant::now();
    let folders = recorded();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let label: Value = serde_json::from_str(&fs::read_to_string(folder.join("label.json")).unwrap()).unwrap();
        let out =
            Command::new(programs::why502()).arg("replay").arg(folder.join("journal")).arg("--json").output().unwrap();
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let incidents = answer["incidents"].as_array().cloned().unwrap_or_default();
        let faults = label::faults(label["incidents"].as_array().unwrap(), &incidents);
        wrong.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    println!("{} recorded incidents replayed in {} ms", folders.len(), from.elapsed().as_millis());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!folders.is_empty(), "the corpus is empty");
}

/// The probability that a verdict claimed, and whether it was right.
fn verdicts(folder: &Path) -> Vec<(f64, bool)> {
    let label: Value = serde_json::from_str(&fs::read_to_string(folder.join("label.json")).unwrap()).unwrap();
    let out =
        Command::new(programs::why502()).arg("replay").arg(folder.join("journal")).arg("--json").output().unwrap();
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let labels = label["incidents"].as_array().unwrap();
    let said = answer["incidents"].as_array().cloned().unwrap_or_default();
    let named = said.iter().filter(|incident| incident["cause"] != "unknown");
    let right = |incident: &Value| {
        labels.iter().any(|label| label["upstream"] == incident["upstream"] && label["cause"] == incident["cause"])
    };
    named.map(|incident| (incident["confidence"].as_f64().unwrap(), right(incident))).collect()
}

/// What is said with nine tenths of certainty is right nine times of ten, and so on down: the table is printed.
#[test]
fn confidence_is_calibrated() {
    let all: Vec<(f64, bool)> = recorded().iter().flat_map(|folder| verdicts(folder)).collect();
    let squares: f64 = all.iter().map(|(said, right)| (said - f64::from(u8::from(*right))).powi(2)).sum();
    let brier = squares / all.len() as f64;
    println!("claimed      verdicts  right   share");
    for tenth in 0..10 {
        let (from, to) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
        let inside = |(said, _): &&(f64, bool)| *said >= from && (*said < to || tenth == 9);
        let (count, right) =
            all.iter().filter(inside).fold((0, 0), |(count, good), (_, right)| (count + 1, good + u32::from(*right)));
        if count == 0 {
            continue;
        }
        let share = f64::from(right) / f64::from(count);
        println!("{:3.0} - {:3.0} %  {count:8}  {right:5}  {:4.0} %", from * 100.0, to * 100.0, share * 100.0);
        assert!(share >= from, "of the verdicts given with {from} and more only {share} are right");
    }
    println!("Brier score {brier:.4} over {} verdicts", all.len());
    assert!(brier <= 0.05, "Brier score {brier}");
}

#[test]
fn recorded_journals_are_small() {
    for folder in recorded() {
        let bytes = journal_bytes(&folder);
        assert!(bytes <= JOURNAL_BYTES, "{}: {bytes} bytes, at most {JOURNAL_BYTES}", folder.display());
    }
}
