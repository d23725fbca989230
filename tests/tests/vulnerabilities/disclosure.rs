//! What answers must not give away: memory that was somebody else's, and what comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster_tests::stun::attribute;
use cluster_tests::turnd::{SECRET, Setup, credential};

use crate::peers::{client, hears, peer};

/// The padding behind every attribute of a message.
fn padding(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut padding) = (&bytes[20..], Vec::new());
    while let [_, _, high, low, ..] = *rest {
        let length = 4 + usize::from(u16::from_be_bytes([high, low]));
        let padded = length.next_multiple_of(4);
        padding.extend_from_slice(&rest[length..padded]);
        rest = &rest[padded..];
    }
    assert!(rest.is_empty());
    padding
}

/// Padding carried what the buffer held before (CVE-2020-4067, coturn/coturn#1984).
#[test]
fn cve_2020_4067_padding_is_zero() {
    let mut setup = Setup::loopback("cve_2020_4067");
    "workers = 1".clone_into(&mut setup.relay);
    let text = setup
        .text()
        .replace("turn.example.org\"\nzone", "turn.example\"\nzone");
    assert!(text.contains("realm = \"turn.example\""));
    let turnd = setup.start();
    let (socket, address) = peer(&turnd, 7);
    let mut client = client(&turnd, "ann");
    let relayed = client.allocated(turnd.ip);
    assert_eq!(client.permit(&[address.ip()]), 0);
    let mut padded = 0;
    for length in 1..64 {
        // Something that fills the buffers, both ways.
        client.indicate(address, &[0xee; 1200]);
        assert_eq!(hears(&socket).len(), 1200);
        socket.send_to(&[0xdd; 1200], relayed).expect("sent");
        client.receive(Duration::from_secs(5)).expect("it arrives");
        socket.send_to(&vec![0xaa; length], relayed).expect("sent");
        let got = client.receive(Duration::from_secs(5)).expect("it arrives");
        let padding = padding(&got);
        padded += padding.len();
        assert!(
            padding.iter().all(|byte| *byte == 0),
            "{length}: {padding:?}"
        );
    }
    assert!(padded > 0);
    // Error replies, with SOFTWARE and reasons of all lengths.
    for code in [client.bind(1, address), client.permit(&[])] {
        assert_eq!(code, 400);
    }
    let reply = client.allocate(turnd.ip);
    assert_eq!(reply.code(), 437);
    assert!(padding(reply.bytes()).iter().all(|byte| *byte == 0));
}

/// Ports and nonces came from a generator that could be followed (CVE-2025-69217).
#[test]
fn cve_2025_69217_ports_and_nonces_are_not_to_be_foretold() {
    const COUNT: u16 = 1000;
    let turnd = Setup::loopback("cve_2025_69217").start();
    let mut ports = Vec::new();
    let (mut nonces, mut clients) = (BTreeSet::new(), BTreeSet::new());
    for index in 0..COUNT {
        let mut client = client(&turnd, &format!("user-{}", index / 50));
        ports.push(client.allocated(turnd.ip).port());
        nonces.insert(client.nonce.clone());
        clients.insert(client.wire.local().expect("it is bound"));
        assert_eq!(client.refresh(0), 0);
    }
    let count = f64::from(COUNT);
    // Each client address has its own; some came again, perhaps within the same second.
    assert!(nonces.len() >= clients.len());

    // 4536 ports in 16 bins: chi-squared with 15 degrees of freedom is above 60 once in 10^6.
    let mut bins = [0_u16; 16];
    for port in &ports {
        bins[usize::from((port - 61_000) / 284)] += 1;
    }
    let expected = count / 16.0;
    let spread = bins.map(|n| (f64::from(n) - expected).powi(2) / expected);
    let spread: f64 = spread.iter().sum();
    assert!(spread < 60.0, "chi-squared {spread:.1}: {bins:?}");

    // Neighbours in time are no neighbours in number: of 999 steps some 2 are this short.
    let ports: Vec<f64> = ports.into_iter().map(f64::from).collect();
    let steps: Vec<f64> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let short = steps.iter().filter(|step| step.abs() <= 4.0).count();
    assert!(short < 15, "{short} short steps");
    let up = steps.iter().filter(|step| **step > 0.0).count();
    assert!((400..600).contains(&up), "{up} of {COUNT} steps go up");
    let mean = ports.iter().sum::<f64>() / count;
    let product = |pair: &[f64]| (pair[0] - mean) * (pair[1] - mean);
    let variance: f64 = ports.iter().map(|port| (port - mean).powi(2)).sum();
    let serial = ports.windows(2).map(product).sum::<f64>() / variance;
    assert!(serial.abs() < 0.15, "serial correlation {serial:.3}");

    // The same step again and again would be a sequence.
    let mut different = steps;
    different.sort_by(f64::total_cmp);
    different.dedup();
    let different = different.len();
    assert!(different > 800, "{different} different steps");
    println!(
        "measured cve_2025_69217: {COUNT} ports, chi-squared {spread:.1} (15 degrees), serial \
         correlation {serial:.3}, {short} short and {different} different steps; {} nonces",
        nonces.len()
    );
}

/// User names as labels of metrics grew without bound (coturn/coturn#666).
#[test]
fn coturn_issue_666_metrics_name_no_user() {
    let turnd = Setup::loopback("coturn_issue_666").start();
    let lines = || turnd.get("/metrics").expect("it answers").1.lines().count();
    let before = lines();
    for index in 0..200 {
        let mut client = client(&turnd, &format!("label-{index}"));
        client.allocated(turnd.ip);
        assert_eq!(client.refresh(0), 0);
    }
    turnd.metric_becomes("allocations_deleted_total", |deleted| deleted == 200);
    assert_eq!(lines(), before);
    assert!(
        !turnd
            .get("/metrics")
            .expect("it answers")
            .1
            .contains("label-")
    );
}

/// Answers to strangers: no name of the software, no reason, nothing a scanner could use.
#[test]
fn coturn_issue_1588_strangers_learn_nothing() {
    let turnd = Setup::loopback("coturn_issue_1588").start();
    let mut client = client(&turnd, "ann");
    let builder = client.build(cluster_tests::stun::kind::ALLOCATE);
    let reply = client.transact(&cluster_tests::rogue::allocate(builder, turnd.ip).unsigned());
    assert_eq!(reply.code(), 401);
    let message = reply.message();
    assert_eq!(
        message.get(attribute::ERROR_CODE).expect("a code").len(),
        4,
        "a reason phrase"
    );
    for unwanted in [0x8022, 0x0001, 0x8023, 0x802b, 0x802c] {
        assert_eq!(message.get(unwanted), None, "{unwanted:#06x}");
    }
    let binding = client.build(cluster_tests::stun::kind::BINDING).unsigned();
    let reply = client.transact(&binding);
    assert_eq!(
        reply.bytes().len(),
        20 + 12,
        "XOR-MAPPED-ADDRESS and no more"
    );
    client.log_in(credential(SECRET, "ann"));
}
