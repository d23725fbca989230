//! Mistakes that coturn mended, by the change or the report.

use std::time::{Duration, Instant};

use cluster_tests::rogue::{self, Client, Transport};
use cluster_tests::stun::{Builder, Message, attribute, kind};
use cluster_tests::turnd::{SECRET, Setup, credential};

use crate::peers::{client, hears, hears_nothing, peer};

/// Nothing that arrives takes longer.
const SOON: Duration = Duration::from_secs(5);

/// Existing permissions and channels outlived a change of the access list.
#[test]
fn coturn_acl_change_ends_existing_permissions_and_channels() {
    let setup = Setup::loopback("coturn_acl_change");
    let turnd = setup.start();
    let ((denied, bad), (stays, good)) = (peer(&turnd, 7), peer(&turnd, 8));
    let (mut indicates, mut binds) = (client(&turnd, "ann"), client(&turnd, "bob"));
    let relayed = [indicates.allocated(turnd.ip), binds.allocated(turnd.ip)];
    assert_eq!(indicates.permit(&[bad.ip(), good.ip()]), 0);
    assert_eq!(binds.bind(0x4001, bad), 0);
    assert_eq!(binds.bind(0x4002, good), 0);
    let send = |indicates: &mut Client, binds: &mut Client| {
        for address in [bad, good] {
            indicates.indicate(address, b"indicated");
        }
        indicates.settle();
        for channel in [0x4001, 0x4002] {
            binds.channel_data(channel, b"by channel");
        }
        binds.settle();
    };
    send(&mut indicates, &mut binds);
    assert_eq!([hears(&denied), hears(&stays)], [b"indicated"; 2]);
    assert_eq!([hears(&denied), hears(&stays)], [b"by channel"; 2]);

    let deny = format!("[peers]\ndeny = [\"{}/32\"]\n", bad.ip());
    turnd.reload(&setup.text().replace("[peers]\n", &deny));
    send(&mut indicates, &mut binds);
    assert_eq!(hears(&stays), b"indicated");
    assert_eq!(hears(&stays), b"by channel");
    hears_nothing(&denied);
    // Nor the other way.
    for (client, relayed) in [&mut indicates, &mut binds].into_iter().zip(relayed) {
        denied
            .send_to(b"from the denied one", relayed)
            .expect("sent");
        stays.send_to(b"from the other", relayed).expect("sent");
        let got = client.receive(SOON).expect("it arrives");
        assert!(got.windows(14).any(|w| w == b"from the other"), "{got:?}");
    }
    assert_eq!(indicates.permit(&[bad.ip()]), 403);
    assert_eq!(binds.bind(0x4001, bad), 403);
}

/// EVEN-PORT without reservation lost the odd port (4adbd82e): the range ran dry.
#[test]
fn coturn_4adbd82e_even_port_leaks_no_odd_port() {
    let mut setup = Setup::loopback("coturn_4adbd82e");
    setup.ports = "61000-61063".to_owned();
    setup.relay = "workers = 2".to_owned();
    let turnd = setup.start();
    let ip = turnd.ip;
    for round in 0..300 {
        let mut client = client(&turnd, "ann");
        let reply = client.request(kind::ALLOCATE, |b| {
            rogue::allocate(b, ip).attribute(0x0018, &[0])
        });
        assert_eq!(reply.code(), 0, "round {round}");
        let relayed = reply.message().address(attribute::XOR_RELAYED_ADDRESS);
        assert_eq!(relayed.expect("an address").port() % 2, 0);
        assert_eq!(client.refresh(0), 0);
    }
}

