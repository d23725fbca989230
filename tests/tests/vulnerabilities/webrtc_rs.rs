//! Mistakes of the server in webrtc-rs (crate `turn` 0.17.2), by their number in a review of it.

use std::net::UdpSocket;

use cluster_tests::rogue::{self, Client, Transport};
use cluster_tests::stun::{Builder, attribute, kind, long_term_key};
use cluster_tests::turnd::{REALM, SECRET, Setup, TURN, credential};

use crate::peers::{client, hears, hears_nothing, peer};

/// 2: no peer filter, and no place to put one.
#[test]
fn webrtc_rs_2_no_peer_filter() {
    let mut setup = Setup::loopback("webrtc_rs_2");
    setup.sections.clear();
    let turnd = setup.start();
    let (socket, peer) = peer(&turnd, 7);
    let mut client = client(&turnd, "ann");
    client.allocated(turnd.ip);
    assert_eq!(client.permit(&[peer.ip()]), 403);
    assert_eq!(client.bind(0x4000, peer), 403);
    client.indicate(peer, b"anybody there?");
    client.settle();
    hears_nothing(&socket);
}

/// 3: of several XOR-PEER-ADDRESS attributes only the first counted.
#[test]
fn webrtc_rs_3_every_peer_of_create_permission_counts() {
    let turnd = Setup::loopback("webrtc_rs_3").start();
    let peers = [7, 8, 9].map(|host| peer(&turnd, host));
    let mut client = client(&turnd, "ann");
    client.allocated(turnd.ip);
    let ips = peers.each_ref().map(|(_, address)| address.ip());
    assert_eq!(client.permit(&ips), 0);
    for (socket, address) in &peers {
        client.indicate(*address, b"you as well");
        assert_eq!(hears(socket), b"you as well");
    }
}

/// 4: whoever sent from the right address could use another user's allocation.
#[test]
fn webrtc_rs_4_another_user_gets_441() {
    let turnd = Setup::loopback("webrtc_rs_4").start();
    let (socket, peer) = peer(&turnd, 7);
    let mut client = client(&turnd, "ann");
    client.allocated(turnd.ip);
    client.log_in(credential(SECRET, "bob"));
    assert_eq!(client.permit(&[peer.ip()]), 441);
    assert_eq!(client.bind(0x4000, peer), 441);
    assert_eq!(client.refresh(600), 441);
    assert_eq!(client.refresh(0), 441);
    client.indicate(peer, b"as bob");
    client.settle();
    hears_nothing(&socket);
    client.log_in(credential(SECRET, "ann"));
    // Another credential of the same user is another user name, too.
    assert!(matches!(client.refresh(600), 0 | 441));
}

/// 5: wrong credentials got 400; errors were not signed; the client chose the realm.
#[test]
fn webrtc_rs_5_wrong_credentials_get_401_and_errors_are_signed() {
    let turnd = Setup::loopback("webrtc_rs_5").start();
    let mut client = client(&turnd, "ann");
    let (username, password) = credential(SECRET, "ann");
    client.log_in((username.clone(), "not the password".to_owned()));
    assert_eq!(client.allocate(turnd.ip).code(), 401);
    client.log_in(("unknown".to_owned(), password.clone()));
    assert_eq!(client.allocate(turnd.ip).code(), 401);
    client.log_in(credential("another-secret-another-secret-1", "ann"));
    assert_eq!(client.allocate(turnd.ip).code(), 401);

    // Everything right, but for a realm of the client's own.
    client.log_in((username.clone(), password.clone()));
    let foreign = rogue::allocate(client.build(kind::ALLOCATE), turnd.ip)
        .attribute(attribute::USERNAME, username.as_bytes())
        .attribute(attribute::REALM, b"elsewhere")
        .attribute(attribute::NONCE, &client.nonce)
        .signed(&long_term_key(&username, "elsewhere", &password));
    assert_eq!(client.transact(&foreign).code(), 401);

    // An error after authentication: signed under the key of the request.
    let refused = client.request(kind::ALLOCATE, |b| {
        b.attribute(attribute::REQUESTED_TRANSPORT, &[99, 0, 0, 0])
    });
    assert_eq!(refused.code(), 442);
    assert!(
        refused
            .message()
            .signed_by(&long_term_key(&username, REALM, &password))
    );
}

