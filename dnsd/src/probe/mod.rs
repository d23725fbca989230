//! Carries out the probes that the core orders, no more at once than the machine can hold.

pub mod echo;
mod signed;
pub mod stun;
mod tap;
mod trip;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use credentials::{Credential, IssueError, PROBE_USER, SecretRing};
use dnsd_core::health::{Outcome, Probe, ProbeKind};
use dnsd_core::inventory::{Inventory, RelayEntry};
use liveness::RelayId;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::config::Config;
use crate::control::Input;
use crate::limits::{ECHO_CONCURRENCY, PROBE_CREDENTIAL, PROBE_DRAIN, STUN_CONCURRENCY};

/// The addresses of one relay that are probed, and from where.
#[derive(Debug, Clone)]
struct Target {
    stun: Vec<(IpAddr, SocketAddr)>,
    echo: Option<echo::Route>,
}

/// Probes relays when told to.
#[derive(Debug)]
pub struct Prober {
    /// Where probes are sent from.
    from: (Ipv4Addr, Option<Ipv6Addr>),
    targets: BTreeMap<RelayId, Target>,
    secrets: SecretRing,
    outcomes: mpsc::Sender<Input>,
    stun: Arc<Semaphore>,
    echo: Arc<Semaphore>,
}

impl Prober {
    /// A prober as `config` says, of no relay yet. Outcomes go to `outcomes`.
    pub fn new(config: &Config, outcomes: mpsc::Sender<Input>) -> Self {
        Self {
            from: (config.node.probe_ipv4, config.node.probe_ipv6),
            targets: BTreeMap::new(),
            secrets: config.secrets.clone(),
            outcomes,
            stun: Arc::new(Semaphore::new(STUN_CONCURRENCY)),
            echo: Arc::new(Semaphore::new(ECHO_CONCURRENCY)),
        }
    }

    /// Probes as another configuration says from now on.
    pub fn reload(&mut self, config: &Config) {
        self.from = (config.node.probe_ipv4, config.node.probe_ipv6);
        self.secrets = config.secrets.clone();
    }

    /// Probes these relays from now on.
    pub fn roster(&mut self, inventory: &Inventory) {
        self.targets = targets(self.from, inventory);
    }

    /// Starts one probe. Its outcome is handed in later; at once, if there is nothing to probe
    /// or no room for another probe.
    pub fn start(&self, relay: RelayId, probe: Probe) {
        let (target, outcomes) = (self.targets.get(&relay).cloned(), self.outcomes.clone());
        let run = match probe.kind {
            ProbeKind::Stun => self.stun(target, probe.timeout),
            ProbeKind::Echo => self.echo(target, probe.timeout),
        };
        tokio::spawn(async move {
            let outcome = run
                .await
                .unwrap_or_else(|_| Outcome::Unsent("the probe was lost".into()));
            tracing::debug!(%relay, kind = ?probe.kind, ?outcome, "probe ended");
            // The control loop is gone only when the daemon ends.
            let _ = outcomes
                .send(Input::Probe {
                    relay,
                    probe,
                    outcome,
                })
                .await;
        });
    }

    /// Gives echo probes under way a moment to free their allocations.
    pub async fn stop(self) {
        let all = self.echo.acquire_many(ECHO_CONCURRENCY as u32);
        let _ = timeout(PROBE_DRAIN, all).await;
    }

    fn stun(&self, target: Option<Target>, patience: Duration) -> oneshot::Receiver<Outcome> {
        let (told, outcome) = oneshot::channel();
        let Some((target, permit)) = target.zip(Arc::clone(&self.stun).try_acquire_owned().ok())
        else {
            let _ = told.send(Outcome::Unsent("too many STUN probes are under way".into()));
            return outcome;
        };
        let credential = self.credential();
        tokio::spawn(async move {
            let outcome = match credential {
                Ok(credential) => stun_round(&target, &credential, patience).await,
                Err(error) => no_credential(error),
            };
            drop(permit);
            let _ = told.send(outcome);
        });
        outcome
    }

    fn credential(&self) -> Result<Credential, IssueError> {
        credentials::issue(
            &self.secrets,
            Some(PROBE_USER),
            PROBE_CREDENTIAL,
            clock::unix(),
        )
    }

    fn echo(&self, target: Option<Target>, patience: Duration) -> oneshot::Receiver<Outcome> {
        let (told, outcome) = oneshot::channel();
        let credential = self.credential();
        let route = target.and_then(|target| target.echo);
        let permit = Arc::clone(&self.echo).try_acquire_owned();
        match (route, credential, permit) {
            (Some(route), Ok(credential), Ok(permit)) => {
                tokio::spawn(async move {
                    echo::run(route, &credential, patience, told).await;
                    drop(permit);
                });
            }
            (None, _, _) => {
                let _ = told.send(Outcome::Unsent("no address to probe".into()));
            }
            (_, Err(error), _) => {
                let _ = told.send(no_credential(error));
            }
            (_, _, Err(_)) => {
                let _ = told.send(Outcome::Unsent("too many echo probes are under way".into()));
            }
        }
        outcome
    }
}

