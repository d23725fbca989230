//! The IPv4 addresses that an IPv6 address may hide, in every notation in use.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Every IPv4 address that something on the way could make of `address`.
///
/// Where a prefix leaves open how the address is embedded (RFC 8215's local-use NAT64), all
/// readings are given: judging one too many denies, judging one too few lets in.
pub(super) fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bits = address.to_bits();
    let v4 = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
    match bits >> 32 {
        // The loopback address hides nothing (RFC 4291 section 2.5.3).
        0 if bits == 1 => return [None; 4],
        // IPv4-compatible ::/96 (RFC 4291 section 2.5.5.1); :: reaches what 0.0.0.0 does.
        0
        // IPv4-mapped ::ffff:0:0/96 (RFC 4291 section 2.5.5.2).
        | 0xffff
        // IPv4-translated ::ffff:0:0:0/96 (RFC 2765 section 2.1).
        | 0xffff_0000
        // Well-known NAT64 prefix 64:ff9b::/96 (RFC 6052 section 2.1).
        | 0x0064_ff9b_0000_0000_0000_0000 => return [v4(0), None, None, None],
        _ => {}
    }
    // Local-use NAT64 64:ff9b:1::/48 (RFC 8215): /48, /56, /64 and /96 of RFC 6052 section 2.2,
    // which leave out bits 64 to 71.
    if bits >> 80 == 0x0064_ff9b_0001 {
        let split = |before: u32| {
            let high = ((bits >> 64) as u32) << (32 - before);
            let low = (bits >> 24) as u32 >> before;
            Some(Ipv4Addr::from_bits(high | low))
        };
        return [split(16), split(8), v4(24), v4(0)];
    }
    // 6to4 2002::/16 (RFC 3056 section 2).
    if bits >> 112 == 0x2002 {
        return [v4(80), isatap(bits), None, None];
    }
    // Teredo 2001::/32 (RFC 4380 section 4): the server's address, and the client's inverted.
    if bits >> 96 == 0x2001_0000 {
        let client = Some(Ipv4Addr::from_bits(!(bits as u32)));
        return [v4(64), client, isatap(bits), None];
    }
    [isatap(bits), None, None, None]
}

/// ISATAP's interface identifier, with the global bit or without (RFC 5214 section 6.1).
fn isatap(bits: u128) -> Option<Ipv4Addr> {
    let interface = (bits >> 32) as u32 & !0x0200_0000;
    (interface == 0x0000_5efe).then(|| Ipv4Addr::from_bits(bits as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_hides_nothing_and_its_neighbour_does() {
        assert_eq!(embedded(Ipv6Addr::LOCALHOST), [None; 4]);
        assert_eq!(
            embedded(Ipv6Addr::UNSPECIFIED)[0],
            Some(Ipv4Addr::UNSPECIFIED)
        );
        let neighbour = Ipv6Addr::from_bits(0x7f00_0001);
        assert_eq!(embedded(neighbour)[0], Some(Ipv4Addr::LOCALHOST));
    }
}
