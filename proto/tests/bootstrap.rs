//! Regenerates the code of `src/gen` from `why502/v1/*.proto` and compares: the checked-in code is the schema's.
//! `WHY502_REGENERATE=1 cargo test -p why502-proto` writes it anew.
#![allow(clippy::unwrap_used)] // a test says by panicking that it failed

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn schema_files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root.join("why502/v1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read_all(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect()
}

#[test]
fn generated_code_is_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(schema_files(root), [root]).unwrap();
    tonic_prost_build::configure()
        .out_dir(fresh.path())
        .server_mod_attribute("why502.v1", "#[cfg(feature = \"server\")]")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .unwrap();
    let checked_in = root.join("src/gen");
    if env::var_os("WHY502_REGENERATE").is_some() {
        for (name, text) in read_all(fresh.path()) {
            fs::write(checked_in.join(name), text).unwrap();
        }
    }
    let (fresh, checked_in) = (read_all(fresh.path()), read_all(&checked_in));
    let stale: Vec<&String> =
        fresh.keys().chain(checked_in.keys()).filter(|name| fresh.get(*name) != checked_in.get(*name)).collect();
    assert!(stale.is_empty(), "stale in src/gen: {stale:?}; run with WHY502_REGENERATE=1");
}
