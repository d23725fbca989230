//! Loopback addresses and ports that no other test uses at the same time.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address for a server of one's own, in 127.200.0.0/14.
///
/// # Panics
/// Never: addresses begin anew after 250.
pub(super) fn server_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = process::id();
    Ipv4Addr::new(
        127,
        200 + (pid >> 8 & 3) as u8,
        pid as u8,
        1 + (next % 250) as u8,
    )
}

/// An address for a client or a peer, each in a /24 of its own in 127.208.0.0/12 and above: a server
/// limits what it sends to one network of strangers.
pub fn client_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed) + process::id() * 97;
    let network = next % (40 * 256);
    Ipv4Addr::new(127, 208 + (network >> 8) as u8, network as u8, 1)
}

/// A port below the ephemeral ones that is free on `ip` and on `::1`, for UDP and TCP.
///
/// # Panics
/// When none is.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let free = |port: &u16| {
        let v4 = UdpSocket::bind((ip, *port)).is_ok() && TcpListener::bind((ip, *port)).is_ok();
        let v6 = Ipv6Addr::LOCALHOST;
        // Where there is no ::1, nothing is taken there.
        let taken = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        v4 && !UdpSocket::bind((v6, *port)).is_err_and(taken)
            && !TcpListener::bind((v6, *port)).is_err_and(taken)
    };
    let mut ports = (0..1000).map(|_| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        10_000 + ((process::id() * 31 + next) % 20_000) as u16
    });
    ports.find(free).expect("a free port")
}
