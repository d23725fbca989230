//! The table with clients of the same library: its caps, its deadlines, and hostile datagrams.

use std::collections::VecDeque;

use dimpl::{Dtls, DtlsCertificate, Output};
use rcgen::{CertificateParams, KeyPair};
use turnd_core::Transport;
use zeroize::Zeroizing;

use super::super::hello::first_hello;
use super::super::limits::{HANDSHAKE, IDLE};
use super::*;
use crate::clock;
use crate::config::DtlsIdentity;
use crate::net::dtls::identity::Identity;
use crate::net::stream::caps::Policy;

struct World {
    sessions: Sessions,
    now: Instant,
    certificate: DtlsCertificate,
    /// Messages of clients.
    messages: Vec<Vec<u8>>,
}

struct Client {
    dtls: Dtls,
    tuple: FiveTuple,
    established: bool,
    closed: bool,
    messages: Vec<Vec<u8>>,
}

impl World {
    fn new(total: u32, per_source: u32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["turn.example".to_owned()]).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate");
        let identity = Identity::new(&DtlsIdentity {
            certificate: certificate.der().to_vec(),
            key: Zeroizing::new(key.serialize_der()),
        });
        let certificates = Certificates::default();
        certificates.serve_dtls(identity.expect("an identity"));
        let caps = Caps::new(Policy {
            total,
            per_source,
            proxies: Vec::new(),
        });
        let now = clock::instant();
        Self {
            sessions: Sessions::new(Cookies::new([7; 32], now), Arc::new(certificates), caps),
            now,
            certificate: DtlsCertificate {
                certificate: certificate.der().to_vec(),
                private_key: key.serialize_der(),
            },
            messages: Vec::new(),
        }
    }

    fn client(&self, address: &str) -> Client {
        let config = dimpl::Config::builder().build().expect("a configuration");
        let mut dtls = Dtls::new_12(Arc::new(config), self.certificate.clone(), self.now);
        dtls.set_active(true);
        dtls.handle_timeout(self.now).expect("begun");
        Client {
            dtls,
            tuple: FiveTuple {
                client: address.parse().expect("an address"),
                server: "198.51.100.1:3478".parse().expect("an address"),
                transport: Transport::Dtls,
            },
            established: false,
            closed: false,
            messages: Vec::new(),
        }
    }

    /// Gives a datagram to the table; its answers.
    fn receive(&mut self, tuple: FiveTuple, datagram: &[u8]) -> Vec<Vec<u8>> {
        let (mut answers, messages) = (Vec::new(), &mut self.messages);
        self.sessions
            .receive(self.now, tuple, datagram, &mut |out| match out {
                Out::Datagram(bytes) => answers.push(bytes.to_vec()),
                Out::Message(bytes) => messages.push(bytes.to_vec()),
            });
        answers
    }

    /// Carries datagrams between a client and the table, at most `rounds` of the client's.
    fn talk(&mut self, client: &mut Client, rounds: usize) {
        let mut waiting: VecDeque<_> = client.output().into();
        for _ in 0..rounds {
            let Some(datagram) = waiting.pop_front() else {
                return;
            };
            for answer in self.receive(client.tuple, &datagram) {
                client.take(&answer);
            }
            waiting.extend(client.output());
        }
    }

    fn connect(&mut self, address: &str) -> Client {
        let mut client = self.client(address);
        self.talk(&mut client, 20);
        client
    }

    /// Lets time pass; what is sent meanwhile goes nowhere.
    fn pass(&mut self, time: Duration, serves: bool) {
        self.now += time;
        while self
            .sessions
            .pass_time(self.now, |_| serves, &mut |_, _| {})
        {}
    }

    fn ended(&self) -> Vec<(&'static str, u64)> {
        let counters = self.sessions.counters();
        counters.ended().filter(|(_, count)| *count > 0).collect()
    }

    /// Everything that could grow, when no session is left.
    fn assert_empty(&mut self) {
        let counters = self.sessions.counters();
        assert_eq!((counters.sessions, counters.handshakes), (0, 0));
        assert!(self.sessions.deadlines.is_empty());
        assert!(self.sessions.places.iter().all(Option::is_none));
        assert_eq!(self.sessions.free.len(), self.sessions.places.len());
        while self.sessions.ended().is_some() {}
    }
}

impl Client {
    fn output(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 1 << 15];
        let mut datagrams = Vec::new();
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => datagrams.push(bytes.to_vec()),
                Output::Connected => self.established = true,
                Output::CloseNotify => self.closed = true,
                Output::ApplicationData(bytes) => self.messages.push(bytes.to_vec()),
                Output::Timeout(_) => return datagrams,
                _ => {}
            }
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        self.dtls.handle_packet(datagram).expect("taken");
    }

    fn record(&mut self, message: &[u8]) -> Vec<u8> {
        self.dtls.send_application_data(message).expect("sent");
        self.output().pop().expect("a datagram")
    }
}

