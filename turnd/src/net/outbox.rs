//! Gathers outgoing datagrams of one flow and hands them to the kernel with one call.
//!
//! The system call is what a relayed packet costs. Datagrams of equal length from one socket to one
//! destination go out as one segmented send (UDP GSO); everything else goes out alone. Order within
//! a flow is kept: a flow always maps to the same lane, and a lane is first in, first out.

use super::udp::{Envelope, Sent, Udp};

/// Flows gathered at the same time.
const LANES: usize = 16;

/// Longest datagram that is gathered, in bytes: fits any path with the smallest IPv6 MTU (1280), so
/// that the kernel never refuses a segmented send for its size.
const LONGEST_SEGMENT: usize = 1232;

/// Most bytes in one segmented send; the IP length field is the kernel's limit.
const LONGEST_SEND: usize = 61_440;

/// Which socket of a worker a datagram leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The listener with this index: towards a client.
    Listener(usize),
    /// The relayed socket in this place: towards a peer.
    Relayed(usize),
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

/// One flow's gathered datagrams.
#[derive(Debug, Default)]
struct Lane {
    flow: Option<(Exit, Envelope)>,
    bytes: Vec<u8>,
    segment: usize,
    count: u64,
    /// A shorter datagram was added: it must be the last.
    closed: bool,
}

/// The gathered datagrams of a worker.
#[derive(Debug)]
pub struct Outbox {
    lanes: [Lane; LANES],
    counters: SendCounters,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Lane::default()),
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
        let lane = &mut self.lanes[lane_of(exit, &envelope)];
        if !lane.takes(exit, &envelope, bytes.len()) {
            lane.flush(&sockets, &mut self.counters);
            lane.flow = Some((exit, envelope));
            lane.segment = bytes.len();
        }
        lane.closed = bytes.len() < lane.segment;
        lane.bytes.extend_from_slice(bytes);
        lane.count += 1;
        if bytes.len() > LONGEST_SEGMENT {
            lane.flush(&sockets, &mut self.counters);
        }
    }

    /// Hands everything gathered to the kernel.
    pub fn flush<'s>(&mut self, sockets: impl Fn(Exit) -> Option<&'s Udp>) {
        for lane in &mut self.lanes {
            lane.flush(&sockets, &mut self.counters);
        }
    }
}

impl Lane {
    fn takes(&self, exit: Exit, envelope: &Envelope, len: usize) -> bool {
        self.flow == Some((exit, *envelope))
            && !self.closed
            // An empty datagram is none to the kernel once there are others before it.
            && (1..=self.segment).contains(&len)
            && self.bytes.len() + len <= LONGEST_SEND
            && self.count < 64
    }

    fn flush<'s>(
        &mut self,
        sockets: &impl Fn(Exit) -> Option<&'s Udp>,
        counters: &mut SendCounters,
    ) {
        let Some((exit, envelope)) = self.flow.take() else {
            return;
        };
        // A socket that closed meanwhile takes its datagrams with it.
        if let Some(udp) = sockets(exit) {
            if envelope.dont_fragment {
                self.send_whole(udp, &envelope, counters);
            } else {
                self.send(udp, &envelope, counters);
            }
        }
        self.bytes.clear();
        self.count = 0;
        self.closed = false;
    }

    /// Sends what must not be fragmented. The ban is one of the socket, so it is lifted at once.
    fn send_whole(&self, udp: &Udp, envelope: &Envelope, counters: &mut SendCounters) {
        if let Err(error) = udp.forbid_fragments(true) {
            tracing::debug!(%error, "fragments cannot be forbidden");
            counters.refused += self.count;
            return;
        }
        self.send(udp, envelope, counters);
        if let Err(error) = udp.forbid_fragments(false) {
            // Never seen where forbidding worked; longer datagrams are refused from now on.
            tracing::warn!(%error, "fragments cannot be allowed again");
        }
    }

    fn send(&self, udp: &Udp, envelope: &Envelope, counters: &mut SendCounters) {
        if self.count > 1 && udp.segments() >= self.count as usize {
            counters.calls += 1;
            match udp.send(envelope, &self.bytes, Some(self.segment)) {
                Sent::Taken => return counters.sent += self.count,
                Sent::Full => return counters.full += self.count,
                // A driver without segmentation: one by one below.
                Sent::Refused => {}
            }
        }
        for at in 0..self.count as usize {
            let start = at * self.segment;
            let end = (start + self.segment).min(self.bytes.len());
            counters.calls += 1;
            match udp.send(envelope, &self.bytes[start..end], None) {
                Sent::Taken => counters.sent += 1,
                Sent::Full => counters.full += 1,
                Sent::Refused => counters.refused += 1,
            }
        }
    }
}

/// Spreads flows over the lanes; two flows in one lane cost speed, not order.
fn lane_of(exit: Exit, envelope: &Envelope) -> usize {
    let (Exit::Listener(exit) | Exit::Relayed(exit)) = exit;
    (exit ^ usize::from(envelope.to.port())) % LANES
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
