//! Floods of many times what one worker answers: memory stays as it is, every report of a relay is
//! read, and who shows a cookie is answered, unless the flood comes with cookies too. How many of
//! others' queries are answered meanwhile is printed.
//!
//! `FLOOD_SECONDS` makes each flood longer than the few seconds of an ordinary run.

mod common;

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::dnsd::{Server, listed};
use common::relay::{key, report};
use common::wait_for;
use liveness::KeyId;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Networks that a flood comes from: more than get all they ask for by their rations.
const NETWORKS: u8 = 64;
/// Queries that are handed to the kernel at once: it takes them apart where they arrive, which is the
/// only way to have many more than can be answered on few cores.
const TRAIN: usize = 64;
/// Threads that flood: on two cores these leave the worker about half of one, so that far more comes
/// than it can answer.
const SENDERS: usize = 3;
/// Kilobytes by which a daemon may grow once a flood has begun.
const GROWTH: u64 = 5 * 1024;

/// What floods ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    /// One name, without a cookie.
    Name,
    /// A label that was never asked for before, each time.
    Labels,
    /// One name, with a cookie of the right form that nobody gave.
    Forged,
}

fn duration() -> Duration {
    let seconds = std::env::var("FLOOD_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(4))
}

/// `<label>a.turn.example A` with an OPT record that has this COOKIE.
fn query(label: &[u8], cookie: &[u8]) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
    if !label.is_empty() {
        query.push(label.len() as u8);
        query.extend(label);
    }
    query.extend(
        b"\x01a\x04turn\x07example\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00",
    );
    if cookie.is_empty() {
        query.extend([0, 0]);
    } else {
        query.extend((cookie.len() as u16 + 4).to_be_bytes());
        query.extend([0, 10]);
        query.extend((cookie.len() as u16).to_be_bytes());
        query.extend(cookie);
    }
    query
}

fn socket(from: Ipv4Addr, server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).expect("a socket");
    socket.connect((server.ip, server.dns)).expect("connected");
    socket
}

