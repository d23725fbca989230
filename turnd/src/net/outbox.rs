//! Gathers outgoing datagrams and hands them to the kernel with few calls.
//!
//! Sending is what a relayed packet costs. Datagrams of equal length from one socket to one
//! destination become a train, which passes the kernel as one (UDP GSO); trains and single datagrams
//! of one socket leave with one call. Order within a flow is kept: lanes leave in the order in which
//! they were opened, a lane is first in, first out, and a flow adds to its newest lane only.

use super::mmsg::{self, Message};
use super::udp::{Envelope, Udp, Unsent};

/// Flows gathered at the same time.
const LANES: usize = mmsg::MOST;

/// Entries of the table that finds the lane of a flow. Two flows in one entry cost speed, not order.
const ENTRIES: usize = 256;

/// Longest datagram that joins a train, in bytes: fits any path with the smallest IPv6 MTU (1280), so
/// that the kernel never refuses a train for its size.
const LONGEST_SEGMENT: usize = 1232;

/// Most bytes in a train; the IP length field is the kernel's limit.
const LONGEST_TRAIN: usize = 61_440;

/// Most datagrams in a train; the kernel's limit.
const MOST_SEGMENTS: usize = 64;

/// Which socket of a worker a datagram leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The listener with this index: towards a client.
    Listener(usize),
    /// The relayed socket in this place: towards a peer.
    Relayed(usize),
}

impl Exit {
    /// A number of its own.
    const fn rank(self) -> usize {
        match self {
            Self::Listener(place) => place * 2,
            Self::Relayed(place) => place * 2 + 1,
        }
    }
}

/// What became of the datagrams sent so far; only ever grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Taken by the kernel.
    pub sent: u64,
    /// System calls they took.
    pub calls: u64,
    /// Dropped, because the socket's send buffer was full.
    pub full: u64,
    /// Refused by the kernel.
    pub refused: u64,
}

/// Gathered datagrams of one flow.
#[derive(Debug)]
struct Lane {
    exit: Exit,
    envelope: Envelope,
    bytes: Vec<u8>,
    /// Length of the first datagram, and of all but the last.
    segment: usize,
    count: usize,
    /// A shorter or a long datagram was added: it must be the last.
    closed: bool,
}

/// The gathered datagrams of a worker.
#[derive(Debug)]
pub struct Outbox {
    /// As many as were ever needed at once, [`LANES`] at most; those behind `used` keep their memory.
    lanes: Vec<Lane>,
    used: usize,
    /// By flow: its newest lane, if that one is in use.
    newest: [u8; ENTRIES],
    counters: SendCounters,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            lanes: Vec::with_capacity(LANES),
            used: 0,
            newest: [0; ENTRIES],
            counters: SendCounters::default(),
        }
    }
}

impl Outbox {
    /// What became of the datagrams so far.
    pub fn counters(&self) -> SendCounters {
        self.counters
    }

    /// Adds a datagram. It may leave at once, and leaves at the next [`Outbox::flush`] at the latest.
    pub fn push<'s>(
        &mut self,
        sockets: impl Fn(Exit) -> Option<&'s Udp>,
        exit: Exit,
        envelope: Envelope,
        bytes: &[u8],
    ) {
        let entry = entry_of(exit, &envelope);
        let newest = usize::from(self.newest[entry]);
        if let Some(lane) = self.lanes[..self.used].get_mut(newest)
            && lane.takes(exit, &envelope, bytes.len())
        {
            return lane.add(bytes);
        }
        if self.used == LANES {
            self.flush(sockets);
        }
        self.newest[entry] = self.used as u8;
        self.open(exit, envelope, bytes);
    }

    fn open(&mut self, exit: Exit, envelope: Envelope, bytes: &[u8]) {
        if let Some(lane) = self.lanes.get_mut(self.used) {
            lane.bytes.clear();
            (lane.exit, lane.envelope) = (exit, envelope);
        } else {
            self.lanes.push(Lane {
                exit,
                envelope,
                bytes: Vec::new(),
                segment: 0,
                count: 0,
                closed: false,
            });
        }
        let lane = &mut self.lanes[self.used];
        (lane.segment, lane.count) = (bytes.len(), 0);
        lane.add(bytes);
        lane.closed = bytes.len() > LONGEST_SEGMENT;
        self.used += 1;
    }

    /// Whether something waits to leave by `exit`.
    pub fn holds(&self, exit: Exit) -> bool {
        self.lanes[..self.used].iter().any(|lane| lane.exit == exit)
    }

    /// Hands everything gathered to the kernel.
    pub fn flush<'s>(&mut self, sockets: impl Fn(Exit) -> Option<&'s Udp>) {
        let mut order = [(0, 0_u8); LANES];
        let lanes = &self.lanes[..std::mem::take(&mut self.used)];
        for (index, (place, lane)) in order.iter_mut().zip(lanes).enumerate() {
            *place = (lane.exit.rank(), index as u8);
        }
        let order = &mut order[..lanes.len()];
        order.sort_unstable();
        let lane = |(_, index): &(usize, u8)| &lanes[usize::from(*index)];
        for group in order.chunk_by(|a, b| a.0 == b.0) {
            // A socket that closed meanwhile takes its datagrams with it.
            let Some(udp) = group.first().and_then(|first| sockets(lane(first).exit)) else {
                continue;
            };
            for alike in group
                .chunk_by(|a, b| lane(a).envelope.dont_fragment == lane(b).envelope.dont_fragment)
            {
                send(udp, alike.iter().map(lane), &mut self.counters);
            }
        }
    }
}

