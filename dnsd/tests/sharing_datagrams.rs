//! What passes between nameservers as datagrams: their size, and what strangers and recordings do.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use credentials::{Secret, SecretRing};
use dnsd::config::Sharing;
use dnsd::control::Input;
use dnsd::metrics::Metrics;
use dnsd::share::seal::ClusterKeys;
use dnsd::share::wire::Wire;
use dnsd_core::limits::RELAYS_MAX;
use dnsd_core::transfer::Edition;
use dnsd_core::votes::{Ballot, Domain, Observer, Vote};
use proptest::prelude::*;
use tokio::sync::mpsc;

const LIMIT: usize = 1200;

fn domain() -> Domain {
    Domain {
        vendor: "alpha".to_owned(),
        region: "eu".to_owned(),
    }
}

fn keys(text: &str) -> ClusterKeys {
    let secret = Secret::new(text.as_bytes().to_vec()).expect("secret");
    ClusterKeys::derive(&SecretRing::new(secret, Vec::new()).expect("ring"))
}

/// One end, with what it lets in.
struct End {
    wire: Arc<Wire>,
    address: SocketAddr,
    inputs: mpsc::Receiver<Input>,
    metrics: Arc<Metrics>,
    thread: Option<JoinHandle<()>>,
}

impl End {
    fn start(id: &str, peer: SocketAddr) -> Self {
        let port = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let address = port.local_addr().expect("address");
        drop(port);
        let sharing = Sharing {
            listen: address,
            advertise: address,
            domain: domain(),
            peers: vec![peer],
            keys: keys("the key of these tests, long enough"),
        };
        let metrics = Arc::new(Metrics::default());
        let socket = UdpSocket::bind(sharing.listen).expect("socket");
        let wire = Wire::new(
            socket,
            id.parse().expect("id"),
            &sharing,
            Arc::clone(&metrics),
        );
        let wire = Arc::new(wire.expect("bound"));
        let (sender, inputs) = mpsc::channel(64);
        let thread = Some(wire.start(sender).expect("started"));
        Self {
            wire,
            address,
            inputs,
            metrics,
            thread,
        }
    }

