//! What one daemon gives to the next when its place is taken: the very sockets, and what it knows, as it
//! was at first and as it was at last.

mod common;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::dnsd::{Server, ZONE, listed};
use common::tls::Encrypted;
use common::{free_port, has, wait_for};
use dnsd::handover::{Giving, PROTOCOL, Sockets};
use dnsd_core::fleet::Saved;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

/// The kernel's numbers of all sockets that are bound to one of `addresses`, and accept no peer but any:
/// by table and address.
fn bound(addresses: &[SocketAddrV4]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for table in ["tcp", "udp"] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).expect("a table");
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, local, peer, _, _, _, _, _, _, inode, ..] = words[..] else {
                panic!("{line}");
            };
            let local = addresses.iter().find(|address| {
                let ip = u32::from_ne_bytes(address.ip().octets());
                local == format!("{ip:08X}:{:04X}", address.port())
            });
            if let Some(local) = local.filter(|_| peer == "00000000:0000") {
                let name = format!("{table} {local}");
                found.entry(name).or_default().push(inode.to_owned());
            }
        }
    }
    for inodes in found.values_mut() {
        inodes.sort();
    }
    found
}

/// Those of the sockets that have this path.
fn at_path(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/net/unix").expect("a table");
    let path = path.display().to_string();
    // Listening ones; each connection has the path as well.
    let lines = text.lines().filter(|line| line.ends_with(&path));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = words.filter(|words| words[3] == "00010000");
    listening.map(|words| words[6].to_owned()).collect()
}

#[test]
fn each_socket_goes_over_and_none_is_made_anew() {
    let sharing = free_port(Ipv4Addr::new(127, 0, 9, 178));
    let api = free_port(Ipv4Addr::LOCALHOST);
    let mut dns = Encrypted::start_with(178, |server| {
        server.node = "workers = 2\n".to_owned();
        let more = format!(
            "[sharing]\nlisten = \"{ip}:{sharing}\"\nvendor = \"alpha\"\nregion = \"eu\"\npeers = [\"{ip}:{sharing}\"]\n\
             current = \"the key that all nameservers share here\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n\
             [[api.tokens]]\nname = \"ci\"\ntoken = \"a token for this test\"\n",
            ip = server.ip
        );
        server.more.push_str(&more);
    });
    let server = &dns.server;
    let at = |port| SocketAddrV4::new(server.ip, port);
    let addresses = [
        at(server.dns),
        at(dns.port),
        at(server.reports),
        at(server.admin),
        at(sharing),
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, api),
    ];
    let control = server.path("control");
    let before = (bound(&addresses), at_path(&control));
    let shown: Vec<_> = before
        .0
        .iter()
        .map(|(name, all)| (&name[..3], all.len()))
        .collect();
    // DNS, TLS, admin and API; DNS of two workers with two each, QUIC, reports and sharing.
    assert_eq!(shown.iter().filter(|(table, _)| *table == "tcp").count(), 4);
    assert_eq!(shown.iter().filter(|(table, _)| *table == "udp").count(), 4);
    assert_eq!(shown.iter().map(|(_, count)| count).sum::<usize>(), 11);
    assert_eq!(before.1.len(), 1);
    let new = server.launch(&["run", "--take-over"]);
    let mut old = dns.server.running.replace(new).expect("running");
    let ended = wait_for("the old daemon's end", Duration::from_secs(30), || {
        old.0.try_wait().expect("wait")
    });
    assert_eq!(ended.code(), Some(0), "{}", dns.server.log());
    dns.server.wait_ready();
    assert_eq!((bound(&addresses), at_path(&control)), before);
}

/// The state that the daemon keeps once it has been decided that of two relays only one is answered.
fn kept(server: &Server, relay: &str, other: &str) -> Saved {
    let why = format!("all to {relay}");
    for order in [["force", "up", relay], ["force", "down", other]] {
        let insisted = ["--yes-i-mean-it", "--why", &why];
        let output = server.cli(&[&order[..], &insisted].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    wait_for("the decisions on disk", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(server.path("state")).ok()?;
        let both = text.matches(&why).count() >= 2;
        both.then(|| dnsd::persist::load(&server.path("state")))?
    })
}

/// Waits until that relay is answered, and no other.
fn wait_answered(server: &Server, relay: &str) {
    let own = server.relays.iter().find(|listed| listed.id == relay);
    let address = own.expect("a relay").address.ip().to_string();
    let what = format!("{relay} alone in the answers");
    wait_for(&what, Duration::from_secs(20), || {
        (server.short(ZONE, "A") == [address.as_str()]).then_some(())
    });
}

/// A daemon that is asked for its place by the next connection, and gives sockets and a state.
async fn offered(control: &UnixListener, giving: Giving) {
    let (mut stream, _) = control.accept().await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    let granted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n\r\n"
    );
    stream.write_all(granted.as_bytes()).await.expect("sent");
    giving.offer(stream, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_from_what_it_was_offered_and_goes_on_from_what_it_was_told_last() {
    if !has("take_over_state", "dig") {
        return;
    }
    let relays = [("fra-1", "alpha", 1), ("ams-1", "beta", 2)];
    let relays = relays.map(|(id, vendor, host)| listed(id, "eu-a", vendor, host));
    let mut server = Server::new(179, relays.into()).start();
    let first = kept(&server, "fra-1", "ams-1");
    let last = kept(&server, "ams-1", "fra-1");
    server.signal(Signal::SIGTERM);
    server.ended();
    // Nothing that it reads by itself helps.
    for file in ["state", "state.1"] {
        let _ = std::fs::remove_file(server.path(file));
    }
    let path = server.path("control");
    let control = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    control.set_nonblocking(true).expect("nonblocking");
    let mut sockets = Sockets::default();
    let own = || control.try_clone().map(OwnedFd::from);
    let purpose = format!("node.control {}", path.display());
    let _same: OwnedFd = sockets.take(purpose, own).expect("a socket");
    let control = UnixListener::from_std(control).expect("a listener");
    let (_states, kept) = watch::channel(Arc::new(first));
    let (serving, mut given) = mpsc::channel(1);
    let giving = Giving::new(Arc::new(sockets), kept, serving);
    server.running = Some(server.launch(&["run", "--take-over"]));
    offered(&control, giving).await;
    let given = given.recv().await.expect("a daemon that serves");
    wait_answered(&server, "fra-1");
    given.finish(&last).await.expect("a daemon that goes on");
    wait_answered(&server, "ams-1");
    server.wait_ready();
    let told = server.json(&["overrides"]).to_string();
    assert!(told.contains("all to ams-1"), "{told}");
}
