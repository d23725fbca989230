//! What the wire tests share: the key of the golden files and the values frozen in them.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use liveness::{
    Ack, Key, KeyId, KeyRing, Load, Neighbour, Order, Reason, Report, Seen, State, Transports,
};

/// Bytes 0x40 to 0x5f.
pub fn key() -> Key {
    Key::new((0x40..0x60).collect()).unwrap()
}

pub fn ring(ids: &[u32]) -> KeyRing {
    let mut ring = KeyRing::new();
    for id in ids {
        ring.insert(KeyId(*id), key()).unwrap();
    }
    ring
}

pub fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub fn failing() -> Report {
    Report {
        relay: "fra-1".parse().unwrap(),
        boot: 0x0000_019a_0000_0001,
        sequence: 42,
        sent_at_ms: 1_795_334_400_123,
        state: State::Failing(Reason::RelaySockets),
        load: Load {
            sessions: 1234,
            sessions_max: 10_000,
            bits_per_second: 250_000_000,
            bits_per_second_max: 1_000_000_000,
            cpu_permille: 870,
        },
        ipv4: Some("192.0.2.17:3478".parse().unwrap()),
        ipv6: Some("[2001:db8::17]:5349".parse().unwrap()),
        transports: Transports::UDP.with(Transports::TCP).with(Transports::TLS),
        workers: 4,
        configuration: 0x00c0_ffee,
        revocations: 9,
    }
}

/// The least a report can say.
pub fn bare() -> Report {
    Report {
        relay: "a".parse().unwrap(),
        boot: 1,
        sequence: 1,
        sent_at_ms: 0,
        state: State::Serving,
        load: Load::default(),
        ipv4: None,
        ipv6: None,
        transports: Transports::UDP,
        workers: 1,
        configuration: 0,
        revocations: 0,
    }
}

pub fn ack() -> Ack {
    Ack {
        relay: "fra-1".parse().unwrap(),
        boot: 0x0000_019a_0000_0001,
        sequence: 42,
        node: "ns1".parse().unwrap(),
        sent_at_ms: 1_795_334_400_223,
        boot_floor: 0,
        order: Order::Drain,
        seen: Seen::Draining,
        revocations: 12,
        neighbours: [
            Neighbour {
                ipv4: Some("198.51.100.4:3478".parse().unwrap()),
                ipv6: Some("[2001:db8:1::4]:3479".parse().unwrap()),
            },
            Neighbour {
                ipv4: Some("203.0.113.9:3478".parse().unwrap()),
                ipv6: None,
            },
            Neighbour {
                ipv4: None,
                ipv6: Some("[2001:db8:2::9]:443".parse().unwrap()),
            },
            Neighbour::default(),
        ],
    }
}
