//! The lab: a small network of hosts on this machine, made of namespaces and gone when it ends.
//!
//! A story runs as process 1 of namespaces of its own (network, mounts, processes), so whatever ends it ends all of its
//! processes and interfaces. Inside, each host is again process 1 of its own network, process, mount and host-name
//! namespaces, joined to a bridge. Only control groups live outside; they are removed afterwards.

pub mod ask;
pub mod cgroup;
pub mod client;
pub mod conf;
pub mod enter;
pub mod gateway;
pub mod host;
pub mod init;
pub mod judge;
pub mod label;
pub mod plan;
pub mod report;
pub mod runner;
pub mod slots;
pub mod story;
pub mod world;

/// What went wrong, in words.
pub type Fault = String;

/// Something that may have gone wrong.
pub type Done<T = ()> = Result<T, Fault>;

/// Adds to a fault what was being done.
pub trait Doing<T> {
    /// `doing` stands before the fault.
    fn doing(self, doing: &str) -> Done<T>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: &str) -> Done<T> {
        self.map_err(|fault| format!("{doing}: {fault}"))
    }
}

/// Looks again and again until `holds` answers or the time is over.
pub fn wait_for<T>(what: &str, limit: std::time::Duration, mut holds: impl FnMut() -> Option<T>) -> Done<T> {
    let until = std::time::Instant::now() + limit;
    loop {
        if let Some(found) = holds() {
            return Ok(found);
        }
        if std::time::Instant::now() > until {
            return Err(format!("{what}: not within {} s", limit.as_secs_f32()));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
