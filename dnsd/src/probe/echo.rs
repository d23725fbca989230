//! One full echo probe: allocate, permission, channel, and a datagram each way through the relay.
//!
//! The only check that finds a relay whose heartbeats and Binding responses are fine and whose data
//! path is not. The TURN client is an implementation of its own, so a pass also shows that a
//! foreign client gets through.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credentials::Credential;
use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use super::signed;
use super::stun::{transaction, unsent};
use super::tap::Tap;
use super::trip;
use super::way::{Closed, Way};
use crate::limits::ECHO_CLEANUP;

/// Retransmission interval of the client's transactions, in milliseconds. RFC 8489 section 6.2.1
/// starts at 500; a probe has about 1500 in all.
const RETRANSMIT: u16 = 200;
/// The same where the connection sends again by itself: longer than any probe.
const ONCE: u16 = 60_000;
/// Five-tuples tried before the relay's memory of earlier ones counts against it.
const FIVE_TUPLES: usize = 3;
/// Allocation Mismatch (RFC 8656 section 19).
const MISMATCH: u16 = 437;
/// Unauthenticated (RFC 8489 section 14.8): what every first request is answered with.
const CHALLENGE: u16 = 401;

/// Who probes what.
#[derive(Debug, Clone)]
pub struct Route {
    /// How the client gets to the relay.
    pub way: Way,
    /// Where the echo answers: IPv4, the family of an allocation that asks for none.
    pub peer: IpAddr,
}

/// What a probe found.
#[derive(Debug)]
pub struct Found {
    /// How it went.
    pub outcome: Outcome,
    /// What was left of the life of the certificate that the relay showed, if it showed one.
    pub certificate_left: Option<Duration>,
}

impl From<Outcome> for Found {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            certificate_left: None,
        }
    }
}

/// Where the outcome goes, once.
struct Report {
    to: Option<oneshot::Sender<Found>>,
    certificate_left: Option<Duration>,
}

impl Report {
    fn tell(&mut self, outcome: Outcome) {
        if let Some(to) = self.to.take() {
            // Whoever asked may have gone.
            let _ = to.send(Found {
                outcome,
                certificate_left: self.certificate_left,
            });
        }
    }
}

/// Runs one probe. The outcome goes to `report` within `patience`; the future itself ends when the
/// allocation is given back and every socket is closed, at most twice [`ECHO_CLEANUP`] later.
pub async fn run(
    route: Route,
    credential: &Credential,
    patience: Duration,
    report: oneshot::Sender<Found>,
) {
    let begun = Instant::now();
    let mut report = Report {
        to: Some(report),
        certificate_left: None,
    };
    for _ in 0..FIVE_TUPLES {
        let left = patience.saturating_sub(begun.elapsed());
        let opened = timeout(left, open(&route.way, credential)).await;
        match opened.unwrap_or_else(|_| Err(Outcome::Timeout.into())) {
            Ok((tap, client, certificate_left)) => {
                report.certificate_left = certificate_left;
                let left = patience.saturating_sub(begun.elapsed());
                attempt(route.peer, &tap, &client, left, &mut report).await;
                tap.shut();
                // The client's own close waits for locks that its transactions hold; those end
                // with the tap.
                let _ = timeout(ECHO_CLEANUP, client.close()).await;
            }
            Err(closed) => {
                report.certificate_left = closed.certificate_left;
                report.tell(closed.outcome);
            }
        }
        if report.to.is_none() {
            return;
        }
    }
    report.tell(Outcome::Failed(
        "Allocate was answered with error 437".to_owned(),
    ));
}

/// A client on an open way, and what is left of the life of the certificate seen there.
type Ready = (Arc<Tap>, Client, Option<Duration>);

async fn open(way: &Way, credential: &Credential) -> Result<Ready, Closed> {
    let local = |error: io::Error| unsent(&error);
    let opened = way.open().await?;
    let proof = signed::binding(transaction().map_err(local)?, credential);
    let tap = Arc::new(Tap::new(opened.link, way.relay, proof));
    let client = Client::new(ClientConfig {
        stun_serv_addr: String::new(),
        turn_serv_addr: way.relay.to_string(),
        username: credential.username.clone(),
        password: credential.password.to_string(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: if way.transport == Transport::Udp {
            RETRANSMIT
        } else {
            ONCE
        },
        conn: Arc::<Tap>::clone(&tap),
        vnet: None,
    });
    let odd = |error: turn::Error| Outcome::Unsent(error.to_string());
    let client = client.await.map_err(odd)?;
    client.listen().await.map_err(odd)?;
    Ok((tap, client, opened.certificate_left))
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
