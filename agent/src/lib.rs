//! Sees one host for why502.

pub mod config;
pub mod gateway;
pub mod sampler;
