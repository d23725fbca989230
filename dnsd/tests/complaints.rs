//! Complaints of clients, as they come: labels that name a relay to avoid, asked with `dig` on behalf
//! of many networks. Relays are coturn with a heartbeat beside it.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, ZONE, listed};
use common::relay::Heartbeat;
use common::wait_for;
use credentials::label::{Label, LabelKeys, Lane, Tag, TenantTag};
use credentials::{Secret, SecretRing, UnixTime};

/// Asks for a label of `tenant` that complains about `relay`, for a client in 10.`tenant`.`network`.
fn complain(server: &Server, relay: IpAddr, tenant: u8, network: u8) {
    let secret = Secret::new(SECRET.as_bytes().to_vec()).expect("secret");
    let keys = LabelKeys::derive(&SecretRing::new(secret, Vec::new()).expect("ring"));
    let label = Label {
        draw: u32::from(network),
        region: None,
        avoid: [Some(Tag::of_addr(relay)), None],
        tenant: Some(TenantTag(tenant.into())),
        transport: None,
        expires: UnixTime(dnsd::clock::unix().0 + 600),
    };
    let name = format!("{}.a.{ZONE}", keys.seal(&label, Lane::A));
    let subnet = format!("+subnet=11.{tenant}.{network}.0/24");
    let answer = server.dig(&["+short", &subnet, &name, "A"]);
    assert!(!answer.trim().is_empty(), "{name}");
}

#[test]
fn many_cast_doubt_and_one_that_floods_does_not() {
    let test = "many_cast_doubt_and_one_that_floods_does_not";
    if !(common::has(test, "dig") && common::has(test, "turnserver")) {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let start = |n: u8| Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 91, n), None, SECRET, &[]);
    let coturns: Vec<_> = (1..=4).map(start).collect();
    let places = [
        ("fra-1", "eu-a", "alpha"),
        ("ams-1", "eu-b", "beta"),
        ("par-1", "eu-c", "gamma"),
        ("lon-1", "eu-d", "delta"),
    ];
    let relays = places
        .iter()
        .zip(&coturns)
        .map(|((id, zone, vendor), coturn)| Listed {
            address: coturn.address,
            ..listed(id, zone, vendor, 1)
        });
    let server = Server::new(240, relays.collect()).start();
    let reports = SocketAddr::from((server.ip, server.reports));
    let beat = |listed: &Listed| Heartbeat::start(listed.id, listed.address, reports);
    let _hearts: Vec<_> = server.relays.iter().map(beat).collect();
    server
        .relays
        .iter()
        .for_each(|listed| server.wait_up(listed.id));

    let [bad, flooded] = [0, 1].map(|relay: usize| server.relays[relay].address.ip());
    for network in 0..48 {
        complain(&server, flooded, 9, network);
    }
    for tenant in 1..=4 {
        for network in 0..5 {
            complain(&server, bad, tenant, network);
        }
    }
    wait_for("doubt", Duration::from_secs(20), || {
        (server.verdict("fra-1") == "suspect").then_some(())
    });
    let known = server.json(&["explain", "fra-1"]);
    assert_eq!(known["reason"], "complaints", "{known:#}");
    assert_eq!(known["finding"], "up", "its vote is another matter");
    assert_eq!(known["complaints"]["tenants"], 4);
    let other = server.json(&["explain", "ams-1"]);
    assert_eq!(
        (&other["state"], &other["complaints"]["networks_apart"]),
        (&"up".into(), &0.into())
    );
    let noted = server.metric("turnfleet_dnsd_complaints_total{outcome=\"noted\"}");
    assert_eq!(noted, Some(48.0 + 20.0));
    // It comes last, whoever asks; the flooded one still comes first for some.
    let mut first = Vec::new();
    for network in 0..24 {
        let subnet = format!("+subnet=11.77.{network}.0/24");
        let answer = server.dig(&["+short", &subnet, &format!("a.{ZONE}"), "A"]);
        first.extend(answer.lines().next().map(str::to_owned));
    }
    assert_eq!(first.len(), 24);
    assert!(!first.contains(&bad.to_string()), "{first:?}");
    assert!(first.contains(&flooded.to_string()), "{first:?}");
}
