//! One daemon takes another's place: nothing is unanswered, no report is lost, relays stay up; and
//! one that fails at it, at whatever moment, leaves the running one as it was.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::dnsd::{SECRET, Server, listed};
use common::relay::{key, report};
use common::tls::{Client, Encrypted, QUERY, framed, with_options};
use common::{Running, has, wait_for, write};
use liveness::KeyId;

/// Queries over UDP in a second.
const RATE: u32 = 2000;

/// The exit code of one that takes nothing over.
fn refused(server: &Server) -> Option<i32> {
    let mut new = server.take_over();
    let ended = wait_for("its end", Duration::from_secs(20), || {
        new.0.try_wait().expect("wait")
    });
    ended.code()
}

fn udp(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.connect(to).expect("connect");
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).expect("timeout");
    socket
}

/// Asks over UDP at [`RATE`] until told to stop. How many were asked, and how many of these have
/// not been answered two seconds later.
fn flood(to: SocketAddr, stop: &AtomicBool, sent: &AtomicU32) -> (u32, u32) {
    let sockets: Vec<_> = (0..8).map(|_| udp(to)).collect();
    let answered = Mutex::new(0);
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(|| {
                let mut buffer = [0; 2048];
                while !done.load(Ordering::Relaxed) {
                    if let Ok(length) = socket.recv(&mut buffer) {
                        assert!(
                            length > QUERY.len() && buffer[3].trailing_zeros() >= 4,
                            "NOERROR"
                        );
                        *answered.lock().expect("count") += 1;
                    }
                }
            });
        }
        // Every second one waits with those who show cookies.
        let queries = [QUERY.to_vec(), with_options(&[(10, &[7; 24])])];
        let begun = Instant::now();
        let mut asked = 0_u32;
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_mins(1) {
            let due = begun.elapsed().as_millis() * u128::from(RATE) / 1000;
            // After a pause of the machine no more than the kernel's buffers take.
            for _ in 0..64 {
                if u128::from(asked) >= due {
                    break;
                }
                let socket = &sockets[asked as usize % sockets.len()];
                let id = (asked as u16).to_be_bytes();
                let query = &queries[asked as usize / sockets.len() % 2];
                socket.send(&[&id, &query[2..]].concat()).expect("sent");
                asked += 1;
                sent.store(asked, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let last = Instant::now();
        while *answered.lock().expect("count") < asked && last.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        asked
    });
    let answered = answered.into_inner().expect("count");
    (asked, asked.saturating_sub(answered))
}

/// Ends the threads of a test that fails, too.
struct Ended<'a>([&'a AtomicBool; 2]);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for stop in self.0 {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn ask(stream: &mut TcpStream) -> bool {
    let mut length = [0; 2];
    if stream.write_all(&framed(QUERY)).is_err() || stream.read_exact(&mut length).is_err() {
        return false;
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).is_ok()
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect");
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).expect("timeout");
    stream
}

