//! Reload of the real relay: what is taken under live traffic, what is refused, what is said of it.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for the world in real time"
)]

mod support;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::certificates::{ecdsa, write_secret};
use support::turn_client::TurnClient;
use support::{Relay, SECRET, Setup, TURN, wait_for};

/// Another port to listen on.
const SECOND: u16 = 3578;

/// A relay with a certificate and an admin socket in a directory of its own.
struct Reloaded {
    setup: Setup,
    relay: Relay,
    place: tempfile::TempDir,
}

impl Reloaded {
    fn start() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let pair = ecdsa();
        let socket = place.path().join("turnd.sock");
        let setup = Setup {
            sections: "[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n".to_owned(),
            files: vec![
                ("chain.pem".to_owned(), pair.chain),
                ("key.pem".to_owned(), pair.key),
            ],
            admin: format!("socket = \"{}\"\n", socket.display()),
            ..Setup::default()
        };
        let relay = setup.start();
        Self {
            setup,
            relay,
            place,
        }
    }

    /// Writes a configuration and tells the relay to take it.
    fn reload(&self, text: &str) -> Output {
        std::fs::write(&self.relay.config, text).expect("the configuration is written");
        turnd("reload", &self.relay.config)
    }

    /// The usual configuration with this list of listeners.
    fn listening(&self, ports: &[u16]) -> String {
        let ip = self.relay.ip;
        let list: Vec<_> = ports
            .iter()
            .map(|port| format!("\"{ip}:{port}\""))
            .collect();
        let before = format!("listen = [\"{ip}:{TURN}\"]");
        let text = self.setup.text();
        assert!(text.contains(&before));
        text.replace(&before, &format!("listen = [{}]", list.join(", ")))
    }
}

/// A subcommand that asks the running relay.
fn turnd(command: &str, config: &Path) -> Output {
    let mut turnd = Command::new(env!("CARGO_BIN_EXE_turnd"));
    let asked = turnd.args([command, "--json", "--config"]).arg(config);
    asked.output().expect("turnd starts")
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

/// Takes a good reload and returns what it says has changed.
fn changed(output: &Output) -> Vec<String> {
    let answer = json(output);
    assert_eq!(
        (output.status.code(), &answer["ok"]),
        (Some(0), &true.into()),
        "{answer}"
    );
    let changes = answer["changes"].as_array().expect("a list");
    changes
        .iter()
        .map(|change| change.as_str().expect("text").to_owned())
        .collect()
}

/// Takes a refusal and returns its reasons.
fn refused(output: &Output) -> String {
    let answer = json(output);
    assert_eq!(
        (output.status.code(), &answer["ok"]),
        (Some(78), &false.into()),
        "{answer}"
    );
    answer["problems"].to_string()
}

/// A peer that sends back what it gets, and its address.
fn echo(relay: &Relay) -> (UdpSocket, SocketAddrV4) {
    let peer = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    let Ok(SocketAddr::V4(address)) = peer.local_addr() else {
        panic!("it is an IPv4 address")
    };
    let echoing = peer.try_clone().expect("cloned");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = echoing.recv_from(&mut buffer) {
            let _ = echoing.send_to(&buffer[..len], from);
        }
    });
    (peer, address)
}

/// The traffic of a session, seen from outside.
#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Sends a numbered datagram a millisecond until told to stop, and counts those that come back:
/// (sent, lost).
fn steady(mut client: TurnClient, peer: SocketAddrV4, traffic: &Traffic) -> (u64, u64) {
    const TICK: Duration = Duration::from_millis(1);
    let begin = Instant::now();
    let (mut sent, mut back) = (0_u64, HashSet::new());
    let mut take = |client: &TurnClient, time: Duration| {
        if let Some(data) = client.receive_within(time) {
            back.insert(u64::from_be_bytes(data.try_into().expect("a number")));
        }
        back.len() as u64
    };
    while !traffic.stop.load(Ordering::Relaxed) {
        client.send(peer, &sent.to_be_bytes());
        sent += 1;
        traffic.sent.store(sent, Ordering::Relaxed);
        let next = begin + TICK * u32::try_from(sent).expect("not for ever");
        while Instant::now() < next {
            let left = next.duration_since(Instant::now());
            take(&client, left.max(Duration::from_micros(100)));
        }
    }
    let patience = Instant::now() + Duration::from_secs(5);
    let mut arrived = 0;
    while arrived < sent && Instant::now() < patience {
        arrived = take(&client, Duration::from_millis(100));
    }
    (sent, sent - arrived)
}