/// Attributes after MESSAGE-INTEGRITY were obeyed (ab762f33): anybody on the way could add some.
#[test]
fn coturn_ab762f33_attributes_after_integrity_are_ignored() {
    let turnd = Setup::loopback("coturn_ab762f33").start();
    let ((signed, good), (appended, bad)) = (peer(&turnd, 7), peer(&turnd, 8));
    let mut client = client(&turnd, "ann");
    client.allocated(turnd.ip);

    let request = client.build(kind::CREATE_PERMISSION).peer(good);
    let request = client.sign(request);
    let id = Message::parse(&request).expect("a request").transaction();
    let more = Builder::new(kind::CREATE_PERMISSION, id)
        .peer(bad)
        .unsigned();
    assert_eq!(client.transact(&appended_to(&request, &more)).code(), 0);
    client.indicate(bad, b"appended");
    client.indicate(good, b"signed");
    assert_eq!(hears(&signed), b"signed");
    hears_nothing(&appended);

    let request = client.build(kind::REFRESH);
    let request = client.sign(request);
    let more = Builder::new(kind::REFRESH, id).attribute(attribute::LIFETIME, &[0; 4]);
    let reply = client.transact(&appended_to(&request, &more.unsigned()));
    assert_eq!(
        reply.message().get(attribute::LIFETIME),
        Some(&600_u32.to_be_bytes()[..])
    );
    // Not even understood: one that must be is not complained about.
    let request = client.build(kind::REFRESH);
    let request = client.sign(request);
    let more = Builder::new(kind::REFRESH, id).attribute(0x7ff0, b"what?");
    assert_eq!(
        client
            .transact(&appended_to(&request, &more.unsigned()))
            .code(),
        0
    );
    client.indicate(good, b"it lives");
    assert_eq!(hears(&signed), b"it lives");
}

/// `message` with the attributes of `more` behind it, and a length that covers both.
fn appended_to(message: &[u8], more: &[u8]) -> Vec<u8> {
    let mut bytes = [message, &more[20..]].concat();
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// HTTP spoken to the TURN port ran through a parser that could be crashed (CVE-2020-6061, -6062).
#[test]
fn cve_2020_6061_http_on_the_turn_port_gets_nothing() {
    let mut turnd = Setup::loopback("cve_2020_6061").start();
    let requests: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nusername=",
        b"POST /logon HTTP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"HEAD * HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ];
    for transport in Transport::ALL {
        for request in requests {
            let login = credential(SECRET, "ann");
            let server = turnd.turn();
            let mut client = Client::open(transport, server, None, login).expect("it connects");
            client.wire.send(request).expect("sent");
            if client.wire.is_lossy() {
                // The first thing that comes is the answer to something else.
                let question = client.build(kind::BINDING).unsigned();
                client.wire.send(&question).expect("sent");
                let got = client.receive(SOON).expect("an answer");
                let got = Message::parse(&got).expect("STUN");
                assert_eq!(got.kind(), kind::BINDING + kind::SUCCESS);
            } else {
                // What looks like ChannelData that is not whole yet may wait for the rest.
                let deadline = Instant::now() + Duration::from_millis(300);
                let got = client.wire.receive(deadline);
                assert!(matches!(got, Ok(None) | Err(_)), "{got:?}");
            }
        }
    }
    assert!(turnd.runs());
}

/// User name and realm as a format string, as SQL, with control characters (GHSA-4g7c-p5wg-j4hp,
/// GHSA-v8hj-2xx7-xmp5): bytes like others, and escaped in logs.
#[test]
fn ghsa_4g7c_names_are_never_formats_queries_or_log_lines() {
    let mut setup = Setup::loopback("ghsa_4g7c");
    setup.log = "level = \"trace\"\n".to_owned();
    let mut turnd = setup.start();
    let names = [
        "%s%s%s%n%n%x",
        "{}{:?}{0}",
        "'; DROP TABLE turnusers_lt; --",
        "a\0b",
        "\u{1b}[2J\u{1b}[31m",
        "x\r\n2026-01-01T00:00:00Z ERROR forged line",
        "\u{202e}evil",
        "\"}],\"forged\":[{\"a\":\"",
        "\u{7f}\u{80}\u{9b}31m",
    ];
    let mut allocated = 0;
    for name in names {
        let mut client = client(&turnd, name);
        let login = credential(SECRET, name);
        client.log_in(login.clone());
        // Some of them are no user's name at all.
        allocated += usize::from(match client.allocate(turnd.ip).code() {
            0 => true,
            401 => false,
            code => panic!("{code} to {name:?}"),
        });
        // The same with a wrong password, and as a realm.
        client.log_in((login.0, "wrong".to_owned()));
        assert_eq!(client.refresh(600), 401);
        client.realm = name.as_bytes().to_vec();
        let request = client.build(kind::REFRESH);
        let request = client.sign(request);
        assert_eq!(client.transact(&request).code(), 401);
    }
    assert!(allocated >= 3, "{allocated}");
    // Not text at all.
    let mut client = client(&turnd, "ann");
    assert_eq!(client.refresh(600), 437);
    let nonce = client.nonce.clone();
    for name in [&[0xff, 0xfe, 0x00, 0x80][..], &[b'%'; 509], &[]] {
        let builder = client.build(kind::ALLOCATE);
        let request = rogue::allocate(builder, turnd.ip)
            .attribute(attribute::USERNAME, name)
            .attribute(attribute::REALM, name)
            .attribute(attribute::NONCE, &nonce)
            .signed(&[0; 16]);
        assert!(matches!(client.transact(&request).code(), 400 | 401));
    }
    assert!(turnd.runs());
    for line in turnd.log().lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(
            line.starts_with("20") && !line.contains(" ERROR forged"),
            "{line:?}"
        );
    }
}

