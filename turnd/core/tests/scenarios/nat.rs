//! A relay behind a 1:1 NAT: clients know it by its external addresses, its sockets by internal ones.

use turnd_core::{Config, PeerFilter, RelayAddresses};

use crate::codec::{FAMILY, RELAYED, channel_data};
use crate::world::{Client, World, addr, config};

const INTERNAL: &str = "10.1.1.1";
const EXTERNAL: &str = "8.8.4.4";

fn behind_nat() -> Config {
    let internal = RelayAddresses {
        v4: Some(INTERNAL.parse().unwrap()),
        v6: Some("fd00::1".parse().unwrap()),
    };
    let external = RelayAddresses {
        v4: Some(EXTERNAL.parse().unwrap()),
        v6: None,
    };
    Config {
        relay_addresses: internal,
        external_addresses: external,
        peers: PeerFilter::new(internal, 50_000..=50_999)
            .external(external)
            .control([addr("10.1.1.1:50999")]),
        ..config()
    }
}

#[test]
fn clients_are_told_the_external_address_and_sockets_bind_the_internal_one() {
    let mut world = World::with(behind_nat());
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let told = client.allocate(&mut world);
    assert_eq!(told.ip().to_string(), EXTERNAL);
    let bound = *world.sockets.values().next().unwrap();
    assert_eq!(bound.ip().to_string(), INTERNAL);
    assert_eq!(bound.port(), told.port());
    // A family without an external address is told as it is.
    let mut six = Client::new("192.0.2.1:5001", "alice");
    six.learn_nonce(&mut world);
    let request = six.allocate_request().attr(FAMILY, &[2, 0, 0, 0]);
    let told = six.ask(&mut world, request).address(RELAYED).unwrap();
    assert_eq!(told.ip().to_string(), "fd00::1");
}

#[test]
fn two_clients_meet_over_the_external_addresses() {
    let mut world = World::with(behind_nat());
    let mut alice = Client::new("192.0.2.1:5000", "alice");
    let mut bob = Client::new("192.0.2.2:5000", "bob");
    let (of_alice, of_bob) = (alice.allocate(&mut world), bob.allocate(&mut world));
    let internal = |told: std::net::SocketAddr| addr(&format!("{INTERNAL}:{}", told.port()));
    assert!(
        alice
            .permit(&mut world, &[&of_bob.to_string()])
            .is_success()
    );
    assert!(
        bob.bind(&mut world, 0x4000, &of_alice.to_string())
            .is_success()
    );
    let (alices, bobs) = (
        world.id_of(internal(of_alice)),
        world.id_of(internal(of_bob)),
    );
    // As an indication one way: sent to the internal address, shown as the external one.
    let send = alice.send(&of_bob.to_string(), b"hello bob");
    let (to, payload) = world.data(alice.tuple, &send).unwrap();
    assert_eq!(to, internal(of_bob));
    let (to, bytes) = world
        .peer_sends(bobs, internal(of_alice), &payload)
        .unwrap();
    assert_eq!((to, bytes), (bob.tuple, channel_data(0x4000, b"hello bob")));
    // Over the channel the other way.
    let (to, payload) = world
        .data(bob.tuple, &channel_data(0x4000, b"hello alice"))
        .unwrap();
    assert_eq!(to, internal(of_alice));
    let (_, bytes) = world
        .peer_sends(alices, internal(of_bob), &payload)
        .unwrap();
    let parsed = crate::codec::Parsed::new(&bytes);
    assert_eq!(parsed.address(crate::codec::PEER), Some(of_bob));
}

#[test]
fn only_relayed_ports_of_the_external_address_can_be_reached() {
    let mut world = World::with(behind_nat());
    let mut client = Client::new("192.0.2.1:5000", "alice");
    let told = client.allocate(&mut world);
    let id = world.id_of(addr(&format!("{INTERNAL}:{}", told.port())));
    assert!(client.permit(&mut world, &["8.8.4.4:50001"]).is_success());
    // Port 50999 is a control endpoint behind the router.
    for port in [22, 3478, 49_999, 50_999, 51_000] {
        let send = client.send(&format!("{EXTERNAL}:{port}"), b"x");
        assert_eq!(world.data(client.tuple, &send), None, "port {port}");
        let peer = format!("{EXTERNAL}:{port}");
        let bound = client.bind(&mut world, 0x4000, &peer);
        assert_eq!(bound.error(), Some(403), "port {port}");
    }
    // The internal address is nobody's business, at any port.
    for port in [22, 50_001] {
        let peer = format!("{INTERNAL}:{port}");
        assert_eq!(client.permit(&mut world, &[&peer]).error(), Some(403));
        let send = client.send(&peer, b"x");
        assert_eq!(world.data(client.tuple, &send), None);
    }
    // What comes from another port of this machine does not pass for a relayed address.
    assert_eq!(world.peer_sends(id, addr("10.1.1.1:22"), b"x"), None);
    assert!(world.peer_sends(id, addr("10.1.1.1:50001"), b"x").is_some());
}