/// Sends until told to stop, never longer than `limit`.
fn flood(flood: Flood, server: &Server, over: &AtomicBool, limit: Duration, sent: &AtomicU64) {
    let sockets: Vec<_> = (1..=NETWORKS)
        .map(|network| socket(Ipv4Addr::new(127, network, 7, 1), server))
        .collect();
    let cookie: &[u8] = match flood {
        Flood::Forged => b"clientsX\x01\x00\x00\x00long-forged!",
        Flood::Name | Flood::Labels => b"",
    };
    let label: &[u8] = match flood {
        Flood::Labels => &[b'x'; 40],
        Flood::Name | Flood::Forged => b"",
    };
    let datagram = query(label, cookie);
    let mut train = datagram.repeat(TRAIN);
    let segments = ControlMessage::UdpGsoSegments(&(datagram.len() as u16));
    let begun = Instant::now();
    // Senders begin far apart, so that no label is another's.
    let mut number = u64::from(sockets[0].local_addr().expect("an address").port()) << 40;
    while !over.load(Ordering::Relaxed) && begun.elapsed() < limit {
        for socket in &sockets {
            for datagram in train.chunks_exact_mut(datagram.len()) {
                number += 1;
                datagram[..2].copy_from_slice(&(number as u16).to_be_bytes());
                if flood == Flood::Labels {
                    for digit in 0..16 {
                        datagram[13 + digit] = b'a' + (number >> (4 * digit) & 0xf) as u8;
                    }
                }
            }
            let train = [IoSlice::new(&train)];
            let flags = MsgFlags::empty();
            let gone = sendmsg::<()>(socket.as_raw_fd(), &train, &[segments], flags, None);
            if gone.is_ok() {
                sent.fetch_add(TRAIN as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Asks one thing after the other; how many, and how many were answered within half a second each.
fn honest(cookie: &[u8], from: Ipv4Addr, server: &Server, over: &AtomicBool) -> (u32, u32) {
    let socket = socket(from, server);
    let limit = Some(Duration::from_millis(500));
    socket.set_read_timeout(limit).expect("a timeout");
    let (mut asked, mut answered) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        asked += 1;
        let mut datagram = query(b"", cookie);
        datagram[..2].copy_from_slice(&(asked as u16).to_be_bytes());
        socket.send(&datagram).expect("sent");
        let mut reply = [0; 1232];
        while let Ok(length) = socket.recv(&mut reply) {
            if reply[..2] == datagram[..2] {
                // With an address, and not only a cookie.
                answered += u32::from(length > 12 && reply[7] > 0);
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (asked, answered)
}

/// The cookie that the server gives to an address.
fn cookie(from: Ipv4Addr, server: &Server) -> Vec<u8> {
    let socket = socket(from, server);
    let limit = Some(Duration::from_secs(5));
    socket.set_read_timeout(limit).expect("a timeout");
    let own = b"honestly";
    socket.send(&query(b"", own)).expect("sent");
    let mut reply = [0; 1232];
    let length = socket.recv(&mut reply).expect("an answer");
    let at = reply[..length].windows(8).position(|bytes| bytes == own);
    reply[at.expect("a cookie")..][..24].to_vec()
}

/// Reports a relay twenty times a second; how often.
fn reports(server: &Server, over: &AtomicBool) -> u64 {
    let relay = &server.relays[0];
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let target = SocketAddr::from((server.ip, server.reports));
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        sent += 1;
        let report = report(relay.id, relay.address, 100, sent);
        let datagram = report.encode(KeyId(1), &key());
        socket.send_to(&datagram, target).expect("sent");
        std::thread::sleep(Duration::from_millis(50));
    }
    sent
}

/// Kilobytes of memory that a process has, and the processor time it took, in ticks of 10 ms.
fn costs(server: &Server) -> (u64, u64) {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", server.pid())).expect("it runs")
    };
    let status = read("status");
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let rss = rss.expect("a size").trim().parse().expect("a number");
    let stat = read("stat");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("ticks"));
    (rss, ticks.sum())
}

/// What the kernel dropped because nobody read it.
fn overflown(server: &Server) -> u64 {
    counted_as(server, "turnfleet_dnsd_udp_overflows_total", "listen=")
}

/// What was read over UDP, answered or not.
fn handled(server: &Server) -> u64 {
    counted(server, "turnfleet_dnsd_queries_total") + counted(server, "turnfleet_dnsd_drops_total")
}

/// The sum of a family of counters over UDP.
fn counted(server: &Server, family: &str) -> u64 {
    counted_as(server, family, "transport=\"udp\"")
}

/// The sum of a family of counters with one label.
fn counted_as(server: &Server, family: &str, label: &str) -> u64 {
    let page = server.http("/metrics").expect("metrics");
    let of = |line: &str| -> Option<u64> {
        let rest = line.strip_prefix(family)?;
        rest.contains(label).then_some(())?;
        rest.rsplit(' ').next()?.parse().ok()
    };
    page.lines().filter_map(of).sum()
}

/// Floods a server; the nanoseconds of processor time that a query took.
fn endure(kind: Flood, host: u8) -> u64 {
    let mut server = Server::new(host, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    "workers = 1".clone_into(&mut server.node);
    let server = server.start();
    let [client, others] = [200, 201].map(|network| Ipv4Addr::new(127, network, 0, 1));
    let good = cookie(client, &server);
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let limit = duration() + Duration::from_secs(30);
    let cost = std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| flood(kind, &server, &over, limit, &sent));
        }
        // Whatever it takes to be used to this.
        wait_for("the flood", Duration::from_secs(20), || {
            (handled(&server) > 20_000).then_some(())
        });
        let with = scope.spawn(|| honest(&good, client, &server, &over));
        let without = scope.spawn(|| honest(&[], others, &server, &over));
        let reporting = scope.spawn(|| reports(&server, &over));
        let (before, ticks) = costs(&server);
        let (offered, taken) = (sent.load(Ordering::Relaxed), handled(&server));
        let begun = Instant::now();
        let mut most = before;
        while begun.elapsed() < duration() {
            std::thread::sleep(Duration::from_millis(100));
            most = most.max(costs(&server).0);
        }
        let offered = sent.load(Ordering::Relaxed) - offered;
        let taken = handled(&server) - taken;
        let cost = (costs(&server).1 - ticks) * 10_000_000 / taken.max(1);
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        let reported = reporting.join().expect("reports");
        wait_for("every report", Duration::from_secs(10), || {
            let heard = counted_as(&server, "turnfleet_dnsd_reports_total", "outcome=\"ok\"");
            (heard == reported).then_some(())
        });
        let [with, without] = [with, without].map(|client| client.join().expect("a client"));
        println!(
            "measured flood {kind:?} of {took:.0?}: offered {offered}, {} times the {taken} taken at \
             {cost} ns each; {before} kB became at most {most} kB; {reported} reports read; answered with a cookie \
             {} of {}, without {} of {}",
            offered / taken.max(1),
            with.1,
            with.0,
            without.1,
            without.0
        );
        assert!(offered > taken, "that was no flood");
        assert!(most <= before + GROWTH, "{before} kB became {most} kB");
        if kind == Flood::Forged {
            // Nobody spends more on them than it takes to see what they are.
            let dropped = counted_as(&server, "turnfleet_dnsd_drops_total", "reason=\"cookie\"");
            assert!(dropped > taken / 2, "{dropped} of {taken}");
        } else {
            assert!(with.1 * 100 >= with.0 * 99, "{} of {}", with.1, with.0);
        }
        cost
    });
    // What nobody read is told too.
    wait_for("an account of all", Duration::from_secs(10), || {
        let told = handled(&server) + overflown(&server);
        let sent = sent.load(Ordering::Relaxed);
        // Others asked as well, but little.
        (sent..sent + sent / 50 + 1000)
            .contains(&told)
            .then_some(())
    });
    cost
}

/// What comes at once is read to its end, also where nothing is waited for.
#[test]
fn bursts_are_answered_whole_without_gathering() {
    const BURSTS: usize = 20;
    let mut server = Server::new(96, vec![listed("fra-1", "eu-a", "alpha", 1)]);
    "workers = 1".clone_into(&mut server.node);
    server.more += "[dns]\ngather = \"0us\"\n";
    let server = server.start();
    let socket = socket(Ipv4Addr::LOCALHOST, &server);
    let limit = Some(Duration::from_secs(5));
    socket.set_read_timeout(limit).expect("a timeout");
    let datagram = query(b"", b"");
    let train = datagram.repeat(TRAIN);
    let train = [IoSlice::new(&train)];
    let segments = [ControlMessage::UdpGsoSegments(&(datagram.len() as u16))];
    let begun = Instant::now();
    for _ in 0..BURSTS {
        let flags = MsgFlags::empty();
        sendmsg::<()>(socket.as_raw_fd(), &train, &segments, flags, None).expect("sent");
        for answer in 0..TRAIN {
            let read = socket.recv(&mut [0; 1232]);
            read.unwrap_or_else(|error| panic!("{answer}: {error}"));
        }
    }
    // A worker is woken once a second whatever comes, and would read more then.
    assert!(begun.elapsed() < Duration::from_secs(BURSTS as u64 / 2));
}

#[test]
fn floods_take_neither_memory_nor_reports_nor_answers_from_those_with_cookies() {
    let name = endure(Flood::Name, 93);
    let labels = endure(Flood::Labels, 94);
    let _ = endure(Flood::Forged, 95);
    println!(
        "measured flood of labels: {} % of the cost of one name",
        labels * 100 / name.max(1)
    );
}
