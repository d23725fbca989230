//! One full echo probe: allocate, permission, channel, and a datagram each way through the relay.
//!
//! The only check that finds a relay whose heartbeats and Binding responses are fine and whose data
//! path is not. The TURN client is an implementation of its own, so a pass also shows that a
//! foreign client gets through.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::Credential;
use dnsd_core::health::Outcome;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use super::signed;
use super::stun::{transaction, unsent};
use super::tap::Tap;
use super::trip;
use crate::limits::ECHO_CLEANUP;

/// Retransmission interval of the client's transactions, in milliseconds. RFC 8489 section 6.2.1
/// starts at 500; a probe has about 1500 in all.
const RETRANSMIT: u16 = 200;
/// Five-tuples tried before the relay's memory of earlier ones counts against it.
const FIVE_TUPLES: usize = 3;
/// Allocation Mismatch (RFC 8656 section 19).
const MISMATCH: u16 = 437;
/// Unauthenticated (RFC 8489 section 14.8): what every first request is answered with.
const CHALLENGE: u16 = 401;

/// Who probes what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Source of the client's socket, of the relay address's family.
    pub client: IpAddr,
    /// The relay's listener.
    pub relay: SocketAddr,
    /// Where the echo answers: IPv4, the family of an allocation that asks for none.
    pub peer: IpAddr,
}

/// Where the outcome goes, once.
struct Report(Option<oneshot::Sender<Outcome>>);

impl Report {
    fn tell(&mut self, outcome: Outcome) {
        if let Some(report) = self.0.take() {
            // Whoever asked may have gone.
            let _ = report.send(outcome);
        }
    }
}

/// Runs one probe. The outcome goes to `report` within `patience`; the future itself ends when the
/// allocation is given back and every socket is closed, at most twice [`ECHO_CLEANUP`] later.
pub async fn run(
    route: Route,
    credential: &Credential,
    patience: Duration,
    report: oneshot::Sender<Outcome>,
) {
    let begun = Instant::now();
    let mut report = Report(Some(report));
    for _ in 0..FIVE_TUPLES {
        match open(route, credential).await {
            Ok((tap, client)) => {
                let left = patience.saturating_sub(begun.elapsed());
                attempt(route.peer, &tap, &client, left, &mut report).await;
                tap.shut();
                // The client's own close waits for locks that its transactions hold; those end
                // with the tap.
                let _ = timeout(ECHO_CLEANUP, client.close()).await;
            }
            Err(outcome) => report.tell(outcome),
        }
        if report.0.is_none() {
            return;
        }
    }
    report.tell(Outcome::Failed(
        "Allocate was answered with error 437".to_owned(),
    ));
}

async fn open(route: Route, credential: &Credential) -> Result<(Arc<Tap>, Client), Outcome> {
    let local = |error: io::Error| unsent(&error);
    let socket = UdpSocket::bind((route.client, 0)).await.map_err(local)?;
    socket.connect(route.relay).await.map_err(local)?;
    let proof = signed::binding(transaction().map_err(local)?, credential);
    let tap = Arc::new(Tap::new(socket, route.relay, proof));
    let client = Client::new(ClientConfig {
        stun_serv_addr: String::new(),
        turn_serv_addr: route.relay.to_string(),
        username: credential.username.clone(),
        password: credential.password.to_string(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: RETRANSMIT,
        conn: Arc::<Tap>::clone(&tap),
        vnet: None,
    });
    let odd = |error: turn::Error| Outcome::Unsent(error.to_string());
    let client = client.await.map_err(odd)?;
    client.listen().await.map_err(odd)?;
    Ok((tap, client))
}

/// One five-tuple's probe. Tells the outcome before it cleans up; tells nothing if the relay still
/// knew the five-tuple from an earlier allocation, which means to try another.
async fn attempt(peer: IpAddr, tap: &Tap, client: &Client, left: Duration, report: &mut Report) {
    let begun = Instant::now();
    let mut allocate = pin!(client.allocate());
    // A relay that refuses by ICMP ends the probe at once; the client itself would retransmit on.
    let allocated = tokio::select! {
        allocated = &mut allocate => Some(allocated),
        () = tap.failed() => None,
        () = sleep(left) => None,
    };
    match allocated {
        Some(Ok(relayed)) => {
            let left = left.saturating_sub(begun.elapsed());
            let outcome = tokio::select! {
                result = timeout(left, trip::round(&relayed, peer, tap)) => match result {
                    Ok(Ok(())) => Outcome::Ok { rtt: begun.elapsed() },
                    Ok(Err(outcome)) => judged(tap, outcome),
                    Err(_) => judged(tap, Outcome::Timeout),
                },
                () = tap.failed() => judged(tap, Outcome::Timeout),
            };
            report.tell(outcome);
            free(&relayed, tap).await;
        }
        Some(Err(_))
            if tap
                .refusal()
                .is_some_and(|refusal| refusal.code == MISMATCH) => {}
        Some(Err(error)) => {
            report.tell(judged(tap, Outcome::Failed(format!("Allocate: {error}"))));
        }
        None => {
            report.tell(judged(tap, Outcome::Timeout));
            // The success response may still come; then the allocation must not be left behind.
            if let Ok(Ok(relayed)) = timeout(ECHO_CLEANUP, allocate).await {
                free(&relayed, tap).await;
            }
        }
    }
}

/// The best account of a probe that did not pass: the socket's error, else the relay's error
/// response, else `otherwise`.
fn judged(tap: &Tap, otherwise: Outcome) -> Outcome {
    // After the challenge, silence is what went wrong.
    let challenged = matches!(otherwise, Outcome::Timeout);
    let refusal = tap
        .refusal()
        .filter(|refusal| !(challenged && refusal.code == CHALLENGE));
    let refusal = refusal.map(|refusal| Outcome::Failed(refusal.to_string()));
    tap.error().or(refusal).unwrap_or(otherwise)
}

/// Gives the allocation back (RFC 8656 section 7: a Refresh with lifetime 0) and waits for the
/// answer, as long as the client retransmits it.
async fn free(relayed: &impl Conn, tap: &Tap) {
    let freed = async {
        if relayed.close().await.is_ok() {
            tap.refreshed().await;
        }
    };
    let _ = timeout(ECHO_CLEANUP, freed).await;
}
