//! Dances with a server that is a few lines of the test.

use super::*;
use crate::load::login::Login;

const PEER: &str = "127.0.0.1:9";
const RELAYED: &str = "127.0.0.1:50000";
const REALM: &str = "example.org";

fn dance(via: Via) -> Dance {
    let login = Login::Password {
        username: "ann".to_owned(),
        password: "secret".to_owned(),
    };
    let server = "127.0.0.1:3478".parse().unwrap();
    let plan = Plan {
        via,
        ..Plan::new(server, Some(login))
    };
    Dance::new(&plan, 5, PEER.parse().unwrap())
}

fn raw() -> Dance {
    let plan = Plan::new("127.0.0.1:3478".parse().unwrap(), None);
    Dance::new(&plan, 5, PEER.parse().unwrap())
}

/// The answer to the dance's request: a success with a relayed address, or an error with a challenge.
fn answer(dance: &Dance, code: u16) -> Vec<u8> {
    let request = Message::parse(dance.request()).unwrap();
    let class = if code == 0 {
        kind::SUCCESS
    } else {
        kind::ERROR
    };
    let builder = Builder::new(request.kind() + class, request.transaction());
    if code == 0 {
        let relayed = RELAYED.parse().unwrap();
        let value = crate::stun::xor_address(relayed, request.transaction());
        return builder
            .attribute(attribute::XOR_RELAYED_ADDRESS, &value)
            .unsigned();
    }
    let error = [0, 0, (code / 100) as u8, (code % 100) as u8];
    builder
        .attribute(attribute::ERROR_CODE, &error)
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, b"nonce")
        .unsigned()
}

/// Lets the server answer so, and returns what that means.
fn hear(dance: &mut Dance, code: u16) -> Progress {
    let answer = answer(dance, code);
    dance.answer(&answer).unwrap()
}

fn signed(dance: &Dance) -> bool {
    let key = long_term_key("ann", REALM, "secret");
    Message::parse(dance.request()).unwrap().signed_by(&key)
}

#[test]
fn a_challenge_is_met_and_a_stale_nonce_as_well() {
    let mut dance = dance(Via::Channel);
    assert!(dance.begin(Step::Allocate));
    assert!(!signed(&dance));
    assert_eq!(hear(&mut dance, 401), Progress::Again);
    assert!(signed(&dance));
    assert_eq!(hear(&mut dance, 438), Progress::Again);
    assert_eq!(hear(&mut dance, 0), Progress::Done);
    assert_eq!(dance.relayed, Some(RELAYED.parse().unwrap()));
}

#[test]
fn what_answers_nothing_is_passed_over_and_so_is_a_second_answer() {
    let mut dance = dance(Via::Channel);
    dance.begin(Step::Allocate);
    let success = answer(&dance, 0);
    let mut other = success.clone();
    other[19] ^= 1;
    assert_eq!(dance.answer(&other).unwrap(), Progress::Foreign);
    assert_eq!(dance.answer(b"?").unwrap(), Progress::Foreign);
    assert_eq!(dance.answer(&success).unwrap(), Progress::Done);
    assert_eq!(dance.answer(&success).unwrap(), Progress::Foreign);
}

#[test]
fn a_port_in_use_is_left_and_a_refusal_ends_it() {
    let mut dance = dance(Via::Channel);
    dance.begin(Step::Allocate);
    hear(&mut dance, 401);
    let before = dance.request().to_vec();
    assert_eq!(hear(&mut dance, 437), Progress::Elsewhere);
    assert!(signed(&dance) && dance.request() != before);
    let refused = answer(&dance, 486);
    let refused = dance.answer(&refused);
    assert!(matches!(refused, Err(LoadError::Refused { code: 486, .. })));
    let wrong_password = answer(&dance, 401);
    let refused = dance.answer(&wrong_password);
    assert!(matches!(refused, Err(LoadError::Refused { code: 401, .. })));
}

#[test]
fn the_peer_is_admitted_by_what_payloads_travel_by() {
    for (via, kind) in [
        (Via::Channel, kind::CHANNEL_BIND),
        (Via::Indication, kind::CREATE_PERMISSION),
    ] {
        let mut dance = dance(via);
        dance.begin(Step::Admit);
        let request = Message::parse(dance.request()).unwrap();
        assert_eq!(request.kind(), kind);
        let peer = request.address(attribute::XOR_PEER_ADDRESS);
        assert_eq!(peer, Some(PEER.parse().unwrap()));
        assert_eq!(hear(&mut dance, 0), Progress::Done);
    }
}

#[test]
fn an_allocation_that_is_gone_counts_as_given_back() {
    let mut dance = dance(Via::Channel);
    dance.begin(Step::Close);
    let request = Message::parse(dance.request()).unwrap();
    assert_eq!(request.get(attribute::LIFETIME), Some(&[0; 4][..]));
    assert_eq!(hear(&mut dance, 437), Progress::Done);
}

#[test]
fn a_bare_forwarder_is_asked_once_and_told_once() {
    let mut dance = raw();
    assert!(dance.begin(Step::Allocate));
    assert_eq!(dance.request(), b"FORWARD 127.0.0.1:9");
    assert_eq!(dance.answer(b"HELLO").unwrap(), Progress::Foreign);
    let refused = dance.answer(b"REFUSED full");
    assert!(matches!(refused, Err(LoadError::NotForwarded(_))));
    let elsewhere = dance.answer(b"FORWARDED 192.0.2.1:9");
    assert!(matches!(elsewhere, Err(LoadError::NotLoopback(_))));
    assert_eq!(
        dance.answer(b"FORWARDED 127.0.0.1:50000").unwrap(),
        Progress::Done
    );
    assert_eq!(dance.relayed, Some(RELAYED.parse().unwrap()));
    assert!(!dance.begin(Step::Admit) && dance.request().is_empty());
    assert!(!dance.begin(Step::Close));
    assert_eq!(dance.request(), b"CLOSE");
}
