//! Every mode of the load generator against the relay, at small size: every packet comes back to where
//! it belongs.

use std::{
    collections::{HashMap, HashSet},
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
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
    timing::until,
    turnd::{SECRET, Setup, Turnd},
};
use nix::sys::socket::{setsockopt, sockopt};

/// Bytes of a packet's payload, where a test does not say otherwise.
const PAYLOAD: u16 = 121;

/// A short run of few clients against `server`.
fn small(server: SocketAddr, login: Option<Login>) -> Plan {
    Plan {
        allocations: 8,
        payload: usize::from(PAYLOAD),
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
            let outcome = complete(&Plan {
                transport,
                via,
                pace,
                ..plan(&turnd)
            });
            assert_eq!(outcome.cipher.is_some(), transport == Transport::Tls);
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
fn trains_return_in_one_piece_or_packet_by_packet() {
    let turnd = Setup::loopback("load-trains").start();
    let pace = Pace::Burst {
        packets: 16,
        every_ms: 20,
    };
    for (coalesce, gro) in [(false, true), (true, true), (true, false)] {
        complete(&Plan {
            pace,
            coalesce,
            gro,
            payload: 1200,
            ..plan(&turnd)
        });
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
fn a_bare_forwarder_sees_as_many_addresses_as_planned() {
    for (sources, flows_per_peer, peers) in [(0, 1, 8), (3, 3, 3), (8, 8, 1)] {
        let forwarder = Forwarder::start();
        complete(&Plan {
            sources,
            flows_per_peer: Some(flows_per_peer),
            ..small(forwarder.address, None)
        });
        until("every session ends", Duration::from_secs(10), || {
            let seen = forwarder.seen.lock().expect("no panic");
            (seen.closed == 8).then_some(())
        });
        let seen = forwarder.seen.lock().expect("no panic");
        assert_eq!(seen.peers.len(), peers, "{seen:?}");
        let from: HashSet<_> = seen.clients.iter().map(SocketAddr::ip).collect();
        assert_eq!(from.len(), sources.max(1), "{seen:?}");
        assert_eq!(seen.clients.len(), 8, "{seen:?}");
    }
}

#[test]
fn trains_reach_the_server_whole_from_both_sides_where_they_are_coalesced() {
    let burst = Pace::Burst {
        packets: 16,
        every_ms: 20,
    };
    for (pace, coalesce, packets) in [
        (burst, true, 16),
        (Pace::Window(5), true, 5),
        (burst, false, 1),
    ] {
        let forwarder = Forwarder::start();
        let plan = Plan {
            pace,
            coalesce,
            ..small(forwarder.address, None)
        };
        complete(&plan);
        let seen = forwarder.seen.lock().expect("no panic");
        let sizes = |size: usize| HashSet::from([size * packets]);
        assert_eq!(seen.up, sizes(HEADER + plan.payload), "{pace:?}");
        assert_eq!(seen.down, sizes(plan.payload), "{pace:?}");
    }
}

/// ChannelData's header (RFC 8656 section 12.4).
const HEADER: usize = 4;

/// The plainest forwarder there can be: everybody's relayed address is a socket that a thread reads.
struct Forwarder {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What a forwarder has seen.
#[derive(Debug, Default)]
struct Seen {
    clients: HashSet<SocketAddr>,
    peers: HashSet<SocketAddr>,
    closed: usize,
    /// Lengths of what came in one piece, from clients and from peers.
    up: HashSet<usize>,
    down: HashSet<usize>,
}

impl Forwarder {
    fn start() -> Self {
        let listener = socket();
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        thread::spawn(move || listen(&listener, &shared));
        Self { address, seen }
    }
}

/// A socket that takes what comes in one piece so.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    setsockopt(&socket, sockopt::UdpGroSegment, &true).expect("it joins datagrams");
    socket
}

fn listen(listener: &UdpSocket, shared: &Arc<Mutex<Seen>>) {
    let mut sessions = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((length, client)) = listener.recv_from(&mut buffer) {
        let datagram = &buffer[..length];
        let mut seen = shared.lock().expect("no panic");
        if let Some(peer) = datagram.strip_prefix(b"FORWARD ") {
            let peer = String::from_utf8_lossy(peer).parse().expect("an address");
            seen.clients.insert(client);
            seen.peers.insert(peer);
            let open = || relay(listener, client, peer, shared.clone());
            let relay: &mut UdpSocket = sessions.entry(client).or_insert_with(open);
            let relayed = relay.local_addr().expect("an address");
            let answer = format!("FORWARDED {relayed}");
            listener.send_to(answer.as_bytes(), client).expect("sent");
        } else if datagram == b"CLOSE" {
            sessions.remove(&client).expect("a session");
            seen.closed += 1;
        } else {
            seen.up.insert(length);
            let payload = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
            for packet in datagram.chunks(HEADER + payload) {
                sessions[&client].send(&packet[HEADER..]).expect("sent");
            }
        }
    }
}

/// A relayed address for `client`, connected to `peer`; what comes there goes down.
fn relay(
    listener: &UdpSocket,
    client: SocketAddr,
    peer: SocketAddr,
    shared: Arc<Mutex<Seen>>,
) -> UdpSocket {
    let relay = socket();
    relay.connect(peer).expect("connected");
    let up = relay.try_clone().expect("a descriptor");
    let down = listener.try_clone().expect("a descriptor");
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = up.recv(&mut buffer) {
            shared.lock().expect("no panic").down.insert(length);
            let size = PAYLOAD.to_be_bytes();
            for packet in buffer[..length].chunks(usize::from(PAYLOAD)) {
                let message = [&[0x40, 0, size[0], size[1]], packet].concat();
                down.send_to(&message, client).expect("sent");
            }
        }
    });
    relay
}
