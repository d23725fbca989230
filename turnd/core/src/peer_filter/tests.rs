//! The filter against the IANA registries written out as numbers, at every edge, in every disguise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::registries::{DENIED_V4, DENIED_V6, number_v4, number_v6, slow_denies_v4};
use super::{Denial, PeerFilter, Scope};
use crate::config::RelayAddresses;

fn slow_denies_v6(address: u128) -> bool {
    // Only 2000:: to 3fff:ffff:… is global unicast.
    let global = address >> 125 == 1;
    let listed = DENIED_V6.iter().any(|(first, log)| {
        let first = number_v6(first);
        address >= first && address - first < 1 << log
    });
    let interface = address % (1 << 64);
    let isatap = [0x0000_5efe, 0x0200_5efe].contains(&(interface >> 32));
    !global || listed || isatap && slow_denies_v4((address % (1 << 32)) as u64)
}

fn around(first: u128, count: u128) -> impl Iterator<Item = u128> {
    let last = first + (count - 1);
    let edges = [
        first.checked_sub(1),
        Some(first),
        first.checked_add(1),
        last.checked_sub(1),
        Some(last),
        last.checked_add(1),
        Some(first + (count - 1) / 2),
    ];
    edges.into_iter().flatten()
}

fn edges_v4() -> impl Iterator<Item = u32> {
    let all = DENIED_V4.iter();
    all.flat_map(|(first, count)| around(number_v4(first).into(), (*count).into()))
        .filter_map(|address| u32::try_from(address).ok())
}

fn plain() -> PeerFilter {
    PeerFilter::new(RelayAddresses::default(), 49_152..=65_535)
}

fn denies(filter: &PeerFilter, address: impl Into<IpAddr>) -> bool {
    let address = address.into();
    let denied = filter.check(SocketAddr::new(address, 5000)).is_err();
    // A permission is refused exactly when every port is.
    assert_eq!(filter.check_address(address).is_err(), denied, "{address}");
    denied
}

#[test]
fn the_tables_are_written_as_the_registries_print_them() {
    let documentation = super::special::v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32);
    assert_eq!(documentation.to_string(), "2001:db8::/32");
    let private = super::special::v4(172, 16, 0, 0, 12);
    assert_eq!(private.to_string(), "172.16.0.0/12");
}

#[test]
fn every_edge_of_every_denied_v4_range() {
    let filter = plain();
    for bits in edges_v4() {
        let address = Ipv4Addr::from_bits(bits);
        assert_eq!(
            denies(&filter, address),
            slow_denies_v4(bits.into()),
            "{address}"
        );
    }
}

#[test]
fn every_edge_of_every_denied_v6_range() {
    let filter = plain();
    let whole = [("2000::", 125), ("::", 96), ("::ffff:0:0:0", 32)];
    for (first, log) in DENIED_V6.iter().chain(&whole) {
        for bits in around(number_v6(first), 1 << log) {
            let address = Ipv6Addr::from_bits(bits);
            assert_eq!(denies(&filter, address), slow_denies_v6(bits), "{address}");
        }
    }
}

