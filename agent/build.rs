//! Keeps the static program small: packs its relative relocations (DT_RELR, glibc 2.36 and binutils 2.38 on), a twentieth of
//! their size, and leaves out the tables for unwinding, an eighth of the program: nothing in it unwinds, a panic aborts.

use std::path::Path;

/// Tells the linker to leave the tables out, whatever else it does by itself.
const NO_UNWIND_TABLES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) } } INSERT AFTER .text;\n";

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let is_target = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_static =
        std::env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|found| found.split(',').any(|f| f == "crt-static"));
    // A dynamic program would refuse to start under an older C library; a static one brings its own.
    if !(is_static && is_target("CARGO_CFG_TARGET_OS", "linux") && is_target("CARGO_CFG_TARGET_ENV", "gnu")) {
        return Ok(());
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // The profile of the workspace in which a panic aborts; `CARGO_CFG_PANIC` does not know of profiles.
    if is_target("PROFILE", "release") {
        let script = Path::new(&std::env::var("OUT_DIR").unwrap_or_default()).join("no-unwind-tables.ld");
        std::fs::write(&script, NO_UNWIND_TABLES)?;
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins={}", script.display());
    }
    Ok(())
}