/// 6: no answer at all where there is no allocation, so that clients hung after a restart.
#[test]
fn webrtc_rs_6_no_allocation_gets_437() {
    let turnd = Setup::loopback("webrtc_rs_6").start();
    let (_, peer) = peer(&turnd, 7);
    let mut client = client(&turnd, "ann");
    assert_eq!(client.refresh(600), 437);
    assert_eq!(client.permit(&[peer.ip()]), 437);
    assert_eq!(client.bind(0x4000, peer), 437);
}

/// 7: a client whose Allocate reply was lost got 437 for its repetition.
#[test]
fn webrtc_rs_7_allocate_is_repeated_with_the_same_answer() {
    let turnd = Setup::loopback("webrtc_rs_7").start();
    let mut client = client(&turnd, "ann");
    assert_eq!(client.refresh(600), 437);
    let builder = rogue::allocate(client.build(kind::ALLOCATE), turnd.ip);
    let request = client.sign(builder);
    let first = client.transact(&request);
    assert_eq!(first.code(), 0);
    for _ in 0..3 {
        assert_eq!(client.transact(&request).bytes(), first.bytes());
    }
    turnd.metric_becomes("sessions", |sessions| sessions == 1);
    // Not a repetition but a second allocation.
    assert_eq!(client.allocate(turnd.ip).code(), 437);
}

/// 8: an hour became ten minutes, no time at all an error, seconds were granted.
#[test]
fn webrtc_rs_8_lifetimes() {
    let turnd = Setup::loopback("webrtc_rs_8").start();
    for (asked, granted) in [
        (0, 600),
        (1, 600),
        (600, 600),
        (1800, 1800),
        (3600, 3600),
        (u32::MAX, 3600),
    ] {
        let mut client = client(&turnd, "ann");
        let ip = turnd.ip;
        let lifetime: u32 = asked;
        let reply = client.request(kind::ALLOCATE, |b| {
            rogue::allocate(b, ip).attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
        });
        assert_eq!(reply.code(), 0, "{asked}");
        let given = reply
            .message()
            .get(attribute::LIFETIME)
            .expect("a lifetime");
        assert_eq!(given, u32::to_be_bytes(granted), "{asked}");
    }
}

/// 9: a reserved port was promised and never given.
#[test]
fn webrtc_rs_9_a_reservation_is_honoured_once() {
    let turnd = Setup::loopback("webrtc_rs_9").start();
    let ip = turnd.ip;
    let ask = |client: &mut Client, number: u16, value: &[u8]| {
        client.request(kind::ALLOCATE, |b| {
            rogue::allocate(b, ip).attribute(number, value)
        })
    };
    // One credential throughout: what is reserved is for whoever reserved it.
    let login = credential(SECRET, "ann");
    let open = || {
        let client = Client::open(Transport::Udp, turnd.turn(), Some(ip), login.clone());
        client.expect("a socket")
    };
    let reply = ask(&mut open(), attribute::EVEN_PORT, &[0x80]);
    assert_eq!(reply.code(), 0);
    let message = reply.message();
    let even = message.address(attribute::XOR_RELAYED_ADDRESS);
    let even = even.expect("an address").port();
    let token = message.get(attribute::RESERVATION_TOKEN).expect("a token");
    let reply = ask(&mut open(), attribute::RESERVATION_TOKEN, token);
    assert_eq!(reply.code(), 0);
    let odd = reply.message().address(attribute::XOR_RELAYED_ADDRESS);
    assert_eq!(odd.expect("an address").port(), even + 1);
    for guess in [token, &[0; 8], &[0xff; 8]] {
        let reply = ask(&mut open(), attribute::RESERVATION_TOKEN, guess);
        assert_eq!(reply.code(), 508, "{guess:02x?}");
    }
}

