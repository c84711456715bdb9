//! Counters and limits of the network stack, of the network namespace that this program is in. Sources: proc_pid_net(5),
//! Documentation/networking/snmp_counter.rst, nf_conntrack-sysctl.rst, ip-sysctl.rst.

use std::path::Path;

use super::Result;
use super::kept::Kept;

/// Counters of TCP and ICMP since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// TcpExt ListenOverflows.
    pub listen_overflows: u64,
    /// TcpExt ListenDrops.
    pub listen_drops: u64,
    /// TcpExt TCPSynRetrans.
    pub syn_retransmits: u64,
    /// Tcp RetransSegs.
    pub retransmits: u64,
    /// Tcp OutSegs.
    pub segments_out: u64,
    /// Tcp EstabResets.
    pub established_resets: u64,
    /// Tcp OutRsts.
    pub resets_out: u64,
    /// TcpExt TCPTimeouts.
    pub timeouts: u64,
    /// TcpExt TCPAbortOnClose.
    pub abort_on_close: u64,
    /// Tcp AttemptFails.
    pub attempt_fails: u64,
    /// Icmp OutDestUnreachs.
    pub unreachables_out: u64,
    /// Icmp InDestUnreachs.
    pub unreachables_in: u64,
}

/// Parses /proc/net/netstat and /proc/net/snmp. A counter that this kernel does not have is 0.
pub fn parse_counters(netstat: &str, snmp: &str) -> std::result::Result<Counters, String> {
    let (ext, tcp) = (Table::find(netstat, "TcpExt:")?, Table::find(snmp, "Tcp:")?);
    let icmp = Table::find(snmp, "Icmp:").ok();
    let unreachables = |name| icmp.as_ref().map_or(0, |icmp| icmp.get(name));
    Ok(Counters {
        listen_overflows: ext.get("ListenOverflows"),
        listen_drops: ext.get("ListenDrops"),
        syn_retransmits: ext.get("TCPSynRetrans"),
        retransmits: tcp.get("RetransSegs"),
        segments_out: tcp.get("OutSegs"),
        established_resets: tcp.get("EstabResets"),
        resets_out: tcp.get("OutRsts"),
        timeouts: ext.get("TCPTimeouts"),
        abort_on_close: ext.get("TCPAbortOnClose"),
        attempt_fails: tcp.get("AttemptFails"),
        unreachables_out: unreachables("OutDestUnreachs"),
        unreachables_in: unreachables("InDestUnreachs"),
    })
}

/// A line of names and a line of values, both with the same first word.
struct Table<'a> {
    names: &'a str,
    values: &'a str,
}

impl<'a> Table<'a> {
    fn find(text: &'a str, title: &str) -> std::result::Result<Self, String> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(title));
        match (lines.next(), lines.next()) {
            (Some(names), Some(values)) => Ok(Self { names, values }),
            _ => Err(format!("no two lines {title}")),
        }
    }

    fn get(&self, name: &str) -> u64 {
        let mut pairs = self.names.split_ascii_whitespace().zip(self.values.split_ascii_whitespace());
        pairs.find(|(n, _)| *n == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

/// The files, kept open, of the namespace in which they were first read.
#[derive(Debug)]
pub struct Files {
    netstat: Kept,
    snmp: Kept,
    sockstat: Kept,
    conntrack: [Kept; 2],
    conntrack_stat: Kept,
    port_range: Kept,
    routes: [Kept; 2],
}

impl Files {
    /// Below a root of /proc.
    pub fn new(proc: &Path) -> Self {
        let at = |name: &str| Kept::new(proc.join(name));
        Self {
            netstat: at("net/netstat"),
            snmp: at("net/snmp"),
            sockstat: at("net/sockstat"),
            conntrack: [at("sys/net/netfilter/nf_conntrack_count"), at("sys/net/netfilter/nf_conntrack_max")],
            conntrack_stat: at("net/stat/nf_conntrack"),
            port_range: at("sys/net/ipv4/ip_local_port_range"),
            routes: [at("net/route"), at("net/ipv6_route")],
        }
    }

    /// Reads the counters of TCP and ICMP.
    pub fn counters(&mut self) -> Result<Counters> {
        let Self { netstat, snmp, .. } = self;
        // The text of the first is needed no longer than the second is parsed.
        let netstat = netstat.read_with(|text| Ok(text.to_owned()))?;
        snmp.read_with(|snmp| parse_counters(&netstat, snmp))
    }

    /// Sockets in TIME_WAIT.
    pub fn time_wait(&mut self) -> Result<u64> {
        self.sockstat.read_with(parse_time_wait)
    }

    /// Connections tracked and the most that may be. None: conntrack is not loaded.
    pub fn conntrack(&mut self) -> Option<(u64, u64)> {
        let [count, most] = &mut self.conntrack;
        Some((count.read_with(super::parse_number).ok()?, most.read_with(super::parse_number).ok()?))
    }

    /// Packets dropped since the start because their connection could not be tracked.
    pub fn conntrack_dropped(&mut self) -> Result<u64> {
        self.conntrack_stat.read_with(parse_conntrack_dropped)
    }

    /// How many local ports outgoing connections may use.
    pub fn local_ports(&mut self) -> Result<u32> {
        self.port_range.read_with(parse_port_range)
    }

    /// Whether there is a default route, by IPv4 or IPv6. None: neither table could be read.
    pub fn default_route(&mut self) -> Option<bool> {
        let [v4, v6] = &mut self.routes;
        let v4 = v4.read_with(|text| Ok(has_default_v4(text))).ok();
        let v6 = v6.read_with(|text| Ok(has_default_v6(text))).ok();
        match (v4, v6) {
            (None, None) => None,
            (v4, v6) => Some(v4.unwrap_or(false) || v6.unwrap_or(false)),
        }
    }
}

/// Parses /proc/net/sockstat.
pub fn parse_time_wait(text: &str) -> std::result::Result<u64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).ok_or("no line \"TCP\"")?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).and_then(|w| w.parse().ok()).ok_or_else(|| "no number after \"tw\"".to_owned())
}

