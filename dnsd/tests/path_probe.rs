//! Probes by TCP and TLS: through coturn, and against what accepts connections and is no relay.

mod common;

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::probing::{SECRET, credential, probe_by, route, runtime};
use common::{Running, free_port, wait_for};
use dnsd::probe::echo::Found;
use dnsd::probe::tls::Trust;
use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_hours(24);
const NAME: &str = "a.turn.example";

/// A self-signed certificate for [`NAME`] in files, and in DER.
struct Made {
    chain: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

/// Makes a certificate that ends `days` from now.
fn certificate(dir: &Path, days: i64) -> Made {
    let mut parameters = CertificateParams::new([NAME.to_owned()]).expect("a name");
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    parameters.not_before = now - DAY * 100;
    parameters.not_after = now + time::Duration::days(days);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let made = Made {
        chain: dir.join(format!("chain{days}.pem")),
        key: dir.join(format!("key{days}.pem")),
        der: certificate.der().clone(),
    };
    std::fs::write(&made.chain, certificate.pem()).expect("written");
    std::fs::write(&made.key, key.serialize_pem()).expect("written");
    made
}

fn trust(made: Option<&Made>, name: Option<&str>) -> Trust {
    Trust {
        roots: made.map(|made| made.der.clone()).into_iter().collect(),
        name: name.map(|name| ServerName::try_from(name.to_owned()).expect("a name")),
    }
}

fn probe(relay: SocketAddr, transport: Transport, trust: &Trust) -> Found {
    let route = route(relay, transport, trust);
    runtime().block_on(probe_by(route, &credential(SECRET)))
}

fn passes(relay: SocketAddr, transport: Transport, trust: &Trust) -> Found {
    let found = probe(relay, transport, trust);
    assert!(
        matches!(found.outcome, Outcome::Ok { .. }),
        "{transport:?} {relay}: {found:?}"
    );
    found
}

fn fails(found: &Found, why: &str) {
    assert!(
        matches!(&found.outcome, Outcome::Failed(told) if told.contains(why)),
        "{found:?} is not {why:?}"
    );
}

/// coturn with TLS, and where it serves that.
fn tls_relay(dir: &Path, ip: Ipv4Addr, made: &Made) -> (Coturn, SocketAddr) {
    let tls = free_port(ip);
    let shown = |path: &Path| path.display().to_string();
    let more = [
        "--tls-listening-port".to_owned(),
        tls.to_string(),
        "--cert".to_owned(),
        shown(&made.chain),
        "--pkey".to_owned(),
        shown(&made.key),
    ];
    let more: Vec<_> = more.iter().map(String::as_str).collect();
    let coturn = Coturn::start_with_tls(dir, ip, None, SECRET, &more);
    (coturn, (ip, tls).into())
}

#[test]
fn an_echo_passes_by_tcp_and_tls_and_tells_what_is_left_of_the_certificate() {
    if !common::has("an_echo_passes_by_tcp_and_tls", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let made = certificate(dir.path(), 20);
    let (relay, tls) = tls_relay(dir.path(), Ipv4Addr::new(127, 0, 1, 41), &made);
    let found = passes(relay.address, Transport::Tcp, &Trust::default());
    assert_eq!(found.certificate_left, None);
    for trust in [
        Trust::default(),
        trust(None, Some(NAME)),
        trust(Some(&made), Some(NAME)),
    ] {
        let left = passes(tls, Transport::Tls, &trust).certificate_left;
        let left = left.expect("a certificate");
        assert!((DAY * 19..=DAY * 20).contains(&left), "{left:?}");
    }
    // What clients would refuse, and how much is left of it all the same.
    let other = certificate(dir.path(), 30);
    for (trust, why) in [
        (trust(None, Some("b.turn.example")), "certificate"),
        (trust(Some(&other), Some(NAME)), "certificate"),
    ] {
        let found = probe(tls, Transport::Tls, &trust);
        fails(&found, why);
        assert!(found.certificate_left.is_some_and(|left| left > DAY * 19));
    }
    let wrong = runtime().block_on(probe_by(
        route(tls, Transport::Tls, &Trust::default()),
        &credential("another secret, as long"),
    ));
    fails(&wrong, "401");
}

#[test]
fn an_expired_certificate_is_told_as_one_with_nothing_left() {
    if !common::has("an_expired_certificate", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let made = certificate(dir.path(), -1);
    let (_relay, tls) = tls_relay(dir.path(), Ipv4Addr::new(127, 0, 1, 42), &made);
    for trust in [Trust::default(), trust(Some(&made), Some(NAME))] {
        let found = passes(tls, Transport::Tls, &trust);
        assert_eq!(found.certificate_left, Some(Duration::ZERO));
    }
}

#[test]
fn what_accepts_connections_and_is_no_relay_is_caught() {
    if !common::has("what_accepts_connections", "openssl") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let made = certificate(dir.path(), 20);
    let ip = Ipv4Addr::new(127, 0, 1, 43);
    let server = |more: &[&str]| {
        let address = SocketAddr::from((ip, free_port(ip)));
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-quiet", "-accept", &address.to_string()])
            .arg("-cert")
            .arg(&made.chain)
            .arg("-key")
            .arg(&made.key)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running::start(&mut command);
        wait_for("openssl", Duration::from_secs(10), || {
            std::net::TcpStream::connect(address).ok().map(drop)
        });
        (running, address)
    };
    let (running, address) = server(&[]);
    let found = probe(address, Transport::Tls, &Trust::default());
    let failed = matches!(found.outcome, Outcome::Timeout | Outcome::Failed(_));
    assert!(failed && found.certificate_left.is_some(), "{found:?}");
    // Spoken to in the clear, it hangs up.
    let found = probe(address, Transport::Tcp, &Trust::default());
    assert!(matches!(found.outcome, Outcome::Failed(_)), "{found:?}");

    let pid = Pid::from_raw(running.0.id().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("stopped");
    let begun = Instant::now();
    let found = probe(address, Transport::Tls, &Trust::default());
    assert!(matches!(found.outcome, Outcome::Timeout), "{found:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    kill(pid, Signal::SIGCONT).expect("continued");
    drop(running);
    let found = probe(address, Transport::Tls, &Trust::default());
    assert!(matches!(found.outcome, Outcome::Refused), "{found:?}");
}

/// Answers one connection after another with `answer`.
fn answering(ip: Ipv4Addr, answer: fn(&mut dyn std::io::Write)) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("listener");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 1500];
            let _ = stream.read(&mut buffer);
            answer(&mut stream);
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
        }
    });
    address
}

