//! Data through an allocation and back: once in a Send indication, once as ChannelData.
//!
//! The peer is a socket of our own that returns only what carries the probe's random token. What is
//! lost is sent again, so that a lossy path is not taken for a dead one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dnsd_core::health::Outcome;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use webrtc_util::Conn;

use super::stun::unsent;
use super::tap::{Tap, Via};
use crate::limits::ECHO_RESEND;

/// Random bytes that name the probe.
const TOKEN: usize = 16;
/// The token, and one byte that numbers the datagram.
const PAYLOAD: usize = TOKEN + 1;
/// Largest datagram that is looked at, in bytes.
const RECEIVED: usize = 2048;
/// Pause before data is sent again while the client's channel is not ready yet.
const CHANNEL_PAUSE: Duration = Duration::from_millis(5);

/// What was sent so far, and what of it came back.
struct Trip {
    token: [u8; TOKEN],
    sent: Vec<Via>,
    returned: Vec<Via>,
}

impl Trip {
    fn payload(&self) -> Option<[u8; PAYLOAD]> {
        let mut payload = [0; PAYLOAD];
        payload[..TOKEN].copy_from_slice(&self.token);
        payload[TOKEN] = u8::try_from(self.sent.len()).ok()?;
        Some(payload)
    }

    fn accept(&mut self, payload: &[u8]) {
        if let Some((token, [number])) = payload.split_last_chunk::<1>()
            && token == self.token
            && let Some(via) = self.sent.get(usize::from(*number))
        {
            self.returned.push(*via);
        }
    }

    fn has(&self, via: Via) -> bool {
        self.returned.contains(&via)
    }

    fn complete(&self) -> bool {
        self.has(Via::Indication) && self.has(Via::Channel)
    }
}

/// Makes both round trips through `relayed`, by way of a peer on `peer`. Never gives up by itself.
pub(super) async fn round(relayed: &impl Conn, peer: IpAddr, tap: &Tap) -> Result<(), Outcome> {
    let mut token = [0; TOKEN];
    getrandom::fill(&mut token).map_err(|error| unsent(&error.into()))?;
    let mut trip = Trip {
        token,
        sent: Vec::new(),
        returned: Vec::new(),
    };
    let relay = relayed.local_addr().map_err(|error| failed(&error))?;
    while !trip.complete() {
        // The client binds a channel to every peer it sends to, and only the data before that goes
        // out as an indication. So a lost indication is tried again with a fresh peer.
        let local = |error: io::Error| Outcome::Unsent(error.to_string());
        let socket = UdpSocket::bind((peer, 0)).await.map_err(local)?;
        let address = socket.local_addr().map_err(local)?;
        tokio::select! {
            done = converse(relayed, address, tap, &mut trip) => done?,
            error = reflect(&socket, relay, &token) => return Err(local(error)),
        }
    }
    Ok(())
}

/// The client's side, with one peer. Returns when another peer is needed, or all is done.
async fn converse(
    relayed: &impl Conn,
    peer: SocketAddr,
    tap: &Tap,
    trip: &mut Trip,
) -> Result<(), Outcome> {
    while !trip.complete() {
        let payload = trip
            .payload()
            .ok_or_else(|| Outcome::Failed("no channel becomes ready".to_owned()))?;
        relayed
            .send_to(&payload, peer)
            .await
            .map_err(|error| failed(&error))?;
        let via = tap
            .last_data()
            .ok_or_else(|| Outcome::Failed("the client sent no data".to_owned()))?;
        trip.sent.push(via);
        match via {
            Via::Channel if !trip.has(Via::Indication) => return Ok(()),
            Via::Indication if trip.has(Via::Indication) => sleep(CHANNEL_PAUSE).await,
            via => {
                if let Ok(result) = timeout(ECHO_RESEND, returned(relayed, peer, via, trip)).await {
                    result?;
                }
            }
        }
    }
    Ok(())
}

/// Receives until data sent `via` has come back.
async fn returned(
    relayed: &impl Conn,
    peer: SocketAddr,
    via: Via,
    trip: &mut Trip,
) -> Result<(), Outcome> {
    let mut buffer = [0; RECEIVED];
    while !trip.has(via) {
        let (length, from) = relayed
            .recv_from(&mut buffer)
            .await
            .map_err(|error| failed(&error))?;
        if from == peer {
            trip.accept(buffer.get(..length).unwrap_or_default());
        }
    }
    Ok(())
}

fn failed(error: &webrtc_util::Error) -> Outcome {
    Outcome::Failed(error.to_string())
}

/// The peer's side: returns to the relayed address what carries the token, and nothing else, so
/// that nobody can use the socket to reflect. Ends only with an error.
async fn reflect(socket: &UdpSocket, relay: SocketAddr, token: &[u8; TOKEN]) -> io::Error {
    let mut buffer = [0; PAYLOAD + 1];
    loop {
        let result = match socket.recv_from(&mut buffer).await {
            Ok((PAYLOAD, from)) if from == relay && buffer.starts_with(token) => {
                socket.send_to(&buffer[..PAYLOAD], from).await.map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match result {
            // A relayed port that closed meanwhile: the client's side will notice.
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return error,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_counts_as_returned() {
        let mut trip = Trip {
            token: [7; TOKEN],
            sent: vec![Via::Indication],
            returned: vec![],
        };
        let mut payload = [7; PAYLOAD];
        trip.accept(&payload);
        assert!(!trip.has(Via::Indication), "datagram 7 was never sent");
        payload[TOKEN] = 0;
        let mut forged = payload;
        forged[3] = 0;
        trip.accept(&forged);
        trip.accept(&payload[..TOKEN]);
        assert!(!trip.has(Via::Indication));
        trip.accept(&payload);
        assert!(trip.has(Via::Indication) && !trip.complete());
    }
}
