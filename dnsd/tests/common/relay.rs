//! A relay's heartbeat: signed reports as a relay sends them, and the acknowledgements it gets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use liveness::{Ack, Key, KeyId, KeyRing, Load, RelayId, Report, State, Transports};

use super::dnsd::KEY;

/// Sends reports until dropped.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    load: Arc<Mutex<Option<Load>>>,
    pub(crate) last_ack: Arc<Mutex<Option<Ack>>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn key() -> Key {
    Key::new(KEY.as_bytes().to_vec()).expect("key")
}

/// A report as a healthy relay with little load makes it.
pub(crate) fn report(relay: &str, address: SocketAddr, boot: u64, sequence: u64) -> Report {
    Report {
        relay: relay.parse::<RelayId>().expect("relay id"),
        boot,
        sequence,
        sent_at_ms: dnsd::clock::unix_millis(),
        state: State::Serving,
        load: Load {
            sessions: 1,
            sessions_max: 1000,
            bits_per_second: 0,
            bits_per_second_max: 1_000_000_000,
            cpu_permille: 10,
        },
        ipv4: match address {
            SocketAddr::V4(v4) => Some(v4),
            SocketAddr::V6(_) => None,
        },
        ipv6: None,
        transports: Transports::UDP,
        workers: 1,
        configuration: 1,
        revocations: 0,
    }
}

impl Heartbeat {
    /// Reports `relay` to `dnsd` twice a second.
    pub(crate) fn start(relay: &'static str, address: SocketAddr, dnsd: SocketAddr) -> Self {
        Self::signed(relay, address, dnsd, 1, KEY)
    }

    /// The same with a key of another id.
    pub(crate) fn signed(
        relay: &'static str,
        address: SocketAddr,
        dnsd: SocketAddr,
        id: u32,
        text: &'static str,
    ) -> Self {
        let key = move || Key::new(text.as_bytes().to_vec()).expect("key");
        let id = KeyId(id);
        let stop = Arc::new(AtomicBool::new(false));
        let state = Arc::new(Mutex::new(State::Serving));
        let (load, last_ack) = (Arc::default(), Arc::new(Mutex::new(None)));
        let shared = (
            Arc::clone(&stop),
            Arc::clone(&state),
            Arc::<Mutex<Option<Load>>>::clone(&load),
            Arc::clone(&last_ack),
        );
        let thread = std::thread::spawn(move || {
            let (stop, state, load, last_ack) = shared;
            let socket = UdpSocket::bind((address.ip(), 0)).expect("socket");
            socket.connect(dnsd).expect("connect");
            socket
                .set_read_timeout(Some(Duration::from_millis(500)))
                .expect("timeout");
            let mut keys = KeyRing::new();
            keys.insert(id, key()).expect("ring");
            let boot = dnsd::clock::unix_millis();
            for sequence in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut report = report(relay, address, boot, sequence);
                report.state = *state.lock().expect("state");
                report.load = load.lock().expect("load").unwrap_or(report.load);
                let _ = socket.send(&report.encode(id, &key()));
                let mut buffer = [0; 512];
                let begun = std::time::Instant::now();
                if let Ok(length) = socket.recv(&mut buffer)
                    && let Ok((ack, _)) = Ack::decode(&buffer[..length], &keys)
                {
                    *last_ack.lock().expect("ack") = Some(ack);
                }
                std::thread::sleep(Duration::from_millis(500).saturating_sub(begun.elapsed()));
            }
        });
        Self {
            stop,
            state,
            load,
            last_ack,
            thread: Some(thread),
        }
    }

    /// Reports this load from now on.
    pub(crate) fn carry(&self, load: Load) {
        *self.load.lock().expect("load") = Some(load);
    }

    pub(crate) fn say(&self, state: State) {
        *self.state.lock().expect("state") = state;
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
