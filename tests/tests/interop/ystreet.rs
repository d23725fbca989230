//! turn-client-proto: a client without sockets, driven over our test's own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster_tests::client::Echo;
use cluster_tests::link::Link;
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::subject::{DEADLINE, Login, client_address};
use turn_client_proto::api::{Transmit, TurnConfig, TurnEvent, TurnRecvRet};
use turn_client_proto::prelude::{DelayedTransmitBuild, TurnClientApi};
use turn_client_proto::stun::Instant as Now;
use turn_client_proto::tcp::TurnClientTcp;
use turn_client_proto::types::{TransportType, TurnCredentials};
use turn_client_proto::udp::TurnClientUdp;

pub(crate) const RULES: &[Rule] = rules![relays_over_udp, relays_over_tcp];

/// A client and the link it runs on.
struct Driven<C> {
    client: C,
    link: Link,
    server: SocketAddr,
    begun: Instant,
}

impl<C: TurnClientApi> Driven<C> {
    fn new(link: Link, server: SocketAddr, make: impl FnOnce(SocketAddr, TurnConfig) -> C) -> Self {
        let login = Login::of("ystreet");
        let credentials = TurnCredentials::new(&login.username, &login.password);
        let client = make(link.local(), TurnConfig::new(credentials));
        Self {
            client,
            link,
            server,
            begun: Instant::now(),
        }
    }

    fn now(&self) -> Now {
        Now::from_std(self.begun)
    }

    /// Lets the client work until `wanted` is content with an event or a payload.
    fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Came) -> Option<T>) -> T {
        while self.begun.elapsed() < DEADLINE {
            let now = self.now();
            self.client.poll(now);
            while let Some(transmit) = self.client.poll_transmit(now) {
                self.link.send(&transmit.data).unwrap();
            }
            while let Some(event) = self.client.poll_event() {
                if let Some(found) = wanted(Came::Event(event)) {
                    return found;
                }
            }
            let Ok(bytes) = self.link.receive(Duration::from_millis(20)) else {
                continue;
            };
            let transport = self.client.transport();
            let transmit = Transmit::new(bytes, transport, self.server, self.link.local());
            if let TurnRecvRet::PeerData(data) = self.client.recv(transmit, self.now()) {
                let came = Came::Data(data.peer, data.data().to_vec());
                if let Some(found) = wanted(came) {
                    return found;
                }
            }
        }
        panic!("not in time: {what}");
    }

    fn send(&mut self, peer: SocketAddr, payload: &[u8]) {
        let now = self.now();
        let sent = self.client.send_to(TransportType::Udp, peer, payload, now);
        let transmit = sent.unwrap().expect("a message for the server");
        self.link.send(&transmit.data.build()).unwrap();
    }

    /// Allocates, permits, binds a channel, and exchanges data before and after that.
    fn relays(mut self) {
        let echo = Echo::on(client_address());
        let (peer, udp) = (echo.address(), TransportType::Udp);
        self.until("an allocation", |came| match came {
            Came::Event(TurnEvent::AllocationCreated(..)) => Some(()),
            other => other.must_be_no_failure(),
        });
        let now = self.now();
        self.client.create_permission(udp, peer.ip(), now).unwrap();
        self.until("a permission", |came| match came {
            Came::Event(TurnEvent::PermissionCreated(..)) => Some(()),
            other => other.must_be_no_failure(),
        });
        self.echoes(peer);
        let now = self.now();
        self.client.bind_channel(udp, peer, now).unwrap();
        self.until("a channel", |came| match came {
            Came::Event(TurnEvent::ChannelCreated(..)) => Some(()),
            other => other.must_be_no_failure(),
        });
        self.echoes(peer);
        let now = self.now();
        self.client.delete(now).unwrap();
        while let Some(transmit) = self.client.poll_transmit(now) {
            self.link.send(&transmit.data).unwrap();
        }
    }

    fn echoes(&mut self, peer: SocketAddr) {
        // This client neither pads ChannelData on a stream nor expects it (RFC 8656 section 12.5).
        let step = if self.link.is_stream() { 4 } else { 1 };
        for number in 1..50_u8 {
            let payload = vec![number; step * usize::from(number)];
            self.send(peer, &payload);
            let got = self.until("an echo", |came| match came {
                Came::Data(from, data) => Some((from, data)),
                Came::Event(_) => None,
            });
            assert_eq!(got, (peer, payload));
        }
    }
}

/// What the client has to say.
enum Came {
    Event(TurnEvent),
    Data(SocketAddr, Vec<u8>),
}

impl Came {
    fn must_be_no_failure<T>(self) -> Option<T> {
        if let Self::Event(
            event @ (TurnEvent::AllocationCreateFailed(..)
            | TurnEvent::PermissionCreateFailed(..)
            | TurnEvent::ChannelCreateFailed(..)),
        ) = self
        {
            panic!("{event:?}");
        }
        None
    }
}

fn relays_over_udp(case: &Case<'_>) {
    let server = case.subject.v4();
    let make = |local, config| TurnClientUdp::allocate(local, server, config);
    Driven::new(Link::udp(server), server, make).relays();
}

fn relays_over_tcp(case: &Case<'_>) {
    let server = case.subject.v4();
    let make = |local, config| TurnClientTcp::allocate(local, server, config);
    Driven::new(Link::tcp(server), server, make).relays();
}
