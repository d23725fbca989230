//! A UDP path to a relay that loses what the test tells it to lose.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToRelay,
    ToClient,
}

/// Forwards datagrams of one client at a time to a relay, and the relay's to the client.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// A path from an address of `ip` to `relay`. What `lost` says of a datagram, by its way, its
    /// bytes and its number on that way, decides.
    pub(crate) fn start(
        ip: IpAddr,
        relay: SocketAddr,
        lost: impl Fn(Way, &[u8], u64) -> bool + Send + Clone + 'static,
    ) -> Self {
        let near = UdpSocket::bind((ip, 0)).expect("socket");
        let far = UdpSocket::bind((ip, 0)).expect("socket");
        far.connect(relay).expect("connect");
        let address = near.local_addr().expect("address");
        let stop = Arc::new(AtomicBool::new(false));
        let client = Arc::new(std::sync::Mutex::new(None));
        for socket in [&near, &far] {
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .expect("timeout");
        }
        let (near_too, far_too) = (
            near.try_clone().expect("clone"),
            far.try_clone().expect("clone"),
        );
        let (out_client, in_client) = (Arc::clone(&client), client);
        let (out_stop, in_stop, in_lost) = (Arc::clone(&stop), Arc::clone(&stop), lost.clone());
        let out = std::thread::spawn(move || {
            pump(
                &out_stop,
                |datagram, number| lost(Way::ToRelay, datagram, number),
                |buffer| {
                    let (length, from) = near.recv_from(buffer).ok()?;
                    *out_client.lock().expect("client") = Some(from);
                    Some(length)
                },
                |datagram| drop(far_too.send(datagram)),
            );
        });
        let back = std::thread::spawn(move || {
            pump(
                &in_stop,
                |datagram, number| in_lost(Way::ToClient, datagram, number),
                |buffer| far.recv(buffer).ok(),
                |datagram| {
                    if let Some(to) = *in_client.lock().expect("client") {
                        drop(near_too.send_to(datagram, to));
                    }
                },
            );
        });
        Self {
            address,
            stop,
            threads: vec![out, back],
        }
    }
}

fn pump(
    stop: &AtomicBool,
    lost: impl Fn(&[u8], u64) -> bool,
    mut receive: impl FnMut(&mut [u8]) -> Option<usize>,
    send: impl Fn(&[u8]),
) {
    let mut buffer = [0; 2048];
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(length) = receive(&mut buffer) else {
            continue;
        };
        number += 1;
        if !lost(&buffer[..length], number) {
            send(&buffer[..length]);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
