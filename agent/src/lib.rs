//! Sees one host for why502.

pub mod backoff;
pub mod cli;
pub mod config;
pub mod dial;
pub mod gateway;
pub mod kernel;
pub mod mask;
pub mod observe;
pub mod read;
pub mod report;
pub mod resolve;
pub mod sampler;
pub mod spool;
pub mod tail;
pub mod uplink;
pub mod watch;
