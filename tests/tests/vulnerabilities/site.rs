//! A relay under attack in a laboratory, with counters on all that leaves its host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use cluster_tests::netns::lab::{CLIENT, Lab, NAME_SERVER, PEER, RELAY};
use cluster_tests::netns::watch::{Count, Watch};
use cluster_tests::rogue::{self, Client, Transport};
use cluster_tests::stun::kind;
use cluster_tests::turnd::{SECRET, Setup, TURN, Turnd, credential};

use crate::peers::hears;

/// A relay in a laboratory of its own.
pub(crate) struct Site {
    /// Killed with the site.
    _turnd: Turnd,
    pub(crate) lab: Lab,
}

impl Site {
    /// Starts it; `None` where namespaces cannot be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let lab = Lab::new(test)?;
        let mut setup = Setup::new(test, &RELAY);
        "workers = 2\ntcp_allocations = true".clone_into(&mut setup.relay);
        setup.sections = format!(
            "[liveness]\nkey_id = 1\nkey = \"reports-under-test-reports-under-test\"\n\
             dnsd = [\"{NAME_SERVER}\"]\n"
        );
        let turnd = lab.relay.run(|| setup.launch());
        lab.clients.run(|| turnd.wait_ready());
        Some(Self { _turnd: turnd, lab })
    }

    /// Counters of what leaves for anywhere but clients and [`PEER`].
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch::peers(&self.lab.relay, &PEER, "61000-65535")
    }

    /// A client with an allocation of the family of `like`, and its relayed transport address.
    pub(crate) fn allocated(&self, transport: Transport, like: IpAddr) -> (Client, SocketAddr) {
        self.lab.clients.run(|| allocated(transport, like))
    }

    /// A client with a TCP allocation (RFC 6062) of the family of `like`.
    pub(crate) fn relaying_tcp(&self, transport: Transport, like: IpAddr) -> Client {
        let mut client = self.lab.clients.run(|| client(transport, like));
        let reply = client.request(kind::ALLOCATE, |b| rogue::allocate_for(b, rogue::TCP, like));
        assert_eq!(reply.code(), 0, "a TCP allocation over {transport:?}");
        client
    }

    /// To how many of `targets` a datagram from the relay's host really leaves: with an eye on the
    /// counter that must stand still later.
    pub(crate) fn roads(&self, watch: &Watch<'_>, targets: &[SocketAddr]) -> usize {
        let before = watch.count("strayed");
        let sent = self.lab.relay.run(|| {
            let send = |target: &&SocketAddr| {
                let any = match target {
                    SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                let socket = UdpSocket::bind((any, 0)).expect("a socket");
                socket.send_to(b"is there a road?", target).is_ok()
            };
            targets.iter().filter(send).count()
        });
        let counted = (watch.count("strayed") - before).packets;
        assert_eq!(counted, sent as u64, "the counter misses some");
        sent
    }

    /// The proof that counting works: the same client reaches a peer that is allowed, by each
    /// method, and those packets are counted, though perhaps as one that the kernel cuts up later.
    pub(crate) fn control(&self, watch: &Watch<'_>, client: &mut Client, like: IpAddr) {
        let peer = SocketAddr::new(PEER[usize::from(like.is_ipv6())], 4000);
        let before = watch.count("allowed");
        let sink = self
            .lab
            .rest
            .run(|| UdpSocket::bind(peer).expect("the peer listens"));
        assert_eq!(client.permit(&[peer.ip()]), 0, "an allowed peer");
        client.indicate(peer, b"by indication");
        assert_eq!(client.bind(0x4fff, peer), 0, "an allowed peer");
        client.channel_data(0x4fff, b"by channel");
        sink.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        for wanted in [&b"by indication"[..], b"by channel"] {
            assert_eq!(hears(&sink), wanted);
        }
        let counted = (watch.count("allowed") - before).packets;
        assert!((1..=2).contains(&counted), "{counted} counted");
    }
}

/// Asserts that nothing went astray since `before`.
pub(crate) fn nothing_left(watch: &Watch<'_>, before: Count) {
    assert_eq!(
        watch.count("strayed") - before,
        Count::default(),
        "packets left"
    );
}

fn client(transport: Transport, like: IpAddr) -> Client {
    let server = SocketAddr::new(RELAY[usize::from(like.is_ipv6())], TURN);
    let from = CLIENT[usize::from(like.is_ipv6())];
    let login = credential(SECRET, "mallory");
    let client = Client::open(transport, server, Some(from), login);
    client.expect("it connects")
}

fn allocated(transport: Transport, like: IpAddr) -> (Client, SocketAddr) {
    let mut client = client(transport, like);
    let relayed = client.allocated(like);
    (client, relayed)
}
