//! Peers that no client may reach: in every notation, by every method, over every transport.
//!
//! The answer is 403, or silence where there are no answers, and the kernel counts that nothing left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cluster_tests::netns::lab::PEER;
use cluster_tests::rogue::{self, Transport};
use cluster_tests::stun::{attribute, kind};

use crate::site::{Site, nothing_left};
use crate::ssrf_tcp;

/// Tries to reach each of `targets`; `roads` of them can be reached from the relay's host.
fn refused(test: &str, targets: &[IpAddr], roads: usize) {
    let Some(site) = Site::new(test) else { return };
    let watch = site.watch();
    let at = |ip: &IpAddr| SocketAddr::new(*ip, 80);
    let all: Vec<_> = targets.iter().map(at).collect();
    let open = site.roads(&watch, &all);
    assert!(
        open >= roads,
        "only {open} of {} have a road",
        targets.len()
    );
    let (before, mut attempts) = (watch.count("strayed"), 0);
    for transport in Transport::ALL {
        for is_v6 in [false, true] {
            let group: Vec<_> = targets.iter().filter(|ip| ip.is_ipv6() == is_v6).collect();
            let good = PEER[usize::from(is_v6)];
            let Some(first) = group.first() else { continue };
            let (mut client, _) = site.allocated(transport, **first);
            let allowed = watch.count("allowed");
            for (channel, ip) in (0x4000..).zip(&group) {
                let ip = **ip;
                let tried = format!("{ip} over {transport:?}");
                assert_eq!(client.permit(&[ip]), 403, "{tried}: CreatePermission");
                assert_eq!(
                    client.permit(&[good, ip]),
                    403,
                    "{tried}: behind a good one"
                );
                assert_eq!(
                    client.permit(&[ip, good]),
                    403,
                    "{tried}: before a good one"
                );
                assert_eq!(client.bind(channel, at(&ip)), 403, "{tried}: ChannelBind");
                client.channel_data(channel, b"let me in");
                client.indicate(at(&ip), b"let me in");
                // All or none: the good one has got no permission either.
                client.indicate(SocketAddr::new(good, 4000), b"let me in");
                attempts += 6;
            }
            client.settle();
            assert_eq!(watch.count("allowed"), allowed);
            nothing_left(&watch, before);
            site.control(&watch, &mut client, good);
            // With a permission for somebody else in hand.
            for ip in &group {
                client.indicate(at(ip), b"let me in");
            }
            client.settle();
            nothing_left(&watch, before);
        }
    }
    attempts += ssrf_tcp::refused(&site, &watch, &all);
    println!(
        "measured {test}: {attempts} attempts on {} targets ({open} with an open road), 0 packets left",
        targets.len()
    );
}

/// What hides behind other notations.
const INNER: [Ipv4Addr; 7] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(10, 1, 2, 3),
    Ipv4Addr::new(172, 16, 9, 9),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 64, 0, 1),
    Ipv4Addr::UNSPECIFIED,
];

/// Each of [`INNER`] behind `notation`.
fn hidden(notation: impl Fn(u128) -> u128) -> Vec<IpAddr> {
    let hide = |ip: &Ipv4Addr| Ipv6Addr::from_bits(notation(ip.to_bits().into())).into();
    INNER.iter().map(hide).collect()
}

fn parse(texts: &[&str]) -> Vec<IpAddr> {
    let one = |text: &&str| text.parse().expect("an address");
    texts.iter().map(one).collect()
}

/// Clients of Slack's relay reached its internal network (2018, published 2020).
#[test]
fn slack_ssrf_private_networks() {
    let targets = parse(&[
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.0.1",
        "192.168.255.254",
        "100.64.0.1",
        "100.127.255.254",
        "198.18.0.1",
        "192.0.0.8",
        "203.0.113.5",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "2001:db8::1",
    ]);
    refused("slack_ssrf_private_networks", &targets, 15);
}

/// coturn before 4.5.2 took `0.0.0.0`, `[::1]` and `[::]` for something else than loopback.
#[test]
fn cve_2020_26262_unspecified_and_loopback() {
    let targets = parse(&[
        "0.0.0.0",
        "0.0.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "::",
        "::1",
    ]);
    refused("cve_2020_26262_unspecified_and_loopback", &targets, 4);
}

/// coturn before 4.9.0 let `::ffff:127.0.0.1` pass.
#[test]
fn cve_2026_27624_v4_mapped() {
    // A socket bound to an IPv6 address cannot send there; one that is not would.
    refused(
        "cve_2026_27624_v4_mapped",
        &hidden(|v4| 0xffff << 32 | v4),
        0,
    );
}

/// coturn's filter was mended again for further notations (2026).
#[test]
fn coturn_b057acbe_v4_compatible_and_translated() {
    let mut targets = hidden(|v4| v4);
    targets.extend(hidden(|v4| 0xffff_0000 << 32 | v4));
    refused("coturn_b057acbe_v4_compatible_and_translated", &targets, 12);
}

