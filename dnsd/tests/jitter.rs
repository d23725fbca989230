//! Health over a network that delays each datagram by up to 300 ms, so that they overtake each other,
//! and loses one in twenty, each way: reports and probes alike.

mod common;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::dnsd::{Listed, SECRET, Server, listed};
use common::probing::runtime;
use common::relay::Heartbeat;
use tokio::net::UdpSocket;

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(35);
/// The longest delay of a datagram, in milliseconds, and how many of a hundred are lost.
const DELAY: u64 = 300;
const LOSS: u64 = 5;

/// What chance decides, the same in each run.
#[derive(Clone)]
struct Chance(Arc<AtomicU64>);

impl Chance {
    fn draw(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let drawn = self.0.fetch_add(step, Ordering::Relaxed);
        let mixed = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20
    }

    /// Sends a datagram later, or never.
    fn pass(&self, datagram: &[u8], by: &Arc<UdpSocket>, to: Option<SocketAddr>) {
        if self.draw() % 100 < LOSS {
            return;
        }
        let delay = Duration::from_millis(self.draw() % (DELAY + 1));
        let (datagram, by) = (datagram.to_vec(), Arc::clone(by));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Whoever is gone by then has lost it.
            let _ = match to {
                Some(to) => by.send_to(&datagram, to).await,
                None => by.send(&datagram).await,
            };
        });
    }
}

/// A way from an address of `ip` to `to` and back, for any number of clients.
async fn way(ip: Ipv4Addr, to: SocketAddr, chance: Chance) -> SocketAddr {
    let near = Arc::new(UdpSocket::bind((ip, 0)).await.expect("socket"));
    let address = near.local_addr().expect("address");
    tokio::spawn(async move {
        let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = near.recv_from(&mut buffer).await {
            if let Entry::Vacant(place) = clients.entry(from) {
                let far = Arc::new(UdpSocket::bind((ip, 0)).await.expect("socket"));
                far.connect(to).await.expect("connected");
                place.insert(Arc::clone(&far));
                let (near, chance) = (Arc::clone(&near), chance.clone());
                tokio::spawn(async move {
                    let mut buffer = [0; 2048];
                    loop {
                        if let Ok(length) = far.recv(&mut buffer).await {
                            chance.pass(&buffer[..length], &near, Some(from));
                        }
                    }
                });
            }
            chance.pass(&buffer[..length], &clients[&from], None);
        }
    });
    address
}

#[test]
fn delay_and_slight_loss_take_nobody_out() {
    let test = "delay_and_slight_loss_take_nobody_out";
    if !(common::has(test, "dig") && common::has(test, "turnserver")) {
        return;
    }
    let (runtime, chance) = (runtime(), Chance(Arc::new(AtomicU64::new(1))));
    let dir = tempfile::tempdir().expect("dir");
    let places = [
        ("fra-1", "eu-a", "alpha"),
        ("ams-1", "eu-b", "beta"),
        ("par-1", "eu-c", "gamma"),
    ];
    let mut coturns = Vec::new();
    let relays = (1..).zip(places).map(|(host, (id, zone, vendor))| {
        let ip = Ipv4Addr::new(127, 0, 92, host);
        let coturn = Coturn::start(dir.path(), ip, None, SECRET, &[]);
        let address = runtime.block_on(way(ip, coturn.address, chance.clone()));
        coturns.push(coturn);
        Listed {
            address,
            ..listed(id, zone, vendor, 1)
        }
    });
    let server = Server::new(241, relays.collect()).start();
    let reports = SocketAddr::from((server.ip, server.reports));
    let reports = runtime.block_on(way(server.ip, reports, chance.clone()));
    let beat = |listed: &Listed| Heartbeat::start(listed.id, listed.address, reports);
    let _hearts: Vec<_> = server.relays.iter().map(beat).collect();
    server
        .relays
        .iter()
        .for_each(|listed| server.wait_up(listed.id));

    let (begun, mut doubts) = (Instant::now(), 0);
    while begun.elapsed() < WATCHED {
        for Listed { id, .. } in &server.relays {
            let state = server.verdict(id);
            assert_ne!(state, "down", "{:#}", server.json(&["explain", id]));
            doubts += u32::from(state != "up");
        }
        assert!(!server.short("turn.example", "A").is_empty());
    }
    println!(
        "measured jitter: none down in {} s, doubt seen {doubts} times",
        WATCHED.as_secs()
    );
    assert!(
        !server.log().contains("verdict=\"down\""),
        "{}",
        server.log()
    );
}
