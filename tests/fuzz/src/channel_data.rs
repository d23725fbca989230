//! ChannelData from clients, and what peers send framed for clients, against `turn-types`.

use stun_types::message::Message as Oracle;
use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::channel::ChannelData;

use crate::fixture::{self, BOUND, CHANNEL, Fixture, Left, PERMITTED};
use crate::world::addr;

/// Longest input looked at: what fits a datagram on a common path.
const LONGEST: usize = 1500;

/// The first byte chooses who sends the rest and which way.
pub fn channel_data(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let rest = &rest[..rest.len().min(LONGEST)];
    fixture::with(|fixture| {
        let stream = mode & 1 != 0;
        match mode >> 1 & 3 {
            0 | 1 => from_client(fixture, stream, rest),
            2 => from_peer(fixture, stream, BOUND, rest),
            _ => from_peer(fixture, stream, PERMITTED, rest),
        }
        Left::AsItWas
    });
}

/// Exactly what the oracle finds in the one channel that is bound gets through.
fn from_client(fixture: &mut Fixture, stream: bool, bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    if let Some(first) = packet.first_mut() {
        *first = 0x40 | *first & 0x3f;
    }
    let client = if stream {
        &fixture.streamer
    } else {
        &fixture.tenant
    };
    let relayed = fixture.world.data(client.tuple, &packet);
    let oracle = ChannelData::parse(&packet).ok();
    let expected = oracle.filter(|data| data.id() == CHANNEL);
    let expected = expected.map(|data| (addr(BOUND), data.data().to_vec()));
    assert_eq!(relayed, expected);
    assert!(fixture.world.replies.is_empty());
}

/// What a peer sends reaches the client whole, in the frame that fits.
fn from_peer(fixture: &mut Fixture, stream: bool, peer: &str, payload: &[u8]) {
    let (client, relay) = if stream {
        (&fixture.streamer, fixture.streamer_relay)
    } else {
        (&fixture.tenant, fixture.tenant_relay)
    };
    let tuple = client.tuple;
    let relayed = fixture.world.peer_sends(relay, addr(peer), payload);
    let (to, frame) = relayed.unwrap();
    assert_eq!(to, tuple);
    if peer == BOUND {
        let read = ChannelData::parse(&frame).unwrap();
        assert_eq!((read.id(), read.data()), (CHANNEL, payload));
        let padded = payload.len().next_multiple_of(4);
        let length = if stream { padded } else { payload.len() };
        assert_eq!(frame.len(), 4 + length);
    } else {
        let read = Oracle::from_bytes(&frame).unwrap();
        let from = read.attribute::<XorPeerAddress>().unwrap();
        assert_eq!(from.addr(read.transaction_id()), addr(peer));
        assert_eq!(read.attribute::<Data<'_>>().unwrap().data(), payload);
        assert_eq!(
            usize::from(u16::from_be_bytes([frame[2], frame[3]])) + 20,
            frame.len()
        );
    }
}