#[test]
fn messages_go_both_ways_until_the_client_closes() {
    let mut world = World::new(10, 10);
    let mut client = world.connect("192.0.2.1:5000");
    assert!(client.established);
    assert_eq!(world.sessions.counters().established, 1);
    let record = client.record(b"hello");
    assert!(world.receive(client.tuple, &record).is_empty());
    assert_eq!(world.messages, [b"hello"]);
    // A record that comes again says nothing new.
    world.receive(client.tuple, &record);
    assert_eq!(world.messages.len(), 1);
    let mut sent = Vec::new();
    let tuple = client.tuple;
    for message in [&b"back"[..], &[9; 1 << 14]] {
        world.sessions.send(&tuple, message, &mut |out| {
            if let Out::Datagram(bytes) = out {
                sent.push(bytes.to_vec());
            }
        });
    }
    for datagram in &sent {
        client.take(datagram);
    }
    client.output();
    assert_eq!(client.messages, [b"back".to_vec(), vec![9; 1 << 14]]);
    // Longer than a record, and nothing at all.
    for message in [&vec![9; (1 << 14) + 1][..], &[]] {
        world
            .sessions
            .send(&tuple, message, &mut |_| panic!("sent"));
    }
    assert_eq!(world.sessions.counters().unsent, 2);
    client.dtls.close().expect("closed");
    world.talk(&mut client, 5);
    assert_eq!(world.ended(), [("client", 1)]);
    assert_eq!(world.sessions.ended(), Some(tuple));
    world.assert_empty();
}

#[test]
fn a_handshake_that_stands_still_and_a_session_without_use_end() {
    let mut world = World::new(10, 10);
    let mut slow = world.client("192.0.2.1:5000");
    // The hello, and the hello with the cookie.
    world.talk(&mut slow, 2);
    assert_eq!(world.sessions.counters().handshakes, 1);
    let _used = world.connect("192.0.2.2:5000");
    world.pass(HANDSHAKE, true);
    assert_eq!(world.ended(), [("handshake", 1)]);
    // An allocation keeps a session as long as it lives.
    world.pass(3 * IDLE, true);
    assert_eq!(world.sessions.counters().sessions, 1);
    world.pass(IDLE, false);
    assert_eq!(world.ended(), [("handshake", 1), ("idle", 1)]);
    world.assert_empty();
}

#[test]
fn a_client_that_begins_anew_takes_its_sessions_place() {
    let mut world = World::new(10, 1);
    let first = world.connect("192.0.2.1:5000");
    // A hello without the cookie ends nothing: anybody could have sent it.
    assert_eq!(world.receive(first.tuple, &first_hello()).len(), 1);
    assert_eq!(world.sessions.counters().sessions, 1);
    let second = world.connect("192.0.2.1:5000");
    assert!(second.established);
    assert_eq!(world.ended(), [("replaced", 1)]);
    assert_eq!(world.sessions.counters().sessions, 1);
    assert_eq!(world.sessions.ended(), Some(first.tuple));
}

#[test]
fn there_are_only_so_many() {
    let mut world = World::new(3, 2);
    let clients: Vec<_> = [
        "192.0.2.1:1",
        "192.0.2.1:2",
        "192.0.2.1:3",
        "192.0.2.2:1",
        "192.0.2.3:1",
    ]
    .iter()
    .map(|address| world.connect(address).established)
    .collect();
    // The third of one source, and the fourth of all.
    assert_eq!(clients, [true, true, false, true, false]);
    let counters = world.sessions.counters();
    assert_eq!((counters.sessions, counters.refused), (3, 2));
    world.sessions.leave(|_| true, &mut |_, _| {});
    assert_eq!(world.ended(), [("listener", 3)]);
    world.assert_empty();
    assert!(
        world.connect("192.0.2.3:1").established,
        "their places are free"
    );
}

#[test]
fn the_oldest_handshake_gives_way() {
    let count = HANDSHAKES + 1;
    let mut world = World::new(2 * count as u32, 2 * count as u32);
    let mut first = None;
    for n in 0..count {
        let mut client = world.client(&format!("192.0.2.1:{}", 1000 + n));
        world.talk(&mut client, 2);
        first.get_or_insert(client.tuple);
    }
    assert_eq!(world.sessions.counters().handshakes, HANDSHAKES);
    assert_eq!(world.ended(), [("evicted", 1)]);
    assert_eq!(world.sessions.ended(), first);
}

#[test]
fn what_anybody_could_send_harms_no_session() {
    let mut world = World::new(10, 10);
    let mut client = world.connect("192.0.2.1:5000");
    let mut half = world.client("192.0.2.2:5000");
    world.talk(&mut half, 2);
    let mut template = vec![client.record(b"a message"), first_hello()];
    // An alert in the clear (RFC 6347, section 4.1.2.7), a change of ciphers, a later epoch.
    template.push(vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
    template.push(vec![20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1]);
    template.push(vec![22, 0xfe, 0xfd, 0, 2, 0, 0, 0, 0, 0, 9, 0, 1, 1]);
    // A small generator (Knuth's MMIX), so that a failure comes again.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..50_000 {
        let mut datagram = template[random(template.len())].clone();
        if random(4) == 0 {
            datagram.extend(template[random(template.len())].clone());
        }
        for _ in 0..random(4) {
            let at = random(datagram.len());
            datagram[at] = random(256) as u8;
        }
        datagram.truncate(1 + random(datagram.len() + 8).min(datagram.len() - 1));
        let tuple = if random(2) == 0 {
            client.tuple
        } else {
            half.tuple
        };
        // The one datagram that is authentic is left out.
        if datagram != template[0] {
            world.receive(tuple, &datagram);
        }
    }
    let record = client.record(b"still there");
    world.receive(client.tuple, &record);
    assert_eq!(
        world.messages.last().map(Vec::as_slice),
        Some(&b"still there"[..])
    );
    let counters = world.sessions.counters();
    assert_eq!(counters.sessions - counters.handshakes, 1);
}
