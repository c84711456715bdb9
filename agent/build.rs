//! Packs the relative relocations of the position-independent program (DT_RELR, glibc 2.36 and binutils 2.38 on): a
//! twentieth of its size.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_target = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_static =
        std::env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|found| found.split(',').any(|f| f == "crt-static"));
    // A dynamic program would refuse to start under an older C library; a static one brings its own.
    if is_static && is_target("CARGO_CFG_TARGET_OS", "linux") && is_target("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
