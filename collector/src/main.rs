//! The program `why502`: parse, call, return the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(why502::cli::run(std::env::args_os()))
}