/// Reports fra-1 fifty times a second until told to stop. How many reports were sent, and how many
/// were acknowledged within two seconds after the last.
fn heartbeats(address: SocketAddr, to: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let socket = UdpSocket::bind((address.ip(), 0)).expect("socket");
    socket.connect(to).expect("connect");
    socket.set_nonblocking(true).expect("nonblocking");
    let (boot, mut sent, mut acknowledged) = (dnsd::clock::unix_millis(), 0, 0);
    let mut last = Instant::now();
    while acknowledged < sent || !stop.load(Ordering::Relaxed) {
        if !stop.load(Ordering::Relaxed) {
            sent += 1;
            let report = report("fra-1", address, boot, sent);
            socket.send(&report.encode(KeyId(1), &key())).expect("sent");
            last = Instant::now();
        } else if last.elapsed() > Duration::from_secs(2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        while socket.recv(&mut [0; 512]).is_ok() {
            acknowledged += 1;
        }
    }
    (sent, acknowledged)
}

#[test]
fn an_upgrade_leaves_no_query_unanswered_no_report_lost_and_every_relay_up() {
    if !has("take_over", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let host = Ipv4Addr::new(127, 0, 170, 1);
    let coturn = Coturn::start(dir.path(), host, None, SECRET, &[]);
    let mut relay = listed("fra-1", "eu-a", "alpha", 1);
    relay.address = coturn.address;
    let mut server = Server::new(170, vec![relay]);
    server.node = "workers = 2\n".to_owned();
    server.more = "[dns]\nresponses_per_second = 0\n".to_owned();
    let mut server = server.start();
    let (stop, beating) = (AtomicBool::new(false), AtomicBool::new(false));
    let [short, failed, sent] = [const { AtomicU32::new(0) }; 3];
    let to = SocketAddr::from((server.ip, server.dns));
    let reports = SocketAddr::from((server.ip, server.reports));
    std::thread::scope(|scope| {
        let _ended = Ended([&stop, &beating]);
        let reports = scope.spawn(|| heartbeats(coturn.address, reports, &beating));
        server.wait_up("fra-1");
        let queries = scope.spawn(|| flood(to, &stop, &sent));
        let connections = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let outcome = if ask(&mut connect(to)) {
                    &short
                } else {
                    &failed
                };
                outcome.fetch_add(1, Ordering::Relaxed);
            }
        });
        let more = || {
            let so_far = sent.load(Ordering::Relaxed);
            wait_for("more queries", Duration::from_secs(10), || {
                (sent.load(Ordering::Relaxed) >= so_far + RATE / 2).then_some(())
            });
        };
        for (taken, workers) in (1..).zip([2, 3, 1]) {
            more();
            let mut standing = connect(to);
            assert!(ask(&mut standing));
            server.node = format!("workers = {workers}\n");
            server.configure();
            let new = server.take_over();
            wait_for("the other's word", Duration::from_secs(20), || {
                let log = server.log();
                let ending = log.matches("this one finishes its connections").count();
                (ending == taken).then_some(())
            });
            // The old one finishes what it has accepted.
            assert!(ask(&mut standing), "{}", server.log());
            drop(standing);
            server.replaced(new);
            assert_eq!(server.verdict("fra-1"), "up", "at once");
        }
        more();
        stop.store(true, Ordering::Relaxed);
        let (asked, unanswered) = queries.join().expect("queries");
        assert!(asked >= 2 * RATE, "{asked}");
        assert_eq!(unanswered, 0, "of {asked}: {}", server.log());
        connections.join().expect("connections");
        beating.store(true, Ordering::Relaxed);
        let (sent, acknowledged) = reports.join().expect("reports");
        assert_eq!(acknowledged, sent, "{}", server.log());
        println!("{asked} queries, {short:?} connections, {sent} reports");
    });
    assert_eq!(failed.into_inner(), 0);
    assert!(short.into_inner() >= 100);
    let changed = server.json(&["history", "--relay", "fra-1"]).to_string();
    assert!(
        !changed.contains("suspect") && !changed.contains("\"down\""),
        "{changed}"
    );
}

