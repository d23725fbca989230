//! What is relayed: a payload that says which flow it belongs to and when it was sent, and the two
//! wrappings a TURN client has for it.

use std::net::SocketAddr;

use crate::stun::{Builder, HEADER_LEN, Message, TransactionId, attribute, kind};

/// First bytes of every payload: anything else on a socket did not come from here.
const MARK: [u8; 4] = *b"TfLg";
/// Shortest payload in bytes: mark, flow, sequence, time.
pub const SHORTEST: usize = 24;
/// Longest payload in bytes: what fits an Ethernet frame as a Send indication to an IPv6 peer.
pub const LONGEST: usize = 1400;
/// Bytes of a ChannelData header (RFC 8656 section 12.4).
const CHANNEL_HEADER: usize = 4;

/// What a payload says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which flow it belongs to.
    pub flow: u32,
    /// Its number within the flow, from 0; its top bit says that it counts (no warm-up).
    pub sequence: u64,
    /// When it was sent, in nanoseconds since the run's start.
    pub sent: u64,
}

impl Stamp {
    /// Writes the stamp into the first [`SHORTEST`] bytes of a payload.
    pub fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&MARK);
        payload[4..8].copy_from_slice(&self.flow.to_be_bytes());
        payload[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..24].copy_from_slice(&self.sent.to_be_bytes());
    }

    /// Reads the stamp of a payload; `None` where it is none of ours.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            Some(u64::from_be_bytes(
                payload.get(at..at + 8)?.try_into().ok()?,
            ))
        };
        (payload.get(..4)? == MARK).then_some(())?;
        Some(Self {
            flow: word(4).map(|w| (w >> 32) as u32)?,
            sequence: word(8)?,
            sent: word(16)?,
        })
    }
}

/// How the client wraps what it sends and unwraps what it gets.
#[derive(Debug, Clone)]
pub enum Wrapping {
    /// ChannelData on this channel (RFC 8656 section 12.4), as Chromium does; to multiples of so many
    /// bytes, it is padded (section 12.5).
    Channel(u16, usize),
    /// Send and Data indications (RFC 8656 section 11), as Firefox does: the bytes up to DATA's value.
    Indication(Vec<u8>),
}

impl Wrapping {
    /// ChannelData on `channel`, padded where it travels over a `stream`.
    pub fn channel(channel: u16, stream: bool) -> Self {
        Self::Channel(channel, if stream { 4 } else { 1 })
    }

    /// Send indications of `size` bytes of payload to `peer`.
    pub fn indication(flow: u32, peer: SocketAddr, size: usize) -> Self {
        let mut transaction = TransactionId::default();
        transaction[..4].copy_from_slice(&flow.to_be_bytes());
        let mut packet = Builder::new(kind::SEND, transaction)
            .peer(peer)
            .attribute(attribute::DATA, &vec![0; size])
            .unsigned();
        packet.truncate(packet.len() - size.next_multiple_of(4));
        Self::Indication(packet)
    }

    /// Bytes on the wire for a payload of `size` bytes.
    pub fn wire_length(&self, size: usize) -> usize {
        match self {
            Self::Channel(_, unit) => CHANNEL_HEADER + size.next_multiple_of(*unit),
            Self::Indication(head) => head.len() + size.next_multiple_of(4),
        }
    }

    /// Writes the wrapped payload of `size` bytes; `packet` is [`Self::wire_length`] long.
    pub fn write(&self, packet: &mut [u8], size: usize, stamp: Stamp) {
        let payload = match self {
            Self::Channel(number, _) => {
                packet[..2].copy_from_slice(&number.to_be_bytes());
                packet[2..4].copy_from_slice(&(size as u16).to_be_bytes());
                &mut packet[CHANNEL_HEADER..]
            }
            Self::Indication(head) => {
                packet[..head.len()].copy_from_slice(head);
                // All of a flow have one transaction id: an IPv6 peer's address is combined with it.
                &mut packet[head.len()..]
            }
        };
        stamp.write(payload);
    }

    /// The stamp in a packet from the server; `None` where it is none of ours.
    pub fn stamp(&self, packet: &[u8]) -> Option<Stamp> {
        self.unwrap(packet).and_then(Stamp::read)
    }

