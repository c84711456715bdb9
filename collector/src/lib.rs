//! The collector: keeps the state of the fleet, names the cause of each failing upstream, answers queries.

pub mod case;
pub mod classify;
pub mod core;
pub mod fleet;
pub mod incident;
pub mod journal;
pub mod model;
pub mod wire;
