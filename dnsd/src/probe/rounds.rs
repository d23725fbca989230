//! One probe of a relay as a whole: by all its addresses, of which one that answers is enough.

use std::time::Duration;

use credentials::Credential;
use dnsd_core::health::Outcome;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::echo::{self, Found, Route};
use super::stun;

/// One probe of one relay: of one path, or of all families of its main transport.
pub(super) struct Round {
    pub(super) ways: Vec<Route>,
    pub(super) credential: Credential,
    pub(super) patience: Duration,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) told: oneshot::Sender<Found>,
}

/// One Binding to every address of the relay at once. One that answers is enough: the others are
/// judged by themselves.
pub(super) async fn stun_round(round: Round) {
    let mut running = JoinSet::new();
    for Route { way, .. } in round.ways {
        let (credential, patience) = (round.credential.clone(), round.patience);
        running.spawn(async move { stun::binding(&way, &credential, patience).await });
    }
    let mut outcomes = Vec::new();
    while let Some(Ok(outcome)) = running.join_next().await {
        let answered = matches!(outcome, Outcome::Ok { .. });
        outcomes.push(outcome);
        if answered {
            break;
        }
    }
    drop(round.permit);
    let none = Outcome::Unsent("no address to probe".into());
    let _ = round
        .told
        .send(outcomes.into_iter().reduce(better).unwrap_or(none).into());
}

/// An echo by the first address; where that has not passed after a third of the time, by the next
/// one, too.
pub(super) async fn echo_round(round: Round) {
    let (credential, patience) = (round.credential, round.patience);
    let (answers, mut found) = mpsc::channel(1);
    let mut ways = round.ways.into_iter();
    let mut running = JoinSet::new();
    let (mut pending, mut best) = (0, None);
    loop {
        if let Some(route) = ways.next() {
            pending += 1;
            running.spawn(echo_once(
                route,
                credential.clone(),
                patience,
                answers.clone(),
            ));
        }
        let more = ways.len() > 0;
        let wait = if more { patience / 3 } else { patience * 2 };
        if let Ok(Some(next)) = timeout(wait, found.recv()).await {
            pending -= 1;
            best = Some(match best {
                Some(best) => best_of(best, next),
                None => next,
            });
        } else if !more {
            break;
        }
        let passed = |found: &Found| matches!(found.outcome, Outcome::Ok { .. });
        if best.as_ref().is_some_and(passed) || (pending == 0 && !more) {
            break;
        }
    }
    let _ = round
        .told
        .send(best.unwrap_or_else(|| Outcome::Timeout.into()));
    // Allocations are given back before others take this one's place.
    drop(found);
    while running.join_next().await.is_some() {}
    drop(round.permit);
}

async fn echo_once(
    route: Route,
    credential: Credential,
    patience: Duration,
    answers: mpsc::Sender<Found>,
) {
    let (told, found) = oneshot::channel();
    let tell = async {
        if let Ok(found) = found.await {
            // Nobody listens any more once another address has answered.
            let _ = answers.send(found).await;
        }
    };
    tokio::join!(echo::run(route, &credential, patience, told), tell);
}

fn best_of(first: Found, second: Found) -> Found {
    Found {
        outcome: better(first.outcome, second.outcome),
        certificate_left: first.certificate_left.or(second.certificate_left),
    }
}

