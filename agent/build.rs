//! Keeps the static program small: packs its relative relocations (DT_RELR, glibc 2.36 and binutils 2.38 on), a twentieth of
//! their size, leaves out the tables for unwinding, an eighth of the program: nothing in it unwinds, a panic aborts; and makes
//! functions one that came out alike, where the toolchain links by LLVM's linker.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the linker to leave out the tables, those that only they lead to, and remarks of compilers and of the C library's to
/// linkers, whatever else it does by itself.
const LEFT_OUT: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) *(.comment) \
    *(.gnu.warning.*) } } INSERT AFTER .text;\n";

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
        let script = Path::new(&std::env::var("OUT_DIR").unwrap_or_default()).join("left-out.ld");
        std::fs::write(&script, LEFT_OUT)?;
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins={}", script.display());
        if links_by_lld() {
            println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
        }
    }
    Ok(())
}

/// The toolchain brings LLVM's linker for this target, and then links by it.
fn links_by_lld() -> bool {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let sysroot = Command::new(variable("RUSTC")).args(["--print", "sysroot"]).output();
    let Ok(sysroot) = sysroot.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()) else {
        return false;
    };
    let target = variable("TARGET");
    let lld: PathBuf = [&sysroot, "lib/rustlib", &target, "bin/gcc-ld/ld.lld"].iter().collect();
    target == "x86_64-unknown-linux-gnu" && lld.is_file()
}