/// 10: much of the protocol was refused or not known.
#[test]
fn webrtc_rs_10_what_it_did_not_know() {
    let turnd = Setup::loopback("webrtc_rs_10").start();
    let mut client = client(&turnd, "ann");
    let ip = turnd.ip;
    let challenge = rogue::allocate(client.build(kind::ALLOCATE), ip).unsigned();
    let challenge = client.transact(&challenge);
    assert!(
        challenge
            .message()
            .get(attribute::PASSWORD_ALGORITHMS)
            .is_some()
    );
    let reply = client.request(kind::ALLOCATE, |b| {
        rogue::allocate(b, ip).attribute(attribute::DONT_FRAGMENT, &[])
    });
    assert_eq!(reply.code(), 0);
    // There is no IPv6 here: said, and not held against the rest of the request.
    let mut other = self::client(&turnd, "ann");
    let reply = other.request(kind::ALLOCATE, |b| {
        rogue::allocate(b, ip).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
    });
    assert_eq!(reply.code(), 0);
    assert!(reply.message().get(attribute::ADDRESS_ERROR_CODE).is_some());
}

/// 11: the end of one allocation could close the listener.
#[test]
fn webrtc_rs_11_the_end_of_one_leaves_the_others() {
    let turnd = Setup::loopback("webrtc_rs_11").start();
    let (socket, peer) = peer(&turnd, 7);
    let mut stays = client(&turnd, "ann");
    stays.allocated(turnd.ip);
    assert_eq!(stays.permit(&[peer.ip()]), 0);
    for _ in 0..50 {
        let mut goes = client(&turnd, "bob");
        goes.allocated(turnd.ip);
        assert_eq!(goes.refresh(0), 0);
    }
    stays.indicate(peer, b"still here");
    assert_eq!(hears(&socket), b"still here");
    client(&turnd, "eve").allocated(turnd.ip);
}

/// 12: user names of the form `expiry:user` were refused. Those without a user are good as well.
#[test]
fn webrtc_rs_12_time_limited_user_names() {
    use base64::Engine as _;
    let turnd = Setup::loopback("webrtc_rs_12").start();
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    let code = |username: String| {
        let password = cluster_tests::stun::rest_password_bytes(SECRET.as_bytes(), &username);
        let password = base64::engine::general_purpose::STANDARD.encode(password);
        let mut client = client(&turnd, "");
        client.log_in((username, password));
        client.allocate(turnd.ip).code()
    };
    assert_eq!(code(format!("{}:ann", now + 60)), 0);
    assert_eq!(code(format!("{}", now + 60)), 0);
    assert_eq!(code(format!("{}:ann", now - 120)), 401);
    assert_eq!(code("ann".to_owned()), 401);
    assert_eq!(code("18446744073709551616:ann".to_owned()), 401);
}

/// 13: one failed receive ended the listener for good. Refusals come back for every client that is
/// gone before its answer.
#[test]
fn webrtc_rs_13_refused_answers_do_not_end_the_listener() {
    let mut setup = Setup::loopback("webrtc_rs_13");
    setup.relay = "workers = 1".to_owned();
    let turnd = setup.start();
    for index in 0..1000_u32 {
        let socket = UdpSocket::bind((turnd.ip, 0)).expect("a socket");
        let mut id = *b"gone\0\0\0\0\0\0\0\0";
        id[4..8].copy_from_slice(&index.to_be_bytes());
        let request = Builder::new(kind::BINDING, id).unsigned();
        socket.send_to(&request, turnd.turn()).expect("sent");
    }
    client(&turnd, "ann").allocated(turnd.ip);
    assert_eq!(turnd.turn().port(), TURN);
}
