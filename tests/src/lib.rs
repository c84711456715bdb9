//! The harness of why502: hosts made of namespaces, real gateways and applications on them, faults, and a judge that
//! compares what the collector says with what was done. The lab and the demo are made of it.

pub mod bench;
pub mod dice;
pub mod fleet;
pub mod lab;
pub mod programs;
pub mod stories;
pub mod torture;
