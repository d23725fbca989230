//! Addresses that are not globally reachable unicast: the IANA special-purpose registries.
//!
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry> (RFC 6890). Entries that the
//! registries call globally reachable (anycast of PCP, TURN, AMT, AS112; ORCHID; the well-known
//! NAT64 prefix) are denied, too: no peer of a call has such an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

pub(super) const fn v6(segments: [u16; 8], length: u8) -> IpNet {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = segments;
    let address = Ipv6Addr::new(s0, s1, s2, s3, s4, s5, s6, s7);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

/// Where clouds answer a machine's questions about itself; never a peer, whatever is configured.
pub(super) const METADATA: [IpNet; 8] = [
    // Link-local, with 169.254.169.254 of nearly every cloud.
    v4(169, 254, 0, 0, 16),
    // Alibaba.
    v4(100, 100, 100, 200, 32),
    // Azure.
    v4(168, 63, 129, 16, 32),
    // Oracle.
    v4(192, 0, 0, 192, 32),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // Amazon; the /32 holds all its services.
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0], 32),
    // Google.
    v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128),
    // Scaleway.
    v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042], 128),
];

/// The IPv4 registry, multicast (RFC 5771) and 240.0.0.0/4 with the broadcast address.
pub(super) const SPECIAL_V4: [IpNet; 19] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
];

/// All of IPv6 that is global unicast today (IANA IPv6 global unicast allocations).
pub(super) const GLOBAL_V6: IpNet = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The registry's entries within [`GLOBAL_V6`]; what lies outside is denied anyway.
pub(super) const SPECIAL_V6: [IpNet; 5] = [
    // IETF protocol assignments, with Teredo, AMT, ORCHID, benchmarking, DRIP.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // Documentation.
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4.
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    // AS112.
    v6([0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0], 48),
    // Documentation (RFC 9637).
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Whether `address` belongs to a metadata service or is link-local.
pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA.iter().any(|net| net.contains(&address))
}

/// Whether `address` is anything but globally reachable unicast.
pub(super) fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => SPECIAL_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(_) => {
            !GLOBAL_V6.contains(&address) || SPECIAL_V6.iter().any(|net| net.contains(&address))
        }
    }
}