/// What two addresses together say of their relay: one that answers shows that it lives, and
/// nothing is known from one that could not be probed.
fn better(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (ok @ Outcome::Ok { .. }, _) | (_, ok @ Outcome::Ok { .. }) => ok,
        (Outcome::Unsent(_), other) | (other, _) => other,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Arc;

    use credentials::{PROBE_USER, Secret, SecretRing};
    use dnsd_core::paths::Transport;
    use stun_types::attribute::XorMappedAddress;
    use stun_types::message::{Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec};
    use tokio::net::UdpSocket;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock;
    use crate::limits::PROBE_CREDENTIAL;
    use crate::probe::tls::{Judge, Trust};
    use crate::probe::way::Way;

    const PATIENCE: Duration = Duration::from_millis(500);

    pub(in crate::probe) fn credential() -> Credential {
        let secret = Secret::new(b"a secret of some length".to_vec()).expect("long enough");
        let ring = SecretRing::new(secret, Vec::new()).expect("short enough");
        credentials::issue(&ring, Some(PROBE_USER), PROBE_CREDENTIAL, clock::unix())
            .expect("issued")
    }

    pub(in crate::probe) fn udp(client: IpAddr, relay: SocketAddr) -> Way {
        Way {
            client,
            relay,
            transport: Transport::Udp,
            judge: Arc::new(Judge::new(&Trust::default())),
        }
    }

    /// Answers every Binding request at a port of `ip`.
    async fn relay(ip: &str) -> (IpAddr, SocketAddr) {
        let ip: IpAddr = ip.parse().expect("address");
        let socket = UdpSocket::bind((ip, 0)).await.expect("socket");
        let address = socket.local_addr().expect("address");
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let request = Message::from_bytes(&buffer[..length]).expect("STUN");
                let mut response = Message::builder_success(&request, MessageWriteVec::new());
                let mapped = XorMappedAddress::new(from, request.transaction_id());
                response.add_attribute(&mapped).expect("fits");
                socket
                    .send_to(&response.finish(), from)
                    .await
                    .expect("sent");
            }
        });
        (ip, address)
    }

    async fn closed(ip: &str) -> (IpAddr, SocketAddr) {
        let socket = UdpSocket::bind((ip, 0)).await.expect("socket");
        let address = socket.local_addr().expect("address");
        (address.ip(), address)
    }

    async fn round(ways: &[(IpAddr, SocketAddr)]) -> Outcome {
        let route = |(client, relay): &(IpAddr, SocketAddr)| Route {
            way: udp(*client, *relay),
            peer: *client,
        };
        let (told, found) = oneshot::channel();
        let permits = Arc::new(Semaphore::new(1));
        stun_round(Round {
            ways: ways.iter().map(route).collect(),
            credential: credential(),
            patience: PATIENCE,
            permit: permits.try_acquire_owned().expect("free"),
            told,
        })
        .await;
        found.await.expect("found").outcome
    }

    #[tokio::test]
    async fn one_address_that_answers_shows_that_a_relay_lives() {
        let (v4, v6) = (relay("127.0.0.1").await, relay("::1").await);
        let (no_v4, no_v6) = (closed("127.0.0.1").await, closed("::1").await);
        for ways in [
            vec![v4],
            vec![v6],
            vec![v4, v6],
            vec![v4, no_v6],
            vec![no_v4, v6],
        ] {
            let outcome = round(&ways).await;
            assert!(
                matches!(outcome, Outcome::Ok { .. }),
                "{ways:?}: {outcome:?}"
            );
        }
        assert!(matches!(round(&[no_v4, no_v6]).await, Outcome::Refused));
    }

    #[tokio::test]
    async fn an_address_that_nothing_can_be_sent_to_says_nothing_about_the_others() {
        let v4 = relay("127.0.0.1").await;
        let closed = closed("::1").await;
        let unsent: (IpAddr, SocketAddr) = ("192.0.2.77".parse().expect("address"), v4.1);
        for ways in [[v4, unsent], [unsent, v4]] {
            let outcome = round(&ways).await;
            assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
        }
        for ways in [[closed, unsent], [unsent, closed]] {
            let outcome = round(&ways).await;
            assert!(matches!(outcome, Outcome::Refused), "{outcome:?}");
        }
        for ways in [vec![unsent, unsent], vec![]] {
            let outcome = round(&ways).await;
            assert!(matches!(outcome, Outcome::Unsent(_)), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn what_this_machine_cannot_send_is_not_held_against_the_relay() {
        let (_, to) = relay("127.0.0.1").await;
        let elsewhere: IpAddr = "192.0.2.77".parse().expect("address");
        let outcome = stun::binding(&udp(elsewhere, to), &credential(), PATIENCE).await;
        assert!(matches!(outcome, Outcome::Unsent(_)), "{outcome:?}");
    }
}
