//! The program `why502`: parse, call, return the exit code.

use std::process::ExitCode;

/// What reports bring is taken by the threads that decode them and let go, in other sizes, by the one that folds them. With glibc's
/// more than half of what was held lay in gaps after twenty minutes (`torture --full soak`), and that grew on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(why502::cli::run(std::env::args_os()))
}
