//! One STUN Binding transaction (RFC 8489 section 3) on a way of its own.
//!
//! A UDP socket is connected, so that the ICMP refusal of a relay whose process is gone fails the
//! probe at once instead of after the timeout.

use std::io;
use std::time::{Duration, Instant};

use credentials::Credential;
use dnsd_core::health::Outcome;
use stun_types::attribute::XorMappedAddress;
use stun_types::message::{BINDING, Message, MessageClass, TransactionId};
use tokio::time::timeout;

use super::signed;
use super::way::{Link, Way};

/// Largest Binding response that is looked at, in bytes.
const RESPONSE: usize = 1500;

/// Sends one Binding request, signed with `credential`, on a way and waits at most `patience` for
/// its answer, connecting included.
pub async fn binding(way: &Way, credential: &Credential, patience: Duration) -> Outcome {
    timeout(patience, exchange(way, credential))
        .await
        .unwrap_or(Outcome::Timeout)
}

/// How an error of a socket connected to the relay counts when it shows while waiting: the host's
/// refusal or the network's word about the host.
pub(super) fn heard(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        _ => Outcome::Failed(error.to_string()),
    }
}

/// How an error counts when it keeps us from sending: as none of the relay's fault, unless it is
/// a refusal that came for an earlier datagram, or the end of a connection.
pub(super) fn unsent(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => heard(error),
        _ => Outcome::Unsent(error.to_string()),
    }
}

async fn exchange(way: &Way, credential: &Credential) -> Outcome {
    let sent = Instant::now();
    let link = match way.open().await {
        Ok(opened) => opened.link,
        Err(closed) => return closed.outcome,
    };
    let transaction = match send(&link, credential).await {
        Ok(transaction) => transaction,
        Err(error) => return unsent(&error),
    };
    let mut buffer = [0; RESPONSE];
    loop {
        let length = match link.recv(&mut buffer).await {
            Ok(length) => length,
            Err(error) => return heard(&error),
        };
        // Anything else is not an answer to this request: a late or a forged datagram.
        match answer(&buffer[..length], transaction) {
            Some(Ok(())) => {
                return Outcome::Ok {
                    rtt: sent.elapsed(),
                };
            }
            Some(Err(why)) => return Outcome::Failed(why.to_owned()),
            None => {}
        }
    }
}

async fn send(link: &Link, credential: &Credential) -> io::Result<TransactionId> {
    let transaction = transaction()?;
    link.send(&signed::binding(transaction, credential)).await?;
    Ok(transaction)
}

pub(super) fn transaction() -> io::Result<TransactionId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(u128::from_be_bytes(bytes).into())
}

/// Judges a datagram: `None` if it does not belong to the transaction, else whether it is a
/// success response with the mapped address that RFC 8489 section 6.3.1 asks for.
fn answer(datagram: &[u8], transaction: TransactionId) -> Option<Result<(), &'static str>> {
    let message = Message::from_bytes(datagram).ok()?;
    if message.transaction_id() != transaction || !message.has_method(BINDING) {
        return None;
    }
    match message.class() {
        MessageClass::Success if message.attribute::<XorMappedAddress>().is_ok() => Some(Ok(())),
        MessageClass::Success => Some(Err("Binding response without address")),
        MessageClass::Error => Some(Err("Binding answered with an error")),
        MessageClass::Request | MessageClass::Indication => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    use crate::probe::rounds::tests::{credential, udp};

    /// RFC 5769 section 2.2 with the transaction id of that sample.
    const RESPONSE_IPV4: [u8; 80] = [
        0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76,
        0x65, 0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1,
        0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3,
        0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00,
        0x04, 0xc0, 0x7d, 0x4c, 0x96,
    ];
    const TRANSACTION: u128 = 0xb7e7_a701_bc34_d686_fa87_dfae;

    #[test]
    fn the_rfc_5769_response_is_an_answer_to_its_transaction_only() {
        assert!(matches!(
            answer(&RESPONSE_IPV4, TRANSACTION.into()),
            Some(Ok(()))
        ));
        assert!(answer(&RESPONSE_IPV4, 1.into()).is_none());
        assert!(answer(b"noise", TRANSACTION.into()).is_none());
    }

    #[test]
    fn an_error_response_is_a_failure() {
        // 0x0111: Binding error response, no attributes.
        let mut bytes = vec![0x01, 0x11, 0, 0];
        bytes.extend_from_slice(&RESPONSE_IPV4[4..20]);
        assert!(matches!(answer(&bytes, TRANSACTION.into()), Some(Err(_))));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_at_once() {
        let free = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = free.local_addr().expect("address");
        drop(free);
        let begun = Instant::now();
        let way = udp(address.ip(), address);
        let outcome = binding(&way, &credential(), Duration::from_secs(5)).await;
        assert!(matches!(outcome, Outcome::Refused), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn silence_is_a_timeout() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = silent.local_addr().expect("address");
        let way = udp(address.ip(), address);
        let outcome = binding(&way, &credential(), Duration::from_millis(50)).await;
        assert!(matches!(outcome, Outcome::Timeout), "{outcome:?}");
    }
}
