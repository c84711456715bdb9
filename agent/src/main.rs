//! The agent's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    why502_agent::cli::main()
}
