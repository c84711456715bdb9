//! The program `why502`: parse, call, return the exit code.

use std::process::ExitCode;

/// What reports bring is taken by the threads that decode them and let go, in other sizes, by the one that folds them. With
/// glibc's half of the memory lay in gaps, and a third of the time went there (`bench ingest`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(why502::cli::run(std::env::args_os()))
}
