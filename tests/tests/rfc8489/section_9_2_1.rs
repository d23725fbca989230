//! Section 9.2.1 and the parts of 9.2.4 that go with it: better algorithms, and nobody in between
//! who takes them away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_tests::client::{Client, Reply, allocate, refresh};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{Builder, attribute, long_term_key_sha256};

pub(crate) const RULES: &[Rule] = rules![
    a_challenge_offers_sha256_and_md5,
    the_nonce_says_that_algorithms_were_offered,
    a_stale_nonce_brings_the_offer_again,
    with_sha256_everything_is_signed_with_sha256,
    a_client_that_knows_nothing_of_it_is_served_with_md5,
    the_key_may_be_md5_and_the_integrity_sha256,
    an_integrity_of_the_wrong_key_is_401,
    an_offer_that_was_changed_is_400,
    a_choice_without_the_offer_is_400,
    the_offer_without_a_choice_is_400,
    a_choice_that_was_not_offered_is_400,
    of_both_integrities_each_serves_alone,
];

/// PASSWORD-ALGORITHM's value for MD5 (RFC 8489 section 18.5.1).
const MD5: [u8; 4] = [0, 1, 0, 0];
/// And for SHA-256.
const SHA256: [u8; 4] = [0, 2, 0, 0];
/// What this coturn does instead.
const UNKNOWN: &str = "it knows nothing of password algorithms";

/// A client that was made an offer, and the offer.
fn offered(case: &Case<'_>) -> (Client, Vec<u8>) {
    let mut client = Client::new(case.subject);
    let reply = client.exchange(&allocate().unsigned()).must_be(401);
    client.learn(&reply);
    (client, offer(&reply))
}

fn offer(reply: &Reply) -> Vec<u8> {
    let offer = reply.message().get(attribute::PASSWORD_ALGORITHMS);
    offer.expect("no PASSWORD-ALGORITHMS").to_vec()
}

fn key_sha256(client: &Client) -> [u8; 32] {
    let realm = String::from_utf8_lossy(&client.realm);
    long_term_key_sha256(&client.login.username, &realm, &client.login.password)
}

/// A request with the offer and a choice, either of which may be left out.
fn choose(
    client: &Client,
    builder: Builder,
    offer: Option<&[u8]>,
    choice: Option<&[u8]>,
) -> Builder {
    let mut builder = client.identify(builder);
    if let Some(offer) = offer {
        builder = builder.attribute(attribute::PASSWORD_ALGORITHMS, offer);
    }
    match choice {
        Some(choice) => builder.attribute(attribute::PASSWORD_ALGORITHM, choice),
        None => builder,
    }
}

/// Both, each without parameters.
fn a_challenge_offers_sha256_and_md5(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (_, offer) = offered(case);
    let algorithms: Vec<_> = offer.chunks(4).collect();
    assert!(algorithms.contains(&&MD5[..]) && algorithms.contains(&&SHA256[..]));
    assert_eq!(algorithms.len(), 2);
}

/// A cookie, and bits for what the server can do: the first one means password algorithms. The
/// nonce is signed by the client, so nobody can take that away.
fn the_nonce_says_that_algorithms_were_offered(case: &Case<'_>) {
    case.coturn_deviates("no nonce cookie", UNKNOWN);
    let mut client = Client::new(case.subject);
    client.challenged();
    let nonce = &client.nonce;
    assert!(nonce.starts_with(b"obMatJos2"), "no nonce cookie");
    let bits = STANDARD.decode(&nonce[9..13]).unwrap();
    assert_eq!(bits[0] & 0x80, 0x80);
}

/// 438 is a challenge like 401.
fn a_stale_nonce_brings_the_offer_again(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, first) = offered(case);
    client.nonce = b"forged".to_vec();
    let reply = client.ask(allocate()).must_be(438);
    assert_eq!(offer(&reply), first);
}

/// Key, request and answer.
fn with_sha256_everything_is_signed_with_sha256(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let key = key_sha256(&client);
    let sign = |client: &Client, builder| {
        let chosen = choose(client, builder, Some(&offer), Some(&SHA256));
        chosen.integrity_sha256(&key).unsigned()
    };
    for builder in [allocate(), refresh(600)] {
        let bytes = sign(&client, builder);
        let reply = client.exchange(&bytes).must_succeed();
        assert!(reply.message().signed_sha256_by(&key), "not signed so");
    }
    let bytes = sign(&client, allocate());
    let reply = client.exchange(&bytes).must_be(437);
    assert!(reply.message().signed_sha256_by(&key), "not signed so");
}

/// Most clients.
fn a_client_that_knows_nothing_of_it_is_served_with_md5(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let reply = client.ask(allocate()).must_succeed();
    assert!(reply.message().signed_by(&client.key()));
}

/// One is about the password, the other about the message.
fn the_key_may_be_md5_and_the_integrity_sha256(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let chosen = choose(&client, allocate(), Some(&offer), Some(&MD5));
    let bytes = chosen.integrity_sha256(&client.key()).unsigned();
    let reply = client.exchange(&bytes).must_succeed();
    assert!(reply.message().signed_sha256_by(&client.key()));
}

/// Whatever was chosen is what counts.
fn an_integrity_of_the_wrong_key_is_401(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let chosen = |client: &Client, choice| choose(client, allocate(), Some(&offer), Some(choice));
    let bytes = chosen(&client, &SHA256).integrity_sha256(&client.key());
    client.exchange(&bytes.unsigned()).must_be(401);
    let bytes = chosen(&client, &MD5).integrity_sha256(&key_sha256(&client));
    client.exchange(&bytes.unsigned()).must_be(401);
}

/// Somebody took SHA-256 away, or added what nobody offered.
fn an_offer_that_was_changed_is_400(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let mut more = offer.clone();
    more.extend([0, 3, 0, 0]);
    let mut swapped = offer;
    swapped.rotate_left(4);
    for changed in [&MD5[..], &more, &swapped, b""] {
        let chosen = choose(&client, allocate(), Some(changed), Some(&MD5));
        let bytes = chosen.signed(&client.key());
        client.exchange(&bytes).must_be(400);
    }
}

/// Without it the server cannot see what the client saw.
fn a_choice_without_the_offer_is_400(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, _) = offered(case);
    let chosen = choose(&client, allocate(), None, Some(&MD5));
    let bytes = chosen.signed(&client.key());
    client.exchange(&bytes).must_be(400);
}

/// Nor which one it took.
fn the_offer_without_a_choice_is_400(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let chosen = choose(&client, allocate(), Some(&offer), None);
    let bytes = chosen.signed(&client.key());
    client.exchange(&bytes).must_be(400);
}

/// It has to be one of them.
fn a_choice_that_was_not_offered_is_400(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    for choice in [&[0, 3, 0, 0][..], &[0, 0, 0, 0], &[0, 2]] {
        let chosen = choose(&client, allocate(), Some(&offer), Some(choice));
        let bytes = chosen.signed(&client.key());
        client.exchange(&bytes).must_be(400);
    }
}

/// A client that does not know the server yet may send both; the stronger one is answered.
fn of_both_integrities_each_serves_alone(case: &Case<'_>) {
    case.coturn_deviates("no PASSWORD-ALGORITHMS", UNKNOWN);
    let (mut client, offer) = offered(case);
    let key = client.key();
    let chosen = choose(&client, allocate(), Some(&offer), Some(&MD5));
    let bytes = chosen.integrity(&key).integrity_sha256(&key).unsigned();
    let reply = client.exchange(&bytes).must_succeed();
    let message = reply.message();
    assert!(message.signed_by(&key) || message.signed_sha256_by(&key));
}
