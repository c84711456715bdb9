//! The words of the system as types: what is sampled, what happens, what a host looks like now, what an incident is.
//! Plain data, no clocks and no I/O. Times are unix microseconds (`_us`), put on the collector's time line by `wire`.

mod address;
mod alert;
mod catalogue;
mod config;
mod event;
mod incident;
mod probe;
mod record;
mod sample;
mod setting;
mod signal;
mod state;
mod unit;

pub use address::{Address, canonical};
pub use alert::*;
pub use catalogue::{CATALOGUE, Cause, CauseEntry, Family};
pub use config::*;
pub use event::*;
pub use incident::*;
pub use probe::*;
pub use record::*;
pub use sample::*;
pub use setting::{SETTINGS, Setting, is_known_kind};
pub use signal::Signal;
pub use state::*;
pub use unit::UnitChanged;
