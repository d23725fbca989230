//! The messages that carry data, read and written where they lie: ChannelData, Send and Data.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::attribute::{
    DATA, DONT_FRAGMENT, FINGERPRINT, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256,
    XOR_PEER_ADDRESS, is_tolerable,
};
use super::message::{Message, attribute_at, read_xor_address, xor_v6};
use super::{COOKIE, Class, HEADER, TransactionId, message_type, method, padded};
use crate::headroom::Headroom;
use crate::limits::MESSAGE_ATTRIBUTES;

/// Length of the ChannelData header (RFC 8656 section 12.4).
const CHANNEL_HEADER: usize = 4;

const SEND_TYPE: [u8; 2] = message_type(method::SEND, Class::Indication).to_be_bytes();
const DATA_TYPE: [u8; 2] = message_type(method::DATA, Class::Indication).to_be_bytes();

/// Reads ChannelData: the channel number, and where the data lies. `None` if the length says more
/// than there is; less is allowed, for padding.
pub(crate) fn read_channel_data(packet: &[u8]) -> Option<(u16, Range<usize>)> {
    let &[high, low, length_high, length_low] = packet.first_chunk()?;
    let end = CHANNEL_HEADER + usize::from(u16::from_be_bytes([length_high, length_low]));
    (end <= packet.len()).then(|| (u16::from_be_bytes([high, low]), CHANNEL_HEADER..end))
}

/// Whether `packet` claims to be a Send indication.
pub(crate) fn is_send(packet: &[u8]) -> bool {
    packet.starts_with(&SEND_TYPE)
}

/// Why a Send indication is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSend {
    /// Malformed, without a peer or data, or with an attribute that must be understood and is not.
    Malformed,
    /// FINGERPRINT does not match.
    Fingerprint,
}

/// A Send indication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    pub(crate) peer: SocketAddr,
    /// Where the data lies.
    pub(crate) payload: Range<usize>,
    /// Whether it must not be fragmented (RFC 8656 section 18.10).
    pub(crate) dont_fragment: bool,
}

/// Reads a Send indication (RFC 8656 section 11.2) in one walk.
pub(crate) fn read_send(packet: &[u8]) -> Result<Send, BadSend> {
    let header: &[u8; HEADER] = packet.first_chunk().ok_or(BadSend::Malformed)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[4..8] != COOKIE || HEADER + length != packet.len() {
        return Err(BadSend::Malformed);
    }
    let (mut peer, mut data, mut signed) = (None, None, false);
    let mut dont_fragment = false;
    let mut at = HEADER;
    for _ in 0..MESSAGE_ATTRIBUTES {
        if at == packet.len() {
            break;
        }
        let (kind, value) = attribute_at(packet, at).ok_or(BadSend::Malformed)?;
        match kind {
            // Rare here; not worth a second implementation.
            FINGERPRINT => drop(Message::parse(packet).map_err(|_| BadSend::Fingerprint)?),
            _ if signed => {}
            XOR_PEER_ADDRESS if peer.is_none() => peer = Some(value),
            DATA if data.is_none() => data = Some(at + 4..at + 4 + value.len()),
            DONT_FRAGMENT => dont_fragment = true,
            MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => signed = true,
            _ if !is_tolerable(kind) => return Err(BadSend::Malformed),
            _ => {}
        }
        at += 4 + padded(value.len());
    }
    if at != packet.len() {
        return Err(BadSend::Malformed);
    }
    let mut transaction = [0; 12];
    transaction.copy_from_slice(&header[8..]);
    let peer = peer.and_then(|value| read_xor_address(value, &transaction));
    let (peer, payload) = peer.zip(data).ok_or(BadSend::Malformed)?;
    Ok(Send {
        peer,
        payload,
        dont_fragment,
    })
}

/// Puts a ChannelData header before a peer's datagram (RFC 8656 section 12.5). Over a stream it is
/// padded. `None` if the length does not fit its field.
pub(crate) fn write_channel_data(
    packet: &mut Headroom<'_>,
    channel: u16,
    is_stream: bool,
) -> Option<Range<usize>> {
    let length = u16::try_from(packet.len()).ok()?;
    let mut header = [0; CHANNEL_HEADER];
    header[..2].copy_from_slice(&channel.to_be_bytes());
    header[2..].copy_from_slice(&length.to_be_bytes());
    let padding = if is_stream {
        padded(packet.len()) - packet.len()
    } else {
        0
    };
    Some(packet.wrap(&header, padding))
}

/// Makes a peer's datagram a Data indication (RFC 8656 section 11.4). `None` if the length does
/// not fit its field.
pub(crate) fn write_data(
    packet: &mut Headroom<'_>,
    peer: SocketAddr,
    transaction: &TransactionId,
) -> Option<Range<usize>> {
    const V4: usize = HEADER + 12 + 4;
    const V6: usize = HEADER + 24 + 4;
    let mut header = [0; V6];
    let header = match peer.ip() {
        IpAddr::V4(v4) => {
            let octets = (v4.to_bits() ^ u32::from_be_bytes(COOKIE)).to_be_bytes();
            header[25] = 1;
            header[28..32].copy_from_slice(&octets);
            &mut header[..V4]
        }
        IpAddr::V6(v6) => {
            header[25] = 2;
            header[28..44].copy_from_slice(&xor_v6(v6.octets(), transaction));
            &mut header[..]
        }
    };
    let attributes = header.len() - HEADER + padded(packet.len());
    let length = u16::try_from(attributes).ok()?;
    let data_at = header.len() - 4;
    header[..2].copy_from_slice(&DATA_TYPE);
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[4..8].copy_from_slice(&COOKIE);
    header[8..HEADER].copy_from_slice(transaction);
    header[20..22].copy_from_slice(&XOR_PEER_ADDRESS.to_be_bytes());
    header[22..24].copy_from_slice(&((data_at - 24) as u16).to_be_bytes());
    let port = peer.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    header[26..28].copy_from_slice(&port.to_be_bytes());
    header[data_at..data_at + 2].copy_from_slice(&DATA.to_be_bytes());
    header[data_at + 2..].copy_from_slice(&(packet.len() as u16).to_be_bytes());
    let padding = padded(packet.len()) - packet.len();
    Some(packet.wrap(header, padding))
}