/// The same by way of a translator.
#[test]
fn coturn_b057acbe_nat64_well_known_prefix() {
    let targets = hidden(|v4| 0x0064_ff9b << 96 | v4);
    refused("coturn_b057acbe_nat64_well_known_prefix", &targets, 7);
}

/// RFC 8215 leaves open where in the address the IPv4 address stands (RFC 6052 section 2.2).
#[test]
fn coturn_b057acbe_nat64_local_use_prefix() {
    let prefix = 0x0064_ff9b_0001_u128 << 80;
    let split = move |before: u32| {
        move |v4: u128| prefix | v4 >> (32 - before) << 64 | (v4 << before & 0xffff_ffff) << 24
    };
    let mut targets = hidden(move |v4| prefix | v4);
    targets.extend(hidden(move |v4| prefix | v4 << 24));
    targets.extend(hidden(split(8)));
    targets.extend(hidden(split(16)));
    refused("coturn_b057acbe_nat64_local_use_prefix", &targets, 28);
}

/// The same by way of a 6to4 router (RFC 3056).
#[test]
fn coturn_b057acbe_6to4() {
    refused(
        "coturn_b057acbe_6to4",
        &hidden(|v4| 0x2002 << 112 | v4 << 80 | 1),
        7,
    );
}

/// The same by way of a Teredo relay (RFC 4380): as the server, and inverted as the client.
#[test]
fn coturn_b057acbe_teredo() {
    let mut targets = hidden(|v4| 0x2001_0000 << 96 | v4 << 64 | 1);
    targets.extend(hidden(|v4| {
        0x2001_0000 << 96 | 0x0808_0808 << 64 | 0x0bb8 << 32 | !v4 & 0xffff_ffff
    }));
    refused("coturn_b057acbe_teredo", &targets, 14);
}

/// The same by way of ISATAP (RFC 5214), in a network that is allowed itself.
#[test]
fn coturn_b057acbe_isatap() {
    let net = 0x2a0f_0080_0002_u128 << 80;
    let mut targets = hidden(move |v4| net | 0x5efe << 32 | v4);
    targets.extend(hidden(move |v4| net | 0x0200_5efe << 32 | v4));
    // One link away: without an answer to neighbour discovery these would not leave.
    refused("coturn_b057acbe_isatap", &targets, 0);
}

/// coturn compared IPv6 ranges byte by byte and blocked too little (2026): both edges of each.
#[test]
fn coturn_6c13608c_edges_of_ipv6_ranges() {
    let targets = parse(&[
        "fc00::",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::1",
        "100::1",
        "2001::",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff::",
        "3fff:fff:ffff::1",
        "4000::1",
        "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "5f00::1",
        "64:ff9b::",
        "64:ff9b::ffff:ffff",
    ]);
    refused("coturn_6c13608c_edges_of_ipv6_ranges", &targets, 17);
}

/// coturn before 4.13.1 let clients ask the cloud's metadata service and unique local addresses.
#[test]
fn coturn_4_13_1_metadata_and_unique_local() {
    let targets = parse(&[
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:42::42",
        "fe80::1",
        "fe80::a9fe:a9fe",
    ]);
    refused("coturn_4_13_1_metadata_and_unique_local", &targets, 8);
}

/// Multicast, broadcast, reserved: one packet in, many answers out.
#[test]
fn coturn_multicast_and_broadcast() {
    let targets = parse(&[
        "224.0.0.1",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "ff05::2",
        "ff0e::1",
    ]);
    refused("coturn_multicast_and_broadcast", &targets, 0);
}

/// An allocation of both families: each peer is judged for the family it would be sent from.
#[test]
fn dual_allocation_hides_no_family() {
    let Some(site) = Site::new("dual_allocation_hides_no_family") else {
        return;
    };
    let watch = site.watch();
    let targets = parse(&[
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "fd00:ec2::254",
        "64:ff9b::7f00:1",
    ]);
    let targets: Vec<_> = targets.iter().map(|ip| SocketAddr::new(*ip, 80)).collect();
    assert_eq!(site.roads(&watch, &targets), targets.len());
    let before = watch.count("strayed");
    for transport in Transport::ALL {
        let (mut client, _) = site.allocated(transport, PEER[0]);
        assert_eq!(client.refresh(0), 0);
        let reply = client.request(kind::ALLOCATE, |b| {
            let both = &[2, 0, 0, 0];
            rogue::allocate(b, PEER[0]).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, both)
        });
        let relayed = attribute::XOR_RELAYED_ADDRESS;
        assert_eq!(reply.message().all(relayed).count(), 2, "{transport:?}");
        for (channel, target) in (0x4000..).zip(&targets) {
            assert_eq!(client.permit(&[target.ip()]), 403, "{target}");
            assert_eq!(client.permit(&[PEER[0], target.ip()]), 403, "{target}");
            assert_eq!(client.permit(&[PEER[1], target.ip()]), 403, "{target}");
            assert_eq!(client.bind(channel, *target), 403, "{target}");
            client.channel_data(channel, b"let me in");
            client.indicate(*target, b"let me in");
        }
        client.settle();
        nothing_left(&watch, before);
        site.control(&watch, &mut client, PEER[0]);
    }
}
