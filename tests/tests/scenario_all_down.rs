//! Every relay dies: the name servers go on with what was good last, and with the first that comes
//! back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster_tests::dig::dig;
use cluster_tests::process::{Cluster, again, signal};
use cluster_tests::timing::{ask, measure};
use cluster_tests::tools;
use local_cluster::event::Event;
use nix::sys::signal::Signal;

/// `answers.ttl_min` of the local cluster in seconds.
const TTL_MIN: u32 = 5;

#[test]
fn no_relay_left_is_no_reason_for_an_empty_answer() {
    if !tools::present("scenario_all_down", &["dig"]) {
        return;
    }
    let cluster = Cluster::start("all-down");
    let credential = cluster.credential("");
    let names = cluster.names(&credential);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking: Vec<_> = cluster
            .servers()
            .map(|server| {
                let (names, over) = (&names, &over);
                scope.spawn(move || never_empty(server, names, over))
            })
            .collect();
        for relay in &cluster.ready.relays {
            signal(relay.pid, Signal::SIGKILL);
        }
        down_everywhere(&cluster);
        for server in cluster.servers() {
            for name in &names {
                let answer = dig(server, name);
                assert_eq!(answer.status, "NOERROR", "{name}");
                assert!(
                    answer.ttls.iter().all(|ttl| *ttl == TTL_MIN),
                    "{name}: {answer:?}"
                );
            }
        }

        let back = cluster.ready.relays.last().expect("a relay");
        let start = Instant::now();
        let _back = again(&back.command, &back.log);
        let (limit, hold) = (Duration::from_secs(3), Duration::from_secs(1));
        measure(
            &cluster,
            "all-down-return",
            &names,
            start,
            (limit, hold),
            |reply| reply.addresses == [*back.address.ip()],
        );
        over.store(true, Ordering::Relaxed);
        for thread in asking {
            let asked = thread.join().expect("an answer was empty");
            assert!(asked > 100, "asked only {asked} times");
        }
    });
}

/// Waits until every name server calls every relay down.
fn down_everywhere(cluster: &Cluster) {
    let mut down = BTreeSet::new();
    while down.len() < cluster.ready.dns_servers.len() * cluster.ready.relays.len() {
        down.insert(
            cluster.event(
                "all relays are down",
                Duration::from_secs(20),
                |event| match event {
                    Event::Verdict {
                        dnsd, relay, state, ..
                    } if state == "down" => Some((dnsd.clone(), relay.clone())),
                    _ => None,
                },
            ),
        );
    }
}

/// Asks until `over`; panics at an answer without an address. How often it asked.
fn never_empty(server: std::net::SocketAddrV4, names: &[String], over: &AtomicBool) -> usize {
    let mut asked = 0;
    while !over.load(Ordering::Relaxed) {
        for name in names {
            let reply = ask(server, name).expect("an answer");
            assert_eq!(u16::from(reply.code), 0, "{name}: {reply:?}");
            assert!(!reply.addresses.is_empty(), "{name}: {reply:?}");
            asked += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
    asked
}