#[test]
fn one_that_fails_leaves_the_running_one_as_it_was() {
    let mut server = Server::new(171, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    server.configure();
    // Where none runs, it just starts.
    server.running = Some(take_over_first(&server));
    server.wait_ready();
    let to = SocketAddr::from((server.ip, server.dns));
    let mut standing = connect(to);
    let mut is_untouched = |server: &Server| {
        assert!(
            ask(&mut standing) && ask(&mut connect(to)),
            "{}",
            server.log()
        );
        let socket = udp(to);
        // More than there are sockets, so that each is asked.
        for _ in 0..64 {
            socket.send(QUERY).expect("sent");
            assert!(socket.recv(&mut [0; 2048]).is_ok(), "{}", server.log());
        }
        assert_eq!(server.json(&["status"])["relays"][0]["id"], "fra-1");
    };
    is_untouched(&server);
    // A wrong configuration: it does not even ask.
    write(
        &server.path("dnsd.toml"),
        &server.config().replace("[node]", "[node]\nname = \"ns1\""),
    );
    assert_eq!(refused(&server), Some(78), "{}", server.log());
    server.configure();
    is_untouched(&server);
    // An address that cannot be had: it has asked, and does not start.
    let elsewhere = server.config().replace(
        &format!("[\"{to}\"]"),
        &format!("[\"{to}\", \"192.0.2.1:53\"]"),
    );
    write(&server.path("dnsd.toml"), &elsewhere);
    assert_eq!(refused(&server), Some(1), "{}", server.log());
    server.configure();
    is_untouched(&server);
    // One that has asked, and is gone before it serves.
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let offered = runtime.block_on(dnsd::handover::ask(&server.path("control")));
    drop(offered.expect("an offer").expect("a daemon"));
    wait_for("its noticing both", Duration::from_secs(10), || {
        let gave_up = server.log().matches("does not; this one goes on").count();
        (gave_up == 2).then_some(())
    });
    is_untouched(&server);
    // And who comes next is given everything.
    let new = server.take_over();
    drop(standing);
    server.replaced(new);
    assert!(ask(&mut connect(to)));
}

#[test]
fn one_that_is_killed_at_whatever_moment_is_stood_in_for() {
    let mut server = Server::new(174, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let to = SocketAddr::from((server.ip, server.dns));
    for later in 0..8 {
        let asked = server.log().matches("hand-over asked for").count();
        let mut new = server.take_over();
        wait_for("the hand-over", Duration::from_secs(10), || {
            (server.log().matches("hand-over asked for").count() > asked).then_some(())
        });
        // Before its word, after it, or, on a fast machine, as the only one left.
        std::thread::sleep(Duration::from_millis(8 * later));
        new.0.kill().expect("killed");
        new.0.wait().expect("ended");
        let ended = wait_for("one or the other", Duration::from_secs(10), || {
            let log = server.log();
            let noticed = |what| log.matches(what).count();
            let gave_up =
                noticed("does not; this one goes on") + noticed("is gone; this one goes on");
            let running = server.running.as_mut().expect("running");
            let ended = running.0.try_wait().expect("wait").is_some();
            (ended || gave_up == asked + 1).then_some(ended)
        });
        if ended {
            println!("taken over within {} ms", 8 * later);
            return;
        }
        wait_for("answers", Duration::from_secs(10), || {
            let stream = &mut connect(to);
            ask(stream).then_some(())
        });
        server.wait_ready();
        let socket = udp(to);
        for _ in 0..64 {
            socket.send(QUERY).expect("sent");
            assert!(socket.recv(&mut [0; 2048]).is_ok(), "{}", server.log());
        }
    }
    let new = server.take_over();
    server.replaced(new);
    assert!(ask(&mut connect(to)));
}

#[test]
fn a_disk_that_hangs_keeps_nobody_from_judging() {
    let mut server = Server::new(175, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    // Where the next state is written first: to open it takes until somebody reads it.
    let hanging = server.path("state.tmp");
    wait_for("its place", Duration::from_secs(10), || {
        let made = std::process::Command::new("mkfifo").arg(&hanging).output();
        made.expect("mkfifo").status.success().then_some(())
    });
    let new = server.take_over();
    wait_for("the new daemon", Duration::from_secs(5), || {
        (server.log().matches("dnsd is serving").count() == 2).then_some(())
    });
    let old = server.running.as_mut().expect("running");
    assert!(old.0.try_wait().expect("wait").is_none(), "it still writes");
    let reading = std::fs::File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&hanging);
    std::fs::remove_file(&hanging).expect("removed");
    server.replaced(new);
    drop(reading);
    assert_eq!(server.json(&["status"])["relays"][0]["id"], "fra-1");
}

/// The first daemon of a server, started as one that would take over.
fn take_over_first(server: &Server) -> Running {
    write(&server.path("log"), "");
    server.take_over()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_after_its_word_is_stood_in_for() {
    let mut server = Server::new(172, vec![listed("fra-1", "eu-a", "alpha", 1)]).start();
    let to = SocketAddr::from((server.ip, server.dns));
    for gone in 1..=2 {
        let offered = dnsd::handover::ask(&server.path("control")).await;
        let mut offered = offered.expect("an offer").expect("a daemon");
        let state = offered.taking.serving().await.expect("what it knew");
        assert!(
            serde_json::to_string(&state)
                .expect("JSON")
                .contains("fra-1")
        );
        let socket = udp(to);
        socket.send(QUERY).expect("sent");
        assert!(
            socket.recv(&mut [0; 2048]).is_ok(),
            "answered until the other goes on"
        );
        // As a process that is killed now leaves it.
        drop(offered);
        wait_for("the first one, going on", Duration::from_secs(10), || {
            (server.log().matches("dnsd is serving").count() > gone).then_some(())
        });
        server.wait_ready();
        assert!(ask(&mut connect(to)));
        for _ in 0..64 {
            socket.send(QUERY).expect("sent");
            assert!(socket.recv(&mut [0; 2048]).is_ok(), "{}", server.log());
        }
    }
    let new = server.take_over();
    server.replaced(new);
    assert!(ask(&mut connect(to)));
}

#[test]
fn encrypted_listeners_go_over_too() {
    let mut dns = Encrypted::start(173);
    let client = |dns: &Encrypted| {
        let stream = TcpStream::connect(dns.address()).expect("connect");
        Client::over(stream, &dns.certificate).expect("a handshake")
    };
    let mut standing = client(&dns);
    assert!(standing.ask(QUERY).is_ok());
    let new = dns.server.take_over();
    wait_for("the other's word", Duration::from_secs(20), || {
        dns.server
            .log()
            .contains("this one finishes its connections")
            .then_some(())
    });
    assert!(standing.ask(QUERY).is_ok(), "finished by the old one");
    drop(standing);
    dns.server.replaced(new);
    assert!(client(&dns).ask(QUERY).is_ok());
    if has("take_over", "kdig") {
        let said = dns.kdig(&["+quic", "turn.example", "NS", "+norec"]);
        assert!(said.contains("status: NOERROR"), "{said}");
    }
}
