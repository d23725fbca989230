//! Clients that take their sessions along to other ports (RFC 8016), over several workers.

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::turn_client::TurnClient;
use support::{
    PEER, Relay, SECRET, Setup, TURN, Tool, client, echo_peer, has_tool, lost, wait_for,
};

const MOVES: u8 = 10;

fn start(workers: u8) -> Relay {
    let mut setup = Setup::default();
    let ip = setup.ip;
    setup.relay = format!(
        "listen = [\"{ip}:{TURN}\"]\nlisten_tcp = [\"{ip}:{TURN}\"]\nrelay_addresses = [\"{ip}\"]\n\
         mobility = true\nworkers = {workers}"
    );
    setup.start()
}

/// Says so when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn data_goes_on_whatever_worker_a_client_moves_to() {
    let relay = start(4);
    let (username, password) = relay.credential();
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let SocketAddr::V4(address) = peer.local_addr().expect("an address") else {
        panic!("bound to IPv4");
    };
    let (mut client, mut ticket) = TurnClient::mobile(relay.turn(), &username, &password);
    client.permit(address);
    let relayed: SocketAddrV4 = client.relayed;
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a check fails: the scope waits for the peer.
        let _end = End(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peer.send_to(b"on and on", relayed).expect("sent");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for n in 0..MOVES {
            let next = client.move_on(relay.turn(), &ticket);
            assert_ne!(next, ticket);
            ticket = next;
            for _ in 0..5 {
                let received = client.receive();
                assert_eq!(received, (address, b"on and on".to_vec()), "move {n}");
            }
            client.send(address, &[n]);
            let mut buffer = [0; 8];
            let (len, from) = peer.recv_from(&mut buffer).expect("a datagram");
            assert_eq!((&buffer[..len], from), (&[n][..], relayed.into()));
        }
    });
    wait_for("it moved, and to other workers", || {
        let moved = relay.metric("allocations_moved_total") == Some(MOVES.into());
        let is_one = relay.metric("sessions") == Some(1);
        (moved && is_one && relay.metric("requests_forwarded_total") >= Some(1)).then_some(())
    });
    client.release();
    wait_for("it is gone", || {
        (relay.metric("sessions") == Some(0)).then_some(())
    });
}

/// coturn's client, which moves once each of its sessions has been made.
fn moving(relay: &Relay, mode: &[&str]) -> String {
    let _peer = echo_peer(SocketAddr::from((relay.ip, PEER)));
    let (ip, peer, port) = (relay.ip.to_string(), PEER.to_string(), TURN.to_string());
    let mut arguments = vec![
        "-M", "-e", &ip, "-r", &peer, "-n", "100", "-m", "4", "-W", SECRET,
    ];
    arguments.extend_from_slice(mode);
    Tool::start("turnutils_uclient", &client(&arguments, &port, &ip)).finish()
}

#[test]
fn coturns_client_moves_over_udp_and_tcp() {
    let name = "coturns_client_moves_over_udp_and_tcp";
    if !has_tool(name, "turnutils_uclient") || !has_tool(name, "turnutils_peer") {
        return;
    }
    // A connection cannot be handed to another worker.
    for (workers, mode) in [(3, &[][..]), (3, &["-s"][..]), (1, &["-t"][..])] {
        let relay = start(workers);
        assert_eq!(lost(&moving(&relay, mode)), (400, 0), "{mode:?}");
        wait_for("all have moved", || {
            (relay.metric("allocations_moved_total") >= Some(4)).then_some(())
        });
    }
}
