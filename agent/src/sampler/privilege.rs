//! Which rights the agent lacks, and what each of them costs. Told once: they do not change while it runs.

use std::path::Path;

use super::Status;
use crate::kernel::capability::{self, Capabilities, Capability};

/// Each right that is of use, and what is not seen without it.
const COSTS: [(Capability, &str); 3] = [
    (Capability::SysPtrace, "CAP_SYS_PTRACE (descriptors, sockets and exit codes of other users' processes)"),
    (Capability::Syslog, "CAP_SYSLOG (the kernel's log, where it is restricted)"),
    (Capability::DacReadSearch, "CAP_DAC_READ_SEARCH (logs and configurations that this user may not read)"),
];

/// Whether it has all rights that are of use.
pub fn status(proc: &Path) -> Status {
    match capability::own(proc) {
        Ok(capabilities) => judge(capabilities),
        Err(error) => Status::Failed(error.to_string()),
    }
}

fn judge(capabilities: Capabilities) -> Status {
    let missing: Vec<&str> = COSTS.iter().filter(|(one, _)| !capabilities.has(*one)).map(|(_, cost)| *cost).collect();
    if missing.is_empty() { Status::Active } else { Status::Degraded(format!("runs without {}", missing.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_right_is_told_with_its_cost() {
        let told = |set: &str| judge(capability::parse(&format!("CapEff:\t{set}\n")).unwrap());
        assert_eq!(told("000001ffffffffff"), Status::Active);
        let Status::Degraded(all) = told("0000000000000000") else { panic!("nothing is missing") };
        for (_, cost) in COSTS {
            assert!(all.contains(cost), "{all}");
        }
        let Status::Degraded(one) = told("0000000400080000") else { panic!("nothing is missing") };
        assert!(one.contains("CAP_DAC_READ_SEARCH") && !one.contains("CAP_SYSLOG"), "{one}");
    }
}
