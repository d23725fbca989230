//! The acknowledgement: what a nameserver node tells a relay in answer to its report.

use std::net::{SocketAddrV4, SocketAddrV6};

use crate::key::{Key, KeyId, KeyRing};
use crate::name::{NodeId, RelayId};
use crate::replay::BOOT_MAX;
use crate::wire::{
    ACK_LEN, KIND_ACK, Reader, Refused, Writer, open, v4_from, v4_parts, v6_from, v6_parts,
};

/// Most neighbours one acknowledgement names.
pub const NEIGHBOURS_MAX: usize = 4;

/// What an operator wants of the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Nothing.
    #[default]
    None,
    /// Begin to drain.
    Drain,
    /// Stop draining and serve again.
    Undrain,
}

/// How the node sees the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Healthy: clients are sent to it.
    Up,
    /// In doubt: answered last.
    Suspect,
    /// Taken for dead, or not known yet: clients are sent elsewhere.
    Down,
    /// Draining, full or failing by its own word.
    Draining,
    /// As a person has decided.
    Forced,
}

/// Another healthy relay, to send clients to (300 Try Alternate, RFC 8489 section 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Its IPv4 address and port; a port of 0 is the same as none.
    pub ipv4: Option<SocketAddrV4>,
    /// Its IPv6 address and port; flow label and scope do not travel.
    pub ipv6: Option<SocketAddrV6>,
}

/// A node's signed answer to one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The relay spoken to.
    pub relay: RelayId,
    /// The report's boot id.
    pub boot: u64,
    /// The report's sequence.
    pub sequence: u64,
    /// Who answers.
    pub node: NodeId,
    /// The node's clock, milliseconds since 1970. For an alarm about skew, never a decision.
    pub sent_at_ms: u64,
    /// 0 when the report was new; else the report was refused, and the relay must choose a boot
    /// id above this. At most [`BOOT_MAX`].
    pub boot_floor: u64,
    /// What an operator wants.
    pub order: Order,
    /// How the node sees the relay.
    pub seen: Seen,
    /// The [`generation`](crate::generation) of the revocations the node knows.
    pub revocations: u64,
    /// Healthy relays other than this one, best first; entries without any address are empty.
    pub neighbours: [Neighbour; NEIGHBOURS_MAX],
}

impl Ack {
    /// The signed datagram.
    pub fn encode(&self, key_id: KeyId, key: &Key) -> [u8; ACK_LEN] {
        let order = match self.order {
            Order::None => 0,
            Order::Drain => 1,
            Order::Undrain => 2,
        };
        let seen = match self.seen {
            Seen::Up => 1,
            Seen::Suspect => 2,
            Seen::Down => 3,
            Seen::Draining => 4,
            Seen::Forced => 5,
        };
        let mut wire = Writer::<ACK_LEN>::new(KIND_ACK, [order, seen], key_id);
        wire.u32(0);
        wire.u64(self.boot);
        wire.u64(self.sequence);
        wire.u64(self.sent_at_ms);
        wire.u64(self.boot_floor);
        wire.u64(self.revocations);
        wire.put(&self.relay.to_wire());
        wire.put(&self.node.to_wire());
        for neighbour in &self.neighbours {
            let (ipv4, ipv4_port) = v4_parts(neighbour.ipv4);
            let (ipv6, ipv6_port) = v6_parts(neighbour.ipv6);
            wire.put(&ipv4.octets());
            wire.u16(ipv4_port);
            wire.u16(ipv6_port);
            wire.put(&ipv6.octets());
        }
        wire.seal(key)
    }

    /// Reads a datagram. Nothing in it is believed before its MAC is verified; the caller still
    /// has to find its own relay id, boot id and a sequence it sent in there.
    pub fn decode(bytes: &[u8], keys: &KeyRing) -> Result<(Self, KeyId), Refused> {
        let (header, mut fields) = open(bytes, ACK_LEN, KIND_ACK, keys)?;
        Ok((Self::read(header.codes, &mut fields)?, header.key_id))
    }

    fn read([order, seen]: [u8; 2], fields: &mut Reader<'_>) -> Result<Self, Refused> {
        let order = match order {
            0 => Order::None,
            1 => Order::Drain,
            2 => Order::Undrain,
            _ => return Err(Refused::Malformed("order")),
        };
        let seen = match seen {
            1 => Seen::Up,
            2 => Seen::Suspect,
            3 => Seen::Down,
            4 => Seen::Draining,
            5 => Seen::Forced,
            _ => return Err(Refused::Malformed("verdict")),
        };
        let _reserved = fields.u32();
        let (boot, sequence, sent_at_ms) = (fields.u64(), fields.u64(), fields.u64());
        let (boot_floor, revocations) = (fields.u64(), fields.u64());
        if boot_floor > BOOT_MAX {
            return Err(Refused::Malformed("boot id"));
        }
        let relay =
            RelayId::from_wire(fields.take()).map_err(|_| Refused::Malformed("relay id"))?;
        let node = NodeId::from_wire(fields.take()).map_err(|_| Refused::Malformed("node id"))?;
        let mut neighbours = [Neighbour::default(); NEIGHBOURS_MAX];
        for neighbour in &mut neighbours {
            let ipv4 = fields.v4();
            let (ipv4_port, ipv6_port) = (fields.u16(), fields.u16());
            neighbour.ipv4 = v4_from(ipv4, ipv4_port);
            neighbour.ipv6 = v6_from(fields.v6(), ipv6_port);
        }
        Ok(Self {
            relay,
            boot,
            sequence,
            node,
            sent_at_ms,
            boot_floor,
            order,
            seen,
            revocations,
            neighbours,
        })
    }
}
