//! A thousand echo probes against coturn leave no socket, task or memory behind. In a process of its own,
//! since it counts what the process holds.

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use common::coturn::Coturn;
use common::probing::{LOCAL, SECRET, credential, probe, probe_by, route, runtime};
use dnsd::probe::tls::Trust;
use dnsd_core::health::Outcome;
use dnsd_core::paths::Transport;

/// Open descriptors and resident kilobytes of this process.
fn usage() -> (usize, u64) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("fds").count();
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    let kilobytes = line
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number");
    (descriptors, kilobytes)
}

#[test]
fn a_thousand_probes_leave_nothing_behind() {
    if !common::has("a_thousand_probes_leave_nothing_behind", "turnserver") {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let relay = Coturn::start(dir.path(), Ipv4Addr::new(127, 0, 1, 15), None, SECRET, &[]);
    let runtime = runtime();
    let credential = credential(SECRET);
    // Each probe has a source of its own: the relay remembers five-tuples for a while after their
    // end, and with a thousand of them in it the kernel's choice of ports alone meets one now and
    // then three times in a row.
    let mut client = Ipv4Addr::new(127, 1, 0, 0);
    let mut batch = |count: usize| {
        runtime.block_on(async {
            let mut failed = 0;
            for _ in 0..count / 10 {
                let probes: Vec<_> = (0..10)
                    .map(|_| {
                        client = Ipv4Addr::from(u32::from(client) + 1);
                        let mut route = route(relay.address, Transport::Udp, &Trust::default());
                        route.way.client = client.into();
                        let credential = credential.clone();
                        tokio::spawn(async move { probe_by(route, &credential).await })
                    })
                    .collect();
                for probe in probes {
                    let outcome = probe.await.expect("probe").outcome;
                    if !matches!(outcome, Outcome::Ok { .. }) {
                        println!("{outcome:?}");
                        failed += 1;
                    }
                }
            }
            failed
        })
    };
    // Whatever the client spawned ends by itself, at the latest with its last timer.
    let settled = || {
        common::wait_for("the tasks' end", Duration::from_secs(10), || {
            (runtime.metrics().num_alive_tasks() == 0).then(usage)
        })
    };
    assert_eq!(batch(200), 0, "probes of the warm-up failed");
    let (descriptors, kilobytes) = settled();
    let begun = Instant::now();
    assert_eq!(batch(1000), 0, "probes failed");
    let took = begun.elapsed();
    let (descriptors_after, kilobytes_after) = settled();
    println!(
        "1000 probes in {took:?}: {descriptors} → {descriptors_after} descriptors, \
         {kilobytes} → {kilobytes_after} kB"
    );
    assert_eq!(descriptors_after, descriptors);
    assert!(kilobytes_after <= kilobytes + 4096);
    // Nor do those that fail.
    let silent = UdpSocket::bind((LOCAL, 0)).expect("socket");
    let nobody = silent.local_addr().expect("address");
    let closed = {
        let socket = UdpSocket::bind((LOCAL, 0)).expect("socket");
        socket.local_addr().expect("address")
    };
    runtime.block_on(async {
        let probes: Vec<_> = (0..200)
            .map(|n| {
                let relay = if n % 2 == 0 { nobody } else { closed };
                let credential = credential.clone();
                tokio::spawn(async move { probe(relay, &credential).await })
            })
            .collect();
        for probe in probes {
            let outcome = probe.await.expect("probe");
            assert!(!matches!(outcome, Outcome::Ok { .. }), "{outcome:?}");
        }
    });
    drop(silent);
    let (descriptors_after, kilobytes_after) = settled();
    println!("200 that fail: {descriptors_after} descriptors, {kilobytes_after} kB");
    assert_eq!(descriptors_after, descriptors);
}
