//! What this process may do beyond its user's rights. Source: capabilities(7), proc_pid_status(5).

use std::path::Path;

use super::{Result, read_with};

/// The capabilities that widen what an agent sees, by their bit (include/uapi/linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// CAP_DAC_READ_SEARCH.
    DacReadSearch = 2,
    /// CAP_SYS_PTRACE.
    SysPtrace = 19,
    /// CAP_SYSLOG.
    Syslog = 34,
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Whether it holds one.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << (capability as u32)) != 0
    }
}

/// Parses the effective set of /proc/PID/status.
pub fn parse(text: &str) -> std::result::Result<Capabilities, String> {
    let digits = text.lines().find_map(|line| line.strip_prefix("CapEff:")).ok_or("no line \"CapEff:\"")?.trim();
    u64::from_str_radix(digits, 16).map(Capabilities).map_err(|_| format!("not a set of capabilities: {digits:.40}"))
}

/// What this process may do.
pub fn own(proc: &Path) -> Result<Capabilities> {
    read_with(&proc.join("self/status"), parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read() {
        let text = "Name:\tagent\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000400080000\nCapBnd:\t000001ffffffffff\n";
        let set = parse(text).unwrap();
        let has = [Capability::SysPtrace, Capability::Syslog, Capability::DacReadSearch].map(|one| set.has(one));
        assert_eq!(has, [true, true, false]);
        assert!(parse("CapEff:\tmany\n").is_err());
        assert!(parse("Name:\tagent\n").is_err());
        own(Path::new("/proc")).unwrap();
    }
}
