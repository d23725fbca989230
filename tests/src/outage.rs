//! The course of every scenario in which one relay fails and clients move to another.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dig::dig;
use crate::process::{Cluster, Credential};
use crate::timing::measure;
use crate::uclient;
use local_cluster::event::RelayFacts;

/// Tools the course needs.
pub const TOOLS: [&str; 3] = ["dig", "turnutils_uclient", "turnutils_peer"];
/// Messages of one client session.
const MESSAGES: u32 = 25;
/// How long a failed relay must stay out of every answer to count as gone.
const HOLD: Duration = Duration::from_secs(1);

/// Lets a client use the relay that lane a names, fails that relay by `harm`, and follows the
/// client to the next one. Within `limit` of the harm, no name server may name the relay.
/// Returns the failed relay.
///
/// # Panics
/// When anything is not as clients were promised.
pub fn course<'a>(
    cluster: &'a Cluster,
    label: &str,
    limit: Duration,
    harm: impl FnOnce(&RelayFacts),
) -> &'a RelayFacts {
    let credential = cluster.credential("");
    let peer = cluster.ready.peer;
    let _peer = uclient::peer(peer);
    let (failing, other) = lanes(cluster, &credential);
    assert_ne!(failing.vendor, other.vendor, "both lanes on one vendor");
    session(failing, peer, &credential);
    let failed = format!("&failed={}", failing.address);
    avoids(cluster, &cluster.credential(&failed), failing);

    let start = Instant::now();
    harm(failing);
    let ip = IpAddr::V4(*failing.address.ip());
    let names = cluster.names(&credential);
    measure(cluster, label, &names, start, (limit, HOLD), |reply| {
        !reply.addresses.is_empty() && !reply.addresses.contains(&ip)
    });
    for server in cluster.servers() {
        for name in &names {
            let answer = dig(server, name);
            assert_eq!(answer.status, "NOERROR", "{name}");
            assert!(!answer.addresses.is_empty(), "{name}");
            assert!(!answer.addresses.contains(&ip), "{name}: {answer:?}");
        }
    }

    let (next, other) = lanes(cluster, &credential);
    assert_ne!(next.vendor, other.vendor, "both lanes on one vendor");
    session(next, peer, &credential);
    session(other, peer, &credential);
    failing
}

/// The word of an app that a relay failed its client: that client's new names both do without it.
fn avoids(cluster: &Cluster, credential: &Credential, failed: &RelayFacts) {
    let ip = IpAddr::V4(*failed.address.ip());
    for server in cluster.servers() {
        let answers = credential
            .lanes
            .each_ref()
            .map(|name| dig(server, name).addresses);
        assert!(
            answers.iter().all(|addresses| !addresses.is_empty()),
            "{answers:?}"
        );
        assert!(
            answers.iter().all(|addresses| !addresses.contains(&ip)),
            "{answers:?}"
        );
    }
}

/// The relays that the credential's lanes name first, on which all name servers agree.
fn lanes<'a>(cluster: &'a Cluster, credential: &Credential) -> (&'a RelayFacts, &'a RelayFacts) {
    let first = |name: &str| {
        let answers: Vec<_> = cluster.servers().map(|server| dig(server, name)).collect();
        let first = answers.first().expect("a name server");
        assert!(
            answers
                .iter()
                .all(|answer| answer.addresses == first.addresses),
            "name servers with the same view answer differently: {answers:?}"
        );
        cluster.relay_at(*first.addresses.first().expect("an address"))
    };
    (first(&credential.lanes[0]), first(&credential.lanes[1]))
}

fn session(relay: &RelayFacts, peer: std::net::SocketAddrV4, credential: &Credential) {
    let counted = uclient::run(relay.address, peer, credential, MESSAGES);
    assert_eq!(
        (counted.sent, counted.received),
        (MESSAGES, MESSAGES),
        "through {}",
        relay.id
    );
}
