//! A hundred thousand allocations made and given back, over every transport: afterwards everything
//! is as before.
//!
//! Ports and quotas are few on purpose: one that is lost now and then would be missing soon. At
//! the end every single port is held at once.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::rogue::{self, Client, Transport};
use cluster_tests::stun::{attribute, kind};
use cluster_tests::timing::until;
use cluster_tests::turnd::{SECRET, Setup, Turnd, credential};

/// Cycles by transport.
const CYCLES: [(Transport, u32); 4] = [
    (Transport::Udp, 60_000),
    (Transport::Tcp, 20_000),
    (Transport::Tls, 10_000),
    (Transport::Dtls, 10_000),
];
/// Cycles by transport before the first look.
const WARM_UP: u32 = 800;
/// Threads of clients.
const THREADS: u32 = 8;
/// Relayed ports of the relay.
const PORTS: u16 = 256;
/// Sessions of one user; each thread has a user of its own.
const QUOTA: u32 = 4;
/// What memory may grow by over all cycles after a first few.
const GROWTH: u64 = 4 << 20;

/// An address and a user of each thread's own.
fn login(turnd: &Turnd, thread: u32) -> (IpAddr, (String, String)) {
    let IpAddr::V4(ip) = turnd.ip else {
        panic!("a relay on IPv4")
    };
    let [a, b, c, _] = ip.octets();
    let from = IpAddr::from([a, b, c, 100 + thread as u8]);
    (from, credential(SECRET, &format!("user-{thread}")))
}

fn open(turnd: &Turnd, transport: Transport, thread: u32) -> Client {
    let (from, login) = login(turnd, thread);
    Client::open(transport, turnd.turn(), Some(from), login).expect("it connects")
}

/// One allocation, asked for in one of the ways there are; `rival` comes for the port it reserves.
fn cycle(turnd: &Turnd, [client, rival]: &mut [Client; 2], number: u32, reserves: bool) {
    let ip = turnd.ip;
    let wish: (u16, &[u8]) = match number % 6 {
        0 => (attribute::EVEN_PORT, &[0]),
        2 if reserves => (attribute::EVEN_PORT, &[0x80]),
        4 => (attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]),
        _ => (attribute::LIFETIME, &[0, 0, 2, 0x58]),
    };
    let reply = client.request(kind::ALLOCATE, |b| {
        rogue::allocate(b, ip).attribute(wish.0, wish.1)
    });
    assert_eq!(reply.code(), 0, "cycle {number}");
    let message = reply.message();
    let relayed = message.address(attribute::XOR_RELAYED_ADDRESS);
    let relayed = relayed.expect("an address");
    assert!(wish.0 != attribute::EVEN_PORT || relayed.port().is_multiple_of(2));
    if wish.0 == attribute::ADDITIONAL_ADDRESS_FAMILY {
        assert_eq!(message.all(attribute::XOR_RELAYED_ADDRESS).count(), 2);
    }
    if let Some(token) = message.get(attribute::RESERVATION_TOKEN) {
        let reply = rival.request(kind::ALLOCATE, |b| {
            rogue::allocate(b, ip).attribute(attribute::RESERVATION_TOKEN, token)
        });
        assert_eq!(reply.code(), 0, "cycle {number}");
        let next = reply.message().address(attribute::XOR_RELAYED_ADDRESS);
        assert_eq!(next.expect("an address").port(), relayed.port() + 1);
        assert_eq!(rival.refresh(0), 0, "cycle {number}");
    }
    if number.is_multiple_of(16) {
        assert_eq!(client.bind(0x4000, SocketAddr::new(ip, 9)), 0);
    }
}

