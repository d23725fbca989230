//! Datagrams that the kernel dropped because a DNS listener was full, as metrics: what nobody here
//! ever saw, and so counts nowhere else.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::registered;

/// Where the kernel lists the sockets of this network namespace.
const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listen: String,
}

/// What the kernel says, by listen address: all sockets of it together.
#[derive(Debug)]
pub(super) struct Overflows {
    listeners: OnceLock<Box<[SocketAddr]>>,
    dropped: Family<ListenerLabels, Counter>,
}

impl Overflows {
    pub(super) fn registered(new: &mut Registry) -> Self {
        Self {
            listeners: OnceLock::new(),
            dropped: registered(
                new,
                "udp_overflows",
                "Datagrams that the kernel dropped because a DNS listener's queues were full",
            ),
        }
    }

    /// Says which addresses are listened at, once and for all.
    pub(super) fn of(&self, listeners: &[SocketAddr]) {
        let _ = self.listeners.set(listeners.into());
    }

    /// Asks the kernel. It is asked when somebody looks, since it lists every socket there is.
    pub(super) fn refresh(&self) {
        let mut dropped = HashMap::new();
        for table in TABLES {
            // Without IPv6 there is none of it.
            let text = fs::read_to_string(table).unwrap_or_default();
            for (local, drops) in text.lines().skip(1).filter_map(socket) {
                *dropped.entry(local).or_insert(0) += drops;
            }
        }
        for listener in self.listeners.get().into_iter().flatten() {
            let local = (listener.ip(), listener.port());
            let labels = ListenerLabels {
                listen: listener.to_string(),
            };
            let counter = self.dropped.get_or_create(&labels);
            let drops = dropped.get(&local).copied().unwrap_or_default();
            counter.inner().store(drops, Ordering::Relaxed);
        }
    }
}

/// The local address of a socket and how much was dropped there, of a line of the table.
fn socket(line: &str) -> Option<((IpAddr, u16), u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let drops = fields.next_back()?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // In the order of the network, four bytes each as a number of this machine.
    let word = |at: usize| {
        let digits = ip.get(at..at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(((ip, port), drops))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const SENT: u64 = 2000;

    /// Overflows a socket and counts what is missing.
    fn overflow(host: &str) {
        let reader = UdpSocket::bind((host, 0)).expect("a socket");
        let room = socket2::SockRef::from(&reader).set_recv_buffer_size(65_536);
        room.expect("set");
        let address = reader.local_addr().expect("an address");
        let overflows = Overflows::registered(&mut Registry::default());
        overflows.of(&[address]);
        let shown = || {
            overflows.refresh();
            let listen = address.to_string();
            let labels = ListenerLabels { listen };
            overflows.dropped.get_or_create(&labels).get()
        };
        assert_eq!(shown(), 0);
        let writer = UdpSocket::bind((host, 0)).expect("a socket");
        for _ in 0..SENT {
            writer.send_to(&[0; 1200], address).expect("sent");
        }
        reader.set_nonblocking(true).expect("set");
        let mut read = 0;
        while reader.recv(&mut [0; 1200]).is_ok() {
            read += 1;
        }
        assert!(read < SENT, "that is no overflow");
        assert_eq!(shown(), SENT - read, "{host}");
    }

    #[test]
    fn what_a_full_socket_loses_is_counted() {
        overflow("127.0.0.1");
    }

    #[test]
    fn over_ipv6_too() {
        if UdpSocket::bind("[::1]:0").is_err() {
            println!("skipped: this machine has no IPv6");
            return;
        }
        overflow("::1");
    }
}
