//! The bytes of a capsule: a tar.gz of two files, so that people can look into it with what every machine has.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{Capsule, FORMAT, Manifest, VERSION};
use crate::journal::loose;
use crate::tarball;

const MANIFEST: &str = "manifest.json";
/// Most bytes of a manifest.
const MANIFEST_MAX: u64 = 1 << 20;
/// Most bytes of a journal.
pub const JOURNAL_MAX: u64 = 48 << 20;
/// Most bytes that come out of the packing.
const UNPACKED_MAX: u64 = JOURNAL_MAX + MANIFEST_MAX + (64 << 10);

/// Where the journal stands: whoever unpacks the file finds a journal's folder.
fn journal_name() -> String {
    format!("journal/{}", loose::name())
}

/// Packs a capsule.
pub fn write(capsule: &Capsule) -> io::Result<Vec<u8>> {
    let mut manifest = serde_json::to_vec_pretty(&capsule.manifest)?;
    manifest.push(b'\n');
    tarball::pack([(MANIFEST, manifest.as_slice()), (&journal_name(), &capsule.journal)])
}

/// Unpacks a capsule in memory.
pub fn read(bytes: &[u8]) -> Result<Capsule, String> {
    let broken = |error: io::Error| format!("no whole capsule: {error}");
    let mut archive = tar::Archive::new(GzDecoder::new(bytes).take(UNPACKED_MAX));
    let (mut manifest, mut journal) = (None, None);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (place, most) = match name.as_str() {
            MANIFEST => (&mut manifest, MANIFEST_MAX),
            name if name == journal_name() => (&mut journal, JOURNAL_MAX),
            _ => return Err(format!("no capsule: it holds {name:?}")),
        };
        if !entry.header().entry_type().is_file() || place.is_some() {
            return Err(format!("no capsule: {name:?} is no file in it, or stands there twice"));
        }
        if entry.size() > most {
            return Err(format!("no capsule: {name:?} is larger than {} MiB", most >> 20));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        if content.len() as u64 != entry.size() {
            return Err(format!("no whole capsule: {name:?} is cut off"));
        }
        *place = Some(content);
    }
    // Only at its end does the packing say whether what came out is what went in.
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    if rest > (64 << 10) {
        return Err("no capsule: more follows after its end".to_owned());
    }
    let lacks = |name: &str| format!("no whole capsule: it holds no {name}");
    let manifest = parse(&manifest.ok_or_else(|| lacks(MANIFEST))?)?;
    Ok(Capsule { manifest, journal: journal.ok_or_else(|| lacks(&journal_name()))? })
}

/// The part of a manifest that every layout has.
#[derive(Deserialize)]
struct Layout {
    format: u32,
}

fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    let broken = |error: serde_json::Error| format!("no capsule: {MANIFEST}: {error}");
    let Layout { format } = serde_json::from_slice(bytes).map_err(broken)?;
    if format != FORMAT {
        return Err(format!(
            "a capsule of layout {format}; why502 {VERSION} reads layout {FORMAT}: use a later version"
        ));
    }
    serde_json::from_slice(bytes).map_err(broken)
}