fn no_credential(error: IssueError) -> Outcome {
    Outcome::Unsent(format!("no credential: {error}"))
}

fn targets(
    (ipv4, ipv6): (Ipv4Addr, Option<Ipv6Addr>),
    inventory: &Inventory,
) -> BTreeMap<RelayId, Target> {
    let target = |relay: &RelayEntry| {
        let v4 = relay.ipv4.map(|to| (IpAddr::V4(ipv4), SocketAddr::V4(to)));
        let v6 = ipv6
            .zip(relay.ipv6)
            .map(|(from, to)| (IpAddr::V6(from), SocketAddr::V6(to)));
        let route = |(client, relay)| echo::Route {
            client,
            relay,
            peer: ipv4.into(),
        };
        Target {
            stun: v4.into_iter().chain(v6).collect(),
            echo: v4.or(v6).map(route),
        }
    };
    inventory
        .relays()
        .iter()
        .map(|relay| (relay.id, target(relay)))
        .collect()
}

/// One Binding to every address of the relay at once: all that this machine can send to must
/// answer, since clients are given all.
async fn stun_round(target: &Target, credential: &Credential, patience: Duration) -> Outcome {
    let (first, second) = (target.stun.first(), target.stun.get(1));
    let probe = async |address: Option<&(IpAddr, SocketAddr)>| match address {
        Some((local, relay)) => Some(stun::binding(*local, *relay, credential, patience).await),
        None => None,
    };
    let (first, second) = tokio::join!(probe(first), probe(second));
    let outcomes = first.into_iter().chain(second);
    outcomes
        .reduce(both)
        .unwrap_or_else(|| Outcome::Unsent("no address to probe".into()))
}

/// What two addresses together say of their relay: nothing is known from one that could not be
/// probed, one that fails is a failure, and the slower of two that answer counts.
fn both(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Outcome::Unsent(_), other) | (other, Outcome::Unsent(_)) => other,
        (Outcome::Ok { rtt: first }, Outcome::Ok { rtt: second }) => Outcome::Ok {
            rtt: first.max(second),
        },
        (Outcome::Ok { .. }, failed) | (failed, _) => failed,
    }
}

#[cfg(test)]
mod tests {
    use credentials::Secret;
    use stun_types::attribute::XorMappedAddress;
    use stun_types::message::{Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec};
    use tokio::net::UdpSocket;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    pub(super) fn credential() -> Credential {
        let secret = Secret::new(b"a secret of some length".to_vec()).expect("long enough");
        let ring = SecretRing::new(secret, Vec::new()).expect("short enough");
        credentials::issue(&ring, Some(PROBE_USER), PROBE_CREDENTIAL, clock::unix())
            .expect("issued")
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

    #[tokio::test]
    async fn every_address_of_a_relay_must_answer() {
        let (v4, v6) = (relay("127.0.0.1").await, relay("::1").await);
        let closed = {
            let socket = UdpSocket::bind("[::1]:0").await.expect("socket");
            (v6.0, socket.local_addr().expect("address"))
        };
        let round = async |stun: &[(IpAddr, SocketAddr)]| {
            stun_round(
                &Target {
                    stun: stun.to_vec(),
                    echo: None,
                },
                &credential(),
                PATIENCE,
            )
            .await
        };
        assert!(matches!(round(&[v4]).await, Outcome::Ok { .. }));
        assert!(matches!(round(&[v6]).await, Outcome::Ok { .. }));
        assert!(matches!(round(&[v4, v6]).await, Outcome::Ok { .. }));
        assert!(matches!(round(&[v4, closed]).await, Outcome::Refused));
    }

    #[tokio::test]
    async fn an_address_that_nothing_can_be_sent_to_says_nothing_about_the_others() {
        let v4 = relay("127.0.0.1").await;
        let closed = {
            let socket = UdpSocket::bind("[::1]:0").await.expect("socket");
            (
                "::1".parse().expect("address"),
                socket.local_addr().expect("address"),
            )
        };
        let unsent: (IpAddr, SocketAddr) = ("192.0.2.77".parse().expect("address"), v4.1);
        let round = async |stun: Vec<(IpAddr, SocketAddr)>| {
            stun_round(&Target { stun, echo: None }, &credential(), PATIENCE).await
        };
        for stun in [vec![v4, unsent], vec![unsent, v4]] {
            let outcome = round(stun).await;
            assert!(matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
        }
        for stun in [vec![closed, unsent], vec![unsent, closed]] {
            let outcome = round(stun).await;
            assert!(matches!(outcome, Outcome::Refused), "{outcome:?}");
        }
        for stun in [vec![unsent, unsent], vec![]] {
            let outcome = round(stun).await;
            assert!(matches!(outcome, Outcome::Unsent(_)), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn what_this_machine_cannot_send_is_not_held_against_the_relay() {
        let (_, to) = relay("127.0.0.1").await;
        let elsewhere: IpAddr = "192.0.2.77".parse().expect("address");
        let outcome = stun::binding(elsewhere, to, &credential(), PATIENCE).await;
        assert!(matches!(outcome, Outcome::Unsent(_)), "{outcome:?}");
    }
}
