//! `incident export`: an incident as a file that gives its verdict again anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use why502_proto::v1;

use super::ask::{Client, fault};
use super::{Asking, EXIT_OK, Fault, print};
use crate::capsule::Capsule;
use crate::view::clean;

#[derive(Debug, Subcommand)]
pub(super) enum IncidentCommand {
    /// Write an incident's records into a file for `why502 replay`, and for reports of bugs
    Export {
        /// The incident's id
        id: String,
        /// The file, a tar.gz
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Writes an incident's capsule into a file; tells whether it gives the verdict again.
pub async fn export(client: &mut Client, id: String, output: &Path, asking: &Asking) -> Result<u8, Fault> {
    let request = v1::ExportRequest { incident: id };
    let bytes = client.export(request).await.map_err(|status| fault(asking, &status))?.into_inner().capsule;
    let capsule = Capsule::from_bytes(&bytes).map_err(|why| Fault::Failed(format!("the collector's answer: {why}")))?;
    let failed = |error| Fault::Failed(format!("{}: {error}", output.display()));
    fs::write(output, &bytes).map_err(failed)?;
    print(&match asking.json {
        true => format!("{}\n", serde_json::to_string(&capsule.manifest).unwrap_or_default()),
        false => told(&capsule, output, bytes.len()),
    })?;
    Ok(EXIT_OK)
}

fn told(capsule: &Capsule, output: &Path, bytes: usize) -> String {
    let manifest = &capsule.manifest;
    let hosts = manifest.hosts.iter().map(|part| part.host.as_str()).collect::<Vec<_>>().join(", ");
    let output = output.display().to_string();
    let mut told = format!("{}: {} KiB, records of {}\n", clean(&output), bytes.div_ceil(1024), clean(&hosts));
    if !manifest.left_out.is_empty() {
        told.push_str(&format!("left out: {}\n", clean(&manifest.left_out.join(", "))));
    }
    match manifest.differs.as_slice() {
        [] => told.push_str("a replay gave the same verdict\n"),
        differs => told.push_str(&format!("a replay differed: {}\n", clean(&differs.join("; ")))),
    }
    told
}
