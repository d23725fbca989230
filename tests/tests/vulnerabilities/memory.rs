//! What strangers must not be able to grow: the server's memory and descriptors.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use cluster_tests::rogue;
use cluster_tests::stun::{Builder, attribute, kind};
use cluster_tests::turnd::{Setup, Turnd};

use crate::peers::client;

/// Sources before the first look, which fills what has a fixed size, and sources in between.
const SOURCES: [u32; 2] = [10_000, 40_000];
/// What memory may grow by.
const GROWTH: u64 = 1 << 20;

/// Sends what `packet` makes for each source from an address of its own, and measures.
fn flood(name: &str, packet: impl Fn(&Turnd, u32) -> Vec<u8>) {
    let mut setup = Setup::loopback(name);
    // Without a line in the log for each.
    (setup.relay, setup.log) = ("workers = 1".to_owned(), String::new());
    let mut turnd = setup.start();
    let mut probe = client(&turnd, "probe");
    let mut send = |sources: std::ops::Range<u32>| {
        for source in sources {
            // 127.128.0.0/10.
            let ip = Ipv4Addr::from_bits(0x7f80_0001 + source);
            let socket = UdpSocket::bind((ip, 0)).expect("a loopback address");
            socket
                .send_to(&packet(&turnd, source), turnd.turn())
                .expect("sent");
            if source % 128 == 127 {
                settle(&mut probe);
            }
        }
        settle(&mut probe);
    };
    send(0..SOURCES[0]);
    let before = (turnd.resident(), turnd.descriptors());
    send(SOURCES[0]..SOURCES[0] + SOURCES[1]);
    let after = (turnd.resident(), turnd.descriptors());
    let grown = after.0.saturating_sub(before.0);
    println!(
        "measured {name}: {} sources, memory {:+} KiB of {} KiB, descriptors {:+}",
        SOURCES[1],
        grown / 1024,
        after.0 / 1024,
        after.1.cast_signed() - before.1.cast_signed(),
    );
    assert!(grown < GROWTH, "grew by {grown} bytes");
    assert!(
        after.1 <= before.1 + 2,
        "{} descriptors more",
        after.1 - before.1
    );
    turnd.metric_becomes("sessions", |sessions| sessions == 0);
    assert!(turnd.runs());
}

/// Waits until the server has come to what was just sent; its answers to one address are limited.
fn settle(probe: &mut rogue::Client) {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let question = probe.build(kind::BINDING).unsigned();
        let answer = probe.try_transact(&question, Duration::from_millis(200));
        if answer.expect("it lives").is_some() {
            return;
        }
    }
    panic!("the server does not answer");
}

/// Defect 1 of webrtc-rs: an entry for each 401 that was sent, for ever.
#[test]
fn webrtc_rs_1_strangers_cost_no_memory() {
    flood("webrtc_rs_1", |turnd, source| {
        rogue::allocate(Builder::new(kind::ALLOCATE, id(source)), turnd.ip).unsigned()
    });
}

/// coturn kept 18 kB for a minute for each forged request (coturn/coturn#1999).
#[test]
fn coturn_issue_1999_forged_integrity_costs_no_memory() {
    flood("coturn_issue_1999", |turnd, source| {
        // The nonce has the right form, and is nobody's.
        let nonce = format!("obMatJos2AAAA{source:022}");
        rogue::allocate(Builder::new(kind::ALLOCATE, id(source)), turnd.ip)
            .attribute(
                attribute::USERNAME,
                format!("4000000000:user-{source}").as_bytes(),
            )
            .attribute(attribute::REALM, b"turn.example.org")
            .attribute(attribute::NONCE, nonce.as_bytes())
            .signed(&[7; 16])
    });
}

fn id(source: u32) -> [u8; 12] {
    let mut id = *b"flood\0\0\0\0\0\0\0";
    id[8..].copy_from_slice(&source.to_be_bytes());
    id
}