/// `count` cycles over `transport`, spread over the threads.
fn cycles(turnd: &Turnd, transport: Transport, count: u32, reserves: bool) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                // One credential for both: what is reserved is for whoever reserved it.
                let (from, login) = login(turnd, thread);
                let open = || {
                    let client = Client::open(transport, turnd.turn(), Some(from), login.clone());
                    client.expect("it connects")
                };
                let mut clients = [open(), open()];
                for number in 0..count / THREADS {
                    cycle(turnd, &mut clients, number, reserves);
                    // A connection's end is its allocation's; some are costly to begin again.
                    let left = match transport {
                        Transport::Udp => false,
                        Transport::Tcp => number.is_multiple_of(4),
                        Transport::Tls => number.is_multiple_of(16),
                        Transport::Dtls => false,
                    };
                    if left {
                        clients[0] = open();
                    } else {
                        assert_eq!(clients[0].refresh(0), 0, "cycle {number}");
                    }
                }
            });
        }
    });
    turnd.metric_becomes("sessions", |sessions| sessions == 0);
}

#[test]
fn after_a_hundred_thousand_cycles_everything_is_as_before() {
    all_is_as_before("cycles", 2, CYCLES);
}

/// A worker alone gives the ports it has reserved to clients over any transport.
#[test]
fn after_thousands_of_reservations_everything_is_as_before() {
    let few = CYCLES.map(|(transport, count)| (transport, count / 10));
    all_is_as_before("reservations", 1, few);
}

fn all_is_as_before(name: &str, workers: usize, counts: [(Transport, u32); 4]) {
    let mut setup = Setup::loopback(name);
    setup.ports = format!("61000-{}", 61_000 + PORTS - 1);
    setup.relay = format!("workers = {workers}\n");
    setup.relay_only = vec![Ipv6Addr::LOCALHOST.into()];
    setup.log.clear();
    let limits = format!("[limits]\nsessions_per_user = {QUOTA}\n");
    setup.sections.push_str(&limits);
    let turnd = setup.start();
    // Only datagrams are handed to the worker that keeps a port.
    let reserves = |transport| workers == 1 || transport == Transport::Udp;
    for (transport, _) in counts {
        cycles(&turnd, transport, WARM_UP, reserves(transport));
    }
    let before = (turnd.resident(), turnd.descriptors());
    for (transport, count) in counts {
        let began = Instant::now();
        cycles(&turnd, transport, count, reserves(transport));
        let took = began.elapsed().as_secs_f64();
        println!("measured {name}, {transport:?}: {count} in {took:.1} s");
    }
    let after = (turnd.resident(), turnd.descriptors());
    println!(
        "measured {name}: descriptors {} before, {} after; memory {} KiB before, {} KiB after",
        before.1,
        after.1,
        before.0 / 1024,
        after.0 / 1024
    );
    assert!(after.0 < before.0 + GROWTH, "memory");

    // Quotas: each user may have all of its sessions, and not one more.
    let mut held = Vec::new();
    for thread in 0..THREADS {
        for _ in 0..QUOTA {
            let mut client = open(&turnd, Transport::Udp, thread);
            client.allocated(turnd.ip);
            held.push(client);
        }
        assert_eq!(
            open(&turnd, Transport::Udp, thread)
                .allocate(turnd.ip)
                .code(),
            486
        );
    }
    // Ports: all of them can be had at once. Which worker a client meets is chance, and each has
    // its share; so more ask than there are.
    let mut refused = 0;
    for user in THREADS.. {
        if held.len() == usize::from(PORTS) || refused > 40 * u32::from(PORTS) {
            break;
        }
        let mut client = open(&turnd, Transport::Tcp, user % 32);
        client.log_in(credential(SECRET, &format!("user-{user}")));
        match client.allocate(turnd.ip).code() {
            0 => held.push(client),
            508 => refused += 1,
            code => panic!("{code}"),
        }
    }
    assert_eq!(held.len(), usize::from(PORTS), "ports that can be had");
    for client in &mut held {
        assert_eq!(client.refresh(0), 0);
    }
    drop(held);
    turnd.metric_becomes("sessions", |sessions| sessions == 0);
    until("all is closed", Duration::from_secs(5), || {
        (turnd.descriptors() <= before.1).then_some(())
    });
}
