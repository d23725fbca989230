//! The peers' side: what comes is sent back, packet by packet or train by train.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use nix::sys::socket::SockaddrStorage;

use super::{
    datagrams::{Inbox, Offload, Outbox, prepare, system_address},
    payload::Stamp,
    plan::Plan,
    tally::{COUNTS, Tally},
    trains::Train,
};

/// What the peers know of one allocation.
#[derive(Debug)]
struct Flow {
    /// The socket of its peer, by number.
    peer: usize,
    relayed: SockaddrStorage,
    train: Train,
}

/// All peers. Each has a socket of its own, connected to the relayed address of its allocation, or
/// several share one: what comes says which allocation it is of.
#[derive(Debug)]
pub struct Echo {
    sockets: Vec<UdpSocket>,
    flows: Vec<Flow>,
    shared: bool,
    outbox: Outbox,
    payload: usize,
    train: Option<u32>,
}

impl Echo {
    /// The sockets for a plan.
    ///
    /// # Errors
    /// When the system gives no more of them.
    pub fn new(plan: &Plan) -> io::Result<Self> {
        let (each, length) = (plan.flows_per_peer(), plan.payload);
        let offload = Offload {
            send: plan.coalesce.then_some(length),
            receive: plan.gro,
        };
        let bind = |ip: IpAddr| {
            let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
            prepare(&socket, offload).map(|()| socket)
        };
        let count = plan.allocations.div_ceil(each);
        let sockets: io::Result<Vec<_>> = (0..count).map(|_| bind(plan.peer_ip)).collect();
        Ok(Self {
            sockets: sockets?,
            flows: Vec::with_capacity(plan.allocations),
            shared: each > 1,
            outbox: Outbox::new(length, plan.coalesce),
            payload: length,
            train: plan.train(),
        })
    }

    /// The sockets, in the order of their numbers.
    pub fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// The peer's address of the allocation at `index` of a plan.
    ///
    /// # Errors
    /// When the socket has no local address, which the system does not do.
    pub fn address(&self, index: usize, plan: &Plan) -> io::Result<SocketAddr> {
        self.sockets[index / plan.flows_per_peer()].local_addr()
    }

    /// Takes the next allocation, in order, with its relayed address.
    ///
    /// # Errors
    /// When the socket cannot be connected to it.
    pub fn join(&mut self, relayed: SocketAddr, plan: &Plan) -> io::Result<()> {
        let peer = self.flows.len() / plan.flows_per_peer();
        if !self.shared {
            self.sockets[peer].connect(relayed)?;
        }
        let (relayed, train) = (system_address(relayed), Train::default());
        self.flows.push(Flow {
            peer,
            relayed,
            train,
        });
        Ok(())
    }

    /// Sends back what waits on the socket of this number, or waits with it for the rest of a train.
    ///
    /// # Errors
    /// When the socket fails otherwise than by being full or refused.
    pub fn serve(&mut self, number: usize, inbox: &mut Inbox, tally: &mut Tally) -> io::Result<()> {
        let socket = &self.sockets[number];
        inbox.receive(socket)?;
        let mut back = Back::new(socket, &mut self.outbox, self.shared);
        for (datagram, from) in inbox.iter() {
            // Joined by GRO or not: all packets of a run are of one length.
            for packet in datagram.chunks(self.payload) {
                let stamp = Stamp::read(packet).filter(|_| packet.len() == self.payload);
                let flow = stamp.and_then(|stamp| self.flows.get_mut(stamp.flow as usize));
                let own = |flow: &&mut Flow| flow.peer == number && Some(flow.relayed) == from;
                let Some((stamp, flow)) = stamp.zip(flow.filter(own)) else {
                    tally.foreign += 1;
                    continue;
                };
                tally.at_peer(stamp);
                match self.train {
                    None => back.push(stamp, flow.relayed),
                    Some(size) => {
                        let relayed = flow.relayed;
                        flow.train
                            .push(stamp, size, |stamp| back.push(stamp, relayed));
                    }
                }
            }
        }
        back.finish(tally)
    }

    /// Sends back what peers hold of trains that will not be complete any more; whether there was any.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub fn release(&mut self, tally: &mut Tally) -> io::Result<bool> {
        let mut any = false;
        for flow in &mut self.flows {
            let mut back = Back::new(&self.sockets[flow.peer], &mut self.outbox, self.shared);
            flow.train.release(|stamp| {
                any = true;
                back.push(stamp, flow.relayed);
            });
            back.finish(tally)?;
        }
        Ok(any)
    }
}

/// Packets on their way back through one socket.
struct Back<'a> {
    socket: &'a UdpSocket,
    outbox: &'a mut Outbox,
    shared: bool,
    counted: u64,
    took: io::Result<u64>,
}

impl<'a> Back<'a> {
    fn new(socket: &'a UdpSocket, outbox: &'a mut Outbox, shared: bool) -> Self {
        let (counted, took) = (0, Ok(0));
        Self {
            socket,
            outbox,
            shared,
            counted,
            took,
        }
    }

    fn push(&mut self, stamp: Stamp, relayed: SockaddrStorage) {
        stamp.write(self.outbox.push(self.shared.then_some(relayed)));
        self.counted += u64::from(stamp.sequence & COUNTS != 0);
        if self.outbox.is_full() {
            self.send();
        }
    }

    fn send(&mut self) {
        let sent = self.outbox.send(self.socket);
        if let Ok(took) = &mut self.took {
            match sent {
                Ok(sent) => *took += sent as u64,
                Err(error) => self.took = Err(error),
            }
        }
    }

    fn finish(mut self, tally: &mut Tally) -> io::Result<()> {
        self.send();
        // All that leave at once count or none do, but at the one boundary between the two.
        tally.down.sent += self.took?.min(self.counted);
        Ok(())
    }
}
