//! The attacks that RFC 8656 section 21 itself describes.

use cluster_tests::rogue;
use cluster_tests::stun::{attribute, kind};
use cluster_tests::turnd::{SECRET, Setup, credential};

use crate::peers::{client, hears, hears_nothing, peer};

/// Section 21.1.3 and 21.1.4: refreshes and permissions of somebody who has no credential.
#[test]
fn rfc8656_21_1_3_faked_refreshes_and_permissions() {
    let turnd = Setup::loopback("rfc8656_21_1_3").start();
    let (socket, peer) = peer(&turnd, 7);
    let mut client = client(&turnd, "ann");
    client.allocated(turnd.ip);
    let good = client.username.clone();
    // From the very address of the client, with a nonce that is good.
    client.log_in((good, "a guess".to_owned()));
    for lifetime in [0_u32, 600] {
        let request = client.build(kind::REFRESH);
        let request = request.attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
        let request = client.sign(request);
        assert_eq!(client.transact(&request).code(), 401);
    }
    let request = client.build(kind::CREATE_PERMISSION).peer(peer);
    let request = client.sign(request);
    assert_eq!(client.transact(&request).code(), 401);
    let request = rogue::bind(client.build(kind::CHANNEL_BIND), 0x4000, peer);
    let request = client.sign(request);
    assert_eq!(client.transact(&request).code(), 401);
    // And with none at all.
    let request = client
        .build(kind::REFRESH)
        .attribute(attribute::LIFETIME, &[0; 4]);
    assert_eq!(client.transact(&request.unsigned()).code(), 401);
    client.indicate(peer, b"without permission");
    client.settle();
    hears_nothing(&socket);
    turnd.metric_becomes("sessions", |sessions| sessions == 1);
}

/// Section 21.1.5: data of a peer without a permission, and of another than the one permitted.
#[test]
fn rfc8656_21_1_5_faked_data() {
    let turnd = Setup::loopback("rfc8656_21_1_5").start();
    let ((good, permitted), (bad, _)) = (peer(&turnd, 7), peer(&turnd, 8));
    let mut client = client(&turnd, "ann");
    let relayed = client.allocated(turnd.ip);
    bad.send_to(b"before", relayed).expect("sent");
    good.send_to(b"before", relayed).expect("sent");
    turnd.metric_becomes("dropped_total{reason=\"peer_no_permission\"}", |n| n == 2);
    assert_eq!(client.permit(&[permitted.ip()]), 0);
    bad.send_to(b"after", relayed).expect("sent");
    good.send_to(b"after", relayed).expect("sent");
    let got = client
        .receive(std::time::Duration::from_secs(5))
        .expect("it arrives");
    let got = cluster_tests::stun::Message::parse(&got).expect("an indication");
    assert_eq!(got.address(attribute::XOR_PEER_ADDRESS), Some(permitted));
    turnd.metric_becomes("dropped_total{reason=\"peer_no_permission\"}", |n| n == 3);
}

/// A whole authentic request, overheard and sent again from another address.
#[test]
fn rfc8656_21_1_2_a_nonce_is_good_for_one_address() {
    let turnd = Setup::loopback("rfc8656_21_1_2").start();
    let mut client = client(&turnd, "ann");
    assert_eq!(client.refresh(600), 437);
    let builder = rogue::allocate(client.build(kind::ALLOCATE), turnd.ip);
    let request = client.sign(builder);
    let mut other = self::client(&turnd, "eve");
    assert_eq!(other.transact(&request).code(), 438);
    assert_eq!(client.transact(&request).code(), 0);
    turnd.metric_becomes("sessions", |sessions| sessions == 1);
}

/// Section 21.2.2: a relayed address at a well-known port would pass for a server.
#[test]
fn rfc8656_21_2_2_no_well_known_port_is_relayed() {
    let turnd = Setup::loopback("rfc8656_21_2_2").start();
    for _ in 0..20 {
        let mut client = client(&turnd, "ann");
        let relayed = client.allocated(turnd.ip);
        assert!((61_000..=65_535).contains(&relayed.port()), "{relayed}");
    }
}

/// Section 21.1.1 speaks of guessing passwords; a user name of somebody else is none.
#[test]
fn rfc8656_21_1_1_a_secret_of_another_fleet_opens_nothing() {
    let turnd = Setup::loopback("rfc8656_21_1_1").start();
    let mut client = client(&turnd, "ann");
    client.log_in(credential(&SECRET.to_uppercase(), "ann"));
    assert_eq!(client.allocate(turnd.ip).code(), 401);
    client.log_in(credential(SECRET, "ann"));
    client.allocated(turnd.ip);
    let (socket, address) = peer(&turnd, 7);
    assert_eq!(client.bind(0x4000, address), 0);
    client.channel_data(0x4000, b"mine");
    assert_eq!(hears(&socket), b"mine");
}
