//! What the agent packs, the collector unpacks to the same report, whatever the reports are.

use why502::wire::Unpacker;
use why502_agent::uplink::pack::Packer;
use why502_proto::v1;

/// Numbers that look like any, the same in each run (Knuth's linear congruence).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A report that resembles the one before in parts; some have no readings, some are too large for a base.
fn change(report: &mut v1::Report, numbers: &mut Numbers) {
    report.seq += 1;
    report.at_unix_us += numbers.below(2_000_000) as i64;
    report.host = (numbers.below(4) > 0).then(|| v1::HostSample {
        at_unix_us: report.at_unix_us,
        cpu_busy_ratio: Some(numbers.below(1_000) as f64 / 1_000.0),
        mem_available_bytes: Some(numbers.below(1 << 40)),
        ..Default::default()
    });
    let most = if numbers.below(20) == 0 { 2_000 } else { 8 };
    let services = numbers.below(most);
    let name = numbers.below(3);
    let instance = |n| v1::InstanceSample {
        service: format!("service-{name}-{n}"),
        unit: "x".repeat(n as usize % 50),
        ..Default::default()
    };
    report.instances = (0..services).map(instance).collect();
    report.instances.rotate_left(numbers.below(services.max(1)) as usize);
}

#[test]
fn whatever_is_packed_is_unpacked_the_same() {
    let (mut packer, mut unpacker, mut numbers) = (Packer::default(), Unpacker::default(), Numbers(502));
    let mut report = v1::Report::default();
    for _ in 0..2_000 {
        change(&mut report, &mut numbers);
        let packed = packer.pack(&report);
        assert_eq!(unpacker.unpack(&packed).unwrap(), report.clone().into());
    }
}