#[test]
fn twenty_reloads_lose_not_one_packet_of_a_running_session() {
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    let (username, password) = relay.credential();
    let mut client = TurnClient::allocate(relay.turn(), &username, &password);
    let (_peer, peer) = echo(relay);
    client.permit(peer);
    let traffic = Arc::new(Traffic::default());
    let seen = Arc::clone(&traffic);
    let session = thread::spawn(move || steady(client, peer, &seen));
    for round in 0..20 {
        let before = traffic.sent.load(Ordering::Relaxed);
        wait_for("traffic goes on between reloads", || {
            (traffic.sent.load(Ordering::Relaxed) >= before + 100).then_some(())
        });
        let ports: &[u16] = if round % 2 == 0 {
            &[TURN, SECOND]
        } else {
            &[TURN]
        };
        let pair = ecdsa();
        write_secret(&relay.directory().join("chain.pem"), &pair.chain);
        write_secret(&relay.directory().join("key.pem"), &pair.key);
        let secret = format!("current = \"the secret of round {round}\"");
        let text = reloaded
            .listening(ports)
            .replace(&format!("current = \"{SECRET}\""), &secret)
            .replace(
                "[peers]\n",
                &format!("[peers]\ndeny = [\"10.{round}.0.0/16\"]\n"),
            )
            + &format!("[limits]\nsessions_per_user = {}\n", 10 + round);
        let changes = changed(&reloaded.reload(&text));
        let verb = if round % 2 == 0 { "added" } else { "removed" };
        let listener = format!("`relay.listen`: {}:{SECOND} {verb}", relay.ip);
        for change in [
            &listener,
            "`secrets` changed",
            "`tls` changed",
            "`peers` changed",
            "`limits` changed",
        ] {
            assert!(
                changes.iter().any(|said| said == change),
                "{change} is not in {changes:?}"
            );
        }
        // The new secret is in force, and the new listener serves.
        let (username, password) = relay.credential();
        let secret = format!("the secret of round {round}").into_bytes();
        let secret = credentials::Secret::new(secret).expect("long enough");
        assert_eq!(*credentials::password(&secret, &username), password);
        if round % 2 == 0 {
            let second = SocketAddr::from((relay.ip, SECOND));
            TurnClient::allocate(second, &username, &password).release();
        }
    }
    traffic.stop.store(true, Ordering::Relaxed);
    let (sent, missing) = session.join().expect("the client runs");
    println!("{sent} sent and echoed over 20 reloads, {missing} lost");
    assert!(sent >= 2000, "only {sent} sent");
    assert_eq!(missing, 0, "of {sent}");
    assert_eq!(relay.metric("config_reloads_total"), Some(20));
    assert_eq!(relay.metric("config_reloads_refused_total"), Some(0));
}

#[test]
fn sessions_of_a_listener_that_goes_end_and_others_do_not() {
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    changed(&reloaded.reload(&reloaded.listening(&[TURN, SECOND])));
    let (username, password) = relay.credential();
    let mut stays = TurnClient::allocate(relay.turn(), &username, &password);
    let second = SocketAddr::from((relay.ip, SECOND));
    let gone: Vec<_> = (0..5)
        .map(|_| TurnClient::allocate(second, &username, &password))
        .collect();
    wait_for("the sessions are counted", || {
        (relay.metric("sessions") == Some(6)).then_some(())
    });
    changed(&reloaded.reload(&reloaded.listening(&[TURN])));
    wait_for("five have ended", || {
        (relay.metric("allocations_unserved_total") == Some(5)).then_some(())
    });
    assert_eq!(relay.metric("sessions"), Some(1));
    for client in &gone {
        // The relayed port is free again.
        UdpSocket::bind(client.relayed).expect("nobody has it");
    }
    let (_peer, peer) = echo(relay);
    stays.permit(peer);
    stays.send(peer, b"still there");
    assert_eq!(stays.receive().1, b"still there");
    // The address is free, too.
    UdpSocket::bind(second).expect("nobody listens");
}

