//! The same packets one by one and all at once: whatever is gathered, merged and sent together on
//! the way, every flow comes out the same.

mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::turn_client::TurnClient;
use support::{Relay, Setup, wait_for};

const CLIENTS: usize = 5;
const PEERS: usize = 3;

/// One packet of the trace.
#[derive(Clone, Copy, Debug)]
struct Step {
    client: usize,
    peer: usize,
    /// Towards the peer, or from it.
    up: bool,
    number: u32,
    len: usize,
}

impl Step {
    /// Four bytes that tell it from all others, where there is room for them, and then its number
    /// over and over.
    fn payload(self) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        let rest = std::iter::repeat(self.number as u8);
        number.into_iter().chain(rest).take(self.len).collect()
    }
}

/// A trace that is always the same: runs of equal lengths, as trains are, and all kinds of others.
fn trace() -> Vec<Step> {
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut steps = Vec::new();
    while steps.len() < 600 {
        let (client, peer, up) = (random(CLIENTS), random(PEERS), random(2) == 0);
        let len = [0, 1, 3, 4, 5, 160, 160, 1100, 1200, 1232, 1233, 1400][random(12)];
        let run = [1, 1, 2, 16][random(4)];
        for left in (0..run).rev() {
            // The last of a train is often shorter.
            let short = left == 0 && run > 2 && random(2) == 0;
            steps.push(Step {
                client,
                peer,
                up,
                number: steps.len() as u32,
                len: if short { len / 2 } else { len },
            });
        }
    }
    steps
}

/// By client, peer and direction: the payloads in the order in which they came out.
type Flows = BTreeMap<(usize, usize, bool), Vec<Vec<u8>>>;

struct World {
    relay: Relay,
    clients: Vec<TurnClient>,
    peers: Vec<UdpSocket>,
    addresses: Vec<SocketAddrV4>,
}

impl World {
    fn new() -> Self {
        let relay = Setup::default().start();
        let peer = |_| {
            let socket = UdpSocket::bind((relay.ip, 0)).expect("a socket");
            let time = Some(Duration::from_secs(10));
            socket.set_read_timeout(time).expect("a timeout");
            socket
        };
        let peers: Vec<_> = (0..PEERS).map(peer).collect();
        let address = |socket: &UdpSocket| match socket.local_addr() {
            Ok(SocketAddr::V4(address)) => address,
            other => panic!("{other:?}"),
        };
        let addresses: Vec<_> = peers.iter().map(address).collect();
        let client = |_| {
            let (username, password) = relay.credential();
            let mut client = TurnClient::allocate(relay.turn(), &username, &password);
            client.permit(addresses[0]);
            client
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            relay,
            clients,
            peers,
            addresses,
        }
    }

    fn send(&mut self, step: Step) {
        let peer = self.addresses[step.peer];
        let client = &mut self.clients[step.client];
        if step.up {
            client.send(peer, &step.payload());
        } else {
            let sent = self.peers[step.peer].send_to(&step.payload(), client.relayed);
            sent.expect("sent");
        }
    }

    /// Takes out what belongs to `step`, or to one before it.
    fn receive(&self, step: Step, flows: &mut Flows) {
        let (client, peer, payload) = if step.up {
            let mut buffer = [0; 2048];
            let socket = &self.peers[step.peer];
            let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
            let is_it = |client: &TurnClient| SocketAddr::V4(client.relayed) == from;
            let client = self.clients.iter().position(is_it).expect("a known sender");
            (client, step.peer, buffer[..len].to_vec())
        } else {
            let (from, payload) = self.clients[step.client].receive();
            let is_it = |address: &SocketAddrV4| *address == from;
            let peer = self.addresses.iter().position(is_it);
            (step.client, peer.expect("a known sender"), payload)
        };
        let flow = flows.entry((client, peer, step.up)).or_default();
        flow.push(payload);
    }

    /// How many datagrams were sent so far, and with how many system calls.
    fn sends(&self) -> (u64, u64) {
        let metric = |name| self.relay.metric(name).expect("a metric");
        (metric("sent_datagrams_total"), metric("send_calls_total"))
    }

    /// The same once `more` than `before` were sent.
    fn sends_since(&self, before: (u64, u64), more: usize) -> (u64, u64) {
        wait_for("the counters are published", || {
            let (sent, calls) = self.sends();
            (sent >= before.0 + more as u64).then_some((sent - before.0, calls - before.1))
        })
    }
}

#[test]
fn what_is_gathered_merged_and_sent_together_comes_out_as_if_it_were_not() {
    let steps = trace();
    let mut world = World::new();
    let quiet = wait_for("the counters are published", || {
        let sends = world.sends();
        (sends.0 >= 3 * CLIENTS as u64).then_some(sends)
    });

    let mut one_by_one = Flows::new();
    for step in &steps {
        world.send(*step);
        world.receive(*step, &mut one_by_one);
    }
    let (sent, calls) = world.sends_since(quiet, steps.len());
    assert_eq!((sent, calls), (steps.len() as u64, steps.len() as u64));
    let before = world.sends();

    // While the relay stands still all of it waits in its sockets. In parts, so that it fits.
    let mut together = Flows::new();
    for part in steps.chunks(150) {
        world.relay.signal(Signal::SIGSTOP);
        for step in part {
            world.send(*step);
        }
        world.relay.signal(Signal::SIGCONT);
        for step in part {
            world.receive(*step, &mut together);
        }
    }
    let (sent, calls) = world.sends_since(before, steps.len());
    assert_eq!(sent, steps.len() as u64);
    assert!(calls * 2 < sent, "{calls} calls for {sent} datagrams");
    assert_eq!(one_by_one, together);

    let mut expected = Flows::new();
    for step in steps {
        let flow = expected.entry((step.client, step.peer, step.up));
        flow.or_default().push(step.payload());
    }
    assert_eq!(one_by_one, expected);
}
