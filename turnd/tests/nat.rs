//! A relay behind a 1:1 NAT, without the router: its external address is on no interface.

mod support;

use std::net::{Ipv4Addr, SocketAddrV4};

use support::turn_client::TurnClient;
use support::{Setup, TURN};

#[test]
fn two_clients_of_one_relay_meet_over_its_external_address() {
    let external = Ipv4Addr::new(203, 0, 113, 77);
    let mut setup = Setup::default();
    let ip = setup.ip;
    setup.relay = format!(
        "listen = [\"{ip}:{TURN}\"]\nrelay_addresses = [\"{ip}\"]\n\
         external_addresses = [\"{external}\"]"
    );
    let relay = setup.start();
    let (username, password) = relay.credential();
    let allocate = || TurnClient::allocate(relay.turn(), &username, &password);
    let (mut alice, mut bob) = (allocate(), allocate());
    assert_eq!([alice.relayed.ip(), bob.relayed.ip()], [&external; 2]);
    let (of_alice, of_bob) = (alice.relayed, bob.relayed);
    alice.permit(of_bob);
    bob.permit(of_alice);
    alice.send(of_bob, b"hello bob");
    assert_eq!(bob.receive(), (of_alice, b"hello bob".to_vec()));
    bob.send(of_alice, b"hello alice");
    assert_eq!(alice.receive(), (of_bob, b"hello alice".to_vec()));
    // Elsewhere on that address there is nothing to be reached.
    assert_eq!(alice.refused(SocketAddrV4::new(external, TURN)), 403);
}
