//! The IANA special-purpose registries written out as numbers, for tests: slow and obvious.

use std::net::Ipv6Addr;

/// Every entry of the IPv4 special-purpose registry, multicast, class E, and the metadata
/// addresses outside of them: first address and number of addresses.
pub(crate) const DENIED_V4: &[(&str, u64)] = &[
    ("0.0.0.0", 1 << 24),
    ("0.0.0.0", 1),
    ("10.0.0.0", 1 << 24),
    ("100.64.0.0", 1 << 22),
    ("100.100.100.200", 1),
    ("127.0.0.0", 1 << 24),
    ("168.63.129.16", 1),
    ("169.254.0.0", 1 << 16),
    ("172.16.0.0", 1 << 20),
    ("192.0.0.0", 1 << 8),
    ("192.0.0.0", 1 << 3),
    ("192.0.0.8", 1),
    ("192.0.0.9", 1),
    ("192.0.0.10", 1),
    ("192.0.0.170", 2),
    ("192.0.0.192", 1),
    ("192.0.2.0", 1 << 8),
    ("192.31.196.0", 1 << 8),
    ("192.52.193.0", 1 << 8),
    ("192.88.99.0", 1 << 8),
    ("192.168.0.0", 1 << 16),
    ("192.175.48.0", 1 << 8),
    ("198.18.0.0", 1 << 17),
    ("198.51.100.0", 1 << 8),
    ("203.0.113.0", 1 << 8),
    ("224.0.0.0", 1 << 28),
    ("240.0.0.0", 1 << 28),
    ("255.255.255.255", 1),
];

/// Every entry of the IPv6 registry: first address and the logarithm of the number of addresses.
pub(crate) const DENIED_V6: &[(&str, u32)] = &[
    ("::1", 0),
    ("::", 0),
    ("::ffff:0:0", 32),
    ("64:ff9b::", 32),
    ("64:ff9b:1::", 80),
    ("100::", 64),
    ("100:0:0:1::", 64),
    ("2001::", 105),
    ("2001::", 96),
    ("2001:1::1", 0),
    ("2001:1::2", 0),
    ("2001:1::3", 0),
    ("2001:2::", 80),
    ("2001:3::", 96),
    ("2001:4:112::", 80),
    ("2001:10::", 100),
    ("2001:20::", 100),
    ("2001:30::", 100),
    ("2001:db8::", 96),
    ("2002::", 112),
    ("2620:4f:8000::", 80),
    ("3fff::", 108),
    ("5f00::", 112),
    ("fc00::", 121),
    ("fe80::", 118),
    ("fec0::", 118),
    ("ff00::", 120),
    ("fd00:ec2::254", 0),
    ("fd20:ce::254", 0),
];

pub(crate) fn number_v4(text: &str) -> u64 {
    text.split('.')
        .fold(0, |n, part| n * 256 + part.parse::<u64>().unwrap())
}

pub(crate) fn number_v6(text: &str) -> u128 {
    u128::from_be_bytes(text.parse::<Ipv6Addr>().unwrap().octets())
}

pub(crate) fn slow_denies_v4(address: u64) -> bool {
    DENIED_V4.iter().any(|(first, count)| {
        let first = number_v4(first);
        address >= first && address < first + count
    })
}