#[test]
fn what_cannot_be_taken_changes_nothing() {
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    let ip = relay.ip;
    let taken = UdpSocket::bind((ip, SECOND)).expect("a socket");
    // All that could change does, but one listener cannot be opened.
    let everything = |ports: &[u16]| {
        reloaded
            .listening(ports)
            .replace(
                &format!("current = \"{SECRET}\""),
                "current = \"another secret of the fleet\"",
            )
            .replace("[peers]\n", "[peers]\ndeny = [\"10.0.0.0/8\"]\n")
    };
    let why = refused(&reloaded.reload(&everything(&[3579, SECOND])));
    assert!(
        why.contains(&format!("`relay.listen`: {ip}:{SECOND}: another process")),
        "{why}"
    );
    UdpSocket::bind((ip, 3579)).expect("not left open");
    // A wildcard over an address that is served.
    let wildcard = everything(&[TURN]).replace(&format!("{ip}:{TURN}"), &format!("0.0.0.0:{TURN}"));
    let why = refused(&reloaded.reload(&wildcard));
    assert!(
        why.contains("overlap: this change needs a restart"),
        "{why}"
    );
    // A certificate whose key is another's.
    write_secret(&relay.directory().join("chain.pem"), &ecdsa().chain);
    let why = refused(&reloaded.reload(&everything(&[TURN, 3579])));
    assert!(
        why.contains("is not the key of the first certificate"),
        "{why}"
    );
    assert!(why.contains("turnd.toml:"), "{why}");
    UdpSocket::bind((ip, 3579)).expect("not opened");
    // The secret is still the first one, and the listener serves.
    let (username, password) = relay.credential();
    let secret = credentials::Secret::new(SECRET.as_bytes().to_vec()).expect("long enough");
    assert_eq!(*credentials::password(&secret, &username), password);
    TurnClient::allocate(relay.turn(), &username, &password).release();
    assert_eq!(relay.metric("config_reload_ok"), Some(0));
    drop(taken);
}

#[test]
fn revoked_users_and_tenants_lose_their_sessions_within_a_second_and_others_do_not() {
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    let (_peer, peer) = echo(relay);
    let secret = credentials::Secret::new(SECRET.as_bytes().to_vec()).expect("long enough");
    let session = |user: &str| {
        let username = format!("4000000000:{user}");
        let password = credentials::password(&secret, &username);
        let mut client = TurnClient::allocate(relay.turn(), &username, &password);
        client.permit(peer);
        client
    };
    let relays = |client: &mut TurnClient| {
        client.send(peer, b"?");
        client.receive_within(Duration::from_millis(200)).is_some()
    };
    let mut ann = session("shop/ann");
    let mut bob = session("shop/bob");
    let mut eve = session("bank/eve");
    let mut tom = session("tom");
    for client in [&mut ann, &mut bob, &mut eve, &mut tom] {
        assert!(relays(client));
    }
    let file = relay.directory().join("revoked");
    std::fs::write(&file, "# stolen on Monday\nuser shop/ann\n\n  user tom\n").expect("written");
    let text = reloaded.setup.text();
    let revoking = text.clone() + "[revocations]\ntenants = [\"bank\"]\nfile = \"revoked\"\n";
    let before = Instant::now();
    assert_eq!(
        changed(&reloaded.reload(&revoking)),
        ["`revocations` changed"]
    );
    // The relay looks by itself: nobody sends anything meanwhile.
    wait_for("three have ended", || {
        let freed = [&ann, &eve, &tom].map(|client| UdpSocket::bind(client.relayed).is_ok());
        (freed == [true; 3]).then_some(())
    });
    let took = before.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("three revoked sessions ended {took:?} after the reload was asked for");
    assert!(relays(&mut bob));
    for client in [&mut ann, &mut eve, &mut tom] {
        assert!(!relays(client));
    }
    wait_for("they are counted", || {
        (relay.metric("allocations_revoked_total") == Some(3)).then_some(())
    });
    // A file that is not there, or not right, is refused: nobody is let in again by accident.
    std::fs::write(&file, "user shop/ann\nshop/bob\n").expect("written");
    let why = refused(&reloaded.reload(&revoking));
    assert!(
        why.contains("revoked:2: neither a user nor a tenant"),
        "{why}"
    );
    std::fs::remove_file(&file).expect("removed");
    let why = refused(&reloaded.reload(&revoking));
    assert!(why.contains("`revocations.file`: "), "{why}");
    assert!(relays(&mut bob));
    // Without the list they may come back.
    changed(&reloaded.reload(&text));
    assert!(relays(&mut session("shop/ann")));
}