/// Sizes that an attribute claims (CVE-2026-43994: the nonce length within an ACCESS-TOKEN).
#[test]
fn cve_2026_43994_lengths_are_never_believed() {
    let mut turnd = Setup::loopback("cve_2026_43994").start();
    let mut client = client(&turnd, "ann");
    assert_eq!(client.refresh(600), 437);
    for length in [0, 1, 2, 3, 4, 255, 1000] {
        for filler in [0, 0xff] {
            let token = vec![filler; length];
            // ACCESS-TOKEN and THIRD-PARTY-AUTHORIZATION (RFC 7635), signed and not.
            for kind_of in [0x001b, 0x802e] {
                let builder = client.build(kind::ALLOCATE).attribute(kind_of, &token);
                let builder = rogue::allocate(builder, turnd.ip);
                let request = builder.unsigned();
                assert_eq!(client.transact(&request).code(), 401);
            }
        }
    }
    // Lengths that reach past the message: no answer, no harm.
    let mut broken = client
        .build(kind::ALLOCATE)
        .attribute(0x001b, &[1; 8])
        .unsigned();
    broken[22..24].copy_from_slice(&[0xff, 0xff]);
    client.wire.send(&broken).expect("sent");
    client.settle();
    assert!(turnd.runs());
}

/// Quotas were escaped by coming back from another port (3c5b2615): they are the user's.
#[test]
fn coturn_3c5b2615_quota_holds_through_reconnects_and_new_credentials() {
    let mut setup = Setup::loopback("coturn_3c5b2615");
    setup.sections += "[limits]\nsessions_per_user = 3\n";
    let turnd = setup.start();
    let mut held: Vec<_> = (0..3).map(|_| client(&turnd, "ann")).collect();
    for client in &mut held {
        client.allocated(turnd.ip);
    }
    // From other ports, with other credentials of the same user.
    for _ in 0..10 {
        assert_eq!(client(&turnd, "ann").allocate(turnd.ip).code(), 486);
    }
    client(&turnd, "bob").allocated(turnd.ip);
    // Gone without a word: still charged. Given back: free again, once.
    drop(held.pop());
    assert_eq!(client(&turnd, "ann").allocate(turnd.ip).code(), 486);
    assert_eq!(held.pop().expect("one is left").refresh(0), 0);
    let mut next = client(&turnd, "ann");
    next.allocated(turnd.ip);
    assert_eq!(client(&turnd, "ann").allocate(turnd.ip).code(), 486);
}

/// Telnet, web administration and databases that listened beside the relay (CVE-2018-4056, -4059,
/// GHSA-v8hj-2xx7-xmp5): nothing listens that the configuration does not name.
#[test]
fn cve_2018_4059_nothing_else_listens() {
    use cluster_tests::turnd::{ADMIN, REST, TURN};
    let turnd = Setup::loopback("cve_2018_4059").start();
    let sockets = |table: &str| -> Vec<u16> {
        let text = std::fs::read_to_string(format!("/proc/{}/net/{table}", turnd.pid()));
        let text = text.expect("procfs");
        let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", turnd.pid()))
            .expect("procfs")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|link| link.to_string_lossy().into_owned())
            .collect();
        let of_turnd = text.lines().skip(1).filter_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let inode = format!("socket:[{}]", columns.get(9)?);
            let listens = table.starts_with("udp") || columns.get(3) == Some(&"0A");
            let (_, port) = columns.get(1)?.split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            (listens && inodes.contains(&inode)).then_some(port)
        });
        let mut ports: Vec<_> = of_turnd.collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    assert_eq!(sockets("udp"), [TURN]);
    assert_eq!(sockets("tcp"), [TURN, REST, ADMIN]);
    assert!(sockets("tcp6").is_empty() && sockets("udp6").is_empty());
}