/// The ways to hide an IPv4 address, each from its RFC, written as text where that is possible.
fn disguises(v4: u32) -> Vec<(&'static str, Ipv6Addr)> {
    let [a, b, c, d] = v4.to_be_bytes();
    let (high, low) = (v4 >> 16, v4 & 0xffff);
    let inverted = !v4;
    let texts = [
        ("mapped", format!("::ffff:{a}.{b}.{c}.{d}")),
        ("compatible", format!("::{a}.{b}.{c}.{d}")),
        ("translated", format!("::ffff:0:{a}.{b}.{c}.{d}")),
        ("6to4", format!("2002:{high:x}:{low:x}::1")),
        ("6to4 host", format!("2002:{high:x}:{low:x}:1234:abcd::8")),
        ("NAT64", format!("64:ff9b::{a}.{b}.{c}.{d}")),
        ("NAT64 local /96", format!("64:ff9b:1::{a}.{b}.{c}.{d}")),
        (
            "NAT64 local /96, subnet",
            format!("64:ff9b:1:fffe::{a}.{b}.{c}.{d}"),
        ),
        (
            "NAT64 local /48",
            format!(
                "64:ff9b:1:{high:x}:{:x}:{:x}::",
                low >> 8,
                (low & 0xff) << 8
            ),
        ),
        (
            "NAT64 local /56",
            format!("64:ff9b:1:12{a:02x}:{b:x}:{c:02x}{d:02x}::"),
        ),
        (
            "NAT64 local /64",
            format!("64:ff9b:1:1234:{a:x}:{b:02x}{c:02x}:{d:02x}00::"),
        ),
        (
            "Teredo client",
            format!(
                "2001:0:4136:e378:8000:63bf:{:x}:{:x}",
                inverted >> 16,
                inverted & 0xffff
            ),
        ),
        (
            "Teredo server",
            format!("2001:0:{high:x}:{low:x}:8000:63bf:f7f7:f7f7"),
        ),
        ("ISATAP", format!("2606:4700::5efe:{high:x}:{low:x}")),
        (
            "ISATAP global",
            format!("2606:4700::200:5efe:{high:x}:{low:x}"),
        ),
    ];
    texts
        .map(|(name, text)| (name, text.parse().unwrap()))
        .into()
}

#[test]
fn no_disguise_lets_a_denied_address_in() {
    let strict = plain();
    // Even an operator who allows all of IPv6 has not allowed any IPv4.
    let lax = plain().allow(["::/0".parse::<IpNet>().unwrap()]);
    for bits in edges_v4() {
        let all = disguises(bits).into_iter();
        // ::1 is nothing but itself, and can be allowed.
        for (name, address) in all.filter(|(_, address)| !address.is_loopback()) {
            let hidden = slow_denies_v4(bits.into());
            let text = Ipv4Addr::from_bits(bits);
            assert!(!hidden || denies(&strict, address), "{name} of {text}");
            assert!(
                !hidden || denies(&lax, address),
                "{name} of {text}, all allowed"
            );
            let one_reading = !name.starts_with("NAT64 local") && !name.starts_with("Teredo");
            if one_reading {
                assert_eq!(denies(&lax, address), hidden, "{name} of {text}");
            }
        }
    }
}

#[test]
fn metadata_stays_denied_whatever_is_allowed() {
    let filter = plain().allow(["0.0.0.0/0", "::/0"].map(|net| net.parse::<IpNet>().unwrap()));
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ] {
        let peer = SocketAddr::new(address.parse().unwrap(), 80);
        assert_eq!(filter.check(peer), Err(Denial::Metadata), "{address}");
    }
    assert_eq!(filter.check("10.0.0.1:80".parse().unwrap()), Ok(()));
}

#[test]
fn denials_are_stronger_than_exceptions_and_both_cover_what_they_say() {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let filter = plain()
        .allow([net("127.0.0.0/8"), net("10.0.0.0/8"), net("fd12::/16")])
        .deny([net("10.9.0.0/16"), net("9.9.9.0/24"), net("2606:4700::/32")]);
    for (peer, expected) in [
        ("127.0.0.1:9", Ok(())),
        ("10.8.255.255:9", Ok(())),
        ("[fd12::1]:9", Ok(())),
        ("10.9.0.0:9", Err(Denial::Configured)),
        ("9.9.9.9:9", Err(Denial::Configured)),
        ("9.9.8.9:9", Ok(())),
        ("[2606:4700::1]:9", Err(Denial::Configured)),
        ("[fd13::1]:9", Err(Denial::Special)),
        ("192.168.0.1:9", Err(Denial::Special)),
        ("[::ffff:127.0.0.1]:9", Err(Denial::Special)),
    ] {
        assert_eq!(filter.check(peer.parse().unwrap()), expected, "{peer}");
    }
}

