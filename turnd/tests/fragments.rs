//! DONT-FRAGMENT takes effect in the kernel: in a network namespace with a short path.

mod support;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use support::turn_client::TurnClient;
use support::{Setup, has_tool, wait_for};

/// Longer than the path of this test carries in one piece.
const LONG: usize = 3000;

/// A namespace of this thread and all it starts, in which a packet has 1500 bytes at most. It goes
/// when the last of them has ended.
fn short_path(test: &str) -> bool {
    if !has_tool(test, "ip") {
        return false;
    }
    if !nix::unistd::geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
        println!("SKIP {test}: cannot make a network namespace");
        return false;
    }
    let set = Command::new("ip")
        .args(["link", "set", "lo", "mtu", "1500", "up"])
        .status();
    set.expect("ip starts").success()
}

#[test]
fn what_must_not_be_fragmented_is_not() {
    if !short_path("what_must_not_be_fragmented_is_not") {
        return;
    }
    let relay = Setup::default().start();
    let (username, password) = relay.credential();
    let mut client = TurnClient::allocate(relay.turn(), &username, &password);
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    let SocketAddr::V4(address) = peer.local_addr().expect("an address") else {
        panic!("bound to IPv4");
    };
    client.permit(address);
    let mut buffer = [0; 4096];
    let mut arrives = |client: &mut TurnClient, to: SocketAddrV4, len: usize, whole: bool| {
        // The next datagram that may be fragmented shows that the one before was lost.
        if whole {
            client.send_whole(to, &vec![1; len]);
        } else {
            client.send(to, &vec![2; len]);
        }
        let got = peer.recv(&mut buffer).expect("a datagram");
        (got, buffer[0])
    };
    assert_eq!(arrives(&mut client, address, LONG, false), (LONG, 2));
    assert_eq!(arrives(&mut client, address, 1000, true), (1000, 1));
    client.send_whole(address, &[1; LONG]);
    // Fragments are allowed again for the very next one.
    assert_eq!(arrives(&mut client, address, LONG, false), (LONG, 2));
    assert_eq!(arrives(&mut client, address, 1000, true), (1000, 1));
    wait_for("the one that was too long is counted", || {
        (relay.metric("send_refused_total") == Some(1)).then_some(())
    });
}