/// Parses /proc/net/stat/nf_conntrack: names, then hexadecimal numbers of each processor (net/netfilter/nf_conntrack_standalone.c).
pub fn parse_conntrack_dropped(text: &str) -> std::result::Result<u64, String> {
    let mut lines = text.lines();
    let names = lines.next().unwrap_or_default();
    let at = names.split_ascii_whitespace().position(|name| name == "drop").ok_or("no column \"drop\"")?;
    let of_cpu = |line: &str| u64::from_str_radix(line.split_ascii_whitespace().nth(at)?, 16).ok();
    lines.map(|line| of_cpu(line).ok_or(format!("no number below \"drop\": {line:.40}"))).sum()
}

/// Parses ip_local_port_range.
pub fn parse_port_range(text: &str) -> std::result::Result<u32, String> {
    let ends: Vec<u32> = text.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect();
    match ends.as_slice() {
        [low, high] if low <= high => Ok(high - low + 1),
        _ => Err(format!("not two ports: {:.40}", text.trim())),
    }
}

/// In /proc/net/route: destination and mask zero, flag RTF_UP (1) without RTF_REJECT (0x200).
pub fn has_default_v4(text: &str) -> bool {
    text.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = words.get(3).and_then(|w| u32::from_str_radix(w, 16).ok()).unwrap_or(0);
        words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000") && flags & 0x201 == 1
    })
}

/// In /proc/net/ipv6_route: destination of length 0 that is not the kernel's own reject entry on `lo`.
pub fn has_default_v6(text: &str) -> bool {
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = words.get(8).and_then(|w| u32::from_str_radix(w, 16).ok()).unwrap_or(0);
        words.get(1) == Some(&"00") && words.get(9).is_some_and(|dev| *dev != "lo") && flags & 0x201 == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counters_by_name() {
        let counters = parse_counters(
            include_str!("../../fixtures/kernel/6.18/netstat"),
            include_str!("../../fixtures/kernel/6.18/snmp"),
        );
        let counters = counters.unwrap();
        assert!(counters.segments_out > 0);
        let made = parse_counters(
            "TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 7 8\nIpExt: x\nIpExt: 1\n",
            "Icmp: InDestUnreachs OutDestUnreachs\nIcmp: 3 4\nTcp: OutSegs OutRsts\nTcp: 5 6\n",
        );
        let tcp =
            Counters { listen_overflows: 7, listen_drops: 8, segments_out: 5, resets_out: 6, ..Counters::default() };
        let expected = Counters { unreachables_in: 3, unreachables_out: 4, ..tcp };
        assert_eq!(made, Ok(expected));
        assert!(parse_counters("", "").is_err());
    }

    #[test]
    fn reads_what_could_not_be_tracked_of_all_processors() {
        let names = "entries  clashres found insert_failed drop early_drop\n";
        let counted = "0000002f  00000000 00000001 00000000 0000000a 00000003\n";
        assert_eq!(parse_conntrack_dropped(&format!("{names}{counted}{counted}")), Ok(20));
        assert!(parse_conntrack_dropped("").is_err() && parse_conntrack_dropped(&format!("{names}x\n")).is_err());
    }

    #[test]
    fn reads_small_tables() {
        assert_eq!(parse_time_wait("sockets: used 15\nTCP: inuse 1 orphan 0 tw 3 alloc 1 mem 213\n"), Ok(3));
        assert_eq!(parse_port_range("32768\t60999\n"), Ok(28232));
        let route = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        assert!(has_default_v4(&format!("{route}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")));
        assert!(!has_default_v4(&format!("{route}eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")));
        let zero = "0".repeat(32);
        assert!(has_default_v6(&format!(
            "{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n"
        )));
        assert!(!has_default_v6(&format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n")));
    }
}