impl Lane {
    fn takes(&self, exit: Exit, envelope: &Envelope, len: usize) -> bool {
        (self.exit, &self.envelope) == (exit, envelope)
            && !self.closed
            // An empty datagram is none to the kernel once there are others before it.
            && (1..=self.segment).contains(&len)
            && self.bytes.len() + len <= LONGEST_TRAIN
            && self.count < MOST_SEGMENTS
    }

    fn add(&mut self, bytes: &[u8]) {
        self.closed = bytes.len() < self.segment;
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    fn message(&self) -> Message<'_> {
        Message {
            envelope: &self.envelope,
            bytes: &self.bytes,
            segment: (self.count > 1).then_some(self.segment as u16),
        }
    }
}

/// Sends lanes of one socket, all of which may be fragmented on their way, or none.
fn send<'l>(udp: &Udp, lanes: impl Iterator<Item = &'l Lane> + Clone, counters: &mut SendCounters) {
    let forbids = lanes.clone().any(|lane| lane.envelope.dont_fragment);
    // The ban is one of the socket, so it is lifted at once.
    if forbids && let Err(error) = udp.forbid_fragments(true) {
        tracing::debug!(%error, "fragments cannot be forbidden");
        return counters.refused += lanes.map(|lane| lane.count as u64).sum::<u64>();
    }
    send_in_order(udp, lanes, counters);
    if forbids && let Err(error) = udp.forbid_fragments(false) {
        // Never seen where forbidding worked; longer datagrams are refused from now on.
        tracing::warn!(%error, "fragments cannot be allowed again");
    }
}

fn send_in_order<'l>(
    udp: &Udp,
    mut lanes: impl Iterator<Item = &'l Lane> + Clone,
    counters: &mut SendCounters,
) {
    while let Some(first) = lanes.clone().next() {
        if first.count > udp.segments() {
            send_apart(udp, first, counters);
            lanes.next();
            continue;
        }
        let fit = lanes
            .clone()
            .take_while(|lane| lane.count <= udp.segments());
        counters.calls += 1;
        let taken = match udp.send(fit.map(Lane::message)) {
            Ok(taken) => taken,
            Err(Unsent::Full) => {
                return counters.full += lanes.map(|lane| lane.count as u64).sum::<u64>();
            }
            Err(Unsent::Refused) => {
                send_apart(udp, first, counters);
                lanes.next();
                continue;
            }
        };
        for lane in lanes.by_ref().take(taken) {
            counters.sent += lane.count as u64;
        }
    }
}

/// Sends the datagrams of a lane one by one: the path has no segmentation, or one is refused.
fn send_apart(udp: &Udp, lane: &Lane, counters: &mut SendCounters) {
    for at in 0..lane.count {
        let start = at * lane.segment;
        let end = (start + lane.segment).min(lane.bytes.len());
        counters.calls += 1;
        let message = Message {
            bytes: &lane.bytes[start..end],
            segment: None,
            ..lane.message()
        };
        match udp.send(std::iter::once(message)) {
            Ok(_) => counters.sent += 1,
            Err(Unsent::Full) => counters.full += 1,
            Err(Unsent::Refused) => counters.refused += 1,
        }
    }
}

/// Spreads flows over the entries.
fn entry_of(exit: Exit, envelope: &Envelope) -> usize {
    (exit.rank() ^ usize::from(envelope.to.port())) % ENTRIES
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
    use std::time::Duration;

    use super::super::udp::{Buffers, Sharing};
    use super::*;

    fn pair() -> (Udp, UdpSocket) {
        let buffers = Buffers {
            receive: 1 << 20,
            send: 1 << 20,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = UdpSocket::bind(any).expect("peer");
        peer.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("timeout");
        (
            Udp::bind(any, Sharing::Exclusive, buffers).expect("bind"),
            peer,
        )
    }

    fn relay(lengths: &[usize]) -> (Vec<Vec<u8>>, SendCounters) {
        let (udp, peer) = pair();
        let envelope = Envelope {
            to: peer.local_addr().expect("address"),
            from: None,
            ecn: None,
            dont_fragment: false,
        };
        let mut outbox = Outbox::default();
        let sockets = |_| Some(&udp);
        for (index, len) in lengths.iter().enumerate() {
            let bytes = vec![index as u8; *len];
            outbox.push(sockets, Exit::Relayed(7), envelope, &bytes);
        }
        outbox.flush(sockets);
        let mut buffer = [0; 2048];
        let got = lengths
            .iter()
            .map(|_| {
                let len = peer.recv(&mut buffer).expect("every datagram arrives");
                buffer[..len].to_vec()
            })
            .collect();
        (got, outbox.counters())
    }

    #[test]
    fn equal_lengths_leave_together_and_arrive_apart() {
        let (got, counters) = relay(&[100; 10]);
        assert_eq!(got.len(), 10);
        assert!(
            got.iter()
                .enumerate()
                .all(|(i, bytes)| *bytes == vec![i as u8; 100])
        );
        assert_eq!((counters.sent, counters.calls), (10, 1));
    }

    #[test]
    fn any_mix_of_lengths_arrives_whole_and_in_order() {
        let lengths = [
            100, 100, 60, 100, 0, 5, 5, 0, 0, 1400, 1400, 7, 100, 200, 200, 13,
        ];
        let (got, counters) = relay(&lengths);
        let want: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(i, len)| vec![i as u8; *len])
            .collect();
        assert_eq!(got, want);
        assert_eq!(counters.sent, lengths.len() as u64);
        assert!(counters.calls < counters.sent);
    }

    #[test]
    fn a_closed_socket_takes_its_datagrams_with_it() {
        let mut outbox = Outbox::default();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        outbox.push(
            |_| None,
            Exit::Relayed(1),
            Envelope {
                to,
                from: None,
                ecn: None,
                dont_fragment: false,
            },
            b"x",
        );
        outbox.flush(|_| None);
        assert_eq!(outbox.counters(), SendCounters::default());
    }
}
