//! The harness of why502: hosts made of namespaces, real gateways and applications on them, faults, and a judge that
//! compares what the collector says with what was done. The lab and the demo are made of it.

use std::io::Write;

pub mod bench;
pub mod dice;
pub mod fleet;
pub mod lab;
pub mod programs;
pub mod stories;
pub mod torture;

/// Prints a line, or as much of it as somebody still reads.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints how a program is used where its arguments ask for that. True: that was all that is wanted.
pub fn told_usage(arguments: &[String], usage: &str) -> bool {
    let is_asked = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    if is_asked {
        tell(usage);
    }
    is_asked
}
