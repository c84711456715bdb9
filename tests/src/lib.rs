//! The harness of why502: hosts made of namespaces, real gateways and applications on them, faults, and a judge that
//! compares what the collector says with what was done. The lab and the demo are made of it.

pub mod bench;
pub mod dice;
pub mod fleet;
pub mod lab;
pub mod programs;
pub mod stories;
pub mod torture;

/// Prints how a program is used where its arguments ask for that. True: that was all that is wanted.
pub fn told_usage(arguments: &[String], usage: &str) -> bool {
    let is_asked = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    if is_asked {
        println!("{usage}");
    }
    is_asked
}
