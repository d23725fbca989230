//! Whatever bytes arrive, they are judged without a panic, and what is sent back is one well-formed
//! response that fits and belongs to its query.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use credentials::UnixTime;
use dnsd::config::Config;
use dnsd::metrics::{Metrics, Transport};
use dnsd::serve::Published;
use dnsd::serve::wire::{Judged, judge};
use dnsd_core::fleet::Fleet;
use hickory_proto::op::{Message, MessageType};
use proptest::prelude::*;

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong/right.toml");
    let config = Config::read(&path).expect("a right file");
    let (now, unix) = (dnsd::clock::now(), dnsd::clock::unix());
    let mut fleet = Fleet::new(config.inventory, None, now, unix);
    let snapshot = fleet.publish(now, unix);
    Published {
        shares: Metrics::default().shares(&snapshot, None),
        snapshot,
        labels: config.labels,
        rules: config.rules,
    }
});

fn check(message: &[u8], transport: Transport) {
    let client: SocketAddr = "198.51.100.7:40000".parse().expect("address");
    let now = UnixTime(1_800_000_000);
    let Judged::Reply(reply) = judge(message, client, transport, &PUBLISHED, now) else {
        assert!(
            message.len() < 12 || message[2] & 0x80 != 0,
            "dropped without a reason"
        );
        return;
    };
    let mut buffer = Vec::new();
    assert!(reply.encode(&mut buffer), "{message:02x?}");
    let response = Message::from_vec(&buffer).expect("well-formed");
    assert_eq!(&buffer[..2], &message[..2], "the id");
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert_eq!(buffer[2] & 0x78, message[2] & 0x78, "the opcode");
    if transport == Transport::Udp {
        assert!(buffer.len() <= 1232);
    }
    for question in &response.queries {
        let asked = Message::from_vec(message).expect("a question repeated was read");
        assert!(asked.queries.contains(question));
    }
}

const NAMES: [&[u8]; 7] = [
    b"\x04turn\x07example\x00",
    b"\x01a\x04turn\x07example\x00",
    b"\x05LaBeL\x01B\x04turn\x07example\x00",
    b"\x05fra-1\x04turn\x07example\x00",
    b"\x03foo\x04turn\x07example\x00",
    b"\x03net\x00",
    b"\x00",
];
const TYPES: [u16; 12] = [1, 2, 6, 16, 28, 33, 35, 41, 65, 252, 255, 1000];
const OPTIONS: [u16; 5] = [3, 8, 10, 12, 99];

/// A query that is right: name, type, EDNS with options.
fn query() -> impl Strategy<Value = Vec<u8>> {
    let select = |from: &'static [u16]| prop::sample::select(from);
    let option = (select(&OPTIONS), prop::collection::vec(any::<u8>(), 0..24));
    let edns = (
        any::<u16>(),
        any::<u32>(),
        prop::collection::vec(option, 0..4),
    );
    let name = prop::sample::select(&NAMES[..]);
    (any::<u16>(), name, select(&TYPES), prop::option::of(edns)).prop_map(
        |(id, name, kind, edns)| {
            let mut out = id.to_be_bytes().to_vec();
            out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
            out.extend_from_slice(name);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1]);
            let Some((payload, flags, options)) = edns else {
                return out;
            };
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&payload.to_be_bytes());
            out.extend_from_slice(&(flags & 0xff01_ffff).to_be_bytes());
            let length: usize = options.iter().map(|(_, data)| data.len() + 4).sum();
            out.extend_from_slice(&(length as u16).to_be_bytes());
            for (code, data) in options {
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(&(data.len() as u16).to_be_bytes());
                out.extend_from_slice(&data);
            }
            out
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes, Transport::Udp);
        check(&bytes, Transport::Tcp);
    }

    #[test]
    fn right_queries(message in query()) {
        check(&message, Transport::Udp);
        check(&message, Transport::Tcp);
    }

    #[test]
    fn almost_right_queries(
        mut message in query(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        check(&message, Transport::Udp);
        message.truncate(cut.index(message.len()));
        check(&message, Transport::Udp);
    }
}
