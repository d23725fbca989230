//! Every mode of the load generator against the relay, at small size: every packet comes back to where
//! it belongs.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use cluster_tests::{
    load::{
        self,
        login::Login,
        outcome::Outcome,
        plan::{Pace, Plan, Transport, Via},
    },
    turnd::{SECRET, Setup, Turnd},
};

/// A short run of few clients against `server`.
fn small(server: SocketAddr, login: Option<Login>) -> Plan {
    Plan {
        allocations: 8,
        payload: 121,
        warmup: Duration::from_millis(100),
        time: Duration::from_millis(400),
        ..Plan::new(server, login)
    }
}

fn plan(turnd: &Turnd) -> Plan {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let expires = now.expect("a clock after 1970").as_secs() + 600;
    let secret = SECRET.to_owned();
    let plan = small(turnd.turn(), Some(Login::Secret { secret, expires }));
    Plan {
        peer_ip: turnd.ip,
        server_pid: Some(turnd.pid()),
        ..plan
    }
}

/// Runs a plan and insists that all comes back.
#[track_caller]
fn complete(plan: &Plan) -> Outcome {
    let outcome = load::run(plan).expect("a run");
    assert!(outcome.up.sent > 0, "{outcome}");
    assert_eq!(outcome.up.sent, outcome.up.received, "{outcome}");
    assert_eq!(outcome.down.sent, outcome.down.received, "{outcome}");
    assert_eq!(outcome.up.received, outcome.down.sent, "{outcome}");
    assert_eq!((outcome.foreign, outcome.reordered), (0, 0), "{outcome}");
    outcome
}

#[test]
fn clients_of_many_addresses_meet_peers_that_share_sockets() {
    let turnd = Setup::loopback("load-sources").start();
    for via in [Via::Channel, Via::Indication] {
        for coalesce in [false, true] {
            complete(&Plan {
                via,
                coalesce,
                sources: 3,
                flows_per_peer: Some(3),
                ..plan(&turnd)
            });
        }
    }
}

#[test]
fn many_clients_ask_at_once_and_nobody_is_forgotten() {
    let turnd = Setup::loopback("load-opening").start();
    for opening in [1, 7, 40] {
        let outcome = complete(&Plan {
            opening,
            allocations: 40,
            ..plan(&turnd)
        });
        let allocate = outcome.allocate;
        assert!(allocate.cpu_us_per_allocation.is_some_and(|us| us > 0.0));
        assert!(allocate.per_second > 0.0);
        // All were given back.
        turnd.metric_becomes("sessions", |sessions| sessions == 0);
    }
}

#[test]
fn clients_over_streams_lose_nothing() {
    let turnd = Setup::loopback("load-streams").start();
    let burst = Pace::Burst {
        packets: 16,
        every_ms: 20,
    };
    for transport in [Transport::Tcp, Transport::Tls] {
        for (via, pace) in [
            (Via::Channel, Pace::Window(4)),
            (Via::Channel, burst),
            (Via::Indication, Pace::Rate(2000)),
        ] {
            complete(&Plan {
                transport,
                via,
                pace,
                ..plan(&turnd)
            });
        }
    }
}

#[test]
fn allocations_take_turns_with_what_is_in_flight() {
    let turnd = Setup::loopback("load-turns").start();
    for (spin, packets) in [(false, 3), (true, 50)] {
        complete(&Plan {
            pace: Pace::InFlight(packets),
            spin,
            ..plan(&turnd)
        });
    }
}

#[test]
fn trains_return_whole_in_one_piece_or_packet_by_packet() {
    let turnd = Setup::loopback("load-trains").start();
    let pace = Pace::Burst {
        packets: 16,
        every_ms: 20,
    };
    for (coalesce, gro) in [(false, true), (true, true), (true, false)] {
        let outcome = complete(&Plan {
            pace,
            coalesce,
            gro,
            payload: 1200,
            ..plan(&turnd)
        });
        // Nobody sends a part of a train.
        assert_eq!(outcome.up.sent % 16, 0, "{outcome}");
        assert_eq!(outcome.down.sent % 16, 0, "{outcome}");
    }
}

#[test]
fn what_the_server_costs_is_told() {
    let turnd = Setup::loopback("load-usage").start();
    let outcome = complete(&plan(&turnd));
    let server = outcome.server.expect("its process was named");
    assert!(server.cpu.seconds > 0.0 && server.cpu_ns_per_byte > 0.0);
    assert!(server.anon_allocated > 0 && server.anon_allocated < server.rss_allocated);
    let told: f64 = server.threads.iter().map(|thread| thread.percent).sum();
    assert!(told > 0.0, "{:?}", server.threads);
}

#[test]
fn a_bare_forwarder_is_measured_without_turn() {
    for (coalesce, flows_per_peer) in [(false, 1), (true, 1), (true, 8)] {
        complete(&Plan {
            coalesce,
            flows_per_peer: Some(flows_per_peer),
            ..small(forwarder(), None)
        });
    }
}

/// The plainest forwarder there can be: everybody's relayed address is a socket that a thread reads.
/// Returns where it listens.
fn forwarder() -> SocketAddr {
    let listener = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut sessions = HashMap::new();
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = listener.recv_from(&mut buffer) {
            let datagram = &buffer[..length];
            if let Some(peer) = datagram.strip_prefix(b"FORWARD ") {
                let peer = String::from_utf8_lossy(peer).parse().expect("an address");
                let down = listener.try_clone().expect("a descriptor");
                let relay = sessions
                    .entry(client)
                    .or_insert_with(|| relay(down, client, peer));
                let relayed = relay.local_addr().expect("an address");
                let answer = format!("FORWARDED {relayed}");
                listener.send_to(answer.as_bytes(), client).expect("sent");
            } else if datagram == b"CLOSE" {
                sessions.remove(&client).expect("a session");
            } else {
                sessions[&client].send(&datagram[4..]).expect("sent");
            }
        }
    });
    address
}

/// A relayed address for `client`, connected to `peer`; what comes there goes `down`.
fn relay(down: UdpSocket, client: SocketAddr, peer: SocketAddr) -> UdpSocket {
    let relay = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    relay.connect(peer).expect("connected");
    let up = relay.try_clone().expect("a descriptor");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok(length) = up.recv(&mut buffer[4..]) {
            let number = (length as u16).to_be_bytes();
            buffer[..4].copy_from_slice(&[0x40, 0, number[0], number[1]]);
            down.send_to(&buffer[..4 + length], client).expect("sent");
        }
    });
    relay
}
