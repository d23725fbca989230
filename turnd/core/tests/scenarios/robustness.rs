//! Anything may come in: random bytes, damaged messages, operations in any order. Nothing panics,
//! the relay's state stays sound, and a simple model agrees with what is relayed.

use proptest::prelude::*;
use turnd_core::{Family, HEADROOM, Headroom, TAILROOM};

use crate::model::run;
use crate::step::{Step, Wish};
use crate::world::{Client, World, addr};

const CASES: u32 = 300;

/// Both once passed without the model's agreeing.
#[test]
fn sequences_that_once_went_wrong() {
    let opened = Step::Answer { result: Ok(()) };
    let wish = Wish::One(Family::V4);
    let allocate = |client| Step::Allocate { client, wish };
    let bind = |peer| Step::Bind {
        client: 2,
        channel: 0x4003,
        peer,
    };
    run([
        allocate(0),
        allocate(2),
        opened.clone(),
        opened.clone(),
        bind(0),
        Step::Reconfigure { deny: true },
        Step::Reconfigure { deny: false },
        bind(1),
    ]);
    run([
        allocate(0),
        opened.clone(),
        allocate(2),
        Step::Drain { mode: 0 },
        opened,
        Step::Refresh {
            client: 2,
            family: None,
            lifetime: Some(641),
        },
        Step::Advance {
            seconds: 290,
            handled: false,
        },
        Step::Advance {
            seconds: 310,
            handled: false,
        },
        allocate(2),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_a_simple_model(
        steps in prop::collection::vec(any::<[u8; Step::BYTES]>().prop_map(Step::from_bytes), 1..80)
    ) {
        run(steps);
    }

    #[test]
    fn random_bytes_change_nothing(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..50),
        head in prop_oneof![Just(vec![]), Just(vec![0, 1]), Just(vec![0, 3]), Just(vec![0, 0x16]), Just(vec![0x40, 0])],
    ) {
        let mut world = World::new();
        let mut client = Client::new("192.0.2.1:5000", "alice");
        let relayed = client.allocate(&mut world);
        let id = world.id_of(relayed);
        let before = world.relay.footprint();
        for packet in packets {
            let mut bytes = head.clone();
            bytes.extend(&packet);
            let now = world.now();
            let _ = world.relay.handle_client(now, client.tuple, &bytes);
            world.drain();
            let mut buffer = vec![0; HEADROOM];
            buffer.extend(&packet);
            buffer.extend([0; TAILROOM]);
            let place = HEADROOM..HEADROOM + packet.len();
            let mut packet = Headroom::new(&mut buffer, place).unwrap();
            let dropped = world.relay.handle_peer(now, id, addr("9.9.9.9:9"), &mut packet);
            prop_assert_eq!(dropped, None);
        }
        prop_assert_eq!(world.relay.footprint(), before);
    }
}

#[test]
fn port_zero_is_neither_answered_nor_sent_to() {
    let mut world = World::new();
    let mut forged = Client::new("192.0.2.1:0", "alice");
    let request = forged.allocate_request();
    world.give(forged.tuple, &request.bytes);
    assert!(world.replies.is_empty());
    assert_eq!(world.relay.counters().dropped_port_zero, 1);
    let mut client = Client::new("192.0.2.1:5000", "alice");
    client.allocate(&mut world);
    assert!(client.permit(&mut world, &["9.9.9.9:0"]).is_success());
    let bound = client.bind(&mut world, 0x4000, "9.9.9.9:0");
    assert_eq!(bound.error(), Some(400));
    let send = client.send("9.9.9.9:0", b"nowhere");
    assert_eq!(world.data(client.tuple, &send), None);
    assert_eq!(world.relay.counters().dropped_port_zero, 2);
}
