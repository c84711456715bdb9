//! Addresses that are never probed, however they are written: link-local ones, where clouds keep the keys of their
//! machines, the other well-known metadata addresses, and those that name no single host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services off the link-local ranges: Alibaba Cloud, Azure, Oracle Cloud (classic).
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Amazon's and Google's over IPv6.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether an address is never probed.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4_is_forbidden(v4),
        IpAddr::V6(v6) => v6_is_forbidden(v6),
    }
}

fn v4_is_forbidden(v4: Ipv4Addr) -> bool {
    v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0 || METADATA_V4.contains(&v4)
}

fn v6_is_forbidden(v6: Ipv6Addr) -> bool {
    v6.is_unicast_link_local()
        || v6.is_multicast()
        || METADATA_V6.contains(&v6)
        || (v6 != Ipv6Addr::LOCALHOST && embedded(v6).any(v4_is_forbidden))
}

/// The IPv4 addresses that an IPv6 address carries: mapped and compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056),
/// Teredo's client (RFC 4380), ISATAP (RFC 5214).
fn embedded(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let words = v6.segments();
    let at = |from: usize| {
        let [a, b] = words.get(from).unwrap_or(&0).to_be_bytes();
        let [c, d] = words.get(from + 1).unwrap_or(&0).to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let last = match words {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, ..] => Some(at(6)),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some(at(6)),
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!at(6).to_bits())),
        _ => None,
    };
    let first = (words[0] == 0x2002).then(|| at(1));
    last.into_iter().chain(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_metadata_address_is_forbidden() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "febf::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "ff02::1",
            "::",
            "fe80::5efe:a9fe:a9fe",
            "2001:db8::5efe:a9fe:a9fe",
            "2001:0:0:0:0:0:5601:5601",
        ] {
            assert!(is_forbidden(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn ordinary_addresses_are_not() {
        for text in [
            "127.0.0.1",
            "10.0.0.2",
            "192.168.1.1",
            "172.17.0.2",
            "100.64.0.1",
            "203.0.113.9",
            "::1",
            "fd00::2",
            "2001:db8::1",
            "::ffff:10.0.0.2",
        ] {
            assert!(!is_forbidden(text.parse().unwrap()), "{text}");
        }
    }
}
