//! A nameserver that tells a relay to drain, and where to send its clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use liveness::{Ack, Key, KeyId, KeyRing, NEIGHBOURS_MAX, Neighbour, Order, Report, Seen, State};

use super::DEADLINE;
use crate::timing::until;

const KEY: KeyId = KeyId(7);
const KEY_TEXT: &str = "a key that signs the reports of the tests";

/// Answers each report with the order to drain; ends when dropped.
#[derive(Debug)]
pub(super) struct Nameserver {
    address: SocketAddr,
    drains: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
}

impl Nameserver {
    /// Listens on `ip` and names `alternate` as the healthy neighbour.
    pub(super) fn start(ip: Ipv4Addr, alternate: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        let wait = Duration::from_millis(200);
        socket.set_read_timeout(Some(wait)).expect("a timeout");
        let nameserver = Self {
            address: socket.local_addr().expect("an address"),
            drains: Arc::default(),
            ends: Arc::default(),
        };
        let (drains, ends) = (nameserver.drains.clone(), nameserver.ends.clone());
        let mut neighbour = Neighbour::default();
        match alternate.ip() {
            IpAddr::V4(ip) => neighbour.ipv4 = Some(SocketAddrV4::new(ip, alternate.port())),
            IpAddr::V6(ip) => neighbour.ipv6 = Some(SocketAddrV6::new(ip, alternate.port(), 0, 0)),
        }
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                if let Some(State::Draining) = answer(&socket, neighbour) {
                    drains.store(true, Ordering::Relaxed);
                }
            }
        });
        nameserver
    }

    /// The part of a relay's configuration that names this nameserver.
    pub(super) fn section(&self) -> String {
        format!(
            "[liveness]\nkey_id = {}\nkey = \"{KEY_TEXT}\"\ndnsd = [\"{}\"]\n",
            KEY.0, self.address
        )
    }

    /// Waits until the relay says that it drains.
    pub(super) fn wait_drains(&self) {
        until("the relay drains", DEADLINE, || {
            self.drains.load(Ordering::Relaxed).then_some(())
        });
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn key() -> Key {
    Key::new(KEY_TEXT.as_bytes().to_vec()).expect("long enough")
}

/// Answers one report, if one comes; says which state it told.
fn answer(socket: &UdpSocket, neighbour: Neighbour) -> Option<State> {
    let mut buffer = [0; 512];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    let mut keys = KeyRing::new();
    keys.insert(KEY, key()).ok()?;
    let (report, _) = Report::decode(&buffer[..length], &keys).ok()?;
    let mut ack = Ack {
        relay: report.relay,
        boot: report.boot,
        sequence: report.sequence,
        node: "ns1".parse().ok()?,
        sent_at_ms: report.sent_at_ms,
        boot_floor: 0,
        order: Order::Drain,
        seen: Seen::Up,
        revocations: 0,
        neighbours: [Neighbour::default(); NEIGHBOURS_MAX],
    };
    ack.neighbours[0] = neighbour;
    socket.send_to(&ack.encode(KEY, &key()), from).ok()?;
    Some(report.state)
}
