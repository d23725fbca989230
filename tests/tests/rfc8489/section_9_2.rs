//! Section 9.2: the long-term credential mechanism.

use cluster_tests::client::{Client, allocate, refresh, request};
use cluster_tests::rules;
use cluster_tests::rules::{Case, Rule};
use cluster_tests::stun::{attribute, kind, long_term_key};
use cluster_tests::subject::{Login, REALM, unix_time};

pub(crate) const RULES: &[Rule] = rules![
    an_unsigned_request_is_401_with_realm_and_nonce,
    a_challenge_is_not_signed_and_names_no_user,
    a_signed_request_without_username_realm_or_nonce_is_400,
    a_wrong_password_is_401,
    an_unknown_user_is_401,
    an_expired_credential_is_401,
    another_realm_is_401,
    a_changed_request_is_401,
    an_invalid_nonce_is_438_with_a_good_one,
    every_method_judges_the_nonce,
    a_nonce_serves_many_requests,
];

/// The challenge: with it the client can ask again.
fn an_unsigned_request_is_401_with_realm_and_nonce(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let reply = client.exchange(&allocate().unsigned()).must_be(401);
    client.learn(&reply);
    assert_eq!(client.realm, REALM.as_bytes());
    assert!(!client.nonce.is_empty() && client.nonce.len() <= 128);
    client.allocate();
}

/// It is for whoever sends to the server; nobody is known yet.
fn a_challenge_is_not_signed_and_names_no_user(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    let bytes = client.identify(allocate()).unsigned();
    let reply = client.exchange(&bytes).must_be(401);
    for number in [attribute::USERNAME, attribute::MESSAGE_INTEGRITY] {
        assert_eq!(reply.message().get(number), None);
    }
}

/// All three belong to a signed request.
fn a_signed_request_without_username_realm_or_nonce_is_400(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    client.challenged();
    let key = client.key();
    let all = [
        (
            attribute::USERNAME,
            client.login.username.clone().into_bytes(),
        ),
        (attribute::REALM, client.realm.clone()),
        (attribute::NONCE, client.nonce.clone()),
    ];
    for (missing, _) in &all {
        let present = all.iter().filter(|(number, _)| number != missing);
        let builder = present.fold(allocate(), |builder, (number, value)| {
            builder.attribute(*number, value)
        });
        client.exchange(&builder.signed(&key)).must_be(400);
    }
}

fn refused(case: &Case<'_>, login: Login) {
    let mut client = Client::new(case.subject);
    client.login = login;
    let reply = client.ask(allocate()).must_be(401);
    client.learn(&reply);
    client.ask(allocate()).must_be(401);
}

/// The integrity does not fit.
fn a_wrong_password_is_401(case: &Case<'_>) {
    let mut login = Login::of("ann");
    login.password.insert(3, 'x');
    refused(case, login);
}

/// Nobody has such a name; the answer does not say which of both was wrong.
fn an_unknown_user_is_401(case: &Case<'_>) {
    let username = "ann".to_owned();
    let password = Login::of("ann").password;
    refused(case, Login { username, password });
}

/// A time-limited credential is no credential after its time.
fn an_expired_credential_is_401(case: &Case<'_>) {
    refused(case, Login::expiring("ann", unix_time() - 1));
}

/// The key is made with the realm of the server.
fn another_realm_is_401(case: &Case<'_>) {
    case.coturn_deviates(
        "answered 437",
        "a realm other than its own is a mismatch to it",
    );
    let mut client = Client::new(case.subject);
    client.challenged();
    client.realm = b"elsewhere.example".to_vec();
    client.ask(allocate()).must_be(401);
}

/// Not one bit of what is signed may change.
fn a_changed_request_is_401(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    // In the value of REQUESTED-TRANSPORT, where it would mean TCP, and in the integrity.
    let length = client.sign(allocate()).len();
    for byte in [24, length - 1] {
        let mut bytes = client.sign(allocate());
        bytes[byte] ^= 0x11 ^ 0x06;
        client.exchange(&bytes).must_be(401);
    }
    client.allocate();
}

/// What the server did not issue, or not lately. The answer brings one that is good.
fn an_invalid_nonce_is_438_with_a_good_one(case: &Case<'_>) {
    let mut client = Client::new(case.subject);
    client.challenged();
    let length = client.nonce.len();
    let nonces = [
        vec![b'x'; length],
        vec![b'x'; length - 1],
        b"x".to_vec(),
        vec![b'x'; 128],
    ];
    for nonce in nonces {
        client.nonce = nonce;
        let reply = client.ask(allocate()).must_be(438);
        for number in [attribute::USERNAME, attribute::MESSAGE_INTEGRITY] {
            assert_eq!(reply.message().get(number), None);
        }
        client.learn(&reply);
    }
    assert_eq!(client.realm, REALM.as_bytes());
    client.allocate();
}

/// An allocation does not change that.
fn every_method_judges_the_nonce(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    let good = std::mem::replace(&mut client.nonce, b"forged".to_vec());
    for method in [kind::REFRESH, kind::CREATE_PERMISSION, kind::CHANNEL_BIND] {
        client.ask(request(method)).must_be(438);
    }
    client.ask(refresh(0)).must_be(438);
    client.nonce = good;
    client.ask(refresh(600)).must_succeed();
}

/// Until the server says that it is stale.
fn a_nonce_serves_many_requests(case: &Case<'_>) {
    let (mut client, _) = Client::allocated(case.subject);
    for _ in 0..20 {
        client.ask(refresh(600)).must_succeed();
    }
    assert_eq!(
        client.key(),
        long_term_key(&client.login.username, REALM, &client.login.password)
    );
}