    /// The payload of a packet from the server; `None` where it is wrapped in another way.
    fn unwrap<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Channel(number, _) => {
                let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
                (packet[..2] == number.to_be_bytes()).then_some(())?;
                packet.get(CHANNEL_HEADER..CHANNEL_HEADER + length)
            }
            Self::Indication(_) => {
                let message = Message::parse(packet)?;
                (message.kind() == kind::DATA).then_some(())?;
                message.get(attribute::DATA)
            }
        }
    }
}

/// Cuts `bytes` from the server into its messages, several where GRO joined datagrams: each says
/// its length. What says none, or more than there is, is one message to its end.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = message_length(rest).unwrap_or(rest.len());
        let (message, after) = rest.split_at(length.min(rest.len()));
        // A server may pad ChannelData over UDP, too (RFC 8656 section 12.5).
        rest = if after.len() < CHANNEL_HEADER {
            &[]
        } else {
            after
        };
        Some(message)
    })
}

/// The length of the message that a stream goes on with, with padding; `None` before that is known.
pub fn framed_length(bytes: &[u8]) -> Option<usize> {
    let length = message_length(bytes)?;
    Some(length.next_multiple_of(4))
}

/// The length of the message that `bytes` begin with (RFC 8656 section 12), without padding.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    match bytes[0] >> 6 {
        0 => Some(HEADER_LEN + length),
        1 => Some(CHANNEL_HEADER + length),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        flow: 7,
        sequence: 9 | 1 << 63,
        sent: 11,
    };

    fn packet(wrapping: &Wrapping, size: usize) -> Vec<u8> {
        let mut packet = vec![0xee; wrapping.wire_length(size)];
        wrapping.write(&mut packet, size, STAMP);
        packet
    }

    #[test]
    fn channel_data_is_as_rfc_8656_section_12_4_draws_it() {
        let wrapping = Wrapping::channel(0x4005, false);
        let sent = packet(&wrapping, SHORTEST);
        assert_eq!(sent[..4], [0x40, 0x05, 0, 24]);
        assert_eq!(Stamp::read(&sent[4..]), Some(STAMP));
        assert_eq!(wrapping.unwrap(&sent).and_then(Stamp::read), Some(STAMP));
        assert_eq!(Wrapping::channel(0x4006, false).unwrap(&sent), None);
    }

    #[test]
    fn send_indications_are_whole_messages_at_every_payload_length() {
        let peer = "127.0.0.1:9".parse().unwrap();
        for size in SHORTEST..SHORTEST + 5 {
            let sent = packet(&Wrapping::indication(7, peer, size), size);
            let message = Message::parse(&sent).unwrap();
            assert_eq!(message.kind(), kind::SEND);
            assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(peer));
            let data = message.get(attribute::DATA).unwrap();
            assert_eq!((data.len(), Stamp::read(data)), (size, Some(STAMP)));
        }
    }

    #[test]
    fn joined_datagrams_are_cut_where_they_were() {
        let channel = packet(&Wrapping::channel(0x4005, false), SHORTEST + 1);
        let indication = packet(&Wrapping::indication(7, "[::1]:9".parse().unwrap(), 50), 50);
        let joined = [&channel[..], &indication, &channel].concat();
        let cut: Vec<_> = messages(&joined).collect();
        assert_eq!(cut, [&channel[..], &indication, &channel]);
        let padded = [&channel[..], &[0; 3]].concat();
        assert_eq!(messages(&padded).collect::<Vec<_>>(), [&channel[..]]);
        for odd in [&[0x40][..], &[0xff; 9], &channel[..20]] {
            assert_eq!(messages(odd).collect::<Vec<_>>(), [odd]);
        }
    }

    #[test]
    fn data_indications_are_unwrapped_and_others_are_not() {
        let mut payload = [0; SHORTEST];
        STAMP.write(&mut payload);
        let peer = "127.0.0.1:9".parse().unwrap();
        let wrapping = Wrapping::indication(7, peer, SHORTEST);
        let packet = |kind| {
            Builder::new(kind, [1; 12])
                .peer(peer)
                .attribute(attribute::DATA, &payload)
                .unsigned()
        };
        let data = packet(kind::DATA);
        assert_eq!(wrapping.unwrap(&data).and_then(Stamp::read), Some(STAMP));
        assert_eq!(wrapping.unwrap(&packet(kind::SEND)), None);
    }
}