    fn count(&self, outcome: &str) -> u64 {
        let text = self.metrics.text();
        let name = format!("turnfleet_dnsd_sharing_datagrams_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().expect("count"))
    }

    /// How many datagrams it has looked at.
    fn seen(&self) -> u64 {
        let outcomes = [
            "ok",
            "format",
            "unknown_key",
            "forged",
            "malformed",
            "stranger",
            "replay",
        ];
        outcomes.iter().map(|outcome| self.count(outcome)).sum()
    }

    fn ballot(&mut self) -> Option<Ballot> {
        match self.inputs.try_recv().ok()? {
            Input::Ballot { ballot, .. } => Some(*ballot),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.wire.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The road between two ends, on which everything is recorded.
struct Road {
    socket: UdpSocket,
    towards: Vec<Vec<u8>>,
}

impl Road {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let timeout = Some(Duration::from_millis(20));
        socket.set_read_timeout(timeout).expect("timeout");
        Self {
            socket,
            towards: Vec::new(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("address")
    }

    /// Carries what there is.
    fn carry(&mut self, a: &End, b: &End) {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            assert!(length <= LIMIT, "{length} bytes");
            let to = if from == a.address {
                self.towards.push(buffer[..length].to_vec());
                b.address
            } else {
                a.address
            };
            self.socket.send_to(&buffer[..length], to).expect("sent");
        }
    }
}

fn ballot(generation: u64, relays: usize) -> Ballot {
    let name = |n| {
        format!(
            "{:032x}",
            (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)
        )
    };
    let votes = (0..relays).map(|n| (name(n).parse().expect("id"), Vote::Up));
    Ballot {
        observer: Observer {
            id: "ns1".parse().expect("id"),
            domain: domain(),
        },
        generation,
        configuration: 0,
        zones: Edition::default(),
        isolated: false,
        votes: votes.collect(),
    }
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "waited for {what}"
        );
    }
}

/// Two ends that know each other, over a road.
fn acquainted() -> (End, End, Road) {
    let mut road = Road::new();
    let a = End::start("ns1", road.address());
    let mut b = End::start("ns2", road.address());
    until("a ballot", || {
        a.wire.cast(&ballot(1, 3));
        road.carry(&a, &b);
        b.ballot()
    });
    while b.ballot().is_some() {}
    (a, b, road)
}

#[test]
fn the_largest_ballot_arrives_whole_in_datagrams_of_at_most_1200_bytes() {
    let (a, mut b, mut road) = acquainted();
    let mut largest = ballot(2, RELAYS_MAX);
    largest.votes.sort_unstable_by_key(|(relay, _)| *relay);
    let before = road.towards.len();
    a.wire.cast(&largest);
    let arrived = until("the ballot", || {
        road.carry(&a, &b);
        b.ballot()
    });
    assert_eq!(arrived, largest);
    println!("{} datagrams", road.towards.len() - before);
}

#[test]
fn recordings_change_nothing_not_even_after_a_restart() {
    let (a, mut b, mut road) = acquainted();
    a.wire.cast(&ballot(2, 3));
    until("the ballot", || {
        road.carry(&a, &b);
        b.ballot()
    });
    let recorded = std::mem::take(&mut road.towards);
    let replay = |end: &End, road: &Road| {
        let before = end.seen();
        for datagram in &recorded {
            road.socket.send_to(datagram, end.address).expect("sent");
        }
        until("all to be looked at", || {
            (end.seen() >= before + recorded.len() as u64).then_some(())
        });
    };
    replay(&b, &road);
    assert!(b.ballot().is_none(), "a recording was taken");
    assert!(b.count("replay") > 0);

    let mut fresh = End::start("ns2", road.address());
    replay(&fresh, &road);
    assert!(
        fresh.ballot().is_none(),
        "a recording of before its start was taken"
    );
    assert_eq!(fresh.count("stranger"), recorded.len() as u64);
}

#[test]
fn greetings_are_rationed_however_often_a_recording_is_sent() {
    let (_a, b, road) = acquainted();
    let fresh = End::start("ns2", road.address());
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("socket");
    let timeout = Some(Duration::from_millis(20));
    stranger.set_read_timeout(timeout).expect("timeout");
    let begun = Instant::now();
    for _ in 0..200 {
        stranger
            .send_to(&road.towards[0], fresh.address)
            .expect("sent");
    }
    until("all to be looked at", || {
        (fresh.count("stranger") >= 200).then_some(())
    });
    let mut buffer = [0; 2048];
    let mut greetings = 0;
    while let Ok((length, _)) = stranger.recv_from(&mut buffer) {
        assert!(
            length <= road.towards[0].len(),
            "an answer is larger than what it answers"
        );
        greetings += 1;
    }
    let most = begun.elapsed().as_millis() / 50 + 1;
    assert!(greetings >= 1 && greetings <= most, "{greetings} of {most}");
    drop(b);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn garbage_and_altered_datagrams_are_counted_and_nothing_else(
        garbage in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1300), 1..20),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u32..8), 1..20),
    ) {
        let (_a, mut b, road) = acquainted();
        let before = (b.seen(), b.count("ok"));
        let altered = flips.iter().map(|(which, byte, bit)| {
            let mut datagram = which.get(&road.towards).clone();
            let byte = byte.index(datagram.len());
            datagram[byte] ^= 1 << bit;
            datagram
        });
        let foreign = keys("a key that nobody here holds, long").seal(b"x").expect("sealed");
        let bad: Vec<_> = garbage.iter().cloned().chain(altered).chain([foreign]).collect();
        for datagram in &bad {
            road.socket.send_to(datagram, b.address).expect("sent");
        }
        until("all to be looked at", || (b.seen() >= before.0 + bad.len() as u64).then_some(()));
        prop_assert_eq!(b.count("ok"), before.1);
        prop_assert!(b.ballot().is_none());
    }
}
