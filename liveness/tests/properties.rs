//! Whatever can be said comes back as it was said, and nothing unsigned is ever read.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use common::{key, ring};
use liveness::{
    Ack, KeyId, Load, Neighbour, NodeId, Order, Reason, RelayId, Report, Seen, State, Transports,
};
use proptest::prelude::*;

const ID: &str = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";

fn v4() -> impl Strategy<Value = Option<SocketAddrV4>> {
    proptest::option::of(
        (any::<u32>(), 1..=u16::MAX)
            .prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from_bits(ip), port)),
    )
}

fn v6() -> impl Strategy<Value = Option<SocketAddrV6>> {
    proptest::option::of(
        (any::<u128>(), 1..=u16::MAX)
            .prop_map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from_bits(ip), port, 0, 0)),
    )
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Starting),
        Just(State::Serving),
        Just(State::Full),
        Just(State::Draining),
        Just(State::Failing(Reason::WorkerStuck)),
        Just(State::Failing(Reason::RelaySockets)),
        Just(State::Failing(Reason::Descriptors)),
        Just(State::Failing(Reason::Configuration)),
        Just(State::Failing(Reason::Other)),
    ]
}

fn load() -> impl Strategy<Value = Load> {
    any::<(u32, u32, u64, u64, u16)>().prop_map(
        |(sessions, sessions_max, bits_per_second, bits_per_second_max, cpu_permille)| Load {
            sessions,
            sessions_max,
            bits_per_second,
            bits_per_second_max,
            cpu_permille,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    (
        ID,
        any::<[u64; 5]>(),
        state(),
        load(),
        v4(),
        v6(),
        any::<(u16, u16)>(),
    )
        .prop_map(
            |(relay, numbers, state, load, ipv4, ipv6, (transports, workers))| Report {
                relay: relay.parse::<RelayId>().unwrap(),
                boot: numbers[0] >> 1,
                sequence: numbers[1],
                sent_at_ms: numbers[2],
                state,
                load,
                ipv4,
                ipv6,
                transports: Transports(transports),
                workers,
                configuration: numbers[3],
                revocations: numbers[4],
            },
        )
}

fn ack() -> impl Strategy<Value = Ack> {
    let order = prop_oneof![Just(Order::None), Just(Order::Drain), Just(Order::Undrain)];
    let seen = prop_oneof![
        Just(Seen::Up),
        Just(Seen::Suspect),
        Just(Seen::Down),
        Just(Seen::Draining),
        Just(Seen::Forced),
    ];
    let neighbour = (v4(), v6()).prop_map(|(ipv4, ipv6)| Neighbour { ipv4, ipv6 });
    (
        ID,
        ID,
        any::<[u64; 5]>(),
        order,
        seen,
        proptest::array::uniform4(neighbour),
    )
        .prop_map(|(relay, node, numbers, order, seen, neighbours)| Ack {
            relay: relay.parse::<RelayId>().unwrap(),
            boot: numbers[0],
            sequence: numbers[1],
            node: node.parse::<NodeId>().unwrap(),
            sent_at_ms: numbers[2],
            boot_floor: numbers[3] >> 1,
            order,
            seen,
            revocations: numbers[4],
            neighbours,
        })
}

proptest! {
    #[test]
    fn reports_come_back(report in report(), id in any::<u32>()) {
        let bytes = report.encode(KeyId(id), &key());
        prop_assert_eq!(Report::decode(&bytes, &ring(&[id])), Ok((report, KeyId(id))));
        prop_assert!(Ack::decode(&bytes, &ring(&[id])).is_err());
    }

    #[test]
    fn acknowledgements_come_back(ack in ack(), id in any::<u32>()) {
        let bytes = ack.encode(KeyId(id), &key());
        prop_assert_eq!(Ack::decode(&bytes, &ring(&[id])), Ok((ack, KeyId(id))));
        prop_assert!(Report::decode(&bytes, &ring(&[id])).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Report::decode(&bytes, &ring(&[0, 1])).is_err());
        prop_assert!(Ack::decode(&bytes, &ring(&[0, 1])).is_err());
    }
}