#[test]
fn how_many_strangers_are_answered_at_once_changes() {
    // Allocate requests of somebody who never comes back with the nonce.
    const REQUESTS: usize = 1000;
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    let request = b"\x00\x03\x00\x08\x21\x12\xa4\x42transaction.\x00\x19\x00\x04\x11\x00\x00\x00";
    let challenges = |number: u32| {
        let limits = format!("[limits]\nchallenges_per_source = {number}\n");
        changed(&reloaded.reload(&(reloaded.setup.text() + &limits)));
    };
    let dropped = || {
        let (_, text) = relay.get("/metrics");
        let line = "dropped_total{reason=\"unverified_limit\"} ";
        let count = text
            .lines()
            .find_map(|l| l.split_once(line)?.1.parse().ok());
        count.unwrap_or(0_u64)
    };
    let ask = |stranger: &UdpSocket| stranger.send_to(request, relay.turn()).expect("sent");
    let stranger = UdpSocket::bind((relay.ip, 0)).expect("a socket");
    challenges(20);
    (0..REQUESTS).for_each(|_| assert_eq!(ask(&stranger), request.len()));
    wait_for("some are dropped", || (dropped() > 0).then_some(()));
    challenges(2000);
    let neighbour = Ipv4Addr::from_bits(relay.ip.to_bits() ^ 1);
    let stranger = UdpSocket::bind((neighbour, 0)).expect("a socket");
    let patience = Some(Duration::from_secs(5));
    stranger.set_read_timeout(patience).expect("a timeout");
    for _ in 0..REQUESTS {
        ask(&stranger);
        stranger.recv(&mut [0; 2048]).expect("an answer");
    }
}

#[test]
fn http_listeners_move() {
    let reloaded = Reloaded::start();
    let relay = &reloaded.relay;
    let ip = relay.ip;
    let text = reloaded.setup.text();
    let moved = text
        .replace(&format!("{ip}:{}", support::REST), &format!("{ip}:8081"))
        .replace(&format!("{ip}:{}", support::ADMIN), &format!("{ip}:9642"));
    let changes = changed(&reloaded.reload(&moved));
    assert_eq!(changes, ["`rest.listen` changed", "`admin.listen` changed"]);
    let get = |address: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        agent
            .get(format!("http://{ip}:{address}"))
            .call()
            .map(|answer| answer.status().as_u16())
    };
    wait_for("the old one is closed", || {
        get("9641/readyz").is_err().then_some(())
    });
    assert_eq!(get("9642/readyz").ok(), Some(200));
    assert_eq!(get("8081/v1/credentials").ok(), Some(401));
    wait_for("the old one is closed", || {
        get("8080/v1/credentials").is_err().then_some(())
    });
    let changes = changed(&reloaded.reload(&text));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(get("9641/readyz").ok(), Some(200));
}

#[test]
fn the_admin_socket_is_its_owners_and_says_how_the_relay_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut reloaded = Reloaded::start();
    let socket = reloaded.place.path().join("turnd.sock");
    let mode = std::fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = turnd("status", &reloaded.relay.config);
    let answer = json(&status);
    assert_eq!(status.status.code(), Some(0));
    assert_eq!(
        (&answer["state"], &answer["sessions"]),
        (&"serving".into(), &0.into())
    );
    assert_eq!(
        changed(&turnd("reload", &reloaded.relay.config)),
        Vec::<String>::new()
    );
    // What is no order is said to be none, and one that never ends is not waited for.
    let said = operator(&socket, b"relaod\n");
    assert!(said.contains("not understood"), "{said}");
    assert_eq!(operator(&socket, &[b'x'; 1000]), "");
    // A second relay does not take the socket away, and one after a crash does.
    let text = reloaded.setup.text();
    let other = Setup {
        admin: reloaded.setup.admin.clone(),
        ..Setup::default()
    };
    let mut second = other.launch();
    assert_eq!(second.ended().code(), Some(1));
    assert!(second.log().contains("`admin.socket`"), "{}", second.log());
    reloaded.relay.signal(nix::sys::signal::Signal::SIGKILL);
    reloaded.relay.ended();
    let nobody = turnd("reload", &reloaded.relay.config);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no turnd answers"));
    assert!(socket.exists() && !text.is_empty());
    let third = other.start();
    assert_eq!(turnd("status", &third.config).status.code(), Some(0));
}

/// What the socket answers to these bytes.
fn operator(socket: &Path, bytes: &[u8]) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    stream.write_all(bytes).expect("written");
    let mut said = String::new();
    // A connection that is broken off has said nothing.
    let _ = stream.read_to_string(&mut said);
    said
}
