//! Which transports reports name: what each configuration makes of it, and the real relay's reloads.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::net::UdpSocket;
use std::path::Path;

use liveness::{Key, KeyId, KeyRing, Report, Transports};
use support::certificates::{DAY, ecdsa, pair, write_secret};
use support::{REPORT_KEY, Setup, wait_for};
use turnd::config::Config;
use turnd::transports::served;

const UDP: Transports = Transports::UDP;
const TCP: Transports = UDP.with(Transports::TCP);
const DTLS: Transports = UDP.with(Transports::DTLS);
const EVERY: Transports = TCP.with(Transports::TLS).with(Transports::DTLS);
const TLS: &str = "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n";

fn transports(directory: &Path, relay: &str, sections: &str) -> Transports {
    let path = directory.join("turnd.toml");
    let text = format!(
        "[relay]\nid = \"test-1\"\nrealm = \"turn.example\"\nzone = \"turn.example\"\n\
         relay_ports = \"61000-65535\"\nworkers = 1\n{relay}\n\
         [secrets]\ncurrent = \"north-north-north-north\"\n{sections}"
    );
    std::fs::write(&path, text).expect("written");
    served(&Config::read(&path).unwrap_or_else(|errors| panic!("{relay}: {errors}")))
}

#[test]
fn they_are_those_that_clients_find_at_the_addresses_they_are_sent_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let pair = ecdsa();
    std::fs::write(directory.path().join("chain.pem"), pair.chain).expect("written");
    write_secret(&directory.path().join("key.pem"), &pair.key);
    // UDP listeners, TCP listeners, addresses relayed from, addresses outside; then what is served
    // with a certificate and without one.
    let (one, two) = ("\"198.51.100.10:3478\"", "\"[2001:db8::1]:3478\"");
    let (v4, v6) = ("\"198.51.100.10\"", "\"2001:db8::1\"");
    let both = format!("{one}, {two}");
    let at = |port: u16| one.replace("3478", &port.to_string());
    let (any, any6) = ("\"0.0.0.0:3478\"", "\"[::]:3478\"");
    let cases = [
        (one, "", v4, "", DTLS, UDP),
        (one, one, v4, "", EVERY, TCP),
        // At the port that URLs name, be it another than that of UDP.
        (one, &at(443), v4, "", EVERY, TCP),
        (one, &format!("{one}, {}", at(443)), v4, "", EVERY, TCP),
        (one, &at(8443), v4, "", EVERY, TCP),
        // Not where URLs say over both families, but where the addresses do.
        (
            &both,
            &format!("{}, {both}", at(8443)),
            &format!("{v4}, {v6}"),
            "",
            EVERY,
            TCP,
        ),
        // Another address of the machine.
        (one, "\"198.51.100.11:3478\"", v4, "", DTLS, UDP),
        // Wildcards cover what is advertised, of their family alone.
        (any, any, v4, "", EVERY, TCP),
        (one, any, v4, "", EVERY, TCP),
        (any, one, v4, "", EVERY, TCP),
        (one, any6, v4, "", DTLS, UDP),
        ("\"198.51.100.11:3478\"", any, v4, "", EVERY, TCP),
        // Behind a 1:1 NAT.
        (one, one, v4, "\"203.0.113.5\"", EVERY, TCP),
        (any, one, v4, "\"203.0.113.5\"", EVERY, TCP),
        // Over both families or not at all: the names hand out both.
        (&both, one, &format!("{v4}, {v6}"), "", DTLS, UDP),
        (&both, &both, &format!("{v4}, {v6}"), "", EVERY, TCP),
        (&both, &format!("{any}, {any6}"), v4, "", EVERY, TCP),
        (
            &both,
            &format!("{}, {}", at(443), two.replace("3478", "443")),
            &format!("{v4}, {v6}"),
            "",
            EVERY,
            TCP,
        ),
        // There is no one port of both families.
        (
            &both,
            &format!("{one}, {}", two.replace("3478", "5349")),
            &format!("{v4}, {v6}"),
            "",
            DTLS,
            UDP,
        ),
    ];
    for (udp, tcp, relayed, external, certified, plain) in cases {
        let relay = format!(
            "listen = [{udp}]\nlisten_tcp = [{tcp}]\nrelay_addresses = [{relayed}]\n\
             external_addresses = [{external}]"
        );
        assert_eq!(
            transports(directory.path(), &relay, TLS),
            certified,
            "{relay}"
        );
        assert_eq!(transports(directory.path(), &relay, ""), plain, "{relay}");
    }
}

#[test]
fn a_key_that_dtls_cannot_sign_with_serves_tls_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let day = i64::try_from(DAY.as_secs()).expect("a number");
    let pair = pair(&rcgen::PKCS_ED25519, -day, day * 30);
    std::fs::write(directory.path().join("chain.pem"), pair.chain).expect("written");
    write_secret(&directory.path().join("key.pem"), &pair.key);
    let relay = "listen = [\"198.51.100.10:3478\"]\nlisten_tcp = [\"198.51.100.10:3478\"]\n\
                 relay_addresses = [\"198.51.100.10\"]";
    let told = transports(directory.path(), relay, TLS);
    assert_eq!(told, EVERY.without(Transports::DTLS));
}

#[test]
fn a_reload_changes_them() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let timeout = Some(std::time::Duration::from_secs(10));
    socket.set_read_timeout(timeout).expect("a timeout");
    let mut keys = KeyRing::new();
    let key = Key::new(REPORT_KEY.as_bytes().to_vec()).expect("long enough");
    keys.insert(KeyId(7), key).expect("there is room");
    let told = |what: &str, wanted: Transports| {
        wait_for(what, || {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).expect("a report");
            let (report, _) = Report::decode(&buffer[..length], &keys).expect("it is signed");
            (report.transports == wanted).then_some(())
        });
    };
    let pair = ecdsa();
    let to = socket.local_addr().expect("an address");
    let liveness = format!("[liveness]\nkey_id = 7\nkey = \"{REPORT_KEY}\"\ndnsd = [\"{to}\"]\n");
    let mut setup = Setup {
        files: vec![
            ("chain.pem".to_owned(), pair.chain),
            ("key.pem".to_owned(), pair.key),
        ],
        sections: liveness.clone(),
        ..Setup::default()
    };
    let (ip, plain) = (setup.ip, setup.relay.clone());
    let relay = setup.start();
    told("UDP alone", UDP);
    for (what, streams, certificate, wanted) in [
        ("a listener is added", true, false, TCP),
        ("so is a certificate", true, true, EVERY),
        ("the listener goes", false, true, DTLS),
        ("and comes back", true, true, EVERY),
        ("the certificate goes", true, false, TCP),
    ] {
        let listener = format!("\nlisten_tcp = [\"{ip}:3478\"]");
        setup.relay = plain.clone() + if streams { &listener } else { "" };
        setup.sections = if certificate { TLS } else { "" }.to_owned() + &liveness;
        relay.reload(&setup.text());
        told(what, wanted);
    }
}
