//! Pressure stall information. Source: Documentation/accounting/psi.rst. Shares are made from the running totals, whose
//! differences are exact, not from the kernel's own averages, which lag.

/// Total time stalled since boot (or since the group was made), microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stall {
    /// Some task waited.
    pub some_us: u64,
    /// All tasks waited. Absent for CPU on older kernels.
    pub full_us: Option<u64>,
}

/// Parses one pressure file.
pub fn parse(text: &str) -> Result<Stall, String> {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
        line.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
    };
    Ok(Stall { some_us: total("some").ok_or("no line \"some\" with a total")?, full_us: total("full") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_totals() {
        let text =
            "some avg10=1.23 avg60=1.08 avg300=0.70 total=20348577\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n";
        assert_eq!(parse(text), Ok(Stall { some_us: 20_348_577, full_us: Some(12) }));
        assert_eq!(parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"), Ok(Stall { some_us: 0, full_us: None }));
        assert!(parse("").is_err());
    }
}