#[test]
fn the_relays_own_endpoints() {
    let own = RelayAddresses {
        v4: Some(Ipv4Addr::LOCALHOST),
        v6: Some("2606:4700::5".parse().unwrap()),
    };
    let filter = PeerFilter::new(own, 50_000..=50_099)
        .allow(["127.0.0.0/8".parse::<IpNet>().unwrap()])
        .control([
            "127.0.0.1:3478".parse().unwrap(),
            "0.0.0.0:9641".parse().unwrap(),
            "[2606:4700::5]:50005".parse().unwrap(),
        ]);
    for (peer, expected) in [
        ("127.0.0.1:50000", Ok(())),
        ("127.0.0.1:50099", Ok(())),
        ("127.0.0.1:3478", Err(Denial::Control)),
        ("127.0.0.1:9641", Err(Denial::Control)),
        ("127.0.0.2:9641", Err(Denial::Control)),
        ("9.9.9.9:9641", Ok(())),
        ("127.0.0.2:3478", Ok(())),
        // Allowed by the exception, not by being relayed.
        ("127.0.0.1:22", Ok(())),
        ("[2606:4700::5]:50004", Ok(())),
        ("[2606:4700::5]:50005", Err(Denial::Control)),
        ("[2606:4700::5]:22", Err(Denial::Own)),
        ("[2606:4700::6]:22", Ok(())),
    ] {
        assert_eq!(filter.check(peer.parse().unwrap()), expected, "{peer}");
    }
    let scope = |text: &str| filter.check_address(text.parse().unwrap());
    assert_eq!(scope("127.0.0.1"), Ok(Scope::SomePorts));
    assert_eq!(scope("127.0.0.2"), Ok(Scope::SomePorts));
    assert_eq!(scope("2606:4700::5"), Ok(Scope::SomePorts));
    assert_eq!(scope("2606:4700::6"), Ok(Scope::AllPorts));
    assert_eq!(scope("9.9.9.9"), Ok(Scope::AllPorts));
    assert_eq!(scope("10.0.0.1"), Err(Denial::Special));
}

#[test]
fn denials_are_stronger_than_being_relayed() {
    let own = |v4| RelayAddresses {
        v4: Some(v4),
        v6: None,
    };
    let relayed = Ipv4Addr::new(9, 9, 9, 9);
    let filter = PeerFilter::new(own(relayed), 50_000..=50_099)
        .deny(["9.9.9.0/24".parse::<IpNet>().unwrap()]);
    let peer = SocketAddr::from((relayed, 50_000));
    assert_eq!(filter.check(peer), Err(Denial::Configured));
    let address = IpAddr::V4(relayed);
    assert_eq!(filter.check_address(address), Err(Denial::Configured));
    let link_local = Ipv4Addr::new(169, 254, 0, 9);
    let filter = PeerFilter::new(own(link_local), 50_000..=50_099);
    let peer = SocketAddr::from((link_local, 50_000));
    assert_eq!(filter.check(peer), Err(Denial::Metadata));
}

#[test]
fn control_endpoints_are_found_in_every_notation() {
    let filter = plain()
        .allow(["::/0", "0.0.0.0/0"].map(|net| net.parse::<IpNet>().unwrap()))
        .control(["9.9.9.9:5301", "[::ffff:9.9.9.8]:5301"].map(|c| c.parse().unwrap()));
    for address in ["9.9.9.9", "::ffff:9.9.9.9", "64:ff9b::909:909", "9.9.9.8"] {
        let address: IpAddr = address.parse().unwrap();
        let check = |port| filter.check(SocketAddr::new(address, port));
        assert_eq!(check(5301), Err(Denial::Control), "{address}");
        assert_eq!(check(5302), Ok(()), "{address}");
        assert_eq!(
            filter.check_address(address),
            Ok(Scope::SomePorts),
            "{address}"
        );
    }
}

proptest! {
    #[test]
    fn agrees_with_the_numbers_everywhere(v4: u32, v6: u128, low in 0_u128..1 << 64) {
        let filter = plain();
        prop_assert_eq!(denies(&filter, Ipv4Addr::from_bits(v4)), slow_denies_v4(v4.into()));
        for v6 in [v6, 1 << 125 | v6 >> 3, number_v6("2001::") | low, number_v6("2606:4700::5efe:0:0") | u128::from(v4)] {
            prop_assert_eq!(denies(&filter, Ipv6Addr::from_bits(v6)), slow_denies_v6(v6));
        }
    }
}
