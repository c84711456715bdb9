//! The rules of the house, held by a test: the top level, sizes, who imports whom, documented schema fields, banned calls
//! and banned words. There is no list of exceptions and no ratchet: a rule holds or this fails, and says where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use std::path::{Path, PathBuf};

use source::Source;

/// Most lines of a file outside its test modules.
const FILE_LINES: usize = 400;
/// Most lines of a function.
const FUNCTION_LINES: usize = 70;
/// Largest file, bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Names that stand at the top level, `target` aside.
const TOP_LEVEL: [&str; 13] = [
    ".ci",
    ".clippy.toml",
    ".deny.toml",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent",
    "collector",
    "deploy",
    "proto",
];

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files of the repository, but what builds and version control leave behind.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
            if matches!(name.to_str(), Some("target" | ".git" | "__pycache__" | "node_modules")) {
                continue;
            }
            if kind.is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

/// A path as the messages print it.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Our Rust sources that ship: no generated code, no tests.
fn shipped() -> Vec<Source> {
    let all: Vec<Source> = files()
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| {
            let name = short(path);
            ["agent/src/", "collector/src/", "proto/src/"].iter().any(|place| name.starts_with(place))
                && !name.starts_with("proto/src/gen/")
                && !name.ends_with("/tests.rs")
                && !name.contains("/tests/")
        })
        .map(|path| Source::read(path, short(path)))
        .collect();
    let is_test: Vec<bool> =
        all.iter().map(|source| all.iter().any(|parent| parent.tests_are_in(&source.name))).collect();
    all.into_iter().zip(is_test).filter_map(|(source, is_test)| (!is_test).then_some(source)).collect()
}

/// Fails with all faults at once.
fn none(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn the_top_level_is_the_designs() {
    let mut wanted: Vec<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
    wanted.push("tests".to_owned());
    let mut found: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "target" && name != ".git")
        .collect();
    found.sort();
    assert_eq!(found, wanted, "the top level is fixed: put new things into one of its folders");
}

#[test]
fn files_are_short() {
    let long = shipped()
        .iter()
        .filter(|source| source.lines > FILE_LINES)
        .map(|source| format!("{}: {} lines outside tests, at most {FILE_LINES}", source.name, source.lines))
        .collect();
    none("a file does one thing: split it", long);
}

#[test]
fn functions_are_short() {
    let long = shipped()
        .iter()
        .flat_map(|source| {
            source.functions.iter().filter(|function| function.lines > FUNCTION_LINES).map(|function| {
                let (name, at, lines) = (&function.name, function.line, function.lines);
                format!("{}:{at}: {name} has {lines} lines, at most {FUNCTION_LINES}", source.name)
            })
        })
        .collect();
    none("a function does one thing: split it", long);
}

#[test]
fn modules_import_only_what_they_may() {
    let sources = shipped();
    let faults = sources.iter().flat_map(imports::faults).chain(imports::sibling_faults(&sources)).collect();
    none("the import table of the design", faults);
}

#[test]
fn nothing_shipped_panics_exits_or_grows_without_bound() {
    none("banned calls", shipped().iter().flat_map(source::banned_calls).collect());
}

#[test]
fn modules_have_names_that_say_something() {
    let bad = files()
        .iter()
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ["mod.rs", "imp.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"].contains(&name)
        })
        .map(|path| short(path))
        .collect();
    none("a module is named for what it does, as foo.rs beside foo/", bad);
}

#[test]
fn every_module_begins_with_its_contract() {
    let bad = shipped().iter().filter(|source| !source.has_module_doc).map(|source| source.name.clone()).collect();
    none("a module begins with a paragraph that says what it keeps and for whom", bad);
}

#[test]
fn every_field_of_the_schema_is_documented() {
    let faults = files()
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .flat_map(|path| source::undocumented(&short(path), &std::fs::read_to_string(path).unwrap()))
        .collect();
    none("every field, message, value and call of the schema says what it means", faults);
}

#[test]
fn nothing_is_large() {
    let large = files()
        .iter()
        .filter_map(|path| {
            let bytes = path.symlink_metadata().unwrap().len();
            (bytes > FILE_BYTES).then(|| format!("{}: {bytes} bytes, at most {FILE_BYTES}", short(path)))
        })
        .collect();
    none("large files do not belong here", large);
}

#[test]
fn comments_and_documents_speak_of_the_product_only() {
    let faults = files().iter().flat_map(|path| words::faults(&short(path), path)).collect();
    none("banned words", faults);
}