#[test]
fn strange_answers_are_failures_and_cost_little() {
    let ip = Ipv4Addr::new(127, 0, 1, 44);
    let http = answering(ip, |stream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    fails(
        &probe(http, Transport::Tcp, &Trust::default()),
        "no TURN server",
    );
    let found = probe(http, Transport::Tls, &Trust::default());
    fails(&found, "TLS");
    assert_eq!(found.certificate_left, None);
    // Indications without end: more bytes than a probe takes, and then no more.
    let endless = answering(ip, |stream| {
        let mut indication = [0; 1020];
        indication[..8].copy_from_slice(&[0x00, 0x11, 0x03, 0xe8, 0x21, 0x12, 0xa4, 0x42]);
        while stream.write_all(&indication).is_ok() {}
    });
    fails(&probe(endless, Transport::Tcp, &Trust::default()), "closed");
    let silent = answering(ip, |_| {});
    let found = probe(silent, Transport::Tcp, &Trust::default());
    assert!(matches!(found.outcome, Outcome::Timeout), "{found:?}");
    let nobody = SocketAddr::from((ip, free_port(ip)));
    let found = probe(nobody, Transport::Tcp, &Trust::default());
    assert!(matches!(found.outcome, Outcome::Refused), "{found:?}");
    // What this machine cannot send from is nobody's fault.
    let mut elsewhere = route(nobody, Transport::Tcp, &Trust::default());
    elsewhere.way.client = IpAddr::from([192, 0, 2, 77]);
    let found = runtime().block_on(probe_by(elsewhere, &credential(SECRET)));
    assert!(matches!(found.outcome, Outcome::Unsent(_)), "{found:?}");
}
