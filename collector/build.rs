//! Gives the program a digest of its own sources. What it keeps of a folded journal is only good for the very code that
//! folded it: other code may judge, or lay out, the same records otherwise.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut digest = 0xcbf2_9ce4_8422_2325;
    for place in ["src", "../proto/src", "../Cargo.lock"] {
        println!("cargo:rerun-if-changed={place}");
        add(Path::new(place), &mut digest)?;
    }
    // Layouts may differ between profiles only by what the compiler does, but a debug build is never worth confusing.
    add_bytes(env::var("PROFILE").unwrap_or_default().as_bytes(), &mut digest);
    println!("cargo:rustc-env=WHY502_SOURCES={digest}");
    Ok(())
}

fn add(path: &Path, digest: &mut u64) -> io::Result<()> {
    if !path.is_dir() {
        add_bytes(&fs::read(path)?, digest);
        return Ok(());
    }
    let mut inside =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    inside.sort();
    inside.iter().try_for_each(|path| add(path, digest))
}

/// FNV-1a, 64 bits (draft-eastlake-fnv).
fn add_bytes(bytes: &[u8], digest: &mut u64) {
    for byte in bytes {
        *digest = (*digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}
